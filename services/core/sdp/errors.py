"""What is wrong with a session description, and what its sender should be told."""

from __future__ import annotations


class SdpError(Exception):
    """A session description that cannot be taken.

    `status` is the SIP status its sender should get: 400 when the text is not a session description, 488 when it is
    one that says something unacceptable (an address in brackets, an address of the other family, RFC 8866 5.7).
    `reason` is one readable line without the peer's bytes; `where` names the line, `c=` or `m=`.
    """

    __slots__ = ("reason", "status", "where")

    def __init__(self, status: int, reason: str, where: str = "") -> None:
        super().__init__(f"{where}: {reason}" if where else reason)
        self.status = status
        self.reason = reason
        self.where = where
