"""A session description, read and written (RFC 8866).

`SessionDescription.parse(data)` keeps every line in its order, so that what is not understood passes through;
`to_bytes` gives the same lines with CRLF. Only the lines that decide where media goes are read at once, and they are
checked: an accepted description never raises later. Payload formats are read when asked for.

Tolerated on input: LF for CRLF, empty lines, missing `s=` and `t=`, spaces at the end of a line, user names with
spaces. Refused: brackets and zones in addresses, addresses of another type than announced, NUL and lone CR, more than
the limits below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from services.core.address import Family
from services.core.sdp.codecs import STATIC_FORMATS, Format
from services.core.sdp.errors import SdpError
from services.core.sdp.values import Connection, Direction, Origin, Rtcp, direction_of, number

MAX_SDP_BYTES = 32768
"""Largest description taken. A browser's offer with video and many candidates has about 10 kB."""
MAX_LINES = 1024
"""Most lines taken."""
MAX_MEDIA = 32
"""Most media lines taken."""
MAX_FORMATS = 128
"""Most formats taken on a media line; there are 128 payload types."""

_CACHED_DESCRIPTIONS = 64
"""The edge checks and narrows what the worker beside it reads next: one call reads the same bytes four times."""
_CACHED_BYTES = 4096

_DIRECTION_LINES: Mapping[str, Direction] = MappingProxyType({f"a={value.value}": value for value in Direction})
_STATIC: Mapping[str, tuple[Format, str]] = MappingProxyType(
    {str(number): (entry, entry.rtpmap.partition(" ")[2]) for number, entry in STATIC_FORMATS.items()}
)
"""Static formats by the text of their payload type, with the rtpmap that says nothing new: the usual case."""
_DIRECTION_PREFIXES = ("a=send", "a=recv", "a=inactive")


