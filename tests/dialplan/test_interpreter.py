"""The interpreter itself: how calls begin and end, hangup handlers, fetched values, late answers and endless loops."""

from __future__ import annotations

import time
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dialplan import (
    AnswerCall,
    ApplicationRan,
    Begin,
    Continue,
    Dial,
    Dialled,
    Digit,
    Done,
    Elapsed,
    Environment,
    Execution,
    Fetch,
    Fetched,
    Finished,
    Frame,
    HangUp,
    HungUp,
    Input,
    Log,
    Pause,
    Play,
    Played,
    PutValue,
    Waiting,
    load,
    start,
    step,
)
from tests.dialplan.harness import CALLER, NOON, Call, compiled

ENV = Environment(now_s=NOON, call=CALLER)

TALK = """
[phones]
exten => 2,1,Answer()
exten => 2,2,Playback(hello-world)
exten => 2,3,Hangup()
exten => 100,1,NoOp(${CALLERID(num)} calls ${EXTEN})
same => n,Dial(SIP/dev${EXTEN},20)
exten => h,1,NoOp(${EXTEN} ${HANGUPCAUSE})
"""


def test_the_first_demo_answers_plays_and_hangs_up() -> None:
    call = Call(TALK, "2")
    assert call.begin() == AnswerCall()
    assert call.give(Done()) == Play(("hello-world",))
    assert call.give(Played()) == HangUp(16)
    assert call.give(HungUp(16)) == Finished()
    assert [e for e in call.effects if isinstance(e, ApplicationRan)][1] == ApplicationRan(
        "phones", "2", 2, "Playback", "hello-world"
    )
    assert call.ran[-1] == "NoOp(h 16)"


def test_a_call_to_nobody_is_refused_as_unallocated() -> None:
    call = Call(TALK, "999")
    assert call.begin() == HangUp(1)
    assert call.ran == []


def test_a_call_that_never_was_in_the_dialplan_runs_no_h() -> None:
    call = Call(TALK, "999")
    call.begin()
    assert call.hang_up() == Finished()
    assert call.ran == []


def test_a_call_to_a_special_extension_is_refused() -> None:
    assert Call(TALK, "h").begin() == HangUp(1)


def test_a_call_without_an_extension_enters_at_s() -> None:
    call = Call("[phones]\nexten => s,1,Wait(1)\n", "")
    assert call.begin() == Pause(1.0)


def test_an_extension_that_ends_ends_the_call() -> None:
    assert Call("[phones]\nexten => 100,1,NoOp()\n").begin() == HangUp(16)


# --- hangup


def test_h_runs_after_a_hangup_and_skips_what_needs_a_caller() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Wait(9)\nexten => h,1,Playback(bye)\nsame => n,Set(DB(a/b)=${UNIQUEID})\n"
        "same => n,Dial(SIP/dev1)\nsame => n,NoOp(end)\n"
    )
    call.begin()
    assert call.hang_up() == Finished()
    assert call.ran[-1] == "NoOp(end)"
    assert PutValue("db", "a/b", CALLER.uniqueid) in call.effects
    assert "Playback cannot do anything for a caller who has hung up" in call.logged[0]


def test_h_of_the_context_the_call_is_in_runs() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Goto(other,s,1)\nexten => h,1,NoOp(phones)\n[other]\nexten => s,1,Wait(1)\n"
        "exten => h,1,NoOp(other)\n"
    )
    call.begin()
    call.hang_up()
    assert call.ran[-1] == "NoOp(other)"


def test_h_ends_at_hangup_and_may_go_elsewhere_and_fetch() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Wait(9)\nexten => h,1,Goto(done,1)\nexten => done,1,NoOp(${DB(a/b)})\n"
        "same => n,Hangup\nsame => n,NoOp(never)\n",
        stored={("db", "a/b"): "x"},
    )
    call.begin()
    assert call.hang_up() == Finished()
    assert call.ran[-2:] == ["NoOp(x)", "Hangup()"]


def test_nothing_happens_after_the_end() -> None:
    call = Call(TALK, "2")
    call.begin()
    call.hang_up()
    before = call.execution
    for answer in (Begin(), Done(), Digit("1"), Elapsed(), Played(), Dialled("BUSY"), HungUp(), Fetched()):
        assert call.give(answer) == Finished()
    assert call.execution == before


def test_a_second_hangup_while_h_fetches_changes_nothing() -> None:
    program = compiled("[phones]\nexten => 100,1,Wait(9)\nexten => h,1,NoOp(${DB(a/b)})\n")
    execution = start(program, context="phones", exten="100")
    execution = step(program, execution, Begin(), ENV).execution
    outcome = step(program, execution, HungUp(), ENV)
    assert outcome.action == Fetch((("db", "a/b"),))
    assert step(program, outcome.execution, HungUp(), ENV).action == Continue()


