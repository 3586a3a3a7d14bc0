"""An ng message: a cookie, a space, and a dictionary in bencode or JSON.

Inside the program a message is a plain dictionary with text keys. Keys and flags of requests have one spelling, with
hyphens: on the wire '-' and ' ' are the same (`address family`); commands have theirs with spaces (`play media`).
Values are text, integers, lists and dictionaries; what may hold any bytes (`sdp`, `blob`) is bytes in either encoding.
"""

from __future__ import annotations

import enum
import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from services.media.ng import bencode
from services.media.ng.errors import NgError

MAX_MESSAGE_BYTES = 65535
"""Largest message taken."""
MAX_COOKIE_BYTES = 256
"""Longest cookie taken; Kamailio's has about twelve."""

Message = dict[str, Any]
"""A request or reply."""

_FLAG_KEYS = frozenset({"flags", "replace", "rtcp-mux", "SDES", "OSRTP"})
"""Keys whose values are flags, or lists of them."""


class Encoding(enum.Enum):
    """How the dictionary is written; told by its first byte, and a reply uses its request's."""

    BENCODE = "bencode"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as it travels."""

    cookie: bytes
    """Matches a reply to its request; the same for every retransmission."""
    message: Message
    encoding: Encoding = Encoding.BENCODE

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """Read a datagram. Raises NgError and nothing else; with the cookie when one could be read."""
        if len(data) > MAX_MESSAGE_BYTES:
            raise NgError("message too long")
        cookie, space, body = data.partition(b" ")
        if not space or not cookie or len(cookie) > MAX_COOKIE_BYTES:
            raise NgError("no cookie")
        first = body[:1]
        try:
            if first == b"d":
                return cls(cookie, _from_bencode(body))
            if first == b"{":
                return cls(cookie, _from_json(body), Encoding.JSON)
        except NgError as error:
            raise NgError(error.reason, cookie) from None
        raise NgError("neither bencode nor JSON", cookie)

    def encode(self) -> bytes:
        """The datagram. Raises NgError for values the encoding does not have."""
        if self.encoding is Encoding.BENCODE:
            return self.cookie + b" " + bencode.encode(self.message)
        return self.cookie + b" " + _to_json(self.message)


def normalised(request: Message) -> Message:
    """A request with the one spelling of keys, flags and command that the program uses."""
    message: Message = {}
    for name, value in request.items():
        key = name.replace(" ", "-")
        message[key] = _flags(value) if key in _FLAG_KEYS else value
    command = message.get("command")
    if isinstance(command, str):
        message["command"] = command.replace("-", " ")
    return message


def _flags(value: object) -> list[Any]:
    """A list of flags; one that stands alone is a list of one."""
    items = value if isinstance(value, list) else [value]
    return [item.replace(" ", "-") if isinstance(item, str) else item for item in items]


def _from_bencode(body: bytes) -> Message:
    message, end = bencode.decode(body)
    if body[end:].strip(b"\r\n"):
        raise NgError("something follows the dictionary")
    if not isinstance(message, dict):
        raise NgError("not a dictionary")
    return message


def _from_json(body: bytes) -> Message:
    try:
        message = json.loads(body.decode("utf-8", "surrogateescape"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise NgError("not JSON") from None
    checked = _checked(message, bencode.MAX_DEPTH, raw=False)
    if not isinstance(checked, dict):
        raise NgError("not a dictionary")
    return checked


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _checked(value: Any, depth: int, *, raw: bool) -> Any:
    """A JSON value with bytes where bencode has bytes, and within the same bounds."""
    if isinstance(value, str):
        octets = bencode.encode_text(value)  # NgError for `\ud800`: half a character, which no octets stand for
        return octets if raw else value
    if isinstance(value, int) and abs(value) >= 10**bencode.MAX_INTEGER_DIGITS:
        raise NgError("integer too large")
    if isinstance(value, float) and math.isinf(value):
        raise NgError("number too large")  # 1e999: what JSON has and a float has not
    if isinstance(value, (dict, list)):
        if depth == 0:
            raise NgError("JSON nested too deep")
        if isinstance(value, list):
            return [_checked(item, depth - 1, raw=False) for item in value]
        for key in value:
            bencode.encode_text(key)
        return {key: _checked(item, depth - 1, raw=key in bencode.BYTES_KEYS) for key, item in value.items()}
    return value


def _to_json(message: Message) -> bytes:
    try:
        return json.dumps(message, separators=(",", ":"), allow_nan=False, default=_json_bytes).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise NgError("a value that JSON does not have") from None


def _json_bytes(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise TypeError
