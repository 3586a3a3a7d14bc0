"""SIP over WebSocket on real sockets, with aiohttp's client: RFC 7118, RFC 6455."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from services.core.address import Address
from services.core.config.secure import CertificateFiles, TlsSettings, WebSocketSettings
from services.core.sip.message import MAX_MESSAGE_BYTES
from services.sip_edge.transport import TransportLimits, UnreachableError
from services.sip_edge.transport.websocket import is_text, may_come_from
from tests.sip_edge.transport.world import TcpPeer, World, a_world, on_both_loops, options, until
from tests.support.certificates import Authority

LOOPBACKS = ("127.0.0.1", "::1")


def ws_options(number: int = 1) -> str:
    """As a browser's phone says it: its own host is a name that leads nowhere, and no length is needed."""
    return options(number, via="SIP/2.0/WS df7jal23ls0d.invalid").decode().replace("Content-Length: 0\r\n", "")


def handshake(here: Address) -> bytes:
    """The request of RFC 6455 section 1.2."""
    return (
        f"GET /ws HTTP/1.1\r\nHost: {here}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: sip\r\n\r\n"
    ).encode()


async def listening(world: World, host: str = "127.0.0.1", kind: str = "ws") -> Address:
    return await world.listen(host, udp=False, tcp=False, **{kind: True})


