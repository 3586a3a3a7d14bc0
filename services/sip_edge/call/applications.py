"""Carries out what the dialplan says, one action at a time.

The interpreter decides (`services.dialplan`), this module does: it turns each `Action` into signalling and media of
the caller's leg, and feeds the outcome back as an `Input`. An outcome remembers the turn it belongs to, so that the
end of a prompt that a digit has stopped is not taken for the end of the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from services.core.address import Address
from services.core.events.catalogue import ApplicationStarted, DigitReceived, PlaybackStarted
from services.dialplan import api
from services.dialplan.interpreter import can_start, start, step
from services.sip_edge.call import causes
from services.sip_edge.call.dial import Dial
from services.sip_edge.call.effects import Echo, Play, PutValue, StopPlaying, WriteLog
from services.sip_edge.call.party import IncomingInvite, MediaFailed
from services.sip_edge.call.state import CALLER

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess

_TIMER = "application"
_PLAY_GRACE_S = 2.0
"""How long after its computed end a prompt is taken as played although the worker said nothing."""


class Applications:
    """The dialplan's run through one call."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call
        self._execution: api.Execution | None = None
        self._facts = api.CallFacts()
        self._action: api.Action = api.Continue()
        self._application = ""
        self._playing = False
        self._echoing = False
        self.dial: Dial | None = None
        self._parted: api.Dialled | None = None
        """What a Dial came to whose parties a transfer parted."""

    @property
    def execution(self) -> api.Execution | None:
        return self._execution

    def begin(self, invite: IncomingInvite) -> None:
        """Enter the dialplan at the dialled extension."""
        call, request = self._call, invite.request
        self._facts = api.CallFacts(
            channel=invite.channel,
            uniqueid=call.state.call_id,
            linkedid=call.state.call_id,
            caller_name=invite.caller_name,
            caller_number=invite.caller_number,
            dnid=invite.called,
            phone=invite.phone,
            transport=invite.flow.transport,
            family=invite.flow.remote.family.value,
            source_ip=invite.flow.remote.host,
            source_port=invite.flow.remote.port,
            local_ip=invite.flow.local.host,
            sip_call_id=request.call_id,
            from_uri=str(request.from_.uri),
            request_uri=request.uri,
            user_agent=request.get("User-Agent") or "",
        )
        self._execution = start(call.program, context=invite.context, exten=invite.called, variables={})
        self.advance(api.Begin())

    def variable(self, name: str) -> str:
        """A variable of the served leg's channel, or nothing."""
        return self._execution.variables.get(name, "") if self._execution is not None else ""

    def can_enter(self, context: str, exten: str) -> bool:
        """Is there such an extension?"""
        number = self._facts.caller_number
        environment = self._environment(None)
        return can_start(self._call.program, context=context, exten=exten, caller_number=number, env=environment)

    def part(self) -> None:
        """The served leg and its peer are parted by a transfer: the Dial that joined them is over. What is left to
        run is `h`."""
        dial, self.dial = self.dial, None
        if dial is not None:
            self._parted = dial.part()
        self._leave_action()
        self._action = api.Continue()

    def forget(self) -> None:
        """The served leg left the dialplan: nothing runs for it here any more."""
        self._execution = None

    def enter(self, leg: str, context: str, exten: str, variables: Mapping[str, str]) -> None:
        """Run `leg`, which was transferred, through the dialplan."""
        call, state = self._call, self._call.state.leg(leg)
        if leg != CALLER:
            rules = call.surroundings.phone(state.phone)
            remote = Address.parse(state.remote)
            self._facts = api.CallFacts(
                channel=state.channel,
                uniqueid=call.state.call_id,
                linkedid=call.state.linkedid,
                caller_name=rules.caller_name,
                caller_number=rules.caller_number or state.phone,
                dnid=exten,
                phone=state.phone,
                transport=state.transport,
                family=state.family,
                source_ip=remote.host,
                source_port=remote.port,
                local_ip=Address.parse(state.local).host,
                sip_call_id=state.sip_call_id,
                from_uri=state.remote_uri,
            )
        self._parted = None
        self._execution = start(call.program, context=context, exten=exten, variables=variables)
        self.advance(api.Begin())

    def advance(self, given: api.Input, values: Mapping[tuple[str, str], str | None] | None = None) -> None:
        """Give the interpreter an input and do what it says, until something has to be waited for."""
        pending: api.Input | None = given
        while pending is not None and self._execution is not None and not self._execution.finished:
            result = step(self._call.program, self._execution, pending, self._environment(values))
            self._execution = result.execution
            values = None
            for effect in result.effects:
                self._do(effect)
            if isinstance(result.action, api.Continue):
                return
            self._leave_action()
            self._action = result.action
            pending = self._perform(result.action)

    def _environment(self, values: Mapping[tuple[str, str], str | None] | None) -> api.Environment:
        return api.Environment(
            now_s=self._call.surroundings.unix_s(),
            timezone=self._call.settings.timezone,
            call=self._facts,
            values=values or {},
        )

    # --- effects -----------------------------------------------------------------------------------------------

    def _do(self, effect: api.Effect) -> None:
        call = self._call
        match effect:
            case api.ApplicationRan():
                self._application = effect.app
                call.emit(
                    ApplicationStarted(
                        context=effect.context,
                        exten=effect.exten,
                        priority=effect.priority,
                        application=effect.app,
                        data=effect.data,
                    )
                )
            case api.PutValue():
                call.effect(PutValue(effect.space, effect.key, effect.value))
            case api.DeleteValue():
                call.effect(PutValue(effect.space, effect.key, None))
            case api.Log():
                call.effect(WriteLog(effect.level, effect.text))
            case api.CallerSet() | api.ChannelSet():
                pass  # Dial carries the caller's name and number; the rest is the execution's own

    def warn(self, text: str) -> None:
        self._call.effect(WriteLog("warning", text))

    # --- actions -----------------------------------------------------------------------------------------------

    def _perform(self, action: api.Action) -> api.Input | None:
        """Start an action. An input is returned when it is over already."""
        call = self._call
        match action:
            case api.AnswerCall():
                return self._answer()
            case api.Ring():
                call.caller.ring()
                return api.Done()
            case api.Progress():
                return self._progress()
            case api.Play():
                return self._play(action)
            case api.Pause():
                self._wait(action.seconds)
            case api.Dial():
                self.dial = Dial(call, action, then=self._later(lambda outcome: outcome))
                self.dial.start()
            case api.Refuse():
                self._refuse(action)
            case api.HangUp():
                if not call.transfers.failed(action.cause):
                    call.ending.hang_up_caller(action.cause)
            case api.Echo():
                self._with_audio(self._echo)
            case api.Music():
                self._with_audio(partial(self._music, action))
            case api.Fetch():
                turn = self._turn
                call.fetch(action.keys, lambda values: self._fetched(turn, values))
            case api.Continue() | api.Finished():
                pass
        return None

    @property
    def _turn(self) -> int:
        return self._execution.turn if self._execution is not None else -1

    def _later(self, make: Callable[[Any], api.Input]) -> Callable[[Any], None]:
        """A callback that feeds `make(outcome)` if the action it belongs to is still the outstanding one."""
        turn = self._turn

        def then(outcome: Any) -> None:
            if turn == self._turn:
                self.advance(make(outcome))

        return then

    def _fetched(self, turn: int, values: Mapping[tuple[str, str], str | None]) -> None:
        if turn == self._turn:
            self.advance(api.Fetched(), values)

    def _leave_action(self) -> api.Dialled | None:
        """Another action takes over: stop what the outstanding one has going. Returns what a Dial came to."""
        self._call.stop_timer(_TIMER)
        if self._playing:
            self._playing = False
            self._call.media(StopPlaying(self._call.state.served))
        if self._echoing:
            self._echoing = False
            self._call.caller.connect_application(lambda _ok: None, echo=Echo.OFF)
        dial, self.dial = self.dial, None
        return dial.abandon() if dial is not None else None

    def _answer(self) -> api.Input | None:
        call = self._call
        if call.state.answered:
            call.transfers.succeeded()
            return api.Done()
        done = self._later(lambda _: api.Done())
        call.caller.connect_application(
            lambda ok: call.caller.answer(self._application, lambda: done(None)) if ok else self._give_up()
        )
        return None

    def _progress(self) -> api.Input | None:
        call = self._call
        if call.state.answered or call.caller.late:
            return api.Done()
        done = self._later(lambda _: api.Done())

        def connected(ok: bool) -> None:
            if ok:
                call.caller.progress()
            done(None)

        call.caller.connect_application(connected)
        return None

    def _give_up(self) -> None:
        """Nobody can be heard: 488, or hang up."""
        if not self._call.transfers.failed(causes.BEARER_NOT_AVAILABLE):
            self._call.ending.hang_up_caller(causes.BEARER_NOT_AVAILABLE)

    def _with_audio(self, then: Callable[[], None]) -> None:
        """Run `then` once the caller can hear us: answered, or in early media."""
        turn = self._turn

        def connected(ok: bool) -> None:
            if turn != self._turn:
                return
            if not ok:
                self._give_up()
                return
            if not self._call.state.answered:
                self._call.caller.progress()
            then()

        self._call.caller.connect_application(connected)

    def _play(self, action: api.Play) -> api.Input | None:
        if not action.files:
            return api.Played()
        self._with_audio(partial(self._start_playing, action.files, 1))
        return None

    def _start_playing(self, files: tuple[str, ...], repeat: int) -> None:
        played = self._later(lambda outcome: api.Played(failed=isinstance(outcome, MediaFailed)))
        turn = self._turn
        self._playing = True

        def begun(result: Any) -> None:
            if isinstance(result, MediaFailed):
                self.warn(f"cannot play {'&'.join(files)}: {result.reason}")
                if turn == self._turn:
                    self._playing = False
                played(result)
                return
            self._call.emit(PlaybackStarted(leg=self._call.state.served, files=files, duration_ms=round(result * 1000)))
            if turn == self._turn and repeat:
                self._call.timer(_TIMER, result + _PLAY_GRACE_S, lambda: played(None))

        self._call.media(Play(self._call.state.served, files, repeat), then=begun)

    def _wait(self, seconds: float | None) -> None:
        if seconds is not None:
            elapsed = self._later(lambda _: api.Elapsed())
            self._call.timer(_TIMER, seconds, lambda: elapsed(None))

    def _refuse(self, action: api.Refuse) -> None:
        call = self._call
        cause = causes.USER_BUSY if action.status == 486 else causes.CONGESTION
        if call.caller.open:
            call.ending.hang_up_caller(cause)
            return
        if call.transfers.failed(cause):
            return
        self._wait(action.seconds)
        self._start_playing(("busy" if action.status == 486 else "congestion",), 0)

    def _echo(self) -> None:
        self._echoing = True
        self._call.caller.connect_application(lambda ok: None if ok else self._give_up(), echo=Echo.ON)

    def _music(self, action: api.Music) -> None:
        self._wait(action.seconds)
        self._start_playing((self._call.settings.music(action.class_name),), 0)

    # --- what the caller and the worker do -----------------------------------------------------------------------

    def digit(self, digit: str, duration_ms: int) -> None:
        self._call.emit(DigitReceived(leg=self._call.state.served, digit=digit, duration_ms=duration_ms))
        self.advance(api.Digit(digit))

    def played(self) -> None:
        """The worker finished the prompts; silence about an endless tune is not the end of anything."""
        if self._playing and isinstance(self._action, api.Play):
            self._playing = False
            self._call.stop_timer(_TIMER)
            self.advance(api.Played())

    def hung_up(self, cause: int) -> None:
        """The caller's leg is over: `h` runs."""
        dialled = self._leave_action() or self._parted
        self._action = api.Continue()
        self.advance(api.HungUp(cause, dialled))
