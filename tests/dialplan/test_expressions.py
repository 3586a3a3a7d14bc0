"""`$[ ]`: golden vectors, and that nothing ever raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialplan import expressions


class Outside:
    """Functions for the expressions of the tests, and a place for their warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def call(self, name: str, arguments: str) -> str | None:
        return {"LEN": str(len(arguments)), "WORD": "word"}.get(name)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def value(text: str) -> str:
    return expressions.evaluate(text, Outside())


NUMBERS = [
    ("1 + 1", "2"),
    ("1+1", "2"),
    ("7 - 10", "-3"),
    ("-3 - -4", "1"),
    ("- - 3", "3"),
    ("2 + 3 * 4", "14"),
    ("(2 + 3) * 4", "20"),
    ("20 / 8", "2.5"),
    ("20 / 5 / 2", "2"),
    ("1 / 3", "0.333333333333333333"),
    ("2 / 3", "0.666666666666666667"),
    ("17 % 5", "2"),
    ("-17 % 5", "-2"),
    ("5.5 % 2", "1.5"),
    ("0.1 + 0.2", "0.3"),
    ("0.00001 * 1", "1e-05"),
    ("0.0001 * 1", "0.0001"),
    ("1000000000 * 1000000000", "1e+18"),
    ("999999999 * 999999999", "999999998000000001"),
    ("007 + 0", "7"),
    ("007", "007"),
    ("1.50", "1.50"),
    ("1.50 + 0", "1.5"),
    ("10 / 0", "2147483647"),
    ("10 % 0", "0"),
    ("0 * -1", "0"),
]

LOGIC = [
    ("1 | 2", "1"),
    ("0 | 2", "2"),
    ("0 || 0", "0"),
    ("3 & 4", "3"),
    ("3 && 0", "0"),
    ("0 & 1", "0"),
    ("0.0 | x", "x"),
    ('"" | x', '""'),
    ("!0", "1"),
    ("!5", "0"),
    ("!!5", "1"),
    ("!abc", "1"),
    ("!4abc", "0"),
    ("3 < 4 & 4 < 5", "1"),
    ("3 < 4 & 5 < 4", "0"),
    ("1 | 0 & 0", "1"),
    ("!1 | 1", "1"),
]

COMPARISONS = [
    ("3 = 3.0", "1"),
    ("3 == 3", "1"),
    ("03 = 3", "1"),
    ("3 != 4", "1"),
    ("10 > 9", "1"),
    ("10 > 9a", "0"),
    ("abc < abd", "1"),
    ("abc = abc", "1"),
    ("abc = ABC", "0"),
    ('"abc" = abc', "0"),
    ('"abc" = "abc"', "1"),
    ('"10" = 10', "0"),
    ('"10" = "10.0"', "0"),
    ('"" = ""', "1"),
    ("3 >= 3", "1"),
    ("2 <= 1", "0"),
    ("1 + 1 = 2", "1"),
    ("1 = 1 = 1", "1"),
    ("3 > 2 > 1", "0"),
]

STRINGS = [
    ("abc", "abc"),
    ('"two words"', '"two words"'),
    ("", ""),
    ("   ", ""),
    ("ab ~~ cd", "abcd"),
    ('"a b" ~~ "c"', "a bc"),
    ("1 ~~ 2 + 1", "13"),
    ("abc + 1", "1"),
    ("1 + abc", "1"),
    ("abc * 2", "0"),
    ("abc / 2", "0"),
    ("2 / abc", "2147483647"),
    ("-abc", "0"),
    ("{7}", "7"),
    ("grüße = grüße", "1"),
]

