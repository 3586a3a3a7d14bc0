"""Streams: any segmentation gives the same messages, and a stream that cannot be cut says so."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.sip.errors import FramingError
from services.core.sip.framing import PING, Ping, StreamFramer
from services.core.sip.message import MAX_MESSAGE_BYTES, make_response, parse_message
from tests.core.sip.strategies import INVITE

HEAD = (
    b"MESSAGE sip:b@[2001:db8::1] SIP/2.0\r\nVia: SIP/2.0/TCP [2001:db8::9];branch=z9hG4bK1\r\n"
    b"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n"
)
SHORT = HEAD + b"Content-Length: 0\r\n\r\n"
TRICKY = HEAD + b"l :\r\n 21\r\n\r\nContent-Length: 9\r\n\r\n"
LF_ONLY = HEAD.replace(b"\r\n", b"\n") + b"content-length: 4\n\n\r\n\r\n"
STREAM = [INVITE, SHORT, TRICKY, LF_ONLY, SHORT]


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def feed_all(framer: StreamFramer, pieces: list[bytes]) -> list[bytes | Ping]:
    return [frame for piece in pieces for frame in framer.feed(piece)]


def test_tricky_messages_are_what_they_say() -> None:
    assert len(TRICKY.partition(b"\r\n\r\n")[2]) == 21
    for frame in STREAM:
        parse_message(frame, stream=True)


def test_many_messages_in_one_segment_come_one_by_one() -> None:
    framer = StreamFramer()
    assert framer.feed(b"".join(STREAM)) == STREAM
    assert framer.pending == 0


def test_a_stream_split_at_any_byte_gives_the_same_messages() -> None:
    data = b"\r\n".join([SHORT, TRICKY, LF_ONLY, b"\r\n" + SHORT])
    expected = [SHORT, TRICKY, LF_ONLY, PING, SHORT]
    assert StreamFramer().feed(data) == expected
    for at in range(len(data) + 1):
        assert feed_all(StreamFramer(), [data[:at], data[at:]]) == expected


def test_a_stream_that_comes_octet_by_octet_gives_the_same_messages() -> None:
    data = b"".join(STREAM)
    framer = StreamFramer()
    assert feed_all(framer, [data[at : at + 1] for at in range(len(data))]) == STREAM
    assert framer.pending == 0


@given(st.lists(st.sampled_from([*STREAM, b"\r\n", b"\r\n\r\n", b"\n"]), max_size=8), st.data())
def test_segmentation_makes_no_difference(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    whole = StreamFramer().feed(stream)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    assert feed_all(StreamFramer(), pieces_of(stream, cuts)) == whole
    assert [frame for frame in whole if frame is not PING] == [part for part in parts if part.strip()]


@given(st.binary(max_size=200) | st.text(alphabet="\r\nl: 0123Content-Length", max_size=60).map(str.encode), st.data())
def test_any_octets_are_framed_the_same_however_they_come(stream: bytes, data: st.DataObject) -> None:
    def outcome(pieces: list[bytes]) -> tuple[list[bytes | Ping], str]:
        framer, frames = StreamFramer(max_bytes=120), []
        for piece in pieces:
            try:
                frames += framer.feed(piece)
            except FramingError as error:
                return [*frames, *error.frames], error.where
        return frames, ""

    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    whole, where = outcome([stream])
    again, where_again = outcome(pieces_of(stream, cuts))
    assert again == whole
    assert where_again == where or "message" in (where, where_again)


# --- keep-alives ---


def test_a_double_crlf_between_messages_is_a_ping() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n\r\n") == [PING]
    assert framer.feed(b"\r\n\r\n" + SHORT + b"\r\n\r\n\r\n\r\n") == [PING, SHORT, PING, PING]
    assert framer.pending == 0


def test_a_single_crlf_is_skipped_and_half_a_ping_waits_for_the_rest() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n" + SHORT) == [SHORT]
    assert framer.feed(b"\r\n\r") == []
    assert framer.feed(b"\n") == [PING]
    assert framer.feed(b"\r\n") == []
    assert framer.feed(SHORT) == [SHORT]
    assert framer.feed(b"\n\n" + SHORT) == [SHORT]


# --- streams that cannot be cut ---


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (b"", "Missing Content-Length header field"),
        (b"Content-Length:\r\n", "Bad Content-Length"),
        (b"Content-Length: -1\r\n", "Bad Content-Length"),
        (b"Content-Length: +1\r\n", "Bad Content-Length"),
        (b"Content-Length: 1_0\r\n", "Bad Content-Length"),
        (b"Content-Length: \xd9\xa7\r\n", "Bad Content-Length"),
        (b"Content-Length: 1 0\r\n", "Bad Content-Length"),
        (b"Content-Length: 1\r\n 0\r\n", "Bad Content-Length"),
        (b"Content-Length: 0, 0\r\n", "Bad Content-Length"),
        (b"Content-Length: ten\r\n", "Bad Content-Length"),
        (b"Content-Length: 0\r\nl: 0\r\n", "Multiple Content-Length header fields"),
        (b"Content-Length: 0\r\nCONTENT-LENGTH : 10\r\n", "Multiple Content-Length header fields"),
    ],
)
def test_without_a_usable_length_the_stream_ends_with_a_400(rows: bytes, reason: str) -> None:
    with pytest.raises(FramingError) as caught:
        StreamFramer().feed(SHORT + b"\r\n\r\n" + HEAD + rows + b"\r\n" + SHORT)
    error = caught.value
    assert (error.status, error.reason, error.where) == (400, reason, "Content-Length")
    assert error.frames == (SHORT, PING)
    assert error.message is not None
    assert make_response(error.message, error.status, error.reason).to_bytes().startswith(b"SIP/2.0 400 ")


def test_an_unframed_response_or_ack_is_nothing_to_answer() -> None:
    for start in (b"SIP/2.0 200 OK\r\n", b"ACK sip:b@x SIP/2.0\r\n"):
        head = start + HEAD.partition(b"\r\n")[2].replace(b"1 MESSAGE", b"1 ACK")
        with pytest.raises(FramingError) as caught:
            StreamFramer().feed(head + b"\r\n")
        assert caught.value.message is None


def test_a_message_longer_than_the_limit_is_refused_when_its_length_is_known() -> None:
    with pytest.raises(FramingError) as caught:
        StreamFramer().feed(HEAD + b"Content-Length: 65535\r\n\r\n")
    assert (caught.value.status, caught.value.message is not None) == (513, True)
    with pytest.raises(FramingError) as caught:
        StreamFramer().feed(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")
    assert caught.value.status == 513
    room = MAX_MESSAGE_BYTES - len(HEAD) - len(b"Content-Length: 00000\r\n\r\n")
    longest = HEAD + b"Content-Length: %05d\r\n\r\n" % room + b"x" * room
    assert StreamFramer().feed(longest) == [longest]


def test_a_head_without_end_is_refused_at_the_limit() -> None:
    framer = StreamFramer(max_bytes=1000)
    assert framer.feed(b"x" * 1000) == []
    with pytest.raises(FramingError) as caught:
        framer.feed(b"x")
    assert (caught.value.status, caught.value.message) == (513, None)


def test_a_stream_stays_unreadable_after_a_fault() -> None:
    framer = StreamFramer()
    for _ in range(2):
        with pytest.raises(FramingError):
            framer.feed(HEAD + b"\r\n")
