"""The data path: packets in at one party's port, out by another's, in Python on the event loop.

Nothing is built per packet: one buffer for all ports, headers read at their offsets, counters on the endpoint. What
the rest of the service knows of it is `Relay.open`, and `Endpoint`'s `announce`, `route`, `send`, `close` and
counters; a native path has to offer no more.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.core.address import Family
from services.media import rtcp, rtp
from services.media.dtmf import Digit, EventDecoder
from services.media.latch import Latch, SocketAddress
from services.media.ports import PortPair, PortPool
from services.media.watch import Watch

BATCH: Final = 1
"""Packets read from one port per wakeup: a busy port yields to the others after it."""
EXPIRY_S: Final = 0.1
"""How often keys that are down are looked at."""
_BUFFER_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read what a party sends."""

    is_rtp: bool = True
    """False relays datagrams unread (T.38 and the like)."""
    clock_rates_hz: Mapping[int, int] | None = None
    """Clock per payload type; missing ones count as 8000."""
    events: Mapping[int, int] | None = None
    """Clock per payload type of telephone events that can be read (not under SRTP)."""


@dataclass(slots=True)
class Totals:
    """Counters over many endpoints."""

    packets: int = 0
    """RTP received."""
    bytes: int = 0
    lost: int = 0
    rejected: int = 0
    send_errors: int = 0

    def add(self, endpoint: "Endpoint") -> None:
        """Count an endpoint in."""
        self.packets += endpoint.received.packets
        self.bytes += endpoint.received.bytes
        self.lost += endpoint.received.lost
        self.rejected += endpoint.rejected
        self.send_errors += endpoint.send_errors


