"""Phones made of plain sockets, and a worker to connect them."""

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.core.address import Family
from services.core.config.rtp import RtpSettings
from services.media.worker import Worker

LOOPBACK = {Family.IP4: "127.0.0.1", Family.IP6: "::1"}
PATIENCE_S = 5.0

PCMU, PCMA, EVENT = 0, 8, 101


def rtp_settings(**changes: Any) -> RtpSettings:
    """A worker on both loopbacks, in a range of its own."""
    given: dict[str, Any] = {
        "port_min": 42000,
        "port_max": 49999,
        "bind": LOOPBACK,
        "advertised": {},
        "timeout_s": 0,
        "hold_timeout_s": 0,
        "sounds_directory": Path("/nonexistent/sounds"),
        "ng_listen": (),
        "origin": "rtp.conf:1",
    }
    return RtpSettings(**(given | changes))


@contextmanager
def a_worker(clock: "ManualClock | None" = None, **changes: Any) -> Iterator[Worker]:
    """A worker that is closed again. Needs a running loop."""
    own = {key: changes.pop(key) for key in ("max_sessions", "port_rest_s") if key in changes}
    worker = Worker(
        rtp_settings(**changes), clock=clock or asyncio.get_running_loop().time, randomness=random.Random(7), **own
    )
    try:
        yield worker
    finally:
        worker.close()


class ManualClock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class ManualLoop:
    """Timers of an event loop, fired when a test moves the time."""

    def __init__(self) -> None:
        self.now = 50.0
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> "ManualTimer":
        timer = ManualTimer(callback)
        self._count += 1
        self._timers.append((when, self._count, timer))
        return timer

    @property
    def armed(self) -> int:
        return sum(not timer.cancelled for _, _, timer in self._timers)

    def run_until(self, end: float) -> None:
        """Fire every timer due by `end`, each at its own time."""
        while due := [entry for entry in self._timers if entry[0] <= end]:
            entry = min(due)
            self._timers.remove(entry)
            self.now = max(self.now, entry[0])
            if not entry[2].cancelled:
                entry[2].callback()
        self.now = end

    def stall_until(self, end: float) -> None:
        """Let time pass without firing anything, as a busy loop does."""
        self.now = end


