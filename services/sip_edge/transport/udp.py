"""One UDP listener: a socket, and the flows it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from services.core.address import Address, is_unspecified
from services.core.kernel import receive_drops
from services.core.sip.flow import UDP, Flow
from services.core.sip.message import MAX_MESSAGE_BYTES
from services.sip_edge.transport.limits import TransportLimits
from services.sip_edge.transport.sockets import (
    PACKET_INFO_SPACE,
    bound_address,
    kernel_source,
    open_udp,
    read_packet_info,
    write_packet_info,
)

Receive = Callable[[bytes, Flow], bool]
"""Takes a datagram; False when it was dropped unread."""

DROPPED_PER_TAKEN = 16
"""A message costs at least so many times what it costs to drop one."""


class UdpListener:
    """Owns one bound socket from construction to `close`. Datagrams go to `receive` with their flow."""

    __slots__ = ("_flows", "_limits", "_loop", "_receive", "_sock", "_stats", "_wildcard", "address", "number")

    def __init__(
        self, address: Address, number: int, receive: Receive, limits: TransportLimits, stats: dict[str, int]
    ) -> None:
        """Bind; raises OSError. Nothing is received before `start`."""
        self._sock = open_udp(address, limits.udp_buffer_bytes)
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._limits = limits
        self._stats = stats
        self._wildcard = is_unspecified(address.host)
        self._flows: dict[Any, Flow] = {}
        """Flow by (peer, packet info), both as the kernel says them."""
        self.address = Address(address.host, bound_address(self._sock).port, address.scope_id)
        self.number = number

    def start(self) -> None:
        """Begin to receive."""
        self._loop.add_reader(self._sock.fileno(), self._read_wildcard if self._wildcard else self._read)

    def close(self) -> None:
        """Stop and release the port at once."""
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    @property
    def drops(self) -> int:
        """Datagrams the kernel dropped before they could be read; 0 once closed."""
        return receive_drops(self._sock)

    def send(self, data: bytes, flow: Flow) -> bool:
        """Send a datagram from the flow's own address. False when the kernel refused it; it is lost then."""
        try:
            if self._wildcard and not is_unspecified(flow.local.host):
                self._sock.sendmsg((data,), write_packet_info(flow.local), 0, flow.remote.sockaddr())
            else:
                self._sock.sendto(data, flow.remote.sockaddr())
        except BlockingIOError:
            self._stats["udp_send_full"] += 1
            return False
        except OSError:
            self._stats["udp_send_failed"] += 1
            return False
        self._stats["udp_sent"] += 1
        return True

    def flow_to(self, remote: Address) -> Flow:
        """The flow toward a peer; on a wildcard, from the address the kernel would use. Raises OSError."""
        if not self._wildcard:
            return Flow(UDP, self.address, remote, self.number)
        source = kernel_source(remote)
        return Flow(UDP, Address(source.host, self.address.port, source.scope_id), remote, self.number)

    # --- receiving ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take what has arrived, a batch at most: the rest wakes us again after the others had their turn.

        What is dropped unread costs little and counts for little: in a flood the queue must be emptied faster than it
        fills, or the kernel drops good and bad alike.
        """
        left = self._limits.receive_batch
        for _ in range(left * DROPPED_PER_TAKEN):
            try:
                data, peer = self._sock.recvfrom(MAX_MESSAGE_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                self._stats["udp_receive_failed"] += 1
                return
            flow = self._flows.get(peer) or self._remember(peer, peer, self.address)
            if self._receive(data, flow):
                left -= 1
                if not left:
                    return

    def _read_wildcard(self) -> None:
        """The same on a wildcard address, where each datagram says which of our addresses it came to."""
        left = self._limits.receive_batch
        for _ in range(left * DROPPED_PER_TAKEN):
            try:
                data, items, _, peer = self._sock.recvmsg(MAX_MESSAGE_BYTES + 1, PACKET_INFO_SPACE)
            except BlockingIOError:
                return
            except OSError:
                self._stats["udp_receive_failed"] += 1
                return
            info = items[0][2] if items else b""
            flow = self._flows.get((peer, info))
            if flow is None:
                flow = self._remember((peer, info), peer, self._arrived_at(items, peer))
            if self._receive(data, flow):
                left -= 1
                if not left:
                    return

    def _remember(self, key: Any, peer: Any, local: Address) -> Flow:
        if len(self._flows) >= self._limits.udp_flows:
            self._flows.clear()
        flow = self._flows[key] = Flow(UDP, local, Address.from_sockaddr(peer), self.number)
        return flow

    def _arrived_at(self, items: list[tuple[int, int, bytes]], peer: Any) -> Address:
        """Our concrete address; for a datagram to a multicast group, the one the kernel answers from."""
        for item in items:
            local = read_packet_info(item, self.address.port)
            if local is not None and not local.host.startswith("ff"):
                return local
        try:
            return self.flow_to(Address.from_sockaddr(peer)).local
        except OSError:
            return self.address
