"""`make bench`: CPU per call and per REGISTER, ours and Kamailio's in alternating rounds of one run.

python -m tests.bench.run [--write docs/benchmarks.md] [--rounds 3] [--calls 500] [--registers 2000]
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.driver import (
    DriverError,
    Load,
    Result,
    measure_calls,
    measure_registers,
    registered_callees,
    require_sipp,
)
from tests.bench.peers_under_test import Peer, kamailio, kamailio_missing, our_pbx
from tests.support.processes import free_port

CALL_RATE, REGISTER_RATE = 50, 200
TARGETS = {"call": 6.0, "REGISTER": 1.2}
"""What Asterisk 22 takes on the reference machine, in ms."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="write the table to this file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--registers", type=int, default=2000)
    options = parser.parse_args()
    try:
        require_sipp()
        text = bench(options.rounds, options.calls, options.registers)
    except DriverError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(text)
    if options.write:
        options.write.write_text(text)
    return 0


def bench(rounds: int, calls: int, registers: int) -> str:
    """Measure everything that is installed; the report as Markdown."""
    rows: dict[tuple[str, str], list[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="pbx-bench-") as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        peers = [stack.enter_context(our_pbx(_made(work / "ours")))]
        missing = kamailio_missing()
        if missing:
            print(f"without a comparison: {missing} not installed", file=sys.stderr)
        else:
            peers.append(stack.enter_context(kamailio(_made(work / "kamailio"))))
        loads = {peer.name: _ports() for peer in peers}
        for peer in peers:
            load = _load(peer, loads[peer.name], CALL_RATE, calls)
            stack.enter_context(registered_callees(load, _made(work / f"uas-{loads[peer.name][0]}")))
        for number in range(rounds):
            for peer in peers:
                print(f"round {number + 1} of {rounds}: {peer.name}", file=sys.stderr)
                _round(peer, loads[peer.name], calls, registers, work, rows)
    return report(rows, rounds)


def _round(
    peer: Peer, ports: tuple[int, int], calls: int, registers: int, work: Path,
    rows: dict[tuple[str, str], list[Result]],
) -> None:  # fmt: skip
    plans: tuple[tuple[str, Callable[[Load, Path], Result], int, int], ...] = (
        ("call", measure_calls, CALL_RATE, calls),
        ("REGISTER", measure_registers, REGISTER_RATE, registers),
    )
    for what, measure, rate, count in plans:
        result = measure(_load(peer, ports, rate, count), work)
        rows.setdefault((peer.name, what), []).append(result)


def _load(peer: Peer, ports: tuple[int, int], rate: int, count: int) -> Load:
    return Load(target=peer.target, pids=peer.pids, rate=rate, count=count, uac_port=ports[0], uas_port=ports[1])


def _ports() -> tuple[int, int]:
    return free_port(), free_port()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def report(rows: dict[tuple[str, str], list[Result]], rounds: int) -> str:
    """The figures side by side."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. SIPp drives digest-authenticated calls (INVITE to 200 of the BYE, media ports taken",
        "on both sides, no RTP) and REGISTERs, each challenged once, against each PBX in turn. The figure is CPU (user",
        "and system, all processes of the PBX) by what succeeded: the median of the rounds, and their range.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}, {rounds} rounds.",
        "",
        "| PBX | what | CPU each, ms | range | ok | failed | retransmitted | memory, MB |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for (name, what), results in sorted(rows.items(), key=lambda item: item[0][1]):
        each = [result.cpu_ms_each for result in results]
        lines.append(
            f"| {name} | {what} | {statistics.median(each):.2f} | {min(each):.2f} to {max(each):.2f} "
            f"| {sum(result.ok for result in results)} | {sum(result.failed for result in results)} "
            f"| {sum(result.retransmissions for result in results)} | {results[-1].rss_mb:.0f} |"
        )
    lines += [
        "",
        f"On the reference machine Asterisk 22 takes about {TARGETS['call']:g} ms a call, {TARGETS['REGISTER']:g} ms a",
        "REGISTER, Kamailio with rtpengine about 2 ms and 0.1 to 0.2 ms: Kamailio's rows say how this machine compares",
        "with that one.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