# --- the protocol


def test_an_answer_that_fits_nothing_outstanding_changes_nothing() -> None:
    call = Call(TALK, "2")
    call.begin()
    turn = call.execution.turn
    for answer in (Begin(), Elapsed(), Played(), Dialled("ANSWER"), Fetched()):
        assert call.give(answer) == Continue()
    assert call.execution.turn == turn
    assert call.give(Done()) == Play(("hello-world",))
    assert call.execution.turn == turn + 1


def test_keys_that_are_none_are_dropped() -> None:
    call = Call("[phones]\nexten => 100,1,Wait(1)\n")
    call.begin()
    for digit in ("", "12", "x", "5 ", "٥"):
        assert call.give(Digit(digit)) == Continue()
    assert call.execution.digits == ""


def test_digits_typed_ahead_are_bounded() -> None:
    call = Call("[phones]\nexten => 100,1,Wait(1)\n")
    call.begin()
    for _ in range(200):
        call.give(Digit("1"))
    assert len(call.execution.digits) == 64


def test_variables_that_come_with_done_are_set() -> None:
    call = Call("[phones]\nexten => 100,1,Answer()\nsame => n,NoOp(${FROM_EDGE})\n")
    call.begin()
    call.give(Done({"FROM_EDGE": "yes"}))
    assert call.ran[-1] == "NoOp(yes)"


def test_a_value_is_fetched_once_and_effects_before_it_are_not_repeated() -> None:
    program = compiled(
        "[phones]\nexten => 100,1,Verbose(one)\nsame => n,NoOp(${DB(a/b)} ${DB(a/c)})\nsame => n,Wait(1)\n"
    )
    first = step(program, start(program, context="phones", exten="100"), Begin(), ENV)
    assert first.action == Fetch((("db", "a/b"),))
    assert [type(effect) for effect in first.effects] == [ApplicationRan, Log]
    one = Environment(now_s=NOON, call=CALLER, values={("db", "a/b"): "B"})
    second = step(program, first.execution, Fetched(), one)
    assert second.action == Fetch((("db", "a/b"), ("db", "a/c")))
    assert second.effects == ()
    both = Environment(now_s=NOON, call=CALLER, values={("db", "a/b"): "B", ("db", "a/c"): None})
    third = step(program, second.execution, Fetched(), both)
    assert third.action == Pause(1.0)
    assert third.effects[0] == ApplicationRan("phones", "100", 2, "NoOp", "B ")


def test_a_step_changes_neither_the_execution_nor_the_program_it_is_given() -> None:
    program = compiled(
        "[phones]\nexten => 100,1,Set(X=1)\nsame => n,Set(CALLERID(num)=2)\nsame => n,Gosub(4(a))\nsame => n,Wait(1)\n"
    )
    execution = start(program, context="phones", exten="100", variables={"X": "0"})
    before, data = execution.to_data(), program.to_data()
    one, two = step(program, execution, Begin(), ENV), step(program, execution, Begin(), ENV)
    assert one == two
    assert execution.to_data() == before
    assert program.to_data() == data


# --- endless loops


@pytest.mark.parametrize(
    "body",
    [
        "exten => 100,1(a),Goto(a)",
        "exten => 100,1,NoOp()\nsame => n,Goto(1)",
        "exten => 100,1,While(1)\nsame => n,EndWhile()",
        "exten => 100,1(a),Wait(0)\nsame => n,Goto(a)",
        "exten => 100,1,Goto(101,1)\nexten => i,1,Goto(100,1)\nexten => _1X1,1,Goto(${EXTEN}9,1)",
    ],
)
def test_a_dialplan_that_runs_in_a_circle_ends_the_call_with_an_error(body: str) -> None:
    call = Call(f"[phones]\n{body}\n")
    assert call.begin() == HangUp(41)
    assert "runs in a circle" in call.logged[-1]
    assert call.hang_up() == Finished()


def test_a_circle_of_actions_that_are_answered_at_once_ends_too() -> None:
    call = Call("[phones]\nexten => 100,1(a),Dial(SIP/gone)\nsame => n,Goto(a)\n")
    action = call.begin()
    dialled = 0
    while isinstance(action, Dial):
        dialled += 1
        action = call.give(Dialled("CHANUNAVAIL", 20))
    assert action == HangUp(41)
    assert dialled < 2000


def test_a_circle_that_waits_goes_on_for_ever() -> None:
    call = Call("[phones]\nexten => 100,1(a),Wait(1)\nsame => n,Goto(a)\n")
    call.begin()
    for _ in range(3000):
        assert call.give(Elapsed()) == Pause(1.0)
    assert call.execution.steps < 10


