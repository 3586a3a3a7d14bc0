"""What every event log promises (`services/core/eventlog/port.py`), whichever adapter keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.core.eventlog.port import EventLog, Positioned
from services.core.eventlog.sqlite import SqliteLog
from services.core.events.envelope import Record

OpenLog = Callable[[Path], EventLog]
ADAPTERS: dict[str, OpenLog] = {"sqlite": lambda path: SqliteLog(path / "log.db")}


@pytest.fixture(params=ADAPTERS)
def open_log(request: pytest.FixtureRequest) -> OpenLog:
    return ADAPTERS[request.param]


@pytest.fixture
async def log(open_log: OpenLog, tmp_path: Path) -> AsyncIterator[EventLog]:
    log = open_log(tmp_path)
    yield log
    await log.close()


def record(seq: int, key: str = "k", epoch: int = 1, topic: str = "pbx.calls") -> Record:
    return Record(topic, key, epoch, seq, f"{key} {epoch} {seq}".encode("utf-8", "surrogateescape"))


def records(found: list[Positioned]) -> list[Record]:
    return [one for _, one in found]


async def test_an_empty_log_has_nothing(log: EventLog) -> None:
    assert await log.read(None, 0, 10) == []
    assert await log.read_key("pbx.calls", "k") == []
    assert await log.end() == 0
    assert await log.append([]) == 0


async def test_records_are_read_in_the_order_in_which_they_were_appended(log: EventLog) -> None:
    appended = [record(1), record(1, "other"), record(2), record(1, "third", topic="pbx.registrations")]
    assert await log.append(appended[:2]) == 2
    assert await log.append(appended[2:]) == 2
    found = await log.read(None, 0, 10)
    assert records(found) == appended
    positions = [position for position, _ in found]
    assert positions == sorted(set(positions))
    assert positions[0] > 0
    assert await log.end() == positions[-1]


async def test_reading_goes_on_behind_a_position(log: EventLog) -> None:
    await log.append([record(seq) for seq in range(1, 8)])
    seen: list[Record] = []
    after = 0
    while chunk := await log.read(None, after, 3):
        assert len(chunk) <= 3
        seen += records(chunk)
        after = chunk[-1][0]
    assert seen == [record(seq) for seq in range(1, 8)]


async def test_one_topic_can_be_read(log: EventLog) -> None:
    await log.append([record(1), record(1, "r", topic="pbx.registrations"), record(2)])
    assert records(await log.read("pbx.calls", 0, 10)) == [record(1), record(2)]
    assert records(await log.read("pbx.registrations", 0, 10)) == [record(1, "r", topic="pbx.registrations")]
    assert await log.read("pbx.media", 0, 10) == []


async def test_one_key_can_be_read(log: EventLog) -> None:
    await log.append([record(1), record(1, "other"), record(2), record(1, topic="pbx.registrations")])
    assert records(await log.read_key("pbx.calls", "k")) == [record(1), record(2)]


async def test_appending_again_changes_nothing(log: EventLog) -> None:
    assert await log.append([record(1), record(2)]) == 2
    before = await log.read(None, 0, 10)
    assert await log.append([record(1), record(2), record(3), record(3)]) == 1
    assert await log.read(None, 0, 10) == [*before, ((await log.end()), record(3))]


async def test_records_of_another_topic_key_or_epoch_are_no_repetition(log: EventLog) -> None:
    alike = [record(1), record(1, "other"), record(1, epoch=2), record(1, topic="pbx.registrations")]
    assert await log.append(alike) == 4


async def test_keys_may_hold_any_character(log: EventLog) -> None:
    keys = ["a:b@[2001:db8::1]", "{x}", "日本", "\udcff\udc80", ""]
    await log.append([record(1, key) for key in keys])
    assert [one.key for one in records(await log.read(None, 0, 10))] == keys
    assert records(await log.read_key("pbx.calls", "\udcff\udc80")) == [record(1, "\udcff\udc80")]


async def test_a_follower_gets_what_is_there_and_what_comes(log: EventLog) -> None:
    await log.append([record(1), record(2), record(1, "r", topic="pbx.registrations")])
    follower = log.follow("pbx.calls", (await log.read(None, 0, 1))[0][0])
    async with asyncio.timeout(10):
        assert (await anext(follower))[1] == record(2)
        coming = asyncio.ensure_future(anext(follower))
        await asyncio.sleep(0)
        await log.append([record(2, "r", topic="pbx.registrations"), record(3), record(4)])
        assert (await coming)[1] == record(3)
        assert (await anext(follower))[1] == record(4)


async def test_everything_is_there_after_reopening(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log(tmp_path)
    await log.append([record(1), record(2)])
    before = await log.read(None, 0, 10)
    await log.close()
    log = open_log(tmp_path)
    assert await log.read(None, 0, 10) == before
    assert await log.append([record(2), record(3)]) == 1
    await log.close()
