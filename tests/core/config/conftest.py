"""Configuration directories written by tests."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from services.core.config import ConfigError, Settings, load_settings


class Load(Protocol):
    """Loads files given as keyword arguments: `load(sip="...", rtp="...")`."""

    def __call__(
        self, sip: str = ..., rtp: str | None = ..., pbx: str | None = ..., env: Mapping[str, str] = ...
    ) -> Settings: ...


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a configuration directory and loads it."""

    def load(
        sip: str = "[general]\n",
        rtp: str | None = None,
        pbx: str | None = None,
        env: Mapping[str, str] = {"HOME": "/home/pbx"},
    ) -> Settings:
        for name, text in (("sip.conf", sip), ("rtp.conf", rtp), ("pbx.conf", pbx)):
            if text is not None:
                (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        return load_settings(tmp_path, env)

    return load


class Problems(Protocol):
    """The problems of files given as keyword arguments, a line each."""

    def __call__(
        self, sip: str = ..., rtp: str | None = ..., pbx: str | None = ..., env: Mapping[str, str] = ...
    ) -> list[str]: ...


@pytest.fixture
def problems(load: Load) -> Problems:
    """The lines an operator would see; the test fails when there are none."""

    def problems(
        sip: str = "[general]\n", rtp: str | None = None, pbx: str | None = None, env: Mapping[str, str] | None = None
    ) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(sip, rtp, pbx, env or {})
        assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
        return [str(problem) for problem in caught.value.problems]

    return problems
