"""Connections: accepted ones, dialled ones, and the table of all of them.

A connection is used both ways for as long as it lives: answers go back on it, and requests toward a phone go on the
connection the phone registered over (RFC 3261 §18, connection reuse). One that is still being dialled takes writes and
holds them until it is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

from services.core.address import Address
from services.core.sip.errors import FramingError, SipError
from services.core.sip.flow import TCP, Flow
from services.core.sip.framing import PONG, Ping, StreamFramer
from services.sip_edge.transport.errors import UnreachableError, reason_of
from services.sip_edge.transport.limits import TransportLimits
from services.sip_edge.transport.sockets import tcp_from

KEEP_ALIVE_PIECE = 3
"""A stream that ends in so few octets may just wait for the rest of a CRLF CRLF; it owes us no message."""
CLOSING_GRACE_S = 1.0
"""How long connections may take to send what is buffered when the transport closes."""


class StreamConnection(asyncio.Protocol):
    """One connection. `Streams` makes it, asyncio drives it."""

    def __init__(self, streams: Streams, number: int, listener: int, dialled: Address | None) -> None:
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
        self.flow = Flow(TCP, Address.from_sockaddr(local), Address.from_sockaddr(remote), self.number)
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
            self._streams.stats["tcp_send_full"] += 1
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
            self._streams.stats["tcp_framing_errors"] += 1
            self._streams.refuse(self._failure, b"", flow)
            transport.close()


class Streams:
    """All connections of one transport, by number and by peer. Bounded per listener."""

    def __init__(
        self,
        *,
        receive: Callable[[bytes, Flow], None],
        refuse: Callable[[SipError, bytes, Flow], None],
        closed: Callable[[Flow], None],
        screen: Callable[[Flow], bool],
        limits: TransportLimits,
        stats: dict[str, int],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.receive = receive
        self.refuse = refuse
        self.limits = limits
        self.stats = stats
        self._closed = closed
        self._screen = screen
        self._servers: list[asyncio.Server] = []
        self._dialling: set[asyncio.Task[None]] = set()
        self._connections: dict[int, StreamConnection] = {}
        self._by_remote: dict[Address, StreamConnection] = {}
        self._per_listener: dict[int, int] = {}
        self._count = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        """Connections held, those being dialled included."""
        return len(self._connections)

    async def listen(self, sock: socket.socket, listener: int) -> None:
        """Accept on a listening socket, which belongs to us from here on."""
        server = await self.loop.create_server(
            lambda: self._new(listener, dialled=None), sock=sock, backlog=self.limits.backlog
        )
        self._servers.append(server)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self.limits.sweep_s, self._sweep)

    def by_number(self, number: int) -> StreamConnection | None:
        """The connection of a flow, while it can be written to."""
        connection = self._connections.get(number)
        return connection if connection is not None and connection.usable else None

    def toward(self, remote: Address) -> StreamConnection | None:
        """A connection to use for `remote`: open, or being dialled."""
        connection = self._by_remote.get(remote)
        return connection if connection is not None and connection.usable else None

    def dial(self, remote: Address, source: Address | None, listener: int) -> StreamConnection | None:
        """Begin to connect; the connection takes writes at once. None when the listener has its fill of them."""
        if self._per_listener.get(listener, 0) >= self.limits.connections:
            self.stats["tcp_refused"] += 1
            return None
        connection = self._new(listener, dialled=remote)
        self._register(connection, remote)
        task = self.loop.create_task(self._connect(connection, remote, source))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return connection

    async def close(self) -> None:
        """Stop listening, let connections send what is buffered, close them."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._dialling:
            task.cancel()
        for server in self._servers:
            server.close()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_GRACE_S):
                await self._until_none_is_left()
        for connection in list(self._connections.values()):
            connection.abort()
        for server in self._servers:
            await server.wait_closed()

    async def _until_none_is_left(self) -> None:
        while self._connections:
            self._emptied.clear()
            await self._emptied.wait()

    # --- connections call these --------------------------------------------------------------------------------------

    def opened(self, connection: StreamConnection) -> bool:
        """A connection is up. False: one too many, close it."""
        assert connection.flow is not None
        if connection.dialled is None:
            if self._per_listener.get(connection.listener, 0) >= self.limits.connections:
                self.stats["tcp_refused"] += 1
                return False
            if not self._screen(connection.flow):
                return False
            self.stats["tcp_accepted"] += 1
            self._register(connection, connection.flow.remote)
        else:
            self.stats["tcp_dialled"] += 1
        return True

    def lost(self, connection: StreamConnection) -> None:
        """A connection is gone; news for the user if it ever was up."""
        if self._forget(connection) and connection.flow is not None:
            self._closed(connection.flow)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _new(self, listener: int, dialled: Address | None) -> StreamConnection:
        self._count += 1
        return StreamConnection(self, self._count, listener, dialled)

    def _register(self, connection: StreamConnection, remote: Address) -> None:
        self._connections[connection.number] = connection
        self._by_remote[remote] = connection
        self._per_listener[connection.listener] = self._per_listener.get(connection.listener, 0) + 1

    def _forget(self, connection: StreamConnection) -> bool:
        if self._connections.pop(connection.number, None) is None:
            return False
        self._per_listener[connection.listener] -= 1
        remote = connection.dialled
        if remote is None and connection.flow is not None:
            remote = connection.flow.remote
        if remote is not None and self._by_remote.get(remote) is connection:
            del self._by_remote[remote]
        if not self._connections:
            self._emptied.set()
        return True

    async def _connect(self, connection: StreamConnection, remote: Address, source: Address | None) -> None:
        reason = "cancelled"
        sock: socket.socket | None = None
        try:
            async with asyncio.timeout(self.limits.connect_s):
                sock = tcp_from(source, remote)
                await _connected(sock, remote)
                await self.loop.create_connection(lambda: connection, sock=sock)
        except TimeoutError:
            reason = "no answer"
        except OSError as error:
            reason = reason_of(error)
        finally:
            if not connection.ready.done():
                if sock is not None and not connection.was_made:
                    sock.close()
                self.stats["tcp_dial_failed"] += 1
                self._forget(connection)
                connection.ready.set_result(UnreachableError(TCP, remote, reason))

    def _sweep(self) -> None:
        """Close the connections whose peers are overdue."""
        now = self.loop.time()
        for connection in [c for c in self._connections.values() if c.is_overdue(now)]:
            self.stats["tcp_overdue"] += 1
            connection.abort()
        self._sweeper = self.loop.call_later(self.limits.sweep_s, self._sweep)


async def _connected(sock: socket.socket, remote: Address) -> None:
    """Connect a non-blocking socket. Raises OSError.

    Not by `loop.sock_connect`: uvloop's resolves the address once more and loses the scope of a link-local one.
    """
    error = sock.connect_ex(remote.sockaddr())
    if error == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(sock.fileno(), writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
