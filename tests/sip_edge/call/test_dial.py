"""Two parties: ringing, answering, declining, cancelling, hanging up."""

from __future__ import annotations

from services.core.address import Family
from services.core.events.catalogue import CallEnded, CallStarted, DialEnded, LegAnswered, LegEnded, LegInvited
from services.core.sdp import media_family
from services.sip_edge.call import effects as fx
from tests.sip_edge.call.conftest import Make
from tests.sip_edge.call.harness import Harness, sdp

CALLEE = sdp("192.0.2.12", 30000, formats="0 101")


def test_a_call_rings_is_answered_and_is_hung_up_by_the_caller(harness: Harness) -> None:
    harness.start("2")
    assert harness.statuses == [100]
    invite = harness.request_to("b1")
    assert invite.uri == "sip:dev2@192.0.2.12"
    assert invite.from_.display == "Fred"
    assert b"c=IN IP4 192.0.2.100" in invite.body

    harness.answers("b1", 180)
    assert harness.statuses == [100, 180]

    harness.answers("b1", 200, CALLEE)
    assert harness.statuses == [100, 180, 200]
    assert b"c=IN IP4 192.0.2.100" in harness.responses[-1].body
    assert [ack.uri for ack in harness.acks] == ["sip:b1@192.0.2.12"]
    harness.from_leg("a", "ACK", cseq=1)

    harness.from_leg("a", "BYE")
    assert harness.statuses == [100, 180, 200, 200]
    assert harness.request_to("b1", "BYE").to_tag == "callee-b1"
    harness.answers("b1", 200, method="BYE")
    ended = harness.the(CallEnded)
    assert (ended.disposition, ended.by, ended.cause) == ("ANSWERED", "a", 16)
    assert harness.released
    assert harness.names().count("MediaReported") == 2


