"""REFER without Replaces: blind transfer (RFC 3515, RFC 4488, RFC 7647, RFC 5589)."""

from __future__ import annotations

import pytest

from services.core.events.catalogue import ApplicationStarted, CallEnded, CallTransferred, LegsBridged, TransferEnded
from services.core.sdp import direction
from services.sip_edge.call import effects as fx
from services.sip_edge.call.party import PhoneRules
from tests.sip_edge.call.conftest import Make
from tests.sip_edge.call.harness import Harness, sdp

CALLEE = sdp("192.0.2.12", 30000)
TARGET = sdp("192.0.2.13", 30002)

DIALPLAN = """
[internal]
exten => 2,1,Dial(SIP/dev2,20)
exten => 3,1,Dial(SIP/dev3,20)
exten => 4,1,NoOp(${BLINDTRANSFER} ${TRANSFERERNAME})
 same => n,Dial(SIP/nobody)
exten => 5,1,Dial(SIP/dev3,5)
 same => n,Answer()
 same => n,Playback(sorry)
exten => 6,1,Busy()
exten => 600,1,Answer()
 same => n,Echo()
[other]
exten => 3,1,Dial(SIP/dev3,20)
exten => 9,1,Hangup(21)
"""


@pytest.fixture
def talking(make: Make) -> Harness:
    harness = make(DIALPLAN)
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    return harness


def refer(harness: Harness, leg: str, to: str = "<sip:3@pbx.example>", *, cseq: int = 20, extra: str = "") -> int:
    """A REFER of a party; returns the status of our answer."""
    before = len(harness.responses)
    harness.from_leg(leg, "REFER", cseq=cseq, extra=f"Refer-To: {to}\r\n{extra}")
    return harness.responses[before].status


def told(harness: Harness, leg: str) -> list[str]:
    """What the transferor was told, as the status lines of the NOTIFY bodies."""
    return [request.body.decode().strip() for request in harness.requests_to(leg, "NOTIFY")]


@pytest.mark.parametrize(("leg", "party"), [("a", "b1"), ("b1", "a")])
def test_either_party_hands_the_other_on(talking: Harness, leg: str, party: str) -> None:
    assert refer(talking, leg) == 202
    transferred = talking.the(CallTransferred)
    assert (transferred.leg, transferred.party, transferred.exten) == (leg, party, "3")
    talking.answers("b2", 180)
    talking.answers("b2", 200, TARGET)
    assert told(talking, leg) == ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]
    assert talking.call.state.leg(party).peer == "b2"
    assert talking.the(LegsBridged).leg == party
    assert talking.call.state.served == party
    assert not talking.call.state.ended


def test_the_remaining_party_is_not_asked_again_when_nothing_changes_for_it(talking: Harness) -> None:
    refer(talking, "a")
    talking.answers("b2", 200, TARGET)
    assert len(talking.requests_to("b1", "INVITE")) == 1
    assert b"RTP/AVP 0 101" in talking.request_to("b2").body


