"""A party of a call: its media lines, each with one local port pair, and what it and the other side said of them."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from services.core.address import Family, is_loopback
from services.core.sdp import DISCARD_PORT, NOWHERE, Connection, Format, Media, MediaRewrite, SessionDescription
from services.media.dtmf import Digit
from services.media.latch import SocketAddress
from services.media.player import Playback, Voice
from services.media.ports import PortsError
from services.media.relay import Endpoint, Reading, Relay
from services.media.sources import SourceAddresses

SILENT_S: Final = 2.0
"""No RTP for so long, where some is due, is silence."""
VOUCHED_S: Final = 8.0
"""Unless RTCP came within this time: a phone that suppresses silence, or is muted, still reports. RFC 3550 section 6.2
has it do so every 5 s, or up to half as long again."""
Hears = Literal["peer", "itself", "nobody"]
"""What reaches a party; `itself` is an echo, which its peer does not hear."""
_NOT_RTP: Final = Reading(is_rtp=False)


class Medium:
    """One media line of one party."""

    __slots__ = ("connection", "endpoint", "formats", "media", "playback", "shown")

    def __init__(self) -> None:
        self.media: Media | None = None
        """The party's own last description; None while it only was offered something."""
        self.formats: tuple[Format, ...] = ()
        """What the party receives, under its own numbers."""
        self.shown: tuple[Format, ...] = ()
        """What the party was told to send, under the numbers it was told."""
        self.endpoint: Endpoint | None = None
        self.connection: Connection | None = None
        """The address shown for the endpoint."""
        self.playback: Playback | None = None
        """What the party hears instead of its peer."""

    def learn_shown(self, formats: tuple[Format, ...]) -> None:
        """Take the numbers the party is shown; earlier ones stay good, as nobody may have told it the new ones."""
        if formats != self.shown:
            numbers = {entry.payload_type for entry in formats}
            self.shown = formats + tuple(entry for entry in self.shown if entry.payload_type not in numbers)

    def send(self, packet: memoryview) -> None:
        """Send the party a packet of our own, by whatever ports it has now."""
        if self.endpoint is not None:
            self.endpoint.send(packet)

    @property
    def encrypted(self) -> bool:
        """SRTP passes as it is: nothing in it can be read, numbered anew, or made by us."""
        return self.media is not None and "SAVP" in self.media.proto


