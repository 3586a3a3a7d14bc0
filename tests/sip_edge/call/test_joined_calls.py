"""Replaces: attended transfer between two calls of ours, and INVITE with Replaces (RFC 3891, RFC 5589)."""

from __future__ import annotations

import pytest

from services.core.address import HostPort
from services.core.events.catalogue import (
    CallEnded,
    LegEnded,
    LegJoined,
    LegMoved,
    LegReplaced,
    LegsBridged,
    TransferEnded,
)
from services.core.sdp import direction
from services.core.sip.transaction import ServerKey
from services.sip_edge.call import effects as fx
from services.sip_edge.call.party import IncomingInvite
from services.sip_edge.call.state import LegPhase
from tests.sip_edge.call.conftest import Make
from tests.sip_edge.call.harness import Harness, sdp

CALLEE = sdp("192.0.2.12", 30000)
TARGET = sdp("192.0.2.13", 30002)
NEWCOMER = sdp("192.0.2.14", 30004)
HOLD = sdp("192.0.2.11", extra="a=sendonly")


def answered(make: Make, called: str, name: str, *, answer: bytes) -> Harness:
    harness = make(name=name)
    harness.start(called)
    harness.answers("b1", 200, answer)
    harness.from_leg("a", "ACK", cseq=1)
    return harness


@pytest.fixture
def first(make: Make) -> Harness:
    """dev1 talks to dev2."""
    return answered(make, "2", "one", answer=CALLEE)


@pytest.fixture
def second(make: Make, first: Harness) -> Harness:
    """dev1 talks to dev3 as well."""
    harness = make(name="two", phones={"dev2": "192.0.2.13"})
    harness.start("2")
    harness.answers("b1", 200, TARGET)
    harness.from_leg("a", "ACK", cseq=1)
    first.others, harness.others = [harness], [first]
    return harness


def dialog_of(harness: Harness, leg: str, *, extra: str = "") -> str:
    state = harness.call.state.leg(leg)
    return f"{state.sip_call_id};to-tag={state.local_tag};from-tag={state.remote_tag}{extra}"


def attended(harness: Harness, leg: str, replaces: str, *, cseq: int = 20) -> None:
    escaped = "".join(one if one.isalnum() or one in "-." else f"%{ord(one):02X}" for one in replaces)
    harness.from_leg(leg, "REFER", cseq=cseq, extra=f"Refer-To: <sip:3@pbx.example?Replaces={escaped}>\r\n")


def told(harness: Harness, leg: str) -> list[str]:
    return [request.body.decode().strip() for request in harness.requests_to(leg, "NOTIFY")]


# --- REFER with Replaces -------------------------------------------------------------------------------------------


def test_two_calls_become_one(first: Harness, second: Harness) -> None:
    attended(first, "a", dialog_of(second, "a"))
    assert first.statuses[-1] == 202
    reinvite = second.request_to("b2", "INVITE")
    assert reinvite.call_id == first.call.state.leg("b1").sip_call_id
    second.answers("b2", 200, CALLEE)
    assert second.call.state.leg("b1").peer == "b2"
    assert second.call.state.served == "b2"
    assert (second.the(LegReplaced).leg, second.the(LegReplaced).by) == ("a", "b2")
    assert (first.the(LegMoved).leg, first.the(LegMoved).to_call) == ("b1", second.call.state.call_id)
    assert told(first, "a") == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]


def test_the_replaced_leg_is_hung_up_and_the_first_call_ends_when_the_transferor_knows(
    first: Harness, second: Harness
) -> None:
    attended(first, "a", dialog_of(second, "a"))
    second.answers("b2", 200, CALLEE)
    assert second.request_to("a", "BYE")
    assert not second.call.state.ended
    assert not first.call.state.ended
    first.answers("a", 200, method="NOTIFY")
    assert first.request_to("a", "BYE")
    assert not first.requests_to("b1", "BYE")
    ended = first.the(CallEnded)
    assert (ended.reason, ended.disposition) == ("transferred", "ANSWERED")
    first.answers("a", 200, method="BYE")
    trying = next(token for token, request in first.requests.items() if request.method == "NOTIFY")
    first.feed(first.call.transaction_failed(trying, "timeout"))
    assert first.released


def test_joined_calls_share_a_linkedid(first: Harness, second: Harness) -> None:
    attended(first, "a", dialog_of(second, "a"))
    assert second.the(LegJoined).linkedid == first.call.state.call_id
    assert second.the(LegJoined).from_call == first.call.state.call_id
    assert second.call.state.linkedid == first.call.state.linkedid


