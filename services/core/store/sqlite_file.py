"""One SQLite file whose event loop waits neither for the disk nor for another process.

Writes of one turn of the loop become one transaction, in write-ahead-log mode: the kernel has it when the transaction
ends, so it survives the end of the process, and a thread brings it to the disk about once a second, so a loss of power
costs at most that. The loop itself never calls fsync:

- automatic checkpoints are off; the thread makes them, with connections of its own;
- whoever writes first after a complete checkpoint starts the log anew and must sync its header (SQLite does so even
  with synchronous=NORMAL). The thread sees to it that this is itself: a reading transaction pins the log while the bulk
  is copied, then, with the loop's writes held back for that moment, it finishes and makes the first write.

Several processes may share the file. When another one holds the write lock the transaction is tried again a moment
later from a timer, so other work of the loop goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from services.core.store.port import StoreError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How patient a file is."""

    busy_retry_s: float = 0.001
    """When a transaction is tried again that found the write lock taken."""
    busy_limit_s: float = 5.0
    """How long a transaction is tried before it fails."""
    sync_interval_s: float = 1.0
    """How old a transaction may be before it is on the disk."""
    checkpoint_bytes: int = 32 * 1024 * 1024
    """The write-ahead log is copied into the database when it is longer than this."""


DEFAULT_LIMITS = Limits()

CACHE_KB = 16 * 1024
"""Pages kept in memory at most: the state of some 5,000 calls."""

_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS checkpoints (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL);
INSERT OR IGNORE INTO checkpoints VALUES (1, 0);
"""


@dataclass(slots=True)
class _Operation(Generic[T]):
    run: Callable[[sqlite3.Cursor], T]
    done: asyncio.Future[T]

    def fail(self, error: Exception) -> None:
        if not self.done.done():  # else the one who waited was cancelled
            self.done.set_exception(error)


class SqliteFile:
    """A database file and its thread. Open and use it on the event loop's thread."""

    def __init__(self, path: Path, schema: str, version: int, *, limits: Limits = DEFAULT_LIMITS) -> None:
        """Open or create it, with tables by `schema`. Raises StoreError, naming the file, when that cannot be."""
        self.path = path
        self._limits = limits
        self._pending: list[_Operation[Any]] = []
        self._busy_since: float | None = None
        self._closed = False
        self._connection = connect(path, busy_timeout_s=limits.busy_limit_s)
        self._cursor = self._connection.cursor()
        try:
            self._prepare(schema, version)
            self._checkpointer = _Checkpointer(path, limits)
        except (sqlite3.Error, StoreError) as error:
            self._connection.close()
            raise StoreError(f"{path}: {error}") from error

    def submit(self, run: Callable[[sqlite3.Cursor], T]) -> asyncio.Future[T]:
        """Run `run` in this turn's transaction; the future is done when the transaction is.

        `run` may be run more than once, so it must have no effect but through its cursor. When it raises, only its own
        future fails.
        """
        if self._closed:
            raise StoreError(f"{self.path}: closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if not self._pending:
            loop.call_soon(self._flush)
        self._pending.append(_Operation(run, done))
        return done

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query, as of the last transaction. Raises StoreError."""
        try:
            return self._cursor.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error

    async def close(self) -> None:
        """Finish what was submitted, then close. Harmless when closed."""
        if self._closed:
            return
        self._closed = True
        while self._pending:
            await asyncio.wait([operation.done for operation in self._pending])
        await asyncio.to_thread(self._checkpointer.stop)
        self._connection.close()

    def _prepare(self, schema: str, version: int) -> None:
        found = self._cursor.execute("PRAGMA user_version").fetchone()[0]
        if found > version:
            raise StoreError(f"written by a newer program (schema {found}, this one knows {version})")
        if found < version:
            script = f"BEGIN IMMEDIATE; {schema}; {_BOOKKEEPING} PRAGMA user_version = {version}; COMMIT"
            self._cursor.executescript(script)
        self._cursor.execute("PRAGMA busy_timeout = 0")

    def _flush(self) -> None:
        """Make one transaction of everything that is pending."""
        if self._checkpointer.restarting:
            self._flush_later()
            return
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if self._worth_waiting(error):
                self._flush_later()
            else:
                self._fail_pending(error)
            return
        self._busy_since = None
        operations, self._pending = self._pending, []
        self._transact(operations)

    def _transact(self, operations: list[_Operation[Any]]) -> None:
        results: list[Any] = []
        try:
            for operation in operations:
                results.append(operation.run(self._cursor))
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the one who submitted it
            self._rollback()
            failed = operations.pop(len(results))
            failed.fail(StoreError(f"{self.path}: {error}") if isinstance(error, sqlite3.Error) else error)
            self._pending = operations + self._pending
            if self._pending:
                self._flush()
            return
        try:
            self._cursor.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            self._pending = operations + self._pending
            self._fail_pending(error)
            return
        self._checkpointer.written()
        for operation, result in zip(operations, results, strict=True):
            if not operation.done.done():
                operation.done.set_result(result)

    def _flush_later(self) -> None:
        asyncio.get_running_loop().call_later(self._limits.busy_retry_s, self._flush)

    def _worth_waiting(self, error: sqlite3.Error) -> bool:
        if not _is_busy(error):
            return False
        now = asyncio.get_running_loop().time()
        if self._busy_since is None:
            self._busy_since = now
        return now - self._busy_since < self._limits.busy_limit_s

    def _fail_pending(self, error: sqlite3.Error) -> None:
        self._busy_since = None
        failed, self._pending = self._pending, []
        for operation in failed:
            operation.fail(StoreError(f"{self.path}: {error}"))

    def _rollback(self) -> None:
        if self._connection.in_transaction:  # some errors have rolled back already
            self._cursor.execute("ROLLBACK")


def connect(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection in autocommit and write-ahead-log mode that makes no checkpoints. Raises StoreError."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=busy_timeout_s, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        except sqlite3.Error:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    return connection


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


class _Checkpointer:
    """The thread that waits for the disk."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.restarting = False
        """True while the loop had better not write: a single reference, read and written under the GIL."""
        self._wal = Path(f"{path}-wal")
        self._limits = limits
        # While it truncates the log SQLite holds the write lock and waits for readers: no longer than this.
        self._connection = connect(path, busy_timeout_s=0.1)
        self._pin = connect(path, busy_timeout_s=0.1)
        self._dirty = False
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"checkpoint {path.name}", daemon=True)
        self._thread.start()

    def written(self) -> None:
        """The loop made a transaction."""
        if not self._dirty:
            self._dirty = True
            self._wake.set()

    def stop(self) -> None:
        """End the thread, with everything on the disk."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        self._pin.close()
        self._connection.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._stop.wait(self._limits.sync_interval_s)
            self._wake.clear()
            self._dirty = False
            # A busy file or a full disk now is tried again after the next transaction; the log loses nothing by it.
            with contextlib.suppress(OSError, sqlite3.Error):
                self._bring_to_disk()

    def _bring_to_disk(self) -> None:
        if self._wal.stat().st_size > self._limits.checkpoint_bytes:
            self._checkpoint()
            return
        descriptor = os.open(self._wal, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _checkpoint(self) -> None:
        self._pin.execute("BEGIN")
        try:
            self._pin.execute("SELECT count FROM checkpoints").fetchone()
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self.restarting = True
        finally:
            self._pin.execute("COMMIT")
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._connection.execute("UPDATE checkpoints SET count = count + 1")
        finally:
            self.restarting = False
