"""How a call ends: both sides are told, `h` runs, the media is accounted for, the call is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.core.events.catalogue import CallEnded, LegEnded, MediaReported
from services.core.sip.errors import SipError
from services.core.sip.message import Request, make_response
from services.core.sip.transaction import ServerKey
from services.media.api import MediaStats
from services.sip_edge.call import causes
from services.sip_edge.call.descriptions import voice_codec
from services.sip_edge.call.effects import DeleteMedia, Release, Respond
from services.sip_edge.call.party import MediaFailed
from services.sip_edge.call.state import CALLER, LegPhase

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess


class Ending:
    """The last part of a call's life."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call
        self._reason = ""
        """Why the call ends and who began it: the first word counts."""
        self._by = ""
        self._cause = 0
        self._bye_at_ack: dict[str, int] = {}
        self._accounted = False
        self._released = False

    # --- what parties do ---------------------------------------------------------------------------------------

    def bye_arrived(self, leg: str, key: ServerKey, request: Request) -> None:
        call = self._call
        call.effect(Respond(key, make_response(request, 200)))
        if call.state.leg(leg).phase is LegPhase.ENDED:
            return
        cause = _cause_of(request)
        partner = call.state.leg(leg).peer
        if leg == call.state.served or partner:
            self._begin("hang-up", leg, cause)
        call.emit(LegEnded(leg=leg, status=200, reason="BYE", cause=cause, by="remote"))
        call.forget_ack(leg)
        call.renegotiation.leg_over(leg)
        if leg == call.state.served:
            call.caller.refuse(487)  # a caller may also leave an early dialog by BYE (RFC 3261 section 15)
            self._caller_gone(cause)
            return
        dial = call.applications.dial
        if not (dial is not None and dial.callee_hung_up(leg)) and partner == call.state.served:
            self.hang_up_caller(cause)  # joined without a Dial that would go on
        if not call.state.ended:
            self.release_media(leg)

    def caller_cancelled(self) -> None:
        call = self._call
        if not call.caller.open:
            return
        call.caller.refuse(487)
        self._begin("caller cancelled", CALLER, causes.NORMAL_CLEARING)
        call.emit(LegEnded(leg=CALLER, status=487, reason="CANCEL", cause=causes.NORMAL_CLEARING, by="remote"))
        self._caller_gone(causes.NORMAL_CLEARING)

    # --- what we do --------------------------------------------------------------------------------------------

    def hang_up_caller(self, cause: int, *, reason: str = "hang-up") -> None:
        """The dialplan, or a failure, ends the caller's leg: a final response, or BYE."""
        call = self._call
        if call.state.ended:
            return
        self._begin(reason, "", cause)
        if call.caller.open:
            status = causes.status_of_cause(cause)
            call.caller.refuse(status)
            call.emit(LegEnded(leg=call.state.served, status=status, reason=reason, cause=cause, by="local"))
        else:
            self.say_bye(call.state.served, reason=reason, cause=cause)
        self._caller_gone(cause)

    def hang_up_all(self, *, reason: str, cause: int) -> None:
        """End the call on every leg, for a reason of ours."""
        self._begin(reason, "", cause)
        self.hang_up_caller(cause, reason=reason)

    def close_transferred(self, by: str) -> None:
        """The other party is in another call now: this one is over."""
        self._begin("transferred", by, causes.NORMAL_CLEARING)
        self._caller_gone(causes.NORMAL_CLEARING)

    def close_abandoned(self, reason: str) -> None:
        """Nothing is in flight any more, only dialogs are left: a BYE on each, and the records closed."""
        call, cause = self._call, causes.TEMPORARY_FAILURE
        answered = call.state.answered
        for name, leg in list(call.state.legs.items()):
            if leg.phase is LegPhase.ANSWERED and call.dialogs.known(name):
                self.say_bye(name, reason=reason, cause=cause)
            elif leg.phase is not LegPhase.ENDED:
                call.emit(LegEnded(leg=name, status=503, reason=reason, cause=cause, by="local"))
        disposition = causes.disposition_of(answered=answered, cause=cause)
        call.emit(CallEnded(disposition=disposition, cause=cause, reason=reason, by=""))
        call.media(DeleteMedia(), then=self._account)

    def say_bye(self, leg: str, *, reason: str = "hang-up", cause: int | None = None) -> None:
        """BYE to an answered leg; its cause is the call's unless it has its own.

        Before the ACK of our 2xx none may be sent (RFC 3261 section 15): then at the ACK.
        """
        call = self._call
        if cause is None:
            cause = self._cause or causes.NORMAL_CLEARING
        state = call.state.legs.get(leg)
        if state is None or state.phase is not LegPhase.ANSWERED:
            return
        call.emit(LegEnded(leg=leg, status=200, reason=reason, cause=cause, by="local"))
        call.renegotiation.leg_over(leg)
        if call.awaits_ack(leg):
            self._bye_at_ack[leg] = cause
        else:
            self._send_bye(leg, cause)

    def _send_bye(self, leg: str, cause: int) -> None:
        request = self._call.dialogs.next_request(leg, "BYE")
        request.add("Reason", f"Q.850;cause={cause}")
        self._call.request(request, self._call.dialogs.flow(leg))

    def acknowledged(self, leg: str) -> None:
        """The ACK of a 2xx came, or never will: a BYE that waited for it may go."""
        cause = self._bye_at_ack.pop(leg, None)
        if cause is not None:
            self._send_bye(leg, cause)

    # --- the end -----------------------------------------------------------------------------------------------

    def _begin(self, reason: str, by: str, cause: int) -> None:
        if not self._reason:
            self._reason, self._by, self._cause = reason, by, cause

    def _caller_gone(self, cause: int) -> None:
        """Nobody is left to route for: let `h` run, hang up the callees, close the books."""
        call = self._call
        call.transfers.party_gone()
        call.applications.hung_up(cause)
        for leg in list(call.state.legs):
            self.say_bye(leg, cause=cause)
        if call.state.ended:
            return
        call.joining.call_over()
        call.stop_timers()
        answered = call.caller.was_answered
        call.emit(
            CallEnded(
                disposition=causes.disposition_of(answered=answered, cause=self._cause),
                cause=self._cause,
                reason=self._reason,
                by=self._by,
            )
        )
        call.media(DeleteMedia(), then=self._account)

    def release_media(self, leg: str) -> None:
        """A callee's leg is over while the call goes on."""
        if not self._call.state.ended:
            self._call.media(DeleteMedia(leg), then=self._report)

    def _account(self, result: Any) -> None:
        self._report(result)
        self._accounted = True

    def _report(self, result: Any) -> None:
        if isinstance(result, MediaFailed) or not isinstance(result, MediaStats):
            return
        call = self._call
        for party in result.parties:
            leg = call.state.legs.get(party.tag)
            if leg is None or leg.leg in call.state.reported or not (party.packets_received or party.packets_sent):
                continue
            call.emit(
                MediaReported(
                    leg=leg.leg,
                    family=party.family.value if party.family is not None else leg.family,
                    codec=party.codec or voice_codec(leg.remote_sdp),
                    packets_received=party.packets_received,
                    packets_sent=party.packets_sent,
                    bytes_received=party.bytes_received,
                    bytes_sent=party.bytes_sent,
                    packets_lost=party.packets_lost,
                    jitter_ms=party.jitter_ms,
                )
            )

    def release_when_idle(self) -> None:
        """Once the books are closed and nothing is in flight the shell may forget the call."""
        if self._accounted and not self._released and self._call.idle:
            self._released = True
            self._call.effect(Release())


def _cause_of(request: Request) -> int:
    """The Q.850 cause of a Reason header (RFC 3326); normal clearing without one that can be read."""
    try:
        values = request.get_all("Reason")
    except SipError:
        return causes.NORMAL_CLEARING
    for value in values:
        protocol, _, rest = value.partition(";")
        if protocol.strip().upper() != "Q.850":
            continue
        for parameter in rest.split(";"):
            name, _, text = parameter.partition("=")
            digits = text.strip()
            if name.strip().lower() == "cause" and digits.isascii() and digits.isdigit() and len(digits) <= 3:
                return int(digits)
    return causes.NORMAL_CLEARING
