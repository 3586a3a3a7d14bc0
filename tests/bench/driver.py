"""Drives digest calls or REGISTERs by SIPp against any PBX, and charges the PBX's CPU to those that succeeded.

Users: callers 1000-1499, callees 2000-2499, password `pw<user>`. CPU per call hardly depends on how busy the machine
is; wall time does, and is not reported.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CALLERS, CALLEES, USERS = 1000, 2000, 500
_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One measurement to make."""

    target: str
    """`127.0.0.1:5060` or `[::1]:5060`."""
    pids: tuple[int, ...]
    """Processes to charge, with all their children."""
    rate: int
    """Per second."""
    count: int
    uac_port: int
    uas_port: int
    transport: str = "u1"
    hold_ms: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it."""

    ok: int
    failed: int
    retransmissions: int
    cpu_ms_each: float
    """User and system time of the charged processes by what succeeded."""
    rss_mb: float


class DriverError(Exception):
    """SIPp is missing, or nothing succeeded."""


def require_sipp() -> None:
    """Raises DriverError with what to install."""
    if shutil.which("sipp") is None:
        raise DriverError("sipp is missing: apt-get install sip-tester")


# --- CPU -------------------------------------------------------------------------------------------------------------


def tree_of(pids: Iterable[int]) -> set[int]:
    """The processes and all below them."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            parents[int(entry.name)] = int(fields[1])
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """User and system seconds of the process trees, ended children included."""
    charged = tuple(pids)
    ticks = 0
    for pid in tree_of(charged):
        fields = _stat(pid)
        if fields is not None:
            ticks += int(fields[11]) + int(fields[12])
            ticks += int(fields[13]) + int(fields[14]) if pid in charged else 0
    return ticks / _TICKS


def rss_mb(pids: Iterable[int]) -> float:
    """Memory of the process trees, shared pages counted by their share."""
    kilobytes = 0
    for pid in tree_of(pids):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1024


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; None when the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


# --- SIPp ------------------------------------------------------------------------------------------------------------


def measure_calls(load: Load, work: Path) -> Result:
    """Calls between registered users; the callees must be registered (`registered_callees`)."""
    users = _users_file(work / "callers.csv", CALLERS, destination=CALLEES)
    return _measure(load, "uac", work, ["-d", str(load.hold_ms), "-inf", str(users)])


def measure_registers(load: Load, work: Path) -> Result:
    """REGISTERs of all callees, each challenged once."""
    users = _users_file(work / "callees.csv", CALLEES)
    return _measure(load, "register", work, ["-key", "contact_port", str(load.uas_port), "-inf", str(users)])


@contextmanager
def registered_callees(load: Load, work: Path) -> Iterator[None]:
    """Somebody who answers every call, registered under all callees. Raises DriverError."""
    command = _command(load, "uas", load.uas_port, ["-aa"])
    answering = subprocess.Popen(command, cwd=work, env=_ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        users = _users_file(work / "registered.csv", CALLEES)
        extra = ["-key", "contact_port", str(load.uas_port), "-inf", str(users), "-r", "200", "-m", str(USERS)]
        ok = int(_run(load, "register", work, extra).get("SuccessfulCall(C)") or 0)
        if ok != USERS:
            raise DriverError(f"only {ok} of {USERS} callees could register at {load.target}")
        yield
    finally:
        answering.terminate()
        answering.wait()


def _measure(load: Load, scenario: str, work: Path, extra: list[str]) -> Result:
    warm_up = max(50, load.rate)
    _run(load, scenario, work, [*extra, "-r", str(load.rate), "-m", str(warm_up)])
    before = cpu_s(load.pids)
    last = _run(load, scenario, work, [*extra, "-r", str(load.rate), "-m", str(load.count)])
    spent = cpu_s(load.pids) - before
    ok = int(last.get("SuccessfulCall(C)") or 0)
    if not ok:
        raise DriverError(f"none of {load.count} succeeded at {load.target}")
    return Result(
        ok=ok,
        failed=int(last.get("FailedCall(C)") or 0),
        retransmissions=int(last.get("Retransmissions(C)") or 0),
        cpu_ms_each=spent * 1000 / ok,
        rss_mb=rss_mb(load.pids),
    )


def _run(load: Load, scenario: str, work: Path, extra: list[str]) -> dict[str, str]:
    """One SIPp run to its end; the last row of its statistics."""
    command = _command(load, scenario, load.uac_port, [*extra, "-trace_stat", "-fd", "1"])
    subprocess.run(
        command,
        cwd=work,
        env=_ENV,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=load.count / load.rate + _PATIENCE_S,
        check=False,
    )
    rows: list[dict[str, str]] = []
    for path in work.glob(f"{scenario}_*_.csv"):
        with path.open(newline="") as file:
            rows += csv.DictReader(file, delimiter=";")
        path.unlink()
    return rows[-1] if rows else {}


def _command(load: Load, scenario: str, port: int, extra: list[str]) -> list[str]:
    host = load.target.rsplit(":", 1)[0]
    local = "[::1]" if host.startswith("[") else "127.0.0.1"
    return [
        *("sipp", load.target, "-sf", str(HERE / "sipp" / f"{scenario}.xml"), "-i", local, "-mi", local.strip("[]")),
        *("-p", str(port), "-key", "domain", host, "-t", load.transport, "-nostdin", "-recv_timeout", "10000"),
        *("-l", "20000", *extra),
    ]


def _users_file(path: Path, first: int, *, destination: int | None = None) -> Path:
    rows = ["SEQUENTIAL"]
    for index in range(USERS):
        user = first + index
        row = f"{user};[authentication username={user} password=pw{user}];"
        rows.append(row if destination is None else f"{row}{destination + index};")
    path.write_text("\n".join(rows) + "\n")
    return path


_ENV = {**os.environ, "TERM": "dumb"}
