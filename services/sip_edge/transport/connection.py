"""One connection: octets in, messages up, messages out.

A connection is used both ways for as long as it lives: answers go back on it, and requests toward a phone go on the
connection the phone registered over (RFC 3261 §18, connection reuse). One that is still being dialled takes writes and
holds them until it is up.

TLS goes between the socket and the connection: a handshake ends before asyncio hands the connection its transport.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from services.core.address import Address
from services.core.sip.errors import FramingError
from services.core.sip.flow import Flow
from services.core.sip.framing import PONG, Ping, StreamFramer
from services.sip_edge.transport.errors import UnreachableError

if TYPE_CHECKING:
    from services.sip_edge.transport.streams import Streams

KEEP_ALIVE_PIECE = 3
"""A stream that ends in so few octets may just wait for the rest of a CRLF CRLF; it owes us no message."""


class StreamConnection(asyncio.Protocol):
    """One connection. `Streams` makes it, asyncio drives it."""

    def __init__(
        self,
        streams: Streams,
        number: int,
        listener: int,
        kind: str,
        dialled: Address | None = None,
        peer_name: str = "",
    ) -> None:
        self._streams = streams
        self._framer = StreamFramer()
        self._frames: deque[bytes | Ping] = deque()
        self._failure: FramingError | None = None
        self._transport: asyncio.Transport | None = None
        self._queued: list[bytes] = []
        self._queued_bytes = 0
        self._paused = False
        self._owes_since: float | None = None
        """Since when a whole message has been due from the peer."""
        self._active_at = streams.loop.time()
        self.number = number
        self.kind = kind
        """The word of its flow: `tcp`, `tls`, `ws`, `wss`."""
        self.peer_name = peer_name
        """Whose certificate it must show, when we connected."""
        self.objection = ""
        """Why we hung up on a server: its certificate."""
        self.listener = listener
        """Number of the listener that accepted it, or from whose address it was dialled."""
        self.dialled = dialled
        """Where we connect to; None for an accepted connection."""
        self.flow: Flow | None = None
        """Known once the connection is up; stays when it is gone."""
        self.ready: asyncio.Future[Flow | UnreachableError] = streams.loop.create_future()

    # --- asyncio calls these -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not local or not remote:
            # The peer was gone before we looked.
            self._transport.abort()
            return
        if self.peer_name:
            self.objection = self._streams.tls.objection(transport.get_extra_info("peercert"), self.peer_name)
            if self.objection:
                self._transport.abort()
                return
        self.flow = Flow(
            self.kind, Address.from_sockaddr(local), Address.from_sockaddr(remote), self.number, self.peer_name
        )
        self._active_at = self._streams.loop.time()
        if self.dialled is None:
            self._owes_since = self._active_at
        if not self._streams.opened(self):
            self._transport.abort()
            return
        for data in self._queued:
            self._transport.write(data)
        self._queued.clear()
        self.ready.set_result(self.flow)

    def data_received(self, data: bytes) -> None:
        try:
            frames: list[bytes | Ping] | tuple[bytes | Ping, ...] = self._framer.feed(data)
        except FramingError as failure:
            self._failure = failure
            frames = failure.frames
        self._active_at = self._streams.loop.time()
        if self._framer.pending <= KEEP_ALIVE_PIECE:
            if frames:
                self._owes_since = None
        elif frames or self._owes_since is None:
            self._owes_since = self._active_at
        self._frames.extend(frames)
        if not self._paused:
            self._hand_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._frames.clear()
        self._streams.lost(self)

    # --- the rest of us calls these ----------------------------------------------------------------------------------

    @property
    def was_made(self) -> bool:
        """Whether asyncio has taken charge of the socket."""
        return self._transport is not None

    @property
    def usable(self) -> bool:
        """Up, or on its way up; False once it closes."""
        return not self.ready.done() if self._transport is None else not self._transport.is_closing()

    def write(self, data: bytes) -> bool:
        """Send, or hold until the connection is up. False when it is gone or its peer does not keep up."""
        limit = self._streams.limits.write_buffer_bytes
        if self._transport is None:
            if self.ready.done() or self._queued_bytes + len(data) > limit:
                return False
            self._queued.append(data)
            self._queued_bytes += len(data)
            return True
        if self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() + len(data) > limit:
            self._streams.stats[f"{self.kind}_send_full"] += 1
            return False
        self._active_at = self._streams.loop.time()
        self._transport.write(data)
        return True

    def close(self) -> None:
        """Send what is buffered, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def is_overdue(self, now: float) -> bool:
        """Whether the peer has been silent, or has left a message incomplete, for longer than it may."""
        limits = self._streams.limits
        if self._owes_since is not None and now - self._owes_since > limits.first_message_s:
            return True
        return self._transport is not None and now - self._active_at > limits.idle_s

    def keep_alive(self, now: float) -> None:
        """Make the peer show a sign of life, if it is time; TCP leaves that to the peer (RFC 5626 §4.4.1)."""

    # --- handing up --------------------------------------------------------------------------------------------------

    def _hand_up(self) -> None:
        """Give up to a batch of messages to the transport; the rest after the others had their turn."""
        transport, flow = self._transport, self.flow
        if transport is None or flow is None:
            return
        for _ in range(self._streams.limits.receive_batch):
            if not self._frames or transport.is_closing():
                break
            frame = self._frames.popleft()
            if isinstance(frame, Ping):
                self._streams.stats["keepalives"] += 1
                self.write(PONG)
            else:
                self._streams.receive(frame, flow)
        if transport.is_closing():
            return
        if self._frames:
            if not self._paused:
                self._paused = True
                transport.pause_reading()
            self._streams.loop.call_soon(self._hand_up)
            return
        if self._paused:
            self._paused = False
            transport.resume_reading()
        if self._failure is not None:
            self._streams.stats[f"{self.kind}_framing_errors"] += 1
            self._streams.refuse(self._failure, b"", flow)
            transport.close()
