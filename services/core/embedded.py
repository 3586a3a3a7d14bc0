"""What one machine keeps under its data directory: the hot state, the history, the key of the nonces, the locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.core.config import PbxSettings
from services.core.eventlog.port import EventLog, EventLogError
from services.core.eventlog.sqlite import FILE_NAME as LOG_FILE
from services.core.eventlog.sqlite import SqliteLog
from services.core.lifecycle import StartError
from services.core.store.port import Store, StoreError
from services.core.store.sqlite import FILE_NAME as STATE_FILE
from services.core.store.sqlite import SqliteStore

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Stores:
    """The two ports of design.md, with the adapters of one machine behind them."""

    store: Store
    log: EventLog


@contextlib.asynccontextmanager
async def embedded_stores(settings: PbxSettings) -> AsyncIterator[Stores]:
    """Open the stores in the data directory, which exists; close them at the end. Raises StartError."""
    folder = settings.data_directory
    async with contextlib.AsyncExitStack() as stack:
        try:
            store = SqliteStore(folder / STATE_FILE, site=settings.site, node=settings.node)
            stack.push_async_callback(store.close)
            log = SqliteLog(folder / LOG_FILE)
            stack.push_async_callback(log.close)
        except (StoreError, EventLogError) as error:
            raise StartError(str(error)) from error
        yield Stores(store, log)


@contextlib.contextmanager
def only_one(folder: Path, role: str) -> Iterator[None]:
    """Be the only process in this role on this data directory. Raises StartError, naming the other one.

    The kernel lets go of the lock when its process ends, however it ends.
    """
    descriptor = os.open(folder / f"{role}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = os.read(descriptor, 20).decode("ascii", "replace").strip()
            raise StartError(
                f"{folder}: this data directory is in use by process {other} (stop it, or give another --data)"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def shared_key(folder: Path, name: str) -> bytes:
    """A random key that stays the same for every process on this data directory, now and after a restart.

    Raises StartError when the file cannot be written or is no key.
    """
    path = folder / name
    fresh = folder / f".{name}.{os.getpid()}"
    try:
        if not path.exists():
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
            # A link either is the first or fails: two processes that start together agree.
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
            fresh.unlink()
        key = path.read_bytes()
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
    if len(key) != KEY_BYTES:
        raise StartError(f"{path}: is not a key of {KEY_BYTES} bytes (remove it; phones will be asked again)")
    return key
