"""The doctor's voice and ear: a sine in PCMU over RTP, and how much of a frequency was heard."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from array import array

from services.core.address import Address
from services.media.codecs import FRAME_MS, FRAME_SAMPLES, PCMU, SAMPLE_RATE_HZ, decode, encode

_HEADER = struct.Struct("!BBHII")
_LEVEL = 8000
_TELEPHONE_EVENT = 101


class ToneEndpoint:
    """One RTP endpoint: sends a tone once `start` was told where to, keeps what it hears."""

    def __init__(self, local: str, frequency_hz: int) -> None:
        family = socket.AF_INET6 if ":" in local else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self._socket.setblocking(False)
        self._socket.bind((local, 0))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)
        self._frames = _tone_frames(frequency_hz)
        self._sender: asyncio.Task[None] | None = None
        self._remote: Address | None = None
        self._sequence = 0
        self._heard = bytearray()
        self._changed = asyncio.Event()
        self.packets_sent = 0
        self.packets_received = 0
        self.sources: set[str] = set()
        """Addresses audio came from."""

    @property
    def address(self) -> Address:
        return Address.from_sockaddr(self._socket.getsockname())

    def start(self, remote: Address) -> None:
        """Speak toward `remote` from now on; again to change where to."""
        self._remote = remote
        if self._sender is None:
            self._sender = self._loop.create_task(self._send())

    async def _send(self) -> None:
        due = self._loop.time()
        while True:
            if self._remote is not None:
                self._emit(0, self._frames[self._sequence % len(self._frames)], self._sequence * FRAME_SAMPLES)
            due += FRAME_MS / 1000
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    def _emit(self, payload_type: int, payload: bytes, timestamp: int) -> None:
        assert self._remote is not None
        header = _HEADER.pack(0x80, payload_type, self._sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 0x0D0C70)
        self._sequence += 1
        try:
            self._socket.sendto(header + payload, self._remote.sockaddr())
            self.packets_sent += 1
        except OSError:
            pass  # a full buffer or an ICMP error: what is not heard shows in the result

    def send_digit(self, digit: str) -> None:
        """One RFC 4733 event of 100 ms, its end three times."""
        event = "0123456789*#ABCD".index(digit)
        timestamp = self._sequence * FRAME_SAMPLES
        for duration, end in ((160, 0), (480, 0), (800, 0x80), (800, 0x80), (800, 0x80)):
            self._emit(_TELEPHONE_EVENT, struct.pack("!BBH", event, end | 10, duration), timestamp)

    def _read(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(2048)
            except (BlockingIOError, ConnectionError):
                break
            if len(data) < _HEADER.size or data[0] >> 6 != 2:
                continue
            self.packets_received += 1
            self.sources.add(str(Address.from_sockaddr(source)))
            if data[1] & 0x7F == 0:
                self._heard += data[_HEADER.size :]
        self._changed.set()

    @property
    def heard(self) -> array[int]:
        """Everything heard so far, 8 kHz."""
        return decode(PCMU, bytes(self._heard))

    def forget(self) -> None:
        """Listen afresh."""
        self._heard.clear()

    async def hears(self, frequency_hz: int, *, seconds: float, timeout_s: float) -> bool:
        """True once `seconds` of audio in a row are that tone; False after `timeout_s`."""
        wanted = int(seconds * SAMPLE_RATE_HZ)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._changed.clear()
                    tail = bytes(self._heard[-wanted:])
                    if len(tail) == wanted and purity(decode(PCMU, tail), frequency_hz) > 0.5:
                        return True
                    await self._changed.wait()
        except TimeoutError:
            return False

    async def close(self) -> None:
        """Let go of the port; a second time does nothing."""
        if self._socket.fileno() < 0:
            return
        if self._sender is not None:
            self._sender.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()


def purity(samples: array[int], frequency_hz: int) -> float:
    """The share of the signal's power that is at a frequency, 0 to 1 (Goertzel); 0 for silence."""
    if not samples:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * frequency_hz / SAMPLE_RATE_HZ)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    at_frequency = last * last + before * before - coefficient * last * before
    total = float(sum(sample * sample for sample in samples))
    if total < len(samples) * 100.0:
        return 0.0
    return min(1.0, 2 * at_frequency / (len(samples) * total))


def _tone_frames(frequency_hz: int) -> list[bytes]:
    """One second of the tone in frames; a whole number of periods, so that it repeats without a click."""
    samples = array(
        "h",
        (
            int(_LEVEL * math.sin(2 * math.pi * frequency_hz * index / SAMPLE_RATE_HZ))
            for index in range(SAMPLE_RATE_HZ)
        ),
    )
    encoded = encode(PCMU, samples)
    return [encoded[at : at + FRAME_SAMPLES] for at in range(0, len(encoded), FRAME_SAMPLES)]
