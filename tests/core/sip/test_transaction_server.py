"""Server transactions: RFC 3261 17.2, 13.3.1.4, 9.2; RFC 6026 7.1; RFC 4320."""

from __future__ import annotations

import itertools

import pytest

from services.core.sip.message import Request, Response, make_response
from services.core.sip.timers import Timers
from services.core.sip.transaction import (
    AckArrived,
    AckMissing,
    CancelArrived,
    RequestArrived,
    SendMessage,
    ServerKey,
    TransactionEnded,
    stateless_tag,
)
from services.core.sip.transaction_table import State
from tests.core.sip.exchange import Driven, a_request, sent, sent_starts


def answers(driven: Driven) -> list[int]:
    """Statuses of everything sent."""
    return [message.status for message in sent(driven.said) if isinstance(message, Response)]


# --- INVITE ----------------------------------------------------------------------------------------------------------


def test_invite_gets_100_after_200_ms_when_the_user_is_silent() -> None:
    driven = Driven()
    driven.arrived(a_request("INVITE", more="Timestamp: 54\r\n"))
    assert driven.wait(0.19) == []
    (trying,) = sent(driven.wait(0.02))
    assert isinstance(trying, Response)
    assert trying.status == 100
    assert trying.to_tag is None
    assert trying.get("Timestamp") == "54"
    assert driven.wait(300) == []


@pytest.mark.parametrize("status", [100, 180])
def test_invite_gets_no_100_from_us_when_the_user_spoke(status: int) -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, status)
    assert driven.wait(5) == []
    assert answers(driven) == [status]


def test_invite_again_gets_the_last_provisional_again() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    assert driven.hear(request) == [], "nothing was said yet"
    driven.answer(key, request, 180)
    last = driven.answer(key, request, 183)
    assert driven.hear(request) == last
    assert driven.layer.stats["requests_again"] == 2


def test_refusal_is_repeated_up_to_t2_apart_until_timer_h() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 486)
    assert driven.moments_of_sending(31.99) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert driven.wait(0.02) == [TransactionEnded(key)]


def test_refusal_over_tcp_is_sent_once_and_waits_for_its_ack() -> None:
    driven = Driven("tcp")
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 486)
    assert driven.moments_of_sending(31.9) == []
    assert driven.wait(0.2) == [TransactionEnded(key)]


def test_ack_confirms_a_refusal_and_timer_i_absorbs_copies() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 486)
    ack = a_request("ACK", to_tag="ourtag")
    assert driven.hear(ack) == []
    assert driven.layer.state_of(key) is State.CONFIRMED
    assert driven.hear(ack) == []
    assert driven.hear(request) == []
    assert driven.moments_of_sending(4.9) == []
    assert driven.wait(0.2) == [TransactionEnded(key)]


def test_ack_over_tcp_ends_a_refused_invite() -> None:
    driven = Driven("tcp")
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 486)
    assert driven.hear(a_request("ACK", to_tag="ourtag")) == [TransactionEnded(key)]
    assert driven.layer.next_timer() is None


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_2xx_is_repeated_over_any_transport_and_then_its_ack_is_missing(transport: str) -> None:
    driven = Driven(transport)
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 200)
    assert driven.moments_of_sending(31.99) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert driven.wait(0.02) == [AckMissing(key), TransactionEnded(key)]
    assert driven.layer.stats["acks_missing"] == 1


def test_acknowledged_2xx_is_not_repeated_and_the_transaction_absorbs_invites_until_timer_l() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 200)
    ack = a_request("ACK", branch="z9hG4bKack", to_tag="ourtag")
    assert driven.hear(ack) == [AckArrived(ack, driven.flow)]
    driven.layer.acknowledged(key)
    driven.layer.acknowledged(key)
    assert driven.layer.state_of(key) is State.ACKNOWLEDGED
    assert driven.hear(request) == []
    assert driven.wait(31.9) == []
    assert driven.wait(0.2) == [TransactionEnded(key)]


def test_ack_of_a_2xx_with_the_invite_s_branch_is_the_user_s_too() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 200)
    ack = a_request("ACK", to_tag="ourtag")
    assert driven.hear(ack) == [AckArrived(ack, driven.flow)]
    driven.layer.acknowledged(key)
    assert driven.hear(ack) == [AckArrived(ack, driven.flow)]


def test_nothing_answers_an_ack() -> None:
    driven = Driven()
    request = a_request("INVITE")
    driven.arrived(request)
    assert driven.hear(a_request("ACK")) == [], "of an INVITE that has no answer yet"
    stray = a_request("ACK", branch="z9hG4bKnobody")
    assert driven.hear(stray) == [AckArrived(stray, driven.flow)]
    broken = a_request("ACK")
    broken.set("CSeq", "x ACK")
    broken.set("Via", "SIP/2.0/UDP 192.0.2.9:5070;branch=old")
    assert driven.hear(broken) == []
    assert driven.layer.answer_statelessly(stray, driven.flow, 400) == []


