"""Messages: golden octets, what is tolerated, what is refused and how, and the answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.sip.errors import SipError
from services.core.sip.message import (
    MAX_HEADERS,
    MAX_MESSAGE_BYTES,
    Request,
    Response,
    make_response,
    new_request,
    parse_message,
    reason_phrase,
)
from tests.core.sip.strategies import INVITE, INVITE_SDP, requests, responses

OPTIONS = (
    b"OPTIONS sip:example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n"
    b"From: <sip:a@example.com>;tag=1\r\n"
    b"To: <sip:b@example.com>\r\n"
    b"Call-ID: c1@192.0.2.9\r\n"
    b"CSeq: 1 OPTIONS\r\n"
)


def request(data: bytes, *, stream: bool = False) -> Request:
    message = parse_message(data, stream=stream)
    assert isinstance(message, Request)
    return message


def refusal(data: bytes, *, stream: bool = False) -> SipError:
    with pytest.raises(SipError) as caught:
        parse_message(data, stream=stream)
    return caught.value


# --- golden octets ---


def test_a_usual_invite_is_read_and_written_octet_for_octet() -> None:
    message = request(INVITE)
    assert (message.method, message.uri) == ("INVITE", "sip:2@[2001:db8::1]:5060")
    assert [name for name, _ in message.headers] == [
        *("Via", "Max-Forwards", "Contact", "To", "From", "Call-ID", "CSeq", "Allow", "Supported", "User-Agent"),
        *("Content-Type", "Content-Length"),
    ]
    assert message.top_via.branch == "z9hG4bK-524287-1---0123456789abcdef"
    assert message.body == INVITE_SDP
    assert message.to_bytes() == INVITE


def test_a_response_is_written_octet_for_octet() -> None:
    response = make_response(
        request(INVITE), 200, to_tag="8321", headers=[("Contact", "<sip:2@[2001:db8::1]:5060>")], body=b"v=0\r\n"
    )
    assert response.to_bytes() == (
        b"SIP/2.0 200 OK\r\n"
        b"Via: SIP/2.0/UDP [2001:db8::21]:5060;branch=z9hG4bK-524287-1---0123456789abcdef;rport\r\n"
        b"To: <sip:2@[2001:db8::1]>;tag=8321\r\n"
        b'From: "Device One" <sip:dev1@[2001:db8::1]>;tag=1928301774\r\n'
        b"Call-ID: 84b4c76e66710-a@2001:db8::21\r\n"
        b"CSeq: 314159 INVITE\r\n"
        b"Contact: <sip:2@[2001:db8::1]:5060>\r\n"
        b"Content-Length: 5\r\n\r\nv=0\r\n"
    )


@given(requests() | responses(), st.booleans())
def test_a_message_is_written_so_that_it_reads_back(message: Request | Response, stream: bool) -> None:
    data = message.to_bytes()
    again = parse_message(data, stream=stream)
    assert again == message
    assert again.to_bytes() == data


def test_octets_that_are_no_utf8_survive() -> None:
    data = (
        OPTIONS
        + b"Subject: caf\xe9 \xe2\x82\xac \x85 \xc2\x85 \xe2\x80\xa8\r\nX-Nul: a\x00b\r\nContent-Length: 0\r\n\r\n"
    )
    assert request(data).to_bytes() == data


def test_no_value_of_ours_begins_a_new_line() -> None:
    message = new_request(
        "OPTIONS",
        "sip:a\r\nEvil: 1\r\n",
        [("Subject", "a\r\nVia: evil"), ("X-New", "b\nc\rd")],
        body=b"\r\n",
        content_type="text/plain",
    )
    assert message.to_bytes() == (
        b"OPTIONS sip:a  Evil: 1   SIP/2.0\r\n"
        b"Subject: a  Via: evil\r\nX-New: b c d\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n\r\n"
    )


# --- what is tolerated ---


def test_empty_lines_before_the_start_line_are_skipped() -> None:
    assert request(b"\r\n\r\n" + INVITE) == request(b"\n\r\n" + INVITE) == request(INVITE)


def test_lines_may_end_in_lf_alone() -> None:
    data = OPTIONS.replace(b"\r\n", b"\n") + b"Content-Length: 9\n\na\r\n\r\nb\n\nc"
    assert request(data).body == b"a\r\n\r\nb\n\nc"
    mixed = OPTIONS + b"Subject: a\nContent-Length: 2\r\n\r\n\r\n"
    assert request(mixed).body == b"\r\n"
    assert request(OPTIONS + b"Subject: a\n\r\nbody").body == b"body"


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b"\r\n \t  ", b"\n ", b" \r\n "])
def test_folded_rows_are_joined_by_one_space(fold: bytes) -> None:
    data = (
        (OPTIONS + b"Subject: a b\r\n\r\n").replace(b"a b", b"a" + fold + b"b").replace(b"1 OPT", b"1" + fold + b"OPT")
    )
    message = request(data)
    assert message.get("Subject") == ("a  b" if fold.startswith(b" ") else "a b")
    assert message.cseq.method == "OPTIONS"


def test_a_row_may_be_folded_many_times_and_before_its_value() -> None:
    message = request(
        OPTIONS.replace(b"Call-ID:", b"Call-ID:\r\n ") + b"Subject:\r\n a\r\n\tb\r\n  c\r\n \r\n d\r\n\r\n"
    )
    assert message.call_id == "c1@192.0.2.9"
    assert message.get("Subject") == "a b c  d"


def test_names_have_any_case_compact_forms_and_blanks_before_the_colon() -> None:
    data = OPTIONS.replace(b"Via:", b"v :").replace(b"From:", b"F\t:").replace(b"Call-ID:", b"CALL-id:")
    assert request(data + b"x-FOO:bar\r\n\r\n").headers[-1] == ("X-Foo", "bar")
    assert [name for name, _ in request(data + b"\r\n").headers] == ["Via", "From", "To", "Call-ID", "CSeq"]


def test_the_version_has_any_case() -> None:
    assert request(OPTIONS.replace(b" SIP/2.0\r\n", b" sip/2.0\r\n", 1) + b"\r\n").method == "OPTIONS"
    answer = make_response(request(OPTIONS + b"\r\n"), 200).to_bytes()
    response = parse_message(answer.replace(b"SIP/2.0 200", b"Sip/2.0 200"))
    assert isinstance(response, Response)
    assert response.status == 200


def test_octets_behind_the_body_of_a_datagram_are_dropped() -> None:
    assert request(OPTIONS + b"Content-Length: 3\r\n\r\nabcINVITE sip:x SIP/2.0\r\n\r\n").body == b"abc"
    assert request(OPTIONS + b"l: 000\r\n\r\nabc").body == b""


def test_a_datagram_without_length_is_all_body() -> None:
    assert request(OPTIONS + b"\r\nabc").body == b"abc"


def test_a_client_of_rfc_2543_is_understood() -> None:
    message = request(OPTIONS.replace(b";branch=z9hG4bK1", b"").replace(b";tag=1", b"") + b"\r\n")
    assert message.top_via.branch is None
    assert message.from_tag is None
    assert message.max_forwards is None


def test_a_response_may_have_no_reason() -> None:
    data = make_response(request(OPTIONS + b"\r\n"), 100, "").to_bytes()
    for start in (b"SIP/2.0 100 \r\n", b"SIP/2.0 100\r\n"):
        response = parse_message(data.replace(b"SIP/2.0 100 \r\n", start))
        assert isinstance(response, Response)
        assert (response.status, response.reason) == (100, "")


def test_only_what_an_answer_needs_is_read_at_once() -> None:
    message = request(
        (OPTIONS + b"Contact: <sip:x@2001:db8::10>\r\nMax-Forwards: many\r\n\r\n").replace(
            b"sip:example.com", b"http://x"
        )
    )
    for name, status in (("contacts", 400), ("max_forwards", 400), ("request_uri", 416)):
        with pytest.raises(SipError) as caught:
            getattr(message, name)
        assert caught.value.status == status
    assert request((OPTIONS + b"\r\n").replace(b"sip:example.com", b"sip:2001:db8::10")).uri == "sip:2001:db8::10"


# --- what is refused ---


@pytest.mark.parametrize(
    ("old", "new", "status", "where"),
    [
        (b"OPTIONS sip", b"OPTIONS  sip", 400, "start line"),
        (b" SIP/2.0\r\nVia", b"  SIP/2.0\r\nVia", 400, "start line"),
        (b" SIP/2.0\r\nVia", b" SIP/2.0 \r\nVia", 400, "start line"),
        (b" SIP/2.0\r\nVia", b"\r\nVia", 400, "start line"),
        (b" SIP/2.0\r\nVia", b" SIP/2.0\r\n x\r\nVia", 400, "start line"),
        (b" SIP/2.0\r\nVia", b" SIP/3.0\r\nVia", 505, "start line"),
        (b" SIP/2.0\r\nVia", b" SIP/2.01\r\nVia", 505, "start line"),
        (b" SIP/2.0\r\nVia", b" HTTP/1.1\r\nVia", 400, "start line"),
        (b"sip:example.com", b"sip:a b@example.com", 400, "start line"),
        (b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE", 400, "CSeq"),
        (b"CSeq: 1 OPTIONS", b"CSeq: 4294967296 OPTIONS", 400, "CSeq"),
        (b"CSeq: 1 OPTIONS", b"CSeq: OPTIONS", 400, "CSeq"),
        (b"c1@192.0.2.9", b"c1 @192.0.2.9", 400, "Call-ID"),
        (b"Call-ID: c1@192.0.2.9\r\n", b"", 400, "Call-ID"),
        (b"Call-ID: c1@192.0.2.9\r\n", b"Call-ID:\r\n", 400, "Call-ID"),
        (b"From: <sip:a@example.com>;tag=1\r\n", b"", 400, "From"),
        (b"<sip:a@example.com>;tag=1", b"<sip:a@example.com;tag=1", 400, "From"),
        (b"<sip:a@example.com>;tag=1", b"<sip:a@example.com>;tag=", 400, "From"),
        (b"<sip:b@example.com>", b'"b <sip:b@example.com>', 400, "To"),
        (b";branch=z9hG4bK1", b";;,;,,", 400, "Via"),
        (b"To:", b"To", 400, "header"),
        (b"To:", b"T@o:", 400, "header"),
        (b"To:", b": x\r\nTo:", 400, "header"),
        (b"To:", b"nonsense\r\nTo:", 400, "header"),
        (b"To:", b"To: <sip:c@example.com>\r\nt:", 400, "To"),
        (b"To:", b"Max-Forwards: 7\r\nMax-Forwards: 7\r\nTo:", 400, "Max-Forwards"),
        (b"To:", b"Content-Length: 0\r\nl: 0\r\nTo:", 400, "Content-Length"),
        (b"To:", b"Content-Length: -1\r\nTo:", 400, "Content-Length"),
        (b"To:", b"Content-Length: +0\r\nTo:", 400, "Content-Length"),
        (b"To:", b"Content-Length:\r\nTo:", 400, "Content-Length"),
        (b"To:", b"Content-Length: 1\r\nTo:", 400, "Content-Length"),
        (b"To:", b"Content-Length: 99999999999999999999999\r\nTo:", 400, "Content-Length"),
        (b"To:", b"Subject: a\rb\r\nTo:", 400, "message"),
        (b"\r\n\r\n", b"\r\n", 400, "message"),
    ],
)
def test_a_request_that_cannot_be_taken_can_be_answered(old: bytes, new: bytes, status: int, where: str) -> None:
    data = OPTIONS + b"\r\n"
    assert data.count(old) == 1
    error = refusal(data.replace(old, new))
    assert (error.status, error.where) == (status, where)
    assert error.message is not None
    answer = make_response(error.message, error.status, error.reason, to_tag="t").to_bytes()
    assert answer.startswith(b"SIP/2.0 %d " % status)
    assert b"\r\nVia: SIP/2.0/UDP 192.0.2.9;" in answer
    assert b"\r\nCSeq: " in answer
    assert error.message.top_via.host == "192.0.2.9"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n", b""),
        (b"SIP/2.0/UDP 192.0.2.9", b"SIP/2.0/UDP [192.0.2.9]"),
        (b"SIP/2.0/UDP 192.0.2.9", b'SIP/2.0/UDP 192.0.2.9;x="a, b'),
        (b"CSeq: 1 OPTIONS\r\n", b""),
        (b"OPTIONS sip", b"OPT@IONS sip"),
        (b"OPTIONS sip", b" sip"),
    ],
)
def test_a_request_whose_way_back_is_unreadable_is_not_answered(old: bytes, new: bytes) -> None:
    error = refusal((OPTIONS + b"\r\n").replace(old, new))
    assert (error.status, error.message) == (400, None)


def test_a_malformed_ack_is_never_answered() -> None:
    assert refusal((OPTIONS + b"\r\n").replace(b"OPTIONS", b"ACK").replace(b"1 ACK", b"x ACK")).message is None


@pytest.mark.parametrize(
    "start",
    [
        b"SIP/2.0 99 x",
        b"SIP/2.0 700 x",
        b"SIP/2.0 4294967301 x",
        b"SIP/2.0 20x OK",
        b"SIP/2.0 \xd9\xa2\xd9\xa0\xd9\xa0 OK",
        b"SIP/2.0",
        b"SIP/3.0 200 OK",
        b"SIP/ 200 OK",
        b"SIP/2.0  200 OK",
    ],
)
def test_a_malformed_response_is_nothing_to_answer(start: bytes) -> None:
    data = make_response(request(OPTIONS + b"\r\n"), 200, to_tag="t").to_bytes()
    assert refusal(data.replace(b"SIP/2.0 200 OK", start)).message is None
    assert refusal(data.replace(b"CSeq: 1", b"CSeq: -1")).message is None


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"\r\n\r\n\r\n", b"\x00", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_sip_is_refused(data: bytes) -> None:
    error = refusal(data)
    assert (error.status, error.message) == (400, None)
    assert str(error) == f"400 {error.reason} ({error.where})"


def test_a_stream_message_must_say_its_length() -> None:
    error = refusal(OPTIONS + b"\r\n", stream=True)
    assert (error.status, error.where) == (400, "Content-Length")
    assert error.message is not None
    assert request(OPTIONS + b"Content-Length: 0\r\n\r\n", stream=True).body == b""


def test_size_and_number_of_headers_are_bounded() -> None:
    most = OPTIONS + b"X: y\r\n" * (MAX_HEADERS - 5) + b"\r\n"
    assert len(request(most).headers) == MAX_HEADERS
    error = refusal(OPTIONS + b"X: y\r\n" * (MAX_HEADERS - 4) + b"\r\n")
    assert (error.status, error.message is not None) == (513, True)
    folded = OPTIONS + b"X: y\r\n" * 10 + b" z\r\n" * 1000 + b"\r\n"
    assert len(request(folded).headers) == 15
    head = OPTIONS + b"\r\n"
    assert len(request(head + b"x" * (MAX_MESSAGE_BYTES - len(head))).body) == MAX_MESSAGE_BYTES - len(head)
    error = refusal(head + b"x" * (MAX_MESSAGE_BYTES - len(head) + 1))
    assert (error.status, error.message is not None) == (513, True)


def test_reasons_are_safe_to_send() -> None:
    for junk in (b"\xff\xfe", "ä\u2028".encode(), b"a" * 3000, b"'\"\\"):
        for place in (b"192.0.2.9;", b"1 OPTIONS\r\n", b"To"):
            error = refusal((OPTIONS + b"\r\n").replace(place, junk + b" " + place))
            assert error.reason.isascii()
            assert error.reason.isprintable()
            assert len(error.reason) < 400


# --- answers ---


def test_a_response_echoes_what_the_rfc_asks_for() -> None:
    data = OPTIONS.replace(b"OPTIONS", b"INVITE") + (
        b"Via: SIP/2.0/TCP [2001:db8::7], SIP/2.0/UDP c.example\r\nRecord-Route: <sip:[2001:db8::7];lr>\r\n"
        b"Timestamp: 54\r\nSubject: x\r\nMax-Forwards: 1\r\n\r\n"
    )
    echoed = ["Via", "From", "To", "Call-ID", "CSeq", "Via"]

    def names(status: int) -> list[str]:
        return [name for name, _ in make_response(request(data), status, to_tag="t").headers]

    assert names(100) == [*echoed, "Timestamp"]
    assert names(180) == names(200) == [*echoed, "Record-Route"]
    assert names(302) == names(486) == echoed
    register = data.replace(b"INVITE", b"REGISTER")
    assert make_response(request(register), 200).get("Record-Route") is None
    assert make_response(request(data), 180).vias == request(data).vias


def test_the_to_tag_is_added_once() -> None:
    first = make_response(request(OPTIONS + b"\r\n"), 200, to_tag="t1")
    assert first.get("To") == "<sip:b@example.com>;tag=t1"
    in_dialog = request((OPTIONS + b"\r\n").replace(b"<sip:b@example.com>", b"sip:b@example.com;tag=t1"))
    assert make_response(in_dialog, 200, to_tag="t2").get("To") == "sip:b@example.com;tag=t1"
    assert make_response(request(OPTIONS + b"\r\n"), 100).to_tag is None


def test_every_status_has_a_reason() -> None:
    assert reason_phrase(486) == "Busy Here"
    assert [reason_phrase(status) for status in (199, 299, 399, 499, 599, 699)] == [
        "Early Dialog Terminated",
        "OK",
        "Multiple Choices",
        "Bad Request",
        "Server Internal Error",
        "Busy Everywhere",
    ]
    assert make_response(request(OPTIONS + b"\r\n"), 480, "Gone Fishing").start_line == "SIP/2.0 480 Gone Fishing"
