"""The forwarder: in order, at least once, and the log makes it exactly once."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.core.eventlog.forwarder import Forwarder
from services.core.eventlog.port import EventLogError
from services.core.eventlog.sqlite import SqliteLog
from services.core.events.catalogue import LegRinging
from services.core.events.envelope import Record
from services.core.store.port import Change, Version
from services.core.store.sqlite import SqliteStore
from tests.core.eventlog import dying_forwarder

EVENTS = (LegRinging(leg="b", status=180), LegRinging(leg="c", status=183))


class FailingLog(SqliteLog):
    """Is away for a number of appends; of the first it keeps a part without saying so, as a broker may."""

    failures = 2

    async def append(self, records: Sequence[Record]) -> int:
        if self.failures:
            self.failures -= 1
            await super().append(records[:1])
            raise EventLogError("broker away")
        return await super().append(records)


@asynccontextmanager
async def opened(
    directory: Path, log_type: type[SqliteLog] = SqliteLog
) -> AsyncIterator[tuple[SqliteStore, SqliteLog]]:
    store, log = SqliteStore(directory / "state.db"), log_type(directory / "log.db")
    yield store, log
    await store.close()
    await log.close()


async def commit(store: SqliteStore, *keys: str) -> None:
    for key in keys:
        change = Change(kind="call", key=key, expected=Version(0, 0), epoch=1, events=EVENTS, snapshot=b"", time=1.0)
        assert await store.commit([change]) == [Version(1, 2)]


async def logged(log: SqliteLog) -> list[tuple[str, int]]:
    return [(record.key, record.seq) for _, record in await log.read(None, 0, 1000)]


async def test_everything_committed_is_forwarded_in_order_and_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, log):
        await commit(store, "a", "b", "c")
        forwarder = Forwarder(store, log, batch=2)
        assert [await forwarder.forward() for _ in range(3)] == [2, 1, 0]
        assert await logged(log) == [(key, seq) for key in "abc" for seq in (1, 2)]
        assert await store.outbox(10) == []
        assert (forwarder.stats.published, forwarder.stats.duplicates) == (6, 0)


async def test_a_commit_wakes_the_running_forwarder(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, log):
        running = asyncio.create_task(Forwarder(store, log, linger_s=0.0, poll_s=60.0).run())
        follower = log.follow(None, 0)
        async with asyncio.timeout(10):
            for key in "ab":
                await commit(store, key)
                assert [(await anext(follower))[1].key for _ in EVENTS] == [key, key]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_log_that_is_away_is_tried_again_and_gets_everything_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with opened(tmp_path, FailingLog) as (store, log):
        await commit(store, "a", "b")
        forwarder = Forwarder(store, log, linger_s=0.0)
        running = asyncio.create_task(forwarder.run())
        follower = log.follow(None, 0)
        async with asyncio.timeout(10):
            found = [(await anext(follower))[1] for _ in range(4)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [(record.key, record.seq) for record in found] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
        assert (forwarder.stats.failures, forwarder.stats.published, forwarder.stats.duplicates) == (2, 3, 1)
    assert "broker away" in caplog.text


async def test_it_says_how_much_waits(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, log):
        forwarder = Forwarder(store, log)
        assert forwarder.status.depth == 0
        await commit(store, "a")
        await forwarder.drain()
        assert forwarder.status.depth == 0


async def test_killed_between_append_and_acknowledgement_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, _):
        await commit(store, "a", "b", "c")
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.core.eventlog.dying_forwarder", str(tmp_path)
        )
        async with asyncio.timeout(30):
            assert await process.wait() == -signal.SIGKILL
    async with opened(tmp_path) as (store, log):
        assert await logged(log) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
        forwarder = Forwarder(store, log)
        await forwarder.drain()
        assert await logged(log) == [(key, seq) for key in "abc" for seq in (1, 2)]
        assert (forwarder.stats.published, forwarder.stats.duplicates) == (2, 2 * dying_forwarder.BATCH)


async def test_two_forwarders_on_one_outbox_do_no_harm(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, log):
        await commit(store, *[f"k{number}" for number in range(50)])
        forwarders = [Forwarder(store, log, batch=batch) for batch in (3, 7)]
        await asyncio.gather(*[forwarder.drain() for forwarder in forwarders])
        assert await logged(log) == [(f"k{number}", seq) for number in range(50) for seq in (1, 2)]
        assert sum(forwarder.stats.published for forwarder in forwarders) == 100
