"""The projections in `DATA/views.db`, brought up to date from the log whenever somebody asks.

The file holds nothing that the log does not: it can be deleted at any time, and a file of another version, or a damaged
one, is. Several processes may bring it up to date at once; they take turns.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.console.projections.calls import ACTIVE_CALLS
from services.console.projections.cdr import CDR
from services.console.projections.registrations import REGISTRATIONS
from services.console.projections.view import Kept, Row, View, advance
from services.core.eventlog.port import Positioned
from services.core.eventlog.sqlite import SqliteLogReader
from services.core.events.codec import CodecError, codec_of
from services.core.events.envelope import unseal

FILE_NAME = "views.db"
VERSION = 1
"""Of the folds and of the file: raise it when either changes, and every file is made again."""

VIEWS: tuple[View[Any], ...] = (ACTIVE_CALLS, REGISTRATIONS, CDR)

CHUNK = 2000
"""Events folded in one transaction."""
_BUSY_S = 30.0

_SCHEMA = f"""
DROP TABLE IF EXISTS progress;
DROP TABLE IF EXISTS kept;
CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL,
    events INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    unreadable INTEGER NOT NULL
);
INSERT INTO progress VALUES (1, 0, 0, 0, 0);
CREATE TABLE kept (
    view TEXT NOT NULL,
    key BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    place REAL,
    state BLOB,
    PRIMARY KEY (view, key)
) WITHOUT ROWID;
CREATE INDEX shown ON kept (view, place, key) WHERE place IS NOT NULL;
PRAGMA user_version = {VERSION};
"""


class ViewsError(Exception):
    """The projections cannot be read or brought up to date; `str()` is one line."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the log has been read, and what was found there."""

    position: int
    events: int
    duplicates: int
    """Events that came again (the same key, epoch and seq) and were dropped."""
    unreadable: int
    """Records that are no event; they are skipped."""


Told = Callable[[int], None]
"""Called with the number of events that were read since the last call."""


class Views:
    """The projections of one data directory. Close them, or use `with`."""

    def __init__(self, folder: Path, log: SqliteLogReader, views: tuple[View[Any], ...] = VIEWS) -> None:
        """Open or create the file. Raises ViewsError."""
        self.path = folder / FILE_NAME
        self._log = log
        self._views = {view.name: view for view in views}
        try:
            self._connection = _open(self.path)
        except (sqlite3.Error, OSError) as error:
            raise ViewsError(f"{self.path}: {error}") from error

    def __enter__(self) -> Views:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def catch_up(self, told: Told | None = None, chunk: int = CHUNK) -> Progress:
        """Fold what the log has and the projections do not. Raises ViewsError, or EventLogError."""
        with self._errors():
            while True:
                read = self._fold_chunk(chunk)
                if told is not None:
                    told(read)
                if read < chunk:
                    return self.progress()

    def rebuild(self, told: Told | None = None) -> Progress:
        """Throw all projections away and make them again. Raises ViewsError, or EventLogError."""
        try:
            self._connection = _anew(self.path, self._connection)
        except (sqlite3.Error, OSError) as error:
            raise ViewsError(f"{self.path}: {error}") from error
        return self.catch_up(told)

    def progress(self) -> Progress:
        """How far the projections are."""
        with self._errors():
            row = self._connection.execute("SELECT position, events, duplicates, unreadable FROM progress").fetchone()
        return Progress(*row)

    def rows(self, name: str, last: int | None = None) -> Iterator[Row]:
        """What there is to show of a projection, in order; of the keys only the last so many, when told so."""
        view = self._views[name]
        codec = codec_of(view.state)
        shown = "FROM kept WHERE view = ? AND place IS NOT NULL"
        if last is not None:
            shown = f"FROM (SELECT key, state, place {shown} ORDER BY place DESC, key DESC LIMIT {last:d})"
        sql = f"SELECT key, state {shown} ORDER BY place, key"
        with self._errors():
            for key, state in self._connection.execute(sql, (name,)):
                yield from view.rows(_text(key), codec.unpack(state))

    def dump(self, name: str) -> Iterator[bytes]:
        """A projection as lines of JSON, the form in which two of them are compared: equal histories give equal
        bytes, however they were read."""
        for row in self.rows(name):
            yield json.dumps(row, separators=(",", ":")).encode() + b"\n"

    def digest(self, name: str) -> str:
        """SHA-256 of the dump and of what is remembered beside it, in hexadecimal."""
        found = hashlib.sha256()
        for line in self.dump(name):
            found.update(line)
        with self._errors():
            sql = "SELECT key, epoch, seq, state FROM kept WHERE view = ? ORDER BY key"
            for key, epoch, seq, state in self._connection.execute(sql, (name,)):
                found.update(f"{len(key)} {epoch} {seq} {len(state or b'')} ".encode() + key + (state or b""))
        return found.hexdigest()

    def _fold_chunk(self, chunk: int) -> int:
        """Fold the next events in one transaction; return how many there were."""
        cursor = self._connection.cursor()
        cursor.execute("PRAGMA synchronous = OFF")  # what is lost with the power is made again from the log
        cursor.execute("BEGIN IMMEDIATE")
        try:
            after = cursor.execute("SELECT position FROM progress").fetchone()[0]
            found = self._log.chunk(after, chunk)
            if found:
                folding = _Folding(cursor, self._views)
                folding.fold(found)
                folding.keep(found[-1][0])
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        return len(found)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, CodecError) as error:
            raise ViewsError(f"{self.path}: {error} (`pbx events rebuild` makes it again)") from error


