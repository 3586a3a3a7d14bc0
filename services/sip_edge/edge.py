"""The edge: listeners, transactions, admission and calls put together.

    datagram ─► transport ─► parser ─► TransactionLayer ─► Edge._news ─► Admission ─► Registrations | CallRunner
                                                                └► a dialog we know ─► CallRunner

Everything happens on one event loop; what the transaction layer wants sent goes out in the order it said.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from services.core.address import Address
from services.core.config.guard import default_guard
from services.core.config.sip import ListenerSettings, SipSettings
from services.core.events.catalogue import Event
from services.core.sip.digest import BOTH, ONLY_MD5, DigestServer
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response
from services.core.sip.timers import Timers
from services.core.sip.transaction import (
    BRANCH_COOKIE,
    AckArrived,
    AckMissing,
    CancelArrived,
    ClientKey,
    Output,
    RequestArrived,
    ResponseArrived,
    SendMessage,
    ServerKey,
    TransactionEnded,
    TransactionFailed,
    TransactionLayer,
    stateless_tag,
)
from services.core.store.port import Store
from services.dialplan.program import Program
from services.media.api import MediaControl, Notice
from services.registrar import Registrar
from services.sip_edge import joins
from services.sip_edge.admission import ACCEPT, ALLOW, Admission, Admitted, Refused
from services.sip_edge.call.party import IncomingInvite, PhoneRules
from services.sip_edge.call.process import CallProcess, CallSettings, Surroundings
from services.sip_edge.door import Door
from services.sip_edge.guard import Guard
from services.sip_edge.locator import Locator, reopen_at
from services.sip_edge.observer import Observer
from services.sip_edge.randomness import Randomness
from services.sip_edge.recovery import recover_calls
from services.sip_edge.registrations import Registrations
from services.sip_edge.runner import CallRunner
from services.sip_edge.transport import BindError, SipTransport, TransportLimits

log = logging.getLogger(__name__)

_ALARM_STEP_S = 0.02
"""How late timers may fire, so that those due at nearly the same time wake the process once."""
_RETRY_AFTER_S = 5
"""What a caller is told when there are too many calls, or the edge drains."""


class Edge:
    """One SIP edge. Construct, `start`, and `stop` it on the same event loop."""

    def __init__(
        self,
        *,
        settings: SipSettings,
        store: Store,
        registrar: Registrar,
        program: Program,
        media: MediaControl,
        digest_key: bytes,
        observer: Observer | None = None,
        transport: SipTransport | None = None,
        unix_s: Callable[[], float] = time.time,
        call_settings: CallSettings | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.registrar = registrar
        self.program = program
        self.media = media
        self.unix_s = unix_s
        self.observer = observer or Observer()
        self.door = Door(guard or Guard(default_guard()), unix_s, self._dropped)
        self.randomness = Randomness()
        timers = Timers(t1_s=settings.timer_t1_s)
        self._soonest_s = timers.soonest_s
        self.layer = TransactionLayer(timers=timers, limit=settings.max_transactions, new_branch=self._new_branch)
        self.transport = transport or SipTransport(
            on_message=self._message,
            on_error=self._malformed,
            on_closed=self._flow_closed,
            limits=TransportLimits(connections=settings.max_connections, idle_s=settings.tcp_idle_s),
            screen=self.door.lets_in,
            tls=settings.tls,
            websocket=settings.websocket,
        )
        self.locator = Locator(settings, registrar, self.transport, self._new_channel)
        self.draining = False
        self.listening: list[tuple[Address, ListenerSettings]] = []
        """Addresses that are open, ports as bound, and where they were asked for."""
        self._call_settings = call_settings or CallSettings(user_agent=settings.user_agent)
        self._surroundings = Surroundings(
            new_tag=self.randomness.tag,
            new_sip_call_id=self.randomness.call_id,
            unix_s=unix_s,
            phone=self.phone_rules,
        )
        # A phone kept as an MD5 hash cannot answer SHA-256, and which phone is kept how must not show.
        algorithms = ONLY_MD5 if any(peer.md5secret for peer in settings.peers.values()) else BOTH
        digest = DigestServer(settings.realm, digest_key, algorithms=algorithms, random_bytes=self.randomness.octets)
        self._admission = Admission(settings, digest, self.door.guard)
        self._registrations = Registrations(self, self._admission, self.randomness)
        self._calls: dict[str, CallRunner] = {}
        self._dialogs: dict[tuple[str, str], tuple[CallRunner, str]] = {}
        self._clients: dict[ClientKey, tuple[CallRunner, int]] = {}
        self._invites: dict[ServerKey, CallRunner] = {}
        self._outputs: deque[Output] = deque()
        self._working = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._channels = 0
        self._empty = asyncio.Event()
        self._empty.set()
        media.on_notice = self._notice

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self, listeners: Iterable[ListenerSettings] | None = None) -> None:
        """Listen, and put an end to calls this node left behind when it died.

        Raises BindError for a taken port, CertificateError for files of TLS that cannot be used.
        """
        for listener in self.settings.listeners if listeners is None else listeners:
            try:
                self.listening.append((await self.transport.listen(listener), listener))
            except BindError as error:
                if not (listener.implied and error.family_missing):
                    raise
                log.warning("%s; going on without that family", error)
        await recover_calls(self)

    @property
    def calls_active(self) -> int:
        return len(self._calls)

    async def drain(self, grace_s: float) -> None:
        """Take no new calls, let the live ones go on for `grace_s` seconds, then hang up."""
        self.draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        except TimeoutError:
            log.info("%d calls are still up after %g s and are hung up", len(self._calls), grace_s)
        for runner in list(self._calls.values()):
            runner.feed(lambda process: process.hang_up("shut down"))
        try:
            async with asyncio.timeout(2.0):
                await self._empty.wait()
        except TimeoutError:
            log.warning("%d calls did not end in time", len(self._calls))

    async def stop(self) -> None:
        """Close every socket and forget what is in flight."""
        if self._alarm is not None:
            self._alarm.cancel()
        for runner in list(self._calls.values()):
            runner.release()
        await self.transport.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a piece of work; a failure in it is logged and ends nothing else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the edge failed", exc_info=error)

    # --- transport ---------------------------------------------------------------------------------------------

    def _dropped(self, reason: str) -> None:
        self.observer.dropped(reason)

    def _message(self, message: Request | Response, flow: Flow) -> None:
        self.observer.received(message, flow)
        if self.door.lets_through(message, flow):
            self.work(self.layer.receive(message, flow, _now()))

    def _malformed(self, error: SipError, _data: bytes, flow: Flow) -> None:
        """A message that cannot be taken: counted, and answered once when it can be."""
        self.observer.malformed(error, flow)
        self.door.malformed(flow)
        if isinstance(error.message, Request) and error.message.method != "ACK":
            self.work(self.layer.answer_statelessly(error.message, flow, error.status, error.reason))

    def _flow_closed(self, flow: Flow) -> None:
        self.work(self.layer.transport_failed(flow, _now()))

    def send_ack(self, ack: Request, flow: Flow) -> None:
        """Send the ACK of a 2xx, which belongs to no transaction."""
        self.transport.send(ack.to_bytes(), flow, reopen=reopen_at(ack, flow))

    # --- transactions ------------------------------------------------------------------------------------------

    def work(self, outputs: list[Output]) -> None:
        """Do what the layer says, in order. News may lead to more outputs: they queue up behind."""
        self._outputs += outputs
        if self._working:
            return
        self._working = True
        try:
            while self._outputs:
                output = self._outputs.popleft()
                if isinstance(output, SendMessage):
                    self._send(output)
                else:
                    self._news(output)
        finally:
            self._working = False
            self._set_alarm()

    def _send(self, output: SendMessage) -> None:
        self.observer.sending(output.data, output.flow)
        if not self.transport.send(output.data, output.flow, reopen=output.reopen):
            self._outputs += self.layer.transport_failed(output.flow, _now())

    def _news(self, output: Output) -> None:
        match output:
            case RequestArrived():
                self._request(output)
            case ResponseArrived():
                if owner := self._clients.get(output.key):
                    runner, token = owner
                    response = output.response
                    runner.feed(lambda process: process.response_arrived(token, response))
            case AckArrived():
                if found := self._dialog(output.request):
                    runner, leg = found
                    request = output.request
                    runner.feed(lambda process: process.ack_arrived(leg, request))
            case CancelArrived():
                if known := self._invites.get(output.key):
                    cancelled = output.key
                    known.feed(lambda process: process.cancelled(cancelled))
            case TransactionFailed():
                if owner := self._clients.get(output.key):
                    runner, token = owner
                    reason = output.reason.value
                    runner.feed(lambda process: process.transaction_failed(token, reason))
            case AckMissing():
                self._ack_missing(output.key)
            case TransactionEnded():
                self._transaction_ended(output.key)

    def _ack_missing(self, key: ServerKey) -> None:
        if runner := self._invites.get(key):
            runner.feed(lambda process: process.ack_missing(key))

    def _transaction_ended(self, key: ServerKey | ClientKey) -> None:
        if isinstance(key, ServerKey):
            self._invites.pop(key, None)
        elif owner := self._clients.pop(key, None):
            owner[0].transaction_over(owner[1])

    def respond(self, key: ServerKey, response: Response) -> None:
        self.observer.responding(response)
        now = _now()
        if response.status >= 200 and (since := self.layer.waiting_since(key)) is not None:
            self.observer.answered(key.method, now - since)
        self.work(self.layer.respond(key, response, now))

    def deny(self, key: ServerKey, request: Request, refused: Refused) -> None:
        """Turn a stranger away."""
        self.observer.denied(request, refused.why.value, refused.detail)
        self._turn_away(key, refused.response)

    def _turn_away(self, key: ServerKey, response: Response) -> None:
        """Refuse a request whose sender nobody has asked for a password yet, and keep nothing of it.

        Without a transaction the answer is never repeated by itself: one forged datagram leads to one answer.
        """
        self.observer.responding(response)
        self.work(self.layer.respond_once(key, response, _now()))

    def request(self, runner: CallRunner, token: int, request: Request, flow: Flow) -> ClientKey:
        """Open a client transaction for a call."""
        key, outputs = self.layer.request(request, flow, _now(), reopen_at(request, flow))
        self._clients[key] = (runner, token)
        self.work(outputs)
        return key

    def cancel(self, key: ClientKey) -> None:
        self.work(self.layer.cancel(key, _now()))

    def _set_alarm(self) -> None:
        """One alarm for all transactions, set for the soonest timer."""
        if self._alarm is not None and self._alarm_at < _now() + self._soonest_s:
            return  # what was started just now is due later
        due = self.layer.next_timer()
        if due is None or (self._alarm is not None and self._alarm_at <= due):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = asyncio.get_running_loop().call_later(max(_ALARM_STEP_S, due - _now()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.work(self.layer.handle_timers(_now()))

    # --- requests ----------------------------------------------------------------------------------------------

    def _request(self, arrived: RequestArrived) -> None:
        key, request, flow = arrived.key, arrived.request, arrived.flow
        try:
            if request.to_tag:
                self._in_dialog(key, request, flow)
            else:
                self._outside_dialog(key, request, flow)
        except SipError as error:
            answer = make_response(request, error.status, error.reason, to_tag=stateless_tag(request))
            self._turn_away(key, answer)

    def _in_dialog(self, key: ServerKey, request: Request, flow: Flow) -> None:
        found = self._dialog(request)
        if found is None:
            self._turn_away(key, make_response(request, 481))
            return
        runner, leg = found
        if request.method == "INVITE":
            self._own(key, runner)
        runner.feed(lambda process: process.request_arrived(leg, key, request, flow))

    def _dialog(self, request: Request) -> tuple[CallRunner, str] | None:
        return self._dialogs.get((request.call_id, request.to_tag or ""))

    def _outside_dialog(self, key: ServerKey, request: Request, flow: Flow) -> None:
        refusal = self._admission.check_form(request) or self._admission.check_security(request, flow)
        if refusal is not None:
            self.observer.rejected(request, "form")
            self._turn_away(key, refusal)
        elif request.method == "REGISTER":
            self._registrations.register(key, request, flow)
        elif request.method == "OPTIONS":
            self._options(key, request)
        else:
            self._invite(key, request, flow)

    def _options(self, key: ServerKey, request: Request) -> None:
        """As an INVITE would be answered, without its session (RFC 3261 section 11.2)."""
        refusal = self._admission.check_content(request)
        if refusal is not None:
            self.respond(key, refusal)
            return
        headers = (("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", ""), ("User-Agent", self.settings.user_agent))
        status = 503 if self.draining or self.door.closed else 200
        self.respond(key, make_response(request, status, to_tag=self.randomness.tag(), headers=headers))

    def _invite(self, key: ServerKey, request: Request, flow: Flow) -> None:
        if self.draining or self.door.closed or len(self._calls) >= self.settings.max_calls:
            self.observer.rejected(request, "draining" if self.draining else "overload")
            self._turn_away(key, self._admission.answer(request, 503, ("Retry-After", str(_RETRY_AFTER_S))))
            return
        who = self._admission.caller(request, flow, self.unix_s())
        if isinstance(who, Refused):
            self.deny(key, request, who)
            return
        refusal = self._admission.check_content(request)
        if refusal is not None:
            self.respond(key, refusal)
            return
        peer = who.peer if isinstance(who, Admitted) else None
        phone = peer.name if peer is not None else ""
        caller = request.from_
        number = (peer.callerid_number if peer is not None else "") or caller.uri.user_unescaped or ""
        name = (peer.callerid_name if peer is not None else "") or caller.display
        invite = IncomingInvite(
            key=key,
            request=request,
            flow=flow,
            advertised=self.transport.advertised(flow),
            phone=phone,
            codecs=peer.codecs if peer is not None else self.settings.allow,
            context=peer.context if peer is not None else self.settings.context,
            called=request.request_uri.user_unescaped or "s",
            caller_name=name,
            caller_number=number,
            channel=self._new_channel(phone or flow.remote.host),
        )
        if request.has("Replaces"):
            runner = joins.replace(self, invite)
            if runner is not None:
                self._own(key, runner)
        else:
            self._start_call(invite)

    # --- calls -------------------------------------------------------------------------------------------------

    def _start_call(self, invite: IncomingInvite) -> None:
        call_id = f"{int(self.unix_s())}.{self.randomness.octets(5).hex()}"
        process = self.new_process(call_id)
        runner = self.adopt(process)
        self._own(invite.key, runner)
        runner.feed(lambda call: call.start(invite))

    def _own(self, key: ServerKey, runner: CallRunner) -> None:
        """News of this INVITE (CANCEL, a missing ACK) is for that call."""
        self._invites[key] = runner
        runner.invites.append(key)

    def new_process(self, call_id: str) -> CallProcess:
        return CallProcess(call_id, program=self.program, settings=self._call_settings, surroundings=self._surroundings)

    def adopt(self, process: CallProcess, **versions: Any) -> CallRunner:
        """Run a call here from now on."""
        runner = CallRunner(self, process, **versions)
        self._calls[process.state.call_id] = runner
        self._empty.clear()
        return runner

    def index_dialog(self, sip_call_id: str, local_tag: str, runner: CallRunner, leg: str) -> None:
        """Requests with this Call-ID and To tag are of `leg`."""
        self._dialogs[sip_call_id, local_tag] = (runner, leg)

    def leg_at(self, sip_call_id: str, local_tag: str) -> tuple[CallRunner, str] | None:
        """The call and leg of one of our dialogs."""
        return self._dialogs.get((sip_call_id, local_tag))

    def call(self, call_id: str) -> CallRunner | None:
        return self._calls.get(call_id)

    def phone_rules(self, name: str) -> PhoneRules:
        """What sip.conf says of a phone, for calls."""
        return joins.phone_rules(self.settings, name)

    def observe(self, runner: CallRunner, events: tuple[Event, ...]) -> None:
        self.observer.events(runner.process.state, events)
        if self.settings.allow_guest:
            self.door.look_at_guests(runner.process.state, events)

    def forget(self, runner: CallRunner, requests: Iterable[ClientKey]) -> None:
        """A call is over. Its transactions linger, but it need not be kept for them: it listens no more."""
        for key in requests:
            self._clients.pop(key, None)
        for invite in runner.invites:
            self._invites.pop(invite, None)
        for leg in runner.process.state.legs.values():
            found = self._dialogs.get((leg.sip_call_id, leg.local_tag))
            if found is not None and found[0] is runner:  # else the dialog goes on in another call
                del self._dialogs[leg.sip_call_id, leg.local_tag]
        self._calls.pop(runner.call_id, None)
        if not self._calls:
            self._empty.set()

    def _notice(self, notice: Notice) -> None:
        """The media worker heard something."""
        runner = self._calls.get(notice.call_id)
        if runner is None:
            return
        if notice.kind == "digit":
            runner.feed(lambda process: process.digit(notice.tag, notice.digit, notice.duration_ms))
        elif notice.kind == "played":
            runner.feed(lambda process: process.played(notice.tag))
        else:
            runner.feed(lambda process: process.media_silent(notice.tag))

    def _new_branch(self) -> str:
        return BRANCH_COOKIE + self.randomness.tag()

    def _new_channel(self, name: str) -> str:
        self._channels += 1
        return f"SIP/{name}-{self._channels:08x}"


def _now() -> float:
    return time.monotonic()
