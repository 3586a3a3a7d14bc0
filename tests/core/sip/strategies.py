"""Hypothesis strategies for the grammar: values that are well-formed by construction, and octets that are not."""

from __future__ import annotations

import ipaddress
import string

from hypothesis import strategies as st

from services.core.address import parse_ip
from services.core.sip.headers import Via
from services.core.sip.message import Request, Response
from services.core.sip.uri import NameAddr, SipUri

_ALNUM = string.ascii_letters + string.digits
_UNRESERVED = _ALNUM + "-_.!~*'()"
TOKEN = st.text(alphabet=_ALNUM + "-.!%*_+`'~", min_size=1, max_size=12)
ESCAPE = st.integers(0, 255).map(lambda octet: f"%{octet:02X}") | st.integers(0, 255).map(lambda octet: f"%{octet:02x}")


def _escaped(alphabet: str, *, min_size: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(alphabet) | ESCAPE, min_size=min_size, max_size=12).map("".join)


USER = _escaped(_UNRESERVED + "&=+$,;?/", min_size=1)
PASSWORD = _escaped(_UNRESERVED + "&=+$,", min_size=0)
PARAM_PART = _escaped(_UNRESERVED + "[]/:&+$", min_size=1)
HEADER_NAME = _escaped(_UNRESERVED + "[]/?:+$", min_size=1)
HEADER_VALUE = _escaped(_UNRESERVED + "[]/?:+$", min_size=0)

IP = st.integers(0, 2**128 - 1).map(lambda n: parse_ip(str(ipaddress.IPv6Address(n)))) | st.integers(0, 2**32 - 1).map(
    lambda n: str(ipaddress.IPv4Address(n))
)
NAME = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?(\.[a-z][a-z0-9]{0,8}){0,3}\.?", fullmatch=True)
HOST = NAME | IP
PORT = st.none() | st.integers(0, 65535)


@st.composite
def sip_uris(draw: st.DrawFn) -> SipUri:
    user = draw(st.none() | USER)
    return SipUri(
        draw(st.sampled_from(["sip", "sips"])),
        user,
        None if user is None else draw(st.none() | PASSWORD),
        draw(HOST),
        draw(PORT),
        tuple(draw(st.lists(st.tuples(PARAM_PART, st.none() | PARAM_PART), max_size=3))),
        tuple(draw(st.lists(st.tuples(HEADER_NAME, HEADER_VALUE), max_size=3))),
    )


QUOTED = st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
HEADER_PARAMS = st.lists(st.tuples(TOKEN, st.none() | TOKEN | QUOTED), max_size=3).map(tuple)


@st.composite
def name_addrs(draw: st.DrawFn) -> NameAddr:
    display = draw(st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12))
    return NameAddr(display, draw(sip_uris()), draw(HEADER_PARAMS))


@st.composite
def vias(draw: st.DrawFn) -> Via:
    transport = draw(st.sampled_from(["UDP", "TCP", "TLS", "WSS", "X-NEW"]))
    return Via(transport, draw(HOST), draw(PORT), draw(HEADER_PARAMS))


VALUE = st.text(alphabet=st.characters(exclude_characters="\r\n"), max_size=30).map(lambda text: text.strip(" \t"))
# What the wire can carry: characters, and octets that are no UTF-8 as surrogate escapes.
OCTETS = (
    st.binary(max_size=20)
    .map(lambda octets: octets.decode("utf-8", "surrogateescape"))
    .map(lambda text: text.replace("\r", "").replace("\n", "").strip(" \t"))
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    method = draw(TOKEN)
    headers = [
        *[("Via", str(via)) for via in draw(st.lists(vias(), min_size=1, max_size=3))],
        ("From", str(draw(name_addrs()))),
        ("To", str(draw(name_addrs()))),
        ("Call-ID", draw(TOKEN)),
        ("CSeq", f"{draw(st.integers(0, 2**31 - 1))} {method}"),
        *[("X-Unknown", value) for value in draw(st.lists(OCTETS, max_size=3))],
    ]
    return Request(method, str(draw(sip_uris())), draw(st.permutations(headers)), draw(st.binary(max_size=100)))


@st.composite
def responses(draw: st.DrawFn) -> Response:
    request = draw(requests())
    reason = draw(OCTETS)
    return Response(draw(st.integers(100, 699)), reason, request.headers, request.body)


INVITE_SDP = (
    b"v=0\r\no=dev1 3890 3890 IN IP6 2001:db8::21\r\ns=-\r\nc=IN IP6 2001:db8::21\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n"
)
INVITE = (
    b"INVITE sip:2@[2001:db8::1]:5060 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP [2001:db8::21]:5060;branch=z9hG4bK-524287-1---0123456789abcdef;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"Contact: <sip:dev1@[2001:db8::21]:5060;transport=udp>\r\n"
    b"To: <sip:2@[2001:db8::1]>\r\n"
    b'From: "Device One" <sip:dev1@[2001:db8::1]>;tag=1928301774\r\n'
    b"Call-ID: 84b4c76e66710-a@2001:db8::21\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, UPDATE\r\n"
    b"Supported: replaces, 100rel, timer\r\n"
    b"User-Agent: Test Phone 1.0\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(INVITE_SDP), INVITE_SDP)
)
"""A usual INVITE, in the spelling we write ourselves."""


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    """A usual message with some octets changed, cut out, doubled or put in: it gets deeper than noise does."""
    data = bytearray(INVITE)
    junk = st.binary(max_size=6) | st.sampled_from(
        [
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\n ",
            b'"',
            b"<",
            b">",
            b";",
            b",",
            b":",
            b"[",
            b"]",
            b"%",
            b"\x00",
            b"\xff",
            b"::",
            b"@",
        ]
    )
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        end = min(at + draw(st.integers(0, 12)), len(data))
        data[at:end] = draw(junk)
    return bytes(data)
