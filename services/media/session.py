"""A call of the worker: parties by tag, who hears whom, what is played to whom."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.core.address import Family
from services.core.sdp import Connection, MediaRewrite, Origin, SessionDescription, rewrite
from services.media.api import Notice, NoticeKind
from services.media.codecs import PROMPT_CODECS, Codec
from services.media.dtmf import Digit
from services.media.party import Hears, Medium, Party, translation
from services.media.player import Playback, Player, Voice
from services.media.ports import PortsError
from services.media.prompts import PromptLibrary
from services.media.relay import Relay
from services.media.sources import SourceAddresses

MAX_PARTIES: Final = 64
"""Tags of one call: a ring group with all its branches."""

Echo = Literal["forward", "backwards", "both", "blackhole", "off"]
"""rtpengine's `media-echo`, and `off`, which it hasn't."""


class CallError(Exception):
    """Something that cannot be done with a call; the text is the ng `error-reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalling:
    """An offer or answer as the worker was told of it."""

    from_tag: str
    """Who made the offer, in an answer too."""
    to_tag: str
    sdp: SessionDescription
    family: Family | None = None
    """What the receiver of the description is to be reached in; None for what it has."""
    came_from: str | None = None
    """Host whose signalling brought the description."""
    goes_to: str | None = None
    """Host the rewritten description goes to."""
    replace_origin: bool = False
    echo: Echo | None = None
    """None leaves things as they are."""
    to_application: bool = False
    """The receiver is known to have no far end and needs no ports."""


@dataclass(frozen=True, slots=True)
class Studio:
    """What all calls of a worker share."""

    relay: Relay
    sources: SourceAddresses
    player: Player
    prompts: PromptLibrary
    randomness: random.Random
    notify: Callable[[Notice], None]


class Call:
    """One ng call. Parties come by offers, are connected by answers, and keep their ports while they are here."""

    __slots__ = ("_notices", "_studio", "call_id", "created_at", "created_unix", "parties", "signalled_at", "silent")

    def __init__(self, call_id: str, studio: Studio, *, created_unix: float) -> None:
        self.call_id = call_id
        self.parties: dict[str, Party] = {}
        self.created_unix = created_unix
        self.created_at = self.signalled_at = studio.relay.clock()
        self._studio = studio
        self.silent = 0
        """Parties that should have been heard at the last `check_silence` and were not."""
        self._notices = 0

    # --- offers and answers ------------------------------------------------------------------------------------------

    def offer(self, signal: Signalling) -> bytes:
        """The description to show to the `to_tag` side. Raises CallError and PortsError; parties it would have
        introduced are gone again then."""
        self.signalled_at = self._studio.relay.clock()
        if signal.from_tag == signal.to_tag:
            raise CallError("A party cannot call itself")
        new = [tag for tag in (signal.from_tag, signal.to_tag) if tag not in self.parties]
        offerer, receiver = self._party(signal.from_tag), self._party(signal.to_tag)
        try:
            if signal.to_application:
                receiver.application = True
            offerer.offers(signal.sdp, signal.came_from)
            entries = receiver.show(signal.sdp, offerer, signal.family, signal.goes_to)
        except PortsError:
            for tag in new:
                self.remove(tag)
            self._wire_all()
            raise
        if receiver.peer is None and offerer.peer is None:
            receiver.peer = offerer  # early media may come before the answer (RFC 3264 section 5.1)
        self._echo(signal.echo, offerer, receiver)
        self._wire_all()
        return _rewritten(signal, entries)

    def answer(self, signal: Signalling) -> bytes:
        """The description to show to the `from_tag` side, who offered. Raises CallError and PortsError."""
        self.signalled_at = self._studio.relay.clock()
        offerer = self.parties.get(signal.from_tag)
        answerer = self.parties.get(signal.to_tag) or self._name_unnamed(signal.to_tag)
        if offerer is None or answerer is None or offerer is answerer:
            raise CallError("No offer for these tags")
        answerer.answers(signal.sdp, signal.came_from)
        entries = offerer.show(signal.sdp, answerer, None, signal.goes_to)
        self._connect(offerer, answerer)
        self._echo(signal.echo, answerer, offerer)
        self._wire_all()
        return _rewritten(signal, entries)

    def remove(self, tag: str) -> bool:
        """Forget a party and free its ports. False when there is none."""
        party = self.parties.pop(tag, None)
        if party is None:
            return False
        for other in self.parties.values():
            if other.peer is party:
                other.peer = None
                other.hears = "peer"
                other.expected_since = self._studio.relay.clock()
        self._silence(party)
        self._wire_all()
        party.close()
        return True

    def close(self) -> None:
        """Forget everybody."""
        for tag in list(self.parties):
            self.remove(tag)

    # --- prompts -----------------------------------------------------------------------------------------------------

    def play(self, tag: str, names: Sequence[str], rounds: int) -> int:
        """Let a party hear recordings instead of its peer; return the milliseconds of one round.

        What it heard before stops. Raises CallError and PromptError.
        """
        party = self.parties.get(tag)
        if party is None:
            raise CallError("Unknown tag")
        medium = party.audio
        if medium is None:
            raise CallError("The party has no audio")
        payload_type, codec = _prompt_codec(medium)
        prompts = [self._studio.prompts.get(name, codec) for name in names]
        self._silence(party)
        medium.playback = Playback(
            party.voice,
            [prompt.encoded for prompt in prompts],
            payload_type=payload_type,
            rounds=rounds,
            send=medium.send,
            ended=lambda: self._played(party, medium),
        )
        self._wire_all()
        self._studio.player.start(medium.playback)
        return sum(prompt.duration_ms for prompt in prompts)

    def stop(self, tag: str) -> None:
        """Let a party hear its peer again; nothing happens when it does, or is not here."""
        party = self.parties.get(tag)
        if party is not None:
            self._silence(party)
            self._wire_all()

    # --- notices -----------------------------------------------------------------------------------------------------

    def check_silence(self, now: float, timeout_s: float, hold_timeout_s: float) -> None:
        """Give notice of parties that sent no RTP for `timeout_s` though they should, or for `hold_timeout_s` though
        they need not; 0 is never."""
        self.silent = 0
        for party in list(self.parties.values()):  # whoever is told may delete it
            if party.timed_out and party.last_heard > party.expected_since:
                party.timed_out = False
            if party.application:
                continue
            due = party.should_send()
            if due and (party.timed_out or party.is_silent(now)):
                self.silent += 1
            if party.timed_out:
                continue
            limit = timeout_s if due else hold_timeout_s if _answered(party) else 0.0
            silent_s = now - max(party.expected_since, party.last_heard)
            if limit and silent_s >= limit:
                party.timed_out = True
                party.expected_since = now
                self._notify(party, "timeout", duration_ms=int(silent_s * 1000))

    @property
    def active_at(self) -> float:
        """When anything last happened: signalling or a packet (worker's clock)."""
        return max(self.signalled_at, *(party.last_heard for party in self.parties.values()), 0.0)

    def _notify(self, party: Party, kind: NoticeKind, *, digit: str = "", duration_ms: int = 0) -> None:
        self._notices += 1
        self._studio.notify(
            Notice(
                call_id=self.call_id,
                tag=party.tag,
                kind=kind,
                digit=digit,
                duration_ms=duration_ms,
                seq=self._notices,
            )
        )

    def _pressed(self, party: Party, digit: Digit) -> None:
        self._notify(party, "digit", digit=digit.digit, duration_ms=digit.duration_ms)

    def _played(self, party: Party, medium: Medium) -> None:
        medium.playback = None
        self._wire_all()
        self._notify(party, "played")

    # --- who hears whom ----------------------------------------------------------------------------------------------

    def _party(self, tag: str) -> Party:
        party = self.parties.get(tag)
        if party is None:
            if len(self.parties) >= MAX_PARTIES:
                raise CallError(f"More than {MAX_PARTIES} tags in one call")
            studio = self._studio
            party = self.parties[tag] = Party(
                tag,
                studio.relay,
                studio.sources,
                Voice(studio.randomness),
                studio.relay.clock(),
                on_digit=self._pressed,
            )
        return party

    def _name_unnamed(self, tag: str) -> Party | None:
        """The party that was offered something before its tag was known; it has one now."""
        party = self.parties.pop("", None)
        if party is not None:
            party.tag = tag
            self.parties[tag] = party
        return party

    def _connect(self, one: Party, other: Party) -> None:
        if one.peer is other and other.peer is one:
            return
        for party in self.parties.values():
            if party.peer in (one, other) and party not in (one, other):
                party.peer = None
        for party, peer in ((one, other), (other, one)):
            if party.peer is not peer and party.peer is not None:
                party.hears = "peer"
            party.peer = peer
        one.expected_since = other.expected_since = self._studio.relay.clock()

    @staticmethod
    def _echo(echo: Echo | None, sender: Party, receiver: Party) -> None:
        """Who hears what: `backwards` lets the sender of the description hear itself, `forward` its receiver."""
        if echo is None:
            return
        other: Hears = "peer" if echo == "off" else "nobody"
        sender.hears = "itself" if echo in ("backwards", "both") else other
        receiver.hears = "itself" if echo in ("forward", "both") else other

    def _wire_all(self) -> None:
        """Lead every party's packets to where they go now."""
        for party in self.parties.values():
            listener, stamp = party.peer, None
            if party.hears == "itself":
                listener, stamp = party, party.voice.ssrc.to_bytes(4, "big")
            elif listener is not None and listener.hears != "peer":
                listener = None
            _wire(party, listener, stamp)

    def _silence(self, party: Party) -> None:
        for medium in party.media:
            if medium.playback is not None:
                self._studio.player.stop(medium.playback)
                medium.playback = None


def _wire(party: Party, listener: Party | None, stamp: bytes | None) -> None:
    """Lead a party's lines to those of its listener, unless that one is being played to."""
    for index, medium in enumerate(party.media):
        if medium.endpoint is None:
            continue
        target = listener.media[index] if listener is not None and index < len(listener.media) else None
        if target is None or target.endpoint is None or target.playback is not None:
            medium.endpoint.route(None)
        else:
            # An echo has no sender reports: they would speak of another SSRC.
            table = translation(medium, target)
            medium.endpoint.route(target.endpoint, table=table, stamp=stamp, rtcp=stamp is None)


def _answered(party: Party) -> bool:
    return party.peer is not None and party.peer.peer is party


def _prompt_codec(medium: Medium) -> tuple[int, Codec]:
    """The first codec prompts exist in: in the order the party was answered, else in its own. Raises CallError."""
    if medium.encrypted:
        raise CallError("Nothing can be played over SRTP yet")
    own = {entry.key: entry.payload_type for entry in medium.formats}
    agreed = [entry for entry in medium.shown if entry.key in own] or list(medium.formats) or list(medium.shown)
    for entry in agreed:
        codec = PROMPT_CODECS.get(entry.encoding.upper())
        if codec is not None and entry.clock_rate_hz == 8000 and entry.channels == 1:
            return own.get(entry.key, entry.payload_type), codec
    raise CallError("The party takes no codec that recordings are played in (PCMU, PCMA)")


def _rewritten(signal: Signalling, entries: Sequence[MediaRewrite | None]) -> bytes:
    return rewrite(signal.sdp, entries, origin=_origin(signal, entries))


def _origin(signal: Signalling, entries: Sequence[MediaRewrite | None]) -> Origin | None:
    if not signal.replace_origin:
        return None
    connection: Connection | None = next((entry.connection for entry in entries if entry is not None), None)
    return None if connection is None else signal.sdp.origin.at(connection)
