"""The worker's side of ng over UDP.

A datagram becomes a dictionary, `handler(message)` gives the reply, and the reply is kept by cookie so that a
retransmission gets the same bytes and is not executed again. Anything that is no ng message costs a counter and, when
its cookie could be read, one error reply. Notices go to whoever last said `notices: here` about their call.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable
from typing import cast

from services.core.address import Address, Family
from services.media.api import Notice
from services.media.ng.cache import ReplyCache
from services.media.ng.errors import NgError
from services.media.ng.message import Encoding, Envelope, Message, normalised
from services.media.ng.notices import NoticeSender
from services.media.ng.replies import INTERNAL_ERROR, OK, error

MAX_REPLY_BYTES = 65000
"""Largest reply that is sure to fit a datagram of either family."""
RECEIVE_BUFFER_BYTES = 4 << 20
"""Socket buffer asked for; the kernel may give less. A burst of signalling must not be dropped unseen."""

_log = logging.getLogger(__name__)

_Peer = tuple["_Listener", tuple[str, int]]


class NgServer:
    """Serves one handler on any number of UDP addresses.

    `handler` takes a request with normalised keys and returns the reply; it is synchronous and must not raise. Should
    it, the client gets `Internal error` and the log the traceback.
    """

    def __init__(
        self,
        handler: Callable[[Message], Message],
        *,
        clock: Callable[[], float] = time.monotonic,
        instance: str | None = None,
    ) -> None:
        """`instance` names this run of the worker in its notices; random when not given."""
        self._handler = handler
        self._clock = clock
        self._cache = ReplyCache(clock())
        self._notices: NoticeSender[_Peer] = NoticeSender(instance or secrets.token_hex(4))
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._listeners: list[_Listener] = []
        self.requests = 0
        """Requests executed."""
        self.repeated = 0
        """Retransmissions answered from the cache."""
        self.unreadable = 0
        """Datagrams that were no ng message."""

    @property
    def notices_given_up(self) -> int:
        """Notices that nobody acknowledged, or nobody had asked for."""
        return self._notices.given_up

    async def listen(self, address: Address) -> Address:
        """Serve an address (port 0: any); the address as bound. Raises OSError."""
        sock = socket.socket(address.family.af, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if address.family is Family.IP6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            sock.bind(address.sockaddr())
            bound = Address.from_sockaddr(sock.getsockname())
            listener = _Listener(self)
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: listener, sock=sock)
        except OSError:
            sock.close()
            raise
        self._listeners.append(listener)
        return bound

    def notify(self, notice: Notice) -> None:
        """Send a notice to the edge of its call, again until it is acknowledged. Never raises, never blocks."""
        self._send(self._notices.send(notice.call_id, notice.to_message(), self._clock()))

    def call_ended(self, call_id: str) -> None:
        """The worker forgot a call without being told to; notices already taken are still delivered."""
        self._notices.call_ended(call_id)

    async def close(self) -> None:
        """Stop serving. Notices not yet acknowledged are lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    # --- requests ----------------------------------------------------------------------------------------------------

    def _received(self, data: bytes, peer: _Peer) -> None:
        try:
            envelope = Envelope.decode(data)
        except NgError as problem:
            self.unreadable += 1
            if problem.cookie:
                peer[0].send(Envelope(problem.cookie, error(problem.reason)).encode(), peer[1])
            return
        if "result" in envelope.message:
            self._send(self._notices.acknowledged(envelope.cookie, self._clock()))
            return
        now = self._clock()
        host = peer[1][0]
        reply = self._cache.get(host, envelope.cookie, now)
        if reply is None:
            reply = self._executed(envelope, peer)
            self._cache.put(host, envelope.cookie, reply, now)
        else:
            self.repeated += 1
        peer[0].send(reply, peer[1])

    def _executed(self, envelope: Envelope, peer: _Peer) -> bytes:
        self.requests += 1
        request = normalised(envelope.message)
        call_id = request.get("call-id")
        try:
            reply = self._handler(request)
        except Exception:  # noqa: BLE001 - the worker serves its other calls whatever one request did
            _log.exception("ng request failed", extra={"command": request.get("command"), "call_id": call_id})
            reply = error(INTERNAL_ERROR)
        if isinstance(call_id, str):
            if request.get("command") == "delete" and not request.get("to-tag"):
                self._notices.call_ended(call_id)
            elif request.get("notices") == "here" and reply.get("result") == OK:
                self._notices.subscribe(call_id, peer)
        return _encoded(envelope.cookie, reply, envelope.encoding)

    # --- notices -----------------------------------------------------------------------------------------------------

    def _send(self, datagrams: list[tuple[bytes, _Peer]]) -> None:
        for data, (listener, address) in datagrams:
            listener.send(data, address)
        due = self._notices.next_timer()
        if due is None:
            return
        if self._timer is not None:
            if self._timer_due <= due:
                return  # a timer that is too early looks again
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self._clock()), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._send(self._notices.handle_timers(self._clock()))


def _encoded(cookie: bytes, reply: Message, encoding: Encoding) -> bytes:
    try:
        data = Envelope(cookie, reply, encoding).encode()
    except NgError as problem:
        _log.error("ng reply cannot be written: %s", problem.reason)
        data = Envelope(cookie, error(INTERNAL_ERROR), encoding).encode()
    if len(data) > MAX_REPLY_BYTES:
        return Envelope(cookie, error("Reply too long for a datagram"), encoding).encode()
    return data


class _Listener(asyncio.DatagramProtocol):
    """One bound socket; replies leave by the socket their request came in on."""

    def __init__(self, server: NgServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # the selector loop's transport is no DatagramTransport by inheritance, uvloop's is
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server._received(data, (self, addr))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error about a reply of ours: the client is gone, which its next request will disprove or not."""

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        """Hand a datagram to the kernel."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, address)

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()
