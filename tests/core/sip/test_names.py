"""Header names: one spelling inside, any spelling and the compact forms outside."""

from __future__ import annotations

import pytest
from hypothesis import given

from services.core.sip.names import COMPACT_FORMS, EXACT_NAMES, LIST_HEADERS, SINGLE_HEADERS, canonical_name
from tests.core.sip.strategies import TOKEN


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("i", "Call-ID"),
        ("I", "Call-ID"),
        ("call-id", "Call-ID"),
        ("CALL-ID", "Call-ID"),
        ("cseq", "CSeq"),
        ("WWW-AUTHENTICATE", "WWW-Authenticate"),
        ("p-asserted-identity", "P-Asserted-Identity"),
        ("x-new-header", "X-New-Header"),
        ("X-NEW-HEADER", "X-New-Header"),
        ("x" * 1000, "X" + "x" * 999),
    ],
)
def test_a_name_has_one_spelling(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@given(TOKEN)
def test_case_makes_no_difference_and_a_canonical_name_stays(name: str) -> None:
    canonical = canonical_name(name)
    assert canonical_name(name.upper()) == canonical_name(name.lower()) == canonical_name(canonical) == canonical


def test_tables_hold_canonical_names() -> None:
    for name in (*COMPACT_FORMS.values(), *LIST_HEADERS, *SINGLE_HEADERS, *EXACT_NAMES.values()):
        assert canonical_name(name) == name
    assert not LIST_HEADERS & SINGLE_HEADERS
