"""Octets made out of other octets: the same seed gives the same ones, on every machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

MAX_BYTES = 70_000
"""A little more than a message may have."""

_WORDS = tuple(
    word.encode("utf-8", "surrogateescape")
    for word in (
        *("\r\n", "\n", "\r", "\r\n ", "\r\n\r\n", " ", "\t", "\0", "\x7f", "\udcff", "\udcc0\udc80"),
        *("\u2028", "\x85", "٧"),
        *('"', "\\", '\\"', "<", ">", ";", ",", ":", "::", "=", "@", "?", "&", "%", "%00", "%0d%0a", "%zz"),
        *("[", "]", "[]", "*"),
        *("0", "-1", "+1", "1_0", "255", "256", "65535", "65536", "2147483648", "4294967296", "9" * 40),
        *("[::1]", "2001:db8::1", "[::ffff:192.0.2.1]", "[fe80::1%25eth0]", "127.0.0.1", "0.0.0.0", "::"),
        *("sip:", "sips:", "tel:", "SIP/2.0", "Via: ", "v:", "Content-Length: ", "l:0", "Contact: *"),
        *("Route: <sip:a;lr>\r\n",),
        *(";lr", ";tag=", ";branch=z9hG4bK", ";rport", ";received=", ";maddr=", ";expires=", ";q="),
        *("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER"),
        *("v=0\r\n", "m=audio 0 RTP/AVP 0\r\n", "c=IN IP6 ::\r\n"),
        *("a=rtcp:1", "a=sendonly", "IN IP4 ", "d", "e", "l", "i1e", "0:", "99999:", "{", "}", "null", "1e999"),
    )
)  # fmt: skip


class Mutator:
    """Makes new octets out of a corpus. Not a source of randomness for anything but tests."""

    def __init__(self, corpus: Sequence[bytes], seed: int) -> None:
        self._corpus = corpus
        self._random = random.Random(seed)
        self._steps: tuple[Callable[[bytearray], None], ...] = (
            self._flip, self._flip, self._insert, self._insert, self._insert, self._replace, self._cut, self._double,
            self._line, self._splice, self._number, self._case,
        )  # fmt: skip

    def next(self) -> bytes:
        """A member of the corpus with one to eight things done to it."""
        data = bytearray(self._random.choice(self._corpus))
        for _ in range(1 + min(int(self._random.expovariate(0.6)), 7)):
            self._random.choice(self._steps)(data)
        return bytes(data[:MAX_BYTES])

    def _span(self, data: bytearray, longest: int) -> tuple[int, int]:
        start = self._random.randint(0, len(data))
        return start, min(len(data), start + self._random.randint(0, longest))

    def _flip(self, data: bytearray) -> None:
        if data:
            at = self._random.randrange(len(data))
            data[at] ^= 1 << self._random.randrange(8)

    def _insert(self, data: bytearray) -> None:
        at, _ = self._span(data, 0)
        data[at:at] = self._random.choice(_WORDS)

    def _replace(self, data: bytearray) -> None:
        start, end = self._span(data, 12)
        data[start:end] = self._random.choice(_WORDS)

    def _cut(self, data: bytearray) -> None:
        start, end = self._span(data, self._random.choice((1, 8, 100)))
        del data[start:end]

    def _double(self, data: bytearray) -> None:
        start, end = self._span(data, 60)
        data[end:end] = data[start:end] * self._random.choice((1, 1, 2, 300))

    def _line(self, data: bytearray) -> None:
        """Lines change places, or one of another seed comes in."""
        lines = bytes(data).split(b"\r\n")
        one, two = self._random.randrange(len(lines)), self._random.randrange(len(lines))
        if self._random.random() < 0.5:
            lines[one], lines[two] = lines[two], lines[one]
        else:
            lines.insert(one, self._random.choice(self._random.choice(self._corpus).split(b"\r\n")))
        data[:] = b"\r\n".join(lines)

    def _splice(self, data: bytearray) -> None:
        other = self._random.choice(self._corpus)
        data[self._random.randint(0, len(data)) :] = other[self._random.randint(0, len(other)) :]

    def _number(self, data: bytearray) -> None:
        """A digit becomes another number."""
        digits = [at for at, octet in enumerate(data) if 48 <= octet <= 57]
        if digits:
            at = self._random.choice(digits)
            data[at : at + 1] = self._random.choice((b"", b"0", b"9", b"00", b"-1", b"99999999999", b"\xd9\xa7"))

    def _case(self, data: bytearray) -> None:
        start, end = self._span(data, 30)
        data[start:end] = data[start:end].swapcase()
