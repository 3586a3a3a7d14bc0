"""Every function of the dialplan, read and written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialplan.api import CallerSet, ChannelSet, DeleteValue, PutValue
from services.dialplan.functions import FUNCTIONS, split_caller
from services.dialplan.run import NeedValues
from services.dialplan.templates import compile_template
from tests.dialplan.harness import CALLER, Call, bare_run

VARIABLES = {"A": "one", "NAME": "Bob, the second"}


def filled(text: str, **values: str) -> str:
    stored: dict[tuple[str, str], str | None] = {("db", key): value for key, value in values.items()}
    return compile_template(text).fill(bare_run(variables=VARIABLES, values=stored))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${LEN()}", "0"),
        ("${LEN(abc)}", "3"),
        ("${LEN(${NAME})}", "15"),
        ("${ISNULL()}", "1"),
        ("${ISNULL(${A})}", "0"),
        ("${EXISTS()}", "0"),
        ("${EXISTS(${A})}", "1"),
        ("${IF(1?yes:no)}", "yes"),
        ("${IF(0?yes:no)}", "no"),
        ("${IF(?yes:no)}", "no"),
        ("${IF(1?yes)}", "yes"),
        ("${IF(0?yes)}", ""),
        ('${IF(1?"a:b":c)}', "a:b"),
        ("${IF($[${LEN(${A})} = 3]?three:other)}", "three"),
        ('${REGEX("^[0-9]+$" 12345)}', "1"),
        ('${REGEX("^[0-9]+$" 12a45)}', "0"),
        ('${REGEX("b" abc)}', "1"),
        ('${REGEX("^$" )}', "1"),
        ('${REGEX("(" x)}', "0"),
        ("${REGEX(nothing)}", "0"),
        ("${MATH(1+2)}", "3.000000"),
        ("${MATH(1+2,int)}", "3"),
        ("${MATH(7/2,i)}", "3"),
        ("${MATH(7/2)}", "3.500000"),
        ("${MATH(17%5,int)}", "2"),
        ("${MATH(2^10,int)}", "1024"),
        ("${MATH(-2+-3,int)}", "-5"),
        ("${MATH(5--3,int)}", "8"),
        ("${MATH(255+0,hex)}", "ff"),
        ("${MATH(65+0,char)}", "A"),
        ("${MATH(1<<4,int)}", "16"),
        ("${MATH(16>>2,int)}", "4"),
        ("${MATH(12 AND 10,int)}", "8"),
        ("${MATH(12 OR 3,int)}", "15"),
        ("${MATH(12 XOR 10,int)}", "6"),
        ("${MATH(3<4)}", "TRUE"),
        ("${MATH(3>=4)}", "FALSE"),
        ("${MATH(4==4.0)}", "TRUE"),
        ("${MATH(1/0)}", ""),
        ("${MATH(abc)}", ""),
        ("${MATH(1+x)}", ""),
        ("${STRFTIME(0,UTC,%Y-%m-%d %H:%M:%S)}", "1970-01-01 00:00:00"),
        ("${STRFTIME(,,%F %T)}", "2024-06-03 11:45:00"),
        ("${STRFTIME(,Europe/Berlin,%H:%M)}", "13:45"),
        ("${STRFTIME(0)}", "Thu Jan  1 00:00:00 1970"),
        ("${STRFTIME(0,Nowhere,%H)}", "00"),
        ("${FILTER(0-9,+49 (30) 123)}", "4930123"),
        ("${FILTER(0-9a-c,xa1b2)}", "a1b2"),
        ("${FILTER(\\x2b0-9,+49)}", "+49"),
        ("${FILTER(a\\-c,a-bc)}", "a-c"),
        ("${FILTER(abc)}", ""),
        ("${CALLERID(num)}", "101"),
        ("${CALLERID(number)}", "101"),
        ("${CALLERID(name)}", "Alice"),
        ("${CALLERID(all)}", '"Alice" <101>'),
        ("${CALLERID(dnid)}", "100"),
        ("${CALLERID(rdnis)}", ""),
        ("${CHANNEL}", "SIP/alice-00000001"),
        ("${CHANNEL(name)}", "SIP/alice-00000001"),
        ("${CHANNEL(peername)}", "alice"),
        ("${CHANNEL(channeltype)}", "SIP"),
        ("${CHANNEL(language)}", "en"),
        ("${CHANNEL(state)}", "Ring"),
        ("${CHANNEL(nonsense)}", ""),
        ("${TIMEOUT(digit)}", "5.000"),
        ("${TIMEOUT(response)}", "10.000"),
        ("${DB(family/key)}", "stored"),
        ("${DB_EXISTS(family/key)}", "1"),
        ("${DB(nonsense)}", ""),
        ("${LOCAL(A)}", "one"),
        ("${DB_EXISTS(family)}", "0"),
    ],
)
def test_a_function_has_its_value(text: str, expected: str) -> None:
    assert filled(text, **{"family/key": "stored"}) == expected


def test_a_family_and_a_key_may_hold_more_slashes_and_colons() -> None:
    assert filled("${DB(phones/[2001:db8::1]:5060/name)}", **{"phones/[2001:db8::1]:5060/name": "x"}) == "x"


def test_a_stored_value_is_asked_for_before_it_can_be_read() -> None:
    run = bare_run()
    with pytest.raises(NeedValues):
        compile_template("${DB(family/key)}").fill(run)
    assert list(run.asked) == [("db", "family/key")]


def test_the_caller_can_be_renamed_and_renumbered() -> None:
    run = bare_run()
    FUNCTIONS["CALLERID"].write(run, "all", '"Front Door" <555>')  # type: ignore[misc]
    assert compile_template("${CALLERID(all)}").fill(run) == '"Front Door" <555>'
    assert run.effects == [CallerSet("name", "Front Door"), CallerSet("num", "555")]


@pytest.mark.parametrize(
    ("text", "name", "number"),
    [
        ('"Alice Smith" <101>', "Alice Smith", "101"),
        ("Alice <101>", "Alice", "101"),
        ("<101>", "", "101"),
        ("+4930101", "", "+4930101"),
        ("Alice", "Alice", ""),
        ("", "", ""),
    ],
)
def test_a_caller_is_split_into_name_and_number(text: str, name: str, number: str) -> None:
    assert split_caller(text) == (name, number)


def test_language_and_music_class_of_the_channel_can_be_set() -> None:
    call = Call("[phones]\nexten => 100,1,Set(CHANNEL(language)=de)\nsame => n,Set(X=${CHANNEL(language)})\n")
    call.begin()
    assert call["X"] == "de"
    assert ChannelSet("language", "de") in call.effects


def test_timeouts_can_be_set_and_are_kept() -> None:
    call = Call("[phones]\nexten => 100,1,Set(TIMEOUT(digit)=2.5)\nsame => n,Set(TIMEOUT(response)=7)\n")
    call.begin()
    assert (call.execution.digit_timeout_s, call.execution.response_timeout_s) == (2.5, 7.0)


def test_a_stored_value_is_read_back_in_the_step_that_wrote_it() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Set(DB(a/b)=new)\nsame => n,Set(X=${DB(a/b)})\nsame => n,Set(Y=${DB_DELETE(a/b)})\n"
        "same => n,Set(Z=${DB_EXISTS(a/b)})\n",
        stored={("db", "a/b"): "old"},
    )
    call.begin()
    assert (call["X"], call["Y"], call["Z"], call.fetches) == ("new", "new", "0", 0)
    assert [e for e in call.effects if isinstance(e, PutValue | DeleteValue)] == [
        PutValue("db", "a/b", "new"),
        DeleteValue("db", "a/b"),
    ]


def test_a_global_that_the_dialplan_sets_is_shared_between_calls() -> None:
    text = (
        "[globals]\nCOUNT=1\n[phones]\nexten => 100,1,Set(GLOBAL(COUNT)=$[${COUNT} + 1])\nsame => n,Set(X=${COUNT})\n"
    )
    first = Call(text)
    first.begin()
    second = Call(text, stored=first.stored)
    second.begin()
    assert (first["X"], second["X"]) == ("2", "3")


def test_a_global_that_nobody_sets_is_not_asked_for() -> None:
    call = Call("[globals]\nTRUNK=SIP/out\n[phones]\nexten => 100,1,Set(X=${TRUNK})\n")
    call.begin()
    assert (call["X"], call.fetches) == ("SIP/out", 0)


def test_a_global_is_asked_for_when_it_is_read_by_name_or_set_under_any_name() -> None:
    by_function = Call("[globals]\nA=x\n[phones]\nexten => 100,1,Set(X=${GLOBAL(A)})\n", stored={("global", "A"): "y"})
    by_function.begin()
    any_name = Call("[globals]\nA=x\n[phones]\nexten => 100,1,Set(X=${A})\nsame => n,Set(GLOBAL(${X})=1)\n")
    any_name.begin()
    assert (by_function["X"], by_function.fetches) == ("y", 1)
    assert (any_name["X"], any_name.fetches, any_name.stored) == ("x", 1, {("global", "x"): "1"})


def test_two_values_of_one_line_are_asked_for_one_after_the_other_and_both_arrive() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Set(X=${DB(a/${DB(b/c)})})\n", stored={("db", "b/c"): "d", ("db", "a/d"): "found"}
    )
    call.begin()
    assert (call["X"], call.fetches) == ("found", 2)


def test_local_variables_end_with_their_routine() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Set(X=outer)\nsame => n,Gosub(sub,s,1)\nsame => n,Set(AFTER=${X})\n"
        "[sub]\nexten => s,1,Set(LOCAL(X)=inner)\nsame => n,Set(DURING=${X})\nsame => n,Return()\n"
    )
    call.begin()
    assert (call["DURING"], call["AFTER"]) == ("inner", "outer")


def test_the_channel_knows_addresses_without_brackets() -> None:
    call = Call(
        "[phones]\nexten => 100,1,Set(X=${CHANNEL(recvip)} ${CHANNEL(family)} ${CHANNEL(pjsip,call-id)})\n",
        facts=replace(CALLER, source_ip="2001:db8::7", family="ip6", sip_call_id="abc@host"),
    )
    call.begin()
    assert call["X"] == "2001:db8::7 ip6 abc@host"


readable = sorted(name for name, function in FUNCTIONS.items() if function.read is not None)


@given(st.sampled_from(readable), st.text(max_size=30))
def test_any_arguments_give_a_value_or_ask_for_one(name: str, arguments: str) -> None:
    run = bare_run_once
    run.effects.clear()
    try:
        assert isinstance(run.call(name, arguments), str)
    except NeedValues:
        assert run.asked


@given(st.sampled_from(readable), st.text('0123456789"^+-*/%<>=,:?() ANDORXabc./', max_size=30))
def test_arguments_that_look_right_give_a_value_or_ask_for_one(name: str, arguments: str) -> None:
    test_any_arguments_give_a_value_or_ask_for_one.hypothesis.inner_test(name, arguments)  # type: ignore[attr-defined]


bare_run_once = bare_run(variables=VARIABLES)
