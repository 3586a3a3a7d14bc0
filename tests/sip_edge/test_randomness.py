"""Texts nobody can guess, and none twice."""

from __future__ import annotations

import os

import pytest

from services.sip_edge.randomness import Randomness


def test_texts_have_their_length_and_never_come_twice() -> None:
    source = Randomness()
    tags = [source.tag() for _ in range(2000)]
    call_ids = [source.call_id() for _ in range(2000)]
    assert {len(tag) for tag in tags} == {16}
    assert {len(call_id) for call_id in call_ids} == {24}
    assert len({*tags, *call_ids}) == 4000


def test_every_octet_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = iter([b"a" * 4096, b"b" * 4096])
    monkeypatch.setattr(os, "urandom", lambda _count: next(pages))
    source = Randomness()
    assert source.octets(4090) == b"a" * 4090
    assert source.octets(10) == b"b" * 10
    assert source.octets(4086) == b"b" * 4086
    with pytest.raises(StopIteration):
        source.octets(1)
