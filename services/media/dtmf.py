"""Digits out of RFC 4733 telephone events: one `Digit` per event, however many packets carried it. Pure.

     0                   1                   2                   3
    |     event     |E|R| volume    |          duration             |

All packets of an event share one timestamp and carry a growing duration; the end bit comes three times. An event
is done at the first end bit, or when the next event begins, or when nothing more came for `SILENCE_S` (the ends
were lost). Events longer than 0xFFFF units go on in segments under new timestamps (section 2.5.1.3).
"""

from dataclasses import dataclass
from typing import Final

PAYLOAD_BYTES: Final = 4
SILENCE_S: Final = 0.2
"""Packets come every 20 or 50 ms while a key is down: after four to ten missing ones it is up."""
LATE_UNITS: Final = 10 * 8000
"""How far back a timestamp may lie to belong to an event that is over."""
DIGITS: Final = "0123456789*#ABCD"
"""By event code (RFC 4733 section 3.2). Other events, a hook flash among them, are no keys."""


@dataclass(frozen=True, slots=True)
class Digit:
    """A key that was pressed and let go."""

    digit: str
    duration_ms: int


class EventDecoder:
    """The telephone events of one stream. Feed it every event packet; call `expire` while `pending`."""

    __slots__ = ("_before", "_clock_rate_hz", "_code", "_done", "_duration", "_heard_at", "_ssrc", "_timestamp")

    def __init__(self, clock_rate_hz: int = 8000) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._ssrc = -1
        self._code = -1
        self._timestamp = -1
        self._duration = 0
        self._before = 0
        self._done: int | None = None
        self._heard_at = 0.0

    @property
    def pending(self) -> bool:
        """A key is down."""
        return self._code >= 0

    def receive(self, payload: bytes | memoryview, timestamp: int, ssrc: int, now: float) -> tuple[Digit, ...]:
        """Take the payload of an event packet; return the digits this completes, oldest first.

        `timestamp` and `ssrc` are the packet's, `now` seconds of a steady clock. Malformed payloads and events
        that are no keys are ignored.
        """
        if len(payload) < PAYLOAD_BYTES:
            return ()
        code = payload[0]
        if code >= len(DIGITS):
            return ()
        if ssrc != self._ssrc:
            completed = self._finish()
            self._ssrc = ssrc
            self._done = None
        elif self._is_old(timestamp):
            return ()
        else:
            completed = ()
        if self._code < 0:
            self._begin(code, timestamp)
        elif timestamp != self._timestamp:
            if self._goes_on(code, timestamp):
                self._before += self._duration
                self._timestamp, self._duration = timestamp, 0
            else:
                completed += self._finish()
                self._begin(code, timestamp)
        self._duration = max(self._duration, payload[2] << 8 | payload[3])
        self._heard_at = now
        if payload[1] & 0x80:
            completed += self._finish()
        return completed

    def expire(self, now: float) -> tuple[Digit, ...]:
        """Complete an event of which nothing was heard for `SILENCE_S`."""
        if self._code >= 0 and now - self._heard_at >= SILENCE_S:
            return self._finish()
        return ()

    def _is_old(self, timestamp: int) -> bool:
        """A copy of an end already taken, or an event packet overtaken by a later event."""
        # Only a little older is late; a sender whose timestamps jump far back began anew without a new SSRC.
        if self._code >= 0 and 0 < (self._timestamp - timestamp) & 0xFFFFFFFF < LATE_UNITS:
            return True
        return self._done is not None and (self._done - timestamp) & 0xFFFFFFFF < LATE_UNITS

    def _goes_on(self, code: int, timestamp: int) -> bool:
        return code == self._code and (timestamp - self._timestamp) & 0xFFFFFFFF == 0xFFFF

    def _begin(self, code: int, timestamp: int) -> None:
        self._code, self._timestamp = code, timestamp
        self._duration = self._before = 0

    def _finish(self) -> tuple[Digit, ...]:
        if self._code < 0:
            return ()
        duration_ms = (self._before + self._duration) * 1000 // self._clock_rate_hz
        digit = Digit(DIGITS[self._code], duration_ms)
        self._done = self._timestamp
        self._code = -1
        return (digit,)
