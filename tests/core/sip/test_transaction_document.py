"""docs/transactions.md shows the tables as they are."""

from __future__ import annotations

from pathlib import Path

from services.core.sip import document

DOCS = Path(__file__).parents[3] / "docs"


def test_the_document_in_the_tree_is_the_one_the_tables_make() -> None:
    assert (DOCS / "transactions.md").read_text(encoding="utf-8") == document.text(), "run `make docs`"
