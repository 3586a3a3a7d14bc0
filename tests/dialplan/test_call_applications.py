"""Answer, Ringing, Progress, Wait, Busy, Congestion, Hangup and Dial."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.dialplan import (
    AnswerCall,
    Continue,
    Dial,
    Dialled,
    Digit,
    Done,
    Elapsed,
    Finished,
    HangUp,
    HungUp,
    Pause,
    Played,
    Progress,
    Refuse,
    Ring,
)
from tests.dialplan.harness import Call


def call(*applications: str, exten: str = "100") -> Call:
    """A call to an extension with these applications."""
    lines = "".join(f"same => n,{application}\n" for application in applications)
    return Call(f"[phones]\nexten => {exten},1,NoOp()\n{lines}", exten)


def test_answer_answers_once() -> None:
    first = call("Answer()", "Answer()", "Wait(1)")
    assert first.begin() == AnswerCall()
    assert first.give(Done()) == Pause(1.0)
    assert first.execution.answered


def test_answer_can_wait_a_moment_in_milliseconds() -> None:
    delayed = call("Answer(500)", "Wait(1)")
    delayed.begin()
    assert delayed.give(Done()) == Pause(0.5)
    assert delayed.give(Elapsed()) == Pause(1.0)


def test_ringing_and_progress_are_said_to_a_caller_who_is_not_answered() -> None:
    early = call("Ringing()", "Progress()", "Wait(2)")
    assert early.begin() == Ring()
    assert early.give(Done()) == Progress()
    assert early.give(Done()) == Pause(2.0)


def test_ringing_and_progress_are_nothing_to_a_caller_who_is() -> None:
    late = call("Answer()", "Ringing()", "Progress()", "Wait(2)")
    assert late.answered() == Pause(2.0)


@pytest.mark.parametrize(("text", "seconds"), [("1", 1.0), ("0.5", 0.5), (".5", 0.5), (" 2 ", 2.0)])
def test_wait_waits_fractions_of_seconds_too(text: str, seconds: float) -> None:
    assert call(f"Wait({text})").begin() == Pause(seconds)


def test_wait_for_nothing_or_nonsense_does_not_wait() -> None:
    waiting = call("Wait(0)", "Wait(${NOTHING})", "Wait(3)")
    assert waiting.begin() == Pause(3.0)
    assert "Wait cannot wait" in waiting.logged[0]


def test_digits_during_wait_are_kept_and_change_nothing() -> None:
    waiting = call("Wait(3)")
    waiting.begin()
    turn = waiting.execution.turn
    assert waiting.give(Digit("5")) == Continue()
    assert (waiting.execution.digits, waiting.execution.turn) == ("5", turn)


@pytest.mark.parametrize(("application", "status", "cause"), [("Busy", 486, 17), ("Congestion", 503, 34)])
def test_busy_and_congestion_are_signalled_and_then_end_the_call(application: str, status: int, cause: int) -> None:
    refused = call(f"{application}(5)")
    assert refused.begin() == Refuse(status, 5.0)  # type: ignore[arg-type]
    assert refused.give(Elapsed()) == HangUp(cause)
    endless = call(f"{application}()")
    assert endless.begin() == Refuse(status, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "cause"),
    [
        ("", 16),
        ("21", 21),
        ("USER_BUSY", 17),
        ("no_answer", 19),
        ("AST_CAUSE_CALL_REJECTED", 21),
        ("999", 16),
        ("x", 16),
    ],
)
def test_hangup_ends_the_call_with_a_cause_by_number_or_name(argument: str, cause: int) -> None:
    ending = call(f"Set(CAUSE={argument})", "Hangup(${CAUSE})")
    assert ending.begin() == HangUp(cause)
    assert ending.hang_up() == Finished()


def test_dial_rings_everybody_with_timeout_and_options() -> None:
    dialling = call("Dial(SIP/dev1&PJSIP/dev2 & SIP/trunk/+4930,20,rm(jazz))")
    assert dialling.begin() == Dial(
        ("SIP/dev1", "PJSIP/dev2", "SIP/trunk/+4930"),
        20.0,
        "rm(jazz)",
        ringing=True,
        music_class="jazz",
        caller_name="Alice",
        caller_number="101",
    )


def test_dial_without_a_timeout_rings_until_the_caller_gives_up() -> None:
    action = call("Dial(SIP/dev1,,m)").begin()
    assert isinstance(action, Dial)
    assert (action.timeout_s, action.music_class, action.ringing) == (None, "default", False)


def test_dial_shows_the_caller_as_the_dialplan_has_renamed_it() -> None:
    action = call("Set(CALLERID(name)=Door)", "Set(CALLERID(num)=9)", "Dial(SIP/dev1)").begin()
    assert isinstance(action, Dial)
    assert (action.caller_name, action.caller_number) == ("Door", "9")


def test_an_ipv6_target_is_passed_on_as_it_is() -> None:
    action = call("Dial(SIP/2@[2001:db8::1]:5060)").begin()
    assert isinstance(action, Dial)
    assert action.targets == ("SIP/2@[2001:db8::1]:5060",)


def test_after_an_answered_dial_the_call_ends_and_what_it_was_is_known() -> None:
    talked = Call(
        "[phones]\nexten => 100,1,Dial(SIP/dev1)\nsame => n,NoOp(never)\n"
        "exten => h,1,NoOp(${DIALSTATUS} ${ANSWEREDTIME})\n"
    )
    talked.begin()
    outcome = Dialled("ANSWER", 16, answered_time_s=62.9, dialed_time_s=67.5, peer="SIP/dev1-2", peer_number="dev1")
    assert talked.give(outcome) == HangUp(16)
    assert talked.hang_up() == Finished()
    assert talked.ran[-1] == "NoOp(ANSWER 62)"
    assert (talked["DIALEDTIME"], talked["DIALEDPEERNAME"], talked["DIALEDPEERNUMBER"]) == ("67", "SIP/dev1-2", "dev1")


def test_with_option_g_the_dialplan_goes_on_after_the_callee_hung_up() -> None:
    talked = call("Dial(SIP/dev1,,g)", "Playback(goodbye)")
    talked.begin()
    talked.give(Dialled("ANSWER", 16, 5, 7))
    assert talked.execution.answered
    assert talked.ran[-1] == "Playback(goodbye)"


CAUSES = {"BUSY": 17, "NOANSWER": 19, "CONGESTION": 34, "CHANUNAVAIL": 20}


@pytest.mark.parametrize("status", CAUSES)
def test_a_dial_that_got_nowhere_goes_on_with_its_status(status: str) -> None:
    failed = call("Dial(SIP/dev1,5)", "NoOp(${DIALSTATUS} ${HANGUPCAUSE})", "Wait(1)")
    failed.begin()
    assert failed.give(Dialled(status, 0, 0, 5)) == Pause(1.0)
    assert failed.ran[2] == f"NoOp({status} {CAUSES[status]})"


@pytest.mark.parametrize(
    ("status", "cause"), [("BUSY", 17), ("NOANSWER", 19), ("CONGESTION", 34), ("CHANUNAVAIL", 20), ("CANCEL", 16)]
)
def test_a_call_that_ends_after_a_dial_tells_the_caller_why(status: str, cause: int) -> None:
    assert _after(call("Dial(SIP/dev1,5)"), status) == HangUp(cause)


@pytest.mark.parametrize(("status", "refusal"), [("BUSY", 486), ("CONGESTION", 503), ("CHANUNAVAIL", 503)])
def test_an_answered_caller_hears_a_tone_for_ten_seconds_before_the_end(status: str, refusal: int) -> None:
    answered = call("Answer()", "Dial(SIP/dev1,5)")
    answered.answered()
    assert answered.give(Dialled(status)) == Refuse(refusal, 10.0)  # type: ignore[arg-type]
    assert isinstance(answered.give(Elapsed()), HangUp)


def _after(dialling: Call, status: str) -> object:
    dialling.begin()
    return dialling.give(Dialled(status, 0, 0, 3))


def test_hangup_after_a_busy_dial_passes_the_cause_on() -> None:
    busy = call("Dial(SIP/dev1,5)", "Hangup()")
    busy.begin()
    assert busy.give(Dialled("BUSY", 17)) == HangUp(17)


def test_a_caller_who_hangs_up_while_it_rings_has_cancelled() -> None:
    gone = Call("[phones]\nexten => 100,1,Dial(SIP/dev1)\nexten => h,1,NoOp(${DIALSTATUS} ${HANGUPCAUSE})\n")
    gone.begin()
    assert gone.give(HungUp(16)) == Finished()
    assert gone.ran[-1] == "NoOp(CANCEL 16)"


def test_a_caller_who_hangs_up_while_talking_had_an_answer() -> None:
    gone = Call("[phones]\nexten => 100,1,Dial(SIP/dev1)\nexten => h,1,NoOp(${DIALSTATUS} ${ANSWEREDTIME})\n")
    gone.begin()
    gone.give(HungUp(16, Dialled("ANSWER", 16, answered_time_s=3)))
    assert gone.ran[-1] == "NoOp(ANSWER 3)"


def test_dialling_nobody_is_a_status_and_not_the_end() -> None:
    nobody = call("Dial(${NOBODY},20)", "NoOp(${DIALSTATUS})", "Wait(1)")
    assert nobody.begin() == Pause(1.0)
    assert nobody.ran[2] == "NoOp(INVALIDARGS)"


def test_a_timeout_that_is_none_is_a_warning_and_rings_on() -> None:
    dialling = call("Dial(SIP/dev1,${SOON})", "Wait(1)")
    dialling.execution = replace(dialling.execution, variables={"SOON": "soon"})
    action = dialling.begin()
    assert isinstance(action, Dial)
    assert action.timeout_s is None
    assert "Dial cannot ring 'soon' seconds" in dialling.logged[0]


def test_what_does_not_answer_a_dial_or_a_refusal_changes_nothing() -> None:
    for text in ("Dial(SIP/dev1)", "Busy(3)", "Answer(100)", "Ringing()"):
        waiting = call(text)
        waiting.begin()
        assert waiting.give(Played()) == Continue()


def test_digits_during_dial_belong_to_the_callee() -> None:
    talking = call("Dial(SIP/dev1,,g)", "Wait(1)")
    talking.begin()
    assert talking.give(Digit("5")) == Continue()
    assert talking.execution.digits == ""