MATCHES = [
    ('"5551234" : "555"', "3"),
    ('"5551234" : "123"', "0"),
    ('"5551234" : "555(....)"', "1234"),
    ('"5551234" : "(9.)"', ""),
    ('"5551234" =~ "123"', "3"),
    ('"5551234" =~ "1(.)3"', "2"),
    ('"5551234" =~ "(1.)9"', ""),
    ('"5551234" =~ "9"', "0"),
    ("5551234 : 555", "3"),
    ('"+4930" =~ "^\\+49"', "3"),
    ('"a.b" : "a\\.b"', "3"),
    ('"abc" : "("', ""),
    ('! "abc" =~ "b"', "0"),
    ('2 + "abc" : "ab"', "4"),
    ('"2001:db8::1" =~ "^[0-9a-f:]+$"', "11"),
    ('"call 042" =~ "([0-9]+)" + 1', "43"),
]

CONDITIONALS = [
    ("1 ? yes :: no", "yes"),
    ("0 ? yes :: no", "no"),
    ('"" ? yes :: no', "no"),
    ("abc ? yes :: no", "yes"),
    ("3 > 2 ? 10 + 1 :: 5", "11"),
    ("1 ? 0 ? a :: b :: c", "b"),
    ("0 ? a :: 0 ? b :: c", "c"),
    ("1 ? 2 :: 3 | 4", "2"),
]

FUNCTIONS = [
    ("FLOOR(-2.5)", "-3"),
    ("CEIL(2.1)", "3"),
    ("ROUND(2.5)", "3"),
    ("ROUND(-2.5)", "-3"),
    ("RINT(2.5)", "2"),
    ("TRUNC(-3.7)", "-3"),
    ("TRUNC(7 / 2) * 2", "6"),
    ("ABS(-4)", "4"),
    ("SQRT(16)", "4"),
    ("POW(2,10)", "1024"),
    ("POW(10,5000)", "inf"),
    ("REMAINDER(5,3)", "-1"),
    ("COS(0)", "1"),
    ("LOG(0)", "nan"),
    ("LEN(abcd) + 1", "5"),
    ("LEN(a,b)", "3"),
    ("WORD(x) = word", "1"),
    ("FLOOR(1,2)", "0"),
    ("NOBODY(1)", "0"),
]

ERRORS = ["1 +", "+ 1", "1 2", "(1", "1)", "1 ? 2", "1 , 2", "* 3", "LEN(1", "a b", "1 ? 2 : 3"]


@pytest.mark.parametrize(
    ("text", "expected"), [*NUMBERS, *LOGIC, *COMPARISONS, *STRINGS, *MATCHES, *CONDITIONALS, *FUNCTIONS]
)
def test_an_expression_has_its_value(text: str, expected: str) -> None:
    assert value(text) == expected


@pytest.mark.parametrize("text", ERRORS)
def test_a_syntax_error_is_zero_and_a_warning(text: str) -> None:
    outside = Outside()
    assert expressions.evaluate(text, outside) == "0"
    assert len(outside.warnings) == 1
    assert expressions.check(text)


def test_what_is_no_number_is_named_in_the_warning() -> None:
    outside = Outside()
    expressions.evaluate("abc + 1", outside)
    assert outside.warnings == ["'abc' is not a number"]


def test_digits_of_other_scripts_are_no_numbers() -> None:
    assert value("٧ + 1") == "1"


def test_a_deep_or_long_expression_is_refused_and_not_run() -> None:
    outside = Outside()
    assert expressions.evaluate("(" * 5000 + "1", outside) == "0"
    assert expressions.evaluate("!" * 5000 + "1", outside) == "0"
    assert expressions.evaluate("1 + " * 5000 + "1", outside) == "0"
    assert len(outside.warnings) == 3


@given(st.text('0123456789.ab"!&|=<>+-*/%?:~(), $', max_size=40))
def test_any_expression_has_a_value(text: str) -> None:
    assert isinstance(value(text), str)


@given(st.text(max_size=60))
def test_any_text_at_all_has_a_value(text: str) -> None:
    assert isinstance(value(text), str)


@given(st.integers(-(10**8), 10**8), st.integers(-(10**8), 10**8))
def test_whole_numbers_are_computed_exactly(a: int, b: int) -> None:
    assert value(f"{a} + {b}") == str(a + b)
    assert value(f"{a} * {b}") == str(a * b)
    assert value(f"{a} < {b}") == str(int(a < b))
