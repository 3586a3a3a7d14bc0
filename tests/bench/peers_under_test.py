"""The PBXs that are measured: ours as `pbx run`, and Debian's Kamailio with rtpengine for comparison."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Programs, free_port, free_ports, until

HERE = Path(__file__).parent
KAMAILIO_PORT = 25060
"""As peers/kamailio.cfg has it."""
_RTP_PORTS = 4000


@dataclass(frozen=True, slots=True)
class Peer:
    """A PBX that runs."""

    name: str
    target: str
    pids: tuple[int, ...]


@contextmanager
def our_pbx(work: Path) -> Iterator[Peer]:
    """`pbx run`, everything in one process, 1000 phones."""
    port, (low, high) = free_port(), free_ports(_RTP_PORTS)
    config = work / "config"
    config.mkdir()
    phones = "".join(f"[{user}](phone)\nsecret=pw{user}\n" for user in [*range(1000, 1500), *range(2000, 2500)])
    (config / "sip.conf").write_text(
        f"[general]\nbindaddr=127.0.0.1:{port}\nbindaddr=[::1]:{port}\ncontext=internal\nallow=ulaw,alaw\n"
        f"[phone](!)\ntype=friend\nhost=dynamic\n{phones}"
    )
    (config / "extensions.conf").write_text("[internal]\nexten => _2XXX,1,Dial(SIP/${EXTEN},30)\n")
    (config / "rtp.conf").write_text(f"[general]\nrtpstart={low}\nrtpend={high}\n")
    (config / "pbx.conf").write_text(f"[metrics]\nbind=127.0.0.1:{free_port()}\n[log]\nlevel=warning\n")
    with Programs() as programs:
        command = (sys.executable, "-m", "services.console.cli", "run")
        program = programs.start(*command, "--config", str(config), "--data", str(work / "data"))
        program.wait_for("Ctrl-C")
        yield Peer("sixfold-pbx (pbx run)", f"127.0.0.1:{port}", (program.pid,))


def kamailio_missing() -> str:
    """What is not installed of the comparison; empty when all is."""
    return " ".join(name for name in ("kamailio", "rtpengine") if shutil.which(name) is None)


@contextmanager
def kamailio(work: Path) -> Iterator[Peer]:
    """Kamailio with rtpengine in user space: a registrar and proxy with digest, bindings in memory."""
    with Programs() as programs:
        engine = programs.start(
            *("rtpengine", "--foreground", "--table=-1", "--interface=lo/127.0.0.1", "--interface=lo/::1"),
            *("--listen-ng=127.0.0.1:22223", "--port-min=30000", "--port-max=39999", "--log-level=3"),
            *("--log-stderr", f"--pidfile={work}/rtpengine.pid"),
        )
        config = str(HERE / "peers" / "kamailio.cfg")
        proxy = programs.start("kamailio", "-f", config, "-DD", "-E", "-m", "256", "-M", "16", "-Y", str(work))
        until(lambda: True if _listens(KAMAILIO_PORT) else None, "kamailio to listen")
        yield Peer("Kamailio 5.6 + rtpengine", f"127.0.0.1:{KAMAILIO_PORT}", (proxy.pid, engine.pid))


def _listens(port: int) -> bool:
    wanted = f":{port:04X} "
    return any(wanted in line for line in Path("/proc/net/udp").read_text().splitlines())
