"""Re-INVITEs in an answered call."""

from __future__ import annotations

import pytest

from services.core.events.catalogue import CallEnded, LegHeld, LegRenegotiated, LegResumed
from services.core.sdp import SessionDescription, direction
from services.sip_edge.call import effects as fx
from tests.sip_edge.call.harness import Harness, sdp

CALLEE = sdp("192.0.2.12", 30000)


@pytest.fixture
def talking(harness: Harness) -> Harness:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    return harness


def hold(address: str, how: str) -> bytes:
    if how in ("0.0.0.0", "::"):
        return sdp(how)
    return sdp(address, extra=f"a={how}")


@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0", "::"])
@pytest.mark.parametrize(("leg", "peer"), [("a", "b1"), ("b1", "a")])
def test_either_party_can_hold_and_resume(talking: Harness, how: str, leg: str, peer: str) -> None:
    talking.from_leg(leg, "INVITE", body=hold("192.0.2.11", how), cseq=10)
    assert not direction(talking.request_to(peer).body).receives
    talking.answers(peer, 200, sdp("192.0.2.12", extra="a=recvonly"))
    assert talking.statuses[-1] == 200
    assert talking.the(LegHeld).leg == leg
    assert talking.call.state.leg(leg).held
    talking.from_leg(leg, "ACK", cseq=10)
    played = fx.Play(peer, ("moh/default",), 0) in talking.media
    assert played == (how != "inactive")

    talking.from_leg(leg, "INVITE", body=sdp("192.0.2.11"), cseq=11)
    talking.answers(peer, 200, CALLEE)
    talking.from_leg(leg, "ACK", cseq=11)
    assert talking.the(LegResumed).leg == leg
    assert talking.media[-1] == fx.StopPlaying(peer)


def test_an_answer_with_a_contact_nobody_can_read_leaves_the_party_where_it_was(talking: Harness) -> None:
    before = talking.call.state.leg("b1").remote_target
    talking.from_leg("a", "INVITE", body=hold("192.0.2.11", "sendonly"), cseq=10)
    talking.answers("b1", 200, CALLEE, contact="<sip:b1@[>")
    assert talking.statuses[-1] == 200
    assert talking.call.state.leg("b1").remote_target == before


@pytest.mark.parametrize("leg", ["a", "b1"])
def test_a_call_forgotten_on_hold_ends_when_the_worker_says_so(talking: Harness, leg: str) -> None:
    """It gives a party on hold the longer time of `rtpholdtimeout`, whoever holds whom."""
    talking.from_leg("a", "INVITE", body=hold("192.0.2.11", "sendonly"), cseq=10)
    talking.answers("b1", 200, CALLEE)
    talking.from_leg("a", "ACK", cseq=10)
    talking.feed(talking.call.media_silent(leg))
    assert talking.the(CallEnded).reason == "RTP timeout"
    assert talking.request_to("a", "BYE").get("Reason") == "Q.850;cause=102"
    assert talking.request_to("b1", "BYE").get("Reason") == "Q.850;cause=102"


def test_a_late_offer_goes_through_and_its_answer_comes_back_in_the_ack(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", cseq=10)
    assert talking.request_to("b1").body == b""
    talking.answers("b1", 200, CALLEE)
    assert talking.statuses[-1] == 200
    assert b"m=audio" in talking.responses[-1].body
    before = len(talking.acks)
    talking.from_leg("a", "ACK", body=sdp("192.0.2.11"), cseq=10)
    assert len(talking.acks) == before + 1
    assert b"m=audio" in talking.acks[-1].body
    assert talking.the(LegRenegotiated).leg == "a"


def test_a_refusal_goes_back_and_the_session_stays(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", body=sdp("192.0.2.11", 41000), cseq=10)
    talking.answers("b1", 488)
    assert talking.statuses[-1] == 488
    offers = [entry for entry in talking.media if isinstance(entry, fx.Offer)]
    assert offers[-1].sdp == talking.call.state.leg("a").remote_sdp
    assert not talking.call.state.ended


def test_a_peer_that_knows_no_such_dialog_ends_the_call(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", body=sdp("192.0.2.11"), cseq=10)
    talking.answers("b1", 481)
    assert talking.call.state.ended


def test_crossing_offers_get_491(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", body=sdp("192.0.2.11"), cseq=10)
    talking.from_leg("b1", "INVITE", body=CALLEE, cseq=10)
    assert talking.statuses[-1] == 491


def test_a_second_offer_before_the_first_is_through_gets_500(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", body=sdp("192.0.2.11"), cseq=10)
    talking.from_leg("a", "INVITE", body=sdp("192.0.2.11"), cseq=11)
    assert talking.statuses[-1] == 500
    assert talking.responses[-1].get("Retry-After")


def test_an_unreadable_offer_gets_488(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", body=b"c=IN IP6 [2001:db8::1]\r\n", cseq=10)
    assert talking.statuses[-1] == 488


def test_a_party_that_hangs_up_during_an_exchange_leaves_nothing_behind(talking: Harness) -> None:
    key = talking.from_leg("a", "INVITE", body=sdp("192.0.2.11"), cseq=10)
    talking.from_leg("b1", "BYE", cseq=10)
    finals = [entry.response.status for entry in talking.effects if isinstance(entry, fx.Respond) and entry.key == key]
    assert finals[-1] == 487
    assert talking.call.state.ended


def test_a_new_contact_moves_the_dialog(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", body=sdp("192.0.2.11"), cseq=10)
    assert "LegRedirected" not in talking.names()
    source = talking.call.state.leg("a")
    assert source.remote_target == "sip:dev1@192.0.2.11"


def test_an_application_answers_an_offer_itself(harness: Harness) -> None:
    harness.start("800")
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("a", "INVITE", body=sdp("192.0.2.11", extra="a=sendonly"), cseq=10)
    assert harness.statuses[-1] == 200
    assert direction(harness.responses[-1].body).value == "recvonly"
    assert harness.the(LegHeld).leg == "a"


def test_an_application_offers_when_asked_to(harness: Harness) -> None:
    harness.start("800")
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("a", "INVITE", cseq=10)
    assert harness.statuses[-1] == 200
    assert b"m=audio" in harness.responses[-1].body
    harness.from_leg("a", "ACK", body=sdp("192.0.2.11", 42000), cseq=10)
    assert b"42000" in harness.call.state.leg("a").remote_sdp


def test_toward_one_party_we_are_one_origin_whose_version_counts(talking: Harness) -> None:
    first = SessionDescription.parse(talking.request_to("b1").body).origin
    talking.from_leg("a", "INVITE", body=hold("192.0.2.11", "sendonly"), cseq=10)
    second = SessionDescription.parse(talking.request_to("b1").body).origin
    talking.answers("b1", 200, CALLEE)
    assert (second.session_id, second.version) == (first.session_id, first.version + 1)
    answers = [SessionDescription.parse(entry.body).origin for entry in talking.responses if entry.body]
    assert len({origin.session_id for origin in answers}) == 1
    assert answers[-1].version >= answers[0].version
