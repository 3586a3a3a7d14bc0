"""A PBX that strange messages are fed to over real sockets, and what comes back, as words.

An outcome is what the sender sees: final statuses in their order (`486`, `200 486`), `ignored`, and over TCP also
`closed` behind them (`400 closed`) and `waits` (nothing until the octets that were promised come).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from services.core.address import Address, Family
from tests.support.inprocess import InProcessPbx, in_process_pbx, write_config
from tests.support.rawsip import PATIENCE_S, Message, Stream, Way, compose

SENT_BY_PORT = 25060
"""Where the UDP messages of the files that do not ask for `rport` want their answers; no ephemeral port."""

SIP_CONF = """
[general]
context=internal
bindaddr=127.0.0.1:0
bindaddr=[::1]:0
realm=pbx.example
allow=ulaw,alaw
allowguest=yes

[open](!)
type=friend
host=dynamic
context=internal

[user](open)
[cparam01](open)
[cparam02](open)
[regescrt](open)
[ipv6-good](open)
[port-ambiguous](open)
[port-unambiguous](open)

[secretive](open)
secret=one
"""
"""Nobody is asked for a password: what is refused is refused for what it says."""

EXTENSIONS_CONF = """
[internal]
exten => _.,1,Busy()
exten => s,1,Busy()
"""
"""An INVITE that is taken ends as 486, and no call is left behind."""

_HOSTS = itertools.count(1)


@contextmanager
def running_pbx(folder: Path) -> Iterator[InProcessPbx]:
    """A PBX on an event loop in a thread of its own, for tests with blocking sockets."""
    ready: Future[tuple[InProcessPbx, Callable[[], object]]] = Future()

    async def serve() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with in_process_pbx(write_config(folder, sip=SIP_CONF, extensions=EXTENSIONS_CONF)) as pbx:
            ready.set_result((pbx, lambda: loop.call_soon_threadsafe(end.set)))
            await end.wait()

    def live() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=live, name="PBX")
    thread.start()
    pbx, stop = ready.result(PATIENCE_S)
    try:
        yield pbx
    finally:
        stop()
        thread.join(PATIENCE_S)


class Udp:
    """A UDP socket at an address of its own, so that copies of old answers meet nobody else."""

    transport = "udp"

    def __init__(self, pbx: Address) -> None:
        self._pbx = pbx
        self._socket = socket.socket(pbx.family.af, socket.SOCK_DGRAM)
        if pbx.family is Family.IP4:
            number, process = next(_HOSTS), os.getpid()
            host = f"127.{1 + process % 250}.{number // 250 % 250 + process // 250 % 5 * 50}.{1 + number % 250}"
            self._socket.bind((host, SENT_BY_PORT))
        else:
            self._socket.bind((pbx.host, 0))

    @property
    def local(self) -> Address:
        return Address.from_sockaddr(self._socket.getsockname())

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, self._pbx.sockaddr())

    def receive(self, timeout_s: float = PATIENCE_S) -> Message:
        self._socket.settimeout(timeout_s)
        return Message.read(self._socket.recv(65535))

    def close(self) -> None:
        self._socket.close()


def outcome_over_udp(pbx: Address, data: bytes, expected: str) -> str:
    """What the sender of a datagram sees; `expected` says how many answers to wait for."""
    way = Udp(pbx)
    try:
        way.send(data)
        return _answers(way, expected)
    finally:
        way.close()


def outcome_over_tcp(pbx: Address, data: bytes, expected: str) -> str:
    """What the sender of a piece of a stream sees."""
    with Stream(pbx) as way:
        way.send(data)
        if expected == "waits":
            return _silence(way, pbx)
        if not expected.endswith("closed"):
            return _answers(way, expected)
        said: list[str] = []
        while True:
            try:
                message = way.receive()
            except EOFError:
                return " ".join([*said, "closed"])
            if message.status >= 200:
                said.append(str(message.status))


def _answers(way: Udp | Stream, expected: str) -> str:
    """The final answers that come, and then the proof that nothing else does: an OPTIONS is answered next."""
    wanted = 0 if expected == "ignored" else len(expected.split())
    said: list[str] = []
    while len(said) < wanted:
        message = _next(way)
        if message.status >= 200:
            said.append(str(message.status))
    call_id = f"probe-{secrets.token_hex(8)}"
    way.send(probe(way, call_id))
    while True:
        message = _next(way)
        if message.get("Call-ID") == call_id:
            assert message.status == 200, message
            return " ".join(said) or "ignored"
        if message.status >= 200 and (not said or expected == "ignored"):
            said.append(str(message.status))


def _next(way: Udp | Stream) -> Message:
    """The next message, into which nobody has written a header of theirs (`X-Injected`)."""
    try:
        message = way.receive()
    except EOFError:
        raise AssertionError("the connection was closed") from None
    except TimeoutError:
        raise AssertionError("no answer") from None
    assert not message.get("X-Injected"), message
    return message


def _silence(way: Stream, pbx: Address) -> str:
    """Everybody else is served, this one is neither answered nor closed."""
    with Stream(pbx) as other:
        _answers(other, "ignored")
    try:
        return f"said {way.receive_bytes(0.05)!r}"
    except TimeoutError:
        return "waits"


def probe(way: Way, call_id: str) -> bytes:
    """An OPTIONS that is answered 200."""
    rows = [
        ("Via", f"SIP/2.0/{way.transport.upper()} {way.local};branch=z9hG4bK{secrets.token_hex(8)};rport"),
        ("Max-Forwards", "70"),
        ("From", f"<sip:probe@pbx.example>;tag={secrets.token_hex(4)}"),
        ("To", "<sip:user@pbx.example>"),
        ("Call-ID", call_id),
        ("CSeq", "1 OPTIONS"),
    ]
    return compose("OPTIONS sip:user@pbx.example SIP/2.0", rows)
