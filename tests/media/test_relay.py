"""Packets between real sockets, through a worker: who hears whom, and who does not."""

import asyncio
import struct
from collections.abc import Callable

import pytest

from services.core.address import Family
from services.media.api import Notice
from services.media.worker import Worker

from .support import (
    EVENT,
    LOOPBACK,
    PCMA,
    PCMU,
    ManualClock,
    Phone,
    Session,
    a_worker,
    audio_port,
    description,
    phones,
    rtp_packet,
    settled,
    stream,
)

IP4, IP6 = Family.IP4, Family.IP6
PAIRS = [(IP4, IP4), (IP6, IP6), (IP4, IP6), (IP6, IP4)]
SENDER_REPORT = bytes.fromhex("80c80006") + bytes(24)
RECEIVER_REPORT = bytes.fromhex("80c90001") + bytes(4)


def event_packets(phone: Phone, code: int, payload_type: int = EVENT) -> list[bytes]:
    """One key of 100 ms: three packets and the end three times, under one timestamp."""
    phone.timestamp = (phone.timestamp + 160) & 0xFFFFFFFF
    packets = []
    for duration, end in ((160, 0), (320, 0), (480, 0), (800, 0x80), (800, 0x80), (800, 0x80)):
        phone.sequence = (phone.sequence + 1) & 0xFFFF
        payload = struct.pack("!BBH", code, end | 10, duration)
        packets.append(
            rtp_packet(
                payload,
                phone.sequence,
                phone.timestamp,
                phone.ssrc,
                payload_type=payload_type,
                marker=duration == 160,
            )
        )
    return packets


def noticed(worker: Worker) -> list[Notice]:
    notices: list[Notice] = []
    worker.on_notice = notices.append
    return notices


# --- both ways ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("caller_family", "callee_family"), PAIRS)
async def test_both_sides_hear_each_other_whatever_their_families(caller_family: Family, callee_family: Family) -> None:
    with a_worker() as worker, phones(caller_family, callee_family) as (caller, callee):
        to_caller, to_callee = Session(worker).connect(caller, callee)
        for _ in range(5):
            assert caller.send(caller.packet(), to_caller) == await callee.hears()
            assert callee.send(callee.packet(), to_callee) == await caller.hears()


@pytest.mark.parametrize(("caller_family", "callee_family"), PAIRS)
async def test_rtcp_goes_by_the_next_port(caller_family: Family, callee_family: Family) -> None:
    with a_worker() as worker, phones(caller_family, callee_family) as (caller, callee):
        to_caller, to_callee = Session(worker).connect(caller, callee)
        assert caller.send_rtcp(SENDER_REPORT, to_caller + 1) == await callee.hears_rtcp()
        assert callee.send_rtcp(RECEIVER_REPORT, to_callee + 1) == await caller.hears_rtcp()


async def test_rtcp_on_the_rtp_port_leaves_by_the_rtcp_port() -> None:
    with a_worker() as worker, phones(IP4, IP4) as (caller, callee):
        to_caller, _ = Session(worker).connect(caller, callee)
        caller.send(caller.packet(), to_caller)
        await callee.hears()
        caller.send(SENDER_REPORT, to_caller)
        assert await callee.hears_rtcp() == SENDER_REPORT


async def test_the_relay_sends_from_the_port_it_receives_on() -> None:
    with a_worker() as worker, phones(IP4, IP6) as (caller, callee):
        to_caller, to_callee = Session(worker).connect(caller, callee)
        caller.send(caller.packet(), to_caller)
        await settled()
        _, source = callee.rtp.recvfrom(2048)
        assert source[:2] == (callee.host, to_callee)


async def test_early_media_is_heard_before_the_answer() -> None:
    with a_worker() as worker, phones(IP4, IP4) as (caller, callee):
        offered = Session(worker).offer(caller.sdp(), IP4)
        assert callee.send(callee.packet(), audio_port(offered)) == await caller.hears()


async def test_packets_of_any_size_and_with_header_extensions_pass() -> None:
    with a_worker() as worker, phones(IP4, IP6) as (caller, callee):
        to_caller, _ = Session(worker).connect(caller, callee)
        for size in (0, 1, 20, 1460):
            assert caller.send(caller.packet(bytes(size)), to_caller) == await callee.hears()
        extended = b"\x90" + caller.packet()[1:12] + b"\xbe\xde\x00\x01\x00\x00\x00\x00" + bytes(160)
        caller.send(extended, to_caller)
        assert await callee.hears() == extended


