"""Playback, Background, WaitExten, Read, SayDigits, Echo and MusicOnHold."""

from __future__ import annotations

from services.dialplan import (
    Action,
    AnswerCall,
    Continue,
    Digit,
    Done,
    Echo,
    Elapsed,
    Finished,
    HangUp,
    Music,
    Pause,
    Play,
    Played,
)
from tests.dialplan.harness import Call


def call(*applications: str, more: str = "") -> Call:
    lines = "".join(f"same => n,{application}\n" for application in applications)
    return Call(f"[phones]\nexten => 100,1,NoOp()\n{lines}{more}")


# --- Playback, SayDigits


def test_playback_answers_first_and_cannot_be_interrupted() -> None:
    playing = call("Playback(hello&world)", "NoOp(${PLAYBACKSTATUS})", "Wait(1)")
    assert playing.begin() == AnswerCall()
    assert playing.give(Done()) == Play(("hello", "world"))
    assert playing.give(Digit("1")) == Continue()
    assert playing.give(Played()) == Pause(1.0)
    assert playing.ran[2] == "NoOp(SUCCESS)"


def test_playback_is_run_once_although_it_answers_first() -> None:
    playing = call("Playback(hello)")
    playing.answered()
    assert playing.ran == ["NoOp()", "Playback(hello)"]


def test_playback_plays_early_media_with_noanswer_and_nothing_with_skip() -> None:
    assert call("Playback(hello,noanswer)").begin() == Play(("hello",))
    assert call("Playback(hello,skip)", "Wait(1)").begin() == Pause(1.0)


def test_playback_of_a_file_that_is_not_there_failed() -> None:
    playing = call("Playback(hello)", "NoOp(${PLAYBACKSTATUS})")
    playing.answered()
    playing.give(Played(failed=True))
    assert playing.ran[-1] == "NoOp(FAILED)"


def test_playback_of_nothing_failed_and_goes_on() -> None:
    playing = call("Playback(${NOTHING},noanswer)", "NoOp(${PLAYBACKSTATUS})", "Wait(1)")
    assert playing.begin() == Pause(1.0)
    assert playing.ran[2] == "NoOp(FAILED)"


def test_saydigits_goes_on_when_all_is_said() -> None:
    saying = call("SayDigits(1)", "Wait(1)")
    saying.begin()
    assert saying.give(Elapsed()) == Continue()
    assert saying.give(Played()) == Pause(1.0)


def test_saydigits_plays_a_file_for_each_digit() -> None:
    assert call("SayDigits(4711)").begin() == Play(("digits/4", "digits/7", "digits/1", "digits/1"))
    assert call("SayDigits(*1#a-)").begin() == Play(("digits/star", "digits/1", "digits/pound", "digits/minus"))
    assert call("SayDigits(abc)", "Wait(1)").begin() == Pause(1.0)


# --- Background and WaitExten

MENU = """
exten => 1,1,Wait(11)
exten => 12,1,Wait(12)
exten => _5X,1,Wait(55)
exten => 7,1,Wait(77)
exten => i,1,NoOp(${INVALID_EXTEN})
same => n,Wait(90)
exten => t,1,Wait(91)
"""


def menu(*applications: str) -> Call:
    started = call(*applications, more=MENU)
    assert started.begin() == AnswerCall()
    return started


def test_background_plays_and_goes_on_if_nobody_presses_anything() -> None:
    playing = menu("Background(menu&again)", "Wait(1)")
    assert playing.give(Done()) == Play(("menu", "again"), interrupt=True)
    assert playing.give(Played()) == Pause(1.0)
    assert playing["BACKGROUNDSTATUS"] == "SUCCESS"


def test_a_digit_that_can_only_be_one_extension_leads_there_at_once() -> None:
    playing = menu("Background(menu)")
    playing.give(Done())
    assert playing.give(Digit("7")) == Pause(77.0)
    assert (playing.execution.exten, playing.execution.priority) == ("7", 1)


def test_a_digit_that_could_be_the_first_of_several_waits_for_the_next() -> None:
    playing = menu("Background(menu)")
    playing.give(Done())
    assert playing.give(Digit("1")) == Pause(5.0)
    assert playing.give(Digit("2")) == Pause(12.0)


def test_when_no_next_digit_comes_the_shorter_extension_is_taken() -> None:
    playing = menu("Background(menu)")
    playing.give(Done())
    playing.give(Digit("1"))
    assert playing.give(Elapsed()) == Pause(11.0)


def test_digits_that_are_no_extension_lead_to_i() -> None:
    playing = menu("Background(menu)")
    playing.give(Done())
    playing.give(Digit("5"))
    assert playing.give(Elapsed()) == Pause(90.0)
    assert playing.ran[-2:] == ["NoOp(5)", "Wait(90)"]


