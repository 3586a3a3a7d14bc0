"""Header field names: compact forms, usual spellings, and which headers are lists (RFC 3261 7.3)."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

COMPACT_FORMS = MappingProxyType(
    {
        "a": "Accept-Contact",
        "b": "Referred-By",
        "c": "Content-Type",
        "d": "Request-Disposition",
        "e": "Content-Encoding",
        "f": "From",
        "i": "Call-ID",
        "j": "Reject-Contact",
        "k": "Supported",
        "l": "Content-Length",
        "m": "Contact",
        "n": "Identity-Info",
        "o": "Event",
        "r": "Refer-To",
        "s": "Subject",
        "t": "To",
        "u": "Allow-Events",
        "v": "Via",
        "x": "Session-Expires",
        "y": "Identity",
    }
)

# fmt: off
_USUAL_NAMES = (
    "Call-ID", "CSeq", "MIME-Version", "RAck", "RSeq", "SIP-ETag", "SIP-If-Match", "WWW-Authenticate", "Accept",
    "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events",
    "Authentication-Info", "Authorization", "Call-Info", "Contact", "Content-Disposition", "Content-Encoding",
    "Content-Language", "Content-Length", "Content-Type", "Date", "Diversion", "Error-Info", "Event", "Expires",
    "From", "Geolocation", "History-Info", "Identity", "In-Reply-To", "Join", "Max-Breadth", "Max-Forwards",
    "Min-Expires", "Min-SE", "Organization", "P-Access-Network-Info", "P-Asserted-Identity", "P-Associated-URI",
    "P-Called-Party-ID", "P-Charging-Vector", "P-Preferred-Identity", "Path", "Priority", "Privacy",
    "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Require", "Reason", "Record-Route", "Refer-Sub",
    "Refer-To", "Referred-By", "Replaces", "Reply-To", "Request-Disposition", "Require", "Retry-After", "Route",
    "Server", "Service-Route", "Session-Expires", "Session-ID", "Subject", "Subscription-State", "Supported",
    "Target-Dialog", "Timestamp", "To", "Unsupported", "User-Agent", "User-to-User", "Via", "Warning",
)
LIST_HEADERS = frozenset((
    "Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events",
    "Call-Info", "Contact", "Content-Encoding", "Content-Language", "Diversion", "Error-Info", "Geolocation",
    "History-Info", "In-Reply-To", "P-Asserted-Identity", "P-Associated-URI", "P-Preferred-Identity", "Path",
    "Proxy-Require", "Reason", "Record-Route", "Reject-Contact", "Request-Disposition", "Require", "Route",
    "Security-Client", "Security-Server", "Security-Verify", "Service-Route", "Supported", "Unsupported", "Via",
    "Warning",
))
"""Headers whose rows are comma-separated lists (RFC 3261 7.3.1): one row of many values equals many rows of one."""
# fmt: on

SINGLE_HEADERS = frozenset(("Call-ID", "Content-Length", "CSeq", "From", "Max-Forwards", "To"))
"""Headers a message with two of them is refused for (RFC 4475 3.3.8, 3.3.9)."""

EXACT_NAMES = MappingProxyType({name: name for name in (*_USUAL_NAMES, *COMPACT_FORMS.values())} | COMPACT_FORMS)
"""Names that need no thought: the usual spelling and the compact forms, each with its canonical name."""
_CACHED_LENGTH = 64
_BY_LOWER_CASE = MappingProxyType({name.lower(): long_name for name, long_name in EXACT_NAMES.items()})


def canonical_name(name: str) -> str:
    """The long form of a header name in its usual spelling: `Call-ID` for `i`, `call-id`, `CALL-ID`."""
    known = EXACT_NAMES.get(name)
    if known is None:
        known = _cached_name(name) if len(name) <= _CACHED_LENGTH else _canonical_name(name)
    return known


@lru_cache(1024)
def _cached_name(name: str) -> str:
    return _canonical_name(name)


def _canonical_name(name: str) -> str:
    known = _BY_LOWER_CASE.get(name.lower())
    return known or "-".join([part.capitalize() for part in name.split("-")])
