"""Client transactions: RFC 3261 17.1, 9.1; RFC 6026 7.2."""

from __future__ import annotations

import pytest

from services.core.address import Address, HostPort
from services.core.sip.flow import Flow
from services.core.sip.message import Request
from services.core.sip.timers import Timers
from services.core.sip.transaction import (
    ClientKey,
    FailureReason,
    ResponseArrived,
    SendMessage,
    TransactionEnded,
    TransactionFailed,
)
from services.core.sip.transaction_table import State
from tests.core.sip.exchange import TCP_FLOW, UDP_FLOW, Driven, a_response, our_request, sent, sent_starts


def statuses(driven: Driven) -> list[int]:
    """The responses the user heard of."""
    return [output.response.status for output in driven.said if isinstance(output, ResponseArrived)]


# --- INVITE ----------------------------------------------------------------------------------------------------------


def test_invite_is_sent_and_repeated_with_doubling_intervals_until_timer_b() -> None:
    driven = Driven()
    key = driven.ask(our_request("INVITE"))
    assert driven.moments_of_sending(31.99) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    outputs = driven.wait(0.01)
    assert outputs == [TransactionFailed(key, FailureReason.TIMEOUT), TransactionEnded(key)]
    assert driven.layer.next_timer() is None
    assert driven.layer.stats["timeouts"] == 1
    assert driven.layer.stats["retransmissions"] == 6


def test_every_retransmission_is_the_same_bytes_object() -> None:
    driven = Driven()
    driven.ask(our_request("INVITE"))
    driven.wait(8)
    copies = [output.data for output in driven.said if isinstance(output, SendMessage)]
    assert len(copies) == 5
    assert all(copy is copies[0] for copy in copies)


def test_invite_over_tcp_is_not_repeated_and_still_times_out() -> None:
    driven = Driven("tcp")
    key = driven.ask(our_request("INVITE"))
    assert driven.moments_of_sending(31.9) == []
    assert TransactionFailed(key, FailureReason.TIMEOUT) in driven.wait(0.2)


@pytest.mark.parametrize("status", [100, 180])
def test_provisional_stops_the_repeating_and_the_timeout(status: int) -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, status))
    assert driven.layer.next_timer() is None
    assert driven.wait(600) == []
    assert driven.layer.state_of(key) is State.PROCEEDING


def test_100_is_not_news_and_other_provisionals_all_are() -> None:
    driven = Driven()
    request = our_request("INVITE")
    driven.ask(request)
    for status in (100, 180, 183, 180):
        driven.hear(a_response(request, status))
    assert statuses(driven) == [180, 183, 180]


def test_error_is_acknowledged_by_the_layer_and_its_copies_are_too() -> None:
    driven = Driven()
    request = our_request("INVITE", more="Route: <sip:one.example;lr>\r\nRoute: <sip:two.example;lr>\r\n")
    key = driven.ask(request)
    response = a_response(request, 486, tag="busy")
    outputs = driven.hear(response)
    assert [type(output) for output in outputs] == [SendMessage, ResponseArrived]
    (ack,) = sent(outputs)
    assert isinstance(ack, Request)
    assert ack.start_line == "ACK sip:bob@192.0.2.1 SIP/2.0"
    assert ack.rows("Via") == request.rows("Via")
    assert ack.rows("Route") == ["<sip:one.example;lr>", "<sip:two.example;lr>"]
    assert ack.get("From") == request.get("From")
    assert ack.get("To") == response.get("To")
    assert ack.get("CSeq") == "1 ACK"
    assert ack.call_id == request.call_id
    assert ack.get("Max-Forwards") == "70"

    again = driven.hear(response)
    assert again == [outputs[0]]
    assert driven.layer.state_of(key) is State.COMPLETED
    assert statuses(driven) == [486]


def test_the_ack_has_only_our_via_even_when_the_request_had_more() -> None:
    driven = Driven()
    request = our_request("INVITE")
    request.add("Via", "SIP/2.0/UDP upstream.example;branch=z9hG4bKup")
    driven.ask(request)
    response = a_response(request, 404)
    response.remove("Via")
    response.add("Via", str(request.top_via))
    (ack,) = sent(driven.hear(response))
    assert len(ack.vias) == 1


def test_timer_d_ends_a_refused_invite_after_32_seconds_and_at_once_over_tcp() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, 486))
    assert driven.wait(31.9) == []
    assert driven.wait(0.2) == [TransactionEnded(key)]

    driven = Driven("tcp")
    key = driven.ask(request)
    assert driven.hear(a_response(request, 486))[-1] == TransactionEnded(key)


def test_timer_d_is_not_shortened_with_t1() -> None:
    driven = Driven(timers=Timers(t1_s=0.01))
    request = our_request("INVITE")
    driven.ask(request)
    driven.hear(a_response(request, 486))
    assert driven.wait(31.9) == []


