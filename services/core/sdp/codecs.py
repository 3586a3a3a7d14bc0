"""Codecs by the names an administrator uses, and payload formats as a media line describes them.

`sip.conf` says `ulaw`; SDP says payload type 0, or `a=rtpmap:0 PCMU/8000`. `Codec` is the first, `Format` the second.
The static assignments are RFC 3551 section 6, tables 4 and 5; everything from 96 up is bound by rtpmap only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

TELEPHONE_EVENT = "telephone-event"
"""Encoding name of RFC 4733 digits."""

FormatKey = tuple[str, int, int]
"""Encoding name in lower case, clock rate in Hz, channels: what makes two payload formats the same one."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec that can be named in `allow=`."""

    name: str
    """Asterisk's name, in lower case."""
    encoding: str
    """Encoding name in rtpmap."""
    clock_rate_hz: int = 8000
    """RTP clock. 8000 for G.722 by RFC 3551 4.5.2, though it samples at 16 kHz."""
    channels: int = 1
    payload_type: int | None = None
    """Static payload type, or None when it is dynamic."""
    fmtp: str = ""
    """Format parameters we write when we offer it."""

    @property
    def key(self) -> FormatKey:
        """What the codec's formats are recognised by."""
        return (self.encoding.lower(), self.clock_rate_hz, self.channels)


@dataclass(frozen=True, slots=True)
class Format:
    """A payload type as one media line binds it."""

    payload_type: int
    encoding: str
    """As written; compare by `key`, encoding names ignore case (RFC 8866 6.6)."""
    clock_rate_hz: int
    channels: int = 1
    fmtp: str = ""
    """Text of `a=fmtp` after the payload type, or empty."""

    @property
    def key(self) -> FormatKey:
        """What two formats of different numbers are compared by."""
        return (self.encoding.lower(), self.clock_rate_hz, self.channels)

    @property
    def codec_name(self) -> str:
        """Asterisk's name of the codec; the encoding name in lower case where there is none."""
        return NAME_OF.get(self.key) or self.encoding.lower()

    @property
    def is_telephone_event(self) -> bool:
        """Whether these are RFC 4733 events."""
        return self.encoding.lower() == TELEPHONE_EVENT

    @property
    def rtpmap(self) -> str:
        """The value of `a=rtpmap`, payload type included."""
        text = f"{self.payload_type} {self.encoding}/{self.clock_rate_hz}"
        return f"{text}/{self.channels}" if self.channels != 1 else text


_ALL = (
    Codec("ulaw", "PCMU", payload_type=0),
    Codec("alaw", "PCMA", payload_type=8),
    Codec("g722", "G722", payload_type=9),
    Codec("opus", "opus", 48000, 2),
    Codec("gsm", "GSM", payload_type=3),
    Codec("g723", "G723", payload_type=4),
    Codec("g729", "G729", payload_type=18, fmtp="annexb=no"),
    Codec("ilbc", "iLBC", fmtp="mode=30"),
    Codec("g726", "G726-32"),
    Codec("g726aal2", "AAL2-G726-32"),
    Codec("adpcm", "DVI4", payload_type=5),
    Codec("lpc10", "LPC", payload_type=7),
    Codec("slin", "L16"),
    Codec("slin16", "L16", 16000),
    Codec("slin24", "L16", 24000),
    Codec("slin32", "L16", 32000),
    Codec("slin48", "L16", 48000),
    Codec("speex", "speex"),
    Codec("speex16", "speex", 16000),
    Codec("speex32", "speex", 32000),
    Codec("siren7", "G7221", 16000),
    Codec("siren14", "G7221", 32000),
    Codec("amr", "AMR"),
    Codec("amrwb", "AMR-WB", 16000),
)

CODECS: Mapping[str, Codec] = MappingProxyType({codec.name: codec for codec in _ALL})
"""Every codec by Asterisk's name."""

NAME_OF: Mapping[FormatKey, str] = MappingProxyType({codec.key: codec.name for codec in _ALL})
"""Asterisk's name by what rtpmap says."""

_BY_ENCODING: Mapping[str, Codec] = MappingProxyType({codec.encoding.lower(): codec for codec in reversed(_ALL)})

_KEY_OF: Mapping[str, FormatKey] = MappingProxyType(
    {name: codec.key for name, codec in (*_BY_ENCODING.items(), *CODECS.items())}
)

STATIC_FORMATS: Mapping[int, Format] = MappingProxyType(
    {
        number: Format(number, encoding, clock, channels)
        for number, encoding, clock, channels in (
            (0, "PCMU", 8000, 1),
            (3, "GSM", 8000, 1),
            (4, "G723", 8000, 1),
            (5, "DVI4", 8000, 1),
            (6, "DVI4", 16000, 1),
            (7, "LPC", 8000, 1),
            (8, "PCMA", 8000, 1),
            (9, "G722", 8000, 1),
            (10, "L16", 44100, 2),
            (11, "L16", 44100, 1),
            (12, "QCELP", 8000, 1),
            (13, "CN", 8000, 1),
            (14, "MPA", 90000, 1),
            (15, "G728", 8000, 1),
            (16, "DVI4", 11025, 1),
            (17, "DVI4", 22050, 1),
            (18, "G729", 8000, 1),
            (25, "CelB", 90000, 1),
            (26, "JPEG", 90000, 1),
            (28, "nv", 90000, 1),
            (31, "H261", 90000, 1),
            (32, "MPV", 90000, 1),
            (33, "MP2T", 90000, 1),
            (34, "H263", 90000, 1),
        )
    }
)
"""What a payload type means when no rtpmap says otherwise (RFC 3551 section 6)."""


def codec_named(name: str) -> Codec | None:
    """The codec of an Asterisk name (`ulaw`) or an encoding name (`PCMU`), in any case; None when there is none."""
    lowered = name.lower()
    return CODECS.get(lowered) or _BY_ENCODING.get(lowered)


def allowed_keys(names: Iterable[str]) -> frozenset[FormatKey] | None:
    """What an `allow=` list accepts, or None when it contains `all`, which accepts everything.

    A name that is no codec of ours accepts an 8 kHz mono format of that encoding name: a relay need not know it.
    """
    lowered = [name.lower() for name in names]
    if "all" in lowered:
        return None
    return frozenset([_KEY_OF.get(name) or (name, 8000, 1) for name in lowered])
