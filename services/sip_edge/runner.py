"""Runs one call: its inputs one at a time, its events committed, its effects carried out.

Inputs queue up while a durable commit is under way. What the decisions of one turn want done outside waits together,
from the first durable one on, for one commit of all their facts. A media worker in this process is nothing outside: it
is asked at once, and what follows from its answer belongs to the same turn. So an answered call is one transaction,
and its end is another.

Facts whose consequences may be seen early (docs/architecture.md, Commit) are committed in the background: with the next
durable commit, or after `_BACKGROUND_S`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from services.core.events.catalogue import CallStarted, Event, LegInvited, LegJoined
from services.core.sip.transaction import ClientKey, ServerKey
from services.core.store.port import Change, Conflict, StoreError, Version
from services.media.api import MediaError
from services.sip_edge import joins
from services.sip_edge.call import effects as fx
from services.sip_edge.call.caller import APPLICATION
from services.sip_edge.call.party import MediaFailed, NotLocated
from services.sip_edge.call.process import CallProcess, Decision
from services.sip_edge.call.snapshot import pack
from services.sip_edge.transport import TransportError

if TYPE_CHECKING:
    from services.sip_edge.edge import Edge

log = logging.getLogger(__name__)

_BACKGROUND_S = 0.1
"""How long a provisional fact may wait for company before it is committed alone."""
_RETRY_S = 1.0
"""After a commit failed the facts are offered to the store again."""
_LEVELS: Mapping[str, int] = logging.getLevelNamesMapping()

_ECHO_OFFER: Mapping[fx.Echo, Mapping[str, Any] | None] = {
    fx.Echo.AS_IT_IS: None,
    fx.Echo.ON: {"media-echo": "backwards"},
    fx.Echo.OFF: {"media-echo": "off"},
}
"""rtpengine's words: in an offer the caller, who sends the description, hears itself; in an answer its receiver."""
_ECHO_ANSWER = {**_ECHO_OFFER, fx.Echo.ON: {"media-echo": "forward"}}

Step = Callable[[CallProcess], Decision]


