"""Nonces nobody has to remember, and the counts that were used with them (RFC 7616 3.3, 3.4).

A nonce is a time stamp and a random number, signed: whoever has the key can check it, whichever process made it.

The pair of nonce and nonce count is taken once, and that is known in one process only. In a cluster another edge cannot
tell that a pair was used here; an eavesdropper could replay a request there while its nonce lives, for the same method
and the same user of the Request-URI. Either give every edge a key of its own - another edge's nonce is then stale,
which costs the phone one more round trip, and no replay passes - or keep the requests of one flow on one edge. A single
process makes its key anew at every start.
"""

from __future__ import annotations

import enum
import hmac
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

MAX_CLOCK_SKEW_S = 30
"""How far ahead of ours the clock of another edge, which made the nonce, may be."""

_BODY_BYTES = 10
_MAC_BYTES = 12
_COUNT_WINDOW = 64
_WINDOW_MASK = (1 << _COUNT_WINDOW) - 1


class StaleCause(enum.Enum):
    """Why a nonce was not taken; the value is the label of `pbx_auth_failures_total`."""

    EXPIRED = "expired_nonce"
    FOREIGN = "foreign_nonce"
    REPLAYED = "replayed"


class Nonces:
    """Makes nonces and takes each with each count once. Times are Unix seconds, so that processes agree on them."""

    def __init__(
        self, realm: str, key: bytes, lifetime_s: float, max_nonces: int, random_bytes: Callable[[int], bytes]
    ) -> None:
        if not key:
            raise ValueError("nonces need a key")
        self._key = hmac.digest(key, b"nonce of realm " + realm.encode("utf-8", "surrogateescape"), "sha256")
        self._lifetime_s = lifetime_s
        self._random_bytes = random_bytes
        self._counts = NonceCounts(max_nonces)

    def new(self, now: float) -> str:
        """44 hexadecimal digits: 4 octets of time, 6 of randomness, 12 of signature.

        Hexadecimal on purpose: no letters of it can spell `qop` or `realm` to a client that searches for those.
        """
        body = (int(now) & 0xFFFFFFFF).to_bytes(4, "big") + self._random_bytes(6)
        return (body + self._sign(body)).hex()

    def spend(self, nonce: str, count: int, now: float) -> StaleCause | None:
        """Take a nonce with a count, once. None when it was good. Never raises."""
        try:
            raw = bytes.fromhex(nonce)
        except ValueError:
            return StaleCause.FOREIGN
        # fromhex takes blanks and either case. Only the text we printed is the nonce.
        if len(raw) != _BODY_BYTES + _MAC_BYTES or raw.hex() != nonce:
            return StaleCause.FOREIGN
        if not hmac.compare_digest(self._sign(raw[:_BODY_BYTES]), raw[_BODY_BYTES:]):
            return StaleCause.FOREIGN
        issued = int.from_bytes(raw[:4], "big")
        if not -MAX_CLOCK_SKEW_S <= now - issued <= self._lifetime_s:
            return StaleCause.EXPIRED
        return None if self._counts.take(raw, issued, count, now - self._lifetime_s) else StaleCause.REPLAYED

    def _sign(self, body: bytes) -> bytes:
        # Keyed BLAKE2 is a MAC by itself, at a third of the cost of HMAC, whose hash OpenSSL looks up by name.
        return blake2b(body, key=self._key, digest_size=_MAC_BYTES).digest()


class NonceCounts:
    """Which counts were used: per nonce the highest and the 64 up to it, so that UDP may reorder.

    Bounded. When it is full the nonce used longest ago goes, and with it every unknown nonce as old or older counts as
    used: under pressure phones are challenged once more, but nothing passes twice.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._windows: OrderedDict[bytes, tuple[int, int, int]] = OrderedDict()
        self._forgotten = -1

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, nonce: bytes, issued: int, count: int, dead_before: float) -> bool:
        """Whether `count` was free; it is used now. Nonces issued before `dead_before` need not be remembered."""
        window = self._windows.get(nonce)
        if window is None:
            if issued <= self._forgotten or count == 0:
                return False
            self._make_room(dead_before)
            self._windows[nonce] = (issued, count, 1)
            return True
        _, highest, seen = window
        ahead = count - highest
        if ahead > 0:
            seen = (seen << ahead | 1) & _WINDOW_MASK if ahead < _COUNT_WINDOW else 1
            highest = count
        elif count > 0 and ahead > -_COUNT_WINDOW and not seen >> -ahead & 1:
            seen |= 1 << -ahead
        else:
            return False
        self._windows[nonce] = (issued, highest, seen)
        self._windows.move_to_end(nonce)
        return True

    def _make_room(self, dead_before: float) -> None:
        """Drop dead nonces from the old end, and a living one when there are too many."""
        windows = self._windows
        while windows:
            oldest = next(iter(windows))
            issued = windows[oldest][0]
            if issued >= dead_before:
                if len(windows) < self._limit:
                    return
                self._forgotten = max(self._forgotten, issued)
            del windows[oldest]
