"""The registrar as a daemon says when it can be counted on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.core.config import load_settings
from services.core.lifecycle import Stopping
from services.registrar import Registrar, daemon
from tests.support.processes import free_port
from tests.support.readiness import becomes, readiness


async def test_it_is_ready_from_its_start_to_its_draining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, may_start, may_end = free_port(), asyncio.Event(), asyncio.Event()
    start = Registrar.start

    async def slow_start(registrar: Registrar) -> int:
        await may_start.wait()
        return await start(registrar)

    async def slow_end(_registrar: Registrar) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    monkeypatch.setattr(Registrar, "start", slow_start)
    monkeypatch.setattr(daemon, "expire_forever", slow_end)
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
