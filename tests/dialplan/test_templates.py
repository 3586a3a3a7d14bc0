"""`${...}` and `$[...]` in a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialplan.templates import MAX_TEXT, TemplateError, calls_of, compile_template
from tests.dialplan.harness import bare_run

VARIABLES = {"A": "one", "B": "A", "NUMBER": "98765", "i": "2", "ARG2": "second", "EMPTY": "", "EVIL": "x):1${A}"}


def filled(text: str) -> str:
    return compile_template(text).fill(bare_run(variables=VARIABLES))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("costs $5 and 10$", "costs $5 and 10$"),
        ("${A}", "one"),
        ("${A} and ${A}", "one and one"),
        ("${NOBODY}", ""),
        ("${EMPTY}", ""),
        ("${${B}}", "one"),
        ("${ARG${i}}", "second"),
        ("${EXTEN}@${CONTEXT}:${PRIORITY}", "100@phones:1"),
        ("${CHANNEL} ${UNIQUEID} ${EPOCH}", "SIP/alice-00000001 1717415100.1 1717415100"),
        ("${HANGUPCAUSE}", "0"),
        ("$[1 + ${LEN(${A})}]", "4"),
        ("$[${NUMBER} > 5 & $[2 * 2] = 4]", "1"),
        ("${CALLERID(num)}", "101"),
        ("${LEN(a,b)}", "3"),
        ("${IF($[ 1 = 1 ]?${A}:no)}", "one"),
    ],
)
def test_a_text_is_filled_in(text: str, expected: str) -> None:
    assert filled(text) == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (":0", "98765"),
        (":1", "8765"),
        (":1:3", "876"),
        (":0:3", "987"),
        (":-2", "65"),
        (":-9", "98765"),
        (":5", ""),
        (":9:1", ""),
        (":0:-1", "9876"),
        (":1:-1", "876"),
        (":0:-9", ""),
        (":-3:2", "76"),
        (":-3:-1", "76"),
        ("::2", "98"),
        (":x", "98765"),
        (":${i}", "765"),
        (":${i}:1", "7"),
    ],
)
def test_a_part_of_a_variable_is_taken_by_offset_and_length(part: str, expected: str) -> None:
    assert filled("${NUMBER" + part + "}") == expected


def test_a_part_of_a_functions_value_is_taken_too() -> None:
    assert filled("${CALLERID(name):0:2}") == "Al"
    assert filled("${FILTER(0-9,${NUMBER}):1:-1}") == "876"


def test_a_value_is_never_filled_in_again() -> None:
    assert filled("${EVIL}") == "x):1${A}"
    assert filled("${LEN(${EVIL})}") == str(len("x):1${A}"))


def test_a_value_cannot_end_the_arguments_of_a_function() -> None:
    run = bare_run(variables={"NAME": "x) or:0:1"})
    assert compile_template("${LEN(${NAME})}").fill(run) == "9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${A", "without its }"),
        ("a ${A:1 b", "without its }"),
        ("$[1 + ${A}", "without its ]"),
        ("${LEN(${A)}", "without its }"),
        ("${}", "names nothing"),
        ("${LEN(x}", "without a )"),
        ("${" * 60 + "A" + "}" * 60, "deep"),
    ],
)
def test_a_text_without_an_end_is_refused(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=r"\w") as caught:
        compile_template(text)
    assert message in str(caught.value)


def test_an_unknown_function_that_is_only_found_while_running_is_a_warning() -> None:
    run = bare_run(variables={"F": "NOSUCH"})
    assert compile_template("<${${F}(x)}>").fill(run) == "<>"
    assert "there is no function NOSUCH" in str(run.effects)


def test_a_text_that_grows_too_long_is_cut() -> None:
    run = bare_run(variables={"X": "x" * MAX_TEXT})
    assert len(compile_template("${X}${X}").fill(run)) == MAX_TEXT
    assert "is cut" in str(run.effects)


def test_the_functions_of_a_text_are_found_at_any_depth() -> None:
    template = compile_template("${IF($[${LEN(${DB(a/b)})} > 1]?x:y)} ${A${CALLERID(num)}}")
    assert [call.name for call in calls_of(template)] == ["IF", "LEN", "DB", "CALLERID"]


@given(st.text('${}[]()AB:,-1 a"?', max_size=30))
def test_any_text_is_a_template_or_a_template_error(text: str) -> None:
    try:
        template = compile_template(text)
    except TemplateError:
        return
    assert isinstance(template.fill(bare_run_once), str)


bare_run_once = bare_run(variables=VARIABLES)
