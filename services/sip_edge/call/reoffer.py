"""Re-INVITEs of our own: a party is shown another one's description, because it talks to that one from now on.

Nothing is sent where what the party was shown still holds: the media worker's address toward it stays whoever is at
the other end. What does not hold is a hold that the one before began, or a codec the new one does not speak.
RFC 3261 section 14.1; RFC 3725 section 7 for the flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from services.core.address import Family
from services.core.sdp import Direction, SdpError, direction
from services.core.sip.errors import SipError
from services.core.sip.message import Request, Response
from services.sip_edge.call.descriptions import resumed, voice_codec, voice_codecs
from services.sip_edge.call.effects import Answer, Offer, SendAck
from services.sip_edge.call.party import MediaFailed
from services.sip_edge.call.state import LegPhase

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess

_GLARE_S = 2.1
"""We own the Call-ID of a callee's dialog, so after a 491 we come again after 2.1 to 4 s (RFC 3261 section 14.1)."""
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """A party did not take the offer: the status it gave, or one of ours. `accepted`: it did, and we could not."""

    status: int
    accepted: bool = False


Then = Callable[[bytes | Refusal], None]
"""Gets the party's answer as the offering party is to be shown it, or why there is none."""


@dataclass(slots=True)
class _Exchange:
    source: str
    target: str
    sdp: bytes
    then: Then
    tries: int = 0
    request: Request | None = None
    ack: Request | None = None


class Reoffers:
    """The re-INVITEs we make for ourselves; one a leg at a time, and none while its party asks for something."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call

    def active(self, leg: str) -> bytes:
        """What a leg described itself as, without the traces of a hold its peer began."""
        state = self._call.state.leg(leg)
        return state.remote_sdp if state.held else resumed(state.remote_sdp)

    def suits(self, leg: str, peer_sdp: bytes) -> bool:
        """Does what `leg` was last shown hold for a peer that answers `peer_sdp`?"""
        shown = self._call.dialogs.described(leg)
        try:
            way = direction(shown)
            return way is Direction.SENDRECV and voice_codec(peer_sdp) in voice_codecs(shown)
        except SdpError:
            return False

    def refresh(self, leg: str, peer: str) -> None:
        """`leg` talks to `peer` now: tell it, if it has to know."""
        if not self.suits(leg, self._call.state.leg(peer).remote_sdp):
            self.offer(peer, leg, _ignore)

    def offer(self, source: str, target: str, then: Then, *, sdp: bytes = b"") -> None:
        """Show `target` what `source` described, or `sdp`, in a re-INVITE."""
        self._begin(_Exchange(source, target, sdp or self.active(source), then))

    def _begin(self, exchange: _Exchange) -> None:
        call, target = self._call, exchange.target
        if call.state.leg(target).phase is LegPhase.ENDED:
            exchange.then(Refusal(481))
            return
        if call.renegotiation.is_busy(target) or call.awaits_ack(target):
            self._again(exchange, 491)
            return
        call.renegotiation.occupy(target)
        family = Family(call.state.leg(target).family)
        call.media(
            Offer(exchange.source, target, exchange.sdp, family, self._host(exchange.source), self._host(target)),
            then=partial(self._send, exchange),
        )

    def _send(self, exchange: _Exchange, shown: Any) -> None:
        call, target = self._call, exchange.target
        if isinstance(shown, MediaFailed):
            self._refused(exchange, Refusal(503))
            return
        if call.state.leg(target).phase is LegPhase.ENDED:
            self._refused(exchange, Refusal(481))
            return
        exchange.request = call.dialogs.next_request(target, "INVITE", sdp=shown)
        call.request(
            exchange.request,
            call.dialogs.flow(target),
            on_response=partial(self._response, exchange),
            on_failure=lambda _reason: self._refused(exchange, Refusal(408)),
        )

    def _response(self, exchange: _Exchange, response: Response) -> None:
        call, target = self._call, exchange.target
        if response.status < 200:
            return
        if exchange.ack is not None:
            call.effect(SendAck(exchange.ack, call.dialogs.flow(target)))
            return
        if response.status == 491:
            call.renegotiation.leave(target)
            self._again(exchange, 491)
            return
        if response.status >= 300:
            self._refused(exchange, Refusal(response.status))
            return
        assert exchange.request is not None
        exchange.ack = call.dialogs.ack(target, exchange.request.cseq.number)
        call.effect(SendAck(exchange.ack, call.dialogs.flow(target)))
        try:
            call.dialogs.refreshed(target, response)
        except SipError:
            self._refused(exchange, Refusal(500, accepted=True))
            return
        if not response.body or call.state.ended or call.state.leg(target).phase is LegPhase.ENDED:
            self._refused(exchange, Refusal(481, accepted=True))
            return
        body = response.body
        call.media(Answer(exchange.source, target, body), then=lambda result: self._settled(exchange, body, result))

    def _settled(self, exchange: _Exchange, answer: bytes, result: Any) -> None:
        call, target = self._call, exchange.target
        if isinstance(result, MediaFailed):
            self._refused(exchange, Refusal(500, accepted=True))
            return
        call.renegotiation.leave(target)
        call.dialogs.remember_description(target, answer)
        if target == call.state.served:
            call.caller.shown(call.dialogs.described(target))
        exchange.then(result)

    def _refused(self, exchange: _Exchange, refusal: Refusal) -> None:
        self._call.renegotiation.leave(exchange.target)
        self._call.applications.warn(f"re-INVITE of leg {exchange.target} failed: {refusal.status}")
        exchange.then(refusal)

    def _again(self, exchange: _Exchange, status: int) -> None:
        """Two INVITEs crossed: come back in a moment."""
        exchange.tries += 1
        if exchange.tries >= _TRIES:
            exchange.then(Refusal(status))
        else:
            self._call.timer(f"reoffer {exchange.target}", _GLARE_S, lambda: self._begin(exchange))

    def _host(self, leg: str) -> str:
        return self._call.dialogs.flow(leg).remote.host


def _ignore(_outcome: bytes | Refusal) -> None:
    """The party keeps what it was shown last."""
