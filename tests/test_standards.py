"""docs/standards.md names tests that exist, and gives a reason for everything that is not done."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "standards.md"
_NAMED = re.compile(r"`(tests/[^`:]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "RFC"]


def test_every_test_that_is_named_exists() -> None:
    named = _NAMED.findall(PAGE.read_text())
    assert len(named) > 100
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^\s*(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_what_is_done_has_a_test_and_what_is_not_has_a_reason() -> None:
    assert len(rows()) > 80
    for row in rows():
        assert len(row) == 5, row
        status, tests = row[3], row[4]
        if status == "done":
            assert _NAMED.search(tests), row
        else:
            assert re.match(r"(in part|not yet|not ours): \S", status), row