class _Folding:
    """The states that one chunk of events touches."""

    def __init__(self, cursor: sqlite3.Cursor, views: Mapping[str, View[Any]]) -> None:
        self._cursor = cursor
        self._by_topic: dict[str, list[View[Any]]] = {}
        for view in views.values():
            self._by_topic.setdefault(view.topic, []).append(view)
        self._views = views
        self._kept: dict[tuple[str, str], Kept[Any] | None] = {}
        self._events = 0
        self._duplicates = 0
        self._unreadable = 0

    def fold(self, records: list[Positioned]) -> None:
        """Take events in, in the order of the log."""
        for _, record in records:
            views = self._by_topic.get(record.topic, [])
            self._events += 1
            try:
                envelope = unseal(record.value)
            except CodecError:
                self._unreadable += 1
                continue
            seen = False
            for view in views:
                place = (view.name, record.key)
                if place not in self._kept:
                    self._kept[place] = self._load(view, record.key)
                after = advance(view, self._kept[place], envelope)
                if after is None:
                    seen = True
                else:
                    self._kept[place] = after
            self._duplicates += seen

    def keep(self, position: int) -> None:
        """Write everything back."""
        self._cursor.executemany(
            "REPLACE INTO kept (view, key, epoch, seq, place, state) VALUES (?, ?, ?, ?, ?, ?)",
            [self._row(name, key, kept) for (name, key), kept in self._kept.items() if kept is not None],
        )
        self._cursor.execute(
            "UPDATE progress SET position = ?, events = events + ?, duplicates = duplicates + ?, "
            "unreadable = unreadable + ?",
            (position, self._events, self._duplicates, self._unreadable),
        )

    def _load(self, view: View[Any], key: str) -> Kept[Any] | None:
        row = self._cursor.execute(
            "SELECT epoch, seq, state FROM kept WHERE view = ? AND key = ?", (view.name, _blob(key))
        ).fetchone()
        if row is None:
            return None
        epoch, seq, state = row
        return Kept(epoch, seq, None if state is None else codec_of(view.state).unpack(state))

    def _row(self, name: str, key: str, kept: Kept[Any]) -> tuple[Any, ...]:
        view, state = self._views[name], kept.state
        if state is None:
            return name, _blob(key), kept.epoch, kept.seq, None, None
        return name, _blob(key), kept.epoch, kept.seq, view.place(state), codec_of(view.state).pack(state)


def _open(path: Path) -> sqlite3.Connection:
    """A connection to a file with the tables of this version."""
    connection = _connect(path)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
            return connection
    except sqlite3.Error as error:
        if not _is_damage(error):
            connection.close()
            raise
    return _anew(path, connection)


def _anew(path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    """Empty tables in the file, or in a new one when it is damaged."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        return connection
    except sqlite3.Error as error:
        connection.close()
        if not _is_damage(error):
            raise
    for suffix in ("", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    connection = _connect(path)
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def _blob(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
