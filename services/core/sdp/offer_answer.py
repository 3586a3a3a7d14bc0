"""Offers and answers (RFC 3264): what a description asks, what may be said to it.

Every function takes a description as bytes or already parsed, and raises SdpError for bytes that are none.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.core.address import Family, family_of
from services.core.sdp.codecs import Codec, Format, FormatKey, allowed_keys, codec_named
from services.core.sdp.description import Media, SessionDescription, encode
from services.core.sdp.rewrite import media_line, refused
from services.core.sdp.values import Connection, Direction, Origin

NOWHERE = "anonymous.invalid"
"""The address of a party that has none: RFC 6157 4.1 wants a `.invalid` name, not `::`."""
DISCARD_PORT = 9
"""The port such a party names; 0 would refuse the stream."""
PLAIN_RTP = ("RTP/AVP", "RTP/AVPF")
"""Protocols an application can take without keys."""
EVENT_FMTP = "0-16"
"""Digits, `*`, `#`, A-D and flash (RFC 4733 section 3.2)."""

_FIRST_DYNAMIC = 96
_EVENT_PAYLOAD_TYPE = 101

Description = SessionDescription | bytes


def parsed(sdp: Description) -> SessionDescription:
    """The description itself. Raises SdpError."""
    return sdp if isinstance(sdp, SessionDescription) else SessionDescription.parse(sdp)


def media_family(sdp: Description) -> Family | None:
    """The family in which the first active audio line wants its media; None when there is no such line."""
    audio = parsed(sdp).audio
    return audio.family if audio is not None else None


def direction(sdp: Description) -> Direction:
    """Who sends on the first active audio line, null addresses counted in; INACTIVE when there is no such line."""
    audio = parsed(sdp).audio
    return audio.direction if audio is not None else Direction.INACTIVE


def is_hold(sdp: Description) -> bool:
    """Whether the party who sent it listens to nobody: `sendonly`, `inactive`, `c=0.0.0.0`, `::`, all audio refused."""
    return not direction(sdp).receives


def choose_codecs(media: Media, allowed: Sequence[str]) -> tuple[Format, ...]:
    """The voice formats of a media line that `allow=` accepts, in the order of the line; no telephone-event."""
    keys = allowed_keys(allowed)
    return tuple(
        entry for entry in media.codecs() if not entry.is_telephone_event and (keys is None or entry.key in keys)
    )


# --- restricting what others said --------------------------------------------------------------------------------


def restrict_codecs(sdp: Description, allowed: Sequence[str]) -> bytes | None:
    """The description with nothing on its audio lines but `allowed` codecs and telephone-events, in its own order.

    Lines that are not audio, and audio lines of which nothing is left, are refused by port 0, so that the number of
    lines stays. Of the alternatives of an ANAT group (RFC 4092) the first one that is left is kept. None when no audio
    is left: answer 488. Works on offers and on answers.
    """
    description = parsed(sdp)
    keys = allowed_keys(allowed)
    alternatives = _anat_groups(description)
    taken: set[frozenset[str]] = set()
    lines = [line for line in description.lines if not line.startswith("a=group:ANAT")]
    audible = False
    for media in description.media:
        kept = _restricted(media, keys) if media.port else list(media.lines)
        group = alternatives.get(media.attribute("mid") or "") if alternatives else None
        if kept is None or (group is not None and group in taken):
            kept = refused(media, media.connection if description.connection is None else None)
        elif media.port:
            audible = True
            if group is not None:
                taken.add(group)
        lines += kept
    return encode(lines) if audible else None


def _restricted(media: Media, keys: frozenset[FormatKey] | None) -> list[str] | None:
    """The lines of an audio stream without the formats that are not allowed; None when no voice is left."""
    if media.kind != "audio":
        return None
    kept = []
    voice = False
    for entry in media.codecs():
        if entry.is_telephone_event:
            kept.append(str(entry.payload_type))
        elif keys is None or entry.key in keys:
            kept.append(str(entry.payload_type))
            voice = True
    if not voice:
        return None
    if len(kept) == len(media.formats):
        return list(media.lines)
    lines = [media_line(media, media.port, kept)]
    for line in media.lines[1:]:
        if line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")):
            payload_type = line.partition(":")[2].partition(" ")[0]
            if payload_type != "*" and payload_type not in kept:
                continue
        lines.append(line)
    return lines


def _anat_groups(description: SessionDescription) -> dict[str, frozenset[str]]:
    """The ANAT group of each media id; empty for nearly everybody."""
    groups: dict[str, frozenset[str]] = {}
    for line in description.lines:
        if line.startswith("a=group:ANAT "):
            mids = frozenset(line.split(" ")[1:])
            groups.update(dict.fromkeys(mids, mids))
    return groups


# --- speaking for ourselves --------------------------------------------------------------------------------------


def synthesise_answer(
    offer: Description,
    codecs: Sequence[str],
    *,
    session_id: int,
    version: int = 1,
    address: str | None = None,
    port: int = DISCARD_PORT,
    wish: Direction = Direction.SENDRECV,
) -> bytes | None:
    """An answer of our own to `offer`: one audio stream, one voice codec, telephone-event when it was offered.

    The codec is the first of the offer that is in `codecs`, under the offer's payload type. Every line of the offer is
    answered in its place and addrtype (RFC 6157 4.1), all but the chosen one by port 0; the direction is the offer's
    mirrored, no more than `wish`. Without `address` the party has no address (`NOWHERE`, for a relay to fill in);
    with one, only a line of its family is taken. None when no line can be taken: answer 488.
    """
    description = parsed(offer)
    chosen: Media | None = None
    voice: tuple[Format, ...] = ()
    for media in description.media:
        if chosen is None and _acceptable(media, address):
            voice = choose_codecs(media, codecs)
            if voice:
                chosen = media
    if chosen is None or chosen.connection is None:
        return None
    common = Connection(chosen.connection.family, address or NOWHERE)
    origin = Origin("-", str(session_id), version, common.family, common.address)
    timing = [line for line in description.lines if line[0] == "t"] or ["t=0 0"]
    lines = ["v=0", f"o={origin}", "s=-", f"c={common}", *timing]
    for media in description.media:
        if media is chosen:
            lines += _answer_lines(media, voice[0], port, media.direction.mirrored.within(wish))
        else:
            lines += refused(media, _own_connection(media, common))
    return encode(lines)


def _acceptable(media: Media, address: str | None) -> bool:
    if not media.port or media.kind != "audio" or media.proto not in PLAIN_RTP or media.connection is None:
        return False
    return address is None or media.connection.family is family_of(address)


def _own_connection(media: Media, common: Connection) -> Connection | None:
    """The `c=` of a refused line of the other family (RFC 6157 4.1); None when the session's does."""
    if media.connection is None or media.connection.family is common.family:
        return None
    return Connection(media.connection.family, NOWHERE)


