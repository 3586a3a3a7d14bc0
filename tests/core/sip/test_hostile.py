"""Octets of an enemy: nothing but SipError comes out, and no message is slow for its size."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.sip.errors import FramingError, SipError
from services.core.sip.framing import Ping, StreamFramer
from services.core.sip.message import Request, make_response, parse_message
from tests.core.sip.reading import read_everything
from tests.core.sip.strategies import INVITE, damaged_messages

ANYTHING = st.binary(max_size=300) | damaged_messages() | st.text(max_size=100).map(lambda text: text.encode())
PROPERTIES = (
    *("request_uri", "call_id", "cseq", "top_via", "vias", "from_tag", "to_tag", "from_", "to"),
    *("contacts", "routes", "record_routes", "max_forwards", "expires", "content_type"),
)


@given(ANYTHING, st.booleans())
def test_any_octets_are_a_message_or_a_sip_error(data: bytes, stream: bool) -> None:
    try:
        message = parse_message(data, stream=stream)
    except SipError as error:
        answerable = error.message
    else:
        _ = message.call_id, message.cseq, message.top_via, message.from_tag, message.to_tag
        assert parse_message(message.to_bytes(), stream=True) == message
        answerable = message if isinstance(message, Request) else None
    if answerable is not None:
        answer = parse_without_faults_of_the_request(make_response(answerable, 400, to_tag="t").to_bytes())
        assert b"\nVia:" in answer
        answerable.top_via = answerable.top_via.with_source("2001:db8::9", 5060)
        assert answerable.top_via.host


def parse_without_faults_of_the_request(data: bytes) -> bytes:
    """An answer to a malformed request may echo its faults, but it is one message with one head."""
    head, end, body = data.partition(b"\r\n\r\n")
    assert end
    assert body == b""
    assert head.startswith(b"SIP/2.0 400 ")
    assert head.endswith(b"\r\nContent-Length: 0")
    return head


@given(ANYTHING)
def test_every_property_of_any_message_is_a_value_or_a_sip_error(data: bytes) -> None:
    try:
        message = parse_message(data)
    except SipError as error:
        if error.message is None:
            return
        message = error.message
    for name in PROPERTIES:
        if name == "request_uri" and not isinstance(message, Request):
            continue
        try:
            getattr(message, name)
        except SipError as error:
            assert error.status in (400, 416)
    for name, _ in message.headers:
        try:
            message.get_all(name)
        except SipError:
            continue


@given(st.lists(ANYTHING, max_size=4))
def test_any_stream_is_framed_or_refused(pieces: list[bytes]) -> None:
    framer = StreamFramer()
    for piece in pieces:
        try:
            frames = framer.feed(piece)
        except FramingError:
            return
        for frame in frames:
            assert isinstance(frame, Ping) or frame.strip(b"\r\n")


# --- time ---

SIZE = 64_000
MOST_SECONDS = 1.0
"""A linear reader takes some 10 ms for these; a quadratic one takes minutes."""


def with_header(value: str) -> bytes:
    return INVITE.replace(b"Allow: INVITE", value.encode() + b"\r\nAllow: INVITE")


def replaced(name: str, value: str) -> bytes:
    row = next(row for row in INVITE.split(b"\r\n") if row.startswith(name.encode()))
    return INVITE.replace(row, f"{name}: {value}".encode())


def filled(unit: str) -> str:
    return unit * (SIZE // len(unit) - 20)


HOSTILE = {
    "quotes that never end": with_header("Route: " + filled('"')),
    "quotes and backslashes": with_header("Route: " + filled('"\\')),
    "backslashes in an open quote": with_header('Route: ,"' + filled("\\")),
    "many quoted strings": with_header("Route: " + filled('"a",')),
    "open brackets": with_header("Route: ," + filled("<")),
    "many brackets": with_header("Route: " + filled("<a>,")),
    "commas": with_header("Route: " + filled(",")),
    "many contacts": with_header("Contact: " + filled("<sip:a@b>,") + "<sip:a@b>"),
    "many Vias in one row": replaced("Via", filled("SIP/2.0/UDP a;branch=z9hG4bK,") + "SIP/2.0/UDP b"),
    "Via parameters": replaced("Via", "SIP/2.0/UDP a" + filled(";a=b")),
    "a broken Via with many parameters": replaced("Via", "SIP/2.0/UDP a" + filled(";a=b") + ";;"),
    "Via blanks": replaced("Via", "SIP/2.0/UDP a" + filled(" ") + ": 5060"),
    "From parameters in quotes": replaced("From", "<sip:a@b>" + filled(';a="b;"')),
    "tags": replaced("From", "<sip:a@b>" + filled(";tag=b")),
    "URI parameters": with_header("Contact: <sip:a@b" + filled(";a=b") + ">"),
    "escaped URI parameters": with_header("Contact: <sip:a@b" + filled(";%61=b") + ">"),
    "URI headers": with_header("Contact: <sip:a@b?a=b" + filled("&a=b") + ">"),
    "escapes": with_header("Contact: <sip:" + filled("%61") + "@b>"),
    "at signs": with_header("Contact: <sip:" + filled("@") + ">"),
    "colons": replaced("Via", "SIP/2.0/UDP " + filled(":")),
    "brackets of addresses": with_header("Contact: <sip:[" + filled("[") + "]>"),
    "labels": with_header("Contact: <sip:" + filled("a.") + "a>"),
    "digits": replaced("CSeq", filled("9") + " INVITE"),
    "zeros": replaced("CSeq", filled("0") + " INVITE"),
    "a long port": replaced("Via", "SIP/2.0/UDP a:" + filled("0")),
    "folds": with_header("Subject: a" + filled("\r\n b")),
    "folds of one blank": with_header("Subject: a" + filled("\n ")),
    "rows": with_header(filled("a:b\r\n") + "a:b"),
    "lone carriage returns": with_header("Subject: " + filled("\r")),
    "line feeds alone": INVITE.replace(b"\r\n", b"\n").replace(b"Allow", filled("a:b\n").encode() + b"Allow"),
    "empty lines before": b"\r\n" * (SIZE // 2) + INVITE,
    "a long method": filled("A").encode() + b" sip:a SIP/2.0\r\n\r\n",
    "blanks in the start line": b"INVITE" + filled(" ").encode() + b"SIP/2.0\r\n\r\n",
    "a long name": with_header(filled("-a") + ": b"),
    "nulls": b"\0" * SIZE,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_message_takes_long(data: bytes) -> None:
    assert len(data) > SIZE // 2
    started = time.process_time()
    for read in (read_everything, answer):
        try:
            message = parse_message(data)
            if isinstance(message, Request):
                read(message)
        except SipError as error:
            if error.message is not None:
                answer(error.message)
    assert time.process_time() - started < MOST_SECONDS


def answer(request: Request) -> None:
    request.top_via = request.top_via.with_source("192.0.2.1", 5060)
    make_response(request, 400, to_tag="t").to_bytes()
    for name in ("from_", "to", "contacts", "routes"):
        try:
            getattr(request, name)
        except SipError:
            continue


@pytest.mark.parametrize("piece", [1, 2, 1000])
@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" * (SIZE // 8),
        b"\r\n\r" * (SIZE // 12),
        b"INVITE sip:a SIP/2.0\r\n" + b"a:b\r\n" * (SIZE // 20),
        b"x" * (SIZE // 4),
        b"a\r\nl " + b" " * (SIZE // 4),
        b"a\r\nl" + b"\r\n " * (SIZE // 12),
        b"a\r\nContent-Length: 16000\r\n\r\n" + b"x" * (SIZE // 4),
        b"a\r\nl:0\r\n\r\n" * (SIZE // 40),
    ],
)
def test_no_stream_takes_long_in_small_pieces(data: bytes, piece: int) -> None:
    framer = StreamFramer()
    started = time.process_time()
    for at in range(0, len(data), piece):
        framer.feed(data[at : at + piece])
    assert time.process_time() - started < MOST_SECONDS


def test_a_head_full_of_almost_lengths_takes_no_time() -> None:
    for unit in (b"\nl \t", b"\nl:0", b"\nContent-Length", b"\nl:\n "):
        started = time.process_time()
        with pytest.raises(FramingError):
            StreamFramer().feed(b"a" + unit * (SIZE // len(unit)) + b"\r\n\r\n")
        assert time.process_time() - started < MOST_SECONDS
