"""Bencode as ng speaks it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.media.ng.bencode import MAX_DEPTH, decode, encode
from services.media.ng.errors import NgError


def read(data: bytes) -> Any:
    value, end = decode(data)
    assert end == len(data)
    return value


def test_a_dictionary_is_read_and_written_in_the_order_it_has() -> None:
    data = b"d7:command5:offer7:call-id3:abc3:sdp3:v=0e"
    assert read(data) == {"command": "offer", "call-id": "abc", "sdp": b"v=0"}
    assert encode(read(data)) == data


def test_keys_need_not_be_sorted() -> None:
    assert list(read(b"d1:zi1e1:ai2ee")) == ["z", "a"]


def test_lists_integers_and_nesting() -> None:
    data = b"d5:flagsl13:trust-address0:e5:delayi-30e4:tagsd1:ad6:mediasleeee"
    assert read(data) == {"flags": ["trust-address", ""], "delay": -30, "tags": {"a": {"medias": []}}}
    assert encode(read(data)) == data


def test_only_a_description_and_a_blob_are_bytes() -> None:
    assert read(b"d4:blob2:\xff\x005:label2:\xff\x00e") == {"blob": b"\xff\x00", "label": "\udcff\x00"}
    assert encode({"label": "\udcff\x00"}) == b"d5:label2:\xff\x00e"


@pytest.mark.parametrize(
    "data",
    [b"", b"d", b"d1:a", b"d1:ai1e", b"di1e1:ae", b"l", b"i", b"ie", b"i-e", b"i+1e", b"i1", b"i--1e", b"i1.5e",
     b"3:ab", b":", b"1", b"-1:a", b"1 :a", b"99999999:a", b"x", b"e", "i\u0663e".encode(), b"d1:ai1ex",
     b"i" + b"9" * 21 + b"e"],
)  # fmt: skip
def test_bad_bencode_is_an_ng_error(data: bytes) -> None:
    with pytest.raises(NgError):
        value, end = decode(data)
        if data[end:]:
            raise NgError(f"{value} and more")


@pytest.mark.parametrize(("opened", "closed"), [(b"l", b"e"), (b"d1:a", b"e")])
def test_nesting_is_bounded(opened: bytes, closed: bytes) -> None:
    assert read(opened * (MAX_DEPTH - 1) + b"le" + closed * (MAX_DEPTH - 1)) is not None
    for depth in (MAX_DEPTH + 1, 20000):
        with pytest.raises(NgError):
            decode(opened * depth + b"le" + closed * depth)


@pytest.mark.parametrize("value", [1.5, None, {1: "a"}, {"a": {"b": object()}}, "\ud800", [float("nan")]])
def test_what_bencode_does_not_have_cannot_be_written(value: object) -> None:
    with pytest.raises(NgError):
        encode(value)


def test_a_structure_without_end_cannot_be_written() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NgError):
        encode(endless)


text = st.text(st.characters(codec="utf-8"), max_size=12)
keys = text.filter(lambda key: key not in ("sdp", "blob"))
values = st.recursive(
    st.one_of(text, st.integers(-(10**19), 10**19)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(keys, values, max_size=6), st.binary(max_size=40))
def test_what_is_written_reads_the_same(message: dict[str, Any], sdp: bytes) -> None:
    assert read(encode({**message, "sdp": sdp})) == {**message, "sdp": sdp}


@given(st.one_of(st.binary(max_size=60), st.text("dlie0123456789:-ab", max_size=60).map(str.encode)))
def test_any_bytes_raise_nothing_but_an_ng_error(data: bytes) -> None:
    try:
        value, end = decode(data)
    except NgError:
        return
    assert 0 < end <= len(data)
    assert decode(encode(value))[0] == value
