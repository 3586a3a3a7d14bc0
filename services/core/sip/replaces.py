"""The Replaces header (RFC 3891 section 6.1): which dialog an INVITE, or who a REFER sends, takes the place of."""

from __future__ import annotations

from dataclasses import dataclass

from services.core.sip.errors import SipError
from services.core.sip.lexical import TOKEN_CHARS
from services.core.sip.uri import unescape

_CALL_ID_CHARS = TOKEN_CHARS | frozenset('()<>:\\"/[]?{}@')


@dataclass(frozen=True, slots=True)
class Replaces:
    """A dialog as its replacer names it: `to_tag` is the tag of whoever receives the header."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Replaces:
        """Read a header value. Raises SipError 400: both tags must be there, each once."""
        call_id, *rest = (piece.strip() for piece in text.split(";"))
        if not call_id or not _CALL_ID_CHARS.issuperset(call_id):
            raise _bad("Call-ID")
        tags: dict[str, str] = {}
        early_only = False
        for piece in rest:
            name, equals, value = (part.strip() for part in piece.partition("="))
            name = name.lower()
            if name in ("to-tag", "from-tag"):
                if name in tags or not value or not TOKEN_CHARS.issuperset(value):
                    raise _bad(name)
                tags[name] = value
            elif name == "early-only" and not equals:
                early_only = True
        if len(tags) != 2:
            raise _bad("tags")
        return cls(call_id, tags["to-tag"], tags["from-tag"], early_only)

    @classmethod
    def of_escaped(cls, text: str) -> Replaces:
        """Read the value of a header inside a URI, `%5B2001:db8::1%5D%3Bto-tag%3D...`. Raises SipError 400."""
        return cls.parse(unescape(text))

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


def _bad(what: str) -> SipError:
    return SipError(400, f"Malformed Replaces header field: {what}", "Replaces")
