"""Goto, GotoIf, GotoIfTime, Gosub, Return, While, Set, NoOp, Verbose, Log and ExecIf."""

from __future__ import annotations

import pytest

from services.dialplan import Elapsed, HangUp, Log, Pause
from tests.dialplan.harness import NOON, Call


def ran(text: str, exten: str = "100", **options: object) -> list[str]:
    call = Call(f"[phones]\n{text}", exten, **options)  # type: ignore[arg-type]
    call.begin()
    return call.ran


def positions(text: str, exten: str = "100") -> list[str]:
    call = Call(f"[phones]\n{text}", exten)
    call.begin()
    return call.places


# --- Goto


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        ("3", "100,3"),
        ("here", "100,4"),
        ("+2", "100,3"),
        ("200,1", "200,1"),
        ("200,there", "200,2"),
        ("other,s,1", "s,1"),
        ("other,s,far", "s,2"),
        (" other , s , far ", "s,2"),
        (",200,1", "200,1"),
    ],
)
def test_goto_leads_to_a_priority_label_extension_or_context(target: str, reached: str) -> None:
    text = (
        f"exten => 100,1,Goto({target})\nsame => n,NoOp()\nsame => n,NoOp()\nsame => n(here),NoOp()\n"
        "exten => 200,1,NoOp()\nsame => n(there),NoOp()\n[other]\nexten => s,1,NoOp()\nsame => n(far),NoOp()\n"
    )
    assert positions(text)[1] == reached


def test_goto_a_label_that_is_not_there_ends_the_call_with_an_error() -> None:
    call = Call("[phones]\nexten => 100,1,Goto(${WHERE})\n", variables={"WHERE": "nowhere"})
    assert call.begin() == HangUp(41)
    assert call.effects[-1] == Log(
        "error", "phones,100,1 (extensions.conf:2): there is no label 'nowhere' in phones,100"
    )


def test_goto_an_extension_that_is_not_there_leads_to_i() -> None:
    text = "exten => 100,1,Goto(${EXTEN}99,1)\nexten => i,1,NoOp(${INVALID_EXTEN})\n"
    assert ran(text)[-1] == "NoOp(10099)"


@pytest.mark.parametrize(
    ("condition", "reached"),
    [("1", "yes"), ("0", "no"), ("", "no"), ("00", "no"), ("abc", "yes"), ("-1", "yes"), ("7x", "yes"), ("0x", "no")],
)
def test_gotoif_takes_the_branch_of_its_condition(condition: str, reached: str) -> None:
    text = "exten => 100,1,GotoIf(${C}?yes:no)\nsame => n(yes),NoOp(yes)\nsame => n,Hangup\nsame => n(no),NoOp(no)\n"
    assert f"NoOp({reached})" in ran(text, variables={"C": condition})[1]


def test_gotoif_without_a_branch_goes_on() -> None:
    assert positions(
        "exten => 100,1,GotoIf(0?9)\nsame => n,GotoIf(1?:9)\nsame => n,NoOp()\nexten => 100,9,NoOp()\n"
    ) == [
        "100,1",
        "100,2",
        "100,3",
    ]


def test_gotoiftime_looks_at_the_clock() -> None:
    text = (
        "exten => 100,1,GotoIfTime(9:00-17:00,mon-fri,*,*?open:closed)\nsame => n(open),NoOp(open)\n"
        "same => n,Hangup\nsame => n(closed),NoOp(closed)\n"
    )
    assert ran(text)[1] == "NoOp(open)"
    assert ran(text, now_s=NOON + 12 * 3600)[1] == "NoOp(closed)"
    assert ran(text, timezone="Asia/Tokyo")[1] == "NoOp(closed)"


# --- Gosub

ROUTINE = "[sub]\nexten => s,1,NoOp(<${ARG1}> <${ARG2}> ${ARGC})\nsame => n,Return(${ARG1}!)\n"


def test_gosub_passes_arguments_and_return_brings_a_value_back() -> None:
    text = "exten => 100,1,Gosub(sub,s,1(a,b c))\nsame => n,NoOp(${GOSUB_RETVAL} <${ARG1}>)\n" + ROUTINE
    assert ran(text) == ["Gosub(sub,s,1(a,b c))", "NoOp(<a> <b c> 2)", "Return(a!)", "NoOp(a! <>)"]