def test_digits_that_are_no_extension_end_a_call_without_i() -> None:
    playing = call("Background(menu)")
    playing.answered()
    assert playing.give(Digit("9")) == HangUp(1)
    assert "which has no i" in playing.logged[0]


def test_e_stands_in_for_i_and_t() -> None:
    for answer, text in ((Digit("9"), "9"), (Elapsed(), "")):
        playing = call("Background(menu)", "WaitExten(2)", more="exten => e,1,Wait(${LEN(${INVALID_EXTEN})}3)\n")
        playing.answered()
        playing.give(Played())
        assert playing.give(answer) == Pause(float(f"{len(text)}3"))


def test_digits_typed_ahead_are_used_without_playing() -> None:
    playing = call("Answer()", "Wait(3)", "Background(menu)", more=MENU)
    playing.answered()
    playing.give(Digit("1"))
    playing.give(Digit("2"))
    assert playing.give(Elapsed()) == Pause(12.0)


def test_background_collects_in_another_context_if_told_to() -> None:
    playing = call("Background(menu,,,other)", more="[other]\nexten => 3,1,Wait(33)\n")
    playing.answered()
    assert playing.give(Digit("3")) == Pause(33.0)
    assert playing.execution.context == "other"


def test_background_with_m_is_interrupted_by_extensions_of_one_digit_only() -> None:
    playing = menu("Background(menu,m)")
    playing.give(Done())
    assert playing.give(Digit("9")) == Continue()
    assert playing.give(Digit("7")) == Pause(77.0)


def test_background_with_n_does_not_answer_and_with_s_does_nothing_unanswered() -> None:
    assert call("Background(menu,n)").begin() == Play(("menu",), interrupt=True)
    assert call("Background(menu,s)", "Wait(1)").begin() == Pause(1.0)


def test_a_prompt_that_the_worker_stopped_for_a_digit_waits_for_that_digit() -> None:
    playing = menu("Background(menu)")
    playing.give(Done())
    assert playing.give(Played(digit_interrupted=True)) == Pause(5.0)
    assert playing.give(Digit("7")) == Pause(77.0)


def test_the_digit_timeout_can_be_set() -> None:
    playing = call("Set(TIMEOUT(digit)=2)", "Background(menu)", more=MENU)
    playing.answered()
    assert playing.give(Digit("1")) == Pause(2.0)


def test_a_timeout_of_zero_waits_for_nothing() -> None:
    typed = call("Set(TIMEOUT(digit)=0)", "Background(menu)", more=MENU)
    typed.answered()
    assert typed.give(Digit("1")) == Pause(11.0)
    assert call("Set(TIMEOUT(response)=0)", "WaitExten()", more=MENU).begin() == Pause(91.0)
    read = call("Set(TIMEOUT(response)=0)", "Read(X,,,n)", "NoOp(${READSTATUS})")
    read.begin()
    assert read.ran[-1] == "NoOp(TIMEOUT)"


def test_background_of_nothing_goes_on() -> None:
    assert call("Background(${NOTHING},n)", "Wait(1)").begin() == Pause(1.0)


def test_a_stopped_prompt_whose_digit_never_comes_leads_to_t() -> None:
    playing = menu("Background(menu)")
    playing.give(Done())
    playing.give(Played(digit_interrupted=True))
    assert playing.give(Elapsed()) == Pause(91.0)


def test_waitexten_uses_digits_typed_ahead_and_the_default_for_nonsense() -> None:
    typed = call("Answer()", "Wait(1)", "WaitExten(5)", more=MENU)
    typed.answered()
    typed.give(Digit("7"))
    assert typed.give(Elapsed()) == Pause(77.0)
    nonsense = call("WaitExten(${EXTEN}x)")
    assert nonsense.begin() == Pause(10.0)
    assert "WaitExten cannot wait '100x' seconds" in nonsense.logged[0]


def test_waitexten_waits_the_seconds_given_or_the_response_timeout() -> None:
    assert call("WaitExten(4.5)").begin() == Pause(4.5)
    assert call("WaitExten()").begin() == Pause(10.0)
    assert call("Set(TIMEOUT(response)=3)", "WaitExten").begin() == Pause(3.0)


def test_waitexten_can_play_music() -> None:
    assert call("WaitExten(4,m(jazz))").begin() == Music("jazz", 4.0)
    assert call("WaitExten(4,m)").begin() == Music("default", 4.0)


def test_waitexten_collects_an_extension() -> None:
    waiting = call("WaitExten(4)", more=MENU)
    waiting.begin()
    assert waiting.give(Digit("1")) == Pause(5.0)
    assert waiting.give(Digit("2")) == Pause(12.0)


def test_waitexten_goes_on_if_there_is_a_next_priority_and_to_t_if_not() -> None:
    with_next = call("WaitExten(4)", "Wait(8)", more=MENU)
    with_next.begin()
    assert with_next.give(Elapsed()) == Pause(8.0)
    without = call("WaitExten(4)", more=MENU)
    without.begin()
    assert without.give(Elapsed()) == Pause(91.0)


