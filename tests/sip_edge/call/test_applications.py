"""The dialplan at work: prompts, digits, waiting, refusing."""

from __future__ import annotations

from services.core.events.catalogue import ApplicationStarted, CallEnded, PlaybackStarted
from services.sip_edge.call import effects as fx
from tests.sip_edge.call.conftest import Make
from tests.sip_edge.call.harness import Harness, sdp


def test_playback_answers_plays_and_hangs_up(harness: Harness) -> None:
    harness.start("100")
    assert harness.statuses == [100, 200]
    assert harness.media[-1] == fx.Play("a", ("hello-world",))
    assert harness.the(PlaybackStarted).duration_ms == 1500
    harness.from_leg("a", "ACK", cseq=1)
    harness.feed(harness.call.played("a"))
    assert harness.request_to("a", "BYE")
    assert harness.the(CallEnded).disposition == "ANSWERED"


def test_a_prompt_whose_end_the_worker_never_tells_ends_by_the_clock(harness: Harness) -> None:
    harness.start("100")
    harness.from_leg("a", "ACK", cseq=1)
    harness.fire("application")
    assert harness.call.state.ended


def test_a_prompt_without_an_answer_is_early_media(harness: Harness) -> None:
    harness.start("101")
    assert harness.statuses == [100, 183]
    assert harness.responses[-1].body


def test_a_missing_prompt_does_not_hang_the_call(harness: Harness) -> None:
    harness.failing[fx.Play] = "no such prompt"
    harness.start("100")
    harness.from_leg("a", "ACK", cseq=1)
    assert harness.call.state.ended


def test_a_digit_stops_the_menu_and_chooses_the_extension(harness: Harness) -> None:
    harness.start("200")
    harness.from_leg("a", "ACK", cseq=1)
    assert harness.media[-1] == fx.Play("a", ("menu",))
    harness.digits("1")
    assert fx.StopPlaying("a") in harness.media
    while "application" in harness.timers and harness.media[-1] != fx.Play("a", ("one",)):
        harness.fire("application")
    assert harness.media[-1] == fx.Play("a", ("one",))
    ran = [event.exten for event in harness.events if isinstance(event, ApplicationStarted)]
    assert ran[-1] == "1"


def test_the_late_end_of_a_stopped_prompt_is_not_the_end_of_the_next(harness: Harness) -> None:
    harness.start("200")
    harness.from_leg("a", "ACK", cseq=1)
    harness.digits("9")
    before = len(harness.effects)
    harness.feed(harness.call.played("a"))
    assert len(harness.effects) == before


def test_read_takes_digits_and_the_dialplan_compares_them(harness: Harness) -> None:
    harness.start("300")
    harness.from_leg("a", "ACK", cseq=1)
    harness.digits("1234")
    assert harness.values == {("db", "pins/last"): "1234"}
    assert harness.media[-1] == fx.Play("a", ("right",))


def test_wrong_digits_take_the_other_branch(harness: Harness) -> None:
    harness.start("300")
    harness.from_leg("a", "ACK", cseq=1)
    harness.digits("99#")
    assert harness.media[-1] == fx.Play("a", ("wrong",))


def test_echo_asks_the_worker_to_send_back_what_comes(harness: Harness) -> None:
    harness.start("600")
    assert isinstance(harness.media[-1], fx.Answer)
    assert harness.media[-1].echo is fx.Echo.ON
    assert harness.statuses == [100, 200]


def test_busy_and_congestion_refuse_an_unanswered_caller(harness: Harness) -> None:
    harness.start("700")
    assert harness.statuses == [100, 486]
    assert harness.the(CallEnded).disposition == "BUSY"


def test_congestion_is_503(harness: Harness) -> None:
    harness.start("701")
    assert harness.statuses == [100, 503]


def test_hangup_with_a_cause_refuses_with_its_status(harness: Harness) -> None:
    harness.start("702")
    assert harness.statuses == [100, 403]


def test_an_unknown_extension_is_not_found(harness: Harness) -> None:
    harness.start("999")
    assert harness.statuses == [100, 404]
    assert harness.the(CallEnded).cause == 1
    assert harness.released


def test_wait_waits_and_ringing_rings(harness: Harness) -> None:
    harness.start("703")
    assert harness.statuses == [100, 180]
    assert harness.timers["application"] == 3
    harness.fire("application")
    assert harness.statuses[-1] >= 400


def test_the_h_extension_runs_after_the_caller_hung_up(harness: Harness) -> None:
    harness.start("800")
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("a", "BYE")
    ran = [(event.exten, event.application) for event in harness.events if isinstance(event, ApplicationStarted)]
    assert ran[-1][0] == "h"
    assert harness.names().index("CallEnded") > max(
        index for index, name in enumerate(harness.names()) if name == "ApplicationStarted"
    )
    assert harness.timers == {}


def test_a_late_offer_is_prompted_only_after_the_ack(harness: Harness) -> None:
    harness.start("100", offer=b"")
    assert harness.statuses == [100, 200]
    assert not [entry for entry in harness.media if isinstance(entry, fx.Play)]
    harness.from_leg("a", "ACK", body=sdp("192.0.2.11"), cseq=1)
    assert harness.media[-1] == fx.Play("a", ("hello-world",))


def test_h_sees_how_the_dial_went_that_the_caller_ended(make: Make) -> None:
    dialplan = "[internal]\nexten => 2,1,Dial(SIP/dev2)\nexten => h,1,Set(DB(last/status)=${DIALSTATUS})\n"
    harness = make(dialplan)
    harness.start("2")
    harness.answers("b1", 200, sdp("192.0.2.12"))
    harness.from_leg("a", "ACK", cseq=1)
    harness.from_leg("a", "BYE")
    assert harness.values == {("db", "last/status"): "ANSWER"}


def test_what_a_phone_says_need_not_be_utf8(make: Make) -> None:
    harness = make()
    harness.start("\udcff\udcfe")
    assert harness.statuses[-1] == 404
