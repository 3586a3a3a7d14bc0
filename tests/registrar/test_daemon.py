"""The registrar as a daemon says when it can be counted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.registrar import Registrar, daemon
from tests.support.readiness import Held


async def test_it_is_ready_from_its_start_to_its_draining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, start = Held(), Registrar.start

    async def slow_start(registrar: Registrar) -> int:
        await held.may_start.wait()
        return await start(registrar)

    monkeypatch.setattr(Registrar, "start", slow_start)
    monkeypatch.setattr(daemon, "expire_forever", held.end)
    await held.is_ready_from_start_to_draining(daemon.serve, tmp_path)
