"""RTP as the relay reads it: offsets, validity, and the figures of a stream (RFC 3550). Pure.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    |                           timestamp                           |
    |           synchronization source (SSRC) identifier            |
    |            contributing source (CSRC) identifiers ...         |

Packets are never made into objects: a caller hands in what it read at these offsets.
"""

from struct import Struct
from typing import Final

HEADER: Final = Struct("!BBHII")
"""First byte, marker and payload type, sequence number, timestamp, SSRC."""
HEADER_BYTES: Final = 12
SSRC: Final = slice(8, 12)
VERSION_2: Final = 0x80
MARKER: Final = 0x80

MAX_DROPOUT: Final = 3000
MAX_MISORDER: Final = 100
"""Limits of RFC 3550 appendix A.1: a jump beyond them is a restarted source, not loss."""

_TIMESTAMP_MODULUS: Final = float(1 << 32)
_TIMESTAMP_HALF: Final = float(1 << 31)


def is_rtp(packet: bytes | bytearray | memoryview, size: int) -> bool:
    """Whether `packet[:size]` has a sound RTP header: version 2, CSRCs and extension within it, and not RTCP.

    RFC 3550 appendix A.1; RFC 5761 section 4 for telling RTCP apart by its second byte.
    """
    if size < HEADER_BYTES:
        return False
    first = packet[0]
    if first & 0xC0 != VERSION_2 or 192 <= packet[1] <= 223:
        return False
    return not first & 0x1F or payload_offset(packet, size) >= 0


def payload_offset(packet: bytes | bytearray | memoryview, size: int) -> int:
    """Where the payload begins, past CSRCs and a header extension; -1 when the header overruns the packet."""
    first = packet[0]
    offset = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if offset + 4 > size:
            return -1
        offset += 4 + 4 * (packet[offset + 2] << 8 | packet[offset + 3])
    return offset if offset <= size else -1


class Reception:
    """What has come in on one stream: packets, bytes, loss, jitter. Safe over wraps, restarts and new SSRCs.

    Mutable and without objects per packet: it is on the relay's hot path. Sequence numbers are extended as
    integers without bound, which is RFC 3550's cycle counter (A.1, A.3). Jitter is A.8's estimate.
    """

    __slots__ = (
        "_base",
        "_expected_before",
        "_highest",
        "_jitter",
        "_received",
        "_received_before",
        "_suspect",
        "_transit",
        "bytes",
        "clock_rate_hz",
        "last_at",
        "misordered",
        "packets",
        "ssrc",
        "ssrc_changes",
    )

    def __init__(self, clock_rate_hz: int = 8000) -> None:
        self.clock_rate_hz = clock_rate_hz
        """Timestamp units per second; RFC 3551 (G.722 says 8000)."""
        self.packets = 0
        self.bytes = 0
        """RTP bytes, header included."""
        self.misordered = 0
        self.ssrc = -1
        """The source heard now; -1 before the first packet."""
        self.ssrc_changes = 0
        self.last_at = 0.0
        """Clock seconds of the last packet."""
        self._base = 0
        self._highest = 0
        self._received = 0
        self._suspect = -1
        self._expected_before = 0
        self._received_before = 0
        self._transit: float | None = None
        self._jitter = 0.0

    def record(self, size: int, sequence: int, timestamp: int, ssrc: int, now: float) -> None:
        """Count one packet of `size` bytes that arrived at `now` (seconds of any steady clock)."""
        self.packets += 1
        self.bytes += size
        self.last_at = now
        if ssrc != self.ssrc:
            self._new_source(sequence, ssrc)
        else:
            step = (sequence - self._highest) & 0xFFFF
            if step == 1 or 0 < step < MAX_DROPOUT:
                self._highest += step
            elif step > 0xFFFF - MAX_MISORDER or not step:
                self.misordered += 1  # late, or a copy
            elif sequence == self._suspect:  # two in a row after a jump: the source restarted
                self._new_segment(sequence)
            else:
                self._suspect = (sequence + 1) & 0xFFFF
                self._received -= 1
            self._received += 1
        transit = now * self.clock_rate_hz - timestamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            if change > _TIMESTAMP_HALF:
                change = abs(change - _TIMESTAMP_MODULUS)
            self._jitter += (change - self._jitter) / 16.0
        self._transit = transit

    def record_untimed(self, size: int, sequence: int, ssrc: int, now: float) -> None:
        """Count a packet whose timestamp says nothing of its sending time (RFC 4733 events, RFC 3550 A.8)."""
        transit = self._transit
        self._transit = None
        self.record(size, sequence, 0, ssrc, now)
        self._transit = transit

    def new_clock(self, clock_rate_hz: int) -> None:
        """Timestamps count differently from now on (another codec)."""
        if clock_rate_hz != self.clock_rate_hz:
            self.clock_rate_hz = clock_rate_hz
            self._transit = None

    @property
    def expected(self) -> int:
        """Packets that were sent to us, by their sequence numbers."""
        current = self._highest - self._base + 1 if self.ssrc >= 0 else 0
        return self._expected_before + current

    @property
    def lost(self) -> int:
        """Packets that never came (A.3). Never negative: copies do not make up for losses elsewhere."""
        return max(0, self.expected - self._received_before - self._received)

    @property
    def jitter_ms(self) -> float:
        return self._jitter * 1000.0 / self.clock_rate_hz

    def _new_source(self, sequence: int, ssrc: int) -> None:
        if self.ssrc >= 0:
            self.ssrc_changes += 1
            self._new_segment(sequence)
            self._received = 1
        else:
            self._base = self._highest = sequence
            self._received = 1
        self.ssrc = ssrc
        self._transit = None
        self._suspect = -1

    def _new_segment(self, sequence: int) -> None:
        self._expected_before += self._highest - self._base + 1
        self._received_before += self._received
        self._base = self._highest = sequence
        self._received = 0
        self._suspect = -1
        self._transit = None
