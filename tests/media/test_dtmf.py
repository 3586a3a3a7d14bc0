"""Digits out of telephone events (RFC 4733)."""

import struct
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from services.media.dtmf import Digit, EventDecoder

SSRC = 9


def event(code: int, duration: int, *, end: bool = False) -> bytes:
    return struct.pack("!BBH", code, (0x80 if end else 0) | 10, duration)


def key(code: int, duration: int) -> list[bytes]:
    """The packets of one key: growing durations, the end three times."""
    return [event(code, at) for at in range(160, duration, 160)] + [event(code, duration, end=True)] * 3


def feed(decoder: EventDecoder, packets: Iterable[bytes], timestamp: int, now: float = 1.0) -> list[Digit]:
    return [digit for packet in packets for digit in decoder.receive(packet, timestamp, SSRC, now)]


def test_one_key_is_one_digit_however_often_its_end_comes() -> None:
    assert feed(EventDecoder(), key(5, 800), 1000) == [Digit("5", 100)]


def test_the_sixteen_keys_have_their_names() -> None:
    decoder = EventDecoder()
    heard = [feed(decoder, key(code, 800), 10000 * code + 1)[0].digit for code in range(16)]
    assert "".join(heard) == "0123456789*#ABCD"


def test_the_same_key_twice_is_two_digits() -> None:
    decoder = EventDecoder()
    assert [digit.digit for start in (1000, 3000) for digit in feed(decoder, key(1, 800), start)] == ["1", "1"]


def test_the_digit_comes_with_the_first_end_packet() -> None:
    decoder = EventDecoder()
    assert feed(decoder, key(1, 800)[:-3], 1000) == []
    assert decoder.pending
    assert feed(decoder, key(1, 800)[-3:-2], 1000) == [Digit("1", 100)]
    assert not decoder.pending


def test_a_key_whose_first_packets_were_lost_still_counts() -> None:
    assert feed(EventDecoder(), key(7, 1600)[-1:], 1000) == [Digit("7", 200)]


def test_a_key_whose_ends_were_lost_is_done_when_the_next_begins() -> None:
    decoder = EventDecoder()
    assert feed(decoder, key(1, 800)[:-3], 1000) == []
    assert feed(decoder, key(2, 800), 3000) == [Digit("1", 80), Digit("2", 100)]


def test_a_key_whose_ends_were_lost_is_done_after_silence() -> None:
    decoder = EventDecoder()
    feed(decoder, key(1, 800)[:-3], 1000, now=1.0)
    assert decoder.expire(1.1) == ()
    assert decoder.expire(1.25) == (Digit("1", 80),)
    assert decoder.expire(9.9) == ()


def test_an_end_that_comes_after_the_silence_is_no_second_digit() -> None:
    decoder = EventDecoder()
    feed(decoder, key(1, 800)[:-3], 1000, now=1.0)
    decoder.expire(1.3)
    assert feed(decoder, key(1, 800)[-3:], 1000, now=1.4) == []


def test_packets_overtaken_by_the_next_key_are_ignored() -> None:
    decoder = EventDecoder()
    first, second = key(1, 800), key(2, 800)
    assert feed(decoder, first[:-1], 1000) == [Digit("1", 100)]
    assert feed(decoder, second[:2], 3000) == []
    assert feed(decoder, first[-1:], 1000) == []
    assert feed(decoder, second[2:], 3000) == [Digit("2", 100)]


def test_a_key_held_for_long_goes_on_in_segments() -> None:
    decoder = EventDecoder()
    assert feed(decoder, [event(3, 160), event(3, 0xFFFF)], 1000) == []
    assert feed(decoder, [event(3, 8000), event(3, 14465, end=True)], 1000 + 0xFFFF) == [Digit("3", 10000)]


def test_a_timestamp_wrap_does_not_hide_the_next_key() -> None:
    decoder = EventDecoder()
    assert len(feed(decoder, key(1, 800), 0xFFFFFF00)) == 1
    assert feed(decoder, key(2, 800), 0x00000700) == [Digit("2", 100)]


def test_a_sender_that_starts_its_timestamps_anew_is_heard() -> None:
    decoder = EventDecoder()
    assert len(feed(decoder, key(1, 800), 900_000_000)) == 1
    assert feed(decoder, key(2, 800), 1000) == [Digit("2", 100)]


def test_a_new_source_is_heard_whatever_its_timestamps() -> None:
    decoder = EventDecoder()
    feed(decoder, key(1, 800), 5000)
    heard = [digit for packet in key(2, 800) for digit in decoder.receive(packet, 5000, SSRC + 1, 2.0)]
    assert heard == [Digit("2", 100)]


def test_other_events_and_short_payloads_are_ignored() -> None:
    decoder = EventDecoder()
    assert feed(decoder, [event(16, 800, end=True), b"\x01\x80", b"", event(255, 1, end=True)], 1000) == []
    assert not decoder.pending


@given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 2**32 - 1), st.integers(0, 2)), max_size=60))
def test_any_payloads_are_taken_without_an_error(packets: list[tuple[bytes, int, int]]) -> None:
    decoder = EventDecoder()
    for number, (payload, timestamp, ssrc) in enumerate(packets):
        for digit in decoder.receive(payload, timestamp, ssrc, number * 0.02):
            assert digit.digit in "0123456789*#ABCD"
            assert digit.duration_ms >= 0