def test_parties_that_were_held_hear_each_other(first: Harness, second: Harness) -> None:
    for harness, sound in ((first, CALLEE), (second, TARGET)):
        harness.from_leg("a", "INVITE", body=HOLD, cseq=10)
        harness.answers("b1", 200, sound.replace(b"sendrecv", b"recvonly"))
        harness.from_leg("a", "ACK", cseq=10)
    attended(first, "a", dialog_of(second, "a"))
    assert direction(second.request_to("b2", "INVITE").body).value == "sendrecv"
    second.answers("b2", 200, CALLEE)
    assert direction(second.requests_to("b1", "INVITE")[-1].body).value == "sendrecv"
    second.answers("b1", 200, TARGET)
    assert fx.StopPlaying("b1") in second.media
    assert second.call.state.leg("b1").remote_sdp == TARGET


@pytest.mark.parametrize("leaver", ["b1", "b2"])
def test_either_of_the_joined_parties_ends_the_call(first: Harness, second: Harness, leaver: str) -> None:
    attended(first, "a", dialog_of(second, "a"))
    second.answers("b2", 200, CALLEE)
    second.answers("a", 200, method="BYE")
    second.from_leg(leaver, "BYE", cseq=30)
    assert second.request_to({"b1": "b2", "b2": "b1"}[leaver], "BYE")
    assert second.call.state.ended


def test_a_callee_may_transfer_its_caller(first: Harness, second: Harness) -> None:
    attended(first, "b1", dialog_of(second, "b1"))
    second.answers("b2", 200, sdp("192.0.2.11"))
    assert second.call.state.leg("a").peer == "b2"
    assert second.call.state.served == "a"
    assert first.the(LegMoved).leg == "a"
    first.from_leg("b1", "BYE", cseq=21)
    first.answers("b1", 200, method="NOTIFY")
    assert first.call.state.ended
    second.from_leg("b2", "BYE", cseq=30)
    assert second.call.state.ended


def test_a_dialog_nobody_has_is_a_failed_transfer_and_nothing_changes(first: Harness, second: Harness) -> None:
    attended(first, "a", "unknown@x;to-tag=1;from-tag=2")
    assert told(first, "a")[-1] == "SIP/2.0 481 Call/Transaction Does Not Exist"
    assert first.the(TransferEnded).status == 481
    assert first.call.state.leg("a").peer == "b1"
    assert not first.call.renegotiation.is_busy("b1")


def test_a_party_that_refuses_the_other_media_stays_where_it_was(first: Harness, second: Harness) -> None:
    attended(first, "a", dialog_of(second, "a"))
    second.answers("b2", 488)
    assert told(first, "a")[-1] == "SIP/2.0 488 Not Acceptable Here"
    assert first.call.state.leg("a").peer == "b1"
    assert second.call.state.leg("a").peer == "b1"
    assert second.call.state.leg("b2").phase is LegPhase.ENDED
    assert not second.requests_to("b2", "BYE")
    assert fx.DeleteMedia("b2") in second.media


def test_a_party_that_hangs_up_while_it_is_lent_is_not_joined(first: Harness, second: Harness) -> None:
    attended(first, "a", dialog_of(second, "a"))
    first.from_leg("b1", "BYE", cseq=1)
    assert first.call.state.ended
    second.answers("b2", 200, CALLEE)
    assert second.call.state.leg("a").peer == "b1"
    assert second.the(LegEnded).leg == "b2"


def test_the_target_call_may_end_while_a_party_is_on_its_way(first: Harness, second: Harness) -> None:
    attended(first, "a", dialog_of(second, "a"))
    second.from_leg("b1", "BYE", cseq=1)
    assert second.call.state.ended
    second.answers("b2", 200, CALLEE)
    assert first.the(TransferEnded).status == 481
    # The party was shown the other call's media: it is shown those of its own again.
    assert len(first.requests_to("b1", "INVITE")) == 2
    first.answers("b1", 200, CALLEE)
    assert first.call.state.leg("a").peer == "b1"


def test_offers_of_a_party_that_is_lent_cross_ours(first: Harness, second: Harness) -> None:
    attended(first, "a", dialog_of(second, "a"))
    first.from_leg("b1", "INVITE", body=CALLEE, cseq=1)
    assert first.statuses[-1] == 491


def test_an_early_only_replacement_of_a_confirmed_dialog_fails(first: Harness, second: Harness) -> None:
    attended(first, "a", dialog_of(second, "a", extra=";early-only"))
    assert first.the(TransferEnded).status == 486


