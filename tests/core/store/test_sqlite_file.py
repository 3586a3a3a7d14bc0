"""The SQLite file: it waits for nobody, loses nothing, and says what is wrong with it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from services.core.store.port import StoreError
from services.core.store.sqlite_file import Limits, SqliteFile, connect

SCHEMA = "CREATE TABLE IF NOT EXISTS line (text TEXT);"
EAGER = Limits(sync_interval_s=0.0, checkpoint_bytes=16 * 1024)


def opened(path: Path, limits: Limits = EAGER) -> SqliteFile:
    return SqliteFile(path / "x.db", SCHEMA, 1, limits=limits)


def writing(text: str) -> Callable[[sqlite3.Cursor], None]:
    return lambda cursor: (cursor.execute("INSERT INTO line VALUES (?)", (text,)), None)[1]


def lines(file: SqliteFile) -> list[str]:
    return [row[0] for row in file.read("SELECT text FROM line ORDER BY rowid")]


async def test_everything_submitted_in_a_turn_is_one_transaction(tmp_path: Path) -> None:
    file = opened(tmp_path)
    states: list[int] = []

    def total(cursor: sqlite3.Cursor) -> int:
        states.append(cursor.connection.total_changes)
        return len(cursor.execute("SELECT 1 FROM line").fetchall())

    futures = [file.submit(writing("a")), file.submit(writing("b"))]
    counted = file.submit(total)
    other = connect(tmp_path / "x.db", busy_timeout_s=1)
    assert await counted == 2
    await asyncio.gather(*futures)
    assert other.execute("SELECT count(*) FROM line").fetchone() == (2,)
    other.close()
    await file.close()


async def test_the_log_is_brought_into_the_database_while_writing_goes_on(tmp_path: Path) -> None:
    file = opened(tmp_path)
    written = 0

    async def write_on() -> None:
        nonlocal written
        while _checkpoints(file) < 5:
            await asyncio.gather(*[file.submit(writing(f"{written + n:05}" + "x" * 500)) for n in range(10)])
            written += 10

    async with asyncio.timeout(30):
        await write_on()
    assert [line[:5] for line in lines(file)] == [f"{number:05}" for number in range(written)]
    assert (tmp_path / "x.db").stat().st_size > 16 * 1024
    await file.close()


async def test_a_writer_elsewhere_delays_a_transaction_and_not_the_loop(tmp_path: Path) -> None:
    file = opened(tmp_path)
    other = connect(tmp_path / "x.db", busy_timeout_s=0)
    other.execute("BEGIN IMMEDIATE")
    future = file.submit(writing("late"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not future.done()
    other.execute("COMMIT")
    async with asyncio.timeout(10):
        await future
    assert lines(file) == ["late"]
    other.close()
    await file.close()


async def test_a_writer_that_never_ends_is_an_error_after_a_while(tmp_path: Path) -> None:
    file = opened(tmp_path, Limits(busy_limit_s=0.01))
    other = connect(tmp_path / "x.db", busy_timeout_s=0)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"x\.db: database is locked"):
        await file.submit(writing("never"))
    other.execute("ROLLBACK")
    await file.submit(writing("again"))
    assert lines(file) == ["again"]
    other.close()
    await file.close()


async def test_a_full_disk_is_an_error_and_the_file_stays_usable(tmp_path: Path) -> None:
    file = opened(tmp_path)
    await file.submit(lambda cursor: (cursor.execute("PRAGMA max_page_count = 1"), None)[1])
    with pytest.raises(StoreError, match="full"):
        await file.submit(writing("x" * 100_000))
    await file.submit(lambda cursor: (cursor.execute("PRAGMA max_page_count = 10000"), None)[1])
    await file.submit(writing("fits"))
    assert lines(file) == ["fits"]
    await file.close()


async def test_a_failure_of_one_does_not_touch_the_others_of_its_turn(tmp_path: Path) -> None:
    file = opened(tmp_path)

    def broken(cursor: sqlite3.Cursor) -> None:
        cursor.execute("INSERT INTO line VALUES ('half')")
        raise KeyError("broken")

    def wrong(cursor: sqlite3.Cursor) -> None:
        cursor.execute("INSERT INTO nowhere VALUES (1)")

    futures = [file.submit(run) for run in (writing("a"), broken, writing("b"), wrong, writing("c"))]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), KeyError, type(None), StoreError, type(None)]
    assert lines(file) == ["a", "b", "c"]
    await file.close()


async def test_a_query_that_fails_is_a_store_error(tmp_path: Path) -> None:
    file = opened(tmp_path)
    with pytest.raises(StoreError, match=r"x\.db: no such table"):
        file.read("SELECT * FROM nowhere")
    await file.close()


async def test_closing_leaves_one_file_that_holds_everything(tmp_path: Path) -> None:
    file = opened(tmp_path, Limits())
    file.submit(writing("last"))
    await file.close()
    await file.close()
    assert os.listdir(tmp_path) == ["x.db"]
    plain = sqlite3.connect(tmp_path / "x.db")
    assert plain.execute("SELECT text FROM line").fetchall() == [("last",)]
    plain.close()
    with pytest.raises(StoreError, match="closed"):
        file.submit(writing("too late"))


async def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/x\.db"):
        opened(tmp_path / "nowhere")


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match=r"x\.db: file is not a database"):
        opened(tmp_path)


async def test_a_file_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    newer = SqliteFile(tmp_path / "x.db", SCHEMA, 2)
    await newer.close()
    with pytest.raises(StoreError, match="newer program"):
        opened(tmp_path)


async def test_the_disk_has_it_soon_without_the_loop_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, synced = asyncio.get_running_loop(), asyncio.Event()
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: loop.call_soon_threadsafe(synced.set))
    file = opened(tmp_path, Limits(sync_interval_s=0.0))
    await file.submit(writing("a"))
    async with asyncio.timeout(20):
        await synced.wait()
    await file.close()


def _checkpoints(file: SqliteFile) -> int:
    count: int = file.read("SELECT count FROM checkpoints")[0][0]
    return count
