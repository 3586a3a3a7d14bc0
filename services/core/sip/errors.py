"""What went wrong with a message, and what to tell the peer.

SipError            a message or a part of it that cannot be taken
  FramingError      a stream that cannot be cut into messages any more: answer, then close
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.core.sip.framing import Ping
    from services.core.sip.message import Request


class SipError(Exception):
    """A message the peer should not have sent.

    `status` and `reason` are the response to give (RFC 3261 21.4.1 wants the reason to name the fault), `where` is the
    part that failed: `start line`, `Request-URI`, `URI`, `message`, `header` or the name of a header read here, so the
    peer cannot make up new ones (counters may be labelled with it).

    `message` is set by `parse_message` when enough was readable to answer: the top Via and the CSeq header exist (what
    is missing of From, To and Call-ID is missing from the answer too, RFC 4475 3.3.1). Answer it without a transaction,
    by `make_response(error.message, error.status, error.reason)`, to the address it came from. It is None for
    responses and for ACK, which nobody answers.
    """

    def __init__(self, status: int, reason: str, where: str, message: Request | None = None) -> None:
        super().__init__(status, reason, where)
        self.status = status
        self.reason = reason
        self.where = where
        self.message = message

    def __str__(self) -> str:
        return f"{self.status} {self.reason} ({self.where})"


class FramingError(SipError):
    """The octets of a stream are no messages from here on (RFC 3261 18.3).

    `frames` are the messages that were complete before the fault in the same `feed`; handle them first.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        where: str,
        message: Request | None = None,
        frames: tuple[bytes | Ping, ...] = (),
    ) -> None:
        super().__init__(status, reason, where, message)
        self.frames = frames
