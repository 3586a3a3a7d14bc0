"""Cookies, the two encodings, and the one spelling of keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.media.ng.errors import NgError
from services.media.ng.message import MAX_COOKIE_BYTES, MAX_MESSAGE_BYTES, Encoding, Envelope, normalised

# As Debian's Kamailio 5.6 writes it: unsorted keys, spaces in some, lists of flags.
KAMAILIO = (
    b"2061_7 d8:supportsl10:load limite3:sdp31:v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n3:ICE6:remove5:flagsl13:trust address"
    b"9:symmetrice7:replacel6:origin18:session connectione14:address family3:IP67:call-id5:abc@h13:received-froml3:IP4"
    b"9:192.0.2.7e8:from-tag3:t:17:command5:offere"
)


def test_kamailios_offer_is_read() -> None:
    envelope = Envelope.decode(KAMAILIO)
    assert envelope.cookie == b"2061_7"
    assert normalised(envelope.message) == {
        "supports": ["load limit"],
        "sdp": b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n",
        "ICE": "remove",
        "flags": ["trust-address", "symmetric"],
        "replace": ["origin", "session-connection"],
        "address-family": "IP6",
        "call-id": "abc@h",
        "received-from": ["IP4", "192.0.2.7"],
        "from-tag": "t:1",
        "command": "offer",
    }


def test_a_message_comes_out_as_it_came_in() -> None:
    assert Envelope.decode(KAMAILIO).encode() == KAMAILIO


def test_json_is_told_by_its_first_byte_and_means_the_same() -> None:
    envelope = Envelope.decode(b'c1 {"command": "offer", "sdp": "v=0\\r\\n", "delete-delay": 30}')
    assert envelope.encoding is Encoding.JSON
    assert envelope.message == {"command": "offer", "sdp": b"v=0\r\n", "delete-delay": 30}


@pytest.mark.parametrize("encoding", list(Encoding))
def test_bytes_that_are_no_utf8_survive_in_both(encoding: Encoding) -> None:
    envelope = Envelope(b"c", {"sdp": b"s=\xe4\xff", "label": "\udce4"}, encoding)
    assert Envelope.decode(envelope.encode()) == envelope


def test_a_line_end_may_follow() -> None:
    assert Envelope.decode(b"c d7:command4:pinge\n").message == {"command": "ping"}


@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"c", b"c ", b" d7:command4:pinge", b"c hello", b"c d7:command4:pinge x", b"c d", b"c [1]", b"c {",
     b'c {"a": NaN}', b'c {"a": Infinity}', b'c {"sdp": "\\ud800"}', b'c {"a": ' + b"9" * 5000 + b"}",
     b'c {"a": ' + b"9" * 21 + b"}", b"c " + b'{"a":' * 5000, b'c {"a":' + b"[" * 30 + b"]" * 30 + b"}",
     b"x" * (MAX_COOKIE_BYTES + 1) + b" d7:command4:pinge", b"c d1:a65535:" + b"x" * MAX_MESSAGE_BYTES],
)  # fmt: skip
def test_what_is_no_message_is_an_ng_error(data: bytes) -> None:
    with pytest.raises(NgError):
        Envelope.decode(data)


def test_an_error_has_the_cookie_when_it_could_be_read() -> None:
    with pytest.raises(NgError) as caught:
        Envelope.decode(b"c7 dx")
    assert caught.value.cookie == b"c7"


@pytest.mark.parametrize("value", [float("nan"), object(), {"a": {1, 2}}])
def test_what_json_does_not_have_cannot_be_written(value: object) -> None:
    with pytest.raises(NgError):
        Envelope(b"c", {"a": value}, Encoding.JSON).encode()


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        ({"address family": "IP6"}, {"address-family": "IP6"}),
        ({"command": "play-media", "file": "my tune-1.wav"}, {"command": "play media", "file": "my tune-1.wav"}),
        ({"flags": "trust address"}, {"flags": ["trust-address"]}),
        ({"rtcp mux": ["offer"], "call id": "a b"}, {"rtcp-mux": ["offer"], "call-id": "a b"}),
        ({"flags": ["a b", 3]}, {"flags": ["a-b", 3]}),
        ({"command": 3}, {"command": 3}),
    ],
)
def test_hyphens_and_spaces_are_the_same_in_keys_flags_and_commands_only(
    given_: dict[str, Any], meant: dict[str, Any]
) -> None:
    assert normalised(given_) == meant


@given(st.one_of(st.binary(max_size=80), st.text('c d{}[]"0123:ile,', max_size=60).map(str.encode)))
def test_any_bytes_raise_nothing_but_an_ng_error(data: bytes) -> None:
    try:
        envelope = Envelope.decode(data)
    except NgError:
        return
    assert Envelope.decode(envelope.encode()) == envelope


json_values = st.recursive(
    st.one_of(st.text(max_size=8), st.integers(-(10**18), 10**18), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_any_json_is_a_message_or_an_ng_error(message: dict[str, Any]) -> None:
    try:
        envelope = Envelope.decode(b"c " + json.dumps(message).encode())
        normalised(envelope.message)
    except NgError:
        return
    assert envelope.message.keys() == message.keys()


def test_a_number_beyond_all_numbers_is_refused() -> None:
    """`1e999` is JSON, and infinity to a float; nobody who adds packets up may meet it."""
    with pytest.raises(NgError):
        Envelope.decode(b'c {"totals": {"RTP": {"packets": 1e999}}}')


@pytest.mark.parametrize("text", ['{"command": "\\ud800"}', '{"\\udfff": 1}', '{"sdp": "\\ud800"}'])
def test_half_a_character_is_refused(text: str) -> None:
    """No octets stand for it, so nothing that is made of it could be sent."""
    with pytest.raises(NgError):
        Envelope.decode(b"c " + text.encode())
