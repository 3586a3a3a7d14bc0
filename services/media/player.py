"""Recordings sent as RTP, one frame every 20 ms, all of them from one timer.

The schedule is absolute: frame n of the clockwork is due at start + n * 20 ms however late the loop ran before, so
nothing drifts. After a stall the missed frames follow at once, up to `MAX_CATCH_UP`; beyond that the schedule moves.

A party hears every recording under one SSRC of ours with ever growing sequence numbers and timestamps, and the marker
on the first packet of each. When the relay resumes, the other party's packets come under their own SSRC, as RFC 3550
has it for a new source; nothing is renumbered.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from services.media.codecs import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ
from services.media.rtp import HEADER, HEADER_BYTES, MARKER, VERSION_2

FRAME_S: Final = FRAME_MS / 1000
MAX_CATCH_UP: Final = 10
"""Frames sent in one go after a stall, 200 ms: what a jitter buffer may still take."""
_PACKET_BYTES: Final = HEADER_BYTES + FRAME_SAMPLES


class TimerHandle(Protocol):
    """What an event loop gives for a timer."""

    def cancel(self) -> None: ...


class Scheduler(Protocol):
    """The part of an event loop that timers need; `asyncio` loops are one."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> TimerHandle: ...


class Voice:
    """Our own RTP stream toward one party: what continues from one recording to the next."""

    __slots__ = ("sent_at", "sequence", "ssrc", "timestamp")

    def __init__(self, randomness: random.Random) -> None:
        self.ssrc = randomness.getrandbits(32)
        self.sequence = randomness.getrandbits(16)
        self.timestamp = randomness.getrandbits(32)
        self.sent_at: float | None = None
        """Scheduler seconds of the last frame; None before the first."""


class Playback:
    """Recordings being played to one party."""

    __slots__ = ("_ended", "_frame", "_marker", "_payload_type", "_piece", "_pieces", "_rounds", "_send", "_voice")

    def __init__(
        self,
        voice: Voice,
        pieces: Sequence[bytes],
        *,
        payload_type: int,
        rounds: int,
        send: Callable[[memoryview], None],
        ended: Callable[[], None],
    ) -> None:
        self._voice = voice
        self._pieces = pieces
        self._payload_type = payload_type
        self._rounds = rounds
        """Times left to play all pieces; 0 plays without end."""
        self._send = send
        self._ended = ended
        self._piece = 0
        self._frame = 0
        self._marker = MARKER

    def frame(self, packet: bytearray, view: memoryview, now: float) -> bool:
        """Send the next 20 ms by way of `packet`, a reused buffer under `view`. False when all has been played."""
        piece = self._pieces[self._piece]
        if self._frame >= len(piece):
            self._frame = 0
            self._piece += 1
            if self._piece == len(self._pieces):
                self._piece = 0
                if self._rounds == 1:
                    return False
                self._rounds = max(0, self._rounds - 1)
            piece = self._pieces[self._piece]
        voice = self._voice
        if self._marker:
            self._begin(now)
        HEADER.pack_into(
            packet, 0, VERSION_2, self._marker | self._payload_type, voice.sequence, voice.timestamp, voice.ssrc
        )
        packet[HEADER_BYTES:_PACKET_BYTES] = piece[self._frame : self._frame + FRAME_SAMPLES]
        self._marker = 0
        self._frame += FRAME_SAMPLES
        voice.sequence = (voice.sequence + 1) & 0xFFFF
        voice.timestamp = (voice.timestamp + FRAME_SAMPLES) & 0xFFFFFFFF
        voice.sent_at = now
        self._send(view)
        return True

    def end(self) -> None:
        """Say that all has been played."""
        self._ended()

    def _begin(self, now: float) -> None:
        """Let the timestamp pass over the silence since the last recording (RFC 3550 section 5.1)."""
        voice = self._voice
        if voice.sent_at is not None:
            silent = max(0, round((now - voice.sent_at - FRAME_S) * SAMPLE_RATE_HZ))
            voice.timestamp = (voice.timestamp + silent) & 0xFFFFFFFF


class Player:
    """The clockwork behind every playback."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._packet = bytearray(_PACKET_BYTES)
        self._view = memoryview(self._packet)
        self._playing: dict[Playback, None] = {}
        self._timer: TimerHandle | None = None
        self._start = 0.0
        self._ticks = 0

    @property
    def playing(self) -> int:
        """Playbacks that run."""
        return len(self._playing)

    def start(self, playback: Playback) -> None:
        """Play from the next tick on: at once when nothing plays, within 20 ms otherwise."""
        self._playing[playback] = None
        if self._timer is None:
            self._start = self._scheduler.time()
            self._ticks = 0
            self._arm()

    def stop(self, playback: Playback) -> None:
        """End without a word. A playback that has ended already is ignored."""
        self._playing.pop(playback, None)

    def close(self) -> None:
        """Stop everything."""
        self._playing.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = self._scheduler.call_at(self._start + self._ticks * FRAME_S, self._tick)

    def _tick(self) -> None:
        now = self._scheduler.time()
        # A loop may fire a timer its clock's resolution too early: that frame is due as well.
        due = max(1, int((now - self._start) / FRAME_S + 1e-6) + 1 - self._ticks)
        if due > MAX_CATCH_UP:
            self._start += (due - MAX_CATCH_UP) * FRAME_S
            due = MAX_CATCH_UP
        for _ in range(due):
            self._play_frame(now)
        self._ticks += due
        self._timer = None
        if self._playing:
            self._arm()

    def _play_frame(self, now: float) -> None:
        packet, view = self._packet, self._view
        for playback in list(self._playing):
            if playback in self._playing and not playback.frame(packet, view, now):
                self._playing.pop(playback, None)
                playback.end()
