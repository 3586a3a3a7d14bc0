"""Matching, merged requests, routing of answers and the bound: RFC 3261 17.2.3, 8.2.2.2, 18.2.2, 8.2.7; RFC 3581."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.address import Address
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response
from services.core.sip.transaction import (
    AckArrived,
    CancelArrived,
    Output,
    RequestArrived,
    ResponseArrived,
    SendMessage,
    TransactionEnded,
    TransactionFailed,
)
from services.core.sip.transaction_table import State
from tests.core.sip.exchange import (
    TCP_FLOW,
    UDP_FLOW,
    US,
    Driven,
    a_request,
    a_response,
    our_request,
    sent,
    sent_starts,
)


def replies(outputs: list[Output]) -> list[SendMessage]:
    return [output for output in outputs if isinstance(output, SendMessage)]


# --- matching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        a_request(branch="z9hG4bKpeer2", cseq=2),
        a_request(sent_by="192.0.2.9:5071", cseq=2),
        a_request(sent_by="192.0.2.9", cseq=2),
        a_request(sent_by="192.0.2.10:5070", cseq=2),
        a_request("INFO"),
    ],
    ids=["branch", "port", "no port", "host", "method"],
)
def test_requests_that_differ_in_branch_sent_by_or_method_are_two(other: Request) -> None:
    driven = Driven()
    driven.arrived(a_request())
    driven.arrived(other)


def test_requests_with_one_branch_are_one_whatever_else_differs() -> None:
    driven = Driven()
    driven.arrived(a_request())
    assert driven.hear(a_request(cseq=9, call_id="else", from_tag="other")) == []


def test_sent_by_is_compared_by_value() -> None:
    driven = Driven()
    driven.arrived(a_request(sent_by="[2001:db8::9]:5070"))
    assert driven.hear(a_request(sent_by="[2001:DB8:0:0::9]:5070")) == []


@pytest.mark.parametrize("branch", [None, "1", "Z9hG4bK"])
def test_client_without_the_cookie_is_matched_by_rfc_2543(branch: str | None) -> None:
    driven = Driven()
    request = a_request("INVITE", branch=branch)
    key = driven.arrived(request)
    assert driven.hear(request) == [], "a copy"
    driven.arrived(a_request("INVITE", branch=branch, cseq=2))
    driven.arrived(a_request("INVITE", branch=branch, call_id="call-2"))
    driven.arrived(a_request("INVITE", branch=branch, from_tag="other"))
    assert [type(output) for output in driven.hear(a_request("CANCEL", branch=branch))] == [SendMessage, CancelArrived]
    driven.answer(key, request, 487, tag="mine")
    elsewhere = a_request("ACK", branch=branch, to_tag="theirs")
    assert driven.hear(elsewhere) == [AckArrived(elsewhere, driven.flow)], "the To tag must be ours"
    assert driven.hear(a_request("ACK", branch=branch, to_tag="mine")) == []
    assert driven.layer.state_of(key) is State.CONFIRMED


def test_old_style_branch_that_spells_out_a_key_is_no_other_transaction() -> None:
    """Keys of the two kinds cannot be made equal from outside: a header has no line ends, a branch no cookie."""
    driven = Driven()
    driven.arrived(a_request(branch=None))
    driven.arrived(a_request(branch="2543", cseq=2))


def test_broken_fields_that_matching_needs_are_answered_400() -> None:
    driven = Driven()
    request = a_request(branch=None)
    request.set("CSeq", "many OPTIONS")
    (answer,) = replies(driven.hear(request))
    assert answer.data.startswith(b"SIP/2.0 400 Bad CSeq")
    response = a_response(our_request(), 200)
    response.set("CSeq", "x")
    assert driven.hear(response) == []


# --- merged requests -------------------------------------------------------------------------------------------------


def test_the_same_request_over_another_path_is_merged() -> None:
    driven = Driven()
    driven.arrived(a_request("INVITE"))
    other_path = a_request("INVITE", branch="z9hG4bKotherway")
    (answer,) = sent(driven.hear(other_path))
    assert isinstance(answer, Response)
    assert answer.status == 482
    assert answer.to_tag
    assert driven.layer.stats["merged"] == 1
    assert len(driven.layer) == 1
    driven.hear(a_request("ACK", branch="z9hG4bKotherway"))


@pytest.mark.parametrize(
    "other",
    [
        a_request("INVITE", branch="z9hG4bKb", cseq=2),
        a_request("INVITE", branch="z9hG4bKb", call_id="call-2"),
        a_request("INVITE", branch="z9hG4bKb", from_tag="else"),
        a_request("INVITE", branch="z9hG4bKb", to_tag="known"),
        a_request("OPTIONS", branch="z9hG4bKb"),
    ],
    ids=["cseq", "call-id", "from tag", "in a dialog", "method"],
)
def test_different_requests_are_not_merged(other: Request) -> None:
    driven = Driven()
    driven.arrived(a_request("INVITE"))
    driven.arrived(other)


def test_a_request_is_new_again_when_its_first_copy_has_ended() -> None:
    driven = Driven("tcp")
    request = a_request()
    driven.answer(driven.arrived(request), request, 200)
    driven.arrived(a_request(branch="z9hG4bKlater"))


@pytest.mark.parametrize("status", [401, 407])
def test_a_challenged_phone_may_try_again_without_raising_its_cseq(status: int) -> None:
    driven = Driven()
    request = a_request("REGISTER")
    driven.answer(driven.arrived(request), request, status)
    second = a_request("REGISTER", branch="z9hG4bKb")
    driven.answer(driven.arrived(second), second, 200)
    assert sent_starts(driven.hear(a_request("REGISTER", branch="z9hG4bKc"))) == ["SIP/2.0 482 Loop Detected"]
    driven.wait(40)
    assert len(driven.layer) == 0


# --- routing of answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent_by", "via_params", "to"),
    [
        ("192.0.2.9:5070", ";rport", "192.0.2.9:6001"),
        ("192.0.2.9:5070", ";rport=6001;received=192.0.2.9", "192.0.2.9:6001"),
        ("192.0.2.9:5070", "", "192.0.2.9:5070"),
        ("192.0.2.9", "", "192.0.2.9:5060"),
        ("phone.example", "", "192.0.2.9:5060"),
        ("10.0.0.4:5072", ";received=192.0.2.9", "192.0.2.9:5072"),
        ("10.0.0.4:5072", ";maddr=198.51.100.66", "192.0.2.9:5072"),
    ],
)
def test_answers_over_udp_go_to_the_source_address_and_the_agreed_port(sent_by: str, via_params: str, to: str) -> None:
    driven = Driven()
    flow = Flow("udp", US, Address("192.0.2.9", 6001), 1)
    request = a_request(sent_by=sent_by, via_params=via_params)
    (arrived,) = driven.hear(request, flow)
    assert isinstance(arrived, RequestArrived)
    (answer,) = replies(driven.answer(arrived.key, request, 200))
    assert str(answer.flow.remote) == to
    assert (answer.flow.transport, answer.flow.local, answer.flow.id) == ("udp", US, 1)
    assert answer.reopen is None


def test_a_link_local_peer_keeps_its_scope_when_the_port_changes() -> None:
    driven = Driven()
    flow = Flow("udp", Address("fe80::1", 5060, 3), Address("fe80::9", 6001, 3), 1)
    request = a_request(sent_by="[fe80::9]:5070", via_params="")
    (answer,) = replies(driven.layer.answer_statelessly(request, flow, 400))
    assert answer.flow.remote == Address("fe80::9", 5070, 3)


def test_answers_over_tcp_stay_on_the_connection_and_know_where_to_reconnect() -> None:
    driven = Driven("tcp")
    request = a_request(sent_by="10.0.0.4:5072")
    (answer,) = replies(driven.answer(driven.arrived(request), request, 200))
    assert answer.flow is TCP_FLOW
    assert answer.reopen == Address("192.0.2.9", 5072)


# --- the bound -------------------------------------------------------------------------------------------------------


def test_a_full_layer_refuses_new_requests_without_keeping_them() -> None:
    driven = Driven(limit=3)
    for number in range(3):
        driven.arrived(a_request("INVITE", branch=f"z9hG4bK{number}", call_id=f"call-{number}"))
    for _ in range(2):
        (answer,) = sent(driven.hear(a_request("INVITE", branch="z9hG4bKmore", call_id="more")))
        assert isinstance(answer, Response)
        assert (answer.status, answer.get("Retry-After")) == (503, "5")
    assert driven.layer.stats["overload"] == 2
    assert len(driven.layer) == 3
    assert driven.hear(a_request("ACK", branch="z9hG4bKmore", call_id="more"))[0] is not None


def test_a_full_layer_still_ends_calls() -> None:
    driven = Driven(limit=20)
    for number in range(20):
        driven.arrived(a_request("INVITE", branch=f"z9hG4bK{number}", call_id=f"call-{number}"))
    driven.arrived(a_request("BYE", branch="z9hG4bKbye", to_tag="ours"))
    outputs = driven.hear(a_request("CANCEL", branch="z9hG4bK5", call_id="call-5"))
    assert CancelArrived in [type(output) for output in outputs]
    assert driven.layer.stats["overload"] == 0


def test_the_reserve_is_bounded_too() -> None:
    driven = Driven(limit=20)
    for number in range(40):
        driven.hear(a_request("BYE", branch=f"z9hG4bK{number}", to_tag="ours"))
    assert len(driven.layer) == 22
    assert driven.layer.stats["overload"] == 18


def test_a_full_layer_takes_requests_again_when_others_are_answered() -> None:
    driven = Driven(limit=1)
    request = a_request()
    key = driven.arrived(request)
    other = a_request(branch="z9hG4bKb", call_id="b")
    assert sent_starts(driven.hear(other)) == ["SIP/2.0 503 Service Unavailable"]
    driven.answer(key, request, 200)
    driven.arrived(other)


def test_requests_that_are_answered_make_room_for_others() -> None:
    driven = Driven(limit=2)
    for number in range(50):
        request = a_request("INVITE" if number % 2 else "OPTIONS", branch=f"z9hG4bK{number}", call_id=f"call-{number}")
        driven.answer(driven.arrived(request), request, 486)
    assert driven.layer.in_progress == 0
    assert len(driven.layer) == 50
    assert driven.layer.stats["overload"] == 0


def test_the_oldest_that_lingers_is_forgotten_when_too_many_do() -> None:
    driven = Driven(linger_limit=3)
    keys = []
    for number in range(5):
        request = a_request(branch=f"z9hG4bK{number}", call_id=f"call-{number}")
        keys.append(driven.arrived(request))
        driven.answer(keys[-1], request, 200)
    assert [driven.layer.state_of(key) for key in keys] == [None, None, *[State.COMPLETED] * 3]
    assert driven.layer.stats["evicted"] == 2
    assert [output.key for output in driven.said if isinstance(output, TransactionEnded)] == keys[:2]
    driven.wait(40)
    assert len(driven.layer) == driven.layer.in_progress == 0


def test_what_lingers_holds_no_request() -> None:
    driven = Driven()
    request = a_request("INVITE")
    key = driven.arrived(request)
    driven.answer(key, request, 200)
    assert driven.layer._servers[key].request is request, "a 2xx is repeated until its ACK comes"
    driven.layer.acknowledged(key)
    assert driven.layer._servers[key].request is None
    asked = our_request()
    client_key = driven.ask(asked)
    driven.hear(a_response(asked, 200))
    assert driven.layer._clients[client_key].request is None
    assert driven.layer._clients[client_key].kept is None


# --- any input -------------------------------------------------------------------------------------------------------

HAPPENINGS = [
    *("invite", "options", "ack", "cancel", "respond", "respond once", "acknowledge", "abandon"),
    *("ask invite", "ask options", "response", "user cancel", "transport", "wait"),
]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(HAPPENINGS),
        st.integers(0, 3),
        st.sampled_from((100, 180, 200, 202, 302, 401, 408, 487, 503, 600)),
        st.sampled_from((0.0, 0.2, 0.5, 3.5, 32.0)),
    ),
    max_size=40,
)


@given(events=EVENTS, transport=st.sampled_from(("udp", "tcp")))
def test_any_sequence_of_events_is_survived_and_told_consistently(
    events: list[tuple[str, int, int, float]], transport: str
) -> None:
    driven = Driven(transport, limit=6, linger_limit=3)
    for event in events:
        happen(driven, *event)
    finals: dict[object, int] = {}
    ended: set[object] = set()
    for output in driven.said:
        if isinstance(output, RequestArrived | CancelArrived | ResponseArrived | TransactionFailed):
            if isinstance(output, RequestArrived):
                ended.discard(output.key)
            assert output.key not in ended, "no news after the end"
        if isinstance(output, TransactionFailed) or (
            isinstance(output, ResponseArrived) and (output.response.status >= 300 or output.key.method != "INVITE")
        ):
            final = not isinstance(output, ResponseArrived) or output.response.status >= 200
            finals[output.key] = finals.get(output.key, 0) + final
        if isinstance(output, TransactionEnded):
            assert output.key not in ended
            ended.add(output.key)
    assert all(count <= 1 for count in finals.values()), "one final answer each"
    settle(driven)
    assert len(driven.layer) == 0
    assert driven.layer._merge == {}
    assert driven.layer.next_timer() is None


def happen(driven: Driven, what: str, number: int, status: int, seconds: float) -> None:
    """One event of a random history."""
    layer, branch = driven.layer, f"z9hG4bK{number}"
    servers, clients = list(layer._servers.values()), list(layer._clients.values())
    if what in ("invite", "options", "ack", "cancel"):
        driven.hear(a_request(what.upper(), branch=branch, call_id=f"call-{number}"))
    elif what == "response" and clients:
        asked = clients[number % len(clients)]
        driven.hear(a_response(asked.request or our_request(asked.key.method, branch=asked.key.branch), status))
    elif what == "user cancel" and clients:
        driven.cancel(clients[number % len(clients)].key)
    elif what.startswith("ask"):
        driven.ask(our_request(what[4:].upper(), branch=f"z9hG4bKour{len(driven.said)}"))
    elif what == "transport":
        driven._note(layer.transport_failed(driven.flow, driven.now))
    elif what == "wait":
        driven.wait(seconds)
    elif servers:
        server = servers[number % len(servers)]
        if what == "respond":
            driven._note(layer.respond(server.key, an_answer(server.request, status), driven.now))
        elif what == "respond once":
            driven._note(layer.respond_once(server.key, an_answer(server.request, max(status, 300)), driven.now))
        elif what == "acknowledge":
            layer.acknowledged(server.key)
        elif what == "abandon":
            driven._note(layer.abandon(server.key, driven.now))


def an_answer(request: Request | None, status: int) -> Response:
    """The user's answer; the user holds the request itself, the layer does not for ever."""
    return make_response(request or a_request("INVITE"), status, to_tag="t")


def settle(driven: Driven) -> None:
    """End what only its user can end, then let the timers end the rest."""
    for server in list(driven.layer._servers.values()):
        driven._note(driven.layer.respond(server.key, an_answer(server.request, 500), driven.now))
    for client in list(driven.layer._clients.values()):
        if client.key.method == "INVITE":
            driven.cancel(client.key)
    driven.wait(500)


def test_udp_and_tcp_flows_know_whether_they_are_reliable() -> None:
    assert not UDP_FLOW.reliable
    assert TCP_FLOW.reliable
    assert UDP_FLOW.with_remote(US).remote == US