async def test_what_is_no_rtp_goes_nowhere_and_is_counted() -> None:
    with a_worker() as worker, phones(IP4, IP4) as (caller, callee):
        to_caller, _ = Session(worker).connect(caller, callee)
        for junk in (b"", b"\x80", b"\x00" * 172, b"\xff" * 20, b"\x8f\x00" + bytes(12)):
            caller.send(junk, to_caller)
        caller.send_rtcp(b"\x80\xc8", to_caller + 1)
        assert await callee.hears_nothing()
        assert worker.figures().malformed == 6
        assert caller.send(caller.packet(), to_caller) == await callee.hears()


# --- latching ----------------------------------------------------------------------------------------------------


async def test_the_source_of_the_first_packet_counts_not_the_address_in_the_sdp() -> None:
    with a_worker() as worker, phones(IP4, IP4) as (caller, callee):
        session = Session(worker)
        offered = session.offer(caller.sdp(host="192.0.2.55", port=7000), IP4)
        to_caller, to_callee = audio_port(session.answer(callee.sdp())), audio_port(offered)
        caller.send(caller.packet(), to_caller)
        await callee.hears()
        assert callee.send(callee.packet(), to_callee) == await caller.hears()


async def test_after_that_nobody_else_is_heard() -> None:
    with a_worker() as worker, phones(IP4, IP4, IP4) as (caller, callee, stranger):
        session = Session(worker)
        to_caller, _ = session.connect(caller, callee)
        caller.send(caller.packet(), to_caller)
        await callee.hears()
        for _ in range(3):
            stranger.send(stranger.packet(), to_caller)
        assert await callee.hears_nothing()
        assert stream(session.ask("query"), "a")["stats"]["errors"] == 3
        assert worker.figures().rejected == 3
        assert caller.send(caller.packet(), to_caller) == await callee.hears()


async def test_a_stranger_who_was_first_gives_way_to_the_announced_address() -> None:
    with a_worker() as worker, phones(IP4, IP4, IP4) as (caller, callee, stranger):
        to_caller, to_callee = Session(worker).connect(caller, callee)
        stranger.send(stranger.packet(), to_caller)
        await callee.hears()
        assert caller.send(caller.packet(), to_caller) == await callee.hears()
        callee.send(callee.packet(), to_callee)
        await caller.hears()
        assert await stranger.hears_nothing()


async def test_strangers_rtcp_is_not_passed_on() -> None:
    with a_worker() as worker, phones(IP4, IP4, IP4) as (caller, callee, stranger):
        to_caller, _ = Session(worker).connect(caller, callee)
        caller.send_rtcp(SENDER_REPORT, to_caller + 1)
        await callee.hears_rtcp()
        stranger.send_rtcp(RECEIVER_REPORT, to_caller + 1)
        caller.send_rtcp(SENDER_REPORT + b"\x00", to_caller + 1)
        assert await callee.hears_rtcp() == SENDER_REPORT + b"\x00"


async def test_a_new_offer_lets_the_party_move() -> None:
    with a_worker() as worker, phones(IP4, IP4, IP4) as (caller, callee, moved):
        session = Session(worker)
        to_caller, to_callee = session.connect(caller, callee)
        caller.send(caller.packet(), to_caller)
        await callee.hears()

        assert audio_port(session.offer(moved.sdp(), IP4)) == to_callee, "the ports stay"
        assert audio_port(session.answer(callee.sdp())) == to_caller
        assert callee.send(callee.packet(), to_callee) == await moved.hears()
        # what is still on its way from the former address passes, and claims nothing
        assert caller.send(caller.packet(), to_caller) == await callee.hears()
        assert moved.send(moved.packet(), to_caller) == await callee.hears()
        caller.send(caller.packet(), to_caller)
        assert await callee.hears_nothing()


@pytest.mark.parametrize("host", ["224.0.1.1", "0.0.0.0"])
async def test_nothing_is_sent_to_addresses_that_are_nobodys(host: str) -> None:
    with a_worker() as worker, phones(IP4, IP4) as (caller, callee):
        session = Session(worker)
        offered = session.offer(caller.sdp(host=host), IP4)
        to_caller = audio_port(session.answer(callee.sdp()))
        callee.send(callee.packet(), audio_port(offered))
        await settled()
        assert "endpoint" not in stream(session.ask("query"), "a")
        caller.send(caller.packet(), to_caller)
        await callee.hears()
        assert callee.send(callee.packet(), audio_port(offered)) == await caller.hears(), "until it is heard"


async def test_a_stranger_cannot_aim_the_relay_at_our_own_machine() -> None:
    with a_worker() as worker, phones(IP4, IP4) as (victim, callee):
        session = Session(worker)
        offered = session.offer(victim.sdp(), IP4, received_from=["IP4", "203.0.113.5"])
        session.answer(callee.sdp())
        callee.send(callee.packet(), audio_port(offered))
        assert await victim.hears_nothing()