@asynccontextmanager
async def browser(
    here: Address,
    *,
    path: str = "/ws",
    protocols: tuple[str, ...] = ("sip",),
    origin: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    scheme = "wss" if tls else "ws"
    async with aiohttp.ClientSession() as session, session.ws_connect(
        f"{scheme}://{here}{path}", protocols=protocols, origin=origin, ssl=tls or True, autoping=False
    ) as socket:  # fmt: skip
        yield socket


async def refusal(here: Address, **how: object) -> int:
    """The HTTP status a handshake is refused with."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with browser(here, **how):  # type: ignore[arg-type]
            pass
    return caught.value.status


@pytest.mark.parametrize("host", LOOPBACKS)
@on_both_loops
async def test_one_message_a_frame_and_the_answer_on_the_same_connection(host: str) -> None:
    async with a_world() as world:
        here = await listening(world, host)
        async with browser(here) as phone:
            assert phone.protocol == "sip"
            await phone.send_str(ws_options(1))
            await phone.send_bytes(ws_options(2).encode())
            message, flow = await world.heard(2)
            assert (flow.transport, flow.local, flow.remote.host) == ("ws", here, host)
            assert (flow.reliable, flow.secure) == (True, False)
            assert message.top_via.received == host
            for _ in range(2):
                assert (await phone.receive_str()).startswith("SIP/2.0 200 OK\r\n")
            stats = world.transport.stats
            assert (stats["ws_accepted"], stats["ws_received"], stats["ws_sent"]) == (1, 2, 2)
        await until(lambda: world.closed == [flow])


@on_both_loops
async def test_over_tls_it_is_wss(tmp_path: Path) -> None:
    authority = Authority(folder=tmp_path)
    certificate = CertificateFiles(certificate=authority.issue("pbx.pem"), origin="sip.conf:3")
    async with a_world(tls=TlsSettings(certificates=(certificate,))) as world:
        here = await listening(world, kind="wss")
        async with browser(here, tls=authority.client()) as phone:
            await phone.send_str(ws_options())
            _, flow = await world.heard()
            assert (flow.transport, flow.secure) == ("wss", True)
            assert (await phone.receive_str()).startswith("SIP/2.0 200 OK\r\n")


@on_both_loops
async def test_a_message_in_several_frames_and_octets_one_by_one_is_one_message() -> None:
    async with a_world() as world:
        here = await listening(world)
        async with await TcpPeer.to(here) as phone:
            message = ws_options(5).encode()
            frames = b""
            for at in range(0, len(message), 100):
                piece = message[at : at + 100]
                first = (0x01 if at == 0 else 0x00) | (0x80 if at + 100 >= len(message) else 0)
                frames += bytes([first, 0x80 | len(piece)]) + b"\0\0\0\0" + piece
            for octet in handshake(here) + frames:
                phone.send(bytes([octet]))
                await asyncio.sleep(0)
            assert (await phone.receive()).startswith(b"HTTP/1.1 101 ")
            await world.heard()
            assert world.numbers == [5]


@on_both_loops
async def test_both_kinds_of_keep_alive_are_answered() -> None:
    async with a_world() as world:
        here = await listening(world)
        async with browser(here) as phone:
            await phone.send_str("\r\n\r\n")
            assert await phone.receive_str() == "\r\n"
            await phone.ping(b"x")
            assert (await phone.receive()).type is aiohttp.WSMsgType.PONG
            await phone.send_str("\r\n")
            await phone.send_str(ws_options())
            await world.heard()
            assert (world.transport.stats["keepalives"], world.errors) == (1, [])


@on_both_loops
async def test_a_silent_browser_is_pinged_and_given_up_when_it_does_not_answer() -> None:
    limits = TransportLimits(websocket_ping_s=0.05, sweep_s=0.01)
    async with a_world(limits=limits) as world:
        here = await listening(world)
        async with browser(here) as phone:
            for _ in range(2):
                ping = await phone.receive()
                assert ping.type is aiohttp.WSMsgType.PING
                assert not world.closed
                await phone.pong(ping.data)
            assert (await phone.receive()).type is aiohttp.WSMsgType.PING
            await until(lambda: world.closed)
            assert world.transport.stats["ws_overdue"] == 1


@on_both_loops
async def test_whoever_says_nothing_is_closed() -> None:
    limits = TransportLimits(first_message_s=0.05, sweep_s=0.01)
    async with a_world(limits=limits) as world:
        here = await listening(world)
        async with await TcpPeer.to(here) as silent, browser(here) as opened:
            assert await silent.ended()
            assert (await opened.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            assert world.transport.stats["ws_overdue"] == 2


@on_both_loops
async def test_what_is_no_handshake_for_us_is_refused_and_counted() -> None:
    async with a_world() as world:
        here = await listening(world)
        assert await refusal(here, path="/") == 404
        assert await refusal(here, protocols=()) == 400
        assert await refusal(here, protocols=("chat",)) == 400
        async with aiohttp.ClientSession() as session, session.get(f"http://{here}/ws") as answer:
            assert answer.status == 426
        async with await TcpPeer.to(here) as scanner:
            scanner.send(options())
            assert await scanner.ended()
        assert world.transport.stats["ws_handshake_failed"] == 5
        await until(lambda: not world.transport.connections)
        assert (world.messages, world.errors) == ([], [])


@on_both_loops
async def test_pages_of_other_hosts_are_refused_and_programs_are_not() -> None:
    async with a_world() as world:
        here = await listening(world, "::1")
        assert await refusal(here, origin="https://evil.example") == 403
        for origin in (None, "http://[::1]", "https://[0:0::1]:8443"):
            async with browser(here, origin=origin):
                pass
    async with a_world(websocket=WebSocketSettings(path="/sip", origins=("https://phone.example",))) as world:
        here = await listening(world)
        assert await refusal(here, path="/sip", origin="http://127.0.0.1") == 403
        async with browser(here, path="/sip?x=1", origin="https://Phone.example"):
            pass


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "may"),
    [
        ("https://pbx.example", "pbx.example:8089", (), True),
        ("https://pbx.example.evil.example", "pbx.example", (), False),
        ("null", "pbx.example", (), False),
        ("", "", (), False),
        ("https://[", "[", (), False),
        ("https://a.example", "pbx.example", ("*",), True),
        ("https://a.example:8443", "pbx.example", ("https://a.example",), False),
    ],
)
def test_origins(origin: str, host: str, allowed: tuple[str, ...], may: bool) -> None:
    assert may_come_from(origin, host, allowed) is may


@on_both_loops
async def test_a_message_too_long_and_a_broken_frame_end_the_connection() -> None:
    async with a_world() as world:
        here = await listening(world)
        async with browser(here) as phone:
            await phone.send_str("x" * (MAX_MESSAGE_BYTES + 1))
            closed = await phone.receive()
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        await until(lambda: world.closed)
        assert world.transport.stats["ws_framing_errors"] == 1
        async with browser(here) as phone:
            await phone.send_str("no SIP at all")
            await until(lambda: world.errors)
            await phone.send_str(ws_options())
            await world.heard()


@on_both_loops
async def test_whoever_pings_and_does_not_read_is_cut_off() -> None:
    async with a_world(limits=TransportLimits(write_buffer_bytes=4096)) as world:
        here = await listening(world)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await asyncio.get_running_loop().sock_connect(deaf, here.sockaddr())
            deaf.send(handshake(here))
            await until(lambda: world.transport.connections)
            (connection,) = world.transport._streams._connections.values()
            assert connection._transport is not None
            ours = connection._transport.get_extra_info("socket")
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            ping = b"\x89\xfd\0\0\0\0" + bytes(125)

            def cut_off() -> bool:
                with suppress(BlockingIOError, ConnectionError):
                    deaf.send(ping * 100)
                return bool(world.closed)

            await until(cut_off)
            assert world.transport.stats["ws_send_full"] == 1


@on_both_loops
async def test_a_browser_is_reached_on_its_connection_only() -> None:
    async with a_world() as world:
        here = await listening(world)
        async with browser(here) as phone:
            await phone.send_str(ws_options())
            _, flow = await world.heard()
            await phone.receive_str()
            transport = world.transport
            found = transport.flow_between("ws", flow.local, flow.remote, flow.id)
            assert found == flow
            assert transport.send("OPTIONS sip:ünïcode SIP/2.0\r\n\r\n".encode(), flow)
            assert (await phone.receive()).type is aiohttp.WSMsgType.TEXT
            assert transport.send(b"OPTIONS sip:\xff SIP/2.0\r\n\r\n", flow)
            assert (await phone.receive()).type is aiohttp.WSMsgType.BINARY
            with pytest.raises(UnreachableError, match="opened by the other side"):
                await transport.flow_to("ws", flow.remote)
        await until(lambda: world.closed)
        assert transport.flow_between("ws", flow.local, flow.remote, flow.id) is None
        assert not transport.send(b"OPTIONS", flow, reopen=flow.remote)


@on_both_loops
async def test_when_the_transport_closes_browsers_are_told() -> None:
    async with a_world() as world:
        here = await listening(world)
        async with browser(here) as phone:
            await phone.send_str(ws_options())
            await phone.receive_str()
            await world.transport.close()
            closed = await phone.receive()
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1001)


def test_text_is_what_is_utf_8() -> None:
    assert is_text(b"plain") and is_text("ünïcode".encode()) and not is_text(b"\xff")
