"""Putting a relay's addresses into somebody's description, and keeping a party's `o=` line steady."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.core.sdp.description import Media, SessionDescription, encode
from services.core.sdp.errors import SdpError
from services.core.sdp.values import Connection, Direction, Origin

RELAY_DROPS = frozenset(
    {
        # ICE (RFC 8839): the party's own candidates would lead past the relay
        "candidate", "end-of-candidates", "ice-lite", "ice-mismatch", "ice-options", "ice-pacing", "ice-pwd",
        "ice-ufrag", "remote-candidates",
        # one port for RTP and RTCP, or for everything (RFC 5761, 8858, 9143): a matter between a party and the relay
        "rtcp-mux", "rtcp-mux-only", "bundle-only",
        # other ways to name an address (RFC 6947, 7006, 4570)
        "altc", "acap", "ccap", "source-filter",
    }
)  # fmt: skip
"""Attributes that hold only between the party and whoever has its real address."""

_DROPPED_GROUPS = ("a=group:BUNDLE", "a=group:ANAT")
_DIRECTION_NAMES = frozenset(direction.value for direction in Direction)


@dataclass(frozen=True, slots=True)
class MediaRewrite:
    """What a media line shall say instead of the party's own address."""

    connection: Connection
    port: int
    rtcp_port: int | None = None
    """Written as `a=rtcp`; None writes none, which means `port` + 1."""
    direction: Direction | None = None
    """Replaces the direction attribute; None leaves it. For a party that holds by a null address (`Media.null_address`)
    give `media.direction`: the other side then sees a hold it understands, and a real address."""


def rewrite(
    sdp: SessionDescription,
    media: Sequence[MediaRewrite | None],
    *,
    origin: Origin | None = None,
    drop: Collection[str] = RELAY_DROPS,
) -> bytes:
    """The description with other addresses, one entry of `media` for each media line; None refuses the line (port 0).

    `origin` replaces the `o=` line when given (`sdp.origin.at(connection)` keeps everything but the address). The
    session's `c=` becomes the first entry's connection, and a media line has its own where it had one or where it
    differs. Attributes named in `drop`, and groups that bind lines by their addresses, disappear. Raises ValueError
    when the number of entries is not the number of lines.
    """
    common = next((entry.connection for entry in media if entry is not None), None)
    lines = _session_lines(sdp, common, origin, drop)
    shared = common if sdp.connection is not None else None
    for described, entry in zip(sdp.media, media, strict=True):
        if entry is None:
            lines += refused(described, None if shared is not None else common)
        else:
            lines += _media_lines(described, entry, shared, drop)
    return encode(lines)


def refused(media: Media, connection: Connection | None = None) -> list[str]:
    """The lines of a refused stream (RFC 3264 6): port 0, nothing else but its `c=`, if given, and its `mid`."""
    lines = [f"m={media.kind} 0 {media.proto} {' '.join(media.formats)}"]
    if connection is not None:
        lines.append(f"c={connection}")
    lines += [line for line in media.lines if line.startswith("a=mid:")]
    return lines


def media_line(media: Media, port: int, formats: Sequence[str]) -> str:
    """An `m=` line of the same kind and protocol."""
    return f"m={media.kind} {port} {media.proto} {' '.join(formats)}"


def _session_lines(
    sdp: SessionDescription, common: Connection | None, origin: Origin | None, drop: Collection[str]
) -> list[str]:
    lines = []
    placed = False
    for line in sdp.lines:
        kind = line[0]
        if kind == "o":
            lines.append(line if origin is None else f"o={origin}")
        elif kind == "c":
            if common is None:
                lines.append(line)
            elif not placed:
                lines.append(f"c={common}")
            placed = True
        elif kind == "a" and (line[2:].partition(":")[0] in drop or line.startswith(_DROPPED_GROUPS)):
            continue
        else:
            lines.append(line)
    return lines


def _media_lines(media: Media, entry: MediaRewrite, shared: Connection | None, drop: Collection[str]) -> list[str]:
    lines = [media_line(media, entry.port, media.formats)]
    own_needed = entry.connection != shared
    for line in media.lines[1:]:
        kind = line[0]
        if kind == "a":
            name = line[2:].partition(":")[0]
            if name in drop or name == "rtcp" or (entry.direction is not None and name.rstrip(" ") in _DIRECTION_NAMES):
                continue
        elif kind == "c":
            own_needed = True
            continue
        lines.append(line)
    if own_needed:
        # RFC 8866 section 5: i= before c=, everything else after
        lines.insert(2 if len(lines) > 1 and lines[1][0] == "i" else 1, f"c={entry.connection}")
    if entry.rtcp_port is not None:
        lines.append(f"a=rtcp:{entry.rtcp_port}")
    if entry.direction is not None:
        lines.append(f"a={entry.direction.value}")
    return lines


def next_version(previous: bytes | None, new: bytes) -> bytes:
    """`new` as a party must see it that was last told `previous`: one origin, and a version that counts (RFC 3264 8).

    When nothing but the `o=` line differs, `previous` itself comes back. Else `new` with the origin of `previous` and
    the version plus one, whoever's origin `new` had: toward a party, a B2BUA is one origin for the whole dialog.
    Raises SdpError when either has no readable `o=` line.
    """
    if previous is None or previous == new:
        return new
    new_head, _, new_tail = _around_origin(new)
    head, line, tail = _around_origin(previous)
    if (new_head, new_tail) == (head, tail):
        return previous
    origin = Origin.parse(line.decode("utf-8", "surrogateescape"))
    bumped = f"o={origin.bumped()}"
    return new_head + bumped.encode("utf-8", "surrogateescape") + new_tail


def _around_origin(data: bytes) -> tuple[bytes, bytes, bytes]:
    """What is before the `o=` line, its value, and what follows from its line end on."""
    start = data.find(b"\no=") + 1
    if start == 0:
        raise SdpError(400, "missing", "o=")
    end = data.find(b"\n", start)
    if end < 0:
        end = len(data)
    elif data[end - 1] == 13:
        end -= 1
    return data[:start], data[start + 2 : end], data[end:]
