"""Rows of a message: reading them, changing them, and the values kept in step."""

from __future__ import annotations

import pytest

from services.core.sip.errors import SipError
from services.core.sip.headers import STAR, CSeq, parse_via
from services.core.sip.message import Message, Request, make_response


def request(*rows: tuple[str, str]) -> Request:
    return Request("INVITE", "sip:2@[2001:db8::1]", rows)


def test_rows_are_found_by_any_spelling_of_their_name() -> None:
    message = request(("Call-ID", "1"), ("Supported", "a"), ("Supported", "b, c"), ("X-New", "x, y"))
    assert message.get("i") == message.get("CALL-ID") == message.get("Call-ID") == "1"
    assert message.rows("k") == ["a", "b, c"]
    assert message.get_all("supported") == ["a", "b", "c"]
    assert message.get_all("x-new") == ["x, y"]
    assert message.get("Subject") is None
    assert message.get_all("Subject") == []
    assert message.has("call-id")
    assert not message.has("Subject")


def test_headers_that_hold_commas_in_one_value_are_never_split() -> None:
    challenge = 'Digest realm="a", nonce="b"'
    message = request(("WWW-Authenticate", challenge), ("Date", "Sat, 13 Nov 2010 23:29:00 GMT"))
    assert message.get_all("WWW-Authenticate") == [challenge]
    assert message.get_all("Date") == ["Sat, 13 Nov 2010 23:29:00 GMT"]


def test_rows_are_added_set_prepended_and_removed() -> None:
    message = request(("Via", "SIP/2.0/UDP a"), ("Subject", "1"), ("To", "<sip:a@b>"), ("Subject", "2"))
    message.set("s", "3")
    message.add("x-new", "4")
    message.prepend("v", "SIP/2.0/UDP b")
    assert message.headers == [
        ("Via", "SIP/2.0/UDP b"),
        ("Via", "SIP/2.0/UDP a"),
        ("Subject", "3"),
        ("To", "<sip:a@b>"),
        ("X-New", "4"),
    ]
    message.remove("VIA")
    message.set("Expires", "0")
    assert [name for name, _ in message.headers] == ["Subject", "To", "X-New", "Expires"]


def test_a_change_is_seen_by_what_was_read_before() -> None:
    message = request(("Via", "SIP/2.0/UDP a, SIP/2.0/UDP c"), ("CSeq", "1 INVITE"), ("To", "<sip:a@b>"))
    assert (message.top_via.host, len(message.vias), message.cseq.number, message.to_tag) == ("a", 2, 1, None)
    message.prepend("Via", "SIP/2.0/UDP b")
    message.set("CSeq", "2 INVITE")
    message.set("To", "<sip:a@b>;tag=9")
    assert (message.top_via.host, len(message.vias), message.cseq.number) == ("b", 3, 2)
    assert (message.to_tag, message.to.tag) == ("9", "9")


def test_the_first_value_of_a_shared_row_is_taken_or_replaced_alone() -> None:
    message = request(("Via", "SIP/2.0/UDP a;branch=1 , SIP/2.0/TCP b"), ("Via", "SIP/2.0/UDP c"))
    message.top_via = message.top_via.with_source("192.0.2.1", 5060)
    assert message.rows("Via") == ["SIP/2.0/UDP a;branch=1;received=192.0.2.1, SIP/2.0/TCP b", "SIP/2.0/UDP c"]
    assert message.top_via.received == "192.0.2.1"
    assert message.pop_first("Via") == "SIP/2.0/UDP a;branch=1;received=192.0.2.1"
    assert message.pop_first("Via") == "SIP/2.0/TCP b"
    assert message.top_via == parse_via("SIP/2.0/UDP c")
    assert message.pop_first("Via") == "SIP/2.0/UDP c"
    assert message.pop_first("Via") is None
    message.replace_first("Via", "SIP/2.0/UDP d")
    assert message.headers == [("Via", "SIP/2.0/UDP d")]


