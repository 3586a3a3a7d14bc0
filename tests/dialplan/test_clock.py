"""Time ranges and the formatting of times."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialplan.clock import TimeRangeError, compile_time_range, formatted, local_time


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


MONDAY_NOON = "2024-06-03 12:00:00"


@pytest.mark.parametrize(
    ("times", "now", "holds"),
    [
        ("*,*,*,*", MONDAY_NOON, True),
        ("*", MONDAY_NOON, True),
        ("9:00-17:00,mon-fri,*,*", MONDAY_NOON, True),
        ("9:00-17:00,mon-fri,*,*", "2024-06-03 17:00:59", True),
        ("9:00-17:00,mon-fri,*,*", "2024-06-03 17:01:00", False),
        ("9:00-17:00,mon-fri,*,*", "2024-06-08 12:00:00", False),
        ("22:00-6:00,*,*,*", "2024-06-03 23:00:00", True),
        ("22:00-6:00,*,*,*", "2024-06-03 05:59:00", True),
        ("22:00-6:00,*,*,*", MONDAY_NOON, False),
        ("*,sat-mon,*,*", MONDAY_NOON, True),
        ("*,sat-sun,*,*", MONDAY_NOON, False),
        ("*,monday&wed,*,*", MONDAY_NOON, True),
        ("*,*,1-5,*", MONDAY_NOON, True),
        ("*,*,24,*", MONDAY_NOON, False),
        ("*,*,*,jun", MONDAY_NOON, True),
        ("*,*,*,nov-feb", MONDAY_NOON, False),
        ("*,*,03,june", MONDAY_NOON, True),
        ("8:00-9:00&11:30-12:30,*,*,*", MONDAY_NOON, True),
        ("14:00-15:00,*,*,*,Europe/Berlin", MONDAY_NOON, True),
        ("12:00-13:00,*,*,*,Europe/Berlin", MONDAY_NOON, False),
        ("9:00-17:00|mon-fri|*|*", MONDAY_NOON, True),
    ],
)
def test_a_time_range_holds_or_not(times: str, now: str, holds: bool) -> None:
    assert compile_time_range(times).holds(at(now), "UTC") is holds


def test_a_time_range_without_a_zone_uses_the_dialplans() -> None:
    business = compile_time_range("9:00-17:00,*,*,*")
    assert business.holds(at(MONDAY_NOON), "UTC")
    assert not business.holds(at(MONDAY_NOON), "Asia/Tokyo")


@pytest.mark.parametrize(
    "times", ["9-17", "25:00-26:00", "9:00", "9:0-10:00", "*,someday", "*,*,32", "*,*,*,*,Nowhere/City", "*,*,*,*,*,*"]
)
def test_a_time_range_that_cannot_be_read_is_refused(times: str) -> None:
    with pytest.raises(TimeRangeError):
        compile_time_range(times)


@given(st.text("0123456789:-*&,| monjafebt", max_size=20))
def test_any_text_is_a_time_range_or_an_error(text: str) -> None:
    try:
        compiled = compile_time_range(text)
    except TimeRangeError:
        return
    assert compiled.holds(0.0, "UTC") in (True, False)


@given(st.integers(0, 4_000_000_000), st.sampled_from("aAbBCdDeFgGhHIjkmMnpPrRsStTuUVwWxXyYz%"))
def test_times_are_formatted_as_the_c_library_formats_them(unix_s: int, directive: str) -> None:
    now = datetime.fromtimestamp(unix_s, UTC)
    assert formatted(now, f"<%{directive}>") == now.strftime(f"<%{directive}>")


def test_fractions_of_a_second_are_asterisks_own() -> None:
    now = local_time(1717415100.987654, "UTC")
    assert formatted(now, "%S.%3q %1q %q") == "00.987 9 987"


@given(st.text(max_size=20))
def test_any_format_gives_a_text(pattern: str) -> None:
    assert isinstance(formatted(local_time(0, "UTC"), pattern), str)


def test_an_absurd_time_is_a_time_nevertheless() -> None:
    assert local_time(1e30, "UTC").year == 1970
    assert local_time(float("nan"), "UTC").year == 1970
    assert local_time(0, "No/Where") == datetime.fromtimestamp(0, UTC)
    assert time.gmtime(0).tm_year == 1970
