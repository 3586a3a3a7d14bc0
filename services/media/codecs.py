"""G.711 by table (ITU-T G.711; RFC 3551 section 4.5.14).

Linear samples are 16-bit; µ-law keeps their upper 14 bits, A-law their upper 13. The tables are
made on first use, a few milliseconds once, and are immutable. `audioop` is not used: Python drops it.
"""

from array import array
from dataclasses import dataclass
from functools import cache
from typing import Final

SAMPLE_RATE_HZ: Final = 8000
FRAME_MS: Final = 20
FRAME_SAMPLES: Final = SAMPLE_RATE_HZ * FRAME_MS // 1000
"""Samples, and in G.711 also bytes, of one packet."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec that prompts are encoded in."""

    name: str
    """Encoding name of RFC 3551, as in `a=rtpmap`."""
    silence: int
    """The byte that says nothing, for padding the last frame."""


PCMU: Final = Codec("PCMU", 0xFF)
PCMA: Final = Codec("PCMA", 0xD5)
PROMPT_CODECS: Final = {PCMU.name: PCMU, PCMA.name: PCMA}


def encode(codec: Codec, samples: "array[int]") -> bytes:
    """One byte per linear 16-bit sample (`array('h')`)."""
    table = _ulaw_encoding() if codec is PCMU else _alaw_encoding()
    # A negative sample indexes from the table's end, which is where its two's complement is kept.
    return bytes(map(table.__getitem__, samples))


def decode(codec: Codec, data: bytes | bytearray | memoryview) -> "array[int]":
    """Linear 16-bit samples (`array('h')`) of G.711 bytes."""
    table = _ulaw_decoding() if codec is PCMU else _alaw_decoding()
    return array("h", map(table.__getitem__, data))


def _ulaw_byte(sample: int) -> int:
    """Of a sample that is not negative; below zero bit 7 is 0."""
    magnitude = min(sample, 32635) + 132
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~(exponent << 4 | mantissa) & 0xFF


def _ulaw_sample(byte: int) -> int:
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 132 << (byte >> 4 & 0x07)) - 132
    return -magnitude if byte & 0x80 else magnitude


def _alaw_byte(sample: int) -> int:
    magnitude = sample >> 3
    mask = 0xD5
    if magnitude < 0:
        magnitude, mask = -magnitude - 1, 0x55
    segment = max(0, magnitude.bit_length() - 5)
    return (segment << 4 | (magnitude >> max(1, segment)) & 0x0F) ^ mask


def _alaw_sample(byte: int) -> int:
    byte ^= 0x55
    segment = byte >> 4 & 0x07
    magnitude = (byte & 0x0F) << 4 | 8
    if segment:
        magnitude = (magnitude | 0x100) << segment - 1
    return magnitude if byte & 0x80 else -magnitude


@cache
def _ulaw_encoding() -> bytes:
    # Four neighbouring samples share a byte: 16 Ki computations, not 64 Ki.
    positive = b"".join(bytes((_ulaw_byte(s),)) * 4 for s in range(0, 32768, 4))
    # One's complement below zero, as in ITU-T G.191: -4 .. -1 are coded with 0 .. 3.
    negative = b"".join(bytes((_ulaw_byte(s) & 0x7F,)) * 4 for s in range(32764, -4, -4))
    return positive + negative


@cache
def _alaw_encoding() -> bytes:
    eight = [bytes((_alaw_byte(s),)) * 8 for s in (*range(0, 32768, 8), *range(-32768, 0, 8))]
    return b"".join(eight)


@cache
def _ulaw_decoding() -> tuple[int, ...]:
    return tuple(map(_ulaw_sample, range(256)))


@cache
def _alaw_decoding() -> tuple[int, ...]:
    return tuple(map(_alaw_sample, range(256)))
