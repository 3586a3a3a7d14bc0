"""Cutting a stream into messages (RFC 3261 18.3 and 7.5, RFC 5626 3.5.1). Pure: octets in, messages out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.core.sip.errors import FramingError, SipError
from services.core.sip.message import MAX_MESSAGE_BYTES, Request, parse_message

# A row of Content-Length with its folds. `[^\n]` and `\n[ \t]` exclude each other, so this is linear.
_LENGTH_ROW = re.compile(rb"\n(?:content-length|l)[ \t]*:((?:[^\n]|\n[ \t])*+)", re.IGNORECASE)
_DIGITS = frozenset(b"0123456789")


@dataclass(frozen=True, slots=True)
class Ping:
    """A keep-alive, CRLF CRLF between messages; the answer is one CRLF (RFC 5626 4.4.1)."""


PING = Ping()
PONG = b"\r\n"
"""What a Ping is answered with."""


class StreamFramer:
    """The octets of one connection, cut into messages.

    `feed` may be given any pieces. After a FramingError the stream cannot be read on: answer and close.
    Holds at most one message of `max_bytes` and the piece it was last given.
    """

    __slots__ = ("_buffer", "_max_bytes", "_needed", "_searched")

    def __init__(self, *, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes
        self._searched = 0
        """How far the buffer was searched for the end of a head."""
        self._needed = 0
        """Length of the message at the front of the buffer, 0 while its head is not complete."""

    @property
    def pending(self) -> int:
        """Octets of a message that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes | Ping]:
        """Take a piece of the stream; return what is complete now.

        Raises FramingError when a message has no usable Content-Length or is too long. Its `frames` hold the messages
        that were complete before.
        """
        self._buffer += data
        frames: list[bytes | Ping] = []
        while self._buffer:
            if not self._needed:
                if self._skip_empty_lines(frames):
                    break
                try:
                    self._needed = self._find_length()
                except FramingError as error:
                    error.frames = tuple(frames)
                    raise
            if not self._needed or len(self._buffer) < self._needed:
                break
            frames.append(bytes(self._buffer[: self._needed]))
            del self._buffer[: self._needed]
            self._needed = self._searched = 0
        return frames

    def _skip_empty_lines(self, frames: list[bytes | Ping]) -> bool:
        """Take line ends off the front, as keep-alives where they are. True: only the next octets can tell."""
        buffer = self._buffer
        if buffer[0] not in b"\r\n":
            return False
        at, size = 0, len(buffer)
        while at < size and buffer[at] in b"\r\n":
            if buffer.startswith(b"\r\n\r\n", at):
                frames.append(PING)
                at += 4
            elif b"\r\n\r\n".startswith(buffer[at : at + 4]):
                break
            else:
                at += 1
        del buffer[:at]
        return not buffer or buffer[0] in b"\r\n"

    def _find_length(self) -> int:
        """The length of the message at the front, 0 when its head is not complete."""
        buffer = self._buffer
        start = max(self._searched - 2, 0)
        ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := buffer.find(mark, start)) >= 0]
        if not ends:
            self._searched = len(buffer)
            if len(buffer) > self._max_bytes:
                raise FramingError(513, "Message Too Large", "message")
            return 0
        head_length = min(ends)
        head = bytes(buffer[:head_length])
        length = head_length + _content_length(head)
        if length > self._max_bytes:
            raise FramingError(513, "Message Too Large", "Content-Length", readable_request(head))
        return length


def _content_length(head: bytes) -> int:
    """The octets of the body. Raises FramingError when the head does not say."""
    rows = _LENGTH_ROW.findall(head)
    if len(rows) != 1:
        reason = "Multiple Content-Length header fields" if rows else "Missing Content-Length header field"
        raise FramingError(400, reason, "Content-Length", readable_request(head))
    digits: bytes = rows[0].strip(b" \t\r\n")
    if not digits or not _DIGITS.issuperset(digits):
        raise FramingError(400, "Bad Content-Length", "Content-Length", readable_request(head))
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) < 10 else 10**10


def readable_request(head: bytes) -> Request | None:
    """The request a head belongs to, if it can be answered."""
    try:
        message = parse_message(head)
    except SipError as error:
        return error.message
    return message if isinstance(message, Request) and message.method != "ACK" else None
