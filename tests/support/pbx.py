"""`pbx run` as a user runs it: a process with a configuration directory and a data directory."""

from __future__ import annotations

import json
import re
import signal
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.core.address import Address, Family
from tests.support.inprocess import EXTENSIONS_CONF
from tests.support.netns import Namespace
from tests.support.processes import PATIENCE_S, Program, Programs, free_port, free_ports, until

_LOOPBACK = {Family.IP4: "127.0.0.1", Family.IP6: "::1"}
_SIP_PORT = 5060
_RTP_PORTS_WANTED = 80
_COMPLAINT = re.compile(r'^Traceback|"level": "(warning|error|critical)"')
_CLI = (sys.executable, "-m", "services.console.cli")

Row = dict[str, Any]

SIP_CONF = """
[general]
context=internal
realm=pbx.example

[phone](!)
type=friend
host=dynamic

[dev1](phone)
secret=one
callerid="Fred" <1>

[dev2](phone)
secret=two

[dev3](phone)
secret=three
"""
"""Addresses and ports come from outside: see `own_ports`."""


def own_ports() -> dict[str, str]:
    """Settings, as environment variables, of a PBX on this machine's loopback that meets no other one."""
    sip, (first, last) = free_port(), free_ports(_RTP_PORTS_WANTED)
    return {
        "PBX_SIP_GENERAL_BINDADDR": f"127.0.0.1:{sip}, [::1]:{sip}",
        "PBX_RTP_GENERAL_RTPSTART": str(first),
        "PBX_RTP_GENERAL_RTPEND": str(last),
        "PBX_PBX_METRICS_BIND": f"127.0.0.1:{free_port()}",
    }


@dataclass(kw_only=True)
class Pbx:
    """A PBX that runs, and can be killed and started again with the same directories and ports."""

    programs: Programs
    config: Path
    data: Path
    env: Mapping[str, str]
    host: Namespace | None = None
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Run it; returns when it listens."""
        command: list[str | Path] = [*_CLI, "run", "--config", self.config, "--data", self.data]
        self.program = self.programs.start(*command, env=self.env, host=self.host)
        self.program.wait_for(r"^Ctrl-C: ", timeout_s=2 * PATIENCE_S)

    def kill(self) -> None:
        """kill -9."""
        self.program.kill()

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        self.program.send(signal.SIGINT)
        return self.program.wait()

    def address(self, family: Family = Family.IP4) -> Address:
        """Where phones of a family register."""
        if self.host is not None:
            return Address(self.host.address(family), _SIP_PORT)
        return Address(_LOOPBACK[family], int(self.env["PBX_SIP_GENERAL_BINDADDR"].rpartition(":")[2]))

    def complaints(self) -> list[str]:
        """What it has logged since it started that an operator would have to look into."""
        return [line for line in self.program.output.splitlines() if _COMPLAINT.search(line)]

    # --- what it can be asked ----------------------------------------------------------------------------------------

    def cli(self, *arguments: str) -> str:
        """What `pbx ARGUMENTS` prints about this PBX. Raises AssertionError when it fails."""
        code, said = self.tell(*arguments)
        assert code == 0, f"pbx {' '.join(arguments)}: exit code {code}\n{said}"
        return said

    def tell(self, *arguments: str) -> tuple[int, str]:
        """The exit code of `pbx ARGUMENTS`, and all that it prints."""
        command = [*_CLI, *arguments, "--config", str(self.config), "--data", str(self.data)]
        program = self.programs.start(*command, env=self.env, host=self.host)
        code = program.wait(3 * PATIENCE_S)
        program.close()
        return code, program.output

    def rows(self, *arguments: str) -> list[Row]:
        """What a command prints as JSON, be it one list or one object a line."""
        text = self.cli(*arguments).strip()
        if text.startswith("["):
            found: list[Row] = json.loads(text)
            return found
        return [json.loads(line) for line in text.splitlines()]

    def cdrs(self) -> list[Row]:
        """The call detail records, oldest first."""
        return self.rows("cdr", "--json")

    def cdr(self, *media: str, **fields: Any) -> Row:
        """The latest record with these fields and the media of these sides (`a`, `b`), as soon as it is there."""

        def found() -> Row | None:
            for record in reversed(self.cdrs()):
                wanted = fields.items() <= record.items()
                if wanted and all(record[f"{side}_codec"] for side in media):
                    return record
            return None

        return until(found, f"a call detail record with {fields}", every_s=0.1)

    def events(self, call: str = "") -> list[Row]:
        """The whole history, or that of one call, oldest first."""
        return self.rows("events", "export", *(["--call", call] if call else []))

    def metric(self, name: str) -> float:
        """The sum over all labels of a metric; of a PBX on loopback."""
        url = f"http://{self.env['PBX_PBX_METRICS_BIND']}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            lines = answer.read().decode().splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.split("{")[0].split(" ")[0] == name]
        assert values, f"no metric {name}"
        return sum(map(float, values))


def start_pbx(
    programs: Programs,
    folder: Path,
    *,
    sip: str = SIP_CONF,
    extensions: str = EXTENSIONS_CONF,
    rtp: str = "",
    pbx: str = "",
    host: Namespace | None = None,
    env: Mapping[str, str] | None = None,
    files: Sequence[tuple[str, str]] = (),
) -> Pbx:
    """Write a configuration into `folder` and run it: on loopback with ports of its own, or in a namespace, where it
    has the usual ones. `env` comes before both."""
    config = folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    named = (("sip.conf", sip), ("extensions.conf", extensions), ("rtp.conf", rtp), ("pbx.conf", pbx), *files)
    for name, text in named:
        (config / name).write_text(text)
    ports = own_ports() if host is None else {}
    return Pbx(programs=programs, config=config, data=folder / "data", env={**ports, **(env or {})}, host=host)