class Relay:
    """All endpoints of a worker, and what they share."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ports: PortPool, clock: Callable[[], float]) -> None:
        self.loop = loop
        self.watch = Watch(loop)
        self.clock = clock
        self.buffer = bytearray(_BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.unpack = rtp.HEADER.unpack_from
        self.malformed = 0
        """Datagrams that were no RTP or RTCP."""
        self._ports = ports
        self._open: dict[Endpoint, None] = {}
        self._closed = Totals()
        self._closed_drops = 0
        self._keys_down: dict[Endpoint, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def open(self, family: Family, host: str, on_digit: Callable[[Digit], None]) -> "Endpoint":
        """Bind a port pair on `host` and listen. Raises PortsError."""
        endpoint = Endpoint(self, self._ports.take(family, host), on_digit)
        self._open[endpoint] = None
        return endpoint

    def totals(self) -> Totals:
        """Counters of all endpoints that are or were open."""
        totals = replace(self._closed)
        for endpoint in self._open:
            totals.add(endpoint)
        return totals

    def receive_drops(self) -> int:
        """RTP datagrams the kernel dropped before we could read them. A system call for every open endpoint."""
        return self._closed_drops + sum([endpoint.drops for endpoint in self._open])

    def close(self) -> None:
        """Stop listening and the timer; endpoints are closed by their owners."""
        self.watch.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._keys_down.clear()

    def _release(self, endpoint: "Endpoint", pair: PortPair) -> None:
        self._keys_down.pop(endpoint, None)
        self._open.pop(endpoint, None)
        self._closed.add(endpoint)
        self._closed_drops += pair.drops
        self._ports.release(pair)

    def _key_down(self, endpoint: "Endpoint") -> None:
        self._keys_down[endpoint] = None
        if self._timer is None:
            self._timer = self.loop.call_later(EXPIRY_S, self._expire_keys)

    def _expire_keys(self) -> None:
        self._timer = None
        now = self.clock()
        for endpoint in list(self._keys_down):
            if not endpoint.expire_key(now):
                self._keys_down.pop(endpoint, None)
        if self._keys_down:
            self._timer = self.loop.call_later(EXPIRY_S, self._expire_keys)


class Endpoint:
    """One port pair of one media line of one party: what it sends us comes in here, what it hears goes out here."""

    __slots__ = (
        "_decoder",
        "_on_digit",
        "_pair",
        "_payload_type",
        "_reading",
        "_receive",
        "_receive_rtcp",
        "_relay",
        "_rtcp_target",
        "_send",
        "_send_rtcp",
        "_stamp",
        "_table",
        "_target",
        "latch",
        "received",
        "rejected",
        "rtcp_bytes",
        "rtcp_last_at",
        "rtcp_latch",
        "rtcp_packets",
        "send_errors",
        "sent_bytes",
        "sent_packets",
    )

    def __init__(self, relay: Relay, pair: PortPair, on_digit: Callable[[Digit], None]) -> None:
        self._relay = relay
        self._pair = pair
        self._on_digit = on_digit
        self._receive = pair.rtp.recvfrom_into
        self._receive_rtcp = pair.rtcp.recvfrom_into
        self._send = pair.rtp.sendto
        self._send_rtcp = pair.rtcp.sendto
        self._reading = Reading()
        self._payload_type = -1
        self._decoder: EventDecoder | None = None
        self._target: Endpoint | None = None
        self._rtcp_target: Endpoint | None = None
        self._table: bytes | None = None
        self._stamp: bytes | None = None
        self.latch = Latch()
        self.rtcp_latch = Latch()
        self.received = rtp.Reception()
        self.rejected = 0
        """Packets from sources that are not the party's."""
        self.rtcp_packets = 0
        self.rtcp_bytes = 0
        self.rtcp_last_at = 0.0
        """When RTCP last came, on the worker's clock."""
        self.sent_packets = 0
        self.sent_bytes = 0
        self.send_errors = 0
        """Packets the kernel did not take (no route, buffer full)."""
        relay.watch.add(pair.rtp.fileno(), self._on_rtp)
        relay.watch.add(pair.rtcp.fileno(), self._on_rtcp)

    @property
    def payload_type(self) -> int:
        """What the party sent last, telephone events aside; -1 before the first packet."""
        return self._payload_type

    @property
    def drops(self) -> int:
        """RTP datagrams the kernel dropped before we could read them; 0 once closed."""
        return self._pair.drops

    @property
    def family(self) -> Family:
        return self._pair.family

    @property
    def port(self) -> int:
        return self._pair.port

    def announce(
        self, address: SocketAddress | None, rtcp_address: SocketAddress | None, signalled_from: str | None
    ) -> None:
        """Take new signalling of this party: where it receives RTP and RTCP, and the host the signalling came from."""
        now = self._relay.clock()
        self.latch.announce(address, signalled_from, now)
        self.rtcp_latch.announce(rtcp_address, signalled_from, now)

    def read(self, reading: Reading) -> None:
        """Say how what the party sends is to be read from now on."""
        if reading.is_rtp != self._reading.is_rtp:
            self._relay.watch.add(self._pair.rtp.fileno(), self._on_rtp if reading.is_rtp else self._on_plain)
        if reading != self._reading:
            self._reading = reading
            self._payload_type = -1

    def route(
        self, target: "Endpoint | None", *, table: bytes | None = None, stamp: bytes | None = None, rtcp: bool = True
    ) -> None:
        """Send what this party sends out by `target`, or nowhere.

        `table` translates the second header byte (256 entries: marker and payload type), `stamp` replaces the SSRC
        (4 bytes). `rtcp=False` keeps RTCP from the target.
        """
        self._target = target
        self._rtcp_target = target if rtcp else None
        self._table = table
        self._stamp = stamp

    def send(self, packet: memoryview) -> None:
        """Send the party a packet of our own making; without an address it is dropped."""
        to = self.latch.to
        if to is None:
            return
        try:
            self._send(packet, to)
        except OSError:
            self.send_errors += 1
        else:
            self.sent_packets += 1
            self.sent_bytes += len(packet)

    def expire_key(self, now: float) -> bool:
        """Complete a digit whose end was lost; True while a key is still down."""
        decoder = self._decoder
        if decoder is None:
            return False
        for digit in decoder.expire(now):
            self._on_digit(digit)
        return decoder.pending

    def close(self) -> None:
        """Stop listening and give the ports back to rest. Whoever routes here must have been routed elsewhere."""
        pair = self._pair
        self.route(None)
        self._relay.watch.forget(pair.rtp.fileno())
        self._relay.watch.forget(pair.rtcp.fileno())
        self._relay._release(self, pair)

    # --- the hot path ------------------------------------------------------------------------------------------------

    def _on_rtp(self) -> None:
        """Pass one packet on. One per wakeup: asking for a second costs 2 us to be told that there is none, and a port
        that is flooded takes turns with the others."""
        relay = self._relay
        buffer = relay.buffer
        try:
            size, source = self._receive(buffer)
        except OSError:  # another event was handled first, or the port has just been closed
            return
        first, second, sequence, timestamp, ssrc = relay.unpack(buffer)
        if (first != 0x80 or size < 12 or 192 <= second <= 223) and not self._passes(size, source):
            return
        now = relay.clock()
        if source != self.latch.heard and not self._admit(source, now):
            return
        if second & 0x7F == self._payload_type:
            self.received.record(size, sequence, timestamp, ssrc, now)
        else:
            self._other_payload(size, now)
        target = self._target
        if target is None:
            return
        to = target.latch.to
        if to is None:
            return
        if self._table is not None:
            buffer[1] = self._table[second]
        if self._stamp is not None:
            buffer[rtp.SSRC] = self._stamp
        try:
            target._send(relay.view[:size], to)
        except OSError:
            target.send_errors += 1
        else:
            target.sent_packets += 1
            target.sent_bytes += size

    # --- everything else ---------------------------------------------------------------------------------------------

    def _admit(self, source: SocketAddress, now: float) -> bool:
        latch = self.latch
        if not latch.admit(source, now):
            self.rejected += 1
            return False
        if latch.heard == source and source != latch.announced and self.rtcp_latch.heard is None:
            # Behind a NAT the announced RTCP address is worth no more than the RTP one was.
            self.rtcp_latch.to = (source[0], source[1] + 1, *source[2:]) if source[1] < 65535 else None
        return True

    def _passes(self, size: int, source: SocketAddress) -> bool:
        """Whether an unusual packet is RTP after all.

        RTCP on this port is not agreed on (the relay declines rtcp-mux), yet taken from the party's own address and
        passed on by the RTCP port.
        """
        packet = self._relay.buffer
        if rtp.is_rtp(packet, size):
            return True
        if rtcp.is_rtcp(packet, size):
            heard = self.latch.heard or self.latch.announced
            if source == heard:
                self._take_rtcp(size)
            else:
                self.rejected += 1
        else:
            self._relay.malformed += 1
        return False

    def _other_payload(self, size: int, now: float) -> None:
        """Another payload type than the last: a telephone event, or another codec with perhaps another clock."""
        _, second, sequence, timestamp, ssrc = rtp.HEADER.unpack_from(self._relay.buffer)
        payload_type = second & 0x7F
        received = self.received
        events = self._reading.events
        if events is not None and payload_type in events:
            received.record_untimed(size, sequence, ssrc, now)
            self._take_event(size, events[payload_type], timestamp, ssrc)
            return
        self._payload_type = payload_type
        clocks = self._reading.clock_rates_hz
        received.new_clock(clocks.get(payload_type, 8000) if clocks is not None else 8000)
        received.record(size, sequence, timestamp, ssrc, now)

    def _take_event(self, size: int, clock_rate_hz: int, timestamp: int, ssrc: int) -> None:
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = EventDecoder(clock_rate_hz)
        payload = self._relay.view[rtp.payload_offset(self._relay.buffer, size) : size]
        for digit in decoder.receive(payload, timestamp, ssrc, self._relay.clock()):
            self._on_digit(digit)
        if decoder.pending:
            self._relay._key_down(self)

    def _on_plain(self) -> None:
        """Datagrams that are no RTP, passed on as they are."""
        relay = self._relay
        try:
            size, source = self._receive(relay.buffer)
        except OSError:
            return
        now = relay.clock()
        if source != self.latch.heard and not self._admit(source, now):
            return
        self.received.packets += 1
        self.received.bytes += size
        self.received.last_at = now
        if self._target is not None:
            self._target.send(relay.view[:size])

    def _on_rtcp(self) -> None:
        relay = self._relay
        latch = self.rtcp_latch
        try:
            size, source = self._receive_rtcp(relay.buffer)
        except OSError:
            return
        if not rtcp.is_rtcp(relay.buffer, size):
            relay.malformed += 1
        elif source != latch.heard and not latch.admit(source, relay.clock()):
            self.rejected += 1
        else:
            self._take_rtcp(size)

    def _take_rtcp(self, size: int) -> None:
        self.rtcp_packets += 1
        self.rtcp_bytes += size
        self.rtcp_last_at = self._relay.clock()
        target = self._rtcp_target
        if target is None:
            return
        to = target.rtcp_latch.to
        if to is None:
            return
        try:
            target._send_rtcp(self._relay.view[:size], to)
        except OSError:
            target.send_errors += 1
