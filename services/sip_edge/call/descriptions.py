"""What a call asks of session descriptions, beyond what `services.core.sdp` has for everybody."""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

from services.core.address import Family
from services.core.sdp import SdpError, SessionDescription, restrict_codecs, synthesise_answer, synthesise_offer

_DIRECTION = re.compile(rb"^a=(?:recvonly|sendonly|inactive)(?=\r?$)", re.MULTILINE)


def session_id_of(call_id: str) -> int:
    """Origin's session id for descriptions of our own: steady for a call (RFC 8866 section 5.2)."""
    return crc32(call_id.encode()) or 1


def voice_codecs(sdp: bytes) -> tuple[str, ...]:
    """Names of the voice codecs of the first active audio line, in its order; empty when there is none."""
    audio = SessionDescription.parse(sdp).audio
    if audio is None:
        return ()
    return tuple(entry.codec_name for entry in audio.codecs() if not entry.is_telephone_event)


def voice_codec(sdp: bytes) -> str:
    """The codec an answer settles on; empty when nothing can be read from it."""
    try:
        return next(iter(voice_codecs(sdp)), "")
    except SdpError:
        return ""


def application_answer(offer: bytes, codecs: Sequence[str], call_id: str) -> bytes | None:
    """The application's answer to a party's offer, or None without a common codec. Raises SdpError."""
    return synthesise_answer(offer, codecs, session_id=session_id_of(call_id))


def application_offer(codecs: Sequence[str], family: Family, call_id: str) -> bytes:
    """The application's offer."""
    return synthesise_offer(codecs, family, session_id=session_id_of(call_id))


def resumed(sdp: bytes) -> bytes:
    """A description that sends and receives, whatever its own directions were: for a party that answered a hold of
    somebody who is no longer there."""
    return _DIRECTION.sub(b"a=sendrecv", sdp)


def narrowed(sdp: bytes, codecs: Sequence[str]) -> bytes | None:
    """A party's offer with nothing but `codecs`; None when none is left, or when it is no description."""
    try:
        return restrict_codecs(sdp, codecs)
    except SdpError:
        return None
