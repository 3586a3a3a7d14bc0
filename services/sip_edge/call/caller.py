"""The caller's INVITE: 100, 180, 183, then one final response (RFC 3261 section 13.3.1).

The first session description the caller is shown stays the one of the final response, as the offer/answer model
wants it (RFC 3264, RFC 3261 section 13.2.1): the worker's port toward the caller is the same whoever ends up at the
other end. An INVITE without an offer gets ours in the 2xx, and the answer comes in the ACK.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.core.address import Family
from services.core.events.catalogue import CallStarted, LegAnswered
from services.core.sdp import SdpError
from services.core.sip.message import Request, Response, make_response
from services.sip_edge.call import causes
from services.sip_edge.call.descriptions import application_answer, application_offer, narrowed, voice_codecs
from services.sip_edge.call.effects import Answer, Echo, Offer, Respond
from services.sip_edge.call.party import IncomingInvite, MediaFailed
from services.sip_edge.call.state import CALLER

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess

APPLICATION = "app"
"""Tag of the party that is no phone: it plays prompts, takes digits, echoes."""


class Caller:
    """Leg `a` until it is answered or refused."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call
        self._invite: IncomingInvite | None = None
        self._refused = False
        self._answered = False
        self._serving = ""
        """Another leg than the caller's, if the call was transferred."""
        self.family = Family.IP4
        self.local_sdp = b""
        """What we show the caller: our answer, or (late offer) our offer. Empty until somebody speaks for us."""
        self._offer_from = APPLICATION
        self._told = 0
        """Highest provisional status sent with its meaning: 180, or 183 with a session."""

    # --- beginning ---------------------------------------------------------------------------------------------

    def invited(self, invite: IncomingInvite) -> None:
        """Take the INVITE: the call exists from here on."""
        call, request = self._call, invite.request
        self._invite = invite
        self.family = invite.flow.remote.family
        dialog = call.dialogs.caller(invite, call.surroundings.new_tag())
        call.emit(
            CallStarted(
                linkedid=call.state.call_id,
                caller_name=invite.caller_name,
                caller_number=invite.caller_number,
                caller_uri=str(request.from_.uri),
                called=invite.called,
                context=invite.context,
                channel=invite.channel,
                phone=invite.phone,
                family=self.family.value,
                transport=invite.flow.transport,
                source=str(invite.flow.remote),
                local=str(invite.flow.local),
                flow_id=invite.flow.id,
                sip_call_id=request.call_id,
                local_uri=dialog.local_uri,
                remote_uri=dialog.remote_uri,
                local_tag=dialog.local_tag,
                remote_tag=dialog.remote_tag,
                remote_target=dialog.remote_target,
                route_set=dialog.route_set,
                remote_cseq=request.cseq.number,
                sdp=request.body,
                dialplan_version=call.program.version,
            )
        )
        call.effect(Respond(invite.key, make_response(request, 100)))

    @property
    def invite(self) -> IncomingInvite:
        assert self._invite is not None, "a call starts with `invited`"
        return self._invite

    @property
    def late(self) -> bool:
        """Did the INVITE come without an offer?"""
        return not self._serving and not self.invite.request.body

    @property
    def open(self) -> bool:
        """Does the INVITE still want a final response?"""
        return not self._refused and not self._answered

    @property
    def was_answered(self) -> bool:
        """Did the caller ever get a 2xx?"""
        return self._answered

    @property
    def codecs_in_use(self) -> tuple[str, ...]:
        """What the caller's session speaks: what was settled, or what the phone may use."""
        if self._serving:
            theirs = voice_codecs(self._call.reoffers.active(self._serving))
            return tuple(codec for codec in theirs if codec in voice_codecs(self.local_sdp))[:1]
        return voice_codecs(self.local_sdp) if self.local_sdp else self.invite.codecs

    def serve(self, leg: str) -> None:
        """The dialplan works for `leg` from here on, which is answered: what is said of the caller here goes for it."""
        self._serving = "" if leg == CALLER else leg
        self.family = Family(self._call.state.leg(leg).family)
        self.shown(self._call.dialogs.described(leg))

    def shown(self, sdp: bytes) -> None:
        """The served leg was shown another description and took it."""
        self.local_sdp = sdp

    # --- session -----------------------------------------------------------------------------------------------

    def connect_application(self, then: Callable[[bool], None], *, echo: Echo = Echo.AS_IT_IS) -> None:
        """See to it that there is a description to show the caller, with the application at the other end.

        `then(False)` when that is impossible: no common codec, or no media worker.
        """
        if self.local_sdp and echo is Echo.AS_IT_IS:
            then(True)
            return
        served = self._call.state.served
        if self.late and not self._call.state.leg(served).remote_sdp:
            self._offer_application(then)
            return
        try:
            offer = self._call.state.leg(served).remote_sdp
            mine = application_answer(offer, self.codecs_in_use, self._call.state.call_id)
        except SdpError as error:
            self._no_media(str(error), then)
            return
        if mine is None:
            self._no_media("no common codec", then)
            return

        def offered(result: Any) -> None:
            if isinstance(result, MediaFailed):
                self._no_media(result.reason, then)
            else:
                self._call.media(Answer(served, APPLICATION, mine, echo), then=answered)

        def answered(result: Any) -> None:
            if isinstance(result, MediaFailed):
                self._no_media(result.reason, then)
                return
            self.local_sdp = self.local_sdp or result
            then(True)

        self._call.media(
            Offer(served, APPLICATION, offer, self.family, self._source(), "", echo=echo),
            then=offered,
        )

    def _offer_application(self, then: Callable[[bool], None]) -> None:
        """Late offer: what we offer in the 2xx is the application's."""
        sdp = application_offer(self.invite.codecs, self.family, self._call.state.call_id)
        self.offer_from(APPLICATION, sdp, then)

    def offer_from(self, tag: str, sdp: bytes, then: Callable[[bool], None]) -> None:
        """Late offer: make `tag`'s description ours toward the caller; its answer will come in the ACK."""

        def offered(result: Any) -> None:
            if isinstance(result, MediaFailed):
                self._no_media(result.reason, then)
                return
            self._offer_from = tag
            self.local_sdp = result
            then(True)

        self._call.media(Offer(tag, CALLER, sdp, self.family, "", self._source()), then=offered)

    def settle(self, sdp: bytes) -> None:
        """A callee's answer, as the worker shows it to the caller.

        The first one stays, unless somebody with another codec answers in the end: what was shown in an unreliable
        provisional response binds nobody (RFC 3261 section 13.2.1), speaking different codecs would.
        """
        if not self.local_sdp or (self.open and voice_codecs(self.local_sdp) != voice_codecs(sdp)):
            self.local_sdp = sdp

    def offer_for(self, codecs: tuple[str, ...]) -> tuple[str, bytes] | None:
        """Who offers what to a callee that speaks `codecs`: (tag, description), or None without a common codec.

        Once the caller was shown a description, only the codec named there may be offered: nobody transcodes yet.
        """
        spoken = self.codecs_in_use
        common = tuple(codec for codec in codecs if codec in spoken)
        served = self._call.state.served
        sdp = self._call.reoffers.active(served)
        if not common:
            return None
        if not sdp:
            return APPLICATION, application_offer(common, self.family, self._call.state.call_id)
        restricted = narrowed(sdp, common)
        return None if restricted is None else (served, restricted)

    def _source(self) -> str:
        return self._call.dialogs.flow(self._call.state.served).remote.host

    def _no_media(self, reason: str, then: Callable[[bool], None]) -> None:
        self._call.applications.warn(f"no media toward the caller: {reason}")
        then(False)

    # --- responses ---------------------------------------------------------------------------------------------

    def ring(self) -> None:
        """180, unless the caller already knows or hears something."""
        if self.open and not self._told:
            self._told = 180
            self._respond(180)

    def progress(self, status: int = 183) -> None:
        """183 with our description: early media."""
        if self.open and self._told < 183 and self.local_sdp and not self.late:
            self._told = 183
            self._respond(status, sdp=self.local_sdp)
        elif self.open:
            self.ring()

    def answer(self, application: str = "", then: Callable[[], None] | None = None) -> None:
        """200 with our description. `then` runs when media may flow: now, or with a late offer at the ACK."""
        invite, call = self.invite, self._call
        leg = call.state.leg(CALLER)
        self._answered = True
        call.emit(
            LegAnswered(
                leg=CALLER,
                remote_tag=leg.remote_tag,
                remote_target=leg.remote_target,
                route_set=leg.route_set,
                sdp=self.local_sdp,
                application=application,
            )
        )
        call.expect_ack(CALLER, invite.key, lambda ack: self._acknowledged(ack, then))
        self._respond(200, sdp=self.local_sdp)
        if not self.late and then is not None:
            then()

    def _acknowledged(self, ack: Request, then: Callable[[], None] | None) -> None:
        if not self.late:
            return
        if not ack.body:
            self._call.ending.hang_up_all(reason="no answer in the ACK", cause=causes.BEARER_NOT_AVAILABLE)
            return

        def answered(result: Any) -> None:
            if isinstance(result, MediaFailed):
                self._call.ending.hang_up_all(reason=result.reason, cause=causes.BEARER_NOT_AVAILABLE)
                return
            self._call.dialogs.remember_description(CALLER, ack.body)
            if then is not None:
                then()

        self._call.media(Answer(self._offer_from, CALLER, ack.body), then=answered)

    def refuse(self, status: int, *, reason: str | None = None) -> None:
        """The final response that ends the INVITE without a dialog."""
        if self.open:
            self._refused = True
            self._respond(status, reason=reason)

    def _respond(self, status: int, *, sdp: bytes = b"", reason: str | None = None) -> None:
        invite, dialogs = self.invite, self._call.dialogs
        headers: list[tuple[str, str]] = []
        if status < 300:
            headers.append(("Contact", dialogs.contact(CALLER)))
        if 200 <= status < 300:
            headers += dialogs.capabilities()
        response: Response = make_response(
            invite.request, status, reason, to_tag=self._call.state.leg(CALLER).local_tag, headers=tuple(headers)
        )
        dialogs.describe(CALLER, response, sdp)
        self._call.effect(Respond(invite.key, response))