def test_a_circle_in_h_ends_the_call() -> None:
    call = Call("[phones]\nexten => 100,1,Wait(1)\nexten => h,1(a),Goto(a)\n")
    call.begin()
    assert call.hang_up() == Finished()


def test_a_variable_that_doubles_in_a_loop_stays_bounded() -> None:
    call = Call("[phones]\nexten => 100,1,Set(X=x)\nsame => n(a),Set(X=${X}${X})\nsame => n,Goto(a)\n")
    call.begin()
    assert len(call["X"]) <= 8192


# --- data


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
executions = st.builds(
    Execution,
    version=texts,
    context=texts,
    exten=texts,
    priority=st.integers(1, 1000),
    variables=st.dictionaries(texts, texts, max_size=4),
    frames=st.lists(
        st.builds(
            Frame,
            context=texts,
            exten=texts,
            priority=st.integers(1, 9),
            hidden=st.lists(st.tuples(texts, st.none() | texts), max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    facts=st.dictionaries(texts, texts, max_size=3),
    digits=st.text("0123456789*#", max_size=5),
    waiting=st.none() | st.builds(Waiting, app=texts, stage=texts, args=texts, digits=texts, tries=st.integers(0, 9)),
    answered=st.booleans(),
    hung_up=st.booleans(),
    finished=st.booleans(),
    digit_timeout_s=st.floats(0, 100),
    response_timeout_s=st.floats(0, 100),
    turn=st.integers(0, 1000),
    steps=st.integers(0, 1000),
)


@given(executions)
def test_an_execution_survives_msgpack(execution: Execution) -> None:
    assert Execution.from_data(msgpack.unpackb(msgpack.packb(execution.to_data()))) == execution


inputs = st.one_of(
    st.sampled_from(
        [Begin(), Fetched(), Done(), Elapsed(), Played(), Played(failed=True), Played(digit_interrupted=True)]
    ),
    st.builds(Digit, st.sampled_from("0123456789*#")),
    st.builds(Dialled, st.sampled_from(["ANSWER", "BUSY", "NOANSWER", "CANCEL", "CHANUNAVAIL"]), st.integers(0, 40)),
    st.builds(Done, st.dictionaries(texts, texts, max_size=2)),
    st.just(HungUp()),
)
EVERYTHING = """
[phones]
exten => 100,1,Ringing()
same => n,Answer(100)
same => n(menu),Background(menu,m)
same => n,WaitExten(2)
exten => 1,1,Read(PIN,pin,4,,2,3)
same => n,GotoIf($["${PIN}" = "1234"]?good)
same => n,Playback(wrong)
same => n,Goto(100,menu)
same => n(good),Gosub(sub,s,1(${PIN},${DB(pins/${PIN})}))
same => n,Set(DB(pins/${PIN})=${CALLERID(num)})
same => n,Dial(SIP/a&SIP/b,20,g)
same => n,Echo()
same => n,Busy(3)
exten => 12,1,SayDigits(${EXTEN})
same => n,MusicOnHold(,2)
same => n,Congestion()
exten => _9.,1,Dial(SIP/${EXTEN:1})
exten => i,1,Goto(100,menu)
exten => t,1,Hangup(19)
exten => h,1,Verbose(${DIALSTATUS} ${DB(pins/${PIN})})
same => n,Wait(1)
same => n,ExecIf($[${HANGUPCAUSE} = 16]?Set(GLOBAL(LAST)=${EPOCH}))
[sub]
exten => s,1,Set(LOCAL(A)=${ARG1}${LAST})
same => n,Wait(1)
same => n,Return(${A})
"""
everything = compiled(EVERYTHING)


@settings(max_examples=200)
@given(st.lists(inputs, max_size=25))
def test_any_inputs_in_any_order_are_taken(answers: list[Input]) -> None:
    call = Call(everything)
    call.begin()
    for answer in answers:
        call.give(answer)
    assert call.hang_up() == Finished()
    assert call.execution.finished


def test_the_example_dialplan_is_taken_without_a_warning() -> None:
    path = Path(__file__).parents[2] / "examples" / "hello" / "extensions.conf"
    assert load(path).warnings == ()


def test_a_short_extension_runs_in_microseconds() -> None:
    program = compiled(TALK)
    best = float("inf")
    for _ in range(20):
        began = time.process_time()
        for _ in range(50):
            step(program, start(program, context="phones", exten="100"), Begin(), ENV)
        best = min(best, (time.process_time() - began) / 50)
    assert best < 300e-6  # about 20 on an idle machine; the bound is for one that is busy
