"""One call, without any I/O: what comes in is a method, what shall happen is a `Decision`.

    shell ──► start / request_arrived / response_arrived / media_done / notice / timer_fired ...
                 └─► Decision(events, effects)      the shell commits the events, then carries out the effects

The call is a back-to-back user agent: leg `a` is the caller's dialog, legs `b1`, `b2` ... are the callees'. This
module keeps the books (events folded into `state`, what is in flight by token, timers by name) and hands each input to
the part whose business it is:

    caller.py         answers the caller's INVITE           applications.py   carries out what the dialplan says
    dial.py           rings callees until one answers       renegotiation.py  re-INVITEs: hold, resume, new addresses
    transfer.py       REFER: hands a party on               joining.py        Replaces: a dialog takes a leg's place
    reoffer.py        re-INVITEs of our own                 passing.py        INFO and MESSAGE
    ending.py         hangs up, accounts for media, forgets

Nothing here looks at a clock, a socket or a random number: `Surroundings` has what must come from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.core.events.catalogue import (
    ApplicationStarted,
    CallStarted,
    DialEnded,
    DigitReceived,
    Event,
    LegInvited,
    LegProgressed,
    LegRinging,
    PlaybackStarted,
)
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response
from services.core.sip.replaces import Replaces
from services.core.sip.transaction import ServerKey
from services.dialplan.program import Program
from services.sip_edge.call.applications import Applications
from services.sip_edge.call.caller import Caller
from services.sip_edge.call.dialogs import ALLOW, Dialogs
from services.sip_edge.call.effects import (
    Effect,
    FetchValues,
    Join,
    Locate,
    Media,
    MediaOperation,
    Respond,
    SendRequest,
    StartTimer,
    StopRetransmitting,
    StopTimer,
)
from services.sip_edge.call.ending import Ending
from services.sip_edge.call.joining import Joining
from services.sip_edge.call.party import Destination, IncomingInvite, Joined, JoinRequest, NotLocated, PhoneRules
from services.sip_edge.call.passing import Passing
from services.sip_edge.call.renegotiation import Renegotiation
from services.sip_edge.call.reoffer import Reoffers
from services.sip_edge.call.state import CallState, LegPhase, evolve, new_call
from services.sip_edge.call.transfer import Transfers

_PROVISIONAL: frozenset[type[Event]] = frozenset(
    {ApplicationStarted, LegInvited, LegRinging, LegProgressed, DigitReceived, PlaybackStarted, DialEnded, CallStarted}
)
"""Facts whose consequences may reach the network before they are committed (docs/architecture.md, Commit)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """What an operator decided about calls."""

    user_agent: str = "Sixfold PBX"
    max_ring_s: float = 300.0
    """A Dial without a timeout rings this long."""
    ringback: str = "ringback"
    """Prompt an answered caller hears while a callee rings."""
    timezone: str = "UTC"
    """IANA name of the zone the dialplan's times are meant in."""

    def music(self, name: str = "") -> str:
        """The prompt of a music class; empty is the default class."""
        return f"moh/{name or 'default'}"


def _no_rules(_name: str) -> PhoneRules:
    return PhoneRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a call takes from outside, so that tests can hold it still."""

    new_tag: Callable[[], str]
    new_sip_call_id: Callable[[], str]
    unix_s: Callable[[], float]
    """Seconds since 1970, for the dialplan's clock and variables."""
    phone: Callable[[str], PhoneRules] = _no_rules
    """What sip.conf says of a phone or trunk; of a guest for an empty name."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one input led to. With `durable` the effects wait for the commit of the events."""

    events: tuple[Event, ...]
    effects: tuple[Effect, ...]
    durable: bool


@dataclass(slots=True)
class _Transaction:
    """A client transaction of ours in flight."""

    on_response: Callable[[Response], None]
    on_failure: Callable[[str], None]
    final: bool = field(default=False)


