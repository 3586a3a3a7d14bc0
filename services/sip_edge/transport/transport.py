"""The asyncio shell of SIP: listeners, connections, and the one function that sends.

Bytes come in from a UDP listener or a connection, become messages here and go up with their flow; messages that
cannot be read go up as errors. What is sent leaves by the socket its flow names: an answer from the very address its
request came to (RFC 3261 §18.2.2).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from services.core.address import Address, Family, HostPort
from services.core.config.sip import ListenerSettings
from services.core.sip.errors import SipError
from services.core.sip.flow import TCP, UDP, Flow
from services.core.sip.message import Request, Response, parse_message
from services.sip_edge.transport.errors import BindError, UnreachableError, reason_of
from services.sip_edge.transport.limits import TransportLimits
from services.sip_edge.transport.sockets import bound_address, kernel_source, open_tcp
from services.sip_edge.transport.streams import StreamConnection, Streams
from services.sip_edge.transport.udp import UdpListener

Message = Request | Response

COUNTERS = (
    "udp_received",
    "udp_sent",
    "udp_send_full",
    "udp_send_failed",
    "udp_receive_failed",
    "tcp_received",
    "tcp_sent",
    "tcp_send_full",
    "tcp_send_failed",
    "tcp_accepted",
    "tcp_dialled",
    "tcp_dial_failed",
    "tcp_refused",
    "tcp_overdue",
    "tcp_framing_errors",
    "keepalives",
    "not_sip",
    "parse_errors",
    "handler_errors",
    "unknown_flow",
    "screened",
)
KEEP_ALIVE = frozenset(b"\r\n\0 ")
"""Octets that phones send by themselves to keep a NAT's mapping."""
FREE_PORT_ATTEMPTS = 16
"""How often a free port for both UDP and TCP is looked for when the setting asks for any port."""


@dataclass(frozen=True, slots=True)
class _Listener:
    """One `bindaddr`: UDP, TCP or both on one port."""

    number: int
    settings: ListenerSettings
    address: Address
    """With the port that was bound."""
    udp: UdpListener | None


