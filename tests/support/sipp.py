"""SIPp (Debian: sip-tester) as caller and callee.

The scenarios are in `tests/interop/scenarios`, SIPp's own XML with two additions: `{{name}}` stands for a file of the
folder `parts`, or for what a test fills in, so that what all callers do is written once.

A callee is `listen`ed for, registers by `rawsip` or by `pbx.register`, and ends by itself after its one call; `finish`
says whether everything was as the scenario wants it, with SIPp's own log of the messages when it wasn't.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.core.address import Address, Family
from tests.support.processes import Program, Programs, free_port, free_ports, until
from tests.support.rawsip import Message

SCENARIOS = Path(__file__).parents[1] / "interop" / "scenarios"
PATIENCE_S = 10
"""How long one scenario may take; most take tenths of a second."""
DEFAULTS: Mapping[str, str] = {
    "domain": "pbx.example",
    "direction": "sendrecv",
    "version": "1",
    "connection": "[media_ip]",
    "tag": "[pid]",
    "talk_ms": "100",
}
_LOOPBACK = {Family.IP4: "127.0.0.1", Family.IP6: "::1"}
_PLACE = re.compile(r"\{\{(\w+)\}\}")
_PROC_TABLES = {
    ("udp", Family.IP4): "udp",
    ("udp", Family.IP6): "udp6",
    ("tcp", Family.IP4): "tcp",
    ("tcp", Family.IP6): "tcp6",
}
_TRACE = re.compile(
    r"-{40,} .*?\n(\S+) message (sent|received) \[?\(?\d+\)?\]? ?bytes ?:?\n\n(.*?)(?=\n-{40,} |\Z)", re.DOTALL
)


def render(name: str, fills: Mapping[str, str]) -> str:
    """The XML of a scenario. Raises KeyError for a name that neither the test nor a part fills."""

    def fill(match: re.Match[str]) -> str:
        key = match[1]
        if key in fills:
            return _PLACE.sub(fill, fills[key])
        part = SCENARIOS / "parts" / f"{key}.txt"
        return _PLACE.sub(fill, part.read_text().rstrip("\n") if part.exists() else DEFAULTS[key])

    return _PLACE.sub(fill, (SCENARIOS / f"{name}.xml").read_text())


@dataclass(slots=True)
class Run:
    """One SIPp, running or done."""

    scenario: str
    program: Program
    folder: Path
    local: Address
    transport: str

    @property
    def contact(self) -> str:
        """The URI it can be called at."""
        transport = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:{self.scenario}@{self.local}{transport}"

    def finish(self, timeout_s: float = PATIENCE_S + 5.0) -> list[Message]:
        """Wait for its end and return what it received, in order. AssertionError if anything was not as wanted."""
        code = self.program.wait(timeout_s)
        if code:
            raise AssertionError(f"SIPp {self.scenario}: exit code {code}\n{self._text('errors')}\n{self.trace}")
        return self.received

    @property
    def trace(self) -> str:
        """Every message, with times."""
        return self._text("messages")

    @property
    def received(self) -> list[Message]:
        """The messages it was sent so far; whole ones, as SIPp writes them one at a time."""
        found = _TRACE.findall(self.trace)
        texts = [text for _, way, text in found if way == "received"]
        messages = [Message.read(text.replace("\r\n", "\n").replace("\n", "\r\n").encode()) for text in texts]
        return [replace(m, body=m.body[: int(m.get("Content-Length"))]) for m in messages]

    def wait_for(self, method_or_status: str) -> Message:
        """The first message it was sent that starts so, as soon as it is there."""
        return until(
            lambda: next((m for m in self.received if m.start.startswith(method_or_status)), None),
            f"{method_or_status} at {self.scenario}",
        )

    def _text(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass(slots=True)
class Sipp:
    """Starts SIPps for one test."""

    programs: Programs
    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def call(
        self,
        scenario: str,
        remote: Address,
        *,
        called: str,
        user: str = "dev1",
        password: str = "one",
        transport: str = "udp",
        host: str = "",
        calls: int = 1,
        **fills: str,
    ) -> Run:
        """Start a caller, or anything else that begins, like a REGISTER; `calls` of them as quickly as it goes."""
        return self._start(
            scenario,
            transport,
            Address(host or remote.host, free_port()),
            {"called": called, "user": user, **fills},
            (str(remote), "-au", user, "-ap", password, "-m", str(calls), "-r", str(10 * calls)),
        )

    def listen(
        self,
        scenario: str,
        *,
        family: Family = Family.IP4,
        transport: str = "udp",
        local: Address | None = None,
        **fills: str,
    ) -> Run:
        """Start a callee; returns when its port is open."""
        local = local or Address(_LOOPBACK[family], free_port())
        run = self._start(scenario, transport, local, fills, ("-m", "1"))
        until(lambda: is_bound(local, transport) or not run.program.running or None, f"SIPp to listen on {local}")
        assert run.program.running, f"SIPp {scenario} ended at once: {run.program.output}"
        return run

    def _start(
        self, scenario: str, transport: str, local: Address, fills: Mapping[str, str], arguments: tuple[str, ...]
    ) -> Run:
        folder = self.folder / f"{next(self._numbers)}-{scenario}"
        folder.mkdir()
        xml = folder / "scenario.xml"
        xml.write_text(render(scenario, fills))
        bracketed = f"[{local.host}]" if local.family is Family.IP6 else local.host
        program = self.programs.start(
            "sipp", *arguments, "-sf", xml,
            "-i", bracketed, "-p", str(local.port), "-bind_local",
            "-mi", local.host, "-mp", str(free_ports(4)[0]),
            "-t", "u1" if transport == "udp" else "t1",
            "-nostdin", "-timeout", str(PATIENCE_S), "-timeout_error",
            "-trace_msg", "-message_file", folder / "messages.log",
            "-trace_err", "-error_file", folder / "errors.log",
            folder=folder,
        )  # fmt: skip
        return Run(scenario, program, folder, local, transport)


def is_bound(address: Address, transport: str) -> bool:
    """Whether some program has this port open, by the kernel's own table."""
    table = Path("/proc/net", _PROC_TABLES[transport, address.family]).read_text()
    ports = (line.split()[1].rpartition(":")[2] for line in table.splitlines()[1:])
    return f"{address.port:04X}" in ports


@pytest.fixture
def sipp(programs: Programs, tmp_path: Path) -> Sipp:
    """SIPp for a test; what still runs at its end is stopped."""
    if shutil.which("sipp") is None:
        pytest.skip("needs the program sipp (Debian: sip-tester)")
    return Sipp(programs, tmp_path)