# --- the end -----------------------------------------------------------------------------------------------------


async def test_late_packets_of_a_deleted_call_reach_nobody() -> None:
    with a_worker() as worker, phones(IP4, IP6) as (caller, callee):
        session = Session(worker)
        to_caller, to_callee = session.connect(caller, callee)
        caller.send(caller.packet(), to_caller)
        await callee.hears()
        caller.send(caller.packet(), to_caller)  # in the queue when the call ends
        session.ask("delete")
        caller.send(caller.packet(), to_caller)
        callee.send(callee.packet(), to_callee)
        assert await callee.hears_nothing()
        assert await caller.hears_nothing()


async def test_ports_rest_before_a_new_call_gets_them() -> None:
    clock = ManualClock()
    with a_worker(clock, port_min=41100, port_max=41103) as worker, phones(IP4, IP4) as (caller, callee):
        first = Session(worker, "first")
        first.connect(caller, callee)
        first.ask("delete")
        keys = {"from_tag": "a", "to_tag": "b", "sdp": caller.sdp()}
        clock.now += 9.9
        assert Session(worker, "second").ask("offer", **keys)["error-reason"] == "Ran out of ports"
        clock.now += 0.2
        assert Session(worker, "second").ask("offer", **keys)["result"] == "ok"


async def test_a_party_that_left_hears_nothing_and_the_other_keeps_its_ports() -> None:
    with a_worker() as worker, phones(IP4, IP4, IP6) as (caller, first, second):
        session = Session(worker)
        to_caller, to_first = session.connect(caller, first)
        session.ask("delete", to_tag="b")
        caller.send(caller.packet(), to_caller)
        first.send(first.packet(), to_first)
        assert await first.hears_nothing()
        assert await caller.hears_nothing()

        to_second = audio_port(session.offer(caller.sdp(), IP6, to_tag="c"))
        assert audio_port(session.answer(second.sdp(), to_tag="c")) == to_caller
        assert caller.send(caller.packet(), to_caller) == await second.hears()
        assert second.send(second.packet(), to_second) == await caller.hears()


# --- forks -------------------------------------------------------------------------------------------------------


async def test_of_several_branches_the_one_that_answers_is_connected() -> None:
    with a_worker() as worker, phones(IP4, IP4, IP6) as (caller, first, second):
        session = Session(worker)
        to_first = audio_port(session.offer(caller.sdp(), IP4, to_tag="b1"))
        to_second = audio_port(session.offer(caller.sdp(), IP6, to_tag="b2"))
        assert first.send(first.packet(), to_first) == await caller.hears(), "ringing tones of both"
        assert second.send(second.packet(), to_second) == await caller.hears()

        to_caller = audio_port(session.answer(second.sdp(), to_tag="b2"))
        assert caller.send(caller.packet(), to_caller) == await second.hears()
        first.send(first.packet(), to_first)
        assert second.send(second.packet(), to_second) == await caller.hears()
        assert await caller.hears_nothing(), "the other branch is out"


async def test_a_later_answer_takes_over_from_early_media() -> None:
    with a_worker() as worker, phones(IP4, IP4, IP4) as (caller, announcer, callee):
        session = Session(worker)
        to_announcer = audio_port(session.offer(caller.sdp(), IP4, to_tag="b1"))
        to_callee = audio_port(session.offer(caller.sdp(), IP4, to_tag="b2"))
        to_caller = audio_port(session.answer(announcer.sdp(), to_tag="b1"))
        assert announcer.send(announcer.packet(), to_announcer) == await caller.hears()
        assert audio_port(session.answer(callee.sdp(), to_tag="b2")) == to_caller
        announcer.send(announcer.packet(), to_announcer)
        assert callee.send(callee.packet(), to_callee) == await caller.hears()
        assert caller.send(caller.packet(), to_caller) == await callee.hears()
        assert await announcer.hears_nothing()


# --- payload types -------------------------------------------------------------------------------------------------


async def test_the_same_codec_under_two_numbers_is_translated() -> None:
    """A party was answered by an application; later its peer numbers telephone-events otherwise."""
    with a_worker() as worker, phones(IP4, IP4) as (caller, callee):
        session = Session(worker)
        session.offer(caller.sdp(PCMU, PCMA, 101), IP4, to_tag="app")
        to_caller = audio_port(session.answer(nowhere(PCMU, 101), to_tag="app"))
        offered = session.offer(caller.sdp(PCMU, PCMA, 101), IP4)
        session.answer(callee.sdp(PCMU, 96))
        sent = caller.send(caller.packet(b"\x05\x00\x00\xa0", payload_type=101, marker=True), to_caller)
        assert await callee.hears() == sent[:1] + bytes((0x80 | 96,)) + sent[2:]
        assert caller.send(caller.packet(), to_caller) == await callee.hears()
        back = callee.send(callee.packet(b"\x05\x00\x00\xa0", payload_type=101), audio_port(offered))
        assert await caller.hears() == back