class Party:
    """Everything known of one tag of a call."""

    __slots__ = (
        "_family",
        "_on_digit",
        "_relay",
        "_sources",
        "application",
        "created_at",
        "expected_since",
        "hears",
        "media",
        "peer",
        "signalled_from",
        "tag",
        "timed_out",
        "voice",
    )

    def __init__(
        self,
        tag: str,
        relay: Relay,
        sources: SourceAddresses,
        voice: Voice,
        created_at: float,
        *,
        on_digit: Callable[["Party", Digit], None],
    ) -> None:
        self.tag = tag
        self.media: list[Medium] = []
        self.peer: Party | None = None
        """Who hears this party."""
        self.hears: Hears = "peer"
        self.application = False
        """There is nobody at the far end: no ports are held for it."""
        self.signalled_from: str | None = None
        self.voice = voice
        self.created_at = created_at
        self.expected_since = created_at
        """Since when it could have sent something (worker's clock)."""
        self.timed_out = False
        self._family: Family | None = None
        self._relay = relay
        self._sources = sources
        self._on_digit = on_digit

    # --- descriptions ------------------------------------------------------------------------------------------------

    def offers(self, sdp: SessionDescription, signalled_from: str | None) -> None:
        """Take the party's own offer; its lines are served in the family it names. Raises PortsError."""
        self._family = None
        self.signalled_from = signalled_from or self.signalled_from
        self._describe(sdp)
        for medium, media in zip(self.media, sdp.media, strict=False):
            connection = media.connection
            if relayable(media) and not self.application and connection is not None:
                toward = None if connection.is_name or connection.is_null else connection.address
                self._open(medium, connection.family, toward)
                self._announce(medium, media)

    def answers(self, sdp: SessionDescription, signalled_from: str | None) -> None:
        """Take the party's own answer. Its ports are those it was shown, whatever family it answers in."""
        self.signalled_from = signalled_from or self.signalled_from
        self._describe(sdp)
        for medium, media in zip(self.media, sdp.media, strict=False):
            if relayable(media):
                self._announce(medium, media)

    def _describe(self, sdp: SessionDescription) -> None:
        active = [media for media in sdp.media if media.active]
        self.application = bool(active) and all(map(_is_nowhere, active))
        for medium, media in zip(self._lines(len(sdp.media)), sdp.media, strict=False):
            medium.media = media
            medium.formats = media.codecs() if media.active else ()
            if self.application or not (relayable(media) or media.kind == "audio"):
                self._close(medium)
        self.expected_since = self._relay.clock()
        self.timed_out = False

    def show(
        self, sdp: SessionDescription, other: "Party", family: Family | None, toward: str | None
    ) -> list[MediaRewrite | None]:
        """Take what the party is shown of `other`, who described itself by `sdp`; return what to write into it.

        `family` is what the party is to be reached in, None for the one it has or that of `other`; `toward` the
        address of its signalling, if known. Raises PortsError.
        """
        if family is not None:
            self._family = family
        self.signalled_from = self.signalled_from or toward
        entries: list[MediaRewrite | None] = []
        for medium, theirs, media in zip(self._lines(len(sdp.media)), other.media, sdp.media, strict=False):
            medium.learn_shown(theirs.formats)
            if not relayable(media):
                if media.kind != "audio":
                    self._close(medium)
                entries.append(None)
                continue
            own = self._family or (medium.connection or media.connection or _unreachable()).family
            if self.application:
                entries.append(MediaRewrite(Connection(own, NOWHERE), DISCARD_PORT))
                continue
            endpoint = self._open(medium, own, toward)
            endpoint.read(_reading(medium, media))
            entries.append(_rewrite(media, endpoint.port, medium.connection))
        return entries

    def close(self) -> None:
        """Give all ports back."""
        for medium in self.media:
            self._close(medium)

    # --- questions ---------------------------------------------------------------------------------------------------

    @property
    def audio(self) -> Medium | None:
        """The first audio line with ports."""
        for medium in self.media:
            if medium.endpoint is not None and (medium.media is None or medium.media.kind == "audio"):
                return medium
        return None

    @property
    def last_heard(self) -> float:
        """When it sent its last RTP or RTCP packet, on the worker's clock; 0 before the first.

        RTCP counts: a phone that suppresses silence, or is muted for an hour, still reports that it is there.
        """
        endpoints = [medium.endpoint for medium in self.media if medium.endpoint is not None]
        return max([max(endpoint.received.last_at, endpoint.rtcp_last_at) for endpoint in endpoints], default=0.0)

    def is_silent(self, now: float) -> bool:
        """Whether nothing has come for `SILENT_S`, nor RTCP that would explain it, since something could have."""
        if now - self.expected_since < SILENT_S:
            return False
        for medium in self.media:
            endpoint = medium.endpoint
            if endpoint is not None and (
                now - endpoint.received.last_at < SILENT_S or now - endpoint.rtcp_last_at < VOUCHED_S
            ):
                return False
        return True

    def should_send(self) -> bool:
        """Whether packets are due: it is connected, said it sends, and its peer said it listens."""
        peer = self.peer
        if peer is None or peer.peer is not self:
            return False
        for mine, theirs in zip(self.media, peer.media, strict=False):
            if mine.endpoint is None or mine.media is None or theirs.media is None or mine.media.kind != "audio":
                continue
            listens = theirs.media.direction_attribute if peer.application else theirs.media.direction
            return mine.media.direction_attribute.sends and mine.media.direction.receives and listens.receives
        return False

    # --- ports -------------------------------------------------------------------------------------------------------

    def _lines(self, count: int) -> list[Medium]:
        while len(self.media) < count:
            self.media.append(Medium())
        return self.media

    def _open(self, medium: Medium, family: Family, toward: str | None) -> Endpoint:
        """Make sure of a port pair in `family`; one that is there stays."""
        if medium.endpoint is not None and medium.endpoint.family is family:
            return medium.endpoint
        host = self._sources.bound(family)
        if host is None:
            raise PortsError(f"no media address of family {family.sdp} is configured")
        self._close(medium)
        best = self.signalled_from or toward
        if best is not None and (":" in best) is not (family is Family.IP6):
            best = toward if toward is not None and (":" in toward) is (family is Family.IP6) else None
        medium.connection = Connection(family, self._sources.shown(family, best))
        medium.endpoint = self._relay.open(family, host, self._pressed)
        return medium.endpoint

    def _close(self, medium: Medium) -> None:
        if medium.endpoint is not None:
            medium.endpoint.close()
            medium.endpoint = None
            medium.connection = None

    def _pressed(self, digit: Digit) -> None:
        self._on_digit(self, digit)

    def _announce(self, medium: Medium, media: Media) -> None:
        endpoint = medium.endpoint
        if endpoint is None:
            return
        endpoint.announce(
            self._reachable(media.connection, media.port, endpoint.family),
            self._reachable(media.rtcp_connection, media.rtcp_port, endpoint.family),
            self.signalled_from,
        )
        endpoint.read(_reading(medium, media))

    def _reachable(self, connection: Connection | None, port: int, family: Family) -> SocketAddress | None:
        """Where to send; None for addresses that stand for none, and those a peer has no business to name."""
        if connection is None or connection.is_null or connection.is_name or connection.is_multicast or not port:
            return None
        if connection.family is not family:
            return None
        host = connection.address
        if is_loopback(host) and self.signalled_from is not None and not is_loopback(self.signalled_from):
            return None  # a stranger must not aim us at our own machine's services
        return (host, port) if family is Family.IP4 else (host, port, 0, 0)


