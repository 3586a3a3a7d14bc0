"""The twelve situations of RFC 5118, in messages of our own."""

from __future__ import annotations

import pytest

from services.core.sdp.description import SessionDescription
from services.core.sip.headers import Star
from services.core.sip.message import Request, parse_message
from tests.core.sip.reading import ACCEPTED, verdict

VIA = "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111"
CONTACT = "<sip:user@[2001:db8::9:1]>"
SDP = (
    "v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=Live\r\nc=IN IP6 2001:db8::20\r\nt=0 0\r\n"
    "m=audio 6000 RTP/AVP 0 2\r\na=rtpmap:0 PCMU/8000\r\n"
)


def message(
    uri: str = "sip:[2001:db8::10]", *vias: str, method: str = "REGISTER", contact: str = CONTACT, body: str = ""
) -> bytes:
    rows = [
        f"{method} {uri} SIP/2.0",
        *[f"Via: {via}" for via in vias or (VIA,)],
        "From: <sip:user@example.com>;tag=81x2",
        "To: sip:user@example.com",
        "Call-ID: SSG9559905523997077@hlau_4100",
        "Max-Forwards: 70",
        f"Contact: {contact}",
        f"CSeq: 98176 {method}",
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(rows) + "\r\n\r\n" + body).encode()


def accepted(data: bytes) -> Request:
    assert verdict(data) == ACCEPTED
    request = parse_message(data)
    assert isinstance(request, Request)
    assert request.to_bytes().partition(b"Content-Length")[0] == data.partition(b"Content-Length")[0]
    return request


def test_4_1_references_in_request_uri_via_and_contact() -> None:
    request = accepted(message())
    assert request.request_uri.host == "2001:db8::10"
    assert request.top_via.host == "2001:db8::9:1"
    assert not isinstance(request.contacts, Star)
    assert request.contacts[0].uri.host == "2001:db8::9:1"


def test_4_2_an_address_without_brackets_is_refused() -> None:
    assert verdict(message("sip:2001:db8::10")) == "400"


def test_4_3_a_port_inside_the_brackets_is_none() -> None:
    uri = accepted(message("sip:[2001:db8::10:5070]")).request_uri
    assert (uri.host, uri.port) == ("2001:db8::10:5070", None)


def test_4_4_a_port_behind_the_brackets_is_one() -> None:
    uri = accepted(message("sip:[2001:db8::10]:5070")).request_uri
    assert (uri.host, uri.port) == ("2001:db8::10", 5070)


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_4_5_received_comes_with_and_without_brackets(received: str) -> None:
    request = accepted(message("sip:[2001:db8::10]", f"{VIA};received={received}", method="OPTIONS"))
    assert request.top_via.received == "2001:db8::9:255"


def test_4_6_addresses_in_sdp_have_no_brackets() -> None:
    request = accepted(message("sip:user@[2001:db8::10]", method="INVITE", body=SDP))
    assert SessionDescription.parse(request.body).to_bytes() == SDP.encode()


def test_4_7_vias_of_both_families_keep_their_order() -> None:
    vias = (
        "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111",
        "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144",
        "SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200",
    )
    request = accepted(message("sip:user@[2001:db8::10]", *vias, method="BYE"))
    assert tuple(str(via) for via in request.vias) == vias


def test_4_8_media_of_both_families() -> None:
    body = SDP.replace("c=IN IP6 2001:db8::20\r\n", "").replace("PCMU/8000\r\n", "PCMU/8000\r\nc=IN IP4 192.0.2.1\r\n")
    body += "m=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:107 H263-1998/90000\r\n"
    request = accepted(message("sip:user@[2001:db8::10]", method="INVITE", body=body))
    assert SessionDescription.parse(request.body).to_bytes() == body.encode()


def test_4_9_mapped_addresses_are_kept_as_they_are() -> None:
    request = accepted(
        message(
            "sip:user@example.com",
            "SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19",
            "SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111",
            method="INVITE",
            contact='"T. desk phone" <sip:ted@[::ffff:192.0.2.2]>',
            body=SDP.replace("2001:db8::20", "::ffff:192.0.2.2"),
        )
    )
    assert [via.host for via in request.vias] == ["::ffff:192.0.2.10", "::ffff:192.0.2.2"]


def test_4_10_three_colons_are_refused_after_rfc_5954_and_two_accepted() -> None:
    assert verdict(message("sip:user@[2001:db8:::192.0.2.1]")) == "400"
    assert accepted(message("sip:user@[2001:db8::192.0.2.1]")).request_uri.host == "2001:db8::c000:201"


@pytest.mark.parametrize(
    "host",
    [
        "[]",
        "[::1::]",
        "[1:2:3:4:5:6:7:8:9]",
        "[12345::]",
        "[192.0.2.1]",
        "[example.com]",
        "[v1.x]",
        "[::192.0.2.256]",
        "444.555.666.777",
        "[fe80::1%25eth0]",
        "[2001:db8::1]:",
        "[2001:db8::1]:65536",
    ],
)
@pytest.mark.parametrize("place", ["Request-URI", "Contact", "From", "Route", "second Via"])
def test_a_bad_address_is_a_400_wherever_it_stands(host: str, place: str) -> None:
    data = {
        "Request-URI": message(f"sip:u@{host}"),
        "Contact": message(contact=f"<sip:u@{host}>"),
        "From": message().replace(b"<sip:user@example.com>", f"<sip:u@{host}>".encode()),
        "Route": message().replace(b"Max-Forwards", f"Route: <sip:{host};lr>\r\nMax-Forwards".encode()),
        "second Via": message("sip:[2001:db8::10]", VIA, f"SIP/2.0/UDP {host};branch=z9hG4bK2"),
    }[place]
    assert verdict(data) == "400"
