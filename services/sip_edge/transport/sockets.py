"""Sockets as this project wants them: one family each, never IPv4-mapped, never blocking.

IPV6_V6ONLY is set on every IPv6 socket, so an IPv4 peer never shows up as ::ffff:a.b.c.d (RFC 3493 §5.3). On a
wildcard address a UDP socket is asked for packet info, which says at which of our addresses a datagram arrived and
chooses the one an answer leaves from (RFC 3542 §6; ip(7) for IPv4).
"""

from __future__ import annotations

import socket
import struct
from functools import lru_cache

from services.core.address import Address, is_link_local, is_unspecified

IP_PKTINFO = 8
"""Linux's number; `socket` names it only from Python 3.13 on."""
PACKET_INFO_SPACE = socket.CMSG_SPACE(20)
"""Room for one in6_pktinfo, the longer of the two."""
_IN_PKTINFO = struct.Struct("=I4s4s")
_IN6_PKTINFO = struct.Struct("=16sI")

PacketInfo = tuple[int, int, bytes]
"""An ancillary item as recvmsg gives and sendmsg takes it: level, type, data."""


def open_udp(address: Address, buffer_bytes: int) -> socket.socket:
    """A bound UDP socket; a taken port is an OSError, for no port is ever shared."""
    sock = socket.socket(address.family.af, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if address.family.af == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if is_unspecified(address.host):
            _ask_packet_info(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.bind(address.sockaddr())
    except OSError:
        sock.close()
        raise
    return sock


def open_tcp(address: Address, backlog: int) -> socket.socket:
    """A listening TCP socket. SO_REUSEADDR lets a restart pass connections in TIME_WAIT; a listener still clashes."""
    sock = _stream(address)
    try:
        if address.family.af == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address.sockaddr())
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def tcp_from(source: Address | None, remote: Address) -> socket.socket:
    """An unconnected TCP socket toward `remote`'s family, bound to `source`'s host and any port."""
    sock = _stream(remote)
    try:
        if remote.family.af == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if source is not None:
            sock.bind(Address(source.host, 0, source.scope_id).sockaddr())
    except OSError:
        sock.close()
        raise
    return sock


def _stream(address: Address) -> socket.socket:
    """A TCP socket that sends at once: Nagle's algorithm makes each second message wait for a delayed ACK, 40 ms.

    Connections taken from a listener have its option; the event loop would set it only on sockets whose protocol is
    named.
    """
    kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    sock = socket.socket(address.family.af, kind, socket.IPPROTO_TCP)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def bound_address(sock: socket.socket) -> Address:
    """Where a socket is bound, with the port the kernel chose."""
    return Address.from_sockaddr(sock.getsockname())


def kernel_source(remote: Address, bound_to: Address | None = None) -> Address:
    """The address the kernel would send from toward `remote` (RFC 6724), port 0. Sends nothing.

    With `bound_to`: that address, if packets from it can go there. Raises OSError when there is no route.
    """
    with socket.socket(remote.family.af, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        if bound_to is not None:
            probe.bind(Address(bound_to.host, 0, bound_to.scope_id).sockaddr())
        probe.connect(Address(remote.host, remote.port or 9, remote.scope_id).sockaddr())
        source = bound_address(probe)
    return Address(source.host, 0, source.scope_id)


# --- packet info -----------------------------------------------------------------------------------------------------


def _ask_packet_info(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def read_packet_info(item: PacketInfo, port: int) -> Address | None:
    """The address of ours a datagram arrived at; None when the item is something else.

    IPv4 names two: the header's destination, which may be a broadcast, and `spec_dst`, the address to answer from.
    """
    level, kind, data = item
    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= _IN6_PKTINFO.size:
        packed, index = _IN6_PKTINFO.unpack_from(data)
        host = socket.inet_ntop(socket.AF_INET6, packed)
        return Address(host, port, index if is_link_local(host) else 0)
    if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= _IN_PKTINFO.size:
        return Address(socket.inet_ntop(socket.AF_INET, _IN_PKTINFO.unpack_from(data)[1]), port)
    return None


@lru_cache(1024)
def write_packet_info(source: Address) -> list[PacketInfo]:
    """The ancillary data that makes a datagram leave from `source`."""
    if source.family.af == socket.AF_INET6:
        packed = socket.inet_pton(socket.AF_INET6, source.host)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(packed, source.scope_id))]
    packed = socket.inet_pton(socket.AF_INET, source.host)
    return [(socket.IPPROTO_IP, IP_PKTINFO, _IN_PKTINFO.pack(0, packed, b"\0\0\0\0"))]
