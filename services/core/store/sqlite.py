"""The hot state in a SQLite file, for one machine: `DATA/state.db`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from services.core.events.codec import pack, unpack
from services.core.events.envelope import Record, seal
from services.core.store.port import Change, Conflict, OutboxRow, OutboxStatus, Version
from services.core.store.sqlite_file import DEFAULT_LIMITS, Limits, SqliteFile

FILE_NAME = "state.db"

FORGET_AFTER_S: Mapping[str, float] = MappingProxyType({"call": 3600.0})
"""By kind: how long the version of a deleted aggregate is remembered; without an entry, for good. A call id never comes
back, but an AOR does, and the numbers of its events must go on."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    snapshot BLOB,
    UNIQUE (kind, key)
);
CREATE TABLE IF NOT EXISTS deleted (
    position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    time REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (position INTEGER PRIMARY KEY, time REAL NOT NULL, records BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outbox_done (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL);
INSERT OR IGNORE INTO outbox_done VALUES (1, 0);
CREATE TABLE IF NOT EXISTS value (space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (space, key))
WITHOUT ROWID;
"""

_CREATE = """
INSERT INTO state (kind, key, epoch, seq, snapshot) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET epoch = excluded.epoch, seq = seq + excluded.seq, snapshot = excluded.snapshot
WHERE snapshot IS NULL AND epoch <= excluded.epoch
RETURNING seq
"""
_ADVANCE = "UPDATE state SET epoch = ?, seq = ?, snapshot = ? WHERE kind = ? AND key = ? AND epoch = ? AND seq = ?"

_NOTHING = Version(0, 0)
_SCAN_ROWS = 256


def _blob(text: str) -> bytes:
    """Keys hold whatever a phone sent, so they are bytes to SQLite."""
    return text.encode("utf-8", "surrogateescape")


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogateescape")


class SqliteStore:
    """`Store` on one file that several processes may share. Commits run on the loop and wait for no disk."""

    def __init__(
        self,
        path: Path,
        *,
        site: str = "",
        node: str = "",
        forget_after_s: Mapping[str, float] = FORGET_AFTER_S,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Open or create the file. `site` and `node` sign the events. Raises StoreError."""
        self._site = site
        self._node = node
        self._forget_after_s = dict(forget_after_s)
        self._file = SqliteFile(path, _SCHEMA, 1, limits=limits)
        self._committed = asyncio.Event()

    def submit(self, changes: Sequence[Change]) -> asyncio.Future[list[Version | Conflict]]:
        if any(change.epoch < 1 for change in changes):
            raise ValueError("an epoch is at least 1")
        return self._file.submit(lambda cursor: [self._apply(cursor, change) for change in changes])

    async def commit(self, changes: Sequence[Change]) -> list[Version | Conflict]:
        return await self.submit(changes)

    async def load(self, kind: str, key: str) -> tuple[Version, bytes] | None:
        rows = self._file.read(
            "SELECT epoch, seq, snapshot FROM state WHERE kind = ? AND key = ? AND snapshot IS NOT NULL",
            (kind, _blob(key)),
        )
        return (Version(rows[0][0], rows[0][1]), rows[0][2]) if rows else None

    async def scan(self, kind: str) -> AsyncIterator[tuple[str, Version, bytes]]:
        after = b""  # no key is empty
        while True:
            rows = self._file.read(
                "SELECT key, epoch, seq, snapshot FROM state WHERE kind = ? AND key > ? AND snapshot IS NOT NULL "
                "ORDER BY key LIMIT ?",
                (kind, after, _SCAN_ROWS),
            )
            for key, epoch, seq, snapshot in rows:
                yield _text(key), Version(epoch, seq), snapshot
            if len(rows) < _SCAN_ROWS:
                return
            after = rows[-1][0]

    async def get_value(self, space: str, key: str) -> str | None:
        rows = self._file.read("SELECT value FROM value WHERE space = ? AND key = ?", (space, _blob(key)))
        return _text(rows[0][0]) if rows else None

    async def put_value(self, space: str, key: str, value: str) -> None:
        row = (space, _blob(key), _blob(value))
        await self._file.submit(lambda cursor: _execute(cursor, "REPLACE INTO value VALUES (?, ?, ?)", row))

    async def delete_value(self, space: str, key: str) -> None:
        row = (space, _blob(key))
        await self._file.submit(lambda cursor: _execute(cursor, "DELETE FROM value WHERE space = ? AND key = ?", row))

    async def outbox(self, limit: int) -> list[OutboxRow]:
        rows = self._file.read(
            "SELECT position, records FROM outbox WHERE position > (SELECT position FROM outbox_done) "
            "ORDER BY position LIMIT ?",
            (limit,),
        )
        return [OutboxRow(position, tuple(Record(*fields) for fields in unpack(records))) for position, records in rows]

    async def outbox_done(self, up_to: int) -> None:
        await self._file.submit(lambda cursor: _acknowledge(cursor, up_to))

    async def outbox_status(self) -> OutboxStatus:
        rows = self._file.read(
            "SELECT count(*), ifnull(min(time), 0.0) FROM outbox WHERE position > (SELECT position FROM outbox_done)"
        )
        return OutboxStatus(*rows[0])

    async def outbox_wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._committed.wait()
        except TimeoutError:
            return
        self._committed.clear()

    async def close(self) -> None:
        await self._file.close()

    def _apply(self, cursor: sqlite3.Cursor, change: Change) -> Version | Conflict:
        """Keep one change inside the transaction, or find out where its aggregate is."""
        key, expected, epoch = _blob(change.key), change.expected, change.epoch
        seq = expected.seq + len(change.events)
        if expected == _NOTHING:
            row = cursor.execute(_CREATE, (change.kind, key, epoch, seq, change.snapshot)).fetchone()
            if row is None:
                return self._conflict(cursor, change.kind, key)
            seq = row[0]
        elif epoch < expected.epoch:
            return self._conflict(cursor, change.kind, key)
        else:
            values = (epoch, seq, change.snapshot, change.kind, key, expected.epoch, expected.seq)
            if cursor.execute(_ADVANCE, values).rowcount != 1:
                return self._conflict(cursor, change.kind, key)
        if change.events:
            self._put_in_outbox(cursor, change, seq)
        if change.snapshot is None:
            self._forget(cursor, change, key)
        return Version(epoch, seq)

    def _conflict(self, cursor: sqlite3.Cursor, kind: str, key: bytes) -> Conflict:
        cursor.execute("SELECT epoch, seq FROM state WHERE kind = ? AND key = ?", (kind, key))
        row = cursor.fetchone()
        return Conflict(Version(*row) if row else _NOTHING)

    def _put_in_outbox(self, cursor: sqlite3.Cursor, change: Change, last_seq: int) -> None:
        """One row for the events of a change: a third of the cost of a row for each."""
        site, node = self._site, self._node
        records = []
        times = change.times or (change.time,) * len(change.events)
        seq = last_seq - len(change.events)
        for event, time in zip(change.events, times, strict=True):
            seq += 1
            record = seal(event, key=change.key, epoch=change.epoch, seq=seq, time=time, site=site, node=node)
            records.append((record.topic, record.key, record.epoch, record.seq, record.value))
        cursor.execute("INSERT INTO outbox (time, records) VALUES (?, ?)", (change.time, pack(records)))
        self._committed.set()  # the transaction ends before anybody else runs

    def _forget(self, cursor: sqlite3.Cursor, change: Change, key: bytes) -> None:
        """Remember when it was deleted, and let go of versions that were remembered long enough."""
        forget_after_s = self._forget_after_s.get(change.kind)
        if forget_after_s is None:
            return
        cursor.execute("INSERT INTO deleted (kind, key, time) VALUES (?, ?, ?)", (change.kind, key, change.time))
        # Two for one, so the table shrinks however fast calls come. The oldest are the first, so no more are looked at.
        oldest = cursor.execute("SELECT position, kind, key, time FROM deleted ORDER BY position LIMIT 2").fetchall()
        for position, kind, old_key, time in oldest:
            if time + self._forget_after_s.get(kind, 0.0) < change.time:
                cursor.execute("DELETE FROM deleted WHERE position = ?", (position,))
                cursor.execute("DELETE FROM state WHERE kind = ? AND key = ? AND snapshot IS NULL", (kind, old_key))


def _execute(cursor: sqlite3.Cursor, sql: str, parameters: Sequence[object]) -> None:
    cursor.execute(sql, parameters)


def _acknowledge(cursor: sqlite3.Cursor, up_to: int) -> None:
    """The last row stays, so that SQLite counts on from it: a position that came twice would let a forwarder of another
    process acknowledge what it never saw. (AUTOINCREMENT does the same for one more page in every commit.)"""
    cursor.execute(
        "UPDATE outbox_done SET position = max(position, min(?, (SELECT ifnull(max(position), 0) FROM outbox)))",
        (up_to,),
    )
    cursor.execute("DELETE FROM outbox WHERE position < (SELECT position FROM outbox_done)")
