"""docs/history.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from services.console.projections.cdr import COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "history.md").read_text(encoding="utf-8")


def test_every_column_of_the_records_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", PAGE))
    for column in COLUMNS:
        assert column in described or f"a_{column.removeprefix('b_')}" in described
