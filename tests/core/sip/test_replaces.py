"""The Replaces header (RFC 3891 section 6.1)."""

from __future__ import annotations

import pytest

from services.core.sip.errors import SipError
from services.core.sip.replaces import Replaces


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("425928@bobster.example.org;to-tag=7743;from-tag=6472", ("425928@bobster.example.org", "7743", "6472", False)),
        ("98asjd8@test.com;to-tag=12345;from-tag=54321;early-only", ("98asjd8@test.com", "12345", "54321", True)),
        ("x ; From-Tag = b ; To-Tag = a;other=1", ("x", "a", "b", False)),
        ("f81d@[2001:db8::1];to-tag=a;from-tag=b", ("f81d@[2001:db8::1]", "a", "b", False)),
    ],
)
def test_a_dialog_is_named_by_its_call_id_and_tags(text: str, meant: tuple[str, str, str, bool]) -> None:
    replaces = Replaces.parse(text)
    assert (replaces.call_id, replaces.to_tag, replaces.from_tag, replaces.early_only) == meant
    assert Replaces.parse(str(replaces)) == replaces


def test_an_escaped_call_id_of_ipv6_is_matched() -> None:
    """RFC 3891 section 6.1, inside a Refer-To URI."""
    assert Replaces.of_escaped("1%40%5B2001:db8::1%5D%3Bto-tag%3Da%3Bfrom-tag%3Db") == Replaces(
        "1@[2001:db8::1]", "a", "b"
    )


@pytest.mark.parametrize(
    "text",
    ["", "x", "x;to-tag=1", "x;from-tag=1", "x;to-tag=1;to-tag=2;from-tag=3", "x;to-tag=;from-tag=1",
     "a b;to-tag=1;from-tag=2", "x;to-tag=1;from-tag=2, y;to-tag=1;from-tag=2"],
)  # fmt: skip
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(SipError) as caught:
        Replaces.parse(text)
    assert caught.value.status == 400
