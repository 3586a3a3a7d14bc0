"""Extension patterns: what they match, and which of two comes first."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialplan.patterns import More, PatternError, compile_pattern

MEASURED_ORDER = [
    "_640X",
    "_64NX",
    "_64XX",
    "_6[34]NX",
    "_6[45]NX",
    "_6XX1",
    "_6XXX",
    "_6.",
    "_6!",
    "_[0-6]XXX",
]
"""As `dialplan show` of Asterisk prints them."""

pattern_texts = st.text("0123456789XZNxzn*#[]-.!\\ a", max_size=12).map(lambda text: "_" + text)


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        ("_NXX", ["200", "999"], ["100", "20", "2000", "2a0", ""]),
        ("_Z", ["1", "9"], ["0"]),
        ("_x", ["0", "9"], ["a"]),
        ("_1[35-7]", ["13", "15", "16", "17"], ["14", "1"]),
        ("_1[X]", ["1X"], ["15"]),
        ("_[a-c]1", ["a1", "c1"], ["d1"]),
        ("_[\\]\\-]", ["]"], ["\\"]),
        ("_0.", ["01", "0anything"], ["0", "1"]),
        ("_0!", ["0", "01"], ["1", ""]),
        ("_.", ["1", "abc"], [""]),
        ("_!", ["", "abc"], []),
        ("_1-800-NXX", ["1800200"], ["1-800-200"]),
        ("_+49X.", ["+4930"], ["+49", "004930"]),
        ("_*7X", ["*71"], ["#71"]),
    ],
)
def test_a_pattern_takes_what_its_positions_allow(pattern: str, taken: list[str], refused: list[str]) -> None:
    compiled = compile_pattern(pattern)
    assert [text for text in taken if not compiled.matches(text)] == []
    assert [text for text in refused if compiled.matches(text)] == []


def test_patterns_sort_as_asterisk_was_measured_to_sort_them() -> None:
    for shuffled in (sorted(MEASURED_ORDER), sorted(MEASURED_ORDER, reverse=True)):
        ranked = sorted((compile_pattern(text) for text in shuffled), key=lambda pattern: pattern.rank)
        assert [pattern.text for pattern in ranked] == MEASURED_ORDER


def test_the_documented_example_sorts_as_documented() -> None:
    texts = ["_6XX1", "_64XX", "_640X", "_6.", "_64NX", "_6[45]NX", "_6[34]NX"]
    ranked = sorted((compile_pattern(text) for text in texts), key=lambda pattern: pattern.rank)
    assert [p.text for p in ranked] == ["_640X", "_64NX", "_64XX", "_6[34]NX", "_6[45]NX", "_6XX1", "_6."]


@pytest.mark.parametrize(
    ("pattern", "digits", "more"),
    [
        ("_1XX", "", More.POSSIBLE),
        ("_1XX", "12", More.POSSIBLE),
        ("_1XX", "123", More.IMPOSSIBLE),
        ("_1XX", "2", More.IMPOSSIBLE),
        ("_1.", "1", More.POSSIBLE),
        ("_1.", "1234", More.POSSIBLE),
        ("_1!", "1", More.EARLY),
        ("_12!", "1", More.POSSIBLE),
    ],
)
def test_more_digits_are_waited_for_as_long_as_they_could_match(pattern: str, digits: str, more: More) -> None:
    assert compile_pattern(pattern).more(digits) is more


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("_", "is empty"),
        ("_1[23", "has a [ without a ]"),
        ("_1]", "has a ] without a ["),
        ("_1[]", "has an empty set"),
        ("_[9-1]", "runs backwards"),
        ("_1.5", "nothing after . is ever looked at"),
        ("_1!.", "nothing after ! is ever looked at"),
        ("_[!-\uffff]", "too large"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused_with_a_reason(pattern: str, message: str) -> None:
    with pytest.raises(PatternError, match=r"\w") as caught:
        compile_pattern(pattern)
    assert message in str(caught.value)


@given(pattern_texts, st.text("0123456789*#a", max_size=6))
def test_any_text_is_a_pattern_or_a_pattern_error(text: str, digits: str) -> None:
    try:
        pattern = compile_pattern(text)
    except PatternError:
        return
    if pattern.matches(digits + "1"):
        assert pattern.more(digits) is not More.IMPOSSIBLE or pattern.wildcard == "!"


@given(st.lists(pattern_texts, max_size=6))
def test_the_order_of_patterns_is_total(texts: list[str]) -> None:
    patterns = []
    for text in set(texts):
        try:
            patterns.append(compile_pattern(text))
        except PatternError:
            continue
    backwards = patterns[::-1]
    ranked = sorted(patterns, key=lambda pattern: pattern.rank)
    assert ranked == sorted(backwards, key=lambda pattern: pattern.rank)
    for first, second in itertools.pairwise(ranked):
        assert first.rank < second.rank
