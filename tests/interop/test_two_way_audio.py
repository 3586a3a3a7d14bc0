"""Phones hear each other, whatever the families: signalling and media of each leg in the family of its phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.core.address import Address, Family
from tests.interop.sites import Site
from tests.support.capture import MALFORMED, Capture
from tests.support.netns import SECOND_ADDRESS, Network
from tests.support.peer import FAMILIES, SDP_NAME, PeerCall, Phone, Traced
from tests.support.processes import Programs

CALLER_HZ, CALLEE_HZ = 1000, 440
MIXES = [pytest.param(a, b, id=f"{a.value}-{b.value}") for a in FAMILIES for b in FAMILIES]


def connect(caller: Phone, callee: Phone, number: str = "2") -> tuple[PeerCall, PeerCall]:
    """A call that is up, with a tone each way."""
    call = caller.dial(number, hz=CALLER_HZ)
    other = callee.incoming()
    other.play(CALLEE_HZ)
    other.take()
    call.established()
    return call, other


def described(phone: Phone, since: int) -> list[Traced]:
    """Messages with a session description, of the last call."""
    return [traced for traced in phone.trace()[since:] if traced.sdp]


@pytest.mark.parametrize(("caller", "callee"), MIXES)
def test_both_hear_each_other_and_no_leg_sees_the_family_of_the_other(
    site: Site, caller: Family, callee: Family
) -> None:
    calling, called = site.phone("dev1", caller), site.phone("dev2", callee)
    before = {phone: len(phone.trace()) for phone in (calling, called)}
    call, other = connect(calling, called)
    call.hears(CALLEE_HZ)
    other.hears(CALLER_HZ)
    call.hangup()
    other.closed()

    for phone, family in ((calling, caller), (called, callee)):
        with_sdp = described(phone, before[phone])
        assert {traced.out for traced in with_sdp} == {True, False}
        for traced in with_sdp:
            assert traced.families == {SDP_NAME[family]}, traced.sdp
            assert not any("[" in line for line in traced.addresses), traced.sdp
        assert all(traced.transport == "udp" for traced in phone.trace())

    figures = {"a": call.stats(), "b": other.stats()}
    record = site.pbx.cdr("a", "b", dst="2", a_family=caller.value, b_family=callee.value)
    assert (record["a_transport"], record["b_transport"], record["disposition"]) == ("udp", "udp", "ANSWERED")
    for side, stats in figures.items():
        assert stats["mos"] > 4, stats
        assert record[f"{side}_codec"] == "ulaw"
        assert record[f"{side}_packets_lost"] == 0
        assert abs(record[f"{side}_packets_received"] - stats["tx_packets"]) <= 2
        assert abs(record[f"{side}_packets_sent"] - stats["rx_packets"]) <= 2


@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        pytest.param((Family.IP6, "tcp"), (Family.IP4, "udp"), id="ip6 tcp-ip4 udp"),
        pytest.param((Family.IP4, "udp"), (Family.IP6, "tcp"), id="ip4 udp-ip6 tcp"),
        pytest.param((Family.IP4, "tcp"), (Family.IP4, "tcp"), id="ip4 tcp-ip4 tcp"),
    ],
)
def test_a_phone_over_tcp_calls_and_is_called(
    loopback: Site, caller: tuple[Family, str], callee: tuple[Family, str]
) -> None:
    calling, called = loopback.phone("dev1", *caller), loopback.phone("dev2", *callee)
    call, other = connect(calling, called)
    call.hears(CALLEE_HZ)
    other.hears(CALLER_HZ)
    other.hangup()
    call.closed()
    assert {traced.transport for traced in calling.trace()} == {caller[1]}
    assert {traced.transport for traced in called.trace()} == {callee[1]}
    record = loopback.pbx.cdr(dst="2", a_transport=caller[1], b_transport=callee[1])
    assert (record["a_family"], record["b_family"]) == (caller[0].value, callee[0].value)


def test_each_learns_from_the_rtcp_of_the_other_how_it_is_heard(loopback: Site) -> None:
    """Reports come every five seconds or so; an IPv4 phone gets those of an IPv6 phone."""
    call, other = connect(loopback.phone("dev1", Family.IP4), loopback.phone("dev2", Family.IP6))
    for side in (call, other):
        report = side.event("rtcp", timeout_s=12)
        assert report["tx_lost"] == 0
        assert report["rtt_ms"] < 100
    call.hangup()
    other.closed()


@pytest.mark.parametrize("family", FAMILIES)
def test_caller_and_callee_hold_and_resume(loopback: Site, family: Family) -> None:
    call, other = connect(loopback.phone("dev1", family), loopback.phone("dev2", Family.IP4))
    other.hears(CALLER_HZ)
    for holding, hz, held in ((call, CALLER_HZ, other), (other, CALLEE_HZ, call)):
        since = len(held.phone.program.lines)
        holding.hold()
        held.event("hold", since=since)
        held.forget()
        tune = held.listen(0.3).last(0.2)
        assert not tune.silent()
        assert tune.share_of(hz) < 0.5
        holding.resume()
        held.event("resume", since=since)
        held.hears(hz)
    other.hears(CALLER_HZ)
    call.hangup()
    other.closed()
    record = loopback.pbx.cdr(dst="2", a_family=family.value)
    events = [event for event in loopback.pbx.events(record["uniqueid"]) if event["type"] in ("LegHeld", "LegResumed")]
    assert [(event["type"], event["data"]["leg"]) for event in events] == [
        ("LegHeld", "a"),
        ("LegResumed", "a"),
        ("LegHeld", "b1"),
        ("LegResumed", "b1"),
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_phone_is_talked_to_from_the_address_that_it_talked_to(
    namespaces: Site, network: Network, programs: Programs, family: Family
) -> None:
    """The PBX listens on wildcards, and its host has more than one address."""
    server = Address(SECOND_ADDRESS[family], 5060)
    phone = Phone(programs, network.dev4.address(family), host=network.dev4)
    phone.account(server, "dev3", "three")
    call, other = connect(namespaces.phone("dev1", Family.IP4), phone, number="3")
    call.hears(CALLEE_HZ)
    other.hears(CALLER_HZ)
    other.hangup()
    call.closed()
    got = phone.trace(out=False)
    assert {traced.source for traced in got} == {str(server)}
    invite = next(traced for traced in got if traced.start.startswith("INVITE"))
    host = str(server).removesuffix(":5060")
    assert f"@{host}:5060" in invite.header("Contact")
    assert f" {host}:5060;" in invite.header("Via")


def test_tshark_finds_nothing_malformed_in_a_call_between_the_families(
    namespaces: Site, network: Network, programs: Programs, tmp_path: Path
) -> None:
    """Another reader of our packets: an IPv4 phone calls an IPv6 phone, keys are pressed, one holds the other."""
    calling, called = namespaces.phone("dev1", Family.IP4), namespaces.phone("dev2", Family.IP6, "tcp")
    capture = Capture(programs, network.pbx, tmp_path)
    for phone in (calling, called):
        phone.register()
    call, other = connect(calling, called)
    call.digits("5")
    assert other.digits_heard(1) == "5"
    other.hold()
    other.resume()
    for side in (call, other):
        side.event("rtcp")
    call.hears(CALLEE_HZ)
    call.hangup()
    other.closed()
    capture.stop(after="sip.Method == BYE", count=2)

    assert capture.lines(MALFORMED) == []
    methods = capture.lines("sip.Request-Line", "sip.Method")
    assert {"REGISTER", "INVITE", "ACK", "BYE"} <= set(methods)
    packets = capture.lines("rtp || rtcp", "frame.protocols", "ip.src", "ipv6.src", "rtp.p_type")
    ours = [packet.split("\t") for packet in packets if network.pbx.ip4 in packet or network.pbx.ip6 in packet]
    theirs = [packet.split("\t") for packet in packets if packet.split("\t") not in ours]
    for way in (ours, theirs):
        assert sum("rtcp" in protocols for protocols, *_ in way) >= 2
        for column in (1, 2):  # IPv4 and IPv6
            assert sum(packet[column] != "" and "rtp" in packet[0] for packet in way) > 20
    assert {packet[3] for packet in ours + theirs} == {"0", "101", ""}
