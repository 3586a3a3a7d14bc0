"""What an edge asks of a media worker, and what it is told.

`MediaControl` is the port. `NgMedia` is its implementation over ng dictionaries (`docs/media-protocol.md`); the
dictionaries travel by any `async command(message) -> reply`: an `NgClient` to separate workers, or a worker's own
`handle` in one process (`NgMedia.local`).

Terms: a call (ng `call-id`) has parties, each with a tag. `offer` introduces `to_tag` and gives the description to
show to that side; `answer` connects the two. A party whose description has no address (`services.core.sdp.NOWHERE`) is
an application: what the other hears comes from `play`, or is its own echo.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from services.core.address import Family, family_of
from services.media.ng.message import Message
from services.media.ng.replies import OK, PONG, UNKNOWN_CALL, is_try_another

NoticeKind = Literal["digit", "played", "timeout"]
ENDLESS = 2**31 - 1
"""`repeat-times` of music that goes on until it is stopped."""


# MediaError                  everything this module raises
#   MediaUnreachable          no worker answered; the call's own worker may be gone with the call
#   MediaOverloaded           every worker asked is full
#   MediaRefused              the worker said no
#     UnknownCall             it has no such call (any more)


class MediaError(Exception):
    """A media worker did not do what it was asked to."""


class MediaUnreachable(MediaError):
    """Nobody answered. When the call had a worker, its state is lost with it: offer again to anchor it elsewhere."""


class MediaOverloaded(MediaError):
    """No worker takes another session now. What a caller should be told is 503."""


class MediaRefused(MediaError):
    """A worker refused the request itself; the text is its `error-reason`."""


class UnknownCall(MediaRefused):
    """The worker has no call of this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a worker tells without being asked."""

    call_id: str
    tag: str
    """The party: who pressed, who was played to, who is silent."""
    kind: NoticeKind
    """`digit`: an RFC 4733 event ended. `played`: prompts ran out, not when stopped. `timeout`: no RTP came."""
    digit: str = ""
    """`0`-`9`, `*`, `#`, `A`-`D`; empty for other kinds."""
    duration_ms: int = 0
    """How long the digit was held, or how long there was no RTP."""
    seq: int = 0
    """Counts the notices of one call in one worker, from 1."""

    def to_message(self) -> Message:
        """As an ng dictionary."""
        return {
            "command": "notify",
            "call-id": self.call_id,
            "tag": self.tag,
            "event": self.kind,
            "digit": self.digit,
            "duration": self.duration_ms,
            "seq": self.seq,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Notice:
        """Read an ng dictionary. Raises ValueError when it is no notice."""
        kind = message.get("event")
        if kind not in ("digit", "played", "timeout"):
            raise ValueError("a notice of unknown kind")
        return cls(
            call_id=_text(message.get("call-id")),
            tag=_text(message.get("tag")),
            kind=kind,
            digit=_text(message.get("digit")),
            duration_ms=_count(message.get("duration")),
            seq=_count(message.get("seq")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyStats:
    """What a worker counted for one party, from the worker's side: `received` is what the party sent. RTP only."""

    tag: str
    family: Family | None = None
    """Family of the party's media; None when it never had an address."""
    codec: str = ""
    """Asterisk's name of the codec last received, or agreed; empty when unknown."""
    packets_received: int = 0
    packets_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    packets_lost: int = 0
    """Sequence numbers that never came (RFC 3550 A.3)."""
    jitter_ms: float = 0.0
    """Interarrival jitter (RFC 3550 A.8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStats:
    """What a worker counted for a call."""

    parties: tuple[PartyStats, ...] = ()

    def party(self, tag: str) -> PartyStats | None:
        """The counts of one party; None when the worker does not know it."""
        return next((party for party in self.parties if party.tag == tag), None)

    @classmethod
    def from_reply(cls, reply: Mapping[str, Any]) -> MediaStats:
        """Read the reply to `query` or `delete`, ours or rtpengine's. What is missing counts as zero."""
        tags = reply.get("tags")
        if not isinstance(tags, dict):
            return cls()
        return cls(parties=tuple([_party(str(tag), party) for tag, party in tags.items() if isinstance(party, dict)]))


