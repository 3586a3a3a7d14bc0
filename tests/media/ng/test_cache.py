"""Stored replies: two generations, by a clock moved by hand."""

from __future__ import annotations

from services.media.ng.cache import GENERATION_S, ReplyCache


def test_a_copy_gets_the_stored_reply() -> None:
    cache = ReplyCache(now=100.0)
    assert cache.get("192.0.2.1", b"c1", 100.0) is None
    cache.put("192.0.2.1", b"c1", b"c1 reply", 100.0)
    assert cache.get("192.0.2.1", b"c1", 100.1) == b"c1 reply"


def test_two_clients_may_use_the_same_cookie() -> None:
    cache = ReplyCache(now=0.0)
    cache.put("192.0.2.1", b"1_1", b"one", 0.0)
    cache.put("2001:db8::1", b"1_1", b"two", 0.0)
    assert (cache.get("192.0.2.1", b"1_1", 1.0), cache.get("2001:db8::1", b"1_1", 1.0)) == (b"one", b"two")


def test_a_reply_is_kept_for_one_to_two_generations() -> None:
    cache = ReplyCache(now=0.0)
    cache.put("h", b"early", b"e", 1.0)
    cache.put("h", b"late", b"l", GENERATION_S - 1.0)
    assert cache.get("h", b"early", GENERATION_S + 5.0) == b"e"
    assert cache.get("h", b"late", GENERATION_S + 5.0) == b"l"
    cache.put("h", b"next", b"n", GENERATION_S + 6.0)
    at = 2 * GENERATION_S + 6.0
    assert [cache.get("h", name, at) for name in (b"early", b"late", b"next")] == [None, None, b"n"]


def test_after_a_long_silence_nothing_is_left() -> None:
    cache = ReplyCache(now=0.0)
    cache.put("h", b"c", b"r", 0.0)
    assert cache.get("h", b"c", 2 * GENERATION_S) is None


def test_a_full_generation_ends_early() -> None:
    cache = ReplyCache(now=0.0, limit=2)
    for number in range(5):
        cache.put("h", b"%d" % number, b"r", 0.0)
    assert [cache.get("h", b"%d" % number, 0.0) is not None for number in range(5)] == [False, False, True, True, True]
