"""INFO and MESSAGE inside a call (RFC 6086, RFC 3428)."""

from __future__ import annotations

import pytest

from services.core.events.catalogue import DigitReceived
from services.core.sip.message import Request
from services.core.sip.transaction import ServerKey
from services.sip_edge.call import effects as fx
from tests.sip_edge.call.harness import Harness, sdp

CALLEE = sdp("192.0.2.12", 30000)
RELAY = "application/dtmf-relay"


@pytest.fixture
def talking(harness: Harness) -> Harness:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    return harness


@pytest.fixture
def menu(harness: Harness) -> Harness:
    harness.start("200")
    harness.from_leg("a", "ACK", cseq=1)
    return harness


def says(
    harness: Harness, leg: str, method: str, body: bytes, kind: str = RELAY, *, cseq: int = 20, extra: str = ""
) -> ServerKey:
    """A request of a party inside its dialog, with a body that is no session description."""
    state = harness.call.state.leg(leg)
    request: Request = harness.message(
        method, f"sip:{leg}@pbx", "192.0.2.11", cseq=cseq, call_id=state.sip_call_id, from_tag=state.remote_tag,
        to_tag=state.local_tag, extra=extra,
    )  # fmt: skip
    if body:
        request.set_body(body, kind)
    key = harness.key(request)
    harness.feed(harness.call.request_arrived(leg, key, request, harness.flow("192.0.2.11")))
    return key


@pytest.mark.parametrize(
    ("kind", "body", "digit", "duration_ms"),
    [
        (RELAY, b"Signal=1\r\nDuration=160\r\n", "1", 160),
        (RELAY, b"Signal= 1\nDuration= 160\n", "1", 160),
        (RELAY, b"signal=*", "*", 100),
        (RELAY, b"Signal=10\r\nDuration=99999\r\n", "*", 10_000),
        (RELAY, "Signal=5\r\nDuration=٧\r\n".encode(), "5", 100),
        ("application/dtmf", b"#\r\n", "#", 100),
        ("application/dtmf", b"11", "#", 100),
        ("application/dtmf", b"d", "D", 100),
    ],
)
def test_a_digit_of_info_reaches_the_application(
    menu: Harness, kind: str, body: bytes, digit: str, duration_ms: int
) -> None:
    says(menu, "a", "INFO", body, kind)
    assert menu.statuses[-1] == 200
    heard = menu.the(DigitReceived)
    assert (heard.digit, heard.duration_ms) == (digit, duration_ms)


@pytest.mark.parametrize("body", [b"Signal=\r\n", b"Signal=x", b"Duration=5", b"Signal=12345", b"\xff\xfe"])
def test_a_key_that_does_not_exist_is_refused(menu: Harness, body: bytes) -> None:
    says(menu, "a", "INFO", body)
    assert menu.statuses[-1] == 400
    assert "DigitReceived" not in menu.names()


@pytest.mark.parametrize(("leg", "peer"), [("a", "b1"), ("b1", "a")])
def test_between_two_parties_digits_go_on_as_info(talking: Harness, leg: str, peer: str) -> None:
    says(talking, leg, "INFO", b"Signal=5\r\nDuration=160\r\n")
    assert talking.statuses[-1] == 200
    passed = talking.request_to(peer, "INFO")
    assert (passed.get("Content-Type"), passed.body) == (RELAY, b"Signal=5\r\nDuration=160\r\n")


def test_info_without_a_body_is_a_sign_of_life(talking: Harness) -> None:
    says(talking, "a", "INFO", b"")
    assert talking.statuses[-1] == 200
    assert not talking.requests_to("b1", "INFO")


def test_info_of_a_package_we_did_not_name_is_refused(talking: Harness) -> None:
    says(talking, "a", "INFO", b"x", "application/x", extra="Info-Package: foo\r\n")
    assert talking.statuses[-1] == 469
    assert talking.responses[-1].has("Recv-Info")


def test_other_info_goes_to_the_other_party_and_its_answer_comes_back(talking: Harness) -> None:
    key = says(talking, "a", "INFO", b"<fast-update/>", "application/media_control+xml")
    assert not [one for one in talking.effects if isinstance(one, fx.Respond) and one.key == key]
    talking.answers("b1", 415, method="INFO")
    assert talking.statuses[-1] == 415


def test_an_application_takes_nothing_but_digits(menu: Harness) -> None:
    says(menu, "a", "INFO", b"<x/>", "application/x")
    assert menu.statuses[-1] == 415
    assert RELAY in (menu.responses[-1].get("Accept") or "")


def test_a_message_goes_to_the_other_party_and_its_answer_comes_back(talking: Harness) -> None:
    says(talking, "b1", "MESSAGE", b"hello", "text/plain;charset=utf-8")
    passed = talking.request_to("a", "MESSAGE")
    assert (passed.get("Content-Type"), passed.body) == ("text/plain;charset=utf-8", b"hello")
    talking.answers("a", 200, method="MESSAGE")
    assert talking.statuses[-1] == 200


def test_a_message_nobody_answers_is_unavailable(talking: Harness) -> None:
    says(talking, "a", "MESSAGE", b"hello", "text/plain")
    talking.feed(talking.call.transaction_failed(talking.token_of("b1", "MESSAGE"), "timeout"))
    assert talking.statuses[-1] == 480


def test_the_other_partys_challenge_stays_between_us(talking: Harness) -> None:
    says(talking, "a", "MESSAGE", b"hello", "text/plain")
    talking.answers("b1", 401, method="MESSAGE")
    assert talking.statuses[-1] == 403


def test_a_message_too_large_for_udp_is_refused(talking: Harness) -> None:
    says(talking, "a", "MESSAGE", b"x" * 1301, "text/plain")
    assert talking.statuses[-1] == 413


def test_an_application_reads_no_messages(menu: Harness) -> None:
    says(menu, "a", "MESSAGE", b"hello", "text/plain")
    assert menu.statuses[-1] == 480
