"""What an edge tells whoever watches: the default watches nothing, the composition counts metrics."""

from __future__ import annotations

from services.core.events.catalogue import Event
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response
from services.sip_edge.call.state import CallState


class Observer:
    """Hooks on the way of a message and a call. Must be quick and must not raise."""

    def received(self, message: Request | Response, flow: Flow) -> None:
        """A message came and could be read; retransmissions included."""

    def sending(self, data: bytes, flow: Flow) -> None:
        """Bytes of a transaction go out; retransmissions included."""

    def responding(self, response: Response) -> None:
        """A response of ours goes out for the first time."""

    def answered(self, method: str, seconds: float) -> None:
        """A request gets its final response, so long after it came. Strangers that are turned away are not told of."""

    def malformed(self, error: SipError, flow: Flow) -> None:
        """A message came that could not be read."""

    def rejected(self, request: Request, reason: str) -> None:
        """A request was turned away before anybody asked who sent it."""

    def dropped(self, reason: str) -> None:
        """A message was dropped without an answer: its source is banned or sends too much, or it is a scanner's."""

    def denied(self, request: Request, reason: str, detail: str) -> None:
        """Authentication or an access list said no (`missing` is the usual first challenge)."""

    def registered(self, aor: str, outcome: str) -> None:
        """A REGISTER was answered: `ok`, or why not."""

    def events(self, state: CallState, events: tuple[Event, ...]) -> None:
        """Facts of a call; `state` is the call after them."""
