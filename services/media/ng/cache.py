"""Replies by cookie, so that a retransmitted request gets the reply its first copy got and is not executed again."""

from __future__ import annotations

GENERATION_S = 30.0
"""How long a generation takes in replies; a reply is kept for one to two of them, as rtpengine does."""
MAX_REPLIES = 65536
"""Replies in one generation; when it is full, the next begins early."""


class ReplyCache:
    """Two generations of replies. Pure: `now` is monotonic seconds."""

    __slots__ = ("_limit", "_old", "_since", "_young")

    def __init__(self, now: float, limit: int = MAX_REPLIES) -> None:
        self._young: dict[tuple[str, bytes], bytes] = {}
        self._old: dict[tuple[str, bytes], bytes] = {}
        self._since = now
        self._limit = limit

    def get(self, host: str, cookie: bytes, now: float) -> bytes | None:
        """The reply stored for a client's cookie; None when there is none.

        The client's host is part of the key: two containers may both be process 1 and count from 1. Its port is not,
        as a translator between may change it.
        """
        self._turn(now)
        key = (host, cookie)
        return self._young.get(key) or self._old.get(key)

    def put(self, host: str, cookie: bytes, reply: bytes, now: float) -> None:
        """Store a reply."""
        self._turn(now)
        if len(self._young) >= self._limit:
            self._age(now)
        self._young[host, cookie] = reply

    def _turn(self, now: float) -> None:
        if now - self._since < GENERATION_S:
            return
        if now - self._since >= 2 * GENERATION_S:
            self._young = {}
        self._age(now)

    def _age(self, now: float) -> None:
        self._old = self._young
        self._young = {}
        self._since = now