def test_an_answer_after_the_final_one_is_dropped_and_counted() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 200)
    assert driven.answer(key, request, 487) == []
    assert driven.answer(key, request, 180) == []
    assert driven.answer(ServerKey("z9hG4bKno", "x", 0, "INVITE"), request, 200) == []
    assert driven.layer.stats["late_answers"] == 3
    assert driven.layer.state_of(key) is State.ACCEPTED


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_a_request_waits_from_its_arrival_to_its_final_answer(method: str) -> None:
    driven = Driven()
    request = a_request(method)
    came = driven.now
    key = driven.arrived(request)
    driven.wait(3)
    driven.hear(request)
    if method == "INVITE":
        driven.answer(key, request, 180)
    assert driven.layer.waiting_since(key) == came
    driven.answer(key, request, 200)
    assert driven.layer.waiting_since(key) is None
    assert driven.layer.waiting_since(ServerKey("z9hG4bKno", "x", 0, method)) is None


def test_abandoned_request_is_forgotten_without_an_answer() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    assert driven.layer.abandon(key, driven.now) == [TransactionEnded(key)]
    assert driven.layer.abandon(key, driven.now) == []
    assert driven.layer.next_timer() is None
    assert isinstance(driven.hear(request)[0], RequestArrived)


def test_challenge_sent_once_leaves_nothing_behind_and_each_copy_costs_one_answer() -> None:
    """RFC 3261 26.3.2.4: no state and no repetition for a stranger."""
    driven = Driven()
    request = a_request("INVITE")
    tags = set()
    for _ in range(3):
        key = driven.arrived(request)
        outputs = driven.layer.respond_once(key, make_response(request, 401, to_tag=stateless_tag(request)), driven.now)
        assert [type(output) for output in outputs] == [SendMessage, TransactionEnded]
        tags.add(sent(outputs)[0].to_tag)
        assert driven.wait(100) == []
    assert len(tags) == 1
    assert len(driven.layer) == 0
    ack = a_request("ACK", to_tag=tags.pop())
    assert driven.hear(ack) == [AckArrived(ack, driven.flow)]


def test_what_was_answered_is_not_answered_once_more() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 200)
    assert driven.layer.respond_once(key, make_response(request, 401), driven.now) == []
    assert driven.layer.state_of(key) is State.ACCEPTED
    assert driven.layer.stats["late_answers"] == 1


# --- CANCEL ----------------------------------------------------------------------------------------------------------


def test_cancel_of_a_ringing_invite_is_answered_and_reported_once() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 180, tag="ringing")
    cancel = a_request("CANCEL", more="Require: nothing-we-know\r\n")
    outputs = driven.hear(cancel)
    assert [type(output) for output in outputs] == [SendMessage, CancelArrived]
    assert outputs[1] == CancelArrived(key, cancel)
    (answer,) = sent(outputs)
    assert isinstance(answer, Response)
    assert (answer.status, answer.get("CSeq"), answer.to_tag) == (200, "1 CANCEL", "ringing")
    assert driven.hear(cancel) == [outputs[0]], "a copy gets the same answer and is no news"
    assert answers(driven)[-1] == 200
    driven.answer(key, request, 487)
    assert answers(driven)[-1] == 487


def test_cancel_over_tcp_leaves_nothing_behind() -> None:
    driven = Driven("tcp")
    request = a_request("INVITE")
    key = driven.arrived(request)
    outputs = driven.hear(a_request("CANCEL"))
    assert [type(output) for output in outputs] == [SendMessage, CancelArrived]
    assert driven.layer.state_of(key) is State.PROCEEDING
    assert len(driven.layer) == 1


def test_cancel_after_the_final_answer_is_answered_and_changes_nothing() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 200)
    outputs = driven.hear(a_request("CANCEL"))
    assert [type(output) for output in outputs] == [SendMessage]
    assert driven.layer.state_of(key) is State.ACCEPTED


def test_cancel_that_names_nothing_gets_481() -> None:
    driven = Driven()
    driven.arrived(a_request("INVITE"))
    cancel = a_request("CANCEL", branch="z9hG4bKother")
    (answer,) = sent(driven.hear(cancel))
    assert isinstance(answer, Response)
    assert answer.status == 481
    assert answer.to_tag
    assert sent(driven.hear(cancel))[0].get("To") == answer.get("To"), "without state, yet the same tag (8.2.7)"
    assert driven.layer.stats["stray_cancels"] == 2


