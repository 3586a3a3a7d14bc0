"""Re-INVITEs: hold, resume, another address, another codec (RFC 3261 section 14, RFC 3264 section 8).

A party's offer goes on to the other party as an offer of ours, and its answer comes back the same way; so whatever one
side may ask, the other side decides, and the media worker learns both. A party without a peer (an application speaks
to it) is answered by us. Somebody put on hold hears music.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from services.core.address import Family
from services.core.events.catalogue import LegHeld, LegRenegotiated, LegResumed
from services.core.sdp import Direction, SdpError, direction
from services.core.sip.errors import SipError
from services.core.sip.message import Request, Response, make_response
from services.core.sip.transaction import ServerKey
from services.sip_edge.call import causes
from services.sip_edge.call.caller import APPLICATION
from services.sip_edge.call.descriptions import application_answer, application_offer
from services.sip_edge.call.effects import Answer, Offer, Play, Respond, SendAck, StopPlaying
from services.sip_edge.call.party import MediaFailed
from services.sip_edge.call.state import LegPhase

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess


@dataclass(slots=True)
class _Exchange:
    """One re-INVITE on its way through us."""

    leg: str
    peer: str
    key: ServerKey
    request: Request
    outgoing: Request | None = None
    """Our re-INVITE toward the peer."""
    ack: Request | None = None
    finished: bool = False

    @property
    def late(self) -> bool:
        return not self.request.body


class Renegotiation:
    """The one exchange a leg may be in at a time, as the asking or the asked side."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call
        self._asking: dict[str, _Exchange] = {}
        self._asked: dict[str, _Exchange] = {}
        self._occupied: set[str] = set()
        """Legs we have a re-INVITE of our own for."""

    def is_busy(self, leg: str) -> bool:
        """Is an exchange with this leg under way?"""
        return leg in self._asking or leg in self._asked or leg in self._occupied

    def occupy(self, leg: str) -> None:
        """Somebody else of this call is about to ask the leg: its own offers cross, and get 491."""
        self._occupied.add(leg)

    def leave(self, leg: str) -> None:
        self._occupied.discard(leg)

    # --- the offer ---------------------------------------------------------------------------------------------

    def offered(self, leg: str, key: ServerKey, request: Request) -> None:
        """A re-INVITE of `leg` came."""
        call = self._call
        state = call.state.leg(leg)
        if state.phase is not LegPhase.ANSWERED:
            self._refuse(key, request, 481)
        elif leg in self._asked or leg in self._occupied or state.peer in self._occupied:
            self._refuse(key, request, 491)
        elif leg in self._asking or call.awaits_ack(leg) or (state.peer and call.awaits_ack(state.peer)):
            # RFC 3261 section 14.2: another INVITE is not through yet
            self._refuse(key, request, 500, retry_after_s=2)
        elif request.body and not self._readable(request):
            self._refuse(key, request, 488)
        else:
            exchange = _Exchange(leg, state.peer or APPLICATION, key, request)
            self._asking[leg] = exchange
            call.effect(Respond(key, make_response(request, 100)))
            if exchange.peer == APPLICATION:
                self._answer_ourselves(exchange)
            else:
                self._pass_on(exchange)

    def _readable(self, request: Request) -> bool:
        try:
            direction(request.body)
        except SdpError:
            return False
        return True

    def _refuse(self, key: ServerKey, request: Request, status: int, *, retry_after_s: int = 0) -> None:
        headers = (("Retry-After", str(retry_after_s)),) if retry_after_s else ()
        self._call.effect(Respond(key, make_response(request, status, headers=headers)))

    # --- toward the peer ---------------------------------------------------------------------------------------

    def _pass_on(self, exchange: _Exchange) -> None:
        self._asked[exchange.peer] = exchange
        if exchange.late:
            self._reinvite(exchange, b"")
            return
        peer = self._call.state.leg(exchange.peer)
        self._call.media(
            Offer(
                exchange.leg, exchange.peer, exchange.request.body, Family(peer.family),
                self._host(exchange.leg), self._host(exchange.peer),
            ),
            then=partial(self._offer_ready, exchange),
        )  # fmt: skip

    def _offer_ready(self, exchange: _Exchange, result: Any) -> None:
        if exchange.finished:
            return
        if isinstance(result, MediaFailed):
            self._fail(exchange, 500, result.reason)
        else:
            self._reinvite(exchange, result)

    def _reinvite(self, exchange: _Exchange, sdp: bytes) -> None:
        call = self._call
        exchange.outgoing = call.dialogs.next_request(exchange.peer, "INVITE", sdp=sdp)
        call.request(
            exchange.outgoing,
            call.dialogs.flow(exchange.peer),
            on_response=partial(self._response, exchange),
            on_failure=lambda reason: self._fail(exchange, 408, reason),
        )

    def _response(self, exchange: _Exchange, response: Response) -> None:
        call = self._call
        if response.status < 200:
            return
        if exchange.ack is not None:
            call.effect(SendAck(exchange.ack, call.dialogs.flow(exchange.peer)))
            return
        if response.status >= 300:
            self._fail(exchange, response.status, response.reason)
            return
        assert exchange.outgoing is not None
        try:
            call.dialogs.refreshed(exchange.peer, response)
        except SipError as error:
            self._acknowledge(exchange)
            self._fail(exchange, 500, error.reason)
            return
        if not response.body:
            self._acknowledge(exchange)
            self._fail(exchange, 500, "a 2xx without a session description")
        elif exchange.late:
            self._offer_back(exchange, response.body)
        else:
            self._acknowledge(exchange)
            call.media(
                Answer(exchange.leg, exchange.peer, response.body),
                then=partial(self._answer_ready, exchange, response.body),
            )

    def _acknowledge(self, exchange: _Exchange, sdp: bytes = b"") -> None:
        call = self._call
        assert exchange.outgoing is not None
        exchange.ack = call.dialogs.ack(exchange.peer, exchange.outgoing.cseq.number, sdp=sdp)
        call.effect(SendAck(exchange.ack, call.dialogs.flow(exchange.peer)))

    # --- back to the asking party ------------------------------------------------------------------------------

    def _answer_ready(self, exchange: _Exchange, answer: bytes, result: Any) -> None:
        if exchange.finished:
            return
        if isinstance(result, MediaFailed):
            self._fail(exchange, 500, result.reason)
            return
        self._in_force(exchange, exchange.request.body, answer)
        self._accept(exchange, result)
        self._done(exchange)

    def _offer_back(self, exchange: _Exchange, offer: bytes) -> None:
        """Late offer: the peer's offer becomes ours; the answer comes in the ACK and goes on in ours."""
        call = self._call
        family = Family(call.state.leg(exchange.leg).family)

        def shown(result: Any) -> None:
            if exchange.finished:
                return
            if isinstance(result, MediaFailed):
                self._acknowledge(exchange)
                self._fail(exchange, 500, result.reason)
            else:
                self._accept(exchange, result, then=acknowledged)

        def acknowledged(ack: Request) -> None:
            if not ack.body:
                self._acknowledge(exchange)
                self._done(exchange)
                call.ending.hang_up_all(reason="no answer in the ACK", cause=causes.BEARER_NOT_AVAILABLE)
                return
            call.media(Answer(exchange.peer, exchange.leg, ack.body), then=lambda result: settled(ack.body, result))

        def settled(answer: bytes, result: Any) -> None:
            if exchange.finished:
                return
            self._acknowledge(exchange, b"" if isinstance(result, MediaFailed) else result)
            self._in_force(exchange, answer, offer)
            self._done(exchange)

        source = self._host(exchange.peer)
        call.media(Offer(exchange.peer, exchange.leg, offer, family, source, self._host(exchange.leg)), then=shown)

    def _accept(self, exchange: _Exchange, sdp: bytes, then: Any = None) -> None:
        call = self._call
        headers = (("Contact", call.dialogs.contact(exchange.leg)), *call.dialogs.capabilities())
        response = make_response(exchange.request, 200, headers=headers)
        call.dialogs.describe(exchange.leg, response, sdp)
        call.expect_ack(exchange.leg, exchange.key, then if then is not None else lambda _ack: None)
        call.effect(Respond(exchange.key, response))

    def _in_force(self, exchange: _Exchange, description: bytes, peer_description: bytes) -> None:
        """Both sides agree: record it, and what it means for who hears whom."""
        call = self._call
        peer_answer = peer_description if exchange.peer != APPLICATION else b""
        call.emit(
            LegRenegotiated(
                leg=exchange.leg, offer=description, answer=peer_answer, **call.dialogs.numbers(exchange.leg)
            )
        )
        try:
            way = direction(description)
        except SdpError:
            return
        held = not way.receives
        if held == call.state.leg(exchange.leg).held:
            return
        if held:
            call.emit(LegHeld(leg=exchange.leg, direction=way.value))
        else:
            call.emit(LegResumed(leg=exchange.leg))
        if exchange.peer == APPLICATION:
            return
        if held and way is not Direction.INACTIVE:
            call.media(Play(exchange.peer, (call.settings.music(),), 0))
        else:
            call.media(StopPlaying(exchange.peer))

    def _fail(self, exchange: _Exchange, status: int, reason: str) -> None:
        """The peer, or the worker, said no: so do we; the session stays as it was (RFC 3261 section 14.1)."""
        if exchange.finished:
            return
        call = self._call
        self._done(exchange)
        self._refuse(exchange.key, exchange.request, status, retry_after_s=2 if status == 500 else 0)
        call.applications.warn(f"re-INVITE of leg {exchange.leg} failed: {status} {reason}")
        before = call.state.leg(exchange.leg)
        if status in (408, 481):
            # RFC 3261 section 12.2.1.2: the peer's dialog is gone
            call.ending.hang_up_all(reason="re-INVITE unanswered", cause=causes.RECOVERY_ON_TIMER)
        elif before.remote_sdp and exchange.peer != APPLICATION and not exchange.late:
            peer = call.state.leg(exchange.peer)
            source = self._host(exchange.leg)
            call.media(Offer(exchange.leg, exchange.peer, before.remote_sdp, Family(peer.family), source, ""))
            call.media(Answer(exchange.leg, exchange.peer, peer.remote_sdp))

    def _done(self, exchange: _Exchange) -> None:
        exchange.finished = True
        if self._asking.get(exchange.leg) is exchange:
            del self._asking[exchange.leg]
        if self._asked.get(exchange.peer) is exchange:
            del self._asked[exchange.peer]

    def leg_over(self, leg: str) -> None:
        """A leg ended: whatever it was asked, or asks, comes to nothing."""
        self._call.dialogs.leg_over(leg)
        for exchange in (self._asking.get(leg), self._asked.get(leg)):
            if exchange is None or exchange.finished:
                continue
            self._done(exchange)
            if not self._call.awaits_ack(exchange.leg):
                self._refuse(exchange.key, exchange.request, 487)

    # --- a party without a peer ---------------------------------------------------------------------------------

    def _answer_ourselves(self, exchange: _Exchange) -> None:
        """An application is at the other end: the codec in use stays, the direction is the party's mirrored."""
        call = self._call
        codecs = call.caller.codecs_in_use
        if exchange.late:
            self._offer_ourselves(exchange, codecs)
            return
        answer = application_answer(exchange.request.body, codecs, call.state.call_id)
        if answer is None:
            self._fail(exchange, 488, "no common codec")
            return

        def offered(result: Any) -> None:
            if isinstance(result, MediaFailed):
                self._fail(exchange, 500, result.reason)
            else:
                call.media(Answer(exchange.leg, APPLICATION, answer), then=partial(self._answer_ready, exchange, b""))

        family = Family(call.state.leg(exchange.leg).family)
        call.media(
            Offer(exchange.leg, APPLICATION, exchange.request.body, family, self._host(exchange.leg), ""), then=offered
        )

    def _offer_ourselves(self, exchange: _Exchange, codecs: tuple[str, ...]) -> None:
        call = self._call
        family = Family(call.state.leg(exchange.leg).family)
        sdp = application_offer(codecs, family, call.state.call_id)

        def shown(result: Any) -> None:
            if isinstance(result, MediaFailed):
                self._fail(exchange, 500, result.reason)
            else:
                self._accept(exchange, result, then=acknowledged)

        def acknowledged(ack: Request) -> None:
            if ack.body:
                call.media(Answer(APPLICATION, exchange.leg, ack.body))
                self._in_force(exchange, ack.body, b"")
            self._done(exchange)

        call.media(Offer(APPLICATION, exchange.leg, sdp, family, "", self._host(exchange.leg)), then=shown)

    def _host(self, leg: str) -> str:
        return self._call.dialogs.flow(leg).remote.host
