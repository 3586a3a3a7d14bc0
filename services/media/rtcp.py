"""RTCP as the relay reads it (RFC 3550 section 6; RFC 5761 for RTCP on the RTP port). Pure."""

from typing import Final

HEADER_BYTES: Final = 4
FIRST_MUXED: Final = 192
LAST_MUXED: Final = 223
"""Second bytes that mean RTCP on a shared port: payload types 64 to 95 with the marker (RFC 5761 section 4)."""


def is_muxed(packet: bytes | bytearray | memoryview, size: int) -> bool:
    """Whether a packet on an RTP port is RTCP."""
    return size >= 2 and FIRST_MUXED <= packet[1] <= LAST_MUXED


def is_rtcp(packet: bytes | bytearray | memoryview, size: int) -> bool:
    """Whether `packet[:size]` begins like RTCP: version 2, an RTCP packet type, a first length that fits.

    SRTCP passes too, as its first eight bytes are clear (RFC 3711 section 3.4). RFC 3550 appendix A.2 wants
    a compound to begin with SR or RR; RFC 5506 lets others stand alone, so any type is taken.
    """
    if size < 2 * HEADER_BYTES or packet[0] & 0xC0 != 0x80 or not is_muxed(packet, size):
        return False
    return HEADER_BYTES * ((packet[2] << 8 | packet[3]) + 1) <= size
