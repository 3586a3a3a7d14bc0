"""Several processes on one data directory, and processes that die: nothing is lost and nothing comes twice."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path

from services.core.eventlog.forwarder import Forwarder
from services.core.eventlog.sqlite import SqliteLog, SqliteLogReader
from services.core.store.sqlite import SqliteStore
from tests.core.store.writer import SHARED

STEPS = 150


async def writer(directory: Path, name: str, count: int) -> asyncio.subprocess.Process:
    arguments = ("-m", "tests.core.store.writer", str(directory), name, str(count))
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)


async def accepted(process: asyncio.subprocess.Process, lines: int | None = None) -> list[str]:
    """What a writer says it got into the store: so many lines, or all of them."""
    assert process.stdout is not None
    found: list[str] = []
    while lines is None or len(found) < lines:
        line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            break
        found.append(line.decode().strip())
    return found


def logged(directory: Path) -> list[str]:
    reader = SqliteLogReader(directory / "log.db")
    found = [f"{record.key} {record.seq}" for _, record in reader.read()]
    reader.close()
    return found


async def test_two_processes_share_a_store_and_a_log(tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        writers = [await writer(tmp_path, name, STEPS) for name in ("edge", "registrar")]
        said = [line for lines in await asyncio.gather(*map(accepted, writers)) for line in lines]
        assert [await process.wait() for process in writers] == [0, 0]
    expected = Counter(
        [f"{name} {seq}" for name in ("edge", "registrar") for seq in range(1, STEPS + 1)]
        + [f"{SHARED} {seq}" for seq in range(1, 2 * STEPS + 1)]
    )
    assert Counter(said) == expected
    found = logged(tmp_path)
    assert Counter(found) == expected
    for key in ("edge", "registrar", SHARED):
        assert [line for line in found if line.startswith(f"{key} ")] == [
            f"{key} {seq}" for seq in range(1, expected.total() + 1) if f"{key} {seq}" in expected
        ]


async def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        process = await writer(tmp_path, "edge", 0)
        said = await accepted(process, lines=200)
        process.send_signal(signal.SIGKILL)
        said += await accepted(process)
        await process.wait()
    store, log = SqliteStore(tmp_path / "state.db"), SqliteLog(tmp_path / "log.db")
    last = int(next(line for line in reversed(said) if line.startswith("edge ")).split()[1])
    loaded = await store.load("call", "edge")
    assert loaded is not None
    assert loaded[0].seq in (last, last + 1)  # the last one may have been kept but not said
    await Forwarder(store, log).drain()
    await store.close()
    await log.close()
    found = logged(tmp_path)
    assert len(set(found)) == len(found)
    assert set(said) <= set(found)
    assert [line for line in found if line.startswith("edge ")] == [f"edge {n + 1}" for n in range(loaded[0].seq)]
