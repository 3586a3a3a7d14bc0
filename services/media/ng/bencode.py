"""Bencode as ng uses it: dictionary keys in any order, byte strings that are nearly always text.

Strings become `str` (UTF-8; other bytes survive as surrogate escapes), except the values of `BYTES_KEYS`, which stay
bytes. Depth, digits and lengths are bounded; whatever the bytes, nothing but NgError is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.media.ng.errors import NgError

MAX_DEPTH = 12
"""Nesting of dictionaries and lists; rtpengine's deepest reply has seven."""
MAX_INTEGER_DIGITS = 20
"""Digits of an integer: 64 bits."""
BYTES_KEYS = frozenset({"sdp", "blob"})
"""Keys whose value is bytes: a session description, a piece of audio."""

_MAX_LENGTH_DIGITS = 7


def decode(data: bytes, start: int = 0) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends. Raises NgError."""
    try:
        return _value(data, start, MAX_DEPTH)
    except IndexError:
        raise NgError("bencode ends too early") from None


def encode(value: object) -> bytes:
    """A dictionary, list, text, bytes or integer; keys in the order given. Raises NgError for anything else."""
    parts: list[bytes] = []
    _append(parts, value, MAX_DEPTH)
    return b"".join(parts)


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind = data[at]
    if 48 <= kind <= 57:
        text, end = _string(data, at)
        return text.decode("utf-8", "surrogateescape"), end
    if kind == 105:  # i
        return _integer(data, at + 1)
    if depth == 0:
        raise NgError("bencode nested too deep")
    if kind == 100:  # d
        return _dictionary(data, at + 1, depth - 1)
    if kind == 108:  # l
        items = []
        at += 1
        while data[at] != 101:
            item, at = _value(data, at, depth - 1)
            items.append(item)
        return items, at + 1
    raise NgError("not a bencode value")


def _dictionary(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while data[at] != 101:
        name, at = _string(data, at)
        key = name.decode("utf-8", "surrogateescape")
        if 48 <= data[at] <= 57:  # nearly every value is a string; one call less for each
            text, at = _string(data, at)
            found[key] = text if key in BYTES_KEYS else text.decode("utf-8", "surrogateescape")
        else:
            found[key], at = _value(data, at, depth)
    return found, at + 1


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    colon = data.find(b":", at, at + _MAX_LENGTH_DIGITS + 1)
    digits = data[at:colon]
    if colon < 0 or not digits.isdigit():
        raise NgError("not a bencode string")
    start = colon + 1
    end = start + int(digits)
    if end > len(data):
        raise NgError("bencode string longer than the message")
    return data[start:end], end


def _integer(data: bytes, at: int) -> tuple[int, int]:
    end = data.find(b"e", at, at + MAX_INTEGER_DIGITS + 2)
    digits = data[at + 1 : end] if data[at : at + 1] == b"-" else data[at:end]
    if end < 0 or not digits.isdigit() or len(digits) > MAX_INTEGER_DIGITS:
        raise NgError("not a bencode integer")
    return int(data[at:end]), end + 1


def _append(parts: list[bytes], value: object, depth: int) -> None:
    if isinstance(value, str):
        value = encode_text(value)
    if isinstance(value, bytes):
        parts.append(b"%d:%b" % (len(value), value))
    elif isinstance(value, int):
        parts.append(b"i%de" % value)
    elif depth == 0:
        raise NgError("nested too deep for bencode")
    elif isinstance(value, Mapping):
        parts.append(b"d")
        for key, item in value.items():
            name = encode_text(key)
            parts.append(b"%d:%b" % (len(name), name))
            _append(parts, item, depth - 1)
        parts.append(b"e")
    elif isinstance(value, (list, tuple)):
        parts.append(b"l")
        for item in value:
            _append(parts, item, depth - 1)
        parts.append(b"e")
    else:
        raise NgError(f"bencode has no {type(value).__name__}")


def encode_text(text: object) -> bytes:
    """The bytes of a text, surrogate escapes as what they came from. Raises NgError."""
    if not isinstance(text, str):
        raise NgError("a key is not text")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise NgError("text with a lone surrogate") from None
