"""What one machine keeps in its data directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from services.core.config import PbxSettings, load_settings
from services.core.embedded import embedded_stores, only_one, shared_key
from services.core.lifecycle import StartError


@pytest.fixture
def settings(tmp_path: Path) -> PbxSettings:
    (tmp_path / "sip.conf").write_text("[general]\n")
    return load_settings(tmp_path, {"PBX_PBX_DATA_DIRECTORY": str(tmp_path)}).pbx


async def test_values_are_there_when_the_stores_are_opened_again(settings: PbxSettings) -> None:
    async with embedded_stores(settings) as stores:
        await stores.store.put_value("db", "a/b", "c")
    async with embedded_stores(settings) as stores:
        assert await stores.store.get_value("db", "a/b") == "c"
        assert await stores.log.end() == 0


async def test_a_file_that_is_no_database_is_one_line(settings: PbxSettings) -> None:
    (settings.data_directory / "log.db").write_text("no database" * 100)
    with pytest.raises(StartError, match=r"log\.db: "):
        async with embedded_stores(settings):
            pass


def test_a_role_is_taken_once_and_let_go(tmp_path: Path) -> None:
    with (
        only_one(tmp_path, "edge"),
        only_one(tmp_path, "registrar"),
        pytest.raises(StartError, match=f"in use by process {os.getpid()} "),
        only_one(tmp_path, "edge"),
    ):
        pass
    with only_one(tmp_path, "edge"):
        pass


def test_a_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    key = shared_key(tmp_path, "digest.key")
    assert len(key) == 32
    assert shared_key(tmp_path, "digest.key") == key
    assert shared_key(tmp_path, "other.key") != key
    assert stat.S_IMODE((tmp_path / "digest.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digest.key", "other.key"]


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "digest.key").write_bytes(b"short")
    with pytest.raises(StartError, match=r"digest\.key: is not a key of 32 bytes"):
        shared_key(tmp_path, "digest.key")