def test_gosub_arguments_may_hold_commas_in_parentheses_and_keep_their_quotes() -> None:
    text = 'exten => 100,1,Gosub(sub,s,1(f(x,y),"q,r"))\n' + ROUTINE
    assert ran(text)[1] == 'NoOp(<f(x,y)> <"q,r"> 2)'


def test_a_routine_does_not_see_the_arguments_of_its_caller() -> None:
    text = (
        "exten => 100,1,Gosub(outer,1(a,b))\nexten => outer,1,Gosub(inner,1(x))\nsame => n,NoOp(back ${ARG1} ${ARG2})\n"
        "same => n,Return()\nexten => inner,1,NoOp(in ${ARG1} <${ARG2}>)\nsame => n,Return()\n"
    )
    assert [line for line in ran(text) if line.startswith("NoOp")] == ["NoOp(in x <>)", "NoOp(back a b)"]


def test_gosub_of_a_label_and_of_a_priority_of_the_same_extension() -> None:
    text = "exten => 100,1,Gosub(sub)\nsame => n,Gosub(4)\nsame => n,Hangup\nsame => n(sub),Return()\n"
    assert positions(text) == ["100,1", "100,4", "100,2", "100,4", "100,3"]


def test_gosubif_chooses_a_routine() -> None:
    text = "exten => 100,1,GosubIf(1?sub,s,1(yes:sir):sub,s,1(no))\nsame => n,GosubIf(0?sub,s,1(x))\n" + ROUTINE
    assert ran(text)[1:] == ["NoOp(<yes:sir> <> 1)", "Return(yes:sir!)", "GosubIf(0?sub,s,1(x))"]


def test_return_without_gosub_ends_the_call() -> None:
    call = Call("[phones]\nexten => 100,1,Return()\n")
    assert call.begin() == HangUp(41)


def test_stackpop_forgets_where_to_return_to() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Gosub(sub)\nsame => n,Wait(9)\nsame => n(sub),StackPop()\nsame => n,Wait(1)\n"
    )
    assert call.begin() == Pause(1.0)
    assert call.execution.frames == ()


def test_gosub_without_end_ends() -> None:
    call = Call("[phones]\nexten => 100,1(again),Gosub(again)\n")
    assert call.begin() == HangUp(41)
    assert "128 levels deep" in call.logged[-1]


# --- While


def test_while_repeats_until_its_condition_is_false() -> None:
    text = (
        "exten => 100,1,Set(I=0)\nsame => n,While($[${I} < 3])\nsame => n,Set(I=$[${I} + 1])\nsame => n,EndWhile\n"
        "same => n,NoOp(${I})\n"
    )
    assert ran(text)[-1] == "NoOp(3)"


def test_loops_in_loops_can_be_left_and_begun_anew() -> None:
    text = (
        "exten => 100,1,Set(I=0)\nsame => n,While(1)\nsame => n,Set(I=$[${I} + 1])\nsame => n,While(0)\n"
        "same => n,EndWhile()\n"
        "same => n,ExecIf($[${I} < 3]?ContinueWhile())\nsame => n,ExitWhile()\nsame => n,EndWhile()\n"
        "same => n,NoOp(${I})\n"
    )
    assert ran(text)[-1] == "NoOp(3)"


def test_a_while_without_its_end_ends_the_call() -> None:
    assert Call("[phones]\nexten => 100,1,While(0)\n").begin() == HangUp(41)
    assert Call("[phones]\nexten => 100,1,EndWhile()\n").begin() == HangUp(41)


# --- Set and the rest


def test_set_keeps_the_value_as_it_is_written() -> None:
    call = Call('[phones]\nexten => 100,1,Set(X= "a, b" = c )\nsame => n,Set( Y =1)\n')
    call.begin()
    assert (call["X"], call["Y"]) == (' "a, b" = c ', "1")


def test_inherited_variables_are_read_without_their_underscores() -> None:
    call = Call("[phones]\nexten => 100,1,Set(_A=1)\nsame => n,Set(__B=2)\nsame => n,Set(X=${A}${B})\n")
    call.begin()
    assert call["X"] == "12"
    assert call.execution.facts["inherit.A"] == "_"
    assert call.execution.facts["inherit.B"] == "__"


def test_set_of_a_function_that_is_only_known_now_is_checked_now() -> None:
    call = Call("[phones]\nexten => 100,1,Set(${F}(x)=1)\n", variables={"F": "LEN"})
    call.begin()
    assert "LEN(x) cannot be set" in call.logged[0]