class SipTransport:
    """Every SIP socket of one process. Made and used inside the running loop.

    `on_message(message, flow)` gets each message, requests with `received` and `rport` filled in; `on_error(error,
    data, flow)` what could not be read (answer `error.message` if it is there); `on_closed(flow)` each connection that
    ended. They are plain functions and should not raise: what they raise is reported to the loop's exception handler
    and counted, and the listener goes on. `screen(flow)` is asked before each message is read, and for each new
    connection: False drops the datagram unread, or closes the connection. `stats` counts since the start, for metrics.
    """

    def __init__(
        self,
        on_message: Callable[[Message, Flow], None],
        on_error: Callable[[SipError, bytes, Flow], None],
        on_closed: Callable[[Flow], None],
        *,
        limits: TransportLimits | None = None,
        screen: Callable[[Flow], bool] | None = None,
    ) -> None:
        self.stats: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self._screen = screen or _welcome
        self._on_message = on_message
        self._on_error = on_error
        self._on_closed = on_closed
        self._limits = limits or TransportLimits()
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[int, _Listener] = {}
        self._count = 0
        self._streams = Streams(
            receive=self._receive_frame,
            refuse=self._refuse,
            closed=self._report_closed,
            screen=self._passes,
            limits=self._limits,
            stats=self.stats,
        )

    @property
    def listening(self) -> list[Address]:
        """The addresses that are open, ports as bound."""
        return [listener.address for listener in self._listeners.values()]

    @property
    def connections(self) -> int:
        """Stream connections held now."""
        return len(self._streams)

    @property
    def receive_drops(self) -> int:
        """Datagrams the kernel dropped at our listeners before they could be read. A system call for each listener."""
        return sum(listener.udp.drops for listener in self._listeners.values() if listener.udp is not None)

    # --- opening and closing -----------------------------------------------------------------------------------------

    async def listen(self, settings: ListenerSettings) -> Address:
        """Open a listener, its UDP and TCP sockets on one port. Raises BindError; nothing stays open then."""
        attempts = 1 if settings.address.port else FREE_PORT_ATTEMPTS
        while True:
            attempts -= 1
            try:
                return await self._listen(settings)
            except BindError:
                if not attempts:
                    raise

    async def _listen(self, settings: ListenerSettings) -> Address:
        self._count = number = self._count + 1
        address, udp = settings.address, None
        if settings.udp:
            try:
                udp = UdpListener(address, number, self._receive_datagram, self._limits, self.stats)
            except OSError as error:
                raise BindError(UDP, address, settings.origin, error) from error
            address = udp.address
        if settings.tcp:
            try:
                sock = open_tcp(address, self._limits.backlog)
            except OSError as error:
                if udp is not None:
                    udp.close()
                raise BindError(TCP, address, settings.origin, error) from error
            address = Address(address.host, bound_address(sock).port, address.scope_id)
            await self._streams.listen(sock, number)
        self._listeners[number] = _Listener(number, settings, address, udp)
        if udp is not None:
            udp.start()
        return address

    async def close(self) -> None:
        """Close every socket; connections may send what is buffered first."""
        for listener in self._listeners.values():
            if listener.udp is not None:
                listener.udp.close()
        await self._streams.close()
        self._listeners.clear()

    # --- sending -----------------------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow, reopen: Address | None = None) -> bool:
        """Send a message along a flow. Never blocks; False when it was dropped, and counted.

        When the flow's connection is gone, another one to the same peer is used, or one to `reopen` is dialled and the
        message waits for it (RFC 3261 §18.2.2).
        """
        if flow.transport == UDP:
            listener = self._listeners.get(flow.id)
            if listener is None or listener.udp is None:
                self.stats["unknown_flow"] += 1
                return False
            return listener.udp.send(data, flow)
        connection = self._streams.by_number(flow.id) or self._streams.toward(flow.remote)
        if connection is None and reopen is not None:
            connection = self._streams.toward(reopen) or self._redial(flow, reopen)
        if connection is None or not connection.write(data):
            self.stats["tcp_send_failed"] += 1
            return False
        self.stats["tcp_sent"] += 1
        return True

    def _redial(self, flow: Flow, remote: Address) -> StreamConnection | None:
        listener = self._listener_of(flow)
        return self._streams.dial(remote, flow.local, listener.number) if listener else None

    # --- choosing flows ----------------------------------------------------------------------------------------------

    async def flow_to(self, transport: str, remote: Address) -> Flow:
        """A flow for a request of ours: the listener of the peer's family that the kernel would send from.

        Over TCP an open connection to `remote` is used, or one is dialled and waited for. Raises UnreachableError.
        """
        if transport == UDP:
            listener, source = self._outgoing(UDP, remote)
            return Flow(UDP, Address(source.host, listener.address.port, source.scope_id), remote, listener.number)
        if transport != TCP:
            raise UnreachableError(transport, remote, "no such transport here")
        connection = self._streams.toward(remote)
        if connection is None:
            listener, source = self._outgoing(TCP, remote)
            connection = self._streams.dial(remote, source, listener.number)
            if connection is None:
                raise UnreachableError(TCP, remote, "too many connections")
        # Shielded: whoever stops waiting must not take the connection from the others who wait for it.
        result = await asyncio.shield(connection.ready)
        if isinstance(result, UnreachableError):
            raise result
        return result

    def flow_between(self, transport: str, local: Address, remote: Address) -> Flow | None:
        """The flow that was stored as two addresses, if it still exists: the listener, or the open connection."""
        if transport == UDP:
            for listener in self._of_family(UDP, local.family):
                if listener.address.port == local.port and listener.address.host in (local.host, _wildcard(local)):
                    return Flow(UDP, local, remote, listener.number)
            return None
        connection = self._streams.toward(remote)
        return connection.flow if connection else None

    def advertised(self, flow: Flow) -> HostPort:
        """What Via and Contact show on this flow: the listener's advertised address, else our concrete end of the flow.

        The port is the listener's also for a connection that we dialled: it is where the peer can reach us.
        """
        listener = self._listener_of(flow)
        if listener is None:
            return HostPort(flow.local.host, flow.local.port)
        shown = listener.settings.advertised
        if shown is None:
            return HostPort(flow.local.host, listener.address.port)
        return shown if shown.port is not None else HostPort(shown.host, listener.address.port)

    def _outgoing(self, transport: str, remote: Address) -> tuple[_Listener, Address]:
        """The listener to send from toward `remote`, and the source address. Raises UnreachableError."""
        candidates = self._of_family(transport, remote.family)
        if not candidates:
            raise UnreachableError(transport, remote, f"no {remote.family.sdp} listener")
        try:
            source = kernel_source(remote)
        except OSError as error:
            raise UnreachableError(transport, remote, reason_of(error)) from error
        for host in (source.host, _wildcard(remote)):
            for listener in candidates:
                if listener.address.host == host:
                    return listener, source
        for listener in candidates:
            with contextlib.suppress(OSError):
                return listener, kernel_source(remote, listener.address)
        raise UnreachableError(transport, remote, f"none of our {remote.family.sdp} listeners can send there")

    def _of_family(self, transport: str, family: Family) -> list[_Listener]:
        return [
            listener
            for listener in self._listeners.values()
            if listener.address.family is family
            and (listener.udp is not None if transport == UDP else listener.settings.tcp)
        ]

    def _listener_of(self, flow: Flow) -> _Listener | None:
        """The listener behind a flow, also when its connection is gone."""
        if flow.transport == UDP:
            return self._listeners.get(flow.id)
        connection = self._streams.by_number(flow.id)
        if connection is not None:
            return self._listeners.get(connection.listener)
        candidates = self._of_family(flow.transport, flow.local.family)
        for host in (flow.local.host, _wildcard(flow.local)):
            for listener in candidates:
                if listener.address.host == host:
                    return listener
        return None

    # --- receiving ---------------------------------------------------------------------------------------------------

    def _receive_datagram(self, data: bytes, flow: Flow) -> bool:
        """False when it is dropped unread."""
        self.stats["udp_received"] += 1
        first = data[:1]
        if not first.isalpha():
            if KEEP_ALIVE.issuperset(data):
                self.stats["keepalives"] += 1
                return False
            if first < b"\x04":
                # STUN and DTLS share the port with SIP by their first octet (RFC 5626 8, RFC 7983); we speak neither.
                self.stats["not_sip"] += 1
                return False
        if not self._passes(flow):
            return False
        self._receive(data, flow, stream=False)
        return True

    def _receive_frame(self, data: bytes, flow: Flow) -> None:
        self.stats["tcp_received"] += 1
        if self._passes(flow):
            self._receive(data, flow, stream=True)
        elif (connection := self._streams.by_number(flow.id)) is not None:
            connection.abort()

    def _passes(self, flow: Flow) -> bool:
        if self._screen(flow):
            return True
        self.stats["screened"] += 1
        return False

    def _receive(self, data: bytes, flow: Flow, *, stream: bool) -> None:
        """Read a message and hand it up. Whatever is wrong with it, or with who gets it, ends here."""
        try:
            message = parse_message(data, stream=stream)
        except SipError as error:
            self._refuse(error, data, flow)
            return
        try:
            if isinstance(message, Request):
                note_source(message, flow)
            self._on_message(message, flow)
        except Exception as error:  # noqa: BLE001 - one message must not end the listener for all others
            self._report("message", error)

    def _refuse(self, error: SipError, data: bytes, flow: Flow) -> None:
        self.stats["parse_errors"] += 1
        try:
            if error.message is not None:
                note_source(error.message, flow)
            self._on_error(error, data, flow)
        except Exception as fault:  # noqa: BLE001 - as above
            self._report("error", fault)

    def _report_closed(self, flow: Flow) -> None:
        try:
            self._on_closed(flow)
        except Exception as error:  # noqa: BLE001 - as above
            self._report("closed flow", error)

    def _report(self, what: str, error: Exception) -> None:
        self.stats["handler_errors"] += 1
        self._loop.call_exception_handler({"message": f"handling a {what} failed", "exception": error})


def note_source(request: Request, flow: Flow) -> None:
    """Write into the top Via where the request came from (RFC 3261 §18.2.1, RFC 3581 §4)."""
    via = request.top_via
    noted = via.with_source(flow.remote.host, flow.remote.port)
    if noted is not via:
        request.top_via = noted


def _welcome(_flow: Flow) -> bool:
    return True


def _wildcard(address: Address) -> str:
    return "::" if address.family is Family.IP6 else "0.0.0.0"