@dataclass(frozen=True, slots=True)
class Media:
    """One media line with the lines beneath it, and what it takes over from the session's part."""

    lines: tuple[str, ...]
    """Every line as received, the `m=` line first, without line ends."""
    kind: str
    """`audio`, `video`, `image` ..., in lower case."""
    port: int
    """0: refused, or no longer used (RFC 3264 5.1, 8.2)."""
    port_count: int
    proto: str
    """`RTP/AVP`, `RTP/SAVP`, `udptl` ..., as written."""
    formats: tuple[str, ...]
    """Payload types (as text) of an RTP line, in the party's order of preference."""
    connection: Connection | None
    """Its own `c=`, else the session's. Never None when `port` is not 0."""
    direction_attribute: Direction
    """What `a=` says: the media's own, else the session's, else sendrecv (RFC 8866 6.7)."""
    rtcp: Rtcp | None
    """`a=rtcp`, when there is one."""

    @property
    def active(self) -> bool:
        """Whether the stream is wanted at all."""
        return self.port != 0

    @property
    def is_rtp(self) -> bool:
        """Whether formats are payload types."""
        return "RTP/" in self.proto

    @property
    def family(self) -> Family | None:
        """Family of the address media is to be sent to."""
        return self.connection.family if self.connection is not None else None

    @property
    def null_address(self) -> bool:
        """Whether its address is one that stands for none: `0.0.0.0`, `::`, a `.invalid` name."""
        return self.connection is not None and self.connection.is_null

    @property
    def direction(self) -> Direction:
        """Who sends, a null address taken as "do not send to me" (RFC 3264 8.4)."""
        if self.null_address:
            return direction_of(self.direction_attribute.sends, receives=False)
        return self.direction_attribute

    @property
    def rtcp_port(self) -> int:
        """Where RTCP is to be sent: `a=rtcp` (RFC 3605), else the next port (RFC 3550 section 11); 0 when refused."""
        if self.rtcp is not None:
            return self.rtcp.port
        return self.port + 1 if 0 < self.port < 65535 else 0

    @property
    def rtcp_connection(self) -> Connection | None:
        """The address RTCP is to be sent to."""
        if self.rtcp is not None and self.rtcp.connection is not None:
            return self.rtcp.connection
        return self.connection

    @property
    def ptime_ms(self) -> int | None:
        """`a=ptime` in whole milliseconds; None when it is missing or not a number."""
        text = (self.attribute("ptime") or "").partition(".")[0]
        return int(text) if text.isdigit() and text.isascii() and len(text) <= 4 else None

    def attribute(self, name: str) -> str | None:
        """The value of the first `a=name:value`; empty for a bare `a=name`; None when there is none."""
        return next(self.attributes(name), None)

    def attributes(self, name: str) -> Iterator[str]:
        """The values of every `a=name`, in order."""
        return _attributes(self.lines, name)

    def codecs(self) -> tuple[Format, ...]:
        """Its payload formats in the order of the media line; those that nothing defines are left out."""
        if not self.is_rtp:
            return ()
        rtpmaps: dict[str, str] = {}
        fmtps: dict[str, str] = {}
        for line in self.lines:
            if line.startswith("a=rtpmap:"):
                payload_type, _, rest = line[9:].strip(" ").partition(" ")
                rtpmaps.setdefault(payload_type, rest.strip(" "))
            elif line.startswith("a=fmtp:"):
                payload_type, _, rest = line[7:].strip(" ").partition(" ")
                fmtps.setdefault(payload_type, rest.strip(" "))
        found = [_format(text, rtpmaps.get(text, ""), fmtps.get(text, "")) for text in self.formats]
        return tuple([entry for entry in found if entry is not None])

    def codec(self, payload_type: int) -> Format | None:
        """What a payload type means on this line."""
        return next((entry for entry in self.codecs() if entry.payload_type == payload_type), None)

    def telephone_event(self, clock_rate_hz: int = 8000) -> Format | None:
        """The RFC 4733 events of this line, at a clock rate if there, else the first ones."""
        events = [entry for entry in self.codecs() if entry.is_telephone_event]
        return next((entry for entry in events if entry.clock_rate_hz == clock_rate_hz), events[0] if events else None)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description."""

    lines: tuple[str, ...]
    """Lines of the session's part as received, without line ends."""
    media: tuple[Media, ...]
    origin: Origin
    connection: Connection | None
    """The session's own `c=`."""

    @classmethod
    def parse(cls, data: bytes) -> SessionDescription:
        """Read a description. Raises SdpError and nothing else, whatever the bytes."""
        return _parse_cached(data) if len(data) <= _CACHED_BYTES else _parse(data)

    def to_bytes(self) -> bytes:
        """The description with CRLF line ends."""
        lines = list(self.lines)
        for media in self.media:
            lines += media.lines
        return encode(lines)

    @property
    def audio(self) -> Media | None:
        """The first audio line that is not refused."""
        for media in self.media:
            if media.port and media.kind == "audio":
                return media
        return None

    def attribute(self, name: str) -> str | None:
        """The value of the session's first `a=name:value`; None when there is none."""
        return next(self.attributes(name), None)

    def attributes(self, name: str) -> Iterator[str]:
        """The values of every `a=name` of the session's part."""
        return _attributes(self.lines, name)


@lru_cache(_CACHED_DESCRIPTIONS)
def _parse_cached(data: bytes) -> SessionDescription:
    return _parse(data)


def _parse(data: bytes) -> SessionDescription:
    session, sections = _sections(_lines(data))
    origin, connection, direction = _session_part(session)
    media = tuple([_media_part(section, connection, direction) for section in sections])
    return SessionDescription(tuple(session), media, origin, connection)


def encode(lines: Sequence[str]) -> bytes:
    """Lines as they go on the wire; bytes that were no UTF-8 come out as they came in."""
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")


def _lines(data: bytes) -> list[str]:
    if len(data) > MAX_SDP_BYTES:
        raise SdpError(400, "description too long")
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    if text.endswith("\r"):
        text = text[:-1]
    if "\r" in text or "\0" in text:
        raise SdpError(400, "NUL or lone CR in a description")
    lines = [line for line in text.split("\n") if line]
    if len(lines) > MAX_LINES:
        raise SdpError(400, "too many lines")
    if not lines or lines[0].rstrip(" ") != "v=0":
        raise SdpError(400, "does not start with version 0", "v=")
    for line in lines:
        if line[1:2] != "=" or not "a" <= line[0] <= "z":
            raise SdpError(400, "a line is not type=value")
    return lines


def _sections(lines: list[str]) -> tuple[list[str], list[list[str]]]:
    """The session's lines, and the lines of each media description."""
    starts = [index for index, line in enumerate(lines) if line[0] == "m"]
    if not starts:
        return lines, []
    if len(starts) > MAX_MEDIA:
        raise SdpError(400, "too many media lines", "m=")
    ends = [*starts[1:], len(lines)]
    return lines[: starts[0]], [lines[start:end] for start, end in zip(starts, ends, strict=True)]


