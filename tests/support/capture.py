"""Packets as they were on the wire, read back by tshark."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.support.netns import Namespace
from tests.support.processes import Program, Programs, run, until

MALFORMED = "(_ws.malformed || _ws.expert.severity >= 8388608) && !icmp && !icmpv6"
"""A packet that a dissector cannot make sense of, or calls an error; a packet quoted by ICMP ends too early."""
_PCAPNG_START_BYTES = 100


class Capture:
    """What passes the interface of a host, until `stop`."""

    def __init__(self, programs: Programs, host: Namespace, folder: Path) -> None:
        """Returns when packets are being taken."""
        for name in ("dumpcap", "tshark"):
            if not shutil.which(name):
                pytest.skip(f"needs {name} (Debian: tshark)")
        self.path = folder / f"{host.name}.pcapng"
        self._program: Program = programs.start("dumpcap", "-q", "-i", "eth0", "-w", self.path, host=host)
        until(self._file_began, "dumpcap's file")

    def _file_began(self) -> bool | None:
        """dumpcap writes the interface's block when it has opened it."""
        return (self.path.exists() and self.path.stat().st_size >= _PCAPNG_START_BYTES) or None

    def stop(self, *, after: str, count: int) -> None:
        """No more packets, once so many are in the file that a filter finds: dumpcap writes when it has the time."""
        until(lambda: len(self.lines(after)) >= count or None, f"{count} packets of {after}", every_s=0.1)
        self._program.send(signal.SIGINT)
        self._program.wait()

    def lines(self, display_filter: str, *fields: str) -> list[str]:
        """The packets that a filter finds, a line each: tshark's summary, or these fields with tabs between."""
        wanted = [word for field in fields for word in ("-e", field)]
        found = run(
            *("tshark", "-r", self.path, "-Y", display_filter),
            *(("-T", "fields", *wanted) if fields else ()),
            env={"HOME": str(self.path.parent)},
        )
        return found.splitlines()
