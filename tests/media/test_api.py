"""Media control over ng dictionaries: what is asked, and what replies mean."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import Any

import pytest

from services.core.address import Family
from services.media.api import (
    ENDLESS,
    MediaControl,
    MediaError,
    MediaOverloaded,
    MediaRefused,
    MediaStats,
    NgMedia,
    Notice,
    PartyStats,
    UnknownCall,
)
from services.media.ng.message import Envelope, Message
from services.media.ng.replies import UNKNOWN_CALL, error, load_limit


class Worker:
    """A `handle` that notes requests and gives one reply."""

    def __init__(self, reply: Message) -> None:
        self.reply = reply
        self.asked: list[Message] = []

    def handle(self, message: Message) -> Message:
        self.asked.append(message)
        return self.reply


def control(**reply: Any) -> tuple[MediaControl, Worker]:
    worker = Worker({"result": "ok", **reply})
    return NgMedia.local(worker.handle), worker


async def test_an_offer_says_who_shall_see_it_and_in_which_family() -> None:
    media, worker = control(sdp=b"rewritten")
    sdp = await media.offer(
        call_id="c", from_tag="a", to_tag="b", sdp=b"offered", family=Family.IP6,
        from_address="192.0.2.1", to_address="2001:db8::1",
        flags=["media-echo"], options={"direction": ["pub", "priv"]},
    )  # fmt: skip
    assert sdp == b"rewritten"
    assert worker.asked == [
        {
            "command": "offer", "call-id": "c", "from-tag": "a", "to-tag": "b", "sdp": b"offered",
            "replace": ["origin", "session-connection"], "flags": ["media-echo"], "notices": "here",
            "direction": ["pub", "priv"], "address-family": "IP6",
            "received-from": ["IP4", "192.0.2.1"], "sent-to": ["IP6", "2001:db8::1"],
        }
    ]  # fmt: skip


async def test_an_answer_comes_from_the_to_side() -> None:
    media, worker = control(sdp=b"rewritten")
    await media.answer(
        call_id="c", from_tag="a", to_tag="b", sdp=b"answered", from_address="192.0.2.1", to_address="2001:db8::1"
    )
    (asked,) = worker.asked
    assert (asked["command"], asked["received-from"], asked["sent-to"]) == (
        "answer", ["IP6", "2001:db8::1"], ["IP4", "192.0.2.1"],
    )  # fmt: skip
    assert "address-family" not in asked


async def test_playing_one_file_is_plain_ng() -> None:
    media, worker = control(duration=1500)
    assert await media.play(call_id="c", tag="a", files=["hello-world"], repeat=2) == 3.0
    assert worker.asked == [
        {
            "command": "play media",
            "call-id": "c",
            "from-tag": "a",
            "file": "hello-world",
            "repeat-times": 2,
            "notices": "here",
        }
    ]


async def test_several_files_and_endless_music() -> None:
    media, worker = control(duration=1500)
    assert await media.play(call_id="c", tag="a", files=["digits/1", "digits/2"]) == 1.5
    assert await media.play(call_id="c", tag="a", files=["hold"], repeat=0) == math.inf
    assert worker.asked[0]["files"] == ["digits/1", "digits/2"]
    assert "repeat-times" not in worker.asked[0]
    assert worker.asked[1]["repeat-times"] == ENDLESS


async def test_stopping() -> None:
    media, worker = control()
    await media.stop(call_id="c", tag="a")
    assert worker.asked == [{"command": "stop media", "call-id": "c", "from-tag": "a"}]


async def test_deleting_a_party_or_all() -> None:
    media, worker = control()
    await media.delete(call_id="c", tag="b")
    assert await media.delete(call_id="c") == MediaStats()
    assert worker.asked == [{"command": "delete", "call-id": "c", "to-tag": "b"}, {"command": "delete", "call-id": "c"}]


async def test_a_call_that_is_gone_was_deleted() -> None:
    worker = Worker(error(UNKNOWN_CALL))
    assert await NgMedia.local(worker.handle).delete(call_id="c") == MediaStats()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(UNKNOWN_CALL), UnknownCall),
        (error("Incomplete SDP"), MediaRefused),
        (error("Ran out of ports"), MediaOverloaded),
        (load_limit(), MediaOverloaded),
        ({"result": "strange"}, MediaRefused),
        ({}, MediaRefused),
    ],
)
async def test_refusals_are_told_apart(reply: Message, kind: type[MediaError]) -> None:
    with pytest.raises(MediaError) as caught:
        await NgMedia.local(Worker(reply).handle).query(call_id="c")
    assert caught.type is kind


async def test_a_reply_without_a_description_is_a_refusal() -> None:
    media, _ = control()
    with pytest.raises(MediaRefused, match="description"):
        await media.answer(call_id="c", from_tag="a", to_tag="b", sdp=b"")


async def test_a_raw_command_gives_the_raw_reply() -> None:
    worker = Worker(error("no"))
    assert await NgMedia.local(worker.handle).command({"command": "ping"}) == error("no")


async def test_notices_may_be_left_out() -> None:
    asked: list[Message] = []

    def command(message: Message) -> Awaitable[Message]:
        asked.append(message)
        return reply()

    async def reply() -> Message:
        return {"result": "ok", "sdp": b""}

    media = NgMedia(command, notices=False)
    await media.offer(call_id="c", from_tag="a", to_tag="b", sdp=b"", family=Family.IP4)
    await media.play(call_id="c", tag="a", files=["x"])
    assert not any("notices" in message for message in asked)


# --- statistics --------------------------------------------------------------------------------------------------


def party(**stream: Any) -> dict[str, Any]:
    return {"medias": [{"type": "audio", "codec": "ulaw", "streams": [stream, {"stats": {"packets": 99}}]}]}


async def test_statistics_of_our_worker() -> None:
    media, _ = control(
        tags={
            "a": party(
                endpoint={"family": "IPv6", "address": "2001:db8::1", "port": 4000},
                stats={"packets": 100, "bytes": 17200, "errors": 0, "lost": 3, "jitter": 1250},
                stats_out={"packets": 90, "bytes": 15480},
            ),
            "b": party(family="IP4"),
        }
    )
    stats = await media.query(call_id="c")
    assert stats.party("a") == PartyStats(
        tag="a", family=Family.IP6, codec="ulaw", packets_received=100, packets_sent=90,
        bytes_received=17200, bytes_sent=15480, packets_lost=3, jitter_ms=1.25,
    )  # fmt: skip
    assert stats.party("b") == PartyStats(tag="b", family=Family.IP4, codec="ulaw")
    assert stats.party("c") is None


def test_statistics_of_rtpengine_lack_what_it_does_not_count() -> None:
    stats = MediaStats.from_reply(
        {"tags": {"a": {"medias": [{"streams": [{"stats": {"packets": 5, "bytes": 860, "errors": 0}}]}]}, "": {}}}
    )
    assert [(each.tag, each.packets_received, each.family) for each in stats.parties] == [("a", 5, None), ("", 0, None)]


@pytest.mark.parametrize(
    "tags",
    [None, 3, [], {"a": 1}, {"a": {"medias": 1}}, {"a": {"medias": [1, {"streams": "x"}]}},
     {"a": {"medias": [{"streams": [{"stats": [], "endpoint": 1, "stats_out": {"packets": "x"}}], "codec": 1}]}}],
)  # fmt: skip
def test_statistics_of_any_shape_are_read(tags: object) -> None:
    for each in MediaStats.from_reply({"tags": tags}).parties:
        assert (each.packets_received, each.packets_sent, each.codec) == (0, 0, "")


def test_streams_of_several_media_lines_are_summed() -> None:
    one = party(stats={"packets": 1, "bytes": 10, "lost": 1, "jitter": 500}, stats_out={"packets": 2, "bytes": 20})
    both = {"medias": one["medias"] * 2}
    (stats,) = MediaStats.from_reply({"tags": {"a": both}}).parties
    assert (stats.packets_received, stats.bytes_sent, stats.packets_lost, stats.jitter_ms) == (2, 40, 2, 0.5)


# --- notices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "notice",
    [
        Notice(call_id="c", tag="a", kind="digit", digit="#", duration_ms=160, seq=7),
        Notice(call_id="c\u00e9", tag="a", kind="played", seq=8),
        Notice(call_id="c", tag="a", kind="timeout", duration_ms=30000, seq=9),
    ],
)
def test_a_notice_survives_the_wire(notice: Notice) -> None:
    wire = Envelope(b"n1", notice.to_message()).encode()
    assert Notice.from_message(Envelope.decode(wire).message) == notice


def test_a_notice_reaches_whoever_listens() -> None:
    media = NgMedia.local(Worker({}).handle)
    notice = Notice(call_id="c", tag="a", kind="digit", digit="1", seq=1)
    media.notified(notice.to_message())
    heard: list[Notice] = []
    media.on_notice = heard.append
    media.notified(notice.to_message())
    assert heard == [notice]


def test_a_notice_of_a_kind_we_do_not_know_is_passed_over() -> None:
    weather = {"command": "notify", "event": "weather"}
    with pytest.raises(ValueError, match="kind"):
        Notice.from_message(weather)
    media = NgMedia.local(Worker({}).handle)
    heard: list[Notice] = []
    media.on_notice = heard.append
    media.notified(weather)
    assert heard == []
