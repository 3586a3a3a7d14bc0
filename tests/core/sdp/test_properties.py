"""What holds for every description and for any bytes."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from services.core.address import Family, family_of, parse_ip
from services.core.sdp import (
    Connection,
    MediaRewrite,
    SdpError,
    SessionDescription,
    direction,
    is_hold,
    media_family,
    next_version,
    restrict_codecs,
    rewrite,
    synthesise_answer,
)
from tests.core.sdp.samples import PHONES, lines_of, text

FOUR = Connection(Family.IP4, "198.51.100.7")
SIX = Connection(Family.IP6, "2001:db8::7")

ip4 = st.ip_addresses(v=4).map(str)
ip6 = st.ip_addresses(v=6).map(str)
values = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=20)
names = st.sampled_from(["rtpmap", "fmtp", "rtcp-fb", "mid", "x-own", "sendrecv", "candidate", "ice-ufrag", "ptime"])


@st.composite
def connections(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        return f"IN IP4 {draw(st.one_of(ip4, st.just('0.0.0.0'), st.just('host.invalid')))}"
    return f"IN IP6 {draw(st.one_of(ip6, st.just('::'), st.just('host.invalid')))}"


@st.composite
def media(draw: st.DrawFn) -> list[str]:
    kind = draw(st.sampled_from(["audio", "video", "image", "AUDIO"]))
    proto = draw(st.sampled_from(["RTP/AVP", "RTP/SAVP", "udptl"]))
    formats = draw(st.lists(st.integers(0, 127), min_size=1, max_size=5))
    lines = [
        f"m={kind} {draw(st.integers(0, 65535))} {proto} {' '.join(map(str, formats))}",
        f"c={draw(connections())}",
    ]
    for _ in range(draw(st.integers(0, 4))):
        lines.append(f"a={draw(names)}:{draw(values)}")
    encodings = draw(st.lists(st.sampled_from(["PCMU/8000", "opus/48000/2", "telephone-event/8000", "X"]), max_size=3))
    return lines + [f"a=rtpmap:{number} {name}" for number, name in zip(formats, encodings, strict=False)]


@st.composite
def descriptions(draw: st.DrawFn) -> bytes:
    lines = ["v=0", f"o={draw(values)} {draw(st.integers(0, 2**64 - 1))} 1 {draw(connections())}", f"s={draw(values)}"]
    for section in draw(st.lists(media(), max_size=4)):
        lines += section
    return text(*lines)


mangled = st.builds(
    lambda data, at, junk, cut: data[: at % len(data)] + junk + data[at % len(data) + cut :],
    st.sampled_from(list(PHONES.values())),
    st.integers(0, 2000),
    st.binary(max_size=6),
    st.integers(0, 6),
)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=100).map(lambda tail: b"v=0\r\n" + tail), mangled))
def test_any_bytes_raise_nothing_but_an_sdp_error(data: bytes) -> None:
    with contextlib.suppress(SdpError):
        sdp = SessionDescription.parse(data)
        assert SessionDescription.parse(sdp.to_bytes()) == sdp
        exercise(sdp)


def exercise(sdp: SessionDescription) -> None:
    """Everything that may be asked of an accepted description; none of it may raise."""
    for line in sdp.media:
        line.codecs()
        line.telephone_event()
        assert line.rtcp_port <= 65535
        assert line.active is (line.port != 0)
        assert (line.rtcp_connection is None) <= (line.port == 0)
        assert line.ptime_ms is None or line.ptime_ms >= 0
    media_family(sdp), direction(sdp), is_hold(sdp)
    restrict_codecs(sdp, ("ulaw", "opus"))
    synthesise_answer(sdp, ("all",), session_id=1)
    out = rewrite(sdp, [MediaRewrite(SIX, 4000, 4001)] * len(sdp.media), origin=sdp.origin.at(SIX))
    SessionDescription.parse(next_version(sdp.to_bytes(), out))


@given(descriptions())
def test_what_is_written_reads_the_same(data: bytes) -> None:
    sdp = SessionDescription.parse(data)
    dropped = any(
        line.startswith("a=candidate") and ("[" in line or "%" in line) for line in data.decode().split("\r\n")
    )
    assert dropped or sdp.to_bytes() == data
    exercise(sdp)


@given(descriptions(), st.sampled_from([FOUR, SIX]), st.integers(1, 65534))
def test_a_rewritten_description_names_nobody_but_the_relay(data: bytes, relay: Connection, port: int) -> None:
    sdp = SessionDescription.parse(data)
    out = rewrite(sdp, [MediaRewrite(relay, port)] * len(sdp.media), origin=sdp.origin.at(relay))
    again = SessionDescription.parse(out)
    assert (again.origin.family, again.origin.address) == (relay.family, relay.address)
    assert [(line.connection, line.port) for line in again.media] == [(relay, port)] * len(sdp.media)
    assert [line.codecs() for line in again.media] == [line.codecs() for line in sdp.media]


@given(descriptions(), st.sets(st.sampled_from(["ulaw", "alaw", "opus", "g729"])))
def test_a_restricted_description_says_only_what_is_allowed(data: bytes, allowed: set[str]) -> None:
    sdp = SessionDescription.parse(data)
    out = restrict_codecs(data, tuple(allowed))
    if out is None:
        return
    again = SessionDescription.parse(out)
    assert len(again.media) == len(sdp.media)
    for line in again.media:
        assert not line.port or line.kind == "audio"
        spoken = {entry.codec_name for entry in line.codecs() if not entry.is_telephone_event}
        assert not line.port or (spoken and spoken <= allowed)
    assert restrict_codecs(out, tuple(allowed)) == out


@given(descriptions())
def test_an_answer_has_the_lines_and_families_of_its_offer(data: bytes) -> None:
    """RFC 3264 section 6, RFC 6157 4.1."""
    offer = SessionDescription.parse(data)
    answer = synthesise_answer(offer, ("all",), session_id=1)
    if answer is None:
        return
    again = SessionDescription.parse(answer)
    for asked, said in zip(offer.media, again.media, strict=True):
        assert (asked.kind, asked.proto, asked.family) == (said.kind, said.proto, said.family)
        assert asked.port or not said.port
    assert sum(line.port != 0 for line in again.media) == 1


@given(st.one_of(ip4, ip6), st.booleans())
def test_addresses_never_get_brackets(address: str, bracketed: bool) -> None:
    connection = Connection.parse(f"IN {family_of(address).sdp} {address.upper()}")
    assert connection.address == parse_ip(address)
    sdp = text("v=0", f"o=- 1 1 {connection}", "s=-", f"c={connection}", "t=0 0", "m=audio 4 RTP/AVP 0", "a=rtcp:5")
    assert "[" not in "".join(lines_of(SessionDescription.parse(sdp).to_bytes(), "o=", "c="))
