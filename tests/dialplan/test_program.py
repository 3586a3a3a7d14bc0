"""Searching a compiled dialplan, and its data form."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialplan import Environment, Program, can_start
from services.dialplan.program import make_context, make_extension, make_statement
from tests.dialplan.harness import CALLER, NOON, Call, compiled

ENV = Environment(now_s=NOON, call=CALLER)


def labels(*lines: str) -> str:
    """A context whose extensions say their own name."""
    return "[phones]\n" + "\n".join(f"exten => {line},1,NoOp({line})" for line in lines) + "\n"


def said(text: str, exten: str, **facts: str) -> list[str]:
    call = Call(text, exten, facts=replace(CALLER, **facts))  # type: ignore[arg-type]
    call.begin()
    return call.ran


def test_an_exact_name_comes_before_every_pattern_and_patterns_in_measured_order() -> None:
    patterns = ["_640X", "_64NX", "_64XX", "_6[34]NX", "_6[45]NX", "_6XX1", "_6XXX", "_6.", "_6!", "_[0-6]XXX"]
    program = compiled(labels(*reversed(patterns), "6401"))
    found = program.contexts["phones"].extensions
    assert [extension.text for extension in found] == ["6401", *patterns]
    assert next(program.matching("phones", "6401", "", ENV)).text == "6401"
    assert next(program.matching("phones", "6421", "", ENV)).text == "_64NX"
    assert [e.text for e in program.matching("phones", "6501", "", ENV)] == [
        "_6XX1",
        "_6XXX",
        "_6.",
        "_6!",
        "_[0-6]XXX",
    ]


def test_a_priority_the_best_match_lacks_is_looked_for_in_less_specific_ones() -> None:
    text = "[phones]\nexten => 6410,1,NoOp(a)\nexten => _641X,1,NoOp(b)\nsame => n,NoOp(c)\nexten => _6.,3,NoOp(d)\n"
    assert said(text, "6410") == ["NoOp(a)", "NoOp(c)", "NoOp(d)"]


def test_a_missing_priority_is_looked_for_in_included_contexts_too() -> None:
    text = "[phones]\nexten => 1,1,NoOp(a)\ninclude => more\n[more]\nexten => 1,2,NoOp(b)\n"
    assert said(text, "1") == ["NoOp(a)", "NoOp(b)"]


def test_dashes_are_ignored_in_names_patterns_and_what_is_dialled() -> None:
    text = labels("555-1234", "_1-800-XXXX", "alice-smith")
    assert said(text, "5551234") == ["NoOp(555-1234)"]
    assert said(text, "555-12-34") == ["NoOp(555-1234)"]
    assert said(text, "1800-5555") == ["NoOp(_1-800-XXXX)"]
    assert said(text, "alice-smith") == ["NoOp(alice-smith)"]


def test_names_are_told_apart_by_case() -> None:
    assert said(labels("alice"), "Alice") == []


def test_a_caller_is_matched_before_everybody() -> None:
    text = labels("306", "306/101", "306/_1XX", "306/")
    assert said(text, "306", caller_number="101") == ["NoOp(306/101)"]
    assert said(text, "306", caller_number="102") == ["NoOp(306/_1XX)"]
    assert said(text, "306", caller_number="") == ["NoOp(306/)"]
    assert said(text, "306", caller_number="999") == ["NoOp(306)"]


def test_a_new_caller_number_leads_into_another_extension_at_once() -> None:
    text = (
        "[phones]\nexten => s/_1XX,1,Set(CALLERID(num)=200)\nsame => 2,NoOp(never)\n"
        "exten => s/_2XX,1,NoOp(one)\nsame => 2,NoOp(two)\nsame => 3,NoOp(three)\n"
    )
    assert said(text, "s", caller_number="100") == ["Set(CALLERID(num)=200)", "NoOp(two)", "NoOp(three)"]


def test_includes_are_searched_in_order_and_depth_first() -> None:
    text = (
        "[phones]\ninclude => a\ninclude => b\n[a]\ninclude => deep\n[deep]\nexten => 1,1,NoOp(deep)\n"
        "[b]\nexten => 1,1,NoOp(b)\nexten => 2,1,NoOp(b2)\n"
    )
    assert said(text, "1") == ["NoOp(deep)"]
    assert said(text, "2") == ["NoOp(b2)"]


def test_contexts_that_include_each_other_end() -> None:
    text = "[phones]\ninclude => b\n[b]\ninclude => phones\nexten => 1,1,NoOp(b)\n"
    assert said(text, "1") == ["NoOp(b)"]
    assert said(text, "2") == []


def test_a_long_chain_of_includes_has_an_end() -> None:
    chain = "".join(f"[c{i}]\ninclude => c{i + 1}\n" for i in range(3000))
    text = f"[phones]\ninclude => c0\n{chain}[c3000]\nexten => 1,1,NoOp(deep)\n"
    assert said(text, "1") == ["NoOp(deep)"]


def test_an_include_with_times_holds_only_then() -> None:
    text = (
        "[phones]\ninclude => day,9:00-17:00,mon-fri,*,*\ninclude => night\n[day]\nexten => 1,1,NoOp(day)\n"
        "[night]\nexten => 1,1,NoOp(night)\n"
    )
    by_day, by_night = Call(text, "1"), Call(text, "1", now_s=NOON + 8 * 3600)
    by_day.begin()
    by_night.begin()
    assert (by_day.ran, by_night.ran) == (["NoOp(day)"], ["NoOp(night)"])
    in_tokyo = Call(text, "1", timezone="Asia/Tokyo")
    in_tokyo.begin()
    assert in_tokyo.ran == ["NoOp(night)"]


def test_special_extensions_are_matched_by_name_only_and_cannot_be_dialled() -> None:
    catch_all = Call(labels("_."), "100")
    catch_all.begin()
    catch_all.hang_up()
    assert catch_all.ran == ["NoOp(_.)"]
    program = compiled(labels("h", "_X"))
    assert can_start(program, context="phones", exten="5", caller_number="", env=ENV)
    assert not can_start(program, context="phones", exten="h", caller_number="", env=ENV)
    assert not can_start(program, context="phones", exten="55", caller_number="", env=ENV)
    assert not can_start(program, context="nowhere", exten="5", caller_number="", env=ENV)


@pytest.mark.parametrize(
    ("digits", "longer"),
    [("", True), ("1", True), ("12", True), ("123", False), ("9", False), ("7", True), ("8", False)],
)
def test_longer_is_possible_while_a_name_or_pattern_goes_on(digits: str, longer: bool) -> None:
    program = compiled(labels("1", "12", "_12X", "8") + "include => more\n[more]\nexten => _7.,1,NoOp()\n")
    assert program.can_be_longer("phones", digits, "", ENV) is longer


def test_a_match_that_ends_in_an_exclamation_mark_waits_for_nothing() -> None:
    program = compiled(labels("_9!", "_99X"))
    assert program.can_be_longer("phones", "9", "", ENV)
    only = compiled(labels("_9!"))
    assert not only.can_be_longer("phones", "9", "", ENV)


FULL = (
    "[general]\nstatic=yes\n[globals]\nA=ü;b\n[phones]\ninclude => night,22:00-6:00,*,*,*\n"
    "exten => 100/_1XX,1,NoOp(${CALLERID(num)})\nsame => n(go),Goto(go)\nexten => _X.,1,Set(GLOBAL(A)=1)\n"
    "[night]\nexten => s,1,Hangup()\n"
)


def test_a_program_survives_msgpack_with_its_lines_and_version() -> None:
    program = compiled(FULL)
    again = Program.from_bytes(program.to_bytes())
    assert again.to_data() == program.to_data()
    assert again.version == program.version
    assert again.shared == frozenset({"A"})
    statement = again.find("phones", "100", 2, "101", ENV)
    assert statement is not None
    assert (statement.app, statement.file, statement.line) == ("Goto", "extensions.conf", 8)


def test_the_version_says_what_a_program_does_and_not_where_its_lines_stand() -> None:
    program = compiled(FULL)
    assert compiled("; a comment\n\n" + FULL).version == program.version
    assert compiled(FULL.replace("Hangup()", "Hangup(17)")).version != program.version
    assert compiled(FULL.replace("A=ü", "A=u")).version != program.version


def test_a_program_of_the_future_is_refused_in_words() -> None:
    data = compiled(FULL).to_data() | {"schema": 99}
    with pytest.raises(ValueError, match="needs a newer release"):
        Program.from_bytes(msgpack.packb(data))


names = st.text("0123456789", min_size=1, max_size=4)
pattern_texts = st.text("0123456789XZN", min_size=1, max_size=4).map(lambda text: "_" + text)


@given(st.lists(st.one_of(names, pattern_texts), unique=True, max_size=8), st.text("0123456789", max_size=4))
def test_the_index_by_first_digit_finds_what_a_search_of_everything_finds(texts: list[str], dialled: str) -> None:
    extensions = [make_extension(text, None, [make_statement(1, "", "NoOp", "")]) for text in texts]
    program = Program((make_context("phones", extensions, []),), {})
    everything = [
        extension.text
        for extension in program.contexts["phones"].extensions
        if (extension.pattern.matches(dialled) if extension.pattern else extension.text == dialled)
    ]
    assert [extension.text for extension in program.matching("phones", dialled, "", ENV)] == everything
