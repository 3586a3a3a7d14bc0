"""A transport on real loopback sockets, peers that talk to it, and a test runner for both event loops."""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
import uvloop

from services.core.address import Address, HostPort
from services.core.config.secure import TlsSettings, WebSocketSettings
from services.core.config.sip import ListenerSettings
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response
from services.sip_edge.transport import SipTransport, TransportLimits

PATIENCE_S = 10.0
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None, "uvloop": uvloop.new_event_loop}


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test under asyncio's loop and under uvloop, which production uses."""

    @functools.wraps(test)
    def run(*args: Any, loop_name: str, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(PATIENCE_S):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
            runner.run(bounded())

    signature = inspect.signature(test)
    loop_parameter = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), loop_parameter]
    )
    del run.__wrapped__
    marked: Callable[..., None] = pytest.mark.parametrize("loop_name", LOOPS)(run)
    return marked


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - the condition is the state of somebody else's object
        await asyncio.sleep(0.001)


def link_locals() -> list[Address]:
    """The link-local addresses of this machine, with their interfaces."""
    found = []
    with open("/proc/net/if_inet6", encoding="ascii") as table:
        for line in table:
            packed, index, _, scope, flags, _ = line.split()
            if scope == "20" and not int(flags, 16) & 0x48:
                host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(packed))
                found.append(Address(host, 0, int(index, 16)))
    return found


def settings(
    host: str,
    *,
    port: int = 0,
    udp: bool = True,
    tcp: bool = True,
    advertised: HostPort | None = None,
    **others: bool,
) -> ListenerSettings:
    address = Address(host, port)
    return ListenerSettings(address=address, udp=udp, tcp=tcp, advertised=advertised, origin="sip.conf:3", **others)


def options(number: int = 1, *, via: str = "SIP/2.0/UDP phone.invalid:5070", via_params: str = ";rport") -> bytes:
    """An OPTIONS request; its number is its CSeq."""
    return (
        f"OPTIONS sip:pbx.example SIP/2.0\r\nVia: {via};branch=z9hG4bK{number}{via_params}\r\n"
        f"From: <sip:a@b.example>;tag=q\r\nTo: <sip:pbx.example>\r\nCall-ID: c{number}\r\n"
        f"CSeq: {number} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@dataclass
class World:
    """A transport that remembers what it was told, and answers when `answers` is set."""

    answers: bool = True
    limits: TransportLimits | None = None
    tls: TlsSettings | None = None
    websocket: WebSocketSettings | None = None
    messages: list[tuple[Request | Response, Flow]] = field(default_factory=list)
    errors: list[tuple[SipError, bytes, Flow]] = field(default_factory=list)
    closed: list[Flow] = field(default_factory=list)
    on_message: Callable[[Request | Response, Flow], None] | None = None

    def __post_init__(self) -> None:
        self.transport = SipTransport(
            self._message,
            self._error,
            self.closed.append,
            limits=self.limits,
            tls=self.tls,
            websocket=self.websocket,
        )

    def _message(self, message: Request | Response, flow: Flow) -> None:
        self.messages.append((message, flow))
        if self.on_message is not None:
            self.on_message(message, flow)
        if self.answers and isinstance(message, Request):
            self.transport.send(make_response(message, 200).to_bytes(), flow)

    def _error(self, error: SipError, data: bytes, flow: Flow) -> None:
        self.errors.append((error, data, flow))
        if self.answers and error.message is not None:
            self.transport.send(make_response(error.message, error.status, error.reason).to_bytes(), flow)

    async def listen(self, host: str, **more: Any) -> Address:
        return await self.transport.listen(settings(host, **more))

    async def heard(self, count: int = 1) -> tuple[Request | Response, Flow]:
        """Wait for that many messages and return the last."""
        await until(lambda: len(self.messages) >= count)
        return self.messages[count - 1]

    @property
    def numbers(self) -> list[int]:
        """The CSeq numbers of what was heard, in order."""
        return [message.cseq.number for message, _ in self.messages]


@asynccontextmanager
async def a_world(**fields: Any) -> AsyncIterator[World]:
    world = World(**fields)
    try:
        yield world
    finally:
        await world.transport.close()


class UdpPeer:
    """A datagram socket of a phone."""

    def __init__(self, host: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((host, port))
        self._arrived: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(self.sock.fileno(), self._read)

    @property
    def address(self) -> Address:
        return Address.from_sockaddr(self.sock.getsockname())

    def send(self, data: bytes, to: Address) -> None:
        self.sock.sendto(data, to.sockaddr())

    async def receive(self) -> tuple[bytes, Address]:
        """The next datagram and where it came from."""
        return await self._arrived.get()

    def _read(self) -> None:
        data, peer = self.sock.recvfrom(65536)
        self._arrived.put_nowait((data, Address.from_sockaddr(peer)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.get_running_loop().remove_reader(self.sock.fileno())
        self.sock.close()


class TcpPeer:
    """A connection of a phone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, address: Address) -> TcpPeer:
        return cls(*await asyncio.open_connection(address.host, address.port))

    @property
    def address(self) -> Address:
        return Address.from_sockaddr(self.writer.get_extra_info("sockname"))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> bytes:
        """The next message without a body."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def ended(self) -> bool:
        """Wait for the end of the stream; what was left in it is dropped."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionResetError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
