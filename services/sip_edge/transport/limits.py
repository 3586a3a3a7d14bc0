"""Bounds of the transport: what one peer, or all of them, may make us hold."""

from __future__ import annotations

from dataclasses import dataclass


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
    """Connections per TCP listener, those we opened from it included."""
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
    sweep_s: float = 5.0
    """How often connections are looked over for the two bounds above."""