class MediaControl(Protocol):
    """What an edge needs of media. Every method raises MediaError; none is retried by the caller."""

    on_notice: Callable[[Notice], None] | None
    """Called for every notice, in order and once for each."""
    immediate: bool
    """True when its methods never suspend: the worker is in this process, and whoever asks needs no task to wait."""

    async def command(self, message: Message) -> Message:
        """Send a raw ng dictionary; the reply whatever its `result`. Raises MediaUnreachable."""
        ...

    async def offer(
        self,
        *,
        call_id: str,
        from_tag: str,
        to_tag: str,
        sdp: bytes,
        family: Family,
        from_address: str | None = None,
        to_address: str | None = None,
        flags: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The description to show to `to_tag`, in `family`, for an offer of `from_tag`.

        The addresses are those the two sides' signalling comes from and goes to (plain IP text), so that the worker
        can choose the local address the kernel would use. `options` are further ng keys.
        """
        ...

    async def answer(
        self,
        *,
        call_id: str,
        from_tag: str,
        to_tag: str,
        sdp: bytes,
        from_address: str | None = None,
        to_address: str | None = None,
        flags: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The description to show to `from_tag`, who offered, for an answer of `to_tag`; in the offer's family."""
        ...

    async def play(self, *, call_id: str, tag: str, files: Sequence[str], repeat: int = 1) -> float:
        """Let the party `tag` hear prompts one after the other, `repeat` times (0: until stopped).

        Returns the seconds it will take, `math.inf` when endless. Replaces what is playing. A notice `played` follows
        when it ran to its end.
        """
        ...

    async def stop(self, *, call_id: str, tag: str) -> None:
        """End what `tag` hears by `play`; nothing happens when there is none."""
        ...

    async def delete(self, *, call_id: str, tag: str | None = None) -> MediaStats:
        """Forget a party, or the whole call, and return what was counted. An unknown call gives empty statistics."""
        ...

    async def query(self, *, call_id: str) -> MediaStats:
        """What was counted so far. Raises UnknownCall."""
        ...


class NgMedia:
    """`MediaControl` over ng dictionaries."""

    def __init__(
        self, command: Callable[[Message], Awaitable[Message]], *, notices: bool = True, immediate: bool = False
    ) -> None:
        """`command` carries one dictionary and its reply, without suspending when `immediate`. `notices` asks the
        worker for them with every session."""
        self.immediate = immediate
        self._command = command
        self._notices = notices
        self.on_notice: Callable[[Notice], None] | None = None

    @classmethod
    def local(cls, handle: Callable[[Message], Message]) -> NgMedia:
        """Media control of a worker in the same process: its `handle`, called directly."""

        async def command(message: Message) -> Message:
            return handle(message)

        return cls(command, immediate=True)

    def notified(self, message: Mapping[str, Any]) -> None:
        """Take a `notify` dictionary from the transport. Kinds we do not know, of a newer worker, are passed over."""
        try:
            notice = Notice.from_message(message)
        except ValueError:
            return
        if self.on_notice is not None:
            self.on_notice(notice)

    async def command(self, message: Message) -> Message:
        """See `MediaControl.command`."""
        return await self._command(message)

    async def offer(
        self,
        *,
        call_id: str,
        from_tag: str,
        to_tag: str,
        sdp: bytes,
        family: Family,
        from_address: str | None = None,
        to_address: str | None = None,
        flags: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> bytes:
        """See `MediaControl.offer`."""
        message = self._session("offer", sdp, (call_id, from_tag, to_tag), flags, options or {})
        message["address-family"] = family.sdp
        return await self._described(message, from_address, to_address)

    async def answer(
        self,
        *,
        call_id: str,
        from_tag: str,
        to_tag: str,
        sdp: bytes,
        from_address: str | None = None,
        to_address: str | None = None,
        flags: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> bytes:
        """See `MediaControl.answer`."""
        message = self._session("answer", sdp, (call_id, from_tag, to_tag), flags, options or {})
        return await self._described(message, to_address, from_address)

    async def play(self, *, call_id: str, tag: str, files: Sequence[str], repeat: int = 1) -> float:
        """See `MediaControl.play`."""
        message: Message = {"command": "play media", "call-id": call_id, "from-tag": tag}
        if len(files) == 1:
            message["file"] = files[0]
        else:
            message["files"] = list(files)
        if repeat != 1:
            message["repeat-times"] = repeat or ENDLESS
        if self._notices:
            message["notices"] = "here"
        reply = await self._asked(message)
        return _count(reply.get("duration")) / 1000 * repeat if repeat else math.inf

    async def stop(self, *, call_id: str, tag: str) -> None:
        """See `MediaControl.stop`."""
        await self._asked({"command": "stop media", "call-id": call_id, "from-tag": tag})

    async def delete(self, *, call_id: str, tag: str | None = None) -> MediaStats:
        """See `MediaControl.delete`."""
        message: Message = {"command": "delete", "call-id": call_id}
        if tag is not None:
            message["to-tag"] = tag
        try:
            return MediaStats.from_reply(await self._asked(message))
        except UnknownCall:
            return MediaStats()

    async def query(self, *, call_id: str) -> MediaStats:
        """See `MediaControl.query`."""
        return MediaStats.from_reply(await self._asked({"command": "query", "call-id": call_id}))

    def _session(
        self, command: str, sdp: bytes, tags: tuple[str, str, str], flags: Sequence[str], options: Mapping[str, Any]
    ) -> Message:
        """An offer or answer; `tags` are call id, from tag and to tag."""
        call_id, from_tag, to_tag = tags
        message: Message = {
            "command": command,
            "call-id": call_id,
            "from-tag": from_tag,
            "to-tag": to_tag,
            "sdp": sdp,
            "replace": ["origin", "session-connection"],
        }
        if flags:
            message["flags"] = list(flags)
        if self._notices:
            message["notices"] = "here"
        message.update(options)
        return message

    async def _described(self, message: Message, came_from: str | None, goes_to: str | None) -> bytes:
        if came_from is not None:
            message["received-from"] = [family_of(came_from).sdp, came_from]
        if goes_to is not None:
            message["sent-to"] = [family_of(goes_to).sdp, goes_to]
        sdp = (await self._asked(message)).get("sdp")
        if not isinstance(sdp, bytes):
            raise MediaRefused("the worker's reply has no session description")
        return sdp

    async def _asked(self, message: Message) -> Message:
        """The reply, when it is a good one. Raises MediaError otherwise."""
        reply = await self._command(message)
        result = reply.get("result")
        if result in (OK, PONG):
            return reply
        reason = _text(reply.get("error-reason") or reply.get("message") or result)
        if is_try_another(reply):
            raise MediaOverloaded(reason)
        if reason == UNKNOWN_CALL:
            raise UnknownCall(reason)
        raise MediaRefused(reason)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


_FAMILY_NAMES = (("IPv6", Family.IP6), ("IP6", Family.IP6), ("IPv4", Family.IP4), ("IP4", Family.IP4))


def _party(tag: str, party: Mapping[str, Any]) -> PartyStats:
    """The sums over a party's RTP streams, of its audio and all else."""
    family: Family | None = None
    codec = ""
    received: Mapping[str, Any] = {}
    totals = {"packets": 0, "bytes": 0, "sent packets": 0, "sent bytes": 0, "lost": 0}
    jitter_ms = 0.0
    for media in _dicts(party.get("medias")):
        codec = codec or _text(media.get("codec"))
        for stream in _dicts(media.get("streams"))[:1]:
            received, sent = _dict(stream.get("stats")), _dict(stream.get("stats_out"))
            family = family or _family(_dict(stream.get("endpoint")).get("family") or stream.get("family"))
            totals["packets"] += _count(received.get("packets"))
            totals["bytes"] += _count(received.get("bytes"))
            totals["sent packets"] += _count(sent.get("packets"))
            totals["sent bytes"] += _count(sent.get("bytes"))
            totals["lost"] += _count(received.get("lost"))
            jitter_ms = max(jitter_ms, _count(received.get("jitter")) / 1000)
    return PartyStats(
        tag=tag,
        family=family,
        codec=codec,
        packets_received=totals["packets"],
        packets_sent=totals["sent packets"],
        bytes_received=totals["bytes"],
        bytes_sent=totals["sent bytes"],
        packets_lost=totals["lost"],
        jitter_ms=jitter_ms,
    )


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _family(name: object) -> Family | None:
    return next((family for text, family in _FAMILY_NAMES if text == name), None)