def test_a_party_that_was_on_hold_is_resumed_by_a_reinvite(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", body=sdp("192.0.2.11", extra="a=sendonly"), cseq=10)
    talking.answers("b1", 200, sdp("192.0.2.12", 30000, extra="a=recvonly"))
    talking.from_leg("a", "ACK", cseq=10)
    refer(talking, "a")
    assert fx.StopPlaying("b1") in talking.media
    assert direction(talking.request_to("b2").body).value == "sendrecv"
    talking.answers("b2", 200, TARGET)
    resumed = talking.requests_to("b1", "INVITE")[-1]
    assert direction(resumed.body).value == "sendrecv"
    talking.answers("b1", 200, CALLEE)
    assert talking.acks[-1].call_id == resumed.call_id
    assert talking.call.state.leg("b1").remote_sdp == CALLEE


def test_a_crossed_reinvite_is_tried_again(talking: Harness) -> None:
    talking.from_leg("a", "INVITE", body=sdp("192.0.2.11", extra="a=sendonly"), cseq=10)
    talking.answers("b1", 200, sdp("192.0.2.12", 30000, extra="a=recvonly"))
    talking.from_leg("a", "ACK", cseq=10)
    refer(talking, "a")
    talking.answers("b2", 200, TARGET)
    before = len(talking.requests_to("b1", "INVITE"))
    talking.answers("b1", 491)
    talking.fire("reoffer b1")
    assert len(talking.requests_to("b1", "INVITE")) == before + 1


def test_the_transferor_is_hung_up_once_it_knows(talking: Harness) -> None:
    refer(talking, "a")
    talking.answers("b2", 200, TARGET)
    assert not talking.requests_to("a", "BYE")
    talking.answers("a", 200, method="NOTIFY")
    assert len(talking.requests_to("a", "BYE")) == 1
    assert not talking.call.state.ended


def test_a_transferor_may_leave_at_once_and_the_transfer_goes_on(talking: Harness) -> None:
    refer(talking, "a")
    talking.from_leg("a", "BYE", cseq=21)
    assert not talking.call.state.ended
    talking.answers("b2", 200, TARGET)
    assert talking.the(TransferEnded).status == 200
    assert talking.call.state.leg("b1").peer == "b2"
    talking.from_leg("b2", "BYE", cseq=1)
    assert talking.request_to("b1", "BYE")
    ended = talking.the(CallEnded)
    assert (ended.disposition, ended.by) == ("ANSWERED", "b2")


def test_the_transferred_party_hangs_up_and_everything_ends(talking: Harness) -> None:
    refer(talking, "a")
    talking.answers("b2", 180)
    talking.from_leg("b1", "BYE", cseq=1)
    assert told(talking, "a")[-1].startswith("SIP/2.0 487")
    assert talking.cancelled == [talking.token_of("b2")]
    assert talking.request_to("a", "BYE")
    assert talking.call.state.ended


def test_a_busy_destination_gives_the_party_back(talking: Harness) -> None:
    refer(talking, "a")
    talking.answers("b2", 486)
    assert told(talking, "a")[-1] == "SIP/2.0 486 Busy Here"
    assert talking.call.state.leg("a").peer == "b1"
    assert not talking.call.state.ended
    last = talking.media[-2:]
    assert [(entry.from_tag, entry.to_tag) for entry in last if isinstance(entry, fx.Offer | fx.Answer)] == [
        ("b1", "a"),
        ("b1", "a"),
    ]
    talking.from_leg("a", "BYE", cseq=30)
    assert talking.request_to("b1", "BYE")
    assert talking.call.state.ended


def test_the_dialplans_own_busy_gives_the_party_back(talking: Harness) -> None:
    refer(talking, "b1", "<sip:6@pbx.example>")
    assert told(talking, "b1")[-1] == "SIP/2.0 486 Busy Here"
    assert talking.call.state.leg("a").peer == "b1"


def test_after_a_failed_transfer_another_may_be_tried(talking: Harness) -> None:
    refer(talking, "a", "<sip:4@pbx.example>")
    assert talking.the(TransferEnded).status == 480
    assert refer(talking, "a", cseq=21) == 202
    talking.answers("b2", 200, TARGET)
    assert talking.the(TransferEnded).status == 200
    events = [request.get("Event") for request in talking.requests_to("a", "NOTIFY")]
    assert events == ["refer", "refer", "refer;id=21", "refer;id=21"]


def test_an_extension_that_does_not_exist_changes_nothing(talking: Harness) -> None:
    assert refer(talking, "a", "<sip:12345@pbx.example>") == 202
    assert told(talking, "a") == ["SIP/2.0 100 Trying", "SIP/2.0 404 Not Found"]
    assert talking.call.state.leg("a").peer == "b1"
    assert "CallTransferred" not in talking.names()


def test_the_dialplan_goes_on_after_a_failed_dial_and_an_application_that_answers_is_success(talking: Harness) -> None:
    refer(talking, "a", "<sip:5@pbx.example>")
    talking.fire("dial")
    assert told(talking, "a")[-1] == "SIP/2.0 200 OK"
    assert fx.Play("b1", ("sorry",)) in talking.media


def test_a_party_may_be_sent_to_an_application(talking: Harness) -> None:
    refer(talking, "a", "<sip:600@pbx.example>")
    assert talking.the(TransferEnded).status == 200
    offers = [entry for entry in talking.media if isinstance(entry, fx.Offer)]
    assert (offers[-1].from_tag, offers[-1].echo) == ("b1", fx.Echo.ON)


def test_the_target_runs_in_the_transferors_context(talking: Harness) -> None:
    talking.rules["dev2"] = PhoneRules(context="other")
    refer(talking, "b1", "<sip:9@pbx.example>")
    assert talking.the(CallTransferred).context == "other"
    assert told(talking, "b1")[-1] == "SIP/2.0 403 Forbidden"


def test_the_dialplan_sees_who_transferred(talking: Harness) -> None:
    refer(talking, "b1", "<sip:4@pbx.example>")
    applications = [event.data for event in talking.events if isinstance(event, ApplicationStarted)]
    assert "SIP/dev2-00000002 SIP/dev2-00000002" in applications


def test_a_phone_may_be_forbidden_to_transfer(talking: Harness) -> None:
    talking.rules["dev1"] = PhoneRules(context="internal", allow_transfer=False)
    assert refer(talking, "a") == 403
    assert refer(talking, "b1") == 202


@pytest.mark.parametrize("extra", ["Refer-To: <sip:4@pbx.example>\r\n", ""])
def test_exactly_one_refer_to_is_wanted(talking: Harness, extra: str) -> None:
    talking.from_leg("a", "REFER", cseq=20, extra=extra * 2)
    assert talking.statuses[-1] == 400


@pytest.mark.parametrize(
    ("to", "status"),
    [
        ("<sip:3@pbx.example", 400),
        ("<http://pbx.example/>", 400),
        ("<sip:3@pbx.example;method=BYE>", 403),
        ("<sip:3@pbx.example?Replaces=x>", 400),
        ("<sip:3@pbx.example?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=b>", 400),
        ("<sip:3@pbx.example>, <sip:4@pbx.example>", 400),
    ],
)
def test_a_target_that_cannot_be_called_is_refused(talking: Harness, to: str, status: int) -> None:
    assert refer(talking, "a", to) == status
    assert talking.call.state.leg("a").peer == "b1"


def test_headers_of_the_target_are_not_honoured(talking: Harness) -> None:
    refer(talking, "a", "<sip:3@pbx.example?Subject=x&From=%3Csip:evil%40x%3E>")
    request = talking.request_to("b2")
    assert not request.has("Subject")
    assert b"evil" not in request.to_bytes()
    assert "?" not in talking.the(CallTransferred).target


def test_a_tel_uri_is_a_number(talking: Harness) -> None:
    refer(talking, "a", "<tel:3>")
    assert talking.the(CallTransferred).exten == "3"


def test_an_unknown_extension_of_sip_is_refused(talking: Harness) -> None:
    assert refer(talking, "a", extra="Require: foo\r\n") == 420
    assert talking.responses[-1].get("Unsupported") == "foo"


def test_without_a_subscription_nobody_is_told(talking: Harness) -> None:
    assert refer(talking, "a", extra="Refer-Sub: false\r\n") == 202
    assert talking.responses[-1].get("Refer-Sub") == "false"
    talking.answers("b2", 200, TARGET)
    assert not talking.requests_to("a", "NOTIFY")
    assert talking.request_to("a", "BYE")


def test_notifications_say_how_the_subscription_stands(talking: Harness) -> None:
    refer(talking, "a")
    talking.answers("b2", 200, TARGET)
    first, last = talking.requests_to("a", "NOTIFY")
    assert (first.get("Subscription-State") or "").startswith("active;expires=")
    assert (last.get("Subscription-State") or "") == "terminated;reason=noresource"
    assert last.get("Content-Type") == "message/sipfrag;version=2.0"
    assert last.has("Contact")


def test_a_transferor_that_knows_of_no_subscription_is_told_no_more(talking: Harness) -> None:
    refer(talking, "a")
    talking.answers("a", 481, method="NOTIFY")
    talking.answers("b2", 200, TARGET)
    assert len(talking.requests_to("a", "NOTIFY")) == 1
    assert talking.request_to("a", "BYE")


def test_one_transfer_at_a_time(talking: Harness) -> None:
    refer(talking, "a")
    assert refer(talking, "a", "<sip:4@pbx.example>", cseq=21) in (491, 603)
    assert refer(talking, "b1", cseq=21) in (491, 603)


def test_a_caller_whom_an_application_serves_cannot_transfer_it(make: Make) -> None:
    harness = make(DIALPLAN)
    harness.start("600")
    harness.from_leg("a", "ACK", cseq=1)
    assert refer(harness, "a") == 603


def test_a_waiting_transferor_may_be_silent(talking: Harness) -> None:
    refer(talking, "a")
    talking.feed(talking.call.media_silent("a"))
    assert not talking.call.state.ended


def test_the_party_can_be_handed_on_again(talking: Harness) -> None:
    refer(talking, "a")
    talking.answers("b2", 200, TARGET)
    talking.answers("a", 200, method="NOTIFY")
    assert refer(talking, "b2", "<sip:2@pbx.example>", cseq=1) == 202
    talking.answers("b3", 200, CALLEE)
    assert talking.call.state.leg("b1").peer == "b3"
    assert talking.call.state.served == "b1"
