"""Good messages made bad, the same ones at every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

TOKENS = (
    *(b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b"\t", b" ", b"\xff\xfe", b"\xc3\x28", b"\xe2\x80\xa8", b"\xd9\xa7"),
    *(b"[", b"]", b"[::1]", b"::", b"%", b"%00", b'"', b"\\", b"<", b">", b";", b",", b"@", b"=", b"?", b":", b"*"),
    *(b"sip:", b"tel:+1", b"-1", b"0", b"4294967296", b"9" * 400, b"z9hG4bK", b";tag=", b";branch=", b";received="),
    *(b"Content-Length: -1\r\n", b"Via: \r\n", b"Contact: *\r\n", b"Require: x\r\n", b"Expires: 0\r\n"),
    *(b"SIP/2.0 ", b"INVITE ", b"REGISTER ", b"ACK ", b"CANCEL ", b"m=audio 0 RTP/AVP\r\n", b"c=IN IP6 ::\r\n"),
    *(b"(" * 300, b"A" * 3000, b";x" * 500, b"," * 1000, b"a=rtpmap:0 PCMU/8000\r\n" * 50),
)
Operation = Callable[[random.Random, bytes], bytes]


def _cut(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64, 256)))


def _flip(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) or 1)
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _delete(rng: random.Random, data: bytes) -> bytes:
    start, end = _cut(rng, data)
    return data[:start] + data[end:]


def _double(rng: random.Random, data: bytes) -> bytes:
    start, end = _cut(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 2, 20)) + data[end:]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _noise(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(1, 60)) + data[at:]


def _truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _shuffle(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _replace_value(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    name, colon, _ = lines[at].partition(b":")
    lines[at] = name + colon + rng.choice(TOKENS)
    return b"\r\n".join(lines)


_OPERATIONS: Sequence[Operation] = (
    *(_flip, _delete, _double, _insert, _insert, _noise, _truncate, _shuffle, _replace_value),
)
_LONGEST = 60_000


def mutated(rng: random.Random, data: bytes) -> bytes:
    """`data` after one to four accidents; what a datagram can hold."""
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        data = rng.choice(_OPERATIONS)(rng, data)
    return data[:_LONGEST]
