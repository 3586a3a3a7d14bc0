"""docs/dialplan.md: its examples run, and its tables name everything there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.dialplan.applications import APPLICATIONS
from services.dialplan.functions import FUNCTIONS
from services.dialplan.run import MAX_DIGITS_AHEAD, MAX_VARIABLES
from services.dialplan.templates import MAX_TEXT
from tests.dialplan.harness import compiled

DOCUMENT = (Path(__file__).parents[2] / "docs" / "dialplan.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return [piece.partition("```")[0] for piece in DOCUMENT.split(f"```{language}\n")[1:]]


def section(title: str) -> str:
    return DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("text", blocks("ini"))
def test_the_example_file_is_taken_without_a_warning(text: str) -> None:
    assert compiled(text).warnings == ()


@pytest.mark.parametrize("code", blocks("python"))
def test_the_example_program_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extensions.conf").write_text(blocks("ini")[0])
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "dialplan.md", "exec"), {})


def test_every_application_and_function_is_in_its_table() -> None:
    applications, functions = section("Applications"), section("Functions")
    assert [name for name in APPLICATIONS if f"`{name}" not in applications] == []
    assert [name for name in FUNCTIONS if f"`{name}(" not in functions] == []


def test_every_item_of_a_function_is_in_its_table() -> None:
    functions = section("Functions")
    items = {item for function in FUNCTIONS.values() for item in function.first or ()}
    spelled_otherwise = {"number", "ani-num", "dnid-num", "pjsip"}
    assert [item for item in sorted(items - spelled_otherwise) if item not in functions] == []


def test_the_limits_are_those_of_the_code() -> None:
    limits = section("Limits")
    assert f"| {MAX_TEXT:,} characters" in limits
    assert f"| {MAX_VARIABLES:,} |" in limits
    assert f"| {MAX_DIGITS_AHEAD} |" in limits
