"""REFER inside a call: a party hands the other one on (RFC 3515, RFC 7647, RFC 4488, RFC 5589).

    REFER, no Replaces    the other party runs through the dialplan at the new number, in the transferor's context;
                          the transferor waits until somebody has it, and gets it back if nobody will
    REFER with Replaces   the other party takes the transferor's place in another call of ours (RFC 3891)

The transferor is told by NOTIFY: 100, 180, and in the end 200 or why not; then it is hung up. Of the headers in the
Refer-To URI only Replaces counts (RFC 3261 section 19.1.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from services.core.address import Family
from services.core.events.catalogue import CallTransferred, LegMoved, LegsBridged, TransferEnded
from services.core.sip.errors import SipError
from services.core.sip.message import Request, Response, make_response
from services.core.sip.reasons import reason_phrase
from services.core.sip.replaces import Replaces
from services.core.sip.transaction import ServerKey
from services.core.sip.uri import NameAddr, SipUri
from services.sip_edge.call import causes
from services.sip_edge.call.effects import Answer, Echo, Offer, Play, Respond, StopPlaying
from services.sip_edge.call.party import Joined
from services.sip_edge.call.state import LegPhase

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess

_SIPFRAG = "message/sipfrag;version=2.0"
_EXPIRES_S = 180
_EXTENSIONS = frozenset({"replaces", "norefersub"})


@dataclass(slots=True)
class _Transfer:
    """One REFER under way, and its implicit subscription."""

    leg: str
    """The transferor."""
    party: str
    """Who is handed on."""
    event: str
    notifies: bool
    attended: bool
    told: int = 0


@dataclass(frozen=True, slots=True)
class _Target:
    uri: SipUri
    replaces: Replaces | None


class Transfers:
    """The transfer of a call; there is at most one at a time."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call
        self._pending: _Transfer | None = None
        self._referred: set[str] = set()
        """Legs that sent a REFER before: their next subscription needs an id (RFC 3515 section 2.4.6)."""

    # --- the request -------------------------------------------------------------------------------------------

    def refer_arrived(self, leg: str, key: ServerKey, request: Request) -> None:
        call = self._call
        try:
            target = _read_target(request)
            unsupported = [one for one in request.get_all("Require") if one.lower() not in _EXTENSIONS]
        except SipError as error:
            call.effect(Respond(key, make_response(request, error.status, error.reason)))
            return
        if unsupported:
            headers = (("Unsupported", ", ".join(unsupported)),)
            call.effect(Respond(key, make_response(request, 420, headers=headers)))
            return
        status = self._refusal(leg)
        if status:
            call.effect(Respond(key, make_response(request, status)))
            return
        quiet = (request.get("Refer-Sub") or "").strip().lower() == "false"
        event = f"refer;id={request.cseq.number}" if leg in self._referred else "refer"
        self._referred.add(leg)
        transfer = _Transfer(leg, call.state.leg(leg).peer, event, not quiet, target.replaces is not None)
        headers = (("Contact", call.dialogs.contact(leg)), *((("Refer-Sub", "false"),) if quiet else ()))
        call.effect(Respond(key, make_response(request, 202, headers=headers)))
        self._pending = transfer
        self._notify(transfer, 100)
        if target.replaces is None:
            self._blind(transfer, target.uri)
        else:
            self._attended(transfer, target.replaces)

    def _refusal(self, leg: str) -> int:
        """Why this leg may not transfer now; 0 when it may."""
        call, state = self._call, self._call.state.leg(leg)
        if state.phase is not LegPhase.ANSWERED:
            return 481
        if not call.surroundings.phone(state.phone).allow_transfer:
            return 403
        if not state.peer:
            return 603  # an application is at the other end, and cannot be handed on
        busy = call.renegotiation.is_busy(leg) or call.renegotiation.is_busy(state.peer)
        if self._pending is not None or busy or call.awaits_ack(leg) or call.awaits_ack(state.peer):
            return 491
        return 0

    # --- blind -------------------------------------------------------------------------------------------------

    def _blind(self, transfer: _Transfer, target: SipUri) -> None:
        call = self._call
        leg = call.state.leg(transfer.leg)
        context = call.surroundings.phone(leg.phone).context
        if transfer.leg == call.state.served:
            context = call.applications.variable("TRANSFER_CONTEXT") or context
        exten = target.user_unescaped
        if target.scheme == "tel":
            exten = "".join(character for character in exten if character not in "-.()")
        if not exten or not call.applications.can_enter(context, exten):
            self._end(transfer, 404)
            return
        call.applications.part()
        call.applications.forget()
        call.emit(
            CallTransferred(
                leg=transfer.leg,
                party=transfer.party,
                target=str(target),
                context=context,
                exten=exten,
            )
        )
        call.caller.serve(transfer.party)
        if leg.held:
            call.media(StopPlaying(transfer.party))
        variables = {"BLINDTRANSFER": leg.channel, "TRANSFERERNAME": leg.channel}

        def connected(ok: bool) -> None:
            if self._pending is not transfer or call.state.ended:
                return
            if ok:
                call.applications.enter(transfer.party, context, exten, variables)
            else:
                self.failed(causes.BEARER_NOT_AVAILABLE)

        call.caller.connect_application(connected, echo=Echo.OFF)

    def progressed(self, status: int) -> None:
        """A destination rings."""
        transfer = self._pending
        if transfer is not None and not transfer.attended and transfer.told < status < 200:
            self._notify(transfer, status)

    def succeeded(self) -> None:
        """Somebody else has the party: a destination answered, or an application did."""
        transfer = self._pending
        if transfer is not None and not transfer.attended:
            self._end(transfer, 200)

    def failed(self, cause: int) -> bool:
        """The dialplan has no more for the party. True when the transferor has it back, so that it need not be hung
        up."""
        transfer, call = self._pending, self._call
        if transfer is None or transfer.attended:
            return False
        self._end(transfer, causes.status_of_cause(cause))
        leg, party = call.state.leg(transfer.leg), call.state.leg(transfer.party)
        if leg.phase is not LegPhase.ANSWERED or party.phase is not LegPhase.ANSWERED:
            return False
        call.emit(LegsBridged(leg=party.leg, peer=leg.leg))
        here, there = (call.dialogs.flow(name).remote.host for name in (party.leg, leg.leg))
        call.media(Offer(party.leg, leg.leg, party.remote_sdp, Family(leg.family), here, there))
        call.media(Answer(party.leg, leg.leg, leg.remote_sdp))
        if leg.held:
            call.media(Play(party.leg, (call.settings.music(),), 0))
        return True

    # --- attended ----------------------------------------------------------------------------------------------

    def _attended(self, transfer: _Transfer, replaces: Replaces) -> None:
        """Lend the party's dialog to the other call; it is that call's once the party has taken its offer."""
        self._call.renegotiation.occupy(transfer.party)
        self._call.join(replaces, transfer.party, partial(self._joined, transfer))

    def _joined(self, transfer: _Transfer, outcome: Joined) -> None:
        call = self._call
        call.renegotiation.leave(transfer.party)
        if call.state.ended:
            return
        if outcome.status == 200:
            call.applications.part()
            if transfer.party == call.state.served:
                call.applications.forget()
            call.emit(LegMoved(leg=transfer.party, to_call=outcome.call_id))
            call.ending.release_media(transfer.party)
        elif outcome.offered and call.state.leg(transfer.party).peer:
            call.reoffers.offer(transfer.leg, transfer.party, lambda _outcome: None)
        self._end(transfer, outcome.status)

    # --- the end -----------------------------------------------------------------------------------------------

    def party_gone(self) -> None:
        """The party hung up before anybody had it."""
        if self._pending is not None:
            self._end(self._pending, 487)

    def _end(self, transfer: _Transfer, status: int) -> None:
        self._pending = None
        self._call.emit(TransferEnded(leg=transfer.leg, status=status))
        self._notify(transfer, status, then=partial(self._goodbye, transfer) if status == 200 else None)

    def _goodbye(self, transfer: _Transfer) -> None:
        """The transferor knows: it is out (RFC 5589 section 6.1)."""
        call = self._call
        if call.state.ended:
            return
        if transfer.attended:
            call.ending.close_transferred(transfer.leg)
        elif call.state.leg(transfer.leg).phase is LegPhase.ANSWERED:
            call.ending.say_bye(transfer.leg, reason="transferred")
            call.ending.release_media(transfer.leg)

    def _notify(self, transfer: _Transfer, status: int, then: Callable[[], None] | None = None) -> None:
        """Tell the transferor how it stands (RFC 3515 section 2.4.4); `then` when it knows, or never will."""
        call, leg = self._call, transfer.leg
        transfer.told = status
        after = then if then is not None else _nothing
        if not transfer.notifies or call.state.leg(leg).phase is not LegPhase.ANSWERED:
            after()
            return
        over = status >= 200
        request = call.dialogs.next_request(leg, "NOTIFY")
        request.add("Contact", call.dialogs.contact(leg))
        request.add("Event", transfer.event)
        state = "terminated;reason=noresource" if over else f"active;expires={_EXPIRES_S}"
        request.add("Subscription-State", state)
        request.set_body(f"SIP/2.0 {status} {reason_phrase(status)}\r\n".encode(), _SIPFRAG)

        def answered(response: Response) -> None:
            if response.status >= 300:
                transfer.notifies = False  # 481: the transferor keeps no subscription (RFC 6665 section 4.2.2)
            if response.status >= 200:
                after()

        def failed(_reason: str) -> None:
            transfer.notifies = False
            after()

        call.request(request, call.dialogs.flow(leg), on_response=answered, on_failure=failed)


def _read_target(request: Request) -> _Target:
    """Exactly one Refer-To (RFC 3515 section 2.4.1), to be called. Raises SipError."""
    rows = request.rows("Refer-To")
    if len(rows) != 1:
        raise SipError(400, "Exactly one Refer-To header field is wanted", "Refer-To", request)
    uri = NameAddr.parse(rows[0], "Refer-To").uri
    if (uri.param("method") or "INVITE").upper() != "INVITE":
        raise SipError(403, "Only INVITE may be referred to", "Refer-To", request)
    replaces = [value for name, value in uri.headers if name.lower() == "replaces"]
    if len(replaces) > 1:
        raise SipError(400, "More than one Replaces", "Refer-To", request)
    return _Target(uri.with_(headers=()), Replaces.of_escaped(replaces[0]) if replaces else None)


def _nothing() -> None:
    """There is nothing to do after a NOTIFY."""