async def test_equal_numbers_pass_untouched() -> None:
    with a_worker() as worker, phones(IP4, IP4) as (caller, callee):
        to_caller, _ = Session(worker).connect(caller, callee)
        for number in (PCMU, PCMA, EVENT, 127, 18):
            assert caller.send(caller.packet(payload_type=number), to_caller) == await callee.hears()


def nowhere(*formats: int) -> bytes:
    """The description of an application."""
    return description(IP4, "anonymous.invalid", 9, formats)


# --- digits ------------------------------------------------------------------------------------------------------


async def test_digits_pass_and_give_one_notice_each() -> None:
    with a_worker() as worker, phones(IP4, IP6) as (caller, callee):
        notices = noticed(worker)
        to_caller, to_callee = Session(worker).connect(caller, callee)
        sent = [packet for code in (1, 11) for packet in event_packets(caller, code)]
        for packet in sent:
            caller.send(packet, to_caller)
            assert await callee.hears() == packet
        for packet in event_packets(callee, 10):
            callee.send(packet, to_callee)
            await caller.hears()
        assert [(n.tag, n.kind, n.digit, n.duration_ms, n.seq) for n in notices] == [
            ("a", "digit", "1", 100, 1),
            ("a", "digit", "#", 100, 2),
            ("b", "digit", "*", 100, 3),
        ]
        assert {notice.call_id for notice in notices} == {"call"}
        assert worker.figures().digits == 3


async def test_digits_reach_an_application_and_their_number_is_its_own() -> None:
    with a_worker() as worker, phones(IP6) as (caller,):
        notices = noticed(worker)
        session = Session(worker)
        session.offer(caller.sdp(PCMU, PCMA, 97), IP6, to_tag="app")
        to_caller = audio_port(session.answer(description(IP6, "anonymous.invalid", 9, (PCMU, 97)), to_tag="app"))
        for packet in event_packets(caller, 5, payload_type=97):
            caller.send(packet, to_caller)
        await settled()
        assert [notice.digit for notice in notices] == ["5"]


async def test_a_digit_whose_end_was_lost_is_told_after_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.media.relay.EXPIRY_S", 0.001)
    clock = ManualClock()
    with a_worker(clock) as worker, phones(IP4, IP4) as (caller, callee):
        notices = noticed(worker)
        to_caller, _ = Session(worker).connect(caller, callee)
        for packet in event_packets(caller, 7)[:3]:
            caller.send(packet, to_caller)
            await callee.hears()
        assert notices == []
        clock.now += 0.3
        await _until(lambda: bool(notices))
        assert [(notice.digit, notice.duration_ms) for notice in notices] == [("7", 60)]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a timer of the worker is waited for
            await asyncio.sleep(0.001)


# --- figures -----------------------------------------------------------------------------------------------------


async def test_a_call_is_counted_for_each_party() -> None:
    clock = ManualClock()
    with a_worker(clock) as worker, phones(IP4, IP6) as (caller, callee):
        session = Session(worker)
        to_caller, to_callee = session.connect(caller, callee)
        for number in range(10):
            packet = caller.packet()
            clock.now += 0.02
            if number in (4, 5):
                continue  # lost on its way
            caller.send(packet, to_caller)
            await callee.hears()
        callee.send(callee.packet(bytes(20), payload_type=PCMA), to_callee)
        await caller.hears()
        caller.send_rtcp(SENDER_REPORT, to_caller + 1)
        await callee.hears_rtcp()

        reply = session.ask("delete")
        a, b = stream(reply, "a"), stream(reply, "b")
        assert a["stats"] == {"packets": 8, "bytes": 8 * 172, "errors": 0, "lost": 2, "misordered": 0, "jitter": 0}
        assert a["stats_out"] == {"packets": 1, "bytes": 32, "errors": 0}
        assert b["stats_out"] == {"packets": 8, "bytes": 8 * 172, "errors": 0}
        assert (a["family"], b["family"]) == ("IPv4", "IPv6")
        assert a["endpoint"] == {"family": "IPv4", "address": LOOPBACK[IP4], "port": caller.port}
        assert [reply["tags"][tag]["medias"][0]["codec"] for tag in "ab"] == ["ulaw", "alaw"]
        assert reply["totals"]["RTP"]["packets"] == 9
        assert reply["totals"]["RTCP"] == {"packets": 1, "bytes": 28, "errors": 0}
        figures = worker.figures()
        assert (figures.packets, figures.lost, figures.sessions, figures.ports_in_use) == (9, 2, 0, 0)