def relayable(media: Media) -> bool:
    """Whether a media line can have ports: it is wanted, and goes over UDP."""
    return media.active and not media.proto.upper().startswith("TCP")


def translation(source: Medium, target: Medium) -> bytes | None:
    """The table for `Endpoint.route`: from the numbers `source` was told to those `target` announced; None if equal."""
    if source.shown is target.formats or source.shown == target.formats or source.encrypted or target.encrypted:
        return None
    wanted: dict[object, int] = {}
    for entry in target.formats:
        wanted.setdefault(entry.key, entry.payload_type)
    same = {entry.payload_type: entry.key for entry in target.formats}
    table = bytearray(range(256))
    for entry in source.shown:
        number = wanted.get(entry.key)
        if number is not None and same.get(entry.payload_type) != entry.key:
            table[entry.payload_type] = number
            table[entry.payload_type | 0x80] = number | 0x80
    return bytes(table) if table != bytes(range(256)) else None


def _rewrite(media: Media, port: int, connection: Connection | None) -> MediaRewrite:
    # A hold by null address becomes one by direction, as the other side sees our real address; an application's
    # .invalid name is no hold.
    held = media.null_address and media.connection is not None and not media.connection.is_name
    return MediaRewrite(
        connection or _unreachable(),
        port,
        rtcp_port=port + 1 if media.rtcp is not None else None,
        direction=media.direction if held else None,
    )


def _reading(medium: Medium, media: Media) -> Reading:
    """How to read what comes on a line, described by `media` (the party's or, before its answer, the offerer's)."""
    if not media.is_rtp:
        return _NOT_RTP
    # The party sends under the numbers it was shown; before an answer its own are the best guess.
    formats = medium.shown or medium.formats
    clocks: Mapping[int, int] = {entry.payload_type: entry.clock_rate_hz for entry in formats}
    events = {entry.payload_type: entry.clock_rate_hz for entry in formats if entry.is_telephone_event}
    return Reading(clock_rates_hz=clocks, events=None if medium.encrypted or not events else events)


def _is_nowhere(media: Media) -> bool:
    """Whether it is the line of an application: no address (`NOWHERE`), no port."""
    connection = media.connection
    return connection is not None and connection.is_name and connection.is_null and media.port == DISCARD_PORT


def _unreachable() -> Connection:
    raise AssertionError("an open media line has an address")
