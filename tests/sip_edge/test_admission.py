"""What strangers and broken requests get, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.core.sip.message import Response, parse_message
from services.sip_edge.call.process import CallProcess
from tests.support.inprocess import InProcessPbx, in_process_pbx, write_config


@pytest.fixture
async def pbx(tmp_path: Path) -> AsyncIterator[InProcessPbx]:
    async with in_process_pbx(write_config(tmp_path)) as running:
        yield running


class Stranger:
    """A socket that sends what it likes."""

    def __init__(self, pbx: InProcessPbx) -> None:
        self._pbx = pbx
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(pbx.address().sockaddr())

    def invite(
        self,
        user: str,
        *,
        body: bytes = b"",
        contact: str = "Contact: <sip:x@127.0.0.1>\r\n",
        to: str = "<sip:2@pbx>",
        hops: int = 70,
    ) -> None:
        port = self._socket.getsockname()[1]
        head = (
            f"INVITE sip:2@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{user}{len(body)}\r\n"
            f"From: <sip:{user}@pbx>;tag=t\r\nTo: {to}\r\nCall-ID: {user}\r\nCSeq: 1 INVITE\r\n{contact}"
            f"Max-Forwards: {hops}\r\n"
        )
        if body:
            head += "Content-Type: application/sdp\r\n"
        self._socket.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def bye(self) -> None:
        port = self._socket.getsockname()[1]
        self._socket.send(
            f"BYE sip:2@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKbye\r\n"
            "From: <sip:x@pbx>;tag=t\r\nTo: <sip:2@pbx>\r\nCall-ID: bye\r\nCSeq: 2 BYE\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )

    async def hears(self) -> Response:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._socket, 65535), 2)
        message = parse_message(data)
        assert isinstance(message, Response)
        return message

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def stranger(pbx: InProcessPbx) -> AsyncIterator[Stranger]:
    made = Stranger(pbx)
    yield made
    made.close()


async def test_a_challenge_leaves_nothing_behind_to_repeat_it(pbx: InProcessPbx, stranger: Stranger) -> None:
    stranger.invite("dev1")
    assert (await stranger.hears()).status == 401
    assert len(pbx.edge.layer) == 0
    assert pbx.edge.layer.next_timer() is None


@pytest.mark.parametrize(
    ("to", "user", "hops", "status"),
    [
        ("<sip:2@pbx>;tag=gone", "dev1", 70, 481),
        ("<sip:2@pbx>", "dev1", 0, 483),
        ("<sip:2@pbx>", "dev1", 256, 400),
        ("<sip:2@pbx>", "[", 70, 400),
    ],
)
async def test_a_refusal_of_a_stranger_is_never_repeated(
    pbx: InProcessPbx, stranger: Stranger, to: str, user: str, hops: int, status: int
) -> None:
    stranger.invite(user, to=to, hops=hops)
    assert (await stranger.hears()).status == status
    assert len(pbx.edge.layer) == 0
    assert pbx.edge.layer.next_timer() is None


async def test_an_unknown_user_is_challenged_like_a_known_one(pbx: InProcessPbx, stranger: Stranger) -> None:
    stranger.invite("dev1")
    known = await stranger.hears()
    stranger.invite("nobody")
    unknown = await stranger.hears()
    assert [name for name, _ in known.headers] == [name for name, _ in unknown.headers]
    assert known.status == unknown.status


@pytest.mark.parametrize(
    ("body", "contact", "status"),
    [
        (b"", "", 400),
        (b"c=IN IP6 [2001:db8::1]\r\n", "Contact: <sip:x@127.0.0.1>\r\n", 400),
        (b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 4000 RTP/AVP 96\r\n",
         "Contact: <sip:x@127.0.0.1>\r\n", 488),
    ],
)  # fmt: skip
async def test_an_invite_that_cannot_become_a_call_is_refused_before_it_is_one(
    pbx: InProcessPbx, stranger: Stranger, body: bytes, contact: str, status: int
) -> None:
    stranger.invite("open", body=body, contact=contact)
    assert (await stranger.hears()).status == status
    assert pbx.edge.calls_active == 0


async def test_a_fault_in_one_call_ends_that_call(
    pbx: InProcessPbx, stranger: Stranger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_process: CallProcess, *_given: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(CallProcess, "located", broken)
    stranger.invite("open")
    statuses = [(await stranger.hears()).status, (await stranger.hears()).status]
    assert statuses == [100, 503]
    assert "a fault of ours ends it" in caplog.text


async def test_a_bye_outside_of_any_dialog_belongs_to_nothing(stranger: Stranger) -> None:
    stranger.bye()
    assert (await stranger.hears()).status == 481


async def test_an_invite_to_nobody_that_can_be_named_makes_no_call(pbx: InProcessPbx, stranger: Stranger) -> None:
    stranger.invite("open", to="<2>")
    assert (await stranger.hears()).status == 400
    assert pbx.edge.calls_active == 0
    assert pbx.recorder.facts == []
