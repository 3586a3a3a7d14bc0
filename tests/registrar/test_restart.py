"""A registrar that is killed has kept every registration it answered."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from services.core.events.catalogue import RegistrationEvent
from services.core.events.envelope import unseal
from services.core.store.sqlite import SqliteStore
from services.registrar import Registrar
from services.registrar.aggregate import fold
from services.registrar.model import NO_BINDINGS

ROOT = Path(__file__).parents[2]
ENOUGH = 200


async def test_kill_loses_no_registration_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.registrar.registering", str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    answered: list[str] = []
    while len(answered) < ENOUGH:
        answered.append((await process.stdout.readline()).decode().rstrip("\n"))
    process.kill()
    rest = await process.stdout.read()
    answered += rest.decode().splitlines()[:-1]  # the last line may be half a line
    await process.wait()

    store = SqliteStore(path)
    registrar = Registrar(store, time.time)
    assert await registrar.start() == 10
    found = {binding.contact for number in range(10) for binding in await registrar.lookup(f"dev{number}")}
    assert found >= set(answered)

    # What the history tells is what is bound: neither is ahead of the other.
    history: dict[str, list[RegistrationEvent]] = {}
    for row in await store.outbox(10**6):
        for record in row.records:
            event = unseal(record.value).event
            assert isinstance(event, RegistrationEvent)
            history.setdefault(record.key, []).append(event)
    told = {binding.contact for events in history.values() for binding in fold(NO_BINDINGS, events).items}
    assert told == found
    await store.close()
