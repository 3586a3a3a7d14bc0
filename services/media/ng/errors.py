"""What can be wrong with an ng message."""

from __future__ import annotations


class NgError(Exception):
    """Bytes that are no ng message, or a value that cannot be one.

    `cookie` is what was readable of it, so that an error can be answered; empty when nothing was.
    """

    def __init__(self, reason: str, cookie: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.cookie = cookie
