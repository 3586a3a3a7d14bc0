"""Publishing a dialplan whenever its files change."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from services.core.config import load_settings
from services.core.lifecycle import Stopping, in_background
from services.core.store.sqlite import SqliteStore
from services.dialplan import Program, daemon, load
from services.dialplan.daemon import Publisher, follow, published_version
from tests.support.processes import free_port
from tests.support.readiness import becomes, readiness

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
    port, may_start, may_end = free_port(), asyncio.Event(), asyncio.Event()
    publish = Publisher.publish

    async def slow_publish(publisher: Publisher, program: Program) -> None:
        await may_start.wait()
        await publish(publisher, program)

    async def slow_end(_publisher: Publisher) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    monkeypatch.setattr(Publisher, "publish", slow_publish)
    monkeypatch.setattr(Publisher, "look_forever", slow_end)
    (tmp_path / "sip.conf").write_text("[general]\nbindaddr=127.0.0.1\n")
    (tmp_path / "pbx.conf").write_text(f"[metrics]\nbind=127.0.0.1:{port}\n[data]\ndirectory={tmp_path}\n")
    stopping = Stopping()
    serving = asyncio.create_task(daemon.serve(load_settings(tmp_path, {}, {}), stopping))
    try:
        await becomes(port, 503)
        may_start.set()
        await becomes(port, 200)
        stopping.ask()
        assert await readiness(port) == 503
        may_end.set()
        await asyncio.wait_for(serving, 5)
    finally:
        serving.cancel()
