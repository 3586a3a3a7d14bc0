"""What a party hears from the worker itself: recordings, and its own echo. Real sockets, short recordings."""

import asyncio
from pathlib import Path

import pytest

from services.core.address import Family
from services.core.sdp import synthesise_answer
from services.media.api import MediaRefused, Notice, UnknownCall
from services.media.codecs import PCMA, PCMU, Codec, encode
from services.media.local import LocalMedia
from services.media.rtp import HEADER

from .support import Phone, Session, a_worker, audio_port, description, phones
from .test_prompts import steps, write_wav

IP4, IP6 = Family.IP4, Family.IP6


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Three frames, and two others."""
    write_wav(tmp_path / "three.wav", steps(480))
    write_wav(tmp_path / "two.wav", steps(320))
    write_wav(tmp_path / "long.wav", steps(160 * 500))
    return tmp_path


def connect_to_application(session: Session, phone: Phone, *formats: int) -> int:
    """The phone talks to an application; the port it sends to."""
    offer = phone.sdp(*formats)
    session.offer(offer, phone.family, to_tag="app")
    answer = synthesise_answer(offer, ("ulaw", "alaw"), session_id=1)
    assert answer is not None
    return audio_port(session.answer(answer, to_tag="app"))


@pytest.mark.parametrize("family", [IP4, IP6])
@pytest.mark.parametrize(("payload_type", "codec"), [(0, PCMU), (8, PCMA)])
async def test_a_party_hears_a_recording_in_its_codec(
    sounds: Path, family: Family, payload_type: int, codec: Codec
) -> None:
    with a_worker(sounds_directory=sounds) as worker, phones(family) as (phone,):
        session = Session(worker)
        connect_to_application(session, phone, payload_type, 101)
        assert session.ask("play media", from_tag="a", file="three") == {"result": "ok", "duration": 60}
        packets = [await phone.hears() for _ in range(3)]
        assert b"".join(packet[12:] for packet in packets) == encode(codec, steps(480))
        assert packets[0][1] == 0x80 | payload_type
        assert worker.figures().playing == 1


async def test_a_recording_goes_to_where_the_phone_is_heard() -> None:
    with a_worker() as worker, phones(IP4) as (phone,):
        session = Session(worker)
        offer = phone.sdp(host="192.0.2.44", port=7)
        session.offer(offer, IP4, to_tag="app")
        answer = synthesise_answer(offer, ("ulaw",), session_id=1)
        assert answer is not None
        port = audio_port(session.answer(answer, to_tag="app"))
        session.ask("play media", from_tag="a", file="beep")
        phone.send(phone.packet(), port)
        await phone.hears()


async def test_the_end_is_noticed_and_the_peer_is_heard_again(sounds: Path) -> None:
    with a_worker(sounds_directory=sounds) as worker, phones(IP4, IP6) as (caller, callee):
        notices: list[Notice] = []
        ended = asyncio.Event()

        def noticed(notice: Notice) -> None:
            notices.append(notice)
            ended.set()

        worker.on_notice = noticed
        session = Session(worker)
        to_caller, to_callee = session.connect(caller, callee)
        reply = session.ask("play media", from_tag="a", files=["three", "two"])
        assert reply["duration"] == 100
        callee.send(callee.packet(b"unheard"), to_callee)
        played = [await caller.hears() for _ in range(5)]
        assert all(len(packet) == 172 for packet in played)
        assert caller.send(caller.packet(), to_caller) == await callee.hears(), "the other way nothing changes"
        await asyncio.wait_for(ended.wait(), 5)
        assert [(notice.kind, notice.tag) for notice in notices] == [("played", "a")]
        assert callee.send(callee.packet(), to_callee) == await caller.hears()
        assert HEADER.unpack_from(played[0])[4] != callee.ssrc


async def test_stopping_is_no_end_and_lets_the_peer_be_heard(sounds: Path) -> None:
    with a_worker(sounds_directory=sounds) as worker, phones(IP4, IP4) as (caller, callee):
        notices: list[Notice] = []
        worker.on_notice = notices.append
        session = Session(worker)
        _, to_callee = session.connect(caller, callee)
        session.ask("play media", from_tag="a", file="long", repeat_times=2**31 - 1)
        await caller.hears()
        assert session.ask("stop media", from_tag="a") == {"result": "ok"}
        assert callee.send(callee.packet(), to_callee) == await caller.hears()
        assert worker.figures().playing == 0
        assert session.ask("stop media", from_tag="a") == {"result": "ok"}
        assert session.ask("stop media", from_tag="nobody") == {"result": "ok"}
        assert notices == []


async def test_a_new_recording_replaces_the_one_that_plays(sounds: Path) -> None:
    with a_worker(sounds_directory=sounds) as worker, phones(IP4) as (phone,):
        session = Session(worker)
        connect_to_application(session, phone)
        session.ask("play media", from_tag="a", file="long")
        first = HEADER.unpack_from(await phone.hears())
        session.ask("play media", from_tag="a", file="two")
        second = HEADER.unpack_from(await phone.hears())
        assert worker.figures().playing == 1
        assert second[1] & 0x80, "the marker"
        assert (second[2], second[4]) == ((first[2] + 1) & 0xFFFF, first[4])


async def test_a_party_that_leaves_is_played_to_no_more(sounds: Path) -> None:
    with a_worker(sounds_directory=sounds) as worker, phones(IP4) as (phone,):
        session = Session(worker)
        connect_to_application(session, phone)
        session.ask("play media", from_tag="a", file="long")
        session.ask("delete", to_tag="a")
        assert worker.figures().playing == 0


async def test_what_cannot_be_played_is_told(sounds: Path) -> None:
    with a_worker(sounds_directory=sounds) as worker:
        session = Session(worker)
        session.offer(description(IP4, "192.0.2.1", 4000, (18, 101)), IP4)
        assert "PCMU, PCMA" in session.ask("play media", from_tag="a", file="two")["error-reason"]
        assert session.ask("play media", from_tag="x", file="two")["error-reason"] == "Unknown tag"
        assert session.ask("play media", from_tag="a")["error-reason"] == "No file to play in message"
        secret = description(IP4, "192.0.2.1", 4000).replace(b"RTP/AVP", b"RTP/SAVP")
        session.offer(secret, IP4)
        assert "SRTP" in session.ask("play media", from_tag="a", file="two")["error-reason"]
        session.offer(description(IP4, "192.0.2.1", 4000), IP4)
        assert str(sounds / "none.wav") in session.ask("play media", from_tag="a", file="none")["error-reason"]
        assert worker.figures().playing == 0


# --- echo --------------------------------------------------------------------------------------------------------


async def test_a_party_hears_itself_under_another_source(sounds: Path) -> None:
    with a_worker(sounds_directory=sounds) as worker, phones(IP6) as (phone,):
        session = Session(worker)
        port = connect_to_application(session, phone)
        answer = synthesise_answer(phone.sdp(), ("ulaw",), session_id=1)
        assert answer is not None
        session.answer(answer, to_tag="app", flags=["media-echo"])
        sent = phone.send(phone.packet(b"hello"), port)
        heard = await phone.hears()
        assert heard[:8] + heard[12:] == sent[:8] + sent[12:]
        assert heard[8:12] != sent[8:12]
        phone.send_rtcp(bytes.fromhex("80c80006") + bytes(24), port + 1)
        session.answer(answer, to_tag="app", media_echo="off")
        phone.send(phone.packet(b"unheard"), port)
        assert await phone.hears_nothing()


async def test_a_recording_comes_before_the_echo(sounds: Path) -> None:
    with a_worker(sounds_directory=sounds) as worker, phones(IP4) as (phone,):
        session = Session(worker)
        session.offer(phone.sdp(), IP4, to_tag="app", media_echo="backwards")
        answer = synthesise_answer(phone.sdp(), ("ulaw",), session_id=1)
        assert answer is not None
        port = audio_port(session.answer(answer, to_tag="app"))
        session.ask("play media", from_tag="a", file="long")
        phone.send(phone.packet(b"unheard"), port)
        assert len(await phone.hears()) == 172
        session.ask("stop media", from_tag="a")
        phone.send(phone.packet(b"heard"), port)
        assert (await phone.hears())[12:] == b"heard"


async def test_an_echo_is_not_heard_by_the_peer_and_ends_with_the_connection() -> None:
    with a_worker() as worker, phones(IP4, IP4, IP4) as (caller, callee, third):
        session = Session(worker)
        to_caller, to_callee = session.connect(caller, callee)
        session.offer(caller.sdp(), IP4, media_echo="backwards")
        caller.send(caller.packet(b"me"), to_caller)
        assert (await caller.hears())[12:] == b"me"
        callee.send(callee.packet(b"you"), to_callee)
        assert await callee.hears_nothing()
        assert await caller.hears_nothing()

        session.offer(caller.sdp(), IP4, to_tag="c")
        session.answer(third.sdp(), to_tag="c")
        assert caller.send(caller.packet(), to_caller) == await third.hears()


# --- by the edge's interface -----------------------------------------------------------------------------------------


async def test_local_media_is_media_control(sounds: Path) -> None:
    with a_worker(sounds_directory=sounds) as worker, phones(IP4, IP6) as (caller, callee):
        media = LocalMedia(worker)
        notices: list[Notice] = []
        media.on_notice = notices.append
        offered = await media.offer(
            call_id="c",
            from_tag="a",
            to_tag="b",
            sdp=caller.sdp(),
            family=IP6,
            from_address="127.0.0.1",
            to_address="::1",
        )
        answered = await media.answer(
            call_id="c", from_tag="a", to_tag="b", sdp=callee.sdp(), from_address="127.0.0.1", to_address="::1"
        )
        assert caller.send(caller.packet(), audio_port(answered)) == await callee.hears()
        assert callee.send(callee.packet(), audio_port(offered)) == await caller.hears()

        assert await media.play(call_id="c", tag="b", files=["two", "three"], repeat=2) == pytest.approx(0.2)
        for _ in range(10):
            await callee.hears()
        assert await media.play(call_id="c", tag="b", files=["long"], repeat=0) == float("inf")
        await media.stop(call_id="c", tag="b")
        with pytest.raises(MediaRefused):
            await media.play(call_id="c", tag="b", files=["none"])

        counted = await media.query(call_id="c")
        a, b = counted.party("a"), counted.party("b")
        assert a is not None
        assert b is not None
        assert (a.family, a.codec, a.packets_received, a.packets_sent, a.packets_lost) == (IP4, "ulaw", 1, 1, 0)
        assert b.family is IP6
        assert b.packets_sent >= 11
        assert (await media.delete(call_id="c", tag="b")).party("b") is not None
        assert (await media.delete(call_id="c")).party("a") is not None
        with pytest.raises(UnknownCall):
            await media.query(call_id="c")