class ManualTimer:
    """A timer of a ManualLoop."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Phone:
    """The media side of a phone: an RTP socket and an RTCP socket."""

    def __init__(self, family: Family = Family.IP4) -> None:
        self.family = family
        self.host = LOOPBACK[family]
        self.rtp = self._bound()
        self.rtcp = self._bound()
        self.ssrc = 0x1000 + self.port
        self.sequence = 100
        self.timestamp = 5000

    @property
    def port(self) -> int:
        return int(self.rtp.getsockname()[1])

    @property
    def rtcp_port(self) -> int:
        return int(self.rtcp.getsockname()[1])

    def sdp(
        self, *formats: int, port: int | None = None, host: str | None = None, lines: tuple[str, ...] = ()
    ) -> bytes:
        """Its description; by default PCMU, PCMA and telephone-event 101."""
        return description(
            self.family,
            host or self.host,
            self.port if port is None else port,
            formats or (PCMU, PCMA, EVENT),
            (f"a=rtcp:{self.rtcp_port}", *lines),
        )

    def packet(self, payload: bytes = b"\x55" * 160, *, payload_type: int = PCMU, marker: bool = False) -> bytes:
        """Its next RTP packet."""
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + 160) & 0xFFFFFFFF
        return rtp_packet(payload, self.sequence, self.timestamp, self.ssrc, payload_type=payload_type, marker=marker)

    def send(self, packet: bytes, port: int) -> bytes:
        """Send to a port of the worker; the packet sent."""
        self.rtp.sendto(packet, (self.host, port))
        return packet

    def send_rtcp(self, packet: bytes, port: int) -> bytes:
        self.rtcp.sendto(packet, (self.host, port))
        return packet

    async def hears(self) -> bytes:
        """The next RTP packet that arrives."""
        return await _receive(self.rtp)

    async def hears_rtcp(self) -> bytes:
        return await _receive(self.rtcp)

    async def hears_nothing(self) -> bool:
        """Whether nothing has arrived when the worker has done all it had to do."""
        await settled()
        try:
            self.rtp.recv(2048)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()

    def _bound(self) -> socket.socket:
        bound = socket.socket(self.family.af, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        bound.bind((self.host, 0))
        return bound


@contextmanager
def phones(*families: Family) -> Iterator[list[Phone]]:
    """Phones that are closed again."""
    made = [Phone(family) for family in families]
    try:
        yield made
    finally:
        for phone in made:
            phone.close()


async def _receive(sock: socket.socket) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.get_running_loop().sock_recv(sock, 2048)


async def settled() -> None:
    """Let the loop handle what has already arrived: on loopback a datagram sent is a datagram in the queue."""
    for _ in range(10):
        await asyncio.sleep(0)


def rtp_packet(
    payload: bytes, sequence: int, timestamp: int, ssrc: int, *, payload_type: int = PCMU, marker: bool = False
) -> bytes:
    """An RTP packet without CSRCs and extension."""
    return struct.pack("!BBHII", 0x80, payload_type | marker << 7, sequence, timestamp, ssrc) + payload


def description(
    family: Family, host: str, port: int, formats: tuple[int, ...] = (0, 8, 101), lines: tuple[str, ...] = ()
) -> bytes:
    """A session description with one audio line. Formats above 95 are telephone-events."""
    names = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000", 18: "G729/8000"}
    rtpmaps = tuple(f"a=rtpmap:{number} {names.get(number, 'telephone-event/8000')}" for number in formats)
    text = "\r\n".join(
        (
            "v=0",
            f"o=phone 1 1 IN {family.sdp} {host}",
            "s=-",
            f"c=IN {family.sdp} {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP {' '.join(map(str, formats))}",
            *rtpmaps,
            *lines,
        )
    )
    return (text + "\r\n").encode()


class Session:
    """A call at a worker, driven by ng dictionaries."""

    def __init__(self, worker: Worker, call_id: str = "call") -> None:
        self.worker = worker
        self.call_id = call_id

    def ask(self, command: str, **keys: Any) -> dict[str, Any]:
        """A command about this call; keys with '_' for '-'."""
        message = {"command": command, "call-id": self.call_id}
        return self.worker.handle(message | {key.replace("_", "-"): value for key, value in keys.items()})

    def offer(self, sdp: bytes, family: Family, from_tag: str = "a", to_tag: str = "b", **keys: Any) -> bytes:
        """What `to_tag` is shown."""
        return self._sdp("offer", sdp, from_tag, to_tag, address_family=family.sdp, **keys)

    def answer(self, sdp: bytes, from_tag: str = "a", to_tag: str = "b", **keys: Any) -> bytes:
        """What `from_tag` is shown."""
        return self._sdp("answer", sdp, from_tag, to_tag, **keys)

    def connect(self, caller: Phone, callee: Phone) -> tuple[int, int]:
        """A whole call; the ports that caller and callee send to."""
        offered = self.offer(caller.sdp(), callee.family)
        answered = self.answer(callee.sdp())
        return audio_port(answered), audio_port(offered)

    def _sdp(self, command: str, sdp: bytes, from_tag: str, to_tag: str, **keys: Any) -> bytes:
        keys.setdefault("replace", ["origin", "session-connection"])
        reply = self.ask(command, sdp=sdp, from_tag=from_tag, to_tag=to_tag, **keys)
        assert reply["result"] == "ok", reply
        shown = reply["sdp"]
        assert isinstance(shown, bytes)
        return shown


def audio_port(sdp: bytes) -> int:
    """The port of the first audio line."""
    return int(sdp.partition(b"m=audio ")[2].split(b" ", 1)[0])


def stream(reply: Mapping[str, Any], tag: str) -> Mapping[str, Any]:
    """The RTP stream of a party's first media line in a reply to `query` or `delete`."""
    found: Mapping[str, Any] = reply["tags"][tag]["medias"][0]["streams"][0]
    return found