@pytest.mark.parametrize(
    ("application", "value", "said"),
    [
        ("Set(${V})", "novalue", "Set takes name=value"),
        ("Set(${V}=1)", "__", "'__' is not the name of a variable"),
        ("Set(LOCAL(${V})=1)", "x", "outside of a Gosub routine"),
        ("Set(CALLERID(${V})=1)", "shoe", "CALLERID(shoe) cannot be set"),
        ("Set(CHANNEL(${V})=1)", "name", "CHANNEL(name) cannot be set"),
        ("Set(TIMEOUT(digit)=${V})", "long", "TIMEOUT(digit) cannot be set to 'long'"),
        ("Set(DB(${V})=1)", "family", "DB takes family/key"),
        ("NoOp(${MATH(1+1,${V})})", "octal", "MATH's type is"),
        ("NoOp(${CALLERID(${V})})", "shoe", "CALLERID has no 'shoe'"),
        ("NoOp(${TIMEOUT(${V})})", "shoe", "TIMEOUT has no 'shoe'"),
        ("GotoIfTime(${V}?1)", "9-17", "'9' is not a time"),
        ("ExecIf(1?${V})", "Wait(", "ExecIf cannot run 'Wait('"),
    ],
)
def test_what_is_only_found_while_running_is_a_warning_with_its_place(application: str, value: str, said: str) -> None:
    call = Call(f"[phones]\nexten => 100,1,{application}\nsame => n,Wait(1)\n", variables={"V": value})
    assert call.begin() == Pause(1.0)
    assert said in call.logged[0]
    assert call.logged[0].startswith("phones,100,1 (extensions.conf:2): ")


@pytest.mark.parametrize("application", ["Goto(${V})", "Gosub(${V})"])
def test_a_target_that_leads_nowhere_ends_the_call(application: str) -> None:
    call = Call(f"[phones]\nexten => 100,1,{application}\n", variables={"V": "a,b,c,d"})
    assert call.begin() == HangUp(41)
    assert "is not [[context,]exten,]priority" in call.logged[0]


def test_a_call_has_a_bounded_number_of_variables() -> None:
    call = Call(
        "[phones]\nexten => 100,1(a),Set(I=$[${I} + 1])\nsame => n,Set(V${I}=x)\nsame => n,GotoIf($[${I} < 2500]?a)\n"
    )
    call.begin()
    assert len(call.execution.variables) == 2000
    assert any("at most 2000 variables" in line for line in call.logged)


def test_variables_given_at_the_start_are_there() -> None:
    assert ran("exten => 100,1,NoOp(${X})\n", variables={"X": "given"}) == ["NoOp(given)"]


def test_verbose_and_log_write_lines() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Verbose(hello, world)\nsame => n,Verbose(3,level, three)\n"
        "same => n,Log(WARNING,careful)\nsame => n,Log(NOTICE,well)\nsame => n,NoOp(nothing)\n"
    )
    call.begin()
    assert [(e.level, e.text) for e in call.effects if isinstance(e, Log)] == [
        ("info", "hello, world"),
        ("info", "level, three"),
        ("warning", "careful"),
        ("info", "well"),
    ]


def test_execif_runs_one_of_two_applications() -> None:
    text = (
        "exten => 100,1,ExecIf(1?Set(X=a:b):Set(X=c))\nsame => n,ExecIf(0?Set(Y=1):Set(Y=2))\n"
        "same => n,ExecIf(0?Set(Z=1))\n"
    )
    call = Call(f"[phones]\n{text}")
    call.begin()
    assert (call["X"], call["Y"], call["Z"]) == ("a:b", "2", "")


def test_execif_can_run_what_has_to_be_waited_for_and_what_jumps() -> None:
    call = Call(
        "[phones]\nexten => 100,1,ExecIf(1?Wait(3))\nsame => n,ExecIf(1?Goto(end))\nsame => n,Wait(9)\n"
        "same => n(end),Wait(1)\n"
    )
    assert call.begin() == Pause(3.0)
    assert call.give(Elapsed()) == Pause(1.0)


def test_execif_of_an_application_that_does_not_exist_is_a_warning() -> None:
    call = Call("[phones]\nexten => 100,1,ExecIf(1?${APP}(x))\nsame => n,Wait(1)\n", variables={"APP": "Nope"})
    assert call.begin() == Pause(1.0)
    assert "ExecIf cannot run" in call.logged[0]
