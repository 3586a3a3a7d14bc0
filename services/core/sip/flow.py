"""Where a message came in and where its answers go out: a value, never a socket.

A flow names the two ends of one path: a UDP listener's address and a peer, or one stream connection. Answers leave
by the flow of their request (RFC 3261 §18.2.2), a request toward a registered phone leaves by the flow of its
registration (connection reuse, RFC 5626's idea). Sockets are found by the transport from the flow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.core.address import Address

UDP = "udp"
TCP = "tcp"
TLS = "tls"
WS = "ws"
"""WebSocket (RFC 7118)."""
WSS = "wss"
"""WebSocket over TLS."""
STREAMS = (TCP, TLS, WS, WSS)
"""Transports with connections."""
SECURE = frozenset((TLS, WSS))
"""Transports good enough for `sips:` (RFC 3261 §26.2.2, RFC 7118 §5.3)."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One path to one peer. Equal flows lead to the same place over the same socket."""

    transport: str
    """`udp`, `tcp`, `tls`, `ws` or `wss`."""
    local: Address
    """Our end, concrete: on a wildcard listener the address this peer reached us at. Carries the scope id."""
    remote: Address
    """The peer's end as the kernel saw it."""
    id: int
    """Number of the listener (UDP) or of the connection (streams), unique in one process."""
    peer_name: str = ""
    """The host whose certificate a TLS connection of ours was asked for (RFC 5922 §4); the same is asked of another
    connection that takes its place."""

    @property
    def reliable(self) -> bool:
        """True when the transport retransmits for us, so that timers A, E and G never run (RFC 3261 §17)."""
        return self.transport != UDP

    @property
    def secure(self) -> bool:
        """True when nobody between us and the peer can read along; what `sips:` asks of every hop."""
        return self.transport in SECURE

    def with_remote(self, remote: Address) -> Flow:
        """The same socket toward another peer; meaningful for UDP only."""
        return replace(self, remote=remote)
