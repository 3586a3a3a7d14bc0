"""docs/events.md and docs/asyncapi.yaml say what the catalogue says."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.core.events import asyncapi, document
from services.core.events.catalogue import CATALOGUE, Event

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_what_the_catalogue_says() -> None:
    assert (DOCS / "events.md").read_text(encoding="utf-8") == document.text(), "run `make docs`"


def test_the_asyncapi_file_is_what_the_catalogue_says() -> None:
    assert (DOCS / "asyncapi.yaml").read_text(encoding="utf-8") == asyncapi.text(), "run `make docs`"


@pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.__name__)
def test_every_event_and_field_is_described(event: type[Event]) -> None:
    page = document.text()
    assert f"\n### {event.__name__}\n" in page
    section = page.split(f"\n### {event.__name__}\n")[1].split("\n### ")[0]
    assert event.__doc__
    for field in document.fields_of(event):
        assert field.doc, f"{event.__name__}.{field.name} is not described"
        assert f"\n| `{field.name}` |" in section


def test_every_reference_of_the_asyncapi_file_leads_somewhere() -> None:
    tree = asyncapi.document()

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            return [v for k, v in value.items() if k == "$ref"] + [r for v in value.values() for r in references(v)]
        return []

    found = references(tree)
    assert len(found) > 2 * len(CATALOGUE)
    for reference in found:
        place = tree
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place


def test_descriptions_of_fields_are_inherited() -> None:
    bound, refreshed = (
        next(cls for cls in CATALOGUE if cls.__name__ == name) for name in ("ContactBound", "ContactRefreshed")
    )
    assert document.fields_of(refreshed) == document.fields_of(bound)
    assert any("byte for byte" in field.doc for field in document.fields_of(refreshed))
