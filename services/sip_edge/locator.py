"""Where a dial string leads: `SIP/dev2`, `PJSIP/dev2`, `SIP/trunk/4912345`, `PJSIP/4912345@trunk`.

A phone that registers leads to every contact it has, a trunk with an address to that address. Which socket leaves for
there, and what we show of ourselves, comes from the transport.

A phone that registered over TLS or WebSocket is met on that very connection, or not at all (RFC 5626's idea; RFC 7118
section 5.2.3): it has no certificate to be known by, and a browser cannot be connected to. What is meant to be secure,
because a `sips:` URI or `transport=tls` says so, never goes another way (RFC 3261 section 26.2.2).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from services.core.address import Address, HostPort, is_ip
from services.core.config.secure import TLS_PORT
from services.core.config.sip import Peer, SipSettings
from services.core.sip.errors import SipError
from services.core.sip.flow import TCP, TLS, UDP, WS, Flow
from services.core.sip.message import Request
from services.core.sip.uri import SipUri, escape_user
from services.registrar import Binding, Registrar
from services.sip_edge.call import causes
from services.sip_edge.call.party import Destination, NotLocated
from services.sip_edge.transport import SipTransport, TransportError

SIP_PORT = 5060
_TECHNOLOGIES = frozenset({"SIP", "PJSIP"})


class Locator:
    """Finds destinations for Dial."""

    def __init__(
        self,
        settings: SipSettings,
        registrar: Registrar,
        transport: SipTransport,
        new_channel: Callable[[str], str],
    ) -> None:
        self._settings = settings
        self._registrar = registrar
        self._transport = transport
        self._new_channel = new_channel

    async def locate(self, target: str, *, secure: bool = False) -> tuple[Destination, ...] | NotLocated:
        """Every place `target` leads to now; only those reached over TLS if `secure`.

        Raises TransportError when a trunk cannot be reached.
        """
        technology, _, rest = target.partition("/")
        if technology.upper() not in _TECHNOLOGIES:
            return NotLocated(cause=causes.NO_ROUTE, reason=f"no channel driver {technology!r}; use SIP/ or PJSIP/")
        name, number = _split(rest)
        peer = self._settings.peers.get(name)
        if peer is None or peer.type == "user":
            return NotLocated(cause=causes.NO_ROUTE, reason=f"sip.conf has no phone or trunk [{name}] to call")
        if peer.host is not None:
            if secure and peer.transport != TLS:
                return NotLocated(cause=causes.NO_ROUTE, reason=f"[{name}] is not reached over TLS, and sips: wants it")
            return await self._at_host(peer, peer.host, number, secure=secure)
        found, others = [], 0
        for binding in await self._registrar.lookup(peer.name):
            destination = await self._at_contact(peer, binding, number)
            if destination is None:
                continue
            if secure and not destination.flow.secure:
                others += 1
                continue
            found.append(destination)
        if not found and others:
            reason = f"{name} is not registered over TLS, and sips: wants it"
            return NotLocated(cause=causes.SUBSCRIBER_ABSENT, reason=reason)
        if not found:
            return NotLocated(cause=causes.SUBSCRIBER_ABSENT, reason=f"{name} is not registered")
        return tuple(found)

    async def _at_host(
        self, peer: Peer, host: HostPort, number: str, *, secure: bool
    ) -> tuple[Destination, ...] | NotLocated:
        transport = peer.transport or UDP
        remote = await _resolve(host.host, host.port or (TLS_PORT if transport == TLS else SIP_PORT))
        if remote is None:
            return NotLocated(
                cause=causes.NETWORK_OUT_OF_ORDER, reason=f"{host.host} of [{peer.name}] does not resolve"
            )
        user = f"{escape_user(number)}@" if number else ""
        if secure:
            uri = f"sips:{user}{host}"
        else:
            uri = f"sip:{user}{host}{'' if transport == UDP else f';transport={transport}'}"
        flow = await self._transport.flow_to(transport, remote, host.host)
        return (self._destination(peer, flow, uri, ()),)

    async def _at_contact(self, peer: Peer, binding: Binding, number: str) -> Destination | None:
        try:
            contact = SipUri.parse(binding.contact)
        except SipError:
            return None
        uri = str(contact.with_(user=escape_user(number))) if number else binding.contact
        source, local = binding.remote, Address.parse(binding.local)
        remote = next_hop(contact, source) if not binding.path else _first_route(binding.path, source)
        transport = binding.transport if binding.path else transport_toward(contact, remote, binding.transport)
        flow = None
        if transport == binding.transport:
            # The way the REGISTER came: its connection while it is open, its listener for a NAT's sake.
            known = source if transport != UDP else remote
            if known.family is local.family:
                flow = self._transport.flow_between(transport, local, known, binding.flow_id)
        if flow is None and not binding.path and binding.transport not in (UDP, TCP):
            return None
        try:
            flow = flow or await self._transport.flow_to(transport, remote, _named_in(binding, contact))
        except TransportError:
            return None
        if contact.scheme == "sips" and not flow.secure:
            return None
        return self._destination(peer, flow, uri, binding.path)

    def _destination(self, peer: Peer, flow: Flow, uri: str, route_set: tuple[str, ...]) -> Destination:
        return Destination(
            flow=flow,
            advertised=self._transport.advertised(flow),
            uri=uri,
            route_set=route_set,
            phone=peer.name,
            channel=self._new_channel(peer.name),
            codecs=peer.codecs,
        )


def _split(rest: str) -> tuple[str, str]:
    """Peer and number of `peer`, `peer/number`, `number@peer`."""
    if "/" in rest:
        name, _, number = rest.partition("/")
        return name, number
    if "@" in rest:
        number, _, name = rest.rpartition("@")
        return name, number
    return rest, ""


def next_hop(contact: SipUri, source: Address) -> Address:
    """Where to send for a registered contact.

    The contact's own address, unless a NAT stands between: a private address that is not the one the REGISTER came
    from, or a name (`.invalid`, a browser's), is reached where the REGISTER came from.
    """
    if not is_ip(contact.host):
        return source
    port = contact.port or _default_port(contact)
    if contact.host == source.host or not ipaddress.ip_address(contact.host).is_private:
        return Address(contact.host, port, source.scope_id)
    at_contact = Address(contact.host, port)
    # A NAT does not change the family: whoever registers one of the other family means it.
    return source if at_contact.family is source.family else at_contact


def reopen_at(request: Request, flow: Flow) -> Address | None:
    """Where to connect for a request of ours should its connection be gone; None where there is none to lose.

    That is where the request goes by itself, its first loose Route or its Request-URI (RFC 3261 section 8.1.2): a
    phone that lost its connection in a call is met at its contact. Over TLS that is done toward servers, whose
    certificate can be asked for.
    """
    if flow.transport == UDP or (flow.transport != TCP and not flow.peer_name):
        return None
    try:
        routes = request.routes
        route = routes[0].uri if routes else None
        uri = route if route is not None and route.has_param("lr") else request.request_uri
    except SipError:
        return None
    return next_hop(uri, flow.remote)


def transport_toward(contact: SipUri, next_hop: Address, registered_by: str) -> str:
    """How to reach a registered contact: as it says itself (RFC 3263 section 4.1), else as its REGISTER came.

    What it says only counts where it is met itself, not behind a NAT that knows nothing but the REGISTER's flow.
    """
    if registered_by not in (UDP, TCP):
        return registered_by
    named = (contact.param("transport") or "").lower()
    if contact.scheme == "sips" and named != WS:
        named = TLS
    return named if named in (UDP, TCP, TLS) and next_hop.host == contact.host else registered_by


def _default_port(uri: SipUri) -> int:
    """RFC 3261 section 19.1.2."""
    secure = uri.scheme == "sips" or (uri.param("transport") or "").lower() == TLS
    return TLS_PORT if secure else SIP_PORT


def _named_in(binding: Binding, contact: SipUri) -> str:
    """Whose certificate is asked for where we connect: the proxy's that the binding leads through, or the phone's."""
    try:
        return SipUri.parse(_uri_of(binding.path[0])).host if binding.path else contact.host
    except SipError:
        return contact.host


def _first_route(path: tuple[str, ...], source: Address) -> Address:
    """The proxy the REGISTER came through (RFC 3327); by its address where it names one."""
    try:
        uri = SipUri.parse(_uri_of(path[0]))
    except SipError:
        return source
    return Address(uri.host, uri.port or _default_port(uri)) if is_ip(uri.host) else source


def _uri_of(route: str) -> str:
    return route.strip().removeprefix("<").partition(">")[0]


async def _resolve(host: str, port: int) -> Address | None:
    """An address of a host name, the system's first choice; None when there is none."""
    if is_ip(host):
        return Address(host, port)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except socket.gaierror:
        return None
    return Address(str(found[0][4][0]), port) if found else None
