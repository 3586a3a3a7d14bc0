"""From extensions.conf to a program: what is taken, and what is complained about, with file and line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.config.conf import Entry, Section
from services.core.config.problems import ConfigError
from services.dialplan import DialplanErrors, compile_program, load
from tests.dialplan.harness import Call, compiled, complaints, warnings


def positions(text: str, context: str = "phones") -> list[str]:
    """`100,1(label) App(arguments)` of everything in a context."""
    return [
        f"{e.text},{s.priority}{f'({s.label})' if s.label else ''} {s.app}({s.arguments})"
        for e in compiled(text).contexts[context].extensions
        for s in e.statements.values()
    ]


def test_priorities_are_numbers_n_labels_and_steps() -> None:
    text = (
        "[phones]\nexten => 100,1,Answer\n same => n,NoOp(two)\n same => n(here),NoOp(three)\n"
        "exten => 100,n+2,NoOp(six)\n same => n+2(there),NoOp(nine)\n same => s+3,NoOp(twelve)\n"
        " same => 20(far),NoOp(twenty)\n same => next,Goto(far)\n"
    )
    assert positions(text) == [
        "100,1 Answer()",
        "100,2 NoOp(two)",
        "100,3(here) NoOp(three)",
        "100,6 NoOp(six)",
        "100,9(there) NoOp(nine)",
        "100,12 NoOp(twelve)",
        "100,20(far) NoOp(twenty)",
        "100,21 Goto(far)",
    ]


def test_n_counts_in_its_own_extension_even_when_lines_are_mixed() -> None:
    text = "[phones]\nexten => 1,1,NoOp()\nexten => 1,2,NoOp()\nexten => 2,1,NoOp()\nexten => 1,n,NoOp()\n"
    assert positions(text) == ["1,1 NoOp()", "1,2 NoOp()", "1,3 NoOp()", "2,1 NoOp()"]


def test_applications_are_found_in_any_case_and_arguments_kept_as_written() -> None:
    text = '[phones]\nexten => 1,1,NOOP( a, (b) "c" )\nexten => 2,1,hangup\nexten => 3,1,Set(A=x)y)\n'
    assert positions(text) == ['1,1 NoOp( a, (b) "c" )', "2,1 Hangup()", "3,1 Set(A=x)y)"]


def test_a_context_may_be_opened_again() -> None:
    text = "[phones]\nexten => 1,1,NoOp(a)\n[other]\nexten => 1,1,NoOp()\n[phones]\nexten => 1,n,NoOp(b)\n"
    assert positions(text) == ["1,1 NoOp(a)", "1,2 NoOp(b)"]


def test_templates_give_their_lines() -> None:
    text = "[base](!)\nexten => 1,1,NoOp(base)\n[phones](base)\nexten => 2,1,NoOp(own)\n"
    assert positions(text) == ["1,1 NoOp(base)", "2,1 NoOp(own)"]


def test_global_variables_are_filled_in_where_the_file_is_read() -> None:
    text = "[globals]\nNUMBER=4711\nTRUNK=SIP/${NUMBER}\n[phones]\nexten => ${NUMBER},1,Dial(${TRUNK})\n"
    assert positions(text) == ["4711,1 Dial(${TRUNK})"]
    assert compiled(text).globals == {"NUMBER": "4711", "TRUNK": "SIP/4711"}


def test_a_set_may_hold_commas_and_slashes() -> None:
    assert positions("[phones]\nexten => _1[,/-9]X,1,NoOp()\n") == ["_1[,/-9]X,1 NoOp()"]


def test_a_file_that_is_included_keeps_its_own_name_and_lines(tmp_path: Path) -> None:
    (tmp_path / "extensions.conf").write_text('[phones]\n#include "more.conf"\nexten => 1,1,Nonsense()\n')
    (tmp_path / "more.conf").write_text("\nexten => 2,1,Rubbish()\n")
    with pytest.raises(DialplanErrors) as caught:
        load(tmp_path / "extensions.conf")
    assert [(p.file, p.line) for p in caught.value.problems] == [("extensions.conf", 3), ("more.conf", 2)]


def test_a_file_that_is_not_there_is_an_error_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(DialplanErrors, match=r"extensions\.conf: cannot be read"):
        load(tmp_path / "extensions.conf")


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
    found = complaints(
        "[phones]\n"
        "exten => 1,1,Nonsense(x)\n"
        "exten => 1,zwei,NoOp()\n"
        "exten => 2,1,NoOp(${X)\n"
        "exten => 3,1,NoOp(${NOFUNC(x)})\n"
        "exten => 4,1,Goto(nowhere,s,1)\n"
        "exten => _5[,1,NoOp()\n"
        "include => gone\n"
        "exten => 6,1,NoOp(\n"
        "colour = red\n"
    )
    assert [problem.line for problem in found] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert all(problem.file == "extensions.conf" for problem in found)


ONE_ERROR = [
    ("exten => 1,1,Dail(SIP/a)", "the application Dail is not supported (did you mean Dial)"),
    ("exten => 1,1,VoiceMail(1)", "the application VoiceMail is not supported"),
    ("exten => 1,1", "there is no application after the priority"),
    ("exten => 1", "an extension needs a priority"),
    ("exten => ,1,NoOp()", "the extension has no name"),
    ("exten => 1,n,NoOp()", "the first priority of 1 is n (begin with 1)"),
    ("exten => 1,0,NoOp()", "'0' is not a priority"),
    ("exten => 1,-1,NoOp()", "is not a priority"),
    ("exten => 1,٣,NoOp()", "is not a priority"),
    ("exten => 1,1(,NoOp()", "has a ( without a label"),
    ("exten => 1,1+x,NoOp()", "is not a priority"),
    ("exten => 1,1,NoOp(", "has no closing )"),
    ("same => n,NoOp()", "same => without an exten => above it"),
    ("switch => Realtime", "switch is not supported"),
    ("extn => 1,1,NoOp()", "extn is not a line of a context (did you mean exten =>)"),
    ("include => ", "include => names no context"),
    ("include => phones,25:00-26:00", "there is no time 25:00"),
    ("include => fones", "there is no context fones (did you mean phones)"),
    ("exten => _1[X,1,NoOp()", "an extension needs a priority"),
    ("exten => 1/_[,1,NoOp()", "an extension needs a priority"),
    ("exten => _1],1,NoOp()", "has a ] without a ["),
    ("exten => 1,1,NoOp(${A)", "without its }"),
    ("exten => 1,1,NoOp($[1 + 1)", "without its ]"),
    ("exten => 1,1,NoOp($[1 +])", "the expression $[1 +] is wrong"),
    ("exten => 1,1,NoOp(${LENGTH(a)})", "the function LENGTH is not supported (did you mean LEN)"),
    ("exten => 1,1,NoOp(${len(a)})", "the function len is not supported (did you mean LEN)"),
    ("exten => 1,1,NoOp(${IF(${NOPE(a)}?b:c)})", "the function NOPE is not supported"),
    ("exten => 1,1,NoOp(${CALLERID(nmu)})", "CALLERID has no 'nmu'"),
    ("exten => 1,1,NoOp(${CHANNEL(weather)})", "CHANNEL has no 'weather'"),
    ("exten => 1,1,Set(TIMEOUT(absolute)=5)", "TIMEOUT has no 'absolute'"),
    ("exten => 1,1,Set(LEN(x)=5)", "the function LEN can only be read"),
    ("exten => 1,1,Set(NOPE(x)=5)", "the function NOPE is not supported"),
    ("exten => 1,1,Set(X)", "Set takes name=value"),
    ("exten => 1,1,Goto(2)", "there is no priority 2 of 1 in phones"),
    ("exten => 1,1,Goto(again)", "there is no label again of 1 in phones"),
    ("exten => 1,1(again),Goto(agian)", "there is no label agian of 1 in phones (did you mean again)"),
    ("exten => 1,1,Goto(2,1)", "there is no extension 2 in phones"),
    ("exten => 1,1,Goto(fones,1,1)", "there is no context fones (did you mean phones)"),
    ("exten => 1,1,Goto(a,b,c,d)", "is not [[context,]exten,]priority"),
    ("exten => 1,1,Goto()", "Goto needs a target"),
    ("exten => 1,1,GotoIf(${X}?2:1)", "there is no priority 2 of 1 in phones"),
    ("exten => 1,1,GotoIf(x)", "a condition, ? and a target are expected"),
    ("exten => 1,1,GotoIfTime(9-17?1)", "is not a time such as 17:30"),
    ("exten => 1,1,Gosub(sub,s,1(a,b))", "there is no context sub"),
    ("exten => 1,1,Gosub()", "Gosub needs a routine"),
    ("exten => 1,1,GosubIf(1?gone)", "there is no label gone of 1 in phones"),
    ("exten => 1,1,ExecIf(1?Nope(x):NoOp())", "the application Nope is not supported"),
    ("exten => 1,1,ExecIf(1?Goto(gone):NoOp())", "there is no label gone of 1 in phones"),
    ("exten => 1,1,ExecIf(1)", "ExecIf takes condition"),
    ("exten => 1,1,ExecIf(1?NoOp(:)", "has no closing )"),
    ("exten => 1,1,Goto(1,)", "the target has no priority"),
    ("exten => 1,1,GosubIf(x)", "a condition, ? and a routine are expected"),
    ("exten => x${LEN(a)},1,NoOp()", "the function LEN needs a call"),
    ("exten => ${A,1,NoOp()", "an extension needs a priority"),
    ("exten => x${},1,NoOp()", "${} names nothing"),
    ("exten => 1,1,Dial()", "Dial needs somebody to ring"),
    ("exten => 1,1,Dial(bob)", "'bob' is not somebody Dial can ring"),
    ("exten => 1,1,Dial(SIP/a,soon)", "'soon' is not a number of seconds"),
    ("exten => 1,1,Dial(SIP/a,20,G(x))", "Dial's option G is not supported"),
    ("exten => 1,1,Dial(SIP/a,20,L(60000))", "Dial's option L is not supported"),
    ("exten => 1,1,Wait(a while)", "'a while' is not a number of seconds"),
    ("exten => 1,1,Wait()", "'' is not a number of seconds"),
    ("exten => 1,1,WaitExten(x)", "'x' is not a number of seconds"),
    ("exten => 1,1,Busy(x)", "'x' is not a number of seconds"),
    ("exten => 1,1,Hangup(SOMETHING)", "Hangup knows no cause 'SOMETHING'"),
    ("exten => 1,1,Playback()", "a sound file is expected"),
    ("exten => 1,1,Background(,m)", "a sound file is expected"),
    ("exten => 1,1,Read(,prompt)", "Read needs the name of a variable"),
    ("exten => 1,1,Read(X,,many)", "'many' is not a number of digits"),
    ("exten => 1,1,Read(X,,4,,,x)", "'x' is not a number of seconds"),
    ("exten => 1,1,MusicOnHold(,x)", "'x' is not a number of seconds"),
]


@pytest.mark.parametrize(("line", "message"), ONE_ERROR)
def test_a_line_that_cannot_work_is_an_error(line: str, message: str) -> None:
    found = complaints(f"[phones]\n{line}\n")
    assert len(found) == 1, found
    assert message in str(found[0])
    assert found[0].line == 2


def test_a_priority_or_label_that_is_there_already_names_the_other_line() -> None:
    found = complaints("[phones]\nexten => 1,1(a),NoOp()\nexten => 1,1,NoOp()\nexten => 1,2(a),NoOp()\n")
    assert [str(problem) for problem in found] == [
        "extensions.conf:3: 1 has a priority 1 already, at extensions.conf:2 (number the priorities with n)",
        "extensions.conf:4: 1 has a label a already, at extensions.conf:2 (rename one of them)",
    ]


ONE_WARNING = [
    ("exten => 1,hint,SIP/alice", "the hint of 1 is ignored"),
    ("ignorepat => 9", "ignorepat is ignored"),
    ("include => phones\ninclude => phones", "phones is included already"),
    ("exten => 1,1,Dial(SIP/a,20,t)", "Dial's option t is ignored"),
    ("exten => 1,1,Dial(DAHDI/1)", "nobody is ever reached by DAHDI/"),
    ("exten => 1,1,Playback(x,say)", "Playback's option say is ignored"),
    ("exten => 1,1,Background(x,p)", "Background's option p is not supported"),
    ("exten => 1,1,Read(X,,,i)", "Read's option i is not supported"),
    ("exten => 1,1,Read(X,,,s(1))", "Read's option s takes no argument"),
    ("exten => 1,1,NoOp() what", "'what' after the application is ignored"),
    ("exten => 1,1,NoOp()\nexten => 1,3,NoOp()", "priority 3 of 1 is never reached"),
    ("exten => 1,2,NoOp()", "priority 2 of 1 is never reached"),
    ("exten => _john,1,NoOp()", "the letter n stands for digits (write [n] for the letter itself)"),
    ("exten => _.,1,NoOp()", "_. matches whatever is dialled"),
]


@pytest.mark.parametrize(("line", "message"), ONE_WARNING)
def test_a_line_that_does_less_than_it_says_is_a_warning(line: str, message: str) -> None:
    found = warnings(f"[phones]\n{line}\n")
    assert len(found) == 1, found
    assert message in found[0]


def test_a_priority_that_a_jump_leads_to_is_no_gap() -> None:
    assert warnings("[phones]\nexten => 1,1,GotoIf(${X}?10)\nexten => 1,10,NoOp()\n") == []
    assert warnings("[phones]\nexten => 1,1,Goto(${X})\nexten => 1,10,NoOp()\n") == []


def test_targets_that_are_only_known_later_are_not_complained_about() -> None:
    text = (
        "[phones]\nexten => _1XX,1,Goto(${CONTEXT},${EXTEN},1)\nsame => n,GotoIf($[${X} = 1]?${WHERE}:other,${Y},1)\n"
        "same => n,Gosub(${SUB},s,1(${EXTEN}))\nsame => n,Goto(+1)\nsame => n(here),ExecIf(${X}?Goto(here):${APP}(x))\n"
        "same => n,Dial(${TARGETS},${TIMEOUT},${OPTIONS})\nsame => n,Hangup(${HANGUPCAUSE})\nsame => n,Wait(${X})\n"
        "same => n,Playback(${FILE},${OPTIONS})\nsame => n,Goto(other,${EXTEN},2)\nsame => n,Set(${NAME}=${X})\n"
        "[other]\nexten => _X,1,NoOp()\n"
    )
    assert warnings(text.replace("?${WHERE}:other,${Y},1", "?${WHERE}:${Y},1")) == []


def test_a_target_may_stand_in_an_included_context_or_match_a_pattern() -> None:
    text = (
        "[phones]\ninclude => more\nexten => 1,1,Goto(250,1)\nexten => 2,1,Goto(9,lab)\n[more]\n"
        "exten => _2XX,1,NoOp()\nexten => 9,1(lab),NoOp()\n"
    )
    assert warnings(text) == []


def test_a_literal_expression_that_is_right_is_taken() -> None:
    assert warnings("[phones]\nexten => 1,1,NoOp($[1 + LEN(abc)])\n") == []


def test_global_values_that_cannot_be_filled_in_are_errors() -> None:
    found = complaints("[globals]\nA=${B\nB=${LEN(x)}\nC=$[1 +]\n")
    assert [problem.line for problem in found] == [2, 3, 4]


def test_general_settings_of_asterisk_are_taken_or_mentioned() -> None:
    text = "[general]\nstatic=yes\nwriteprotect=no\nautofallthrough=no\nnonsense=1\n[phones]\nexten => 1,1,NoOp()\n"
    found = warnings(text)
    assert [warning.partition(":")[2].partition(":")[0] for warning in found] == ["4", "5"]


def test_the_errors_of_the_file_and_of_the_dialplan_come_together(tmp_path: Path) -> None:
    path = tmp_path / "extensions.conf"
    path.write_text("[phones]\nnot a setting\nexten => 1,1,Nonsense()\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_warnings_are_kept_beside_the_errors() -> None:
    with pytest.raises(DialplanErrors) as caught:
        compiled("[phones]\nexten => 1,hint,SIP/a\nexten => 1,1,Nonsense()\n")
    assert [warning.line for warning in caught.value.warnings] == [2]


def test_a_dialplan_that_is_empty_is_a_dialplan() -> None:
    assert compiled("").contexts == {}
    call = Call("", "100")
    call.begin()


lines = st.text('exten=>same,incluhtd 0123[]_X.!/()${}nN|+-*:"\\;', max_size=40)
values = st.text('0123456789_XNZ[]-.!/,()${}+n:?&="\\ abcDialGotoSet\n\u2028', max_size=40)


@given(st.lists(st.tuples(st.sampled_from(["exten", "same", "include", "x"]), values), max_size=8))
def test_any_lines_are_a_program_or_dialplan_errors(pairs: list[tuple[str, str]]) -> None:
    entries = tuple(Entry(key, value, "extensions.conf", n) for n, (key, value) in enumerate(pairs, start=1))
    try:
        program = compile_program([Section("phones", entries, "extensions.conf", 1)])
    except DialplanErrors as errors:
        assert all(0 < problem.line <= len(pairs) for problem in errors.problems)
        return
    assert type(program).from_bytes(program.to_bytes()).version == program.version


@settings(max_examples=50)
@given(st.one_of(st.binary(max_size=80), st.lists(lines, max_size=6).map(lambda many: "\n".join(many).encode())))
def test_any_file_is_a_program_or_dialplan_errors(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "extensions.conf")
        path.write_bytes(b"[phones]\n" + raw)
        try:
            load(path)
        except DialplanErrors as errors:
            assert errors.problems