def test_waitexten_ends_a_call_without_t() -> None:
    waiting = call("WaitExten(4)")
    waiting.begin()
    assert waiting.give(Elapsed()) == HangUp(16)


# --- Read


def read(arguments: str, *, before: str = "Answer()") -> Call:
    reading = call(before, f"Read({arguments})", "NoOp(${READSTATUS} <${X}>)", "Wait(1)")
    reading.begin()
    return reading


def finished(reading: Call, action: Action) -> str:
    assert action == Pause(1.0)
    return reading.ran[-2].removeprefix("NoOp(").removesuffix(")")


def test_read_takes_digits_until_the_hash_key() -> None:
    reading = read("X,pin")
    assert reading.give(Done()) == Play(("pin",), interrupt=True)
    assert reading.give(Digit("4")) == Pause(5.0)
    assert reading.give(Digit("2")) == Pause(5.0)
    assert finished(reading, reading.give(Digit("#"))) == "OK <42>"


def test_read_ends_with_the_last_digit_it_wants() -> None:
    reading = read("X,pin,2")
    reading.give(Done())
    reading.give(Played())
    reading.give(Digit("4"))
    assert finished(reading, reading.give(Digit("2"))) == "OK <42>"


def test_read_waits_ten_seconds_for_the_first_digit_and_five_for_the_next() -> None:
    reading = read("X,pin")
    reading.give(Done())
    assert reading.give(Played()) == Pause(10.0)
    assert reading.give(Digit("1")) == Pause(5.0)
    assert finished(reading, reading.give(Elapsed())) == "TIMEOUT <1>"


def test_read_without_a_prompt_listens_at_once_and_takes_its_own_timeout() -> None:
    reading = read("X,,4,,,2.5")
    assert reading.give(Done()) == Pause(2.5)
    assert finished(reading, reading.give(Elapsed())) == "TIMEOUT <>"


def test_read_asks_again_as_often_as_it_may() -> None:
    reading = read("X,pin,4,,2,3")
    reading.give(Done())
    reading.give(Played())
    assert reading.give(Elapsed()) == Play(("pin",), interrupt=True)
    reading.give(Played())
    assert finished(reading, reading.give(Elapsed())) == "TIMEOUT <>"


def test_read_without_a_variable_is_an_error_status() -> None:
    reading = call("Read(${NAME},pin)", "NoOp(${READSTATUS})")
    reading.begin()
    assert reading.ran[-1] == "NoOp(ERROR)"


def test_read_answers_first_unless_told_not_to() -> None:
    assert call("Read(X,pin)").begin() == AnswerCall()
    assert call("Read(X,pin,,n)").begin() == Play(("pin",), interrupt=True)


def test_read_is_skipped_for_an_unanswered_caller_if_told_so() -> None:
    reading = call("Read(X,pin,,s)", "NoOp(${READSTATUS})")
    reading.begin()
    assert reading.ran[-1] == "NoOp(SKIPPED)"


def test_read_may_end_with_other_keys() -> None:
    reading = read("X,,,t(*)")
    reading.give(Done())
    reading.give(Digit("#"))
    assert finished(reading, reading.give(Digit("*"))) == "OK <#>"


def test_read_uses_what_was_typed_ahead() -> None:
    reading = call("Answer()", "Wait(1)", "Read(X,pin,3)", "NoOp(<${X}>)")
    reading.answered()
    for digit in "123":
        reading.give(Digit(digit))
    reading.give(Elapsed())
    assert reading.ran[-1] == "NoOp(<123>)"


def test_read_of_a_caller_who_hangs_up_keeps_what_there_was() -> None:
    reading = call("Answer()", "Read(X,pin)", more="exten => h,1,NoOp(${READSTATUS} ${X})\n")
    reading.answered()
    reading.give(Digit("1"))
    assert reading.hang_up() == Finished()
    assert reading.ran[-1] == "NoOp(HANGUP 1)"


# --- Echo, music


def test_echo_ends_with_the_hash_key() -> None:
    echoing = call("Answer()", "Echo()", "Wait(1)")
    assert echoing.answered() == Echo()
    assert echoing.give(Digit("1")) == Continue()
    assert echoing.give(Digit("#")) == Pause(1.0)


def test_music_plays_a_class_for_a_while_or_for_ever() -> None:
    playing = call("MusicOnHold(jazz,30)", "MusicOnHold()", "Wait(1)")
    assert playing.begin() == Music("jazz", 30.0)
    assert playing.give(Elapsed()) == Music("default", None)
    assert playing.give(Digit("1")) == Continue()
    assert call("Set(CHANNEL(musicclass)=folk)", "MusicOnHold()").begin() == Music("folk", None)