def test_the_callee_hangs_up_first(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("b1", "BYE", cseq=1)
    assert harness.request_to("a", "BYE").to_tag == "caller"
    assert harness.the(DialEnded).status == "ANSWER"
    assert harness.the(CallEnded).by == "b1"


def test_option_g_goes_on_after_the_callee_hung_up(harness: Harness) -> None:
    harness.start("6")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("b1", "BYE", cseq=1)
    assert fx.Play("a", ("goodbye",)) in harness.media
    assert not harness.call.state.ended


def test_nothing_is_offered_to_a_callee_but_the_codecs_both_may_use(make: Make) -> None:
    harness = make(codecs=("alaw",))
    harness.start("2", offer=sdp("192.0.2.11", formats="0 8 101"))
    body = harness.request_to("b1").body
    assert b"RTP/AVP 8 101" in body


def test_without_a_common_codec_nobody_is_rung(make: Make) -> None:
    harness = make(codecs=("g722",))
    harness.start("2")
    assert harness.requests == {}
    assert harness.statuses[-1] >= 400


def test_a_ring_group_rings_everybody_and_the_first_answer_wins(harness: Harness) -> None:
    harness.start("3")
    harness.answers("b1", 180)
    harness.answers("b2", 180)
    harness.answers("b2", 200, CALLEE)
    assert harness.cancelled == [harness.token_of("b1")]
    assert harness.call.state.leg("a").peer == "b2"
    harness.answers("b1", 487)
    assert [event.leg for event in harness.events if isinstance(event, LegAnswered)] == ["b2", "a"]


def test_an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up(harness: Harness) -> None:
    harness.start("3")
    harness.answers("b2", 200, CALLEE)
    harness.answers("b1", 200, CALLEE)
    assert harness.request_to("b1", "BYE").method == "BYE"
    assert len(harness.acks) == 2
    assert harness.call.state.leg("a").peer == "b2"


def test_a_copy_of_the_answer_gets_the_acknowledgement_again(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.answers("b1", 200, CALLEE)
    assert harness.acks[0] is harness.acks[1]
    assert harness.names().count("LegAnswered") == 2


def test_the_answer_of_another_fork_is_hung_up(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.answers("b1", 200, CALLEE, tag="other-fork")
    bye = harness.request_to("b1", "BYE")
    assert bye.to_tag == "other-fork"
    assert not harness.call.state.ended


def test_busy_goes_back_as_busy(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 486)
    assert harness.statuses[-1] == 486
    assert harness.the(DialEnded).status == "BUSY"
    assert harness.the(CallEnded).disposition == "BUSY"


def test_a_declined_call_counts_as_busy(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 603)
    assert harness.the(DialEnded).status == "BUSY"


def test_one_busy_phone_does_not_end_a_ring_group(harness: Harness) -> None:
    harness.start("3")
    harness.answers("b1", 486)
    assert not harness.call.state.ended
    harness.answers("b2", 200, CALLEE)
    assert harness.statuses[-1] == 200


def test_no_answer_cancels_and_the_dialplan_goes_on(harness: Harness) -> None:
    harness.start("5")
    harness.answers("b1", 180)
    assert harness.timers["dial"] == 5
    harness.fire("dial")
    assert harness.cancelled == [harness.token_of("b1")]
    assert harness.the(DialEnded).status == "NOANSWER"
    assert harness.media[-1] == fx.Play("a", ("sorry",))
    assert harness.statuses[-1] == 183


def test_an_unregistered_phone_is_unavailable(harness: Harness) -> None:
    harness.start("4")
    assert harness.statuses == [100, 480]
    assert harness.the(DialEnded).status == "CHANUNAVAIL"
    assert harness.released


def test_a_callee_that_never_says_anything_times_out(harness: Harness) -> None:
    harness.start("2")
    harness.feed(harness.call.transaction_failed(harness.token_of("b1"), "timeout"))
    assert harness.the(LegEnded).status == 408 or harness.the(LegEnded).leg == "a"
    assert harness.statuses[-1] >= 400
    assert harness.released


def test_the_caller_cancels_and_the_callee_stops_ringing(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 180)
    harness.feed(harness.call.cancelled())
    assert harness.statuses[-1] == 487
    assert harness.cancelled == [harness.token_of("b1")]
    ended = harness.the(CallEnded)
    assert (ended.reason, ended.disposition) == ("caller cancelled", "NO ANSWER")
    assert not harness.released
    harness.answers("b1", 487)
    assert harness.released


def test_a_cancel_after_the_answer_changes_nothing(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.feed(harness.call.cancelled())
    assert not harness.call.state.ended


def test_early_media_of_the_callee_reaches_the_caller(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 183, CALLEE)
    assert harness.statuses == [100, 183]
    early = harness.responses[-1].body
    assert b"192.0.2.100" in early
    harness.answers("b1", 200, CALLEE)
    assert harness.responses[-1].body == early


def test_an_answered_caller_hears_ringback_and_then_the_callee(harness: Harness) -> None:
    harness.start("7")
    assert harness.statuses == [100, 200]
    harness.answers("b1", 180)
    assert fx.Play("a", ("ringback",), 0) in harness.media
    harness.answers("b1", 200, CALLEE)
    assert fx.StopPlaying("a") in harness.media
    assert harness.statuses == [100, 200]
    assert harness.call.state.leg("a").peer == "b1"


def test_after_an_announcement_only_the_codec_in_use_is_offered(harness: Harness) -> None:
    harness.start("7", offer=sdp("192.0.2.11", formats="0 8 101"))
    assert b"RTP/AVP 0 101" in harness.request_to("b1").body


def test_a_late_offer_is_made_by_us_and_answered_in_the_ack(harness: Harness) -> None:
    harness.start("2", offer=b"")
    assert b"m=audio" in harness.request_to("b1").body
    harness.answers("b1", 200, CALLEE)
    assert b"m=audio" in harness.responses[-1].body
    answers = [entry for entry in harness.media if isinstance(entry, fx.Answer)]
    assert [(entry.from_tag, entry.to_tag) for entry in answers] == [("app", "b1")]
    harness.from_leg("a", "ACK", body=sdp("192.0.2.11"), cseq=1)
    answers = [entry for entry in harness.media if isinstance(entry, fx.Answer)]
    assert (answers[-1].from_tag, answers[-1].to_tag) == ("b1", "a")
    assert harness.call.state.leg("a").remote_sdp == sdp("192.0.2.11")


def test_an_ack_without_the_answer_it_owes_ends_the_call(harness: Harness) -> None:
    harness.start("2", offer=b"")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    assert harness.call.state.ended
    assert harness.request_to("a", "BYE")
    assert harness.request_to("b1", "BYE")


def test_each_leg_is_offered_media_of_the_family_of_its_own_path(make: Make) -> None:
    harness = make(phones={"dev2": "2001:db8::12"})
    harness.start("2")
    assert media_family(harness.request_to("b1").body) is Family.IP6
    harness.answers("b1", 200, sdp("2001:db8::12", 30000))
    assert media_family(harness.responses[-1].body) is Family.IP4
    assert b"[" not in harness.request_to("b1").body


def test_the_answer_keeps_the_family_of_the_offer_whatever_the_signalling_uses(make: Make) -> None:
    harness = make(phones={"dev2": "192.0.2.12"})
    harness.start("2", offer=sdp("2001:db8::11"), source="192.0.2.11")
    harness.answers("b1", 200, CALLEE)
    assert media_family(harness.responses[-1].body) is Family.IP6


def test_hops_are_counted_across_us(harness: Harness) -> None:
    harness.start("2", hops=5)
    assert harness.request_to("b1").max_forwards == 4


def test_a_lost_ack_ends_the_call_with_its_cause(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    assert harness.invite is not None
    harness.feed(harness.call.ack_missing(harness.invite.key))
    ended = harness.the(CallEnded)
    assert ended.reason == "lost ACK"
    assert harness.request_to("a", "BYE")
    assert harness.request_to("b1", "BYE")


def test_no_bye_goes_to_a_caller_before_its_ack(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("b1", "BYE", cseq=1)
    assert not [request for request in harness.requests.values() if request.method == "BYE"]
    assert not harness.released
    harness.from_leg("a", "ACK", cseq=1)
    assert harness.request_to("a", "BYE")


def test_silence_ends_the_call_because_the_bye_was_lost(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    harness.feed(harness.call.media_silent("b1"))
    assert harness.the(CallEnded).reason == "RTP timeout"


def test_a_full_media_worker_refuses_the_call(harness: Harness) -> None:
    harness.failing[fx.Offer] = "Ran out of ports"
    harness.start("2")
    assert harness.statuses[-1] == 503
    assert harness.released


def test_a_bye_with_a_cause_is_recorded(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("a", "BYE", extra='Reason: Q.850;cause=31;text="odd"\r\n')
    assert harness.the(CallEnded).cause == 31


def test_a_bye_with_a_cause_nobody_can_read_ends_the_call_all_the_same(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("a", "BYE", extra="Reason: <, Q.850;cause=31\r\n")
    assert harness.the(CallEnded).cause == 16


def test_a_request_that_goes_back_in_sequence_is_refused(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("a", "OPTIONS", cseq=9)
    harness.from_leg("a", "BYE", cseq=3)
    assert harness.statuses[-1] == 500
    assert not harness.call.state.ended


def test_a_method_we_do_not_serve_in_a_dialog_is_refused_with_those_we_do(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 200, CALLEE)
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("a", "SUBSCRIBE", cseq=2)
    assert harness.statuses[-1] == 405
    assert "BYE" in (harness.responses[-1].get("Allow") or "")


def test_the_record_of_a_call_names_both_ends(harness: Harness) -> None:
    harness.start("2")
    started, invited = harness.the(CallStarted), harness.the(LegInvited)
    assert (started.called, started.context, started.phone, started.family) == ("2", "internal", "dev1", "ip4")
    assert (invited.target, invited.destination) == ("SIP/dev2", "192.0.2.12:5060")


def test_a_caller_may_leave_by_bye_before_the_answer(harness: Harness) -> None:
    harness.start("2")
    harness.answers("b1", 180)
    harness.from_leg("a", "BYE")
    assert harness.statuses[-2:] == [200, 487]
    assert harness.cancelled == [harness.token_of("b1")]


def test_the_final_answer_names_the_codec_of_the_phone_that_answered(harness: Harness) -> None:
    harness.start("3", offer=sdp("192.0.2.11", formats="0 8 101"))
    harness.answers("b1", 183, sdp("192.0.2.12", formats="8 101"))
    harness.answers("b2", 200, sdp("192.0.2.13", formats="0 101"))
    assert b"RTP/AVP 8 101" in harness.responses[1].body
    assert b"RTP/AVP 0 101" in harness.responses[-1].body
