"""Recordings as RTP: one packet every 20 ms, whatever the loop does."""

import random
from dataclasses import dataclass, field

import pytest

from services.media.codecs import FRAME_SAMPLES
from services.media.player import MAX_CATCH_UP, Playback, Player, Voice
from services.media.rtp import HEADER

from .support import ManualLoop

FRAME_S = 0.02


@dataclass
class Listener:
    """Who hears a playback, and when."""

    loop: ManualLoop
    packets: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    ends: int = 0

    def send(self, packet: memoryview) -> None:
        self.packets.append(bytes(packet))
        self.times.append(self.loop.now)

    def ended(self) -> None:
        self.ends += 1

    def headers(self) -> list[tuple[int, ...]]:
        return [HEADER.unpack_from(packet) for packet in self.packets]

    @property
    def audio(self) -> bytes:
        return b"".join(packet[12:] for packet in self.packets)


class Stage:
    """A player with its clock, and one voice."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.player = Player(self.loop)
        self.voice = Voice(random.Random(3))

    def play(self, *pieces: bytes, rounds: int = 1, voice: Voice | None = None, payload_type: int = 0) -> Listener:
        listener = Listener(self.loop)
        self.player.start(self.playback(listener, *pieces, rounds=rounds, voice=voice, payload_type=payload_type))
        return listener

    def playback(
        self, listener: Listener, *pieces: bytes, rounds: int = 1, voice: Voice | None = None, payload_type: int = 0
    ) -> Playback:
        return Playback(
            voice or self.voice,
            pieces,
            payload_type=payload_type,
            rounds=rounds,
            send=listener.send,
            ended=listener.ended,
        )

    def run(self, seconds: float) -> None:
        self.loop.run_until(self.loop.now + seconds)


def frames(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count * FRAME_SAMPLES)


def test_frames_leave_every_20_ms_from_the_start_on() -> None:
    stage = Stage()
    start = stage.loop.now
    listener = stage.play(frames(50))
    stage.run(1.1)
    assert listener.times == pytest.approx([start + number * FRAME_S for number in range(50)])
    assert listener.audio == frames(50)
    assert listener.ends == 1


def test_the_end_is_told_when_the_last_frame_has_been_heard() -> None:
    stage = Stage()
    listener = stage.play(frames(5))
    stage.run(4 * FRAME_S + 0.001)
    assert (len(listener.packets), listener.ends) == (5, 0)
    stage.run(FRAME_S)
    assert listener.ends == 1
    assert stage.loop.armed == 0, "nothing plays, nothing ticks"


def test_packets_are_numbered_in_one_stream_with_the_marker_first() -> None:
    stage = Stage()
    listener = stage.play(frames(3), payload_type=8)
    stage.run(1)
    headers = listener.headers()
    assert [(first, second) for first, second, *_ in headers] == [(0x80, 0x88), (0x80, 8), (0x80, 8)]
    _, _, sequence, timestamp, ssrc = headers[0]
    for number, (_, _, s, t, source) in enumerate(headers):
        assert s == (sequence + number) & 0xFFFF
        assert t == (timestamp + number * 160) & 0xFFFFFFFF
        assert source == ssrc


def test_sequence_numbers_and_timestamps_wrap() -> None:
    stage = Stage()
    stage.voice.sequence, stage.voice.timestamp = 0xFFFF, 0xFFFFFFFF - 100
    listener = stage.play(frames(3))
    stage.run(1)
    assert [(s, t) for _, _, s, t, _ in listener.headers()] == [(0xFFFF, 0xFFFFFF9B), (0, 59), (1, 219)]


def test_the_next_recording_goes_on_in_the_same_stream_after_the_silence() -> None:
    stage = Stage()
    first = stage.play(frames(2))
    stage.run(1.0)
    second = stage.play(frames(2))
    stage.run(1.0)
    *_, (_, _, sequence, timestamp, ssrc) = first.headers()
    _, second_byte, next_sequence, next_timestamp, next_ssrc = second.headers()[0]
    assert second_byte == 0x80, "a new talkspurt"
    assert next_ssrc == ssrc
    assert next_sequence == (sequence + 1) & 0xFFFF
    silence_s = second.times[0] - first.times[-1]
    assert (next_timestamp - timestamp) & 0xFFFFFFFF == round(silence_s * 8000)


def test_several_recordings_follow_each_other_without_a_gap() -> None:
    stage = Stage()
    listener = stage.play(frames(2, 1), frames(1, 2), frames(3, 3))
    stage.run(1)
    assert listener.audio == frames(2, 1) + frames(1, 2) + frames(3, 3)
    assert listener.times[-1] - listener.times[0] == pytest.approx(5 * FRAME_S)
    assert listener.ends == 1


def test_recordings_are_repeated_as_often_as_asked() -> None:
    stage = Stage()
    listener = stage.play(frames(2, 1), frames(1, 2), rounds=3)
    stage.run(2)
    assert listener.audio == (frames(2, 1) + frames(1, 2)) * 3
    assert listener.ends == 1


def test_zero_rounds_do_not_end() -> None:
    stage = Stage()
    listener = stage.play(frames(3), rounds=0)
    stage.run(20.0)
    assert 1000 <= len(listener.packets) <= 1001
    assert listener.ends == 0


def test_a_stopped_recording_says_nothing_more() -> None:
    stage = Stage()
    listener = Listener(stage.loop)
    playback = stage.playback(listener, frames(10))
    stage.player.start(playback)
    stage.run(3 * FRAME_S)
    heard = len(listener.packets)
    stage.player.stop(playback)
    stage.player.stop(playback)
    stage.run(1)
    assert (len(listener.packets), listener.ends) == (heard, 0)


def test_all_playbacks_share_one_timer() -> None:
    stage = Stage()
    listeners = [stage.play(frames(100), voice=Voice(random.Random(seed))) for seed in range(50)]
    assert stage.loop.armed == 1
    stage.run(1.0)
    assert stage.loop.armed == 1
    assert all(len(listener.packets) in (50, 51) for listener in listeners)


def test_a_late_one_joins_within_a_frame() -> None:
    stage = Stage()
    stage.play(frames(100))
    stage.run(0.013)
    asked = stage.loop.now
    late = stage.play(frames(3), voice=Voice(random.Random(4)))
    stage.run(1)
    assert 0 < late.times[0] - asked <= FRAME_S
    assert late.audio == frames(3)


def test_a_stall_is_caught_up_and_does_not_shift_the_schedule() -> None:
    stage = Stage()
    start = stage.loop.now
    listener = stage.play(frames(100))
    stage.run(0.1)
    stage.loop.stall_until(start + 0.205)
    stage.run(0.0)
    assert len(listener.packets) == 11
    stage.run(3)
    assert listener.times[-1] == pytest.approx(start + 99 * FRAME_S)


def test_a_long_stall_moves_the_schedule_instead_of_flooding() -> None:
    stage = Stage()
    listener = stage.play(frames(200))
    stage.run(0.1)
    before = len(listener.packets)
    stage.loop.stall_until(stage.loop.now + 2.0)
    stage.run(0.0)
    assert len(listener.packets) - before == MAX_CATCH_UP
    stage.run(5)
    assert listener.audio == frames(200)


def test_nothing_drifts_in_an_hour_of_timers_that_fire_late() -> None:
    stage = Stage()
    start = stage.loop.now
    listener = stage.play(frames(5), rounds=0)
    for number in range(1, 3600):
        stage.run(1.0)
        stage.loop.stall_until(start + number + 0.007)
    assert len(listener.packets) == pytest.approx((stage.loop.now - start) / FRAME_S, abs=2)


def test_the_end_of_one_may_start_the_next() -> None:
    stage = Stage()
    second = Listener(stage.loop)

    class Chained(Listener):
        def ended(self) -> None:
            stage.player.start(stage.playback(second, frames(2, 9)))

    first = Chained(stage.loop)
    stage.player.start(stage.playback(first, frames(2)))
    stage.run(1)
    assert second.audio == frames(2, 9)
    assert second.ends == 1


def test_closing_stops_everything() -> None:
    stage = Stage()
    listener = stage.play(frames(100))
    stage.run(0.1)
    stage.player.close()
    assert stage.player.playing == 0
    heard = len(listener.packets)
    stage.run(1)
    assert len(listener.packets) == heard
