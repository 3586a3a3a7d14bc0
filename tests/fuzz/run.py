"""Fuzz for as long as you like: `python -m tests.fuzz.run --minutes 10`.

What is found is written to `var/fuzz`, one file each. Fix the fault and move its file to `tests/fuzz/corpus/<target>`,
where `make test` reads it for ever. With `--engine atheris` (pip install atheris) one target is fuzzed with guidance
by coverage.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.mutate import Mutator
from tests.fuzz.targets import TARGETS, seeds

MOST_SECONDS = 2.0
"""CPU an input of at most 70,000 octets may take; the slowest honest ones take a twentieth of it."""


@dataclass(slots=True)
class Tally:
    """What a run saw."""

    inputs: int = 0
    slowest_s: float = 0.0
    findings: list[Path] = field(default_factory=list)


def fuzz(target: str, data: bytes) -> float:
    """Run one input; returns the CPU seconds it took. Raises what the target raises, and AssertionError when slow."""
    started = time.process_time()
    TARGETS[target](data)
    took_s = time.process_time() - started
    assert took_s < MOST_SECONDS, f"{len(data)} octets took {took_s:.1f} s"
    return took_s


def run(targets: Sequence[str], *, seed: int, until: float, folder: Path) -> Tally:
    """Fuzz the targets by turns until `time.monotonic()` says so."""
    tally = Tally()
    mutators = {target: Mutator(seeds(target), seed) for target in targets}
    for target in itertools.cycle(targets):
        if time.monotonic() >= until:
            return tally
        for _ in range(100):
            data = mutators[target].next()
            tally.inputs += 1
            try:
                tally.slowest_s = max(tally.slowest_s, fuzz(target, data))
            except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
                tally.findings.append(_keep(folder, target, data, traceback.format_exc()))
    return tally


def _keep(folder: Path, target: str, data: bytes, trace: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    print(f"{path}:\n{trace}", flush=True)
    return path


def run_atheris(target: str, minutes: float, folder: Path) -> None:
    """Hand one target to atheris, which ends the process itself."""
    import atheris  # noqa: PLC0415 - not everybody has it

    atheris.instrument_all()
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / f"corpus-{target}"
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [sys.argv[0], str(corpus), f"-artifact_prefix={folder}/{target}-", "-max_len=70000"]
    atheris.Setup([*options, f"-max_total_time={int(minutes * 60)}"], TARGETS[target])
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--target", choices=[*TARGETS], action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="the same seed makes the same inputs; another one each time otherwise")
    parser.add_argument("--engine", choices=["plain", "atheris"], default="plain")
    parser.add_argument("--findings", type=Path, default=Path("var/fuzz"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    targets = options.target or [*TARGETS]
    if options.engine == "atheris":
        run_atheris(targets[0], options.minutes, options.findings)
    seed = int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed
    print(f"fuzzing {', '.join(targets)} for {options.minutes:g} minutes, seed {seed}", flush=True)
    tally = run(targets, seed=seed, until=time.monotonic() + options.minutes * 60, folder=options.findings)
    print(f"{tally.inputs} inputs, {len(tally.findings)} findings, the slowest took {tally.slowest_s * 1000:.0f} ms")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
