"""Words of header values: lists, quotes, parameters and numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.sip.errors import SipError
from services.core.sip.lexical import (
    MALFORMED_EXPIRES_S,
    MAX_DELTA_SECONDS,
    Params,
    drop_param,
    find_param,
    first_of_list,
    parse_delta_seconds,
    parse_number,
    parse_params,
    print_params,
    quote,
    set_param,
    split_list,
    unquote_string,
)
from tests.core.sip.strategies import HEADER_PARAMS, QUOTED


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        (" \t ", []),
        ("a", ["a"]),
        ("a, b ,\tc", ["a", "b", "c"]),
        ("a,,b,", ["a", "b"]),
        ('"x, y" <sip:a,b@c>, <sip:d>', ['"x, y" <sip:a,b@c>', "<sip:d>"]),
        ('"a\\",b" <sip:x>, "\\\\", c', ['"a\\",b" <sip:x>', '"\\\\"', "c"]),
        ('<sip:a@b>;x="1,2";y, *', ['<sip:a@b>;x="1,2";y', "*"]),
    ],
)
def test_a_row_is_split_at_commas_outside_quotes_and_brackets(text: str, values: list[str]) -> None:
    assert split_list(text, "Contact") == values


@pytest.mark.parametrize("text", ['"a, b', "<sip:a, b", 'a, "b\\"'])
def test_an_open_quote_or_bracket_is_refused(text: str) -> None:
    with pytest.raises(SipError) as caught:
        split_list(text, "Route")
    assert (caught.value.status, caught.value.where) == (400, "Route")


@given(
    st.lists(
        QUOTED | st.from_regex(r"<[a-z,;]+>", fullmatch=True) | st.from_regex(r"[a-z]+", fullmatch=True), min_size=1
    )
)
def test_a_list_joined_with_commas_is_split_again(values: list[str]) -> None:
    text = " , ".join(values)
    assert split_list(text, "X") == values
    first, rest = first_of_list(text, "X")
    assert [first, *split_list(rest, "X")] == values


@given(st.text())
def test_a_quoted_string_holds_any_text_but_line_ends(text: str) -> None:
    assert unquote_string(quote(text)) == text.replace("\r", " ").replace("\n", " ")


def test_text_without_quotes_stands_for_itself() -> None:
    assert unquote_string("a\\b") == "a\\b"
    assert unquote_string('"') == '"'
    assert unquote_string("") == ""


@given(HEADER_PARAMS)
def test_parameters_are_printed_so_that_they_read_back(params: Params) -> None:
    if params:
        assert parse_params(print_params(params)[1:], "Via") == params


def test_parameters_keep_order_case_and_raw_values() -> None:
    assert parse_params(' a = 1 ;B;c="x;\\"y";received=2001:db8::9', "Via") == (
        ("a", "1"),
        ("B", None),
        ("c", '"x;\\"y"'),
        ("received", "2001:db8::9"),
    )


@pytest.mark.parametrize("text", ["", ";", "a;", ";a", "a;;b", "=1", "a=", "a b", "a=1 2", 'a="x', "a,b", "é=1"])
def test_malformed_parameters_are_refused(text: str) -> None:
    with pytest.raises(SipError) as caught:
        parse_params(text, "Via")
    assert (caught.value.status, caught.value.where) == (400, "Via")


def test_the_first_of_repeated_parameters_counts_and_setting_leaves_one() -> None:
    params: Params = (("a", "1"), ("b", None), ("A", "2"))
    assert find_param(params, "a") == find_param(params, "A") == "1"
    assert find_param(params, "b") == ""
    assert find_param(params, "c") is None
    assert set_param(params, "A", "3") == (("a", "3"), ("b", None))
    assert drop_param(params, "a") == (("b", None),)


@pytest.mark.parametrize("text", ["", "+7", "-7", "7_0", "٧", "7 ", "0x7", "7.0", "4294967296", "9" * 5000])
def test_numbers_are_ascii_digits_below_the_limit(text: str) -> None:
    with pytest.raises(SipError) as caught:
        parse_number(text, 2**32 - 1, "CSeq")
    assert (caught.value.status, caught.value.where) == (400, "CSeq")


def test_leading_zeros_do_not_count() -> None:
    assert parse_number("0" * 5000 + "9", 10, "CSeq") == 9
    assert parse_number("0000", 10, "CSeq") == 0
    assert parse_number("4294967295", 2**32 - 1, "CSeq") == 2**32 - 1


def test_malformed_expiry_is_an_hour_and_too_much_is_the_most_there_is() -> None:
    assert parse_delta_seconds(" 60 ") == 60
    assert parse_delta_seconds("0") == 0
    for malformed in ("", "soon", "-1", "+1", "1.5", "٦"):
        assert parse_delta_seconds(malformed) == MALFORMED_EXPIRES_S == 3600
    assert parse_delta_seconds("4294967296") == parse_delta_seconds("9" * 9000) == MAX_DELTA_SECONDS