class CallRunner:
    """One call's mailbox. Everything happens on the event loop's thread."""

    __slots__ = (
        "_aborted",
        "_background",
        "_committing",
        "_edge",
        "_held",
        "_inbox",
        "_jobs",
        "_keys",
        "_loop",
        "_noted_at",
        "_running",
        "_timers",
        "_uncommitted",
        "_version",
        "_worker",
        "epoch",
        "invites",
        "process",
        "released",
    )

    def __init__(self, edge: Edge, process: CallProcess, *, epoch: int = 1, version: Version | None = None) -> None:
        self.process = process
        self.epoch = epoch
        self.released = False
        self.invites: list[ServerKey] = []
        """INVITE transactions of the parties that were handed to this call."""
        self._edge = edge
        self._loop = asyncio.get_running_loop()
        self._version = version or Version(0, 0)
        self._inbox: deque[Step] = deque()
        self._uncommitted: list[Event] = []
        self._noted_at: list[float] = []
        self._committing = False
        self._held: list[fx.Effect] | None = None
        """Effects that wait for this turn's commit; None while no fact of the turn needs one."""
        self._running = False
        self._aborted = False
        self._background: asyncio.TimerHandle | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._keys: dict[int, ClientKey] = {}
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    @property
    def call_id(self) -> str:
        return self.process.state.call_id

    def feed(self, step: Step) -> None:
        """Queue an input; it runs at once unless a commit is under way."""
        if self.released:
            return
        self._inbox.append(step)
        self._run()

    def _run(self) -> None:
        """Take what is queued. What effects lead to at once is queued behind, never run inside."""
        if self._running:
            return
        self._running = True
        try:
            while self._inbox and not self._committing and not self.released:
                self._take(self._inbox.popleft())
            if self._held is not None and not self._committing:
                self._commit()
        finally:
            self._running = False

    def _take(self, step: Step) -> None:
        try:
            decision = step(self.process)
        except Exception:
            log.exception("call %s: a fault of ours ends it", self.call_id)
            self._abort()
            return
        if decision.events:
            self._note(decision.events)
        if decision.durable and self._held is None:
            self._held = []
        self._carry_out(decision.effects)

    def _abort(self) -> None:
        """Hang up after a fault; if even that fails, forget the call."""
        if self._aborted:
            self.release()
            return
        self._aborted = True
        self._inbox.appendleft(lambda process: process.hang_up("internal error"))

    def _note(self, events: tuple[Event, ...]) -> None:
        self._uncommitted += events
        self._noted_at += [self._edge.unix_s()] * len(events)
        for event in events:
            if isinstance(event, CallStarted | LegInvited) or (isinstance(event, LegJoined) and not event.from_call):
                leg = "a" if isinstance(event, CallStarted) else event.leg
                self._edge.index_dialog(event.sip_call_id, event.local_tag, self, leg)
        self._edge.observe(self, events)
        if self._background is None:
            self._background = self._loop.call_later(_BACKGROUND_S, self._flush)

    # --- commits -----------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        self._committing = True
        self._submit().add_done_callback(self._committed)

    def _flush(self) -> None:
        """Commit what waited in the background."""
        self._background = None
        if self._committing or not self._uncommitted:
            return
        self._commit()

    def _submit(self) -> asyncio.Future[list[Version | Conflict]]:
        if self._background is not None:
            self._background.cancel()
            self._background = None
        state = self.process.state
        snapshot = None
        if not state.ended:
            execution = self.process.applications.execution
            snapshot = pack(state, execution.to_data() if execution is not None else None)
        change = Change(
            kind="call",
            key=self.call_id,
            expected=self._version,
            epoch=self.epoch,
            events=tuple(self._uncommitted),
            snapshot=snapshot,
            time=self._edge.unix_s(),
            times=tuple(self._noted_at),
        )
        return self._edge.store.submit([change])

    def _committed(self, done: asyncio.Future[list[Version | Conflict]]) -> None:
        self._committing = False
        held, self._held = self._held, None
        try:
            outcome = done.result()[0]
        except (StoreError, asyncio.CancelledError) as error:
            # The call goes on from memory; its facts stay here and go with the next commit.
            log.error("call %s: the store refused a commit: %s", self.call_id, error)
            self._background = self._loop.call_later(_RETRY_S, self._flush)
        else:
            if isinstance(outcome, Conflict):
                log.warning("call %s: taken over elsewhere (epoch %d)", self.call_id, outcome.current.epoch)
                self.release()
                return
            self._version = outcome
            self._uncommitted.clear()
            self._noted_at.clear()
        self._running = True
        try:
            self._carry_out(held or ())
        finally:
            self._running = False
        self._run()

    # --- effects -----------------------------------------------------------------------------------------------

    def _carry_out(self, effects: Iterable[fx.Effect]) -> None:
        immediate = self._edge.media.immediate
        for effect in effects:
            if immediate and isinstance(effect, fx.Media) and self._worker is None:
                self._media_now(effect)
            elif self._held is not None:
                self._held.append(effect)
            else:
                self._effect(effect)

    def _effect(self, effect: fx.Effect) -> None:
        edge = self._edge
        match effect:
            case fx.Respond():
                edge.respond(effect.key, effect.response)
            case fx.SendRequest():
                self._keys[effect.token] = edge.request(self, effect.token, effect.request, effect.flow)
            case fx.SendAck():
                edge.send_ack(effect.request, effect.flow)
            case fx.CancelRequest():
                if key := self._keys.get(effect.token):
                    edge.cancel(key)
            case fx.StopRetransmitting():
                edge.layer.acknowledged(effect.key)
            case fx.Media():
                self._enqueue(partial(self._media, effect.token, effect.operation))
            case fx.Locate():
                edge.spawn(self._locate(effect.token, effect.target, effect.secure))
            case fx.StartTimer():
                self._stop_timer(effect.name)
                self._timers[effect.name] = self._loop.call_later(effect.delay_s, self._timer_fired, effect.name)
            case fx.StopTimer():
                self._stop_timer(effect.name)
            case fx.FetchValues():
                self._enqueue(partial(self._fetch, effect.token, effect.keys))
            case fx.PutValue():
                self._enqueue(partial(self._put, effect))
            case fx.Join():
                joins.join(edge, self, effect)
            case fx.JoinOver():
                joins.join_over(edge, self, effect)
            case fx.WriteLog():
                log.log(_LEVELS[effect.level.upper()], "call %s: %s", self.call_id, effect.text)
            case fx.Release():
                self.release()

    def _timer_fired(self, name: str) -> None:
        self._timers.pop(name, None)
        self.feed(lambda process: process.timer_fired(name))

    def _stop_timer(self, name: str) -> None:
        handle = self._timers.pop(name, None)
        if handle is not None:
            handle.cancel()

    # --- what takes time: one after the other, in the order it was decided ----------------------------------------

    def _enqueue(self, job: Callable[[], Awaitable[None]]) -> None:
        self._jobs.append(job)
        if self._worker is None:
            self._worker = self._edge.spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._jobs:
                await self._jobs.popleft()()
        finally:
            self._worker = None

    def _media_now(self, effect: fx.Media) -> None:
        """Ask a worker that does not keep us waiting: its methods are coroutines which end at their first step."""
        token = effect.token
        try:
            self._media_result(effect.operation).send(None)
        except StopIteration as done:
            result = done.value
        except MediaError as error:
            result = MediaFailed(reason=str(error))
        except Exception:
            log.exception("call %s: a fault of the media worker", self.call_id)
            result = MediaFailed(reason="internal error")
        self.feed(lambda process: process.media_done(token, result))

    async def _media(self, token: int, operation: fx.MediaOperation) -> None:
        try:
            result = await self._media_result(operation)
        except MediaError as error:
            result = MediaFailed(reason=str(error))
        self.feed(lambda process: process.media_done(token, result))

    async def _media_result(self, operation: fx.MediaOperation) -> Any:
        media, call_id = self._edge.media, self.call_id
        match operation:
            case fx.Offer():
                return await media.offer(
                    call_id=call_id,
                    from_tag=operation.from_tag,
                    to_tag=operation.to_tag,
                    sdp=operation.sdp,
                    family=operation.family,
                    from_address=operation.from_address or None,
                    to_address=operation.to_address or None,
                    flags=("application",) if operation.to_tag == APPLICATION else (),
                    options=_ECHO_OFFER[operation.echo],
                )
            case fx.Answer():
                return await media.answer(
                    call_id=call_id,
                    from_tag=operation.from_tag,
                    to_tag=operation.to_tag,
                    sdp=operation.sdp,
                    options=_ECHO_ANSWER[operation.echo],
                )
            case fx.Play():
                return await media.play(
                    call_id=call_id, tag=operation.tag, files=operation.files, repeat=operation.repeat
                )
            case fx.StopPlaying():
                return await media.stop(call_id=call_id, tag=operation.tag)
            case fx.DeleteMedia():
                return await media.delete(call_id=call_id, tag=operation.tag or None)

    async def _locate(self, token: int, target: str, secure: bool) -> None:
        try:
            found = await self._edge.locator.locate(target, secure=secure)
        except (TransportError, StoreError) as error:
            found = NotLocated(cause=38, reason=str(error))
        self.feed(lambda process: process.located(token, found))

    async def _fetch(self, token: int, keys: tuple[tuple[str, str], ...]) -> None:
        values: dict[tuple[str, str], str | None] = {}
        for space, key in keys:
            try:
                values[space, key] = await self._edge.store.get_value(space, key)
            except StoreError as error:
                log.error("call %s: cannot read %s %s: %s", self.call_id, space, key, error)
                values[space, key] = None
        self.feed(lambda process: process.values_fetched(token, values))

    async def _put(self, effect: fx.PutValue) -> None:
        store = self._edge.store
        try:
            if effect.value is None:
                await store.delete_value(effect.space, effect.key)
            else:
                await store.put_value(effect.space, effect.key, effect.value)
        except StoreError as error:
            log.error("call %s: cannot write %s %s: %s", self.call_id, effect.space, effect.key, error)

    # --- the end -----------------------------------------------------------------------------------------------

    def transaction_over(self, token: int) -> None:
        self._keys.pop(token, None)
        self.feed(lambda process: process.transaction_ended(token))

    def release(self) -> None:
        """Forget the call; what is still uncommitted goes first."""
        if self.released:
            return
        self._flush()
        self.released = True
        for name in list(self._timers):
            self._stop_timer(name)
        self._edge.forget(self, self._keys.values())
        if self.process.state.ended:
            self.process.let_go()
