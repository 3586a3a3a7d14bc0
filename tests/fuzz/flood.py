"""A flood of damaged messages for a real `pbx run`: `python -m tests.fuzz.flood --messages 100000`.

The messages are mutations of the corpus and of the torture messages, each with a branch and a Call-ID of its own, over
UDP of both families and, one in twenty, over TCP. Behind every few of them an OPTIONS is asked and timed, so the PBX is
never idle and never asked with more than that ahead. At the end the process is alive, has complained of nothing, has
answered every OPTIONS in time, and needs no more memory than it did after the first third.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.core.address import Address, Family
from tests.fuzz.mutate import Mutator
from tests.fuzz.targets import seeds
from tests.support.pbx import Pbx, start_pbx
from tests.support.processes import Programs
from tests.support.rawsip import Peer
from tests.torture.edge import probe

MEDIAN_MS = 50.0
"""What half of the OPTIONS must beat."""
NINETY_NINE_MS = 200.0
"""What 99 of 100 must beat, on a machine that does other things too; a datagram of our own answers in 1 ms."""
GROWTH_MIB = 16.0
"""How much more memory the last two thirds may need: allocators are not exact."""
BATCH = 20
"""Messages ahead of each OPTIONS."""
_TCP_EVERY = 20
_IP6_EVERY = 4
_LONGEST_DATAGRAM = 65_000

SIP_CONF = """
[general]
context=internal
realm=pbx.example
allowguest=yes
timert1=50

[open](!)
type=friend
host=dynamic

[user](open)
[dev1](open)
[secretive](open)
secret=one
"""
"""T1 is a tenth of the usual, so that what a message leaves behind is gone in three seconds and memory settles."""

EXTENSIONS_CONF = """
[internal]
exten => _.,1,Busy()
exten => s,1,Busy()
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What a flood did to a PBX."""

    messages: int
    seconds: float
    median_ms: float
    ninety_nine_ms: float
    worst_ms: float
    settled_mib: float
    """Resident memory after the first third."""
    most_mib: float
    """The most it was after that."""

    def problems(self) -> list[str]:
        """The bounds that do not hold."""
        found = []
        if self.median_ms > MEDIAN_MS:
            found.append(f"the median OPTIONS took {self.median_ms:.1f} ms, more than {MEDIAN_MS:g}")
        if self.ninety_nine_ms > NINETY_NINE_MS:
            found.append(f"1 of 100 OPTIONS took {self.ninety_nine_ms:.1f} ms or more, more than {NINETY_NINE_MS:g}")
        if self.most_mib - self.settled_mib > GROWTH_MIB:
            found.append(f"memory grew from {self.settled_mib:.1f} to {self.most_mib:.1f} MiB")
        return found

    def __str__(self) -> str:
        return (
            f"{self.messages} messages in {self.seconds:.1f} s ({self.messages / self.seconds:.0f}/s); OPTIONS: median "
            f"{self.median_ms:.1f} ms, 99th percentile {self.ninety_nine_ms:.1f} ms, worst {self.worst_ms:.1f} ms; "
            f"memory {self.settled_mib:.1f} MiB after a third, {self.most_mib:.1f} MiB at most after that"
        )


class Sender:
    """Sends messages and reads no answers."""

    def __init__(self, pbx: Pbx) -> None:
        self._servers = {family: pbx.address(family) for family in Family}
        self._udp = {family: socket.socket(family.af, socket.SOCK_DGRAM) for family in Family}
        # Answers to a sent-by without rport go to port 5060 of the sender: an address where nobody is.
        process = os.getpid()
        self._udp[Family.IP4].bind((f"127.{2 + process % 250}.{process // 250 % 250}.2", 0))
        self._sent = 0

    def send(self, data: bytes) -> None:
        self._sent += 1
        family = Family.IP4 if self._sent % _IP6_EVERY else Family.IP6
        server = self._servers[family]
        if self._sent % _TCP_EVERY == 0:
            _send_over_tcp(server, data)
        else:
            self._udp[family].sendto(data[:_LONGEST_DATAGRAM], server.sockaddr())

    def close(self) -> None:
        for sock in self._udp.values():
            sock.close()


def _send_over_tcp(server: Address, data: bytes) -> None:
    with socket.create_connection((server.host, server.port), 5.0) as way, contextlib.suppress(ConnectionError):
        way.sendall(data)


def flood(pbx: Pbx, messages: int, *, seed: int = 1) -> Report:
    """Send `messages` damaged messages; raises AssertionError when the PBX stops answering."""
    mutator, sender = Mutator(seeds("sip"), seed), Sender(pbx)
    asker = Peer(pbx.address())
    times_ms: list[float] = []
    settled = most = 0.0
    started = time.monotonic()
    try:
        for number in range(messages):
            sender.send(fresh(mutator.next(), number))
            if number % BATCH == 0:
                times_ms.append(_ask(asker))
            if number >= messages // 3 and number % 200 == 0:
                most = max(most, memory_mib(pbx.program.pid))
                settled = settled or most
        times_ms.append(_ask(asker))
    finally:
        sender.close()
        asker.close()
    assert pbx.program.running
    return Report(
        messages,
        time.monotonic() - started,
        statistics.median(times_ms),
        sorted(times_ms)[len(times_ms) * 99 // 100],
        max(times_ms),
        settled,
        most,
    )


def fresh(data: bytes, number: int) -> bytes:
    """A message with a branch and a Call-ID that no message before it had: no retransmission, but something new."""
    data = data.replace(b"branch=z9hG4bK", b"branch=z9hG4bK%d." % number)
    return data.replace(b"Call-ID: ", b"Call-ID: %d." % number)


def _ask(asker: Peer) -> float:
    """The milliseconds an OPTIONS takes. AssertionError when it is not answered 200 within seconds."""
    call_id = secrets.token_hex(8)
    started = time.perf_counter()
    asker.send(probe(asker, call_id))
    try:
        answer = asker.receive()
    except TimeoutError:
        raise AssertionError("an OPTIONS was not answered") from None
    assert (answer.status, answer.get("Call-ID")) == (200, call_id), answer
    return (time.perf_counter() - started) * 1000


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def start(programs: Programs, folder: Path) -> Pbx:
    """The PBX that is flooded."""
    return start_pbx(programs, folder, sip=SIP_CONF, extensions=EXTENSIONS_CONF)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.flood", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="flood-") as folder, Programs() as programs:
        pbx = start(programs, Path(folder))
        report = flood(pbx, options.messages, seed=options.seed)
        problems = [*report.problems(), *pbx.complaints()]
    print(report, *problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
