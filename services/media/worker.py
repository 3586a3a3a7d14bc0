"""The media worker: ng dictionaries in, replies out, notices to whoever asked (docs/media-protocol.md).

`Worker.handle` is synchronous: a command is a few system calls, and the order of commands is the order of effects.
Keys have their hyphens here, commands their spaces, as `ng.message` leaves them.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.core.address import Family, family_of, parse_ip
from services.core.config.rtp import RtpSettings
from services.core.sdp import SdpError, SessionDescription
from services.media.api import Notice
from services.media.ng import replies
from services.media.ng.message import Message
from services.media.player import Player
from services.media.ports import PortPool, PortsError
from services.media.prompts import PromptError, PromptLibrary
from services.media.relay import Relay
from services.media.report import report
from services.media.session import Call, CallError, Echo, Signalling, Studio
from services.media.sources import SourceAddresses

MAX_SESSIONS: Final = 10_000
PORT_REST_S: Final = 10.0
SWEEP_S: Final = 1.0
"""How often silence is looked for."""
SHARES: Final = 10
"""In how many parts of that time all calls are looked at."""
ABANDONED_S: Final = 3600.0
"""A call without packets and commands for this long is forgotten: its edge is gone."""
MAX_FILES: Final = 64
"""Recordings in one `play media`."""
NOTHING_TO_DELETE: Final = "Call-ID not found or tags didn't match"

_FAMILIES: Final = {"IP4": Family.IP4, "IP6": Family.IP6}
_ECHOES: Final[dict[str, Echo]] = {
    "forward": "forward",
    "backwards": "backwards",
    "both": "both",
    "blackhole": "blackhole",
    "sinkhole": "blackhole",
    "off": "off",
}

_log = logging.getLogger(__name__)


class _Refusal(Exception):
    """A request that cannot be done; the text is the `error-reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a worker counts for metrics; all but the first four since it started."""

    sessions: int
    ports_in_use: int
    """Pairs."""
    playing: int
    silent: int
    """Parties that should send and have not for some time, as of the last sweep."""
    offers: int
    refused: int
    """Requests answered with an error or a load limit."""
    packets: int
    """RTP received."""
    bytes: int
    lost: int
    rejected: int
    """Packets from a source that is not the party's."""
    malformed: int
    """Datagrams that were neither RTP nor RTCP."""
    send_errors: int
    timeouts: int
    digits: int


class Worker:
    """Sessions, ports and the relay of one process. Make it in a running event loop, or hand the loop in."""

    def __init__(
        self,
        settings: RtpSettings,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        randomness: random.Random | None = None,
        max_sessions: int = MAX_SESSIONS,
        port_rest_s: float = PORT_REST_S,
    ) -> None:
        self.on_notice: Callable[[Notice], None] | None = None
        """Called for every notice, from the event loop."""
        self.on_abandoned: Callable[[str], None] | None = None
        """Called with the id of a call that was forgotten without a `delete`."""
        self._settings = settings
        self._loop = loop or asyncio.get_running_loop()
        self._clock = clock
        self._wall_clock = wall_clock
        chance = randomness or random.Random()
        self._ports = PortPool(settings.port_min, settings.port_max, rest_s=port_rest_s, clock=clock, randomness=chance)
        self._studio = Studio(
            relay=Relay(self._loop, self._ports, clock),
            sources=SourceAddresses(settings.bind, settings.advertised, clock),
            player=Player(self._loop),
            prompts=PromptLibrary((settings.sounds_directory,)),
            randomness=chance,
            notify=self._notify,
        )
        self._calls: dict[str, Call] = {}
        self._full_at = max_sessions
        self._empty = asyncio.Event()
        self._counts = dict.fromkeys(("offers", "refused", "timeouts", "digits"), 0)
        self._commands: Mapping[str, Callable[[Message], Message]] = {
            "ping": self._ping,
            "offer": self._offer,
            "answer": self._answer,
            "delete": self._delete,
            "query": self._query,
            "list": self._list,
            "play media": self._play_media,
            "stop media": self._stop_media,
        }
        self._unseen: list[Call] = []
        self._share = 0
        self._sweeper = self._loop.call_later(SWEEP_S / SHARES, self._sweep)

    def handle(self, message: Message) -> Message:
        """Carry a command out and return its reply. Never raises for anything a message may say."""
        command = message.get("command")
        if not isinstance(command, str):
            return self._refused(replies.error(replies.NO_COMMAND))
        handler = self._commands.get(command)
        if handler is None:
            return self._refused(replies.error(replies.UNKNOWN_COMMAND))
        try:
            reply = handler(message)
        except (_Refusal, CallError, PortsError, PromptError, SdpError) as refusal:
            return self._refused(replies.error(str(refusal)))
        if reply["result"] == replies.LOAD_LIMIT:
            return self._refused(reply)
        return reply

    def figures(self) -> Figures:
        """Counters for metrics."""
        totals = self._studio.relay.totals()
        return Figures(
            sessions=len(self._calls),
            ports_in_use=self._ports.in_use,
            playing=self._studio.player.playing,
            silent=sum([call.silent for call in self._calls.values()]),
            malformed=self._studio.relay.malformed,
            packets=totals.packets,
            bytes=totals.bytes,
            lost=totals.lost,
            rejected=totals.rejected,
            send_errors=totals.send_errors,
            **self._counts,
        )

    def receive_drops(self) -> int:
        """RTP datagrams the kernel dropped before they could be read: the worker is too slow. About 2 us a port."""
        return self._studio.relay.receive_drops()

    async def drain(self) -> None:
        """Take no new sessions (clients are sent to other workers) and wait until the last one has ended."""
        self._full_at = 0
        while self._calls:
            self._empty.clear()
            await self._empty.wait()

    def sweep(self) -> None:
        """Give notice of silent parties and forget abandoned calls. Happens by itself every second."""
        for call in list(self._calls.values()):
            self._look_at(call)

    def close(self) -> None:
        """Forget all calls, close all ports, stop all timers. No notices are given."""
        self._sweeper.cancel()
        self._studio.player.close()
        for call in self._calls.values():
            call.close()
        self._calls.clear()
        self._studio.relay.close()

    # --- commands ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _ping(_message: Message) -> Message:
        return {"result": replies.PONG}

    def _offer(self, message: Message) -> Message:
        signal = _signalling(message)
        call_id = _text(message, "call-id")
        call = self._calls.get(call_id)
        if call is None:
            if len(self._calls) >= self._full_at:
                return _full(message)
            call = Call(call_id, self._studio, created_unix=self._wall_clock())
        sdp = call.offer(signal)
        self._calls[call_id] = call
        self._counts["offers"] += 1
        return {"result": replies.OK, "sdp": sdp}

    def _answer(self, message: Message) -> Message:
        call = self._call(message)
        signal = _signalling(message)
        if not signal.to_tag:
            raise _Refusal("No to-tag in message")
        return {"result": replies.OK, "sdp": call.answer(signal)}

    def _delete(self, message: Message) -> Message:
        """Without `to-tag` the whole call; `to-tag` alone that party; both tags both, as a BYE ends a dialog."""
        call = self._calls.get(_text(message, "call-id"))
        to_tag, from_tag = (_text(message, key) if message.get(key) else "" for key in ("to-tag", "from-tag"))
        if call is None or (to_tag and to_tag not in call.parties):
            return {"result": replies.OK, "warning": NOTHING_TO_DELETE}
        reply = {"result": replies.OK, **report(call, self._clock())}
        if to_tag:
            call.remove(to_tag)
            if from_tag:
                call.remove(from_tag)
        if not to_tag or not call.parties:
            self._forget(call)
        return reply

    def _query(self, message: Message) -> Message:
        return {"result": replies.OK, **report(self._call(message), self._clock())}

    def _list(self, message: Message) -> Message:
        limit = message.get("limit")
        count = limit if isinstance(limit, int) and limit > 0 else 32
        return {"result": replies.OK, "calls": [call_id for _, call_id in zip(range(count), self._calls, strict=False)]}

    def _play_media(self, message: Message) -> Message:
        call = self._call(message)
        files = message.get("files") or message.get("file")
        names = [files] if isinstance(files, str) else files
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _Refusal("No file to play in message")
        if len(names) > MAX_FILES:
            raise _Refusal(f"More than {MAX_FILES} files to play")
        times = message.get("repeat-times")
        rounds = times if isinstance(times, int) and times > 0 else 1
        return {"result": replies.OK, "duration": call.play(_text(message, "from-tag"), names, rounds)}

    def _stop_media(self, message: Message) -> Message:
        self._call(message).stop(_text(message, "from-tag"))
        return {"result": replies.OK}

    # --- the rest ----------------------------------------------------------------------------------------------------

    def _call(self, message: Message) -> Call:
        call = self._calls.get(_text(message, "call-id"))
        if call is None:
            raise _Refusal(replies.UNKNOWN_CALL)
        return call

    def _forget(self, call: Call) -> None:
        call.close()
        del self._calls[call.call_id]
        if not self._calls:
            self._empty.set()

    def _refused(self, reply: Message) -> Message:
        self._counts["refused"] += 1
        return reply

    def _notify(self, notice: Notice) -> None:
        if notice.kind == "digit":
            self._counts["digits"] += 1
        elif notice.kind == "timeout":
            self._counts["timeouts"] += 1
        if self.on_notice is not None:
            self.on_notice(notice)

    def _sweep(self) -> None:
        """A share of the calls at a time: all at once would hold packets up."""
        self._sweeper = self._loop.call_later(SWEEP_S / SHARES, self._sweep)
        if not self._unseen:
            self._unseen = list(self._calls.values())
            self._share = len(self._unseen) // SHARES + 1
        share, self._unseen = self._unseen[: self._share], self._unseen[self._share :]
        for call in share:
            if self._calls.get(call.call_id) is call:
                self._look_at(call)

    def _look_at(self, call: Call) -> None:
        now = self._clock()
        call.check_silence(now, self._settings.timeout_s, self._settings.hold_timeout_s)
        if now - call.active_at >= ABANDONED_S and self._calls.get(call.call_id) is call:
            _log.warning("media session forgotten: no packets, no commands", extra={"call_id": call.call_id})
            self._forget(call)
            if self.on_abandoned is not None:
                self.on_abandoned(call.call_id)


def _full(message: Message) -> Message:
    """The refusal the client understands: old ones know only an error (rtpengine's `supports`)."""
    supports = message.get("supports")
    if isinstance(supports, list) and ("load limit" in supports or "load-limit" in supports):
        return replies.load_limit()
    return replies.error(replies.SESSION_LIMIT)


def _signalling(message: Message) -> Signalling:
    sdp = message.get("sdp")
    if isinstance(sdp, str):
        sdp = sdp.encode("utf-8", "surrogateescape")
    if not isinstance(sdp, bytes):
        raise _Refusal("No SDP in message")
    flags, replace = message.get("flags"), message.get("replace")
    named = flags if isinstance(flags, list) else []
    to_tag = message.get("to-tag")
    return Signalling(
        from_tag=_text(message, "from-tag"),
        to_tag=to_tag if isinstance(to_tag, str) else "",
        sdp=SessionDescription.parse(sdp),
        family=_FAMILIES.get(str(message.get("address-family")).upper()),
        came_from=_host(message.get("received-from")),
        goes_to=_host(message.get("sent-to")),
        replace_origin=isinstance(replace, list) and "origin" in replace,
        echo=_echo(message.get("media-echo"), named),
        to_application="application" in named,
    )


def _text(message: Message, key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or not value:
        raise _Refusal(f"No {key} in message")
    return value


def _host(value: Any) -> str | None:
    """The address of `[IP6, 2001:db8::5]`; None for anything else, as it only helps to choose."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], str):
        return None
    try:
        host = parse_ip(value[1])
    except ValueError:
        return None
    return host if _FAMILIES.get(str(value[0]).upper()) is family_of(host) else None


def _echo(value: Any, flags: list[Any]) -> Echo | None:
    """`media-echo` as a key, or among the flags: `media-echo=forward`, or alone for both sides."""
    if not isinstance(value, str):
        found = [flag for flag in flags if isinstance(flag, str) and flag.startswith("media-echo")]
        if not found:
            return None
        value = found[0].partition("=")[2] or "both"
    known = _ECHOES.get(value)
    if known is None:
        raise _Refusal(f"Unknown media-echo {value!r}")
    return known