class CallProcess:
    """A call on its way. Every public method takes one input and returns a `Decision`; none raises."""

    def __init__(
        self, call_id: str, *, program: Program, settings: CallSettings, surroundings: Surroundings, token: int = 0
    ) -> None:
        self.state: CallState = new_call(call_id)
        self.settings = settings
        self.surroundings = surroundings
        self.program = program
        self.dialogs = Dialogs(self)
        self.caller = Caller(self)
        self.applications = Applications(self)
        self.renegotiation = Renegotiation(self)
        self.ending = Ending(self)
        self.reoffers = Reoffers(self)
        self.transfers = Transfers(self)
        self.joining = Joining(self)
        self.passing = Passing(self)
        self._events: list[Event] = []
        self._effects: list[Effect] = []
        self._tokens = token
        self._callees = 0
        self._pending: dict[int, Callable[[Any], None]] = {}
        self._transactions: dict[int, _Transaction] = {}
        self._timers: dict[str, Callable[[], None]] = {}
        self._unacknowledged: dict[str, tuple[ServerKey, Callable[[Request], None]]] = {}

    # --- inputs ------------------------------------------------------------------------------------------------

    def start(self, invite: IncomingInvite) -> Decision:
        """The caller's INVITE: say 100, enter the dialplan."""
        self.caller.invited(invite)
        self.applications.begin(invite)
        return self._decision()

    def request_arrived(self, leg: str, key: ServerKey, request: Request, flow: Flow) -> Decision:
        """A request inside the dialog of `leg` (RFC 3261 section 12.2.2)."""
        try:
            self.dialogs.received(leg, request, flow)
        except SipError as error:
            self.effect(Respond(key, make_response(request, error.status, error.reason)))
            return self._decision()
        if request.method == "BYE":
            self.ending.bye_arrived(leg, key, request)
        elif request.method == "INVITE":
            self.renegotiation.offered(leg, key, request)
        elif request.method == "REFER":
            self.transfers.refer_arrived(leg, key, request)
        elif request.method == "INFO":
            self.passing.info_arrived(leg, key, request)
        elif request.method == "MESSAGE":
            self.passing.message_arrived(leg, key, request)
        elif request.method == "OPTIONS":
            self.effect(Respond(key, make_response(request, 200, headers=(("Allow", ALLOW),))))
        else:
            self.effect(Respond(key, make_response(request, 405, headers=(("Allow", ALLOW),))))
        return self._decision()

    def ack_arrived(self, leg: str, request: Request) -> Decision:
        """The ACK of a 2xx of ours."""
        waiting = self._unacknowledged.pop(leg, None)
        if waiting is not None:
            key, then = waiting
            self.effect(StopRetransmitting(key))
            then(request)
            self.ending.acknowledged(leg)
        return self._decision()

    def ack_missing(self, key: ServerKey) -> Decision:
        """A 2xx of ours was repeated for 64*T1 and never acknowledged (RFC 3261 section 13.3.1.4): hang up."""
        for leg, (waiting, _) in list(self._unacknowledged.items()):
            if waiting == key:
                del self._unacknowledged[leg]
                self.ending.hang_up_all(reason="lost ACK", cause=102)
                self.ending.acknowledged(leg)
        return self._decision()

    def replaced(self, invite: IncomingInvite, leg: str, *, early_only: bool) -> Decision:
        """An INVITE outside any dialog wants the place of `leg` (RFC 3891)."""
        self.joining.invited(invite, leg, early_only=early_only)
        return self._decision()

    def lent(self, request: JoinRequest) -> Decision:
        """Another call lends a dialog, to take the place of one of our legs."""
        self.joining.lent(request)
        return self._decision()

    def joined(self, token: int, outcome: Joined) -> Decision:
        """What came of a dialog that was lent."""
        return self._resume(token, outcome)

    def cancelled(self, key: ServerKey | None = None) -> Decision:
        """The CANCEL of the caller, or of who wants a leg's place; already answered by the transaction layer."""
        if key is None or not self.joining.cancelled(key):
            self.ending.caller_cancelled()
        return self._decision()

    def response_arrived(self, token: int, response: Response) -> Decision:
        """A response in a client transaction of ours. A 2xx to an INVITE may come again."""
        transaction = self._transactions.get(token)
        if transaction is not None:
            transaction.final = transaction.final or response.status >= 200
            transaction.on_response(response)
        return self._decision()

    def transaction_failed(self, token: int, reason: str) -> Decision:
        """No final response (`timeout`), or the transport gave up (`transport`)."""
        transaction = self._transactions.pop(token, None)
        if transaction is not None and not transaction.final:
            transaction.on_failure(reason)
        return self._decision()

    def transaction_ended(self, token: int) -> Decision:
        """The layer forgot the transaction: nothing more will come."""
        self._transactions.pop(token, None)
        return self._decision()

    def located(self, token: int, found: tuple[Destination, ...] | NotLocated) -> Decision:
        return self._resume(token, found)

    def media_done(self, token: int, result: Any) -> Decision:
        """`result` is what the operation gives (bytes, seconds, statistics, None) or `MediaFailed`."""
        return self._resume(token, result)

    def values_fetched(self, token: int, values: Mapping[tuple[str, str], str | None]) -> Decision:
        return self._resume(token, values)

    def digit(self, leg: str, digit: str, duration_ms: int) -> Decision:
        """The media worker heard a key."""
        if leg == self.state.served and not self.state.legs[leg].peer:
            self.applications.digit(digit, duration_ms)
        return self._decision()

    def played(self, leg: str) -> Decision:
        """The media worker finished the prompts of a leg."""
        if leg == self.state.served:
            self.applications.played()
        return self._decision()

    def media_silent(self, leg: str) -> Decision:
        """No RTP came from a party for the configured time: its BYE was lost, or it died.

        The worker knows who is on hold and may be silent for longer; its word counts for them too.
        """
        state = self.state.legs.get(leg)
        # A transferor that waits for the outcome sends to nobody.
        talks = state is not None and (state.peer or leg == self.state.served)
        if state is not None and talks and state.phase is LegPhase.ANSWERED:
            self.ending.hang_up_all(reason="RTP timeout", cause=102)
        return self._decision()

    def timer_fired(self, name: str) -> Decision:
        callback = self._timers.pop(name, None)
        if callback is not None:
            callback()
        return self._decision()

    def hang_up(self, reason: str) -> Decision:
        """We end the call: the node shuts down, or an operator said so."""
        self.ending.hang_up_all(reason=reason, cause=41)
        return self._decision()

    def abandoned(self, reason: str) -> Decision:
        """The call was read back after its node died: hang up what can be reached, close the books."""
        self.ending.close_abandoned(reason)
        return self._decision()

    # --- what the parts use ------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Record a fact; it is part of `state` at once and of the next commit."""
        self._events.append(event)
        self.state = evolve(self.state, event)

    def effect(self, effect: Effect) -> None:
        self._effects.append(effect)

    def media(self, operation: MediaOperation, then: Callable[[Any], None] | None = None) -> None:
        """Ask the media worker; `then` gets the result or `MediaFailed`."""
        self.effect(Media(self._token(then), operation))

    def next_leg(self) -> str:
        """The name of the next callee's leg."""
        self._callees += 1
        return f"b{self._callees}"

    def locate(self, target: str, then: Callable[[tuple[Destination, ...] | NotLocated], None]) -> None:
        self.effect(Locate(self._token(then), target, self.dialogs.is_secure(self.state.served)))

    def join(self, replaces: Replaces, leg: str, then: Callable[[Joined], None]) -> None:
        """Lend a leg's dialog to the call that has the dialog `replaces` names."""
        path, state = self.dialogs.lend(leg), self.state
        self.effect(Join(self._token(then), replaces, state.leg(leg), path, state.linkedid))

    def fetch(
        self, keys: tuple[tuple[str, str], ...], then: Callable[[Mapping[tuple[str, str], str | None]], None]
    ) -> None:
        self.effect(FetchValues(self._token(then), keys))

    def request(
        self,
        request: Request,
        flow: Flow,
        *,
        on_response: Callable[[Response], None] = lambda _response: None,
        on_failure: Callable[[str], None] = lambda _reason: None,
    ) -> int:
        """Send a request in a client transaction; returns its token, for `CancelRequest`."""
        self._tokens += 1
        self._transactions[self._tokens] = _Transaction(on_response, on_failure)
        self.effect(SendRequest(self._tokens, request, flow))
        return self._tokens

    def expect_ack(self, leg: str, key: ServerKey, then: Callable[[Request], None]) -> None:
        """The 2xx that goes out under `key` wants an ACK in the dialog of `leg`."""
        self._unacknowledged[leg] = (key, then)

    def awaits_ack(self, leg: str) -> bool:
        return leg in self._unacknowledged

    def forget_ack(self, leg: str) -> None:
        """The leg is over: its 2xx need not be repeated any longer."""
        waiting = self._unacknowledged.pop(leg, None)
        if waiting is not None:
            self.effect(StopRetransmitting(waiting[0]))

    def timer(self, name: str, delay_s: float, then: Callable[[], None]) -> None:
        """(Re)start the timer `name`."""
        self._timers[name] = then
        self.effect(StartTimer(name, delay_s))

    def stop_timer(self, name: str) -> None:
        if self._timers.pop(name, None) is not None:
            self.effect(StopTimer(name))

    def stop_timers(self) -> None:
        for name in list(self._timers):
            self.stop_timer(name)

    @property
    def idle(self) -> bool:
        """Is nothing in flight whose outcome the call still has to hear?"""
        waiting = any(not transaction.final for transaction in self._transactions.values())
        return not self._pending and not self._unacknowledged and not waiting

    def let_go(self) -> None:
        """The call is over and only its state is wanted any more. Its parts refer to it and it to them: parted, they
        are gone at once, not when the garbage collector has come round to them."""
        self._pending.clear()
        self._transactions.clear()
        self._timers.clear()
        del self.dialogs, self.caller, self.applications, self.renegotiation, self.ending
        del self.reoffers, self.transfers, self.joining, self.passing

    # --- inside ------------------------------------------------------------------------------------------------

    def _token(self, then: Callable[[Any], None] | None) -> int:
        self._tokens += 1
        self._pending[self._tokens] = then if then is not None else _ignore
        return self._tokens

    def _resume(self, token: int, result: Any) -> Decision:
        then = self._pending.pop(token, None)
        if then is not None:
            then(result)
        return self._decision()

    def _decision(self) -> Decision:
        self.ending.release_when_idle()
        events, effects = tuple(self._events), tuple(self._effects)
        self._events.clear()
        self._effects.clear()
        durable = not _PROVISIONAL.issuperset(map(type, events))
        return Decision(events, effects, durable)


def _ignore(_result: Any) -> None:
    """For commands whose outcome changes nothing."""