# --- INVITE with Replaces ------------------------------------------------------------------------------------------


def newcomer(harness: Harness, leg: str, *, offer: bytes = NEWCOMER, early_only: bool = False) -> ServerKey:
    """dev4 wants the place of a leg."""
    source = "192.0.2.14"
    request = harness.message(
        "INVITE", "sip:2@pbx.example", source, cseq=1, call_id="newcomer", from_tag="newcomer", body=offer
    )
    flow = harness.flow(source)
    invite = IncomingInvite(
        key=harness.key(request),
        request=request,
        flow=flow,
        advertised=HostPort(flow.local.host, 5060),
        phone="dev4",
        codecs=harness.codecs,
        context="internal",
        called="2",
        caller_name="",
        caller_number="4",
        channel="SIP/dev4-00000009",
    )
    harness.feed(harness.call.replaced(invite, leg, early_only=early_only))
    return invite.key


@pytest.mark.parametrize(("leg", "peer"), [("a", "b1"), ("b1", "a")])
def test_a_newcomer_takes_the_place_of_either_party(first: Harness, leg: str, peer: str) -> None:
    newcomer(first, leg)
    assert first.statuses[-1] == 200
    assert b"m=audio" in first.responses[-1].body
    assert first.call.state.leg(peer).peer == "b2"
    assert first.request_to(leg, "BYE")
    bridged = first.the(LegsBridged)
    assert {bridged.leg, bridged.peer} == {"b2", peer}
    first.from_leg("b2", "ACK", cseq=1)
    assert len([one for one in first.requests.values() if one.method == "INVITE"]) == 1


@pytest.mark.parametrize("leaver", ["a", "b2"])
def test_the_call_of_a_newcomer_ends_as_any_other(first: Harness, leaver: str) -> None:
    newcomer(first, "b1")
    first.from_leg("b2", "ACK", cseq=1)
    first.from_leg(leaver, "BYE", cseq=30)
    assert first.request_to({"a": "b2", "b2": "a"}[leaver], "BYE")
    assert first.call.state.ended


def test_a_newcomer_with_another_codec_is_offered_to_the_peer_first(first: Harness) -> None:
    newcomer(first, "a", offer=sdp("192.0.2.14", 30004, formats="8 101"))
    asked = first.requests_to("b1", "INVITE")[-1]
    assert b"RTP/AVP 8 101" in asked.body
    assert first.statuses[-1] == 100
    first.answers("b1", 200, sdp("192.0.2.12", 30000, formats="8 101"))
    assert first.statuses[-1] == 200
    assert b"RTP/AVP 8 101" in first.responses[-1].body


def test_a_peer_that_cannot_speak_the_newcomers_codec_keeps_its_party(first: Harness) -> None:
    newcomer(first, "a", offer=sdp("192.0.2.14", 30004, formats="8 101"))
    first.answers("b1", 488)
    assert first.statuses[-1] == 488
    assert first.call.state.leg("a").peer == "b1"


def test_a_newcomer_may_cancel(first: Harness) -> None:
    key = newcomer(first, "a", offer=sdp("192.0.2.14", 30004, formats="8 101"))
    first.feed(first.call.cancelled(key))
    assert first.statuses[-1] == 487
    assert not first.call.state.ended
    assert first.call.state.leg("a").peer == "b1"


def test_a_confirmed_dialog_is_no_early_one(first: Harness) -> None:
    newcomer(first, "a", early_only=True)
    assert first.statuses[-1] == 486


def test_a_dialog_that_is_over_is_declined(make: Make) -> None:
    harness = make()
    harness.start("3")
    harness.answers("b1", 486)
    newcomer(harness, "b1")
    assert harness.statuses[-1] == 603


def test_an_early_dialog_of_a_caller_cannot_be_replaced(make: Make) -> None:
    harness = make()
    harness.start("2")
    newcomer(harness, "a")
    assert harness.statuses[-1] == 481


def test_who_talks_to_an_application_cannot_be_replaced(make: Make) -> None:
    harness = make()
    harness.start("800")
    harness.from_leg("a", "ACK", cseq=1)
    newcomer(harness, "a")
    assert harness.statuses[-1] == 488


def test_a_newcomer_can_be_transferred_in_turn(first: Harness) -> None:
    newcomer(first, "a")
    first.from_leg("b2", "ACK", cseq=1)
    first.from_leg("b2", "REFER", cseq=5, extra="Refer-To: <sip:800@pbx.example>\r\n")
    assert first.call.state.served == "b1"
    assert first.the(TransferEnded).status == 200