def test_cancel_of_another_method_is_answered_and_has_no_effect() -> None:
    driven = Driven()
    key = driven.arrived(a_request("OPTIONS"))
    outputs = driven.hear(a_request("CANCEL"))
    assert sent_starts(outputs) == ["SIP/2.0 200 OK"]
    assert len(outputs) == 1
    assert driven.layer.state_of(key) is State.TRYING


# --- other requests --------------------------------------------------------------------------------------------------


def test_request_again_is_absorbed_and_then_gets_the_same_answer() -> None:
    driven = Driven()
    request = a_request()
    key = driven.arrived(request)
    assert driven.hear(request) == []
    outputs = driven.answer(key, request, 200)
    assert driven.hear(request) == outputs
    assert driven.wait(31.9) == []
    assert driven.wait(0.2) == [TransactionEnded(key)]


def test_answer_over_tcp_ends_the_request() -> None:
    driven = Driven("tcp")
    request = a_request()
    key = driven.arrived(request)
    outputs = driven.answer(key, request, 200)
    assert [type(output) for output in outputs] == [SendMessage, TransactionEnded]


def test_slow_user_s_request_gets_a_100_only_when_the_client_has_slowed_down() -> None:
    """RFC 4320 4.1: over UDP not before the client's timer E has reached T2, which is after 3.5 s."""
    driven = Driven()
    request = a_request()
    key = driven.arrived(request)
    driven.wait(3.4)
    assert driven.answer(key, request, 100) == []
    assert answers(driven) == []
    driven.wait(0.2)
    assert answers(driven) == [100]
    driven.answer(key, request, 200)
    assert answers(driven) == [100, 200]


def test_100_to_a_request_over_tcp_may_come_at_any_time() -> None:
    driven = Driven("tcp")
    request = a_request()
    key = driven.arrived(request)
    driven.answer(key, request, 100)
    assert answers(driven) == [100]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_no_provisional_but_100_and_never_a_408_for_a_request(transport: str) -> None:
    driven = Driven(transport)
    request = a_request()
    key = driven.arrived(request)
    assert driven.answer(key, request, 180) == []
    assert driven.answer(key, request, 408) == [TransactionEnded(key)]
    assert answers(driven) == []


def test_a_408_to_an_invite_is_sent() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 408)
    assert answers(driven) == [408]


def test_request_that_the_user_never_answers_is_forgotten() -> None:
    driven = Driven()
    key = driven.arrived(a_request())
    driven.wait(3.6)
    news = [output for output in driven.wait(40) if not isinstance(output, SendMessage)]
    assert news == [TransactionEnded(key)]
    assert len(driven.layer) == 0


@pytest.mark.parametrize(
    ("timers", "seconds"),
    [
        (Timers(), 3.5),
        (Timers(t1_s=1.0), 3.0),
        (Timers(t1_s=4.0), 4.0),
        (Timers(t2_s=0.5), 0.5),
        (Timers(t1_s=0.25), 3.75),
    ],
)
def test_when_timer_e_reaches_t2(timers: Timers, seconds: float) -> None:
    assert timers.late_trying_s == seconds


def test_a_client_of_ours_has_slowed_down_by_then() -> None:
    """The derived moment is the one at which our own client transaction first waits T2."""
    driven = Driven()
    driven.ask(a_request(sent_by="192.0.2.1:5060"))
    moments = driven.moments_of_sending(20)
    slow = next(early for early, late in itertools.pairwise(moments) if late - early == 4.0)
    assert slow == Timers().late_trying_s


def test_everything_a_user_says_to_a_request_ends_in_a_clean_layer() -> None:
    for method in ("INVITE", "OPTIONS"):
        for statuses in ([], [100], [180], [200], [486], [180, 200], [180, 486], [408]):
            for transport in ("udp", "tcp"):
                driven = Driven(transport)
                request: Request = a_request(method)
                key = driven.arrived(request)
                for status in statuses:
                    driven.answer(key, request, status)
                if method == "INVITE" and (not statuses or statuses[-1] < 200):
                    driven.wait(1000)
                    assert driven.layer.state_of(key) is State.PROCEEDING, "an INVITE may ring for ever"
                    continue
                driven.wait(200)
                assert len(driven.layer) == 0, (method, statuses, transport)
                assert driven.layer.next_timer() is None


def test_response_copies_are_made_from_the_first_bytes() -> None:
    driven = Driven()
    request = a_request()
    key = driven.arrived(request)
    (output,) = driven.answer(key, request, 200)
    (again,) = driven.hear(a_request())
    assert again is output