def _session_part(lines: list[str]) -> tuple[Origin, Connection | None, Direction]:
    origin: Origin | None = None
    connection: Connection | None = None
    direction: Direction | None = None
    for line in lines:
        kind = line[0]
        if kind == "a":
            direction = direction or _direction(line)
        elif kind == "c":
            own = Connection.parse(line[2:])
            connection = connection or own
        elif kind == "o":
            if origin is not None:
                raise SdpError(400, "more than one", "o=")
            origin = Origin.parse(line[2:])
    if origin is None:
        raise SdpError(400, "missing", "o=")
    return origin, connection, direction or Direction.SENDRECV


def _media_part(lines: list[str], inherited: Connection | None, inherited_direction: Direction) -> Media:
    connection: Connection | None = None
    direction: Direction | None = None
    rtcp: Rtcp | None = None
    broken = False
    for line in lines:
        kind = line[0]
        if kind == "a":
            if line.startswith("a=rtcp:"):
                rtcp = Rtcp.parse(line[7:])
            elif direction is None and line.startswith(_DIRECTION_PREFIXES):
                direction = _direction(line)
            elif line.startswith("a=candidate:") and ("[" in line or "%" in line):
                broken = True
        elif kind == "c":
            own = Connection.parse(line[2:])
            connection = connection or own
    if broken:  # RFC 8839: a candidate that cannot be read is ignored by itself
        lines = [line for line in lines if not (line.startswith("a=candidate:") and ("[" in line or "%" in line))]
    kind, port, port_count, proto, formats = _media_line(lines[0])
    connection = connection or inherited
    if connection is None and port:
        raise SdpError(400, "a media line has no address", "c=")
    return Media(
        tuple(lines), kind, port, port_count, proto, formats, connection, direction or inherited_direction, rtcp
    )


def _media_line(line: str) -> tuple[str, int, int, str, tuple[str, ...]]:
    """Kind, port, port count, protocol and formats of an `m=` line (RFC 8866 5.14)."""
    fields = line[2:].split(" ")
    if "" in fields:
        fields = [field for field in fields if field]
    if len(fields) < 4:
        raise SdpError(400, "needs media, port, protocol and a format", "m=")
    if len(fields) > MAX_FORMATS + 3:
        raise SdpError(400, "too many formats", "m=")
    port, slash, count = fields[1].partition("/")
    return (
        fields[0].lower(),
        number(port, 65535, "m="),
        number(count, 1024, "m=") if slash else 1,
        fields[2],
        tuple(fields[3:]),
    )


def _direction(line: str) -> Direction | None:
    return _DIRECTION_LINES.get(line) or _DIRECTION_LINES.get(line.rstrip(" "))


def _attributes(lines: Sequence[str], name: str) -> Iterator[str]:
    bare = f"a={name}"
    prefix = f"{bare}:"
    skip = len(prefix)
    for line in lines:
        if line.startswith(bare):
            if line.startswith(prefix):
                yield line[skip:].strip(" ")
            elif line.rstrip(" ") == bare:
                yield ""


def _format(text: str, rtpmap: str, fmtp: str) -> Format | None:
    """What a format of a media line means by its rtpmap and fmtp, or by the static table."""
    known = _STATIC.get(text)
    if known is not None and not fmtp and (not rtpmap or rtpmap == known[1]):
        return known[0]
    if not text.isdigit() or not text.isascii() or len(text) > 3:
        return None
    payload_type = int(text)
    if payload_type > 127:
        return None
    encoding, _, rest = rtpmap.partition("/")
    clock, _, channels = rest.partition("/")
    if not _is_small_number(clock) or not encoding:
        static = STATIC_FORMATS.get(payload_type)
        return None if static is None else replace(static, fmtp=fmtp)
    clock_rate_hz = int(clock)
    if clock_rate_hz == 16000 and encoding.lower() == "g722":
        clock_rate_hz = 8000  # phones that write the sampling rate; RFC 3551 4.5.2 fixed the clock at 8000
    return Format(payload_type, encoding, clock_rate_hz, int(channels) if _is_small_number(channels) else 1, fmtp)


def _is_small_number(text: str) -> bool:
    return text.isdigit() and text.isascii() and len(text) <= 7