def test_values_are_read_as_their_types() -> None:
    message = request(
        ("Call-ID", "a@[2001:db8::1]"),
        ("CSeq", "7 INVITE"),
        ("From", '"A" <sip:a@[2001:db8::1]>;tag=1'),
        ("To", "sip:b@example.com;tag=2"),
        ("Contact", "<sip:a@[2001:db8::9]:5070>"),
        ("Route", "<sip:p1.example;lr>, <sip:p2.example;lr>"),
        ("Record-Route", "<sip:r.example;lr>"),
        ("Max-Forwards", "0068"),
        ("Expires", "60"),
        ("Content-Type", 'Multipart/Mixed ;boundary="a"'),
    )
    assert message.call_id == "a@[2001:db8::1]"
    assert message.cseq == CSeq(7, "INVITE")
    assert (message.from_.display, message.from_.uri.host, message.from_.tag) == ("A", "2001:db8::1", "1")
    assert (message.from_tag, message.to_tag) == ("1", "2")
    assert str(message.to.uri) == "sip:b@example.com"
    assert [str(contact) for contact in message.contacts] == ["<sip:a@[2001:db8::9]:5070>"]  # type: ignore[union-attr]
    assert [route.uri.host for route in message.routes] == ["p1.example", "p2.example"]
    assert [route.uri.host for route in message.record_routes] == ["r.example"]
    assert message.get_all("Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    assert (message.max_forwards, message.expires) == (68, 60)
    assert message.content_type == "multipart/mixed"
    assert message.request_uri.user == "2"


def test_a_value_is_read_once() -> None:
    message = request(
        ("Contact", "<sip:a@b>"), ("From", "<sip:a@b>"), ("Route", "<sip:a;lr>"), ("Via", "SIP/2.0/UDP a")
    )
    assert message.contacts is message.contacts
    assert message.from_ is message.from_
    assert message.routes is message.routes
    assert message.vias is message.vias
    assert message.top_via is message.top_via


def test_absent_optional_headers_are_none_or_empty() -> None:
    message = request()
    assert message.max_forwards is message.expires is None
    assert message.content_type is None
    assert message.contacts == message.routes == message.record_routes == []
    assert message.vias == []


@pytest.mark.parametrize("name", ["call_id", "cseq", "from_", "to", "top_via", "from_tag", "to_tag"])
def test_an_absent_required_header_is_a_400(name: str) -> None:
    for message in (request(), request(("Call-ID", ""), ("CSeq", ""), ("From", ""), ("To", ""), ("Via", ""))):
        with pytest.raises(SipError) as caught:
            getattr(message, name)
        assert caught.value.status == 400
        assert caught.value.reason.startswith("Missing ")


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (("Max-Forwards", "256"), "max_forwards"),
        (("Max-Forwards", "-1"), "max_forwards"),
        (("Max-Forwards", ""), "max_forwards"),
        (("Contact", "<sip:a@2001:db8::10>"), "contacts"),
        (("Contact", '"a'), "contacts"),
        (("Route", "<sip:"), "routes"),
        (("Record-Route", "<http:x>"), "record_routes"),
        (("From", '"a'), "from_"),
        (("From", "<sip:a@b>;tag="), "from_tag"),
        (("To", "<sip:a@b>;tag=a b"), "to_tag"),
        (("To", "<sip:a@[::1>"), "to"),
        (("Via", "SIP/2.0/UDP a, x"), "vias"),
        (("CSeq", "x"), "cseq"),
    ],
)
def test_a_malformed_value_is_a_400_at_every_use(row: tuple[str, str], name: str) -> None:
    message = request(row)
    for _ in range(2):
        with pytest.raises(SipError) as caught:
            getattr(message, name)
        assert caught.value.status == 400


def test_a_tag_is_read_beside_other_parameters() -> None:
    for params in (";tag=1", "; TAG = 1", ";x;tag=1", ';x="a;tag=2";tag=1', ";tag=1;x"):
        assert request(("From", f"<sip:a@b>{params}")).from_tag == "1"
    assert request(("From", "<sip:a@b;tag=5>")).from_tag is None
    assert request(("From", "<sip:a@b>;x")).from_tag is None


@pytest.mark.parametrize(
    ("value", "media_type"),
    [("application/sdp", "application/sdp"), ("Application / SDP;v=1", "application/sdp"), ("", "")],
)
def test_the_content_type_is_compared_without_case_and_parameters(value: str, media_type: str) -> None:
    assert request(("c", value)).content_type is None  # rows hold canonical names only
    assert request(("Content-Type", value)).content_type == media_type


def test_a_malformed_expires_is_an_hour() -> None:
    assert request(("Expires", "soon")).expires == 3600
    assert request(("Contact", "*")).contacts is STAR


def test_a_body_is_put_with_its_type_and_taken_away() -> None:
    message = request(("Content-Type", "text/plain"), ("Content-Length", "3"))
    message.set_body(b"v=0\r\n", "application/sdp")
    assert message.to_bytes().endswith(b"Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n")
    message.set_body(b"", None)
    assert message.headers == []
    assert repr(message) == "<Request 'INVITE sip:2@[2001:db8::1] SIP/2.0' 0 headers, 0 octets>"


def test_a_copy_is_a_message_of_its_own() -> None:
    message = request(("CSeq", "1 INVITE"))
    assert message.cseq.number == 1
    copy = message.copy()
    copy.set("CSeq", "2 INVITE")
    assert (message.cseq.number, copy.cseq.number) == (1, 2)
    assert message != copy
    assert message == message.copy()
    answer = make_response(message, 200)
    assert answer == answer.copy() != make_response(message, 202)
    assert message != answer
    assert answer != message
    assert answer != "SIP/2.0 200 OK"


def test_the_length_is_the_bodys_and_no_difference_between_messages() -> None:
    assert request(("CSeq", "1 INVITE"), ("Content-Length", "0")) == request(("CSeq", "1 INVITE"))
    assert request(("CSeq", "1 INVITE")) != request(("CSeq", "2 INVITE"))


def test_only_requests_and_responses_have_a_start_line() -> None:
    with pytest.raises(NotImplementedError):
        _ = Message().start_line
