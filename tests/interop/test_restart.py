"""kill -9 of `pbx run`: what it had told anybody is still true after it has started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.core.address import Family
from tests.interop.sites import Site, start_site
from tests.support.pbx import Row
from tests.support.peer import FAMILIES, Phone
from tests.support.processes import Programs


@pytest.fixture
def site(programs: Programs, tmp_path: Path) -> Site:
    """One PBX for each test: it is killed."""
    return start_site(programs, tmp_path, None)


def assert_unchanged(site: Site, bindings: list[Row], history: list[Row]) -> None:
    """Nothing that was in the history has changed, the phones are where they were, and the call of the crash is over,
    with the reason."""
    pbx = site.pbx
    record = pbx.cdr(dst="2", hangupreason="node lost")
    assert record["disposition"] == "ANSWERED"
    assert pbx.rows("calls", "--json") == []
    assert pbx.events()[: len(history)] == history
    assert pbx.rows("registrations", "--json") == bindings


def assert_call(calling: Phone, called: Phone) -> None:
    """A call from one to the other, heard."""
    call = calling.dial("2", hz=1000)
    other = called.incoming()
    other.take()
    call.established()
    other.hears(1000)
    call.hangup()
    other.closed()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_killed_pbx_comes_back_with_its_phones_and_its_history(site: Site, family: Family) -> None:
    pbx = site.pbx
    calling, called = site.phone("dev1", family), site.phone("dev2", Family.IP6)
    call = calling.dial("2")
    other = called.incoming()
    other.take()
    call.established()
    bindings, history = pbx.rows("registrations", "--json"), pbx.events()
    assert [event["type"] for event in history if event["data"].get("contact")] == ["ContactBound"] * 2

    pbx.kill()
    pbx.start()

    call.closed()
    other.closed()
    assert_unchanged(site, bindings, history)
    assert_call(calling, called)  # neither has registered again


def test_a_phone_over_tcp_connects_again_and_is_called(site: Site) -> None:
    """Its connection died with the PBX, and nobody listens where it came from: only the phone can make a new one. Until
    its old binding expires it has two, of which one leads nowhere."""
    pbx = site.pbx
    calling, called = site.phone("dev1", Family.IP4), site.phone("dev2", Family.IP6, "tcp")
    call = calling.dial("2")
    called.incoming().take()
    call.established()
    bindings, history = pbx.rows("registrations", "--json"), pbx.events()

    pbx.kill()
    pbx.start()

    call.closed()
    assert_unchanged(site, bindings, history)
    called.register()
    assert len(pbx.rows("registrations", "--json")) == 3
    assert_call(calling, called)


def test_the_views_of_a_history_with_a_crash_are_rebuilt_as_they_were(site: Site) -> None:
    phone = site.phone("dev1", Family.IP6)
    phone.dial("100").closed()
    call = phone.dial("600", hz=500)
    call.established()
    site.pbx.kill()
    site.pbx.start()
    call.closed()
    site.pbx.cdr(dst="600")
    told = site.pbx.cli("events", "rebuild")
    assert told.count("as before") == 3, told
