"""The table of all connections: accepted ones, dialled ones, their bounds and their end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable

from services.core.address import Address
from services.core.config.secure import WebSocketSettings
from services.core.sip.errors import SipError
from services.core.sip.flow import SECURE, TLS, WS, WSS, Flow
from services.sip_edge.transport.accepting import SecureListener
from services.sip_edge.transport.connection import StreamConnection
from services.sip_edge.transport.errors import CertificateError, UnreachableError, reason_of
from services.sip_edge.transport.limits import CLOSING_GRACE_S, TransportLimits
from services.sip_edge.transport.sockets import tcp_from
from services.sip_edge.transport.tls import Tls
from services.sip_edge.transport.websocket import WebSocketConnection


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
        tls: Tls,
        websocket: WebSocketSettings,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.receive = receive
        self.refuse = refuse
        self.limits = limits
        self.stats = stats
        self.tls = tls
        self.websocket = websocket
        self._closed = closed
        self._screen = screen
        self._secure: list[SecureListener] = []
        self._servers: list[asyncio.Server] = []
        self._dialling: set[asyncio.Task[None]] = set()
        self._connections: dict[int, StreamConnection] = {}
        self._by_remote: dict[tuple[str, Address, str], StreamConnection] = {}
        """By transport, peer, and the name its certificate was asked for."""
        self._per_listener: dict[int, int] = {}
        self._count = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        """Connections held, those being dialled included."""
        return len(self._connections)

    async def listen(self, sock: socket.socket, listener: int, kind: str) -> None:
        """Accept on a listening socket, which belongs to us from here on."""
        if kind in SECURE:
            self._secure.append(SecureListener(self, sock, listener, kind))
        else:
            server = await self.loop.create_server(
                lambda: self.new(listener, kind), sock=sock, backlog=self.limits.backlog
            )
            self._servers.append(server)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self.limits.sweep_s, self._sweep)

    def by_number(self, number: int) -> StreamConnection | None:
        """The connection of a flow, while it can be written to."""
        connection = self._connections.get(number)
        return connection if connection is not None and connection.usable else None

    def toward(self, kind: str, remote: Address, peer_name: str = "") -> StreamConnection | None:
        """A connection to use for `remote`: open, or being dialled."""
        connection = self._by_remote.get((kind, remote, peer_name))
        return connection if connection is not None and connection.usable else None

    def is_full(self, listener: int, more: int = 0) -> bool:
        """Whether a listener has its fill of connections, `more` counted with them."""
        return self._per_listener.get(listener, 0) + more >= self.limits.connections

    def dial(
        self, kind: str, remote: Address, source: Address | None, listener: int, peer_name: str = ""
    ) -> StreamConnection | None:
        """Begin to connect; the connection takes writes at once. None when the listener has its fill of them."""
        if self.is_full(listener):
            self.stats[f"{kind}_refused"] += 1
            return None
        connection = self.new(listener, kind, dialled=remote, peer_name=peer_name)
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
        await asyncio.gather(*self._dialling, *(one.close() for one in self._secure), return_exceptions=True)
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
            if self.is_full(connection.listener):
                self.stats[f"{connection.kind}_refused"] += 1
                return False
            if not self._screen(connection.flow):
                return False
            self.stats[f"{connection.kind}_accepted"] += 1
            self._register(connection, connection.flow.remote)
        else:
            self.stats[f"{connection.kind}_dialled"] += 1
        return True

    def lost(self, connection: StreamConnection) -> None:
        """A connection is gone; news for the user if it ever was up."""
        if self._forget(connection) and connection.flow is not None:
            self._closed(connection.flow)

    def new(self, listener: int, kind: str, *, dialled: Address | None = None, peer_name: str = "") -> StreamConnection:
        """A connection for asyncio to drive; it is held once it is up."""
        self._count += 1
        if kind in (WS, WSS):
            return WebSocketConnection(self, self._count, listener, kind)
        return StreamConnection(self, self._count, listener, kind, dialled, peer_name)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _register(self, connection: StreamConnection, remote: Address) -> None:
        self._connections[connection.number] = connection
        self._by_remote[connection.kind, remote, connection.peer_name] = connection
        self._per_listener[connection.listener] = self._per_listener.get(connection.listener, 0) + 1

    def _forget(self, connection: StreamConnection) -> bool:
        if self._connections.pop(connection.number, None) is None:
            return False
        self._per_listener[connection.listener] -= 1
        remote = connection.dialled
        if remote is None and connection.flow is not None:
            remote = connection.flow.remote
        if remote is not None:
            key = (connection.kind, remote, connection.peer_name)
            if self._by_remote.get(key) is connection:
                del self._by_remote[key]
        if not self._connections:
            self._emptied.set()
        return True

    async def _connect(self, connection: StreamConnection, remote: Address, source: Address | None) -> None:
        reason, kind = "cancelled", connection.kind
        sock: socket.socket | None = None
        try:
            async with asyncio.timeout(self.limits.connect_s):
                sock = tcp_from(source, remote)
                await _connected(sock, remote)
                if kind == TLS:
                    given, sock = sock, None
                    await self.loop.create_connection(
                        lambda: connection,
                        sock=given,
                        ssl=self.tls.client,
                        server_hostname=connection.peer_name,
                        ssl_shutdown_timeout=CLOSING_GRACE_S,
                    )
                    reason = connection.objection or "the connection was closed"
                else:
                    await self.loop.create_connection(lambda: connection, sock=sock)
        except TimeoutError:
            reason = "no answer"
        except (OSError, CertificateError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else str(error)
        finally:
            if not connection.ready.done():
                if sock is not None and not connection.was_made:
                    sock.close()
                self.stats[f"{kind}_dial_failed"] += 1
                self._forget(connection)
                connection.ready.set_result(UnreachableError(kind, remote, reason))

    def _sweep(self) -> None:
        """Close the connections whose peers are overdue."""
        now = self.loop.time()
        for connection in list(self._connections.values()):
            if connection.is_overdue(now):
                self.stats[f"{connection.kind}_overdue"] += 1
                connection.abort()
            else:
                connection.keep_alive(now)
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
