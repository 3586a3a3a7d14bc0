"""Where a party's packets come from and go to: symmetric RTP (RFC 4961) with latching. Pure.

After signalling the first packet heard decides; from then on only its source is listened to, and packets go back
there. Until something is heard packets go to the address the SDP announced. For `WINDOW_S` after the first packet a
source that the signalling vouches for better may take over, so that neither a stranger's packet nor one still on its
way from a party's former address can claim the stream. Only new signalling opens the latch again.
"""

from typing import Final

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""As the socket calls have it, per family."""

WINDOW_S: Final = 3.0


class Latch:
    """The far end of one port. `heard` and `to` are read on the relay's hot path; everything else is slow path."""

    __slots__ = ("_shun_until", "_shunned", "_signalled_from", "_window_ends", "announced", "heard", "to")

    def __init__(self) -> None:
        self.announced: SocketAddress | None = None
        """What the party's SDP last said, null addresses passed over."""
        self.heard: SocketAddress | None = None
        """The one source listened to."""
        self.to: SocketAddress | None = None
        """Where packets for the party go; None: nowhere."""
        self._signalled_from: str | None = None
        self._shunned: SocketAddress | None = None
        self._shun_until = 0.0
        self._window_ends = 0.0

    def announce(self, address: SocketAddress | None, signalled_from: str | None, now: float) -> None:
        """Take what new signalling says, and listen for the party anew.

        `address` is None when the SDP has no address to send to (hold by `0.0.0.0`, a `.invalid` name).
        `signalled_from` is the host the signalling came from, if known. A party that announces the address
        it had goes on being sent to where it was heard; one that moved is sent to the new address at once,
        and packets still coming from its former source pass but do not latch.
        """
        moved = address is not None and address != self.announced
        self._shunned = self.heard if moved and self.heard != address else None
        self._shun_until = now + WINDOW_S
        if moved or address is None or self.to is None:
            self.to = address
        if address is not None:
            self.announced = address
        self._signalled_from = signalled_from
        self.heard = None

    def admit(self, source: SocketAddress, now: float) -> bool:
        """Whether to take a valid packet from `source`, which is not `heard`; latches if it may."""
        if self.heard is None:
            if source == self._shunned and now < self._shun_until:
                return True
            self._window_ends = now + WINDOW_S
        elif now >= self._window_ends or self._trust(source) <= self._trust(self.heard):
            return False
        self.heard = self.to = source
        return True

    def _trust(self, source: SocketAddress) -> int:
        """How well the signalling vouches for a source: its very address, its host, where SIP came from, not at all."""
        if source == self.announced:
            return 3
        host = source[0].partition("%")[0]
        if self.announced is not None and host == self.announced[0]:
            return 2
        return 1 if host == self._signalled_from else 0
