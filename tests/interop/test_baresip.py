"""Debian's baresip as a phone: MD5 digest, UDP and TCP, both families."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.core.address import Family
from tests.interop.sites import Site
from tests.support.audio import likeness, prompt
from tests.support.peer import FAMILIES

WAYS = [pytest.param(family, name, id=f"{family.value} {name}") for family in FAMILIES for name in ("udp", "tcp")]


@pytest.mark.parametrize(("family", "transport"), WAYS)
def test_it_registers_and_hears_hello_world(loopback: Site, tmp_path: Path, family: Family, transport: str) -> None:
    phone = loopback.baresip(tmp_path, "dev1", family, transport)
    assert phone.registered == (transport.upper(), "v4" if family is Family.IP4 else "v6")
    phone.dial("100")
    phone.established()
    assert likeness(phone.heard(), prompt("hello-world")) > 0.9
    record = loopback.pbx.cdr(dst="100", a_family=family.value, a_transport=transport)
    assert (record["src"], record["clid"]) == ("1", '"Fred" <1>')
    phone.program.close()


@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        pytest.param((Family.IP4, "udp"), (Family.IP6, "tcp"), id="ip4 udp-ip6 tcp"),
        pytest.param((Family.IP6, "tcp"), (Family.IP4, "udp"), id="ip6 tcp-ip4 udp"),
    ],
)
def test_it_calls_another_and_both_hear_each_other(
    loopback: Site, tmp_path: Path, caller: tuple[Family, str], callee: tuple[Family, str]
) -> None:
    calling = loopback.baresip(tmp_path, "dev1", *caller, hz=1000)
    called = loopback.baresip(tmp_path, "dev2", *callee, hz=440)
    calling.dial("2")
    calling.established()
    called.established()
    phone = loopback.phone("dev3", Family.IP4)  # a third one talks meanwhile
    call = phone.dial("100")
    call.closed()
    calling.hangup()
    assert calling.heard().seconds_of(440) > 0.5
    assert called.heard().seconds_of(1000) > 0.5
    for one in (calling, called):
        one.program.close()


def test_a_phone_with_ipv6_only_is_called_by_one_with_ipv4_only(site: Site, tmp_path: Path) -> None:
    called = site.baresip(tmp_path, "dev2", Family.IP6, hz=440)
    call = site.phone("dev3", Family.IP4).dial("2", hz=1000)
    call.established()
    call.hears(440, seconds=0.8)
    call.hangup()
    assert called.heard().seconds_of(1000) > 0.3
    record = site.pbx.cdr(dst="2", a_family="ip4", b_family="ip6")
    assert record["disposition"] == "ANSWERED"
    called.program.close()
