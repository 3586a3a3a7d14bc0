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
from services.core.config.secure import TlsSettings, WebSocketSettings
from services.core.config.sip import ListenerSettings
from services.core.sip.errors import SipError
from services.core.sip.flow import SECURE, STREAMS, TCP, TLS, UDP, WS, WSS, Flow
from services.core.sip.message import Request, Response, parse_message
from services.sip_edge.transport.connection import StreamConnection
from services.sip_edge.transport.errors import BindError, UnreachableError, reason_of
from services.sip_edge.transport.limits import TransportLimits
from services.sip_edge.transport.sockets import bound_address, kernel_source, open_tcp
from services.sip_edge.transport.streams import Streams
from services.sip_edge.transport.tls import Tls
from services.sip_edge.transport.udp import UdpListener

Message = Request | Response

_OF_STREAMS = (
    "received",
    "sent",
    "send_full",
    "send_failed",
    "accepted",
    "dialled",
    "dial_failed",
    "refused",
    "overdue",
    "framing_errors",
    "handshake_failed",
)
COUNTERS = (
    "udp_received",
    "udp_sent",
    "udp_send_full",
    "udp_send_failed",
    "udp_receive_failed",
    *(f"{kind}_{what}" for kind in STREAMS for what in _OF_STREAMS),
    "tls_certificates_reloaded",
    "tls_certificates_refused",
    "keepalives",
    "not_sip",
    "parse_errors",
    "handler_errors",
    "unknown_flow",
    "screened",
)
_RECEIVED = {kind: f"{kind}_received" for kind in STREAMS}
_SENT = {kind: f"{kind}_sent" for kind in STREAMS}
KEEP_ALIVE = frozenset(b"\r\n\0 ")
"""Octets that phones send by themselves to keep a NAT's mapping."""
FREE_PORT_ATTEMPTS = 16
"""How often a free port for both UDP and TCP is looked for when the setting asks for any port."""


@dataclass(frozen=True, slots=True)
class _Listener:
    """One address: UDP, TCP or both on one port, or one of the others."""

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
        tls: TlsSettings | None = None,
        websocket: WebSocketSettings | None = None,
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
        self._tls = Tls(tls or TlsSettings())
        self._watch: asyncio.TimerHandle | None = None
        self._streams = Streams(
            receive=self._receive_frame,
            refuse=self._refuse,
            closed=self._report_closed,
            screen=self._passes,
            limits=self._limits,
            stats=self.stats,
            tls=self._tls,
            websocket=websocket or WebSocketSettings(),
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
        """Open a listener, its UDP and TCP sockets on one port. Raises BindError; nothing stays open then.

        The first one over TLS reads the certificates, which are looked after from then on. Raises CertificateError.
        """
        if self._watch is None and SECURE.intersection(settings.transports):
            self._tls.load()
            self._watch_certificates()
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
        for kind in settings.transports:
            if kind == UDP:
                continue
            try:
                sock = open_tcp(address, self._limits.backlog)
            except OSError as error:
                if udp is not None:
                    udp.close()
                raise BindError(kind, address, settings.origin, error) from error
            address = Address(address.host, bound_address(sock).port, address.scope_id)
            await self._streams.listen(sock, number, kind)
        self._listeners[number] = _Listener(number, settings, address, udp)
        if udp is not None:
            udp.start()
        return address

    def _watch_certificates(self) -> None:
        """Look after the files of TLS, whose owner renews them without asking us."""
        renewed = self._tls.refresh()
        if renewed is not None:
            self.stats["tls_certificates_reloaded" if renewed else "tls_certificates_refused"] += 1
        self._watch = self._loop.call_later(self._limits.certificate_check_s, self._watch_certificates)

    async def close(self) -> None:
        """Close every socket; connections may send what is buffered first."""
        if self._watch is not None:
            self._watch.cancel()
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
        connection = self._streams.by_number(flow.id) or self._replacement(flow, reopen)
        if connection is None or not connection.write(data):
            self.stats[f"{flow.transport}_send_failed"] += 1
            return False
        self.stats[_SENT[flow.transport]] += 1
        return True

    def _replacement(self, flow: Flow, reopen: Address | None) -> StreamConnection | None:
        """A connection to use in place of one that is gone.

        Over TLS only where we can ask for the same certificate, as of a trunk. Phones and browsers are met on the very
        connection they opened, or not at all: whoever has their address now may be somebody else.
        """
        kind, streams = flow.transport, self._streams
        if kind != TCP and not flow.peer_name:
            return None
        connection = streams.toward(kind, flow.remote, flow.peer_name)
        if connection is None and reopen is not None:
            connection = streams.toward(kind, reopen, flow.peer_name)
            if connection is None and (listener := self._listener_of(flow)) is not None:
                connection = streams.dial(kind, reopen, flow.local, listener.number, flow.peer_name)
        return connection

    # --- choosing flows ----------------------------------------------------------------------------------------------

    async def flow_to(self, transport: str, remote: Address, peer_name: str = "") -> Flow:
        """A flow for a request of ours: the listener of the peer's family that the kernel would send from.

        Over TCP and TLS an open connection to `remote` is used, or one is dialled and waited for. `peer_name`, a name
        or an address, is what the certificate of a TLS server must be for; the address of `remote` unless given.
        Raises UnreachableError.
        """
        if transport == UDP:
            listener, source = self._outgoing(UDP, remote)
            return Flow(UDP, Address(source.host, listener.address.port, source.scope_id), remote, listener.number)
        if transport in (WS, WSS):
            raise UnreachableError(transport, remote, "WebSockets are opened by the other side")
        if transport not in (TCP, TLS):
            raise UnreachableError(transport, remote, "no such transport here")
        name = (peer_name or remote.host) if transport == TLS else ""
        connection = self._streams.toward(transport, remote, name)
        if connection is None:
            listener, source = self._outgoing(transport, remote)
            connection = self._streams.dial(transport, remote, source, listener.number, name)
            if connection is None:
                raise UnreachableError(transport, remote, "too many connections")
        # Shielded: whoever stops waiting must not take the connection from the others who wait for it.
        result = await asyncio.shield(connection.ready)
        if isinstance(result, UnreachableError):
            raise result
        return result

    def flow_between(self, transport: str, local: Address, remote: Address, number: int = 0) -> Flow | None:
        """The flow that was stored as two addresses, if it still exists: the listener, or the open connection.

        Over TLS and WebSocket it is the connection of that number, and no other one from the same address.
        """
        if transport == UDP:
            for listener in self._of_family(UDP, local.family):
                if listener.address.port == local.port and listener.address.host in (local.host, _wildcard(local)):
                    return Flow(UDP, local, remote, listener.number)
            return None
        if transport == TCP:
            connection = self._streams.toward(TCP, remote)
            return connection.flow if connection else None
        connection = self._streams.by_number(number)
        flow = connection.flow if connection else None
        return flow if flow is not None and (flow.transport, flow.remote) == (transport, remote) else None

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
            and (listener.udp is not None if transport == UDP else transport in listener.settings.transports)
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
        self.stats[_RECEIVED[flow.transport]] += 1
        if self._passes(flow):
            # A WebSocket message has its own end, as a datagram has (RFC 7118 section 4.2).
            self._receive(data, flow, stream=flow.transport in (TCP, TLS))
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
