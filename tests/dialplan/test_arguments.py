"""Where argument lists are cut, what is true, and what is a number."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialplan import numbers
from services.dialplan.arguments import branches, call_parts, is_true, options_of, split, split_raw


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a,,b,", ["a", "", "b", ""]),
        ('"a,b",c', ["a,b", "c"]),
        ("f(a,b),c", ["f(a,b)", "c"]),
        ("[a,b],c", ["[a,b]", "c"]),
        ("a\\,b,c", ["a,b", "c"]),
        ('say \\"hi\\",x', ['say "hi"', "x"]),
        ("a),b", ["a)", "b"]),
        ("a(b,c", ["a(b,c"]),
        (" a , b ", [" a ", " b "]),
    ],
)
def test_arguments_are_cut_at_commas_outside_quotes_and_parentheses(text: str, parts: list[str]) -> None:
    assert split(text) == parts


def test_arguments_may_be_kept_as_written() -> None:
    assert split('"a,b",c\\,d', as_written=True) == ['"a,b"', "c\\,d"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("${A,B},c", ["${A,B}", "c"]),
        ("$[ 1 , 2 ],c", ["$[ 1 , 2 ]", "c"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("a\\,b,c", ["a\\,b", "c"]),
        ("${A,c", ["${A,c"]),
        ("f(a,b),c", ["f(a,b)", "c"]),
    ],
)
def test_arguments_still_to_be_filled_in_are_cut_outside_substitutions(text: str, parts: list[str]) -> None:
    assert split_raw(text) == parts


def test_only_so_many_cuts_are_made() -> None:
    assert split_raw("a?b?c", "?", limit=1) == ["a", "b?c"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("rm", [("r", ""), ("m", "")]),
        ("m(jazz)g", [("m", "jazz"), ("g", "")]),
        ("G(a(b))r", [("G", "a(b)"), ("r", "")]),
        ("m(open", [("m", "open")]),
        (" r g ", [("r", ""), ("g", "")]),
    ],
)
def test_options_are_letters_with_arguments(text: str, found: list[tuple[str, str]]) -> None:
    assert options_of(text) == found


def test_a_call_is_a_name_and_what_stands_between_its_first_and_last_parenthesis() -> None:
    assert call_parts(" NoOp ( a) b) ignored") == ("NoOp", " a) b")
    assert call_parts("Answer") == ("Answer", "")
    assert call_parts("NoOp(a") is None


@pytest.mark.parametrize("text", ["1", "01", "10", "abc", "-1", " ", "1x"])
def test_true(text: str) -> None:
    assert is_true(text)


@pytest.mark.parametrize("text", ["", "0", "000", "0x", "0.5"])
def test_false(text: str) -> None:
    assert not is_true(text)


def test_branches_are_cut_at_the_first_question_mark_and_the_first_colon() -> None:
    assert branches(" 1 ? a : b:c ") == ("1", "a", "b:c")
    assert branches("1") == ("1", "", "")


@given(st.text(max_size=30))
def test_cutting_loses_nothing(text: str) -> None:
    assert ",".join(split_raw(text)) == text
    assert ",".join(split(text, as_written=True)) == text


@pytest.mark.parametrize("text", ["٧", "+", "1_0", "1.", "--1", "", "1 2", "0x10", "1" * 19])
def test_what_only_python_takes_for_a_whole_number_is_none(text: str) -> None:
    assert numbers.whole(text) is None


def test_whole_numbers_and_seconds() -> None:
    assert (numbers.whole(" -5 "), numbers.whole("+7"), numbers.whole("007")) == (-5, 7, 7)
    assert (numbers.seconds("1.5"), numbers.seconds(".5"), numbers.seconds("2")) == (1.5, 0.5, 2.0)
    assert (numbers.seconds("-1"), numbers.seconds("1e3"), numbers.seconds("inf"), numbers.seconds("")) == (None,) * 4
    assert (numbers.leading_int("12abc"), numbers.leading_int("-3x"), numbers.leading_int("abc")) == (12, -3, 0)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("100", "100"),
        ("1.50", "1.5"),
        ("-2.25", "-2.25"),
        ("1E+17", "100000000000000000"),
        ("1E+18", "1e+18"),
        ("-12345E+20", "-1.2345e+24"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("Infinity", "inf"),
        ("-Infinity", "-inf"),
        ("NaN", "nan"),
    ],
)
def test_numbers_are_printed_as_c_prints_them(number: str, text: str) -> None:
    assert numbers.printed(Decimal(number)) == text


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_printed_numbers_agree_with_c(value: float) -> None:
    theirs = f"{Decimal(value):.18g}" if value else "0"
    assert float(numbers.printed(Decimal(value))) == pytest.approx(float(theirs), rel=1e-17)
