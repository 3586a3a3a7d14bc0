"""What every daemon's __main__ shares."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.core.config import ConfigError, Problem, Settings
from services.core.daemon import Options, daemon_main, run_daemon
from services.core.lifecycle import StartError, Stopping


@pytest.fixture(autouse=True)
def restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "sip.conf").write_text("[general]\n")
    return folder


def test_it_serves_with_the_settings_and_makes_a_private_data_directory(config: Path, tmp_path: Path) -> None:
    served: list[Settings] = []

    async def serve(settings: Settings, stopping: Stopping) -> None:
        served.append(settings)

    options = Options(config=config, data=tmp_path / "a" / "data", ipv6=False)
    assert run_daemon(serve, options, {}) == 0
    assert [str(listener.address) for listener in served[0].sip.listeners] == ["0.0.0.0:5060"]
    assert served[0].pbx.data_directory == tmp_path / "a" / "data"
    assert stat.S_IMODE((tmp_path / "a" / "data").stat().st_mode) == 0o700


async def never(settings: Settings, stopping: Stopping) -> None:
    raise AssertionError("must not be reached")


def test_problems_are_printed_a_line_each_and_the_exit_code_is_2(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config / "sip.conf").write_text("[general]\nbindport=x\nfoo=1\n")
    assert run_daemon(never, Options(config=config), {}) == 2
    assert capsys.readouterr().err.splitlines() == [
        "sip.conf:2: bindport: 'x' is not a whole number (0 to 65535)",
        "sip.conf:3: foo is not a setting of [general] (see docs/configuration.md)",
    ]


def test_problems_found_later_count_as_configuration(config: Path, tmp_path: Path) -> None:
    async def serve(settings: Settings, stopping: Stopping) -> None:
        raise ConfigError([Problem("extensions.conf", 3, "no such application")])

    assert run_daemon(serve, Options(config=config, data=tmp_path), {}) == 2


def test_a_start_that_fails_is_one_line_and_exit_code_1(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def serve(settings: Settings, stopping: Stopping) -> None:
        raise StartError("sip.conf:2: cannot listen on 127.0.0.1:5060")

    assert run_daemon(serve, Options(config=config, data=tmp_path), {}) == 1
    assert capsys.readouterr().err == "sip.conf:2: cannot listen on 127.0.0.1:5060\n"


def test_a_data_directory_that_cannot_be_made_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_daemon(never, Options(config=config, data=config / "sip.conf"), {}) == 1
    assert capsys.readouterr().err.startswith(f"{config}/sip.conf: the data directory cannot be written: ")


def test_warnings_are_shown_at_every_start(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def serve(settings: Settings, stopping: Stopping) -> None:
        return

    (config / "sip.conf").write_text("[dev1]\ntype=friend\nhost=dynamic\n")
    assert run_daemon(serve, Options(config=config, data=tmp_path), {}) == 0
    assert capsys.readouterr().err.startswith("warning: sip.conf:1: [dev1] has no secret: ANYBODY")


def test_the_command_line_of_a_daemon(config: Path, tmp_path: Path) -> None:
    served: list[Settings] = []

    async def serve(settings: Settings, stopping: Stopping) -> None:
        served.append(settings)

    assert daemon_main("media", serve, ["--config", str(config), "--data", str(tmp_path), "--no-ipv4", "--ipv6"]) == 0
    assert [str(listener.address) for listener in served[0].sip.listeners] == ["[::]:5060"]