def _answer_lines(media: Media, voice: Format, port: int, way: Direction) -> list[str]:
    event = media.telephone_event(voice.clock_rate_hz)
    formats = (voice,) if event is None else (voice, event)
    lines = [media_line(media, port, [str(entry.payload_type) for entry in formats])]
    lines += [f"a=mid:{mid}" for mid in media.attributes("mid")]
    lines.append(f"a=rtpmap:{voice.rtpmap}")
    fmtp = _answer_fmtp(voice)
    if fmtp:
        lines.append(f"a=fmtp:{voice.payload_type} {fmtp}")
    if event is not None:
        lines += _event_lines(event)
    return [*lines, "a=ptime:20", f"a={way.value}"]


def _answer_fmtp(voice: Format) -> str:
    """The parameters to answer with. iLBC's mode is the offer's (RFC 3952 section 5); the others are our own."""
    codec = codec_named(voice.codec_name)
    if codec is None or not codec.fmtp:
        return ""
    return voice.fmtp if voice.fmtp and codec.name == "ilbc" else codec.fmtp


def _event_lines(event: Format) -> list[str]:
    return [f"a=rtpmap:{event.rtpmap}", f"a=fmtp:{event.payload_type} {EVENT_FMTP}"]


def synthesise_offer(
    codecs: Sequence[str],
    family: Family,
    *,
    session_id: int,
    version: int = 1,
    address: str | None = None,
    port: int = DISCARD_PORT,
    way: Direction = Direction.SENDRECV,
) -> bytes:
    """An offer of our own: one audio stream with `codecs` in their order, and telephone-event.

    Without `address` the party has none (`NOWHERE`, for a relay to fill in). Raises ValueError when no name of `codecs`
    is a codec we know, or when `address` is not of `family`.
    """
    known = [codec for codec in map(codec_named, codecs) if codec is not None]
    if not known:
        raise ValueError("an offer needs a codec")
    if address is not None and family_of(address) is not family:
        raise ValueError(f"{address} is not of family {family.sdp}")
    connection = Connection(family, address or NOWHERE)
    formats = _numbered(known)
    event = Format(_EVENT_PAYLOAD_TYPE, "telephone-event", 8000)
    numbers = " ".join(str(entry.payload_type) for entry in (*formats, event))
    lines = [
        "v=0",
        f"o={Origin('-', str(session_id), version, family, connection.address)}",
        "s=-",
        f"c={connection}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {numbers}",
    ]
    for entry in formats:
        lines.append(f"a=rtpmap:{entry.rtpmap}")
        if entry.fmtp:
            lines.append(f"a=fmtp:{entry.payload_type} {entry.fmtp}")
    return encode([*lines, *_event_lines(event), "a=ptime:20", f"a={way.value}"])


def _numbered(codecs: Sequence[Codec]) -> list[Format]:
    """Codecs with their static payload types, the others from 96 up."""
    formats = []
    free = _FIRST_DYNAMIC
    for codec in dict.fromkeys(codecs):
        number = codec.payload_type
        if number is None:
            free += free == _EVENT_PAYLOAD_TYPE
            number = free
            free += 1
        formats.append(Format(number, codec.encoding, codec.clock_rate_hz, codec.channels, codec.fmtp))
    return formats
