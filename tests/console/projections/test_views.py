"""The projections' file: the same whatever the way the log was read."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.console.projections.views import FILE_NAME, VIEWS, Views, ViewsError
from services.core.eventlog.sqlite import FILE_NAME as LOG_FILE
from services.core.eventlog.sqlite import SqliteLogReader
from services.core.events.envelope import Record
from tests.console.projections.streams import ANSWERED_CALL, bound, refreshed, stream, unbound, write_log

NAMES = [view.name for view in VIEWS]
HISTORY = [
    *stream("call-1", ANSWERED_CALL),
    *stream("alice@example.com", [(0.0, bound("1")), (1.0, bound("2")), (2.0, refreshed("1")), (3.0, unbound("2"))]),
    *stream("call-\udcff:[2001:db8::1]", ANSWERED_CALL[:7]),
    *stream("call-2", ANSWERED_CALL),
    *stream("bob@example.com", [(0.0, bound("3")), (9.0, unbound("3", "expired"))]),
]


@contextmanager
def opened(folder: Path) -> Iterator[Views]:
    with closing(SqliteLogReader(folder / LOG_FILE)) as log, Views(folder, log) as views:
        yield views


def all_of(folder: Path, chunk: int = 1000) -> list[tuple[str, bytes, str]]:
    """Every projection, brought up to date: its lines and its digest."""
    with opened(folder) as views:
        views.catch_up(chunk=chunk)
        return [(name, b"".join(views.dump(name)), views.digest(name)) for name in NAMES]


async def test_a_rebuilt_projection_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    for start in range(0, len(HISTORY), 5):  # as a PBX that is asked now and then
        await write_log(tmp_path, HISTORY[start : start + 5])
        all_of(tmp_path)
    before = all_of(tmp_path)
    assert all(lines for _, lines, _ in before)
    with opened(tmp_path) as views:
        progress = views.rebuild()
        assert progress.events == len(HISTORY)
    assert all_of(tmp_path) == before
    (tmp_path / FILE_NAME).unlink()
    assert all_of(tmp_path) == before


async def test_the_projections_hold_what_the_history_says(tmp_path: Path) -> None:
    await write_log(tmp_path, HISTORY)
    with opened(tmp_path) as views:
        views.catch_up()
        assert [row["uniqueid"] for row in views.rows("cdr")] == ["call-1", "call-2"]
        assert [row["call"] for row in views.rows("calls")] == ["call-\udcff:[2001:db8::1]"]
        assert [row["aor"] for row in views.rows("registrations")] == ["alice@example.com"]


async def test_catching_up_again_finds_nothing_to_do(tmp_path: Path) -> None:
    await write_log(tmp_path, HISTORY)
    with opened(tmp_path) as views:
        told: list[int] = []
        first = views.catch_up(told.append, chunk=7)
        assert sum(told) == len(HISTORY) == first.events
        assert views.catch_up() == first
        assert (first.duplicates, first.unreadable) == (0, 0)


chances = st.randoms(use_true_random=False)


@settings(max_examples=25, deadline=None)
@given(chance=chances, chunk=st.integers(1, 20), repeated=st.integers(0, 5))
def test_neither_interleaving_nor_chunks_nor_repetitions_change_a_projection(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, chunk: int, repeated: int
) -> None:
    records = _interleaved(chance)
    plain, other = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("other")
    asyncio.run(write_log(plain, HISTORY))
    asyncio.run(write_log(other, records))
    for start in range(repeated):  # a log that, unlike ours, tells things twice
        _append_again(other, records[start * 3 : start * 3 + 4])
    assert all_of(other, chunk) == all_of(plain)
    with opened(other) as views:
        assert views.progress().duplicates == sum(len(records[n * 3 : n * 3 + 4]) for n in range(repeated))


def _interleaved(chance: random.Random) -> list[Record]:
    """The history with the order kept per key and no other."""
    queues: dict[str, list[Record]] = {}
    for record in HISTORY:
        queues.setdefault(record.key, []).append(record)
    found: list[Record] = []
    while queues:
        key = chance.choice(sorted(queues))
        found.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
    return found


def _append_again(folder: Path, records: Sequence[Record]) -> None:
    """Put records into the log a second time, behind its back: under another topic they would be refused."""
    log = sqlite3.connect(folder / LOG_FILE)
    log.execute("CREATE TABLE IF NOT EXISTS copy AS SELECT * FROM record")
    if log.execute("SELECT type FROM sqlite_master WHERE name = 'record'").fetchone() == ("table",):
        log.execute("DROP TABLE record")
        log.execute("CREATE VIEW record AS SELECT * FROM copy")
    for record in records:
        key = record.key.encode("utf-8", "surrogateescape")
        log.execute(
            "INSERT INTO copy SELECT max(position) + 1, ?, ?, ?, ?, ? FROM copy",
            (record.topic, key, record.epoch, record.seq, record.value),
        )
    log.commit()
    log.close()


async def test_a_record_that_is_no_event_is_counted_and_skipped(tmp_path: Path) -> None:
    await write_log(
        tmp_path, [Record("pbx.calls", "call-0", 1, 1, b"\xc1"), Record("pbx.other", "x", 1, 1, b"\x80"), *HISTORY]
    )
    with opened(tmp_path) as views:
        progress = views.catch_up()
        assert (progress.unreadable, progress.events) == (2, len(HISTORY) + 2)
        assert len(list(views.rows("cdr"))) == 2


async def test_the_last_records_can_be_asked_for(tmp_path: Path) -> None:
    await write_log(tmp_path, HISTORY)
    with opened(tmp_path) as views:
        views.catch_up()
        assert [row["uniqueid"] for row in views.rows("cdr", last=1)] == ["call-2"]
        assert [row["uniqueid"] for row in views.rows("cdr", last=9)] == ["call-1", "call-2"]


@pytest.mark.parametrize("damage", ["not a database", "other version", "empty"])
async def test_a_file_of_no_use_is_made_again(tmp_path: Path, damage: str) -> None:
    await write_log(tmp_path, HISTORY)
    before = all_of(tmp_path)
    match damage:
        case "not a database":
            (tmp_path / FILE_NAME).write_bytes(b"garbage " * 1000)
        case "other version":
            file = sqlite3.connect(tmp_path / FILE_NAME)
            file.execute("PRAGMA user_version = 99")
            file.execute("DROP TABLE kept")
            file.commit()
            file.close()
        case _:
            (tmp_path / FILE_NAME).write_bytes(b"")
    assert all_of(tmp_path) == before


async def test_a_file_damaged_inside_says_how_to_make_it_again(tmp_path: Path) -> None:
    await write_log(tmp_path, HISTORY)
    before = all_of(tmp_path)
    data = bytearray((tmp_path / FILE_NAME).read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (tmp_path / FILE_NAME).write_bytes(data)
    with opened(tmp_path) as views:
        with pytest.raises(ViewsError, match="pbx events rebuild"):
            list(views.rows("cdr"))
        views.rebuild()
    assert all_of(tmp_path) == before


async def test_two_who_catch_up_at_once_fold_every_event_once(tmp_path: Path) -> None:
    await write_log(tmp_path, HISTORY)
    expected = all_of(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    with opened(tmp_path):
        pass
    results = await asyncio.gather(*[asyncio.to_thread(all_of, tmp_path, 1) for _ in range(3)])
    assert results == [expected] * 3
    with opened(tmp_path) as views:
        assert views.progress().events == len(HISTORY)


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    await write_log(tmp_path, HISTORY)
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(ViewsError, match=r"views\.db"), opened(tmp_path):
        pass
