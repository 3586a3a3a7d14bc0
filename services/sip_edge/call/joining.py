"""Replaces (RFC 3891): a dialog takes the place of one of our legs, and talks to whom that leg talked to.

    INVITE with Replaces          a new dialog of this call, answered at once when its codec and the peer's agree
    REFER with Replaces           a dialog lent by another call (transfer.py there), which this call shows its own media
                                  in a re-INVITE; only when the party takes it does the dialog belong to this call

Either way the leg that was replaced gets a BYE, and the peer keeps its dialog, its media ports and, if a hold or a
codec does not demand it, does not notice (docs/adr/0005-joined-calls.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from services.core.address import Family
from services.core.events.catalogue import LegAnswered, LegEnded, LegJoined, LegReplaced, LegsBridged
from services.core.sip.message import make_response
from services.core.sip.transaction import ServerKey
from services.sip_edge.call import causes
from services.sip_edge.call.descriptions import narrowed, voice_codecs
from services.sip_edge.call.effects import Answer, JoinOver, Offer, Respond, StopPlaying
from services.sip_edge.call.party import IncomingInvite, Joined, JoinRequest, MediaFailed
from services.sip_edge.call.reoffer import Refusal
from services.sip_edge.call.state import LegPhase

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess


@dataclass(slots=True)
class _Newcomer:
    """Who comes by INVITE, until it is answered."""

    leg: str
    replaced: str
    invite: IncomingInvite
    local_tag: str
    sdp: bytes
    over: bool = False


class Joining:
    """Takes dialogs into the call."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call
        self._newcomers: dict[ServerKey, _Newcomer] = {}

    def _refusal(self, replaced: str, *, early_only: bool) -> int:
        """Why nobody may take this leg's place now; 0 when somebody may (RFC 3891 section 3)."""
        call = self._call
        leg = call.state.legs.get(replaced)
        if leg is None:
            return 481
        if leg.phase is LegPhase.ENDED:
            return 603
        if leg.phase is not LegPhase.ANSWERED:
            return 481  # an early dialog may only be replaced where it began, at its caller's
        if early_only:
            return 486
        if not leg.peer:
            return 488  # an application talks to it, and has no place to give
        if call.renegotiation.is_busy(replaced) or call.renegotiation.is_busy(leg.peer) or call.awaits_ack(leg.peer):
            return 491
        return 0

    # --- INVITE with Replaces ------------------------------------------------------------------------------------

    def invited(self, invite: IncomingInvite, replaced: str, *, early_only: bool) -> None:
        """An INVITE that names `replaced` came, from somebody who may do so."""
        call, request = self._call, invite.request
        tag = call.surroundings.new_tag()
        status = self._refusal(replaced, early_only=early_only)
        sdp = narrowed(request.body, invite.codecs) if request.body and not status else None
        if status or sdp is None:
            call.effect(Respond(invite.key, make_response(request, status or 488, to_tag=tag)))
            return
        newcomer = _Newcomer(call.next_leg(), replaced, invite, tag, sdp)
        self._newcomers[invite.key] = newcomer
        dialog = call.dialogs.caller(invite, tag, leg=newcomer.leg)
        call.emit(
            LegJoined(
                leg=newcomer.leg,
                replaces=replaced,
                linkedid=call.state.linkedid,
                phone=invite.phone,
                channel=invite.channel,
                family=invite.flow.remote.family.value,
                transport=invite.flow.transport,
                source=str(invite.flow.remote),
                local=str(invite.flow.local),
                flow_id=invite.flow.id,
                sip_call_id=request.call_id,
                local_uri=dialog.local_uri,
                remote_uri=dialog.remote_uri,
                local_tag=tag,
                remote_tag=dialog.remote_tag,
                remote_target=dialog.remote_target,
                route_set=dialog.route_set,
                remote_cseq=request.cseq.number,
                sdp=request.body,
            )
        )
        call.effect(Respond(invite.key, make_response(request, 100)))
        self._connect(newcomer)

    def _connect(self, newcomer: _Newcomer) -> None:
        """Speak the peer's codec if the newcomer can; else ask the peer for another one first."""
        call, new = self._call, newcomer.leg
        peer = call.state.leg(newcomer.replaced).peer
        theirs = call.reoffers.active(peer)
        spoken = voice_codecs(theirs)[:1]
        common = narrowed(newcomer.sdp, spoken)
        answer = narrowed(theirs, spoken)
        if common is None or answer is None or not call.reoffers.suits(peer, common):
            call.reoffers.offer(new, peer, partial(self._reoffered, newcomer), sdp=newcomer.sdp)
            return
        here, there = newcomer.invite.flow.remote.host, call.dialogs.flow(peer).remote.host

        def offered(result: Any) -> None:
            if isinstance(result, MediaFailed):
                self._refuse(newcomer, 503)
            else:
                call.media(Answer(new, peer, answer), then=partial(self._answered, newcomer))

        call.media(Offer(new, peer, common, Family(call.state.leg(peer).family), here, there), then=offered)

    def _reoffered(self, newcomer: _Newcomer, outcome: bytes | Refusal) -> None:
        if isinstance(outcome, Refusal):
            self._refuse(newcomer, outcome.status if outcome.status in (488, 491, 503) else 480)
        else:
            self._answered(newcomer, outcome)

    def _answered(self, newcomer: _Newcomer, result: Any) -> None:
        call, invite = self._call, newcomer.invite
        if newcomer.over:
            return
        if isinstance(result, MediaFailed):
            self._refuse(newcomer, 503)
            return
        status = self._late_refusal(newcomer.replaced)
        if status:
            self._refuse(newcomer, status)
            return
        del self._newcomers[invite.key]
        newcomer.over = True
        headers = (("Contact", call.dialogs.contact(newcomer.leg)), *call.dialogs.capabilities())
        response = make_response(invite.request, 200, to_tag=newcomer.local_tag, headers=headers)
        call.dialogs.describe(newcomer.leg, response, result)
        call.expect_ack(newcomer.leg, invite.key, lambda _ack: None)
        call.effect(Respond(invite.key, response))
        self._replace(newcomer.replaced, newcomer.leg)

    def _late_refusal(self, replaced: str) -> int:
        """Did the leg, or the call, end while its place was being taken?"""
        leg = self._call.state.leg(replaced)
        gone = self._call.state.ended or leg.phase is not LegPhase.ANSWERED or not leg.peer
        return 481 if gone else 0

    def _refuse(self, newcomer: _Newcomer, status: int, *, by: str = "local") -> None:
        call = self._call
        if newcomer.over:
            return
        newcomer.over = True
        self._newcomers.pop(newcomer.invite.key, None)
        response = make_response(newcomer.invite.request, status, to_tag=newcomer.local_tag)
        call.effect(Respond(newcomer.invite.key, response))
        self._turned_away(newcomer.leg, status, by=by)

    def _turned_away(self, leg: str, status: int, *, by: str) -> None:
        call = self._call
        cause = causes.cause_of_status(status)
        call.emit(LegEnded(leg=leg, status=status, reason="not joined", cause=cause, by=by))
        call.ending.release_media(leg)

    def cancelled(self, key: ServerKey) -> bool:
        """The CANCEL of a newcomer's INVITE. False when `key` is no newcomer's."""
        newcomer = self._newcomers.get(key)
        if newcomer is None:
            return False
        self._refuse(newcomer, 487, by="remote")
        return True

    def call_over(self) -> None:
        """The call ends: nobody can join it any more."""
        for newcomer in list(self._newcomers.values()):
            self._refuse(newcomer, 481)

    # --- a dialog of another call --------------------------------------------------------------------------------

    def lent(self, request: JoinRequest) -> None:
        """Another call's party shall take the place of a leg of ours."""
        call = self._call
        status = self._refusal(request.replaced, early_only=request.early_only)
        if status:
            call.effect(JoinOver(request, Joined(status=status, call_id=call.state.call_id)))
            return
        leg = request.leg
        new = call.next_leg()
        call.dialogs.borrow(new, request.path)
        call.emit(
            LegJoined(
                leg=new,
                replaces=request.replaced,
                linkedid=request.linkedid,
                from_call=request.from_call,
                phone=leg.phone,
                channel=leg.channel,
                family=leg.family,
                transport=leg.transport,
                source=leg.remote,
                local=leg.local,
                flow_id=leg.flow_id,
                sip_call_id=leg.sip_call_id,
                local_uri=leg.local_uri,
                remote_uri=leg.remote_uri,
                local_tag=leg.local_tag,
                remote_tag=leg.remote_tag,
                remote_target=leg.remote_target,
                route_set=leg.route_set,
                local_cseq=leg.local_cseq,
                remote_cseq=leg.remote_cseq,
                sdp=leg.remote_sdp,
            )
        )
        peer = call.state.leg(request.replaced).peer
        call.reoffers.offer(peer, new, partial(self._taken, request, new))

    def _taken(self, request: JoinRequest, new: str, outcome: bytes | Refusal) -> None:
        """The lent party took the offer, or did not."""
        call = self._call
        status, offered = 200, True
        if isinstance(outcome, Refusal):
            status, offered = outcome.status, outcome.accepted
        elif call.dialogs.is_over(new):
            status = 487
        else:
            status = self._late_refusal(request.replaced) or 200
        joined = Joined(status=status, call_id=call.state.call_id, leg=new, offered=offered)
        if status != 200:
            self._turned_away(new, status, by="remote")
        call.effect(JoinOver(request, joined))
        if status == 200:
            self._replace(request.replaced, new)

    # --- both ----------------------------------------------------------------------------------------------------

    def _replace(self, replaced: str, new: str) -> None:
        """The newcomer is in: everybody who knew the old leg knows it now."""
        call = self._call
        old, leg = call.state.leg(replaced), call.state.leg(new)
        call.emit(
            LegAnswered(
                leg=new,
                remote_tag=leg.remote_tag,
                remote_target=leg.remote_target,
                route_set=leg.route_set,
                sdp=leg.remote_sdp,
            )
        )
        call.emit(LegReplaced(leg=replaced, by=new))
        if call.state.served == new:
            call.caller.serve(new)
        elif call.applications.dial is not None:
            call.applications.dial.replaced(replaced, new)
        served = call.state.served
        call.emit(LegsBridged(leg=served, peer=call.state.leg(served).peer))
        if old.held:
            call.media(StopPlaying(old.peer))
        call.ending.say_bye(replaced, reason="replaced")
        call.ending.release_media(replaced)
        call.reoffers.refresh(old.peer, new)
