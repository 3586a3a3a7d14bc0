"""The regular expressions of the dialplan: POSIX, leftmost longest, and never slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialplan.regex import MAX_WORK, Match, RegexError, compile_regex


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", (1, 2)),
        ("^b", "abc", None),
        ("c$", "abc", (2, 3)),
        ("^$", "", (0, 0)),
        ("", "abc", (0, 0)),
        ("a*", "baaa", (0, 0)),
        ("a+", "baaa", (1, 4)),
        ("a|ab", "xab", (1, 3)),
        ("colou?r", "color", (0, 5)),
        ("[0-9]{3}", "a1234", (1, 4)),
        ("[0-9]{2,}", "a1234", (1, 5)),
        ("a{0}b", "ab", (1, 2)),
        ("a{,2}", "a{,2}", (0, 5)),
        ("[^0-9]+", "12ab3", (2, 4)),
        ("[]x]+", "a]x", (1, 3)),
        ("[[:digit:]]+", "ab12", (2, 4)),
        ("[[:alpha:]_]+", "1a_b", (1, 4)),
        ("\\.", "a.b", (1, 2)),
        ("\\(x\\)", "f(x)", (1, 4)),
        ("\\w+\\s\\w+", "- ab cd -", (2, 7)),
        ("(a|b)*c", "ababc", (0, 5)),
        ("x*", "", (0, 0)),
        ("(a*)*b", "aab", (0, 3)),
    ],
)
def test_the_leftmost_longest_match_is_found(pattern: str, text: str, found: tuple[int, int] | None) -> None:
    match = compile_regex(pattern).search(text)
    assert (match and (match.start, match.end)) == found


@pytest.mark.parametrize(
    ("pattern", "text", "group"),
    [
        ("011(..)", "9011043", "04"),
        ("(a|ab)(c|bcd)", "abcd", "a"),
        ("x(y)?z", "xz", None),
        ("(.*)@", "alice@example", "alice"),
        ("((a)b)", "ab", "ab"),
    ],
)
def test_the_first_group_is_remembered(pattern: str, text: str, group: str | None) -> None:
    match = compile_regex(pattern).search(text)
    assert match is not None
    assert (match.group and text[slice(*match.group)]) == group


@pytest.mark.parametrize(
    "pattern", ["(", ")", "[", "[z-a]", "a{2,1}", "a{300}", "*a", "\\", "(a)\\1", "[[:nonsense:]]", "(" * 100, "a{1,x}"]
)
def test_a_wrong_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(RegexError):
        compile_regex(pattern)


def test_a_pattern_that_makes_other_engines_hang_takes_no_time() -> None:
    began = time.process_time()
    assert compile_regex("^(a+)+$").search("a" * 500 + "b") is None
    assert compile_regex("(x+x+)+y").search("x" * 500) is None
    assert time.process_time() - began < 2


def test_a_search_of_too_much_work_is_refused_and_not_begun() -> None:
    with pytest.raises(RegexError, match="too long"):
        compile_regex("[a-z]{100}").search("a" * MAX_WORK)


def test_a_pattern_that_grows_too_large_is_refused() -> None:
    with pytest.raises(RegexError, match="too large"):
        compile_regex("((a{100}){100}){100}")


simple_patterns = st.recursive(
    st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "[a-c]"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,2}"])).map(lambda pair: f"({pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(simple_patterns, st.text("abcd", max_size=10))
def test_a_match_begins_where_another_engine_finds_it_and_is_at_least_as_long(pattern: str, text: str) -> None:
    ours = compile_regex(pattern).search(text)
    theirs = re.search(pattern, text)
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert ours.start == theirs.start()
        assert ours.end >= theirs.end()
        assert re.fullmatch(pattern, text[ours.start : ours.end])


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_pattern_matches_or_does_not_or_is_refused(pattern: str, text: str) -> None:
    try:
        match = compile_regex(pattern).search(text)
    except RegexError:
        return
    assert match is None or isinstance(match, Match)
