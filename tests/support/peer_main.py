"""A phone in a process of its own: baresip-python, commanded by JSON lines. `tests.support.peer` is the other end.

A command is {"id": 7, "do": "dial", ...}; it is answered by {"id": 7, "result": ...} or {"id": 7, "error": "..."}.
What happens by itself is told as {"event": "incoming", "call": 1, ...}. The process ends when its input ends.
"""

from __future__ import annotations

import array
import asyncio
import json
import logging
import math
import sys
import wave
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from baresip.call import Call, CallState
from baresip.config import Account, Config
from baresip.errors import AudioNotActive, AudioRestarted, BaresipError
from baresip.events import StackEvent
from baresip.runtime import Runtime
from baresip.ua import UserAgent

_TICK_S = 0.01
_AHEAD_S = 0.1
"""How much sound is kept ready for the stack; it takes 20 ms at a time."""
_AMPLITUDE = 8000
_CONFIG = """
rtp_ports 40000-60000
audio_jitter_buffer_ms 20-100
"""
"""RTP ports that no PBX under test has on the same loopback address. Little delay: what is in the buffer when a call
ends is never heard."""


def tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Sound:
    """What a call says and hears."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._hz = 0.0
        self._step = 0
        self.heard = bytearray()
        self.more = asyncio.Event()
        self.rate_hz = 8000

    @property
    def seconds(self) -> float:
        return len(self.heard) / 2 / self.rate_hz

    def play(self, hz: float) -> None:
        """A tone from now on; 0: silence."""
        self._hz = hz

    def tick(self) -> None:
        """Take what came, and keep the stack fed."""
        try:
            info = self._call.audio.info()
            if info.rx_ready:
                self.rate_hz = info.rx_sample_rate
                self.heard += self._call.audio.read(1 << 16)
                self.more.set()
            if info.tx_ready and self._hz:
                ahead = int(info.tx_sample_rate * _AHEAD_S) - info.tx_buffered // 2
                if ahead > 0:
                    self._call.audio.write(self._tone(ahead, info.tx_sample_rate))
        except (AudioNotActive, AudioRestarted):
            pass  # not yet, not any more, or just renegotiated: the next tick sees

    def _tone(self, samples: int, rate_hz: int) -> bytes:
        factor = 2 * math.pi * self._hz / rate_hz
        steps = range(self._step, self._step + samples)
        self._step += samples
        return array.array("h", (int(_AMPLITUDE * math.sin(factor * step)) for step in steps)).tobytes()


class Phone:
    """One runtime, one user agent, its calls by number."""

    def __init__(self) -> None:
        self.runtime = Runtime()
        self.agent: UserAgent | None = None
        self.calls: dict[int, Call] = {}
        self.sounds: dict[int, Sound] = {}
        self.rtcp: dict[int, dict[str, Any]] = {}
        self._answer = False
        self._incoming_hz = 0.0
        self._unclaimed: list[StackEvent] = []

    async def start(self, *, address: str, answer: bool = False, hz: float = 0.0) -> None:
        """Run the stack on an address; `answer`: calls are taken at once, and given a tone."""
        logging.getLogger("baresip.native.sip").addHandler(SipTrace())
        logging.getLogger("baresip.native.sip").setLevel(logging.DEBUG)
        self._answer, self._incoming_hz = answer, hz
        config = Config(
            net_interface=address,
            max_concurrent_calls=None,
            native_log_level="warning",
            sip_trace=True,
            extra_config_text=_CONFIG,
        )
        await self.runtime.start(config)
        self.runtime.subscribe(self._note)
        ticking = asyncio.create_task(self._tick_forever())
        ticking.add_done_callback(lambda task: task.cancelled() or task.result())

    async def account(self, *, user: str, domain: str, password: str = "", register: bool = True, **more: Any) -> None:
        """Have an identity, and register it."""
        codecs = tuple(more.pop("audio_codecs", ("pcmu",)))
        interval = more.pop("reg_interval", 60) if register else 0
        account = Account(user, domain, password, reg_interval=interval, audio_codecs=codecs, **more)
        self.agent = await UserAgent.create(self.runtime, account)
        self.agent.on_incoming(self._incoming)
        if register:
            await self.agent.register(timeout=5)

    async def register(self) -> None:
        await self._agent.register(timeout=5)

    async def unregister(self) -> None:
        await self._agent.unregister(timeout=5)

    async def dial(self, *, uri: str, hz: float = 0.0) -> int:
        """The number of the call; its answer is told as an event."""
        return self._adopt(await self._agent.dial(uri), hz)

    async def take(self, *, call: int) -> None:
        await self.calls[call].answer()

    async def reject(self, *, call: int) -> None:
        await self.calls[call].reject()

    async def hangup(self, *, call: int) -> None:
        await self.calls[call].hangup()

    async def hold(self, *, call: int) -> None:
        await self.calls[call].hold()

    async def resume(self, *, call: int) -> None:
        await self.calls[call].resume()

    async def digits(self, *, call: int, digits: str) -> None:
        await self.calls[call].send_dtmf(digits, interdigit_ms=60)

    async def play(self, *, call: int, hz: float) -> None:
        self.sounds[call].play(hz)

    async def hear(self, *, call: int, seconds: float, patience_s: float) -> None:
        """Return when there are so many seconds, recorded since the call began or since it was last forgotten."""
        sound = self.sounds[call]
        async with asyncio.timeout(patience_s):
            while sound.seconds < seconds:
                sound.more.clear()
                await sound.more.wait()

    async def forget(self, *, call: int) -> None:
        """Record anew."""
        self.sounds[call].heard.clear()

    async def save(self, *, call: int, path: str) -> None:
        """The recording as a WAV file."""
        sound = self.sounds[call]
        with wave.open(path, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sound.rate_hz)
            file.writeframes(bytes(sound.heard))

    async def stats(self, *, call: int) -> dict[str, Any]:
        """The final statistics of an ended call, the last RTCP report of a live one."""
        final = self.calls[call].final_stats
        return {**asdict(final), "mos": final.mos_estimate} if final else self.rtcp.get(call, {})

    # --- inside ------------------------------------------------------------------------------------------------------

    @property
    def _agent(self) -> UserAgent:
        assert self.agent is not None, "no account"
        return self.agent

    def _note(self, event: StackEvent) -> None:
        """Keep what happens to a call before it is known here: a PBX may answer before `dial` has returned."""
        if event.call and event.call not in {call.handle for call in self.calls.values()}:
            self._unclaimed.append(event)

    def _adopt(self, call: Call, hz: float) -> int:
        number = len(self.calls) + 1
        self.calls[number], self.sounds[number] = call, Sound(call)
        self.sounds[number].play(hz)
        call.on(lambda event: self._happened(number, event))
        call.on_dtmf(lambda digit: tell({"event": "digit", "call": number, **asdict(digit)}))
        call.on_rtcp(lambda report: self._reported(number, asdict(report) | {"mos": report.mos_estimate}))
        if call.state is CallState.OUTGOING:
            missed = [event for event in self._unclaimed if event.call == call.handle]
            for event in missed:
                call._on_stack_event(event)
        self._unclaimed.clear()
        return number

    def _reported(self, number: int, report: dict[str, Any]) -> None:
        self.rtcp[number] = report
        tell({"event": "rtcp", "call": number, **report})

    def _incoming(self, call: Call) -> None:
        number = self._adopt(call, self._incoming_hz)
        tell({"event": "incoming", "call": number, "peer": call.peer})
        if self._answer:
            task = asyncio.ensure_future(call.answer())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _happened(self, number: int, event: StackEvent) -> None:
        name = event.event.name.lower().removeprefix("call_")
        if name == "closed":
            self.sounds[number].tick()
        if name not in ("rtcp", "dtmf_start", "dtmf_end", "incoming"):
            tell({"event": name, "call": number, "text": event.text or ""})

    async def _tick_forever(self) -> None:
        while True:
            for number, sound in self.sounds.items():
                if self.calls[number].state is not CallState.CLOSED:
                    sound.tick()
            await asyncio.sleep(_TICK_S)


class SipTrace(logging.Handler):
    """Tells every SIP message that the stack sends or takes."""

    def emit(self, record: logging.LogRecord) -> None:
        tell({"event": "sip", "text": record.getMessage()})


async def obey(phone: Phone, number: int, name: str, arguments: dict[str, Any]) -> None:
    """One command; a long one holds up no other."""
    work: Callable[..., Awaitable[Any]] = getattr(phone, name)
    try:
        tell({"id": number, "result": await work(**arguments)})
    except (BaresipError, TimeoutError, ValueError, KeyError) as error:
        tell({"id": number, "error": f"{type(error).__name__}: {error}"})


async def main() -> None:
    phone = Phone()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        async for line in reader:
            command = json.loads(line)
            tasks.create_task(obey(phone, command.pop("id"), command.pop("do"), command))
    await phone.runtime.close()


if __name__ == "__main__":
    asyncio.run(main())