def test_2xx_is_not_acknowledged_by_the_layer_and_every_copy_and_fork_is_news() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    for tag in ("one", "one", "two"):
        outputs = driven.hear(a_response(request, 200, tag=tag))
        assert [type(output) for output in outputs] == [ResponseArrived]
    assert driven.layer.state_of(key) is State.ACCEPTED
    assert driven.hear(a_response(request, 486)) == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_timer_m_ends_an_accepted_invite_and_stray_2xx_are_dropped(transport: str) -> None:
    driven = Driven(transport)
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, 200))
    assert driven.wait(31.9) == []
    assert driven.wait(0.2) == [TransactionEnded(key)]
    assert driven.hear(a_response(request, 200)) == []
    assert driven.layer.stats["stray_responses"] == 1


# --- CANCEL ----------------------------------------------------------------------------------------------------------


def test_cancel_after_a_provisional_goes_out_at_once_and_looks_like_the_invite() -> None:
    driven = Driven()
    request = our_request("INVITE", more="Route: <sip:one.example;lr>\r\nRequire: foo\r\n")
    key = driven.ask(request)
    driven.hear(a_response(request, 180))
    (cancel,) = sent(driven.cancel(key))
    assert isinstance(cancel, Request)
    assert cancel.start_line == "CANCEL sip:bob@192.0.2.1 SIP/2.0"
    for name in ("From", "To", "Call-ID", "Route", "Via"):
        assert cancel.rows(name) == request.rows(name), name
    assert cancel.get("CSeq") == "1 CANCEL"
    assert not cancel.has("Require")


def test_cancel_waits_for_a_provisional() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    assert driven.cancel(key) == []
    assert driven.moments_of_sending(2) == [0.5, 1.5], "the INVITE goes on"
    outputs = driven.hear(a_response(request, 100))
    assert sent_starts(outputs) == ["CANCEL sip:bob@192.0.2.1 SIP/2.0"]


def test_cancel_is_repeated_until_answered_and_its_answer_is_no_news() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, 180))
    (cancel,) = sent(driven.cancel(key))
    assert isinstance(cancel, Request)
    assert driven.moments_of_sending(2) == [0.5, 1.5]
    assert driven.hear(a_response(cancel, 200)) == []
    assert driven.moments_of_sending(10) == []
    outputs = driven.hear(a_response(request, 487))
    assert sent_starts(outputs) == ["ACK sip:bob@192.0.2.1 SIP/2.0"]
    assert statuses(driven) == [180, 487]


def test_cancel_without_a_487_fails_the_invite_64_t1_later() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, 180))
    driven.wait(100)
    (cancel,) = sent(driven.cancel(key))
    assert isinstance(cancel, Request)
    driven.hear(a_response(cancel, 200))
    assert driven.wait(31.9) == []
    assert driven.wait(0.2) == [TransactionFailed(key, FailureReason.TIMEOUT), TransactionEnded(key)]


def test_unanswered_cancel_fails_only_the_invite() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, 180))
    driven.cancel(key)
    news = [output for output in driven.wait(60) if not isinstance(output, SendMessage)]
    assert news == [TransactionFailed(key, FailureReason.TIMEOUT), TransactionEnded(key)]
    assert len(driven.layer) == 0


def test_a_2xx_that_crosses_the_cancel_is_news() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, 180))
    driven.cancel(key)
    driven.hear(a_response(request, 200))
    assert statuses(driven) == [180, 200]
    assert driven.layer.state_of(key) is State.ACCEPTED


def test_a_final_answer_to_an_invite_that_waits_to_be_cancelled_needs_no_cancel() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.cancel(key)
    assert sent_starts(driven.hear(a_response(request, 486))) == ["ACK sip:bob@192.0.2.1 SIP/2.0"]


def test_cancelling_twice_too_late_or_something_else_does_nothing() -> None:
    driven = Driven()
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, 180))
    driven.cancel(key)
    assert driven.cancel(key) == []
    driven.hear(a_response(request, 487))
    assert driven.cancel(key) == []
    assert driven.cancel(ClientKey("z9hG4bKnone", "INVITE")) == []
    other = driven.ask(our_request("OPTIONS", branch="z9hG4bKother"))
    assert driven.cancel(other) == []


# --- other requests --------------------------------------------------------------------------------------------------


def test_request_is_repeated_up_to_t2_apart_until_timer_f() -> None:
    driven = Driven()
    key = driven.ask(our_request())
    assert driven.moments_of_sending(31.99) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert driven.wait(0.02) == [TransactionFailed(key, FailureReason.TIMEOUT), TransactionEnded(key)]


def test_provisional_slows_a_request_down_to_t2() -> None:
    driven = Driven()
    request = our_request()
    key = driven.ask(request)
    driven.wait(0.6)
    driven.hear(a_response(request, 100))
    assert driven.layer.state_of(key) is State.PROCEEDING
    assert driven.moments_of_sending(10) == [0.9, 4.9, 8.9]
    assert TransactionFailed(key, FailureReason.TIMEOUT) in driven.wait(30)


