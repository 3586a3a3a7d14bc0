"""Bounds of the transport: what one peer, or all of them, may make us hold."""

from __future__ import annotations

from dataclasses import dataclass

CLOSING_GRACE_S = 1.0
"""How long connections may take to send what is buffered, and to end TLS in order, when the transport closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """Each is reached quietly: what is over it is dropped and counted."""

    receive_batch: int = 32
    """Messages taken from one socket or connection before the others have their turn."""
    udp_buffer_bytes: int = 4 * 1024 * 1024
    """Asked of the kernel for a listener's receive queue; it grants at most net.core.rmem_max."""
    udp_flows: int = 8192
    """Flow values remembered so that a known peer costs no new objects; forgotten all at once when full."""
    connections: int = 4096
    """Connections per listener, those we opened from it and those still in their TLS handshake included."""
    backlog: int = 512
    """Connections the kernel completes ahead of us."""
    write_buffer_bytes: int = 256 * 1024
    """Octets waiting for a slow peer, or for a connection to come up, before further messages are dropped."""
    first_message_s: float = 32.0
    """A connection that has not sent one whole message or keep-alive by then is closed, and so is one whose message
    has been incomplete for that long."""
    idle_s: float = 3900.0
    """A connection without any traffic for that long is closed: longer than a registration of an hour lasts."""
    connect_s: float = 8.0
    """How long a connection may take to come up."""
    handshake_s: float = 8.0
    """How long a TLS handshake may take."""
    websocket_ping_s: float = 30.0
    """A WebSocket that has been silent for that long is pinged (RFC 6455 §5.5.2), and closed if it stays silent for as
    long again: what is between a browser and us forgets idle connections sooner than a registration ends."""
    certificate_check_s: float = 5.0
    """How often the files of TLS are looked at."""
    sweep_s: float = 5.0
    """How often connections are looked over for the two bounds above."""
