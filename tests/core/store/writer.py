"""A process that commits: `python -m tests.core.store.writer DIR NAME COUNT`.

It makes COUNT steps of a call of its own and, for each, one of a call that all writers share, and says on its standard
output what the store has accepted. COUNT 0: until it is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from services.core.eventlog.forwarder import Forwarder
from services.core.eventlog.sqlite import SqliteLog
from services.core.events.catalogue import LegRinging
from services.core.store.port import Change, Conflict, Store, Version
from services.core.store.sqlite import SqliteStore

SHARED = "shared"


async def step(store: Store, key: str, expected: Version) -> Version:
    """One event more, whoever else writes to the key."""
    while True:
        change = Change(
            kind="call",
            key=key,
            expected=expected,
            epoch=1,
            events=(LegRinging(leg="b", status=180),),
            snapshot=b"s" * 2000,
            time=0.0,
        )
        (answer,) = await store.commit([change])
        if isinstance(answer, Version):
            return answer
        assert isinstance(answer, Conflict)
        expected = answer.current


async def write(directory: Path, name: str, count: int) -> None:
    store, log = SqliteStore(directory / "state.db"), SqliteLog(directory / "log.db")
    forwarder = Forwarder(store, log, linger_s=0.0)
    forwarding = asyncio.create_task(forwarder.run())
    own = shared = Version(0, 0)
    for number in itertools.count(1):
        own, shared = await step(store, name, own), await step(store, SHARED, shared)
        print(f"{name} {own.seq}", flush=True)
        print(f"{SHARED} {shared.seq}", flush=True)
        if number == count:
            break
    forwarding.cancel()
    await asyncio.gather(forwarding, return_exceptions=True)
    await forwarder.drain()
    await store.close()
    await log.close()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