def test_final_answer_is_news_once_and_timer_k_absorbs_copies() -> None:
    driven = Driven()
    request = our_request()
    key = driven.ask(request)
    driven.hear(a_response(request, 200))
    assert driven.hear(a_response(request, 200)) == []
    assert driven.hear(a_response(request, 404)) == []
    assert statuses(driven) == [200]
    assert driven.wait(4.9) == []
    assert driven.wait(0.2) == [TransactionEnded(key)]


def test_a_request_over_tcp_ends_with_its_answer() -> None:
    driven = Driven("tcp")
    request = our_request()
    key = driven.ask(request)
    assert driven.moments_of_sending(10) == []
    outputs = driven.hear(a_response(request, 200))
    assert [type(output) for output in outputs] == [ResponseArrived, TransactionEnded]
    assert driven.layer.state_of(key) is None


# --- matching, transport ---------------------------------------------------------------------------------------------


def test_responses_that_are_not_ours_are_dropped_and_counted() -> None:
    driven = Driven()
    request = our_request()
    driven.ask(request)
    other_method = a_response(our_request("INFO"), 200)
    other_branch = a_response(our_request(branch="z9hG4bKelse"), 200)
    other_sent_by = a_response(request, 200)
    other_sent_by.set("Via", str(request.top_via).replace("192.0.2.1:5060", "192.0.2.77:5060"))
    two_vias = a_response(request, 200)
    two_vias.add("Via", "SIP/2.0/UDP 192.0.2.88;branch=z9hG4bKx")
    shared_row = a_response(request, 200)
    shared_row.set("Via", f"{request.top_via}, SIP/2.0/UDP 192.0.2.88;branch=z9hG4bKx")
    for response in (other_method, other_branch, other_sent_by, two_vias, shared_row):
        assert driven.hear(response) == []
    assert driven.layer.stats["stray_responses"] == 5
    assert driven.hear(a_response(request, 200)) != []


def test_a_response_matches_whatever_a_server_wrote_into_our_via() -> None:
    driven = Driven()
    request = our_request()
    driven.ask(request)
    response = a_response(request, 200)
    response.top_via = response.top_via.with_source("198.51.100.1", 4711)
    assert [type(output) for output in driven.hear(response)] == [ResponseArrived]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_failed_transport_fails_requests_that_wait_on_it(method: str) -> None:
    driven = Driven("tcp")
    key = driven.ask(our_request(method))
    assert driven.layer.transport_failed(UDP_FLOW, driven.now) == []
    outputs = driven.layer.transport_failed(TCP_FLOW, driven.now)
    assert outputs == [TransactionFailed(key, FailureReason.TRANSPORT), TransactionEnded(key)]
    assert driven.layer.stats["transport_failures"] == 1
    assert driven.layer.next_timer() is None


def test_failed_transport_leaves_a_ringing_invite_alone() -> None:
    driven = Driven("tcp")
    request = our_request("INVITE")
    key = driven.ask(request)
    driven.hear(a_response(request, 180))
    assert driven.layer.transport_failed(TCP_FLOW, driven.now) == []
    elsewhere = Flow("tcp", Address("192.0.2.1", 5060), Address("192.0.2.9", 40001), 8)
    driven.hear(a_response(request, 200), elsewhere)
    assert statuses(driven) == [180, 200]
    assert driven.layer.state_of(key) is State.ACCEPTED


@pytest.mark.parametrize(
    "request_",
    [our_request(branch="oldstyle"), our_request("ACK"), our_request("CANCEL")],
    ids=["no cookie", "ACK", "CANCEL"],
)
def test_what_makes_no_transaction_is_our_fault(request_: Request) -> None:
    driven = Driven()
    with pytest.raises(ValueError, match="no new transaction"):
        driven.layer.request(request_, UDP_FLOW, 0.0)


def test_a_branch_cannot_be_used_twice() -> None:
    driven = Driven()
    driven.ask(our_request())
    with pytest.raises(ValueError, match="z9hG4bKours1"):
        driven.layer.request(our_request(), UDP_FLOW, 0.0)


def test_new_via_shows_where_we_are_with_a_fresh_branch() -> None:
    layer = Driven().layer
    assert layer.new_via("udp", HostPort("2001:db8::1", 5060)) == (
        "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKfresh1;rport"
    )
    assert layer.new_via("tcp", HostPort("pbx.example")) == "SIP/2.0/TCP pbx.example;branch=z9hG4bKfresh2;rport"


# --- a connection that is gone ----------------------------------------------------------------------------------------


def test_a_request_its_cancel_and_its_ack_know_where_to_connect_anew() -> None:
    driven, request, elsewhere = Driven("tcp"), our_request("INVITE"), Address("192.0.2.77", 5070)
    key, outputs = driven.layer.request(request, TCP_FLOW, driven.now, elsewhere)
    outputs += driven.hear(a_response(request, 180))
    outputs += driven.cancel(key)
    outputs += driven.hear(a_response(request, 487))
    messages = [output for output in outputs if isinstance(output, SendMessage)]
    assert [message.data.split()[0] for message in messages] == [b"INVITE", b"CANCEL", b"ACK"]
    assert {message.reopen for message in messages} == {elsewhere}
