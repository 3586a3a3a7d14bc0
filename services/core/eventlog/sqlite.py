"""The history in a SQLite file, for one machine: `DATA/log.db`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from services.core.eventlog.port import EventLogError, Positioned
from services.core.events.envelope import Record
from services.core.store.port import StoreError
from services.core.store.sqlite_file import DEFAULT_LIMITS, Limits, SqliteFile

FILE_NAME = "log.db"
VERSION = 1

FOLLOW_POLL_S = 0.2
"""How often a follower looks for what another process appended."""
CHUNK = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    position INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    key BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value BLOB NOT NULL,
    UNIQUE (topic, key, epoch, seq)
);
"""
_INSERT = "INSERT OR IGNORE INTO record (topic, key, epoch, seq, value) VALUES (?, ?, ?, ?, ?)"
_SELECT = "SELECT position, topic, key, epoch, seq, value FROM record"


def _query(topic: str | None, after: int, limit: int) -> tuple[str, tuple[Any, ...]]:
    if topic is None:
        return f"{_SELECT} WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
    # '+': by position, not by the index on the topic, which would have to be sorted first.
    return f"{_SELECT} WHERE position > ? AND +topic = ? ORDER BY position LIMIT ?", (after, topic, limit)


def _key_query(topic: str, key: str) -> tuple[str, tuple[Any, ...]]:
    return f"{_SELECT} WHERE topic = ? AND key = ? ORDER BY position", (topic, _blob(key))


def _blob(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _positioned(row: tuple[Any, ...]) -> Positioned:
    position, topic, key, epoch, seq, value = row
    return position, Record(topic, key.decode("utf-8", "surrogateescape"), epoch, seq, value)


class SqliteLog:
    """`EventLog` on one file that several processes may share. Appends run on the loop and wait for no disk."""

    def __init__(self, path: Path, *, limits: Limits = DEFAULT_LIMITS) -> None:
        """Open or create the file. Raises EventLogError."""
        try:
            self._file = SqliteFile(path, _SCHEMA, VERSION, limits=limits)
        except StoreError as error:
            raise EventLogError(str(error)) from error
        self._appended = asyncio.Condition()

    async def append(self, records: Sequence[Record]) -> int:
        rows = [(record.topic, _blob(record.key), record.epoch, record.seq, record.value) for record in records]
        try:
            new = await self._file.submit(lambda cursor: cursor.executemany(_INSERT, rows).rowcount)
        except StoreError as error:
            raise EventLogError(str(error)) from error
        async with self._appended:
            self._appended.notify_all()
        return max(new, 0)  # -1 for no rows at all

    async def read(self, topic: str | None, after: int, limit: int) -> list[Positioned]:
        return self._rows(*_query(topic, after, limit))

    async def read_key(self, topic: str, key: str) -> list[Positioned]:
        return self._rows(*_key_query(topic, key))

    async def end(self) -> int:
        try:
            end: int = self._file.read("SELECT ifnull(max(position), 0) FROM record")[0][0]
        except StoreError as error:
            raise EventLogError(str(error)) from error
        return end

    async def follow(self, topic: str | None, after: int) -> AsyncIterator[Positioned]:
        while True:
            chunk = await self.read(topic, after, CHUNK)
            for position, record in chunk:
                yield position, record
                after = position
            if not chunk:
                await self._wait()

    async def close(self) -> None:
        await self._file.close()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(FOLLOW_POLL_S), self._appended:
                await self._appended.wait()
        except TimeoutError:
            return

    def _rows(self, sql: str, parameters: tuple[Any, ...]) -> list[Positioned]:
        try:
            return [_positioned(row) for row in self._file.read(sql, parameters)]
        except StoreError as error:
            raise EventLogError(str(error)) from error


class SqliteLogReader:
    """Reads the file of a `SqliteLog`, running or not, without an event loop and without writing to it."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises EventLogError when it cannot be read; FileNotFoundError when there is none."""
        if not path.exists():
            raise FileNotFoundError(path)
        self._path = path
        try:
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise EventLogError(f"{path}: {error}") from error
        try:
            found = self._fetch("PRAGMA user_version", ())[0][0]
            if found != VERSION:
                raise EventLogError(f"{path}: schema {found}, this program reads {VERSION}")
        except EventLogError:
            self._connection.close()
            raise

    def read(self, topic: str | None = None, after: int = 0) -> Iterator[Positioned]:
        """Every record behind `after` that there is now. Reads in pieces, so it holds up no writer."""
        while True:
            chunk = self.chunk(after, CHUNK, topic)
            yield from chunk
            if len(chunk) < CHUNK:
                return
            after = chunk[-1][0]

    def chunk(self, after: int, limit: int, topic: str | None = None) -> list[Positioned]:
        """At most `limit` records behind `after`."""
        return self._rows(*_query(topic, after, limit))

    def read_key(self, topic: str, key: str) -> list[Positioned]:
        """Everything about one call or one address of record."""
        return self._rows(*_key_query(topic, key))

    def last(self, count: int, topic: str | None = None) -> list[Positioned]:
        """The newest so many records, the oldest of them first."""
        where, parameters = ("WHERE +topic = ? ", (topic,)) if topic is not None else ("", ())
        return self._rows(f"{_SELECT} {where}ORDER BY position DESC LIMIT ?", (*parameters, count))[::-1]

    def end(self) -> int:
        """The position of the last record; 0 when there is none."""
        return int(self._fetch("SELECT ifnull(max(position), 0) FROM record", ())[0][0])

    def count(self, after: int = 0) -> int:
        """How many records are behind a position."""
        return int(self._fetch("SELECT count(*) FROM record WHERE position > ?", (after,))[0][0])

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _rows(self, sql: str, parameters: tuple[Any, ...]) -> list[Positioned]:
        return [_positioned(row) for row in self._fetch(sql, parameters)]

    def _fetch(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise EventLogError(f"{self._path}: {error}") from error
