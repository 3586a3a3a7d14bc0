"""Publishing a dialplan whenever its files change."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from services.core.lifecycle import Stopping, in_background
from services.core.store.sqlite import SqliteStore
from services.dialplan import Program, daemon, load
from services.dialplan.daemon import Publisher, follow, published_version
from tests.support.readiness import Held

GOOD = "[internal]\nexten => 1,1,Answer()\n"
OTHER = "[internal]\nexten => 1,1,Busy()\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "extensions.conf"
    path.write_text(GOOD)
    return path


async def test_a_change_is_published_once_it_has_settled(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    used: list[Program] = []
    publisher = Publisher(path, store, used.append)
    await publisher.look()
    assert await published_version(store) is None
    path.write_text(OTHER)
    await publisher.look()
    assert used == []
    await publisher.look()
    await publisher.look()
    assert [program.version for program in used] == [load(path).version]
    assert await published_version(store) == load(path).version
    await store.close()


async def test_a_dialplan_with_errors_changes_nothing(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(tmp_path / "state.db")
    publisher = Publisher(path, store)
    path.write_text("[internal]\nexten => 1,1,Frobnicate()\n")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await publisher.look()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("extensions.conf:2: ")
    assert publisher.results.of("refused") == 1
    assert await published_version(store) is None
    await store.close()


async def test_an_edge_follows_what_is_published(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "POLL_S", 0.001)
    store = SqliteStore(tmp_path / "state.db")
    publisher = Publisher(path, store)
    await publisher.publish(load(path))
    used: asyncio.Queue[Program] = asyncio.Queue()
    known = await published_version(store)
    async with in_background("follow", lambda: follow(store, known, used.put_nowait), Stopping()):
        path.write_text(OTHER)
        await publisher.publish(load(path))
        async with asyncio.timeout(10):
            program = await used.get()
    assert program.version == load(path).version
    await store.close()


async def test_it_is_ready_from_its_first_version_to_its_draining(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, publish = Held(), Publisher.publish

    async def slow_publish(publisher: Publisher, program: Program) -> None:
        await held.may_start.wait()
        await publish(publisher, program)

    monkeypatch.setattr(Publisher, "publish", slow_publish)
    monkeypatch.setattr(Publisher, "look_forever", held.end)
    await held.is_ready_from_start_to_draining(daemon.serve, tmp_path)
