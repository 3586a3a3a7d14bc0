"""Session descriptions (RFC 8866) and offers and answers (RFC 3264), for both address families (RFC 6157). Pure.

Read with `SessionDescription.parse`; what a description asks is in `media_family`, `direction`, `is_hold`; what may be
said is made by `restrict_codecs`, `synthesise_answer`, `synthesise_offer`; a relay puts its own addresses in with
`rewrite`; `next_version` keeps the `o=` line of a dialog steady. All errors are `SdpError`, with a SIP status.
"""

from services.core.sdp.codecs import CODECS, STATIC_FORMATS, TELEPHONE_EVENT, Codec, Format, codec_named
from services.core.sdp.description import Media, SessionDescription
from services.core.sdp.errors import SdpError
from services.core.sdp.offer_answer import (
    DISCARD_PORT,
    NOWHERE,
    choose_codecs,
    direction,
    is_hold,
    media_family,
    restrict_codecs,
    synthesise_answer,
    synthesise_offer,
)
from services.core.sdp.rewrite import RELAY_DROPS, MediaRewrite, next_version, rewrite
from services.core.sdp.values import Connection, Direction, Origin, Rtcp

__all__ = [
    "CODECS",
    "DISCARD_PORT",
    "NOWHERE",
    "RELAY_DROPS",
    "STATIC_FORMATS",
    "TELEPHONE_EVENT",
    "Codec",
    "Connection",
    "Direction",
    "Format",
    "Media",
    "MediaRewrite",
    "Origin",
    "Rtcp",
    "SdpError",
    "SessionDescription",
    "choose_codecs",
    "codec_named",
    "direction",
    "is_hold",
    "media_family",
    "next_version",
    "restrict_codecs",
    "rewrite",
    "synthesise_answer",
    "synthesise_offer",
]
