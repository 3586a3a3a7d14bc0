"""Unguessable texts: tags, branches, Call-IDs, nonces."""

from __future__ import annotations

import os

_FETCHED = 4096
"""Octets asked of the system at a time. A call takes nine texts, a REGISTER three: a system call each otherwise."""


class Randomness:
    """The system's randomness, a little ahead. No octet is given twice; not to be shared with a forked process."""

    __slots__ = ("_at", "_fetched")

    def __init__(self) -> None:
        self._fetched = b""
        self._at = 0

    def octets(self, count: int) -> bytes:
        """So many octets, at most 4096."""
        start, end = self._at, self._at + count
        if end > len(self._fetched):
            self._fetched = os.urandom(_FETCHED)
            start, end = 0, count
        self._at = end
        return self._fetched[start:end]

    def tag(self) -> str:
        """64 bits, in hexadecimal digits."""
        return self.octets(8).hex()

    def call_id(self) -> str:
        """96 bits, in hexadecimal digits."""
        return self.octets(12).hex()
