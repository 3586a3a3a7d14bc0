"""The application Dial: ring every place a list of targets leads to, bridge the first that answers.

Each contact is a leg of its own with its own INVITE, session description and media port. The first 2xx wins; the
others get CANCEL, and a 2xx that crosses with it is acknowledged and hung up (RFC 3261 section 13.2.2.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from services.core.events.catalogue import (
    DialEnded,
    LegAnswered,
    LegEnded,
    LegInvited,
    LegProgressed,
    LegRinging,
    LegsBridged,
)
from services.core.sip.errors import SipError
from services.core.sip.message import Request, Response
from services.dialplan import api
from services.sip_edge.call import causes
from services.sip_edge.call.caller import APPLICATION
from services.sip_edge.call.effects import (
    Answer,
    CancelRequest,
    DeleteMedia,
    Offer,
    Play,
    SendAck,
    StopPlaying,
)
from services.sip_edge.call.party import Destination, MediaFailed, NotLocated
from services.sip_edge.call.state import LegPhase

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess

_TIMER = "dial"
_RANK = ("BUSY", "CONGESTION", "NOANSWER", "CHANUNAVAIL")
"""Which of the callees' outcomes is the Dial's when nobody answered."""


@dataclass(slots=True)
class _Branch:
    """One INVITE of the Dial."""

    leg: str
    target: str
    destination: Destination
    offerer: str
    """Who stands behind the offer: the caller, or the application (late offer)."""
    token: int = 0
    invite: Request | None = None
    early_sdp: bytes = b""
    ack: Request | None = None
    """The ACK of its 2xx, for when that comes again."""
    over: bool = False


class Dial:
    """One run of Dial; `then` gets its `Dialled` once."""

    def __init__(self, call: CallProcess, action: api.Dial, *, then: Callable[[api.Dialled], None]) -> None:
        self._call = call
        self._action = action
        self._then: Callable[[api.Dialled], None] | None = then
        self._branches: dict[str, _Branch] = {}
        self._locating = 0
        self._outcomes: list[tuple[str, int]] = []
        self._winner: _Branch | None = None
        self._tone = False
        self._started_s = call.surroundings.unix_s()
        self._answered_s = 0.0

    # --- inviting ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        call, action = self._call, self._action
        self._locating = len(action.targets)
        timeout_s = call.settings.max_ring_s if action.timeout_s is None else action.timeout_s
        call.timer(_TIMER, timeout_s, self._timed_out)
        if action.ringing:
            call.caller.ring()
        if action.music_class is not None:
            call.caller.connect_application(self._play_music)
        for target in action.targets:
            call.locate(target, partial(self._located, target))
        self._finish_if_nobody_is_left()

    def _play_music(self, ok: bool) -> None:
        if ok and self._then is not None and self._winner is None:
            self._call.caller.progress()
            self._play_tone(self._call.settings.music(self._action.music_class or ""))

    def _play_tone(self, name: str) -> None:
        if not self._tone:
            self._tone = True
            self._call.media(Play(self._call.state.served, (name,), 0))

    def _located(self, target: str, found: tuple[Destination, ...] | NotLocated) -> None:
        self._locating -= 1
        if isinstance(found, NotLocated):
            self._call.applications.warn(f"Dial {target}: {found.reason}")
            self._outcomes.append(("CHANUNAVAIL", found.cause))
        elif self._then is not None and self._winner is None:
            for destination in found:
                self._offer(target, destination)
        self._finish_if_nobody_is_left()

    def _offer(self, target: str, destination: Destination) -> None:
        call = self._call
        offer = call.caller.offer_for(destination.codecs)
        if offer is None:
            call.applications.warn(f"Dial {target}: caller and callee have no codec in common")
            self._outcomes.append(("CHANUNAVAIL", causes.BEARER_NOT_AVAILABLE))
            return
        offerer, sdp = offer
        branch = _Branch(call.next_leg(), target, destination, offerer)
        self._branches[branch.leg] = branch
        call.media(
            Offer(offerer, branch.leg, sdp, destination.family, "", destination.flow.remote.host),
            then=partial(self._invite, branch),
        )

    def _invite(self, branch: _Branch, result: Any) -> None:
        call, destination = self._call, branch.destination
        if branch.over:
            call.media(DeleteMedia(branch.leg))
            return
        if isinstance(result, MediaFailed):
            call.applications.warn(f"Dial {branch.target}: {result.reason}")
            self._branch_over(branch, "CONGESTION", causes.CONGESTION)
            return
        request = call.dialogs.invite(
            branch.leg,
            destination,
            name=self._action.caller_name,
            number=self._action.caller_number,
            sdp=result,
            max_forwards=call.caller.invite.request.max_forwards,
        )
        branch.invite = request
        call.emit(
            LegInvited(
                leg=branch.leg,
                target=branch.target,
                phone=destination.phone,
                channel=destination.channel,
                uri=destination.uri,
                family=destination.family.value,
                transport=destination.flow.transport,
                destination=str(destination.flow.remote),
                local=str(destination.flow.local),
                flow_id=destination.flow.id,
                sip_call_id=request.call_id,
                local_uri=str(request.from_.with_tag(None)),
                remote_uri=f"<{destination.uri}>",
                local_tag=request.from_tag or "",
                local_cseq=request.cseq.number,
                route_set=destination.route_set,
            )
        )
        branch.token = call.request(
            request,
            destination.flow,
            on_response=partial(self._response, branch),
            on_failure=partial(self._failed, branch),
        )

    # --- responses ---------------------------------------------------------------------------------------------

    def _response(self, branch: _Branch, response: Response) -> None:
        if response.status >= 300:
            self._refused(branch, response)
        elif response.status >= 200:
            self._answered(branch, response)
        elif response.status > 100 and not branch.over and self._winner is None:
            self._provisional(branch, response)

    def _provisional(self, branch: _Branch, response: Response) -> None:
        call = self._call
        if response.body and response.content_type == "application/sdp" and branch.offerer == call.state.served:
            first, branch.early_sdp = not branch.early_sdp, response.body
            call.emit(LegProgressed(leg=branch.leg, status=response.status, sdp=response.body))
            if first and not self._action.ringing:
                call.media(Answer(call.state.served, branch.leg, response.body), then=partial(self._early, branch))
            return
        if call.state.leg(branch.leg).phase is LegPhase.INVITED:
            call.emit(LegRinging(leg=branch.leg, status=response.status))
        if response.status == 180:
            call.transfers.progressed(180)
            call.caller.ring()
            if call.state.answered and self._action.music_class is None:
                self._play_tone(call.settings.ringback)

    def _early(self, branch: _Branch, result: Any) -> None:
        if isinstance(result, MediaFailed) or branch.over or self._winner is not None:
            return
        self._call.caller.settle(result)
        self._stop_tone()
        self._call.caller.progress()

    def _answered(self, branch: _Branch, response: Response) -> None:
        call = self._call
        assert branch.invite is not None
        if branch.ack is not None:
            self._answered_again(branch, branch.ack, response)
            return
        try:
            dialog = call.dialogs.confirmed(branch.leg, response)
        except SipError as error:
            call.applications.warn(f"Dial {branch.target}: unusable 2xx: {error.reason}")
            self._branch_over(branch, "CONGESTION", causes.INTERWORKING)
            return
        sdp = response.body or branch.early_sdp
        branch.ack = call.dialogs.ack(branch.leg, branch.invite.cseq.number)
        call.emit(
            LegAnswered(
                leg=branch.leg,
                remote_tag=dialog.remote_tag,
                remote_target=dialog.remote_target,
                route_set=dialog.route_set,
                sdp=sdp,
            )
        )
        call.effect(SendAck(branch.ack, call.dialogs.flow(branch.leg)))
        if branch.over or self._winner is not None or self._then is None:
            call.ending.say_bye(branch.leg, reason="answered elsewhere")
            return
        self._winner = branch
        self._answered_s = call.surroundings.unix_s()
        call.stop_timer(_TIMER)
        self._cancel_others(branch)
        if not sdp:
            self._no_session(branch, "the answer has no session description")
            return
        call.media(Answer(branch.offerer, branch.leg, sdp), then=partial(self._connected, branch, sdp))

    def _answered_again(self, branch: _Branch, ack: Request, response: Response) -> None:
        """A copy of the 2xx wants its ACK again; the 2xx of another fork is one too many."""
        call, flow = self._call, self._call.dialogs.flow(branch.leg)
        if response.to_tag == ack.to_tag:
            call.effect(SendAck(ack, flow))
            return
        try:
            ack, bye = call.dialogs.hang_up_fork(branch.leg, response)
        except SipError:
            return
        call.effect(SendAck(ack, flow))
        call.request(bye, flow)

    def _connected(self, branch: _Branch, sdp: bytes, result: Any) -> None:
        call = self._call
        if branch.over:
            return
        if isinstance(result, MediaFailed):
            self._no_session(branch, result.reason)
            return
        self._stop_tone()
        if branch.offerer == APPLICATION:
            call.caller.offer_from(branch.leg, sdp, partial(self._bridge, branch))
            return
        call.caller.settle(result)
        self._bridge(branch, True)

    def _bridge(self, branch: _Branch, ok: bool) -> None:
        call = self._call
        if branch.over:
            return
        if not ok:
            self._no_session(branch, "no media toward the caller")
            return
        call.emit(LegsBridged(leg=call.state.served, peer=branch.leg))
        if not call.state.answered:
            call.caller.answer()
        else:
            call.reoffers.refresh(call.state.served, branch.leg)
        call.transfers.succeeded()

    def _no_session(self, branch: _Branch, reason: str) -> None:
        self._call.applications.warn(f"Dial {branch.target}: {reason}")
        self._call.ending.say_bye(branch.leg, reason=reason, cause=causes.BEARER_NOT_AVAILABLE)
        self._branch_over(branch, "CONGESTION", causes.BEARER_NOT_AVAILABLE)
        self._finish(api.Dialled("CONGESTION", cause=causes.BEARER_NOT_AVAILABLE))

    def _refused(self, branch: _Branch, response: Response) -> None:
        self._leg_over(branch, response.status, response.reason)

    def _failed(self, branch: _Branch, reason: str) -> None:
        if reason == "timeout":
            self._leg_over(branch, 408, "Request Timeout", status="CHANUNAVAIL")
        else:
            self._leg_over(branch, 503, f"Transport failed: {reason}", status="CHANUNAVAIL")

    def _leg_over(self, branch: _Branch, code: int, reason: str, *, status: str = "") -> None:
        """A branch ended without a dialog."""
        cause = causes.cause_of_status(code)
        if self._call.state.leg(branch.leg).phase not in (LegPhase.ENDED, LegPhase.ANSWERED):
            self._call.emit(LegEnded(leg=branch.leg, status=code, reason=reason, cause=cause, by="remote"))
        self._branch_over(branch, status or causes.dial_status_of(code), cause)

    def _branch_over(self, branch: _Branch, status: str, cause: int) -> None:
        if not branch.over:
            branch.over = True
            self._outcomes.append((status, cause))
            self._call.ending.release_media(branch.leg)
        self._finish_if_nobody_is_left()

    # --- the end -----------------------------------------------------------------------------------------------

    def _timed_out(self) -> None:
        self._outcomes = [("NOANSWER", causes.NO_ANSWER)]
        self._cancel_others(None)
        self._finish(api.Dialled("NOANSWER", cause=causes.NO_ANSWER))

    def _cancel_others(self, winner: _Branch | None) -> None:
        """Stop every branch but one. A branch stays known until its INVITE has a final response."""
        call = self._call
        for branch in self._branches.values():
            if branch is winner or branch.over:
                continue
            branch.over = True
            if branch.token:
                call.effect(CancelRequest(branch.token))
                call.emit(LegEnded(leg=branch.leg, status=487, reason="Cancelled", cause=16, by="local"))
                call.ending.release_media(branch.leg)

    def abandon(self) -> api.Dialled | None:
        """The caller is gone, or another action takes over: cancel what rings, hang up what answered.

        Returns what the Dial came to; None if it was over already.
        """
        if self._then is None:
            return None
        self._then = None
        self._call.stop_timer(_TIMER)
        self._stop_tone()
        self._cancel_others(self._winner)
        outcome = api.Dialled("CANCEL")
        if self._winner is not None and not self._winner.over:
            self._winner.over = True
            self._call.ending.say_bye(self._winner.leg)
            outcome = self._conversation(self._winner)
        self._call.emit(DialEnded(status=outcome.status))
        return outcome

    def part(self) -> api.Dialled | None:
        """A transfer parts the two: the Dial is over and nobody hung up. Returns what it came to."""
        winner = self._winner
        if self._then is None or winner is None:
            return None
        self._then = None
        self._stop_tone()
        winner.over = True
        self._call.emit(DialEnded(status="ANSWER"))
        return self._conversation(winner)

    def replaced(self, leg: str, by: str) -> None:
        """Another leg talks to the caller in the place of the one that answered."""
        if self._winner is not None and self._winner.leg == leg:
            self._winner.leg = by

    def callee_hung_up(self, leg: str) -> bool:
        """A BYE of `leg` came. True if that was the bridged callee: the Dial is over with ANSWER."""
        winner = self._winner
        if winner is None or winner.leg != leg or winner.over:
            return False
        winner.over = True
        self._finish(self._conversation(winner))
        return True

    def _conversation(self, winner: _Branch) -> api.Dialled:
        """What a Dial that was answered comes to."""
        now_s = self._call.surroundings.unix_s()
        return api.Dialled(
            "ANSWER",
            cause=causes.NORMAL_CLEARING,
            answered_time_s=now_s - self._answered_s,
            dialed_time_s=now_s - self._started_s,
            peer=winner.destination.channel,
            peer_number=winner.target.partition("/")[2],
        )

    def _finish_if_nobody_is_left(self) -> None:
        if self._then is None or self._locating or self._winner is not None:
            return
        if any(not branch.over for branch in self._branches.values()):
            return
        for status in _RANK:
            for outcome, cause in self._outcomes:
                if outcome == status:
                    self._finish(api.Dialled(status, cause=cause))
                    return
        self._finish(api.Dialled("CHANUNAVAIL", cause=causes.SUBSCRIBER_ABSENT))

    def _finish(self, outcome: api.Dialled) -> None:
        then, self._then = self._then, None
        if then is None:
            return
        self._call.stop_timer(_TIMER)
        self._stop_tone()
        self._call.emit(DialEnded(status=outcome.status))
        then(outcome)

    def _stop_tone(self) -> None:
        if self._tone:
            self._tone = False
            self._call.media(StopPlaying(self._call.state.served))
