"""RFC 4733: keys pass between phones, and the dialplan takes them."""

from __future__ import annotations

from typing import Any

import pytest

from services.core.address import Family
from tests.interop.sites import Site
from tests.support.peer import FAMILIES


def history(site: Site, dst: str) -> list[dict[str, Any]]:
    """The events of the latest call to an extension."""
    return site.pbx.events(site.pbx.cdr(dst=dst)["uniqueid"])


@pytest.mark.parametrize(
    ("caller", "callee"),
    [pytest.param(Family.IP4, Family.IP6, id="ip4-ip6"), pytest.param(Family.IP6, Family.IP4, id="ip6-ip4")],
)
def test_keys_pass_from_phone_to_phone_both_ways(loopback: Site, caller: Family, callee: Family) -> None:
    calling, called = loopback.phone("dev1", caller), loopback.phone("dev2", callee)
    call = calling.dial("2", hz=1000)
    other = called.incoming()
    other.play(440)
    other.take()
    call.established()
    call.digits("12#")
    assert other.digits_heard(3) == "12#"
    other.digits("90*")
    assert call.digits_heard(3) == "90*"
    call.hangup()
    other.closed()


@pytest.mark.parametrize("family", FAMILIES)
def test_read_takes_a_pin(loopback: Site, family: Family) -> None:
    call = loopback.phone("dev1", family).dial("200")
    call.established()
    call.digits("4711")
    call.closed()
    events = history(loopback, "200")
    assert "".join(event["data"]["digit"] for event in events if event["type"] == "DigitReceived") == "4711"
    stored = [event["data"]["data"] for event in events if event["data"].get("application") == "Set"]
    assert stored == ["DB(pins/last)=4711"]


def test_keys_interrupt_a_menu_and_choose_from_it(loopback: Site) -> None:
    call = loopback.phone("dev1", Family.IP4).dial("700")
    call.established()
    call.listen(0.3)
    call.digits("42")
    call.closed()
    started = [event["data"] for event in history(loopback, "42") if event["type"] == "ApplicationStarted"]
    assert [(one["application"], one["exten"]) for one in started] == [
        ("Answer", "700"),
        ("Goto", "700"),
        ("Background", "s"),
        ("Playback", "42"),
        ("Hangup", "42"),
    ]


def test_an_unknown_choice_is_told_so(loopback: Site) -> None:
    call = loopback.phone("dev1", Family.IP6).dial("700")
    call.established()
    call.digits("9")
    call.closed()
    record = loopback.pbx.cdr(dst="i")
    assert (record["lastapp"], record["dcontext"]) == ("Hangup", "menu")
