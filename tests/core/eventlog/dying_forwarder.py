"""A forwarder that is killed between the log and the outbox: `python -m tests.core.eventlog.dying_forwarder DIR`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from services.core.eventlog.forwarder import Forwarder
from services.core.eventlog.sqlite import SqliteLog
from services.core.store.sqlite import SqliteStore

BATCH = 2


class DyingStore(SqliteStore):
    """Never gets to hear that the log has the events."""

    async def outbox_done(self, up_to: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def forward(directory: Path) -> None:
    store, log = DyingStore(directory / "state.db"), SqliteLog(directory / "log.db")
    await Forwarder(store, log, batch=BATCH).drain()


if __name__ == "__main__":
    asyncio.run(forward(Path(sys.argv[1])))
