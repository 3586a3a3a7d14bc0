"""The transaction layer: messages, wishes of the user and the clock in; messages and news for the user out.

Pure: it owns no socket, clock or randomness. Every method takes `now` (monotonic seconds) and returns what to do, in
order. The caller keeps one alarm for `next_timer()` and calls `handle_timers` when it rings. What may happen in which
state is written in `transaction_table`; here are the matching of messages to transactions and the actions' effects.

RFC 3261 §17, §9, §8.2.2.2, §18.2.2; RFC 6026; RFC 4320; RFC 3581.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

from services.core.address import HostPort
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response
from services.core.sip.timers import TimerQueue, Timers, first_delays
from services.core.sip.transaction_model import (
    BRANCH_COOKIE,
    AckArrived,
    AckMissing,
    CancelArrived,
    ClientKey,
    ClientTransaction,
    FailureReason,
    Output,
    RequestArrived,
    ResponseArrived,
    SendMessage,
    ServerKey,
    ServerTransaction,
    Transaction,
    TransactionEnded,
    TransactionFailed,
    answer_path,
    build_ack,
    build_cancel,
    request_key,
    via_value,
)
from services.core.sip.transaction_table import RETRANSMISSION_TIMERS, Action, Input, State, received, step, to_send

__all__ = [
    "BRANCH_COOKIE",
    "AckArrived",
    "AckMissing",
    "CancelArrived",
    "ClientKey",
    "FailureReason",
    "Output",
    "RequestArrived",
    "ResponseArrived",
    "SendMessage",
    "ServerKey",
    "Timers",
    "TransactionEnded",
    "TransactionFailed",
    "TransactionLayer",
]

IN_DIALOG_RESERVE = 1.1
"""Requests about something that exists (a To tag, CANCEL) are taken up to this multiple of the limit."""
RETRY_AFTER_S = 5
"""What the 503 of a full layer asks for."""
OTHER_METHODS = ("OPTIONS", "REGISTER", "BYE", "MESSAGE", "INFO", "UPDATE", "PRACK", "REFER", "SUBSCRIBE", "NOTIFY")
"""Methods a CANCEL has no effect on; it is answered 200 when it names such a transaction (RFC 3261 §9.2)."""

COUNTERS = (
    "requests",
    "requests_again",
    "responses",
    "stray_responses",
    "acks",
    "cancels",
    "stray_cancels",
    "merged",
    "overload",
    "retransmissions",
    "timeouts",
    "transport_failures",
    "acks_missing",
    "late_answers",
)

Message = Request | Response
Effect = Callable[[Transaction, float, list[Output], Message | None], None]


class TransactionLayer:
    """All transactions of one process.

    `limit` bounds the transactions kept; beyond it a new request gets a stateless 503. `new_branch` returns a fresh
    unguessable branch with the magic cookie (`new_via` uses it). `stats` counts since the start, for metrics.
    """

    def __init__(self, *, timers: Timers | None = None, limit: int = 20_000, new_branch: Callable[[], str]) -> None:
        self.stats: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self._timers = timers or Timers()
        self._limit = limit
        self._new_branch = new_branch
        self._servers: dict[ServerKey, ServerTransaction] = {}
        self._clients: dict[ClientKey, ClientTransaction] = {}
        self._merge: dict[tuple[str, str, int, str], ServerKey] = {}
        self._queue: TimerQueue[Transaction, Input] = TimerQueue()
        self._delays = {reliable: first_delays(self._timers, reliable=reliable) for reliable in (False, True)}
        self._effects: dict[Action, Effect] = self._name_effects()

    def __len__(self) -> int:
        """Transactions kept, both sides."""
        return len(self._servers) + len(self._clients)

    def state_of(self, key: ServerKey | ClientKey) -> State | None:
        """The state of a transaction; None when it has ended or never was."""
        transaction = self._servers.get(key) if isinstance(key, ServerKey) else self._clients.get(key)
        return transaction.state if transaction else None

    def new_via(self, transport: str, sent_by: HostPort) -> str:
        """A Via value with a fresh branch for a new request (or the ACK of a 2xx), asking for rport."""
        return via_value(transport, sent_by, self._new_branch)

    # --- messages ----------------------------------------------------------------------------------------------------

    def receive(self, message: Message, flow: Flow, now: float) -> list[Output]:
        """Take a message from the network: absorbed, answered or handed up. Never raises on what a peer sent."""
        try:
            if isinstance(message, Response):
                return self._receive_response(message, now)
            if message.method == "ACK":
                return self._receive_ack(message, flow, now)
            if message.method == "CANCEL":
                return self._receive_cancel(message, flow, now)
            return self._receive_request(message, flow, now)
        except SipError as error:
            if isinstance(message, Response):
                self.stats["stray_responses"] += 1
                return []
            return self.answer_statelessly(message, flow, error.status, error.reason)

    def _receive_request(self, request: Request, flow: Flow, now: float) -> list[Output]:
        out: list[Output] = []
        key = request_key(request)
        known = self._servers.get(key)
        if known is not None:
            self.stats["requests_again"] += 1
            self._step(known, Input.REQUEST, now, out)
            return out
        in_dialog = request.to_tag is not None
        if self._is_full(reserve=in_dialog):
            self.stats["overload"] += 1
            return self.answer_statelessly(request, flow, 503, headers=(("Retry-After", str(RETRY_AFTER_S)),))
        transaction = ServerTransaction(key, request, flow)
        if not in_dialog and (from_tag := request.from_tag):
            merge_key = (request.call_id, from_tag, request.cseq.number, request.method)
            if merge_key in self._merge:
                self.stats["merged"] += 1
                return self.answer_statelessly(request, flow, 482)
            self._merge[merge_key] = key
            transaction.merge_key = merge_key
        self.stats["requests"] += 1
        self._servers[key] = transaction
        invite = key.method == "INVITE"
        self._start(transaction, Action.START_TRYING if invite else Action.START_LATE_TRYING, now, out)
        out.append(RequestArrived(key, request, flow))
        return out

    def _receive_ack(self, request: Request, flow: Flow, now: float) -> list[Output]:
        """An ACK confirms a 300-699 here; any other is the user's, and none is ever answered."""
        self.stats["acks"] += 1
        out: list[Output] = []
        try:
            transaction = self._servers.get(request_key(request))
            to_tag = request.to_tag or ""
        except SipError:
            return out
        if transaction is None:
            return [AckArrived(request, flow)]
        cookie = transaction.key.branch.startswith(BRANCH_COOKIE)
        if not cookie and transaction.to_tag and to_tag != transaction.to_tag:
            return [AckArrived(request, flow)]
        self._step(transaction, Input.ACK, now, out, request)
        return out

    def _receive_cancel(self, request: Request, flow: Flow, now: float) -> list[Output]:
        """Answer a CANCEL, 200 or 481, and report it when its INVITE still waits for an answer (RFC 3261 §9.2)."""
        out: list[Output] = []
        key = request_key(request)
        known = self._servers.get(key)
        if known is not None:
            self.stats["requests_again"] += 1
            self._step(known, Input.REQUEST, now, out)
            return out
        target = self._cancelled_by(key)
        self.stats["cancels" if target else "stray_cancels"] += 1
        if self._is_full(reserve=True) or target is None:
            return self.answer_statelessly(request, flow, 200 if target else 481)
        self._servers[key] = transaction = ServerTransaction(key, request, flow, private=True)
        to_tag = target.to_tag or _stateless_tag(request)
        self._step(transaction, Input.SEND_2XX, now, out, make_response(request, 200, to_tag=to_tag))
        if target.state is State.PROCEEDING and target.key.method == "INVITE":
            out.append(CancelArrived(target.key, request))
        return out

    def _cancelled_by(self, key: ServerKey) -> ServerTransaction | None:
        """The transaction a CANCEL names: same branch and sent-by, any other method but ACK."""
        for method in ("INVITE", *OTHER_METHODS):
            target = self._servers.get(key._replace(method=method))
            if target is not None:
                return target
        return None

    def _receive_response(self, response: Response, now: float) -> list[Output]:
        """Match by branch and method, and drop what is not for us (RFC 3261 §17.1.3, §18.1.2, §8.1.3.3)."""
        via = response.top_via
        transaction = self._clients.get(ClientKey(via.branch or "", response.cseq.method))
        if transaction is None or (via.host, via.port) != transaction.sent_by or not _has_one_via(response):
            self.stats["stray_responses"] += 1
            return []
        self.stats["responses"] += 1
        out: list[Output] = []
        self._step(transaction, received(response.status), now, out, response)
        return out

    # --- the user's wishes -------------------------------------------------------------------------------------------

    def respond(self, key: ServerKey, response: Response, now: float) -> list[Output]:
        """Send a response to a request and keep it for the request's copies.

        An answer that comes too late (a final one was sent, or the transaction is over) is dropped and counted. A
        non-INVITE is never answered 408, nor with a provisional other than 100, nor with a 100 over UDP before the
        client has slowed down: such a wish is swallowed (RFC 4320 §4).
        """
        transaction = self._servers.get(key)
        if transaction is None:
            self.stats["late_answers"] += 1
            return []
        event = to_send(response.status)
        if key.method != "INVITE":
            if response.status == 408:
                event = Input.GIVE_UP
            elif event is Input.SEND_1XX or (event is Input.SEND_100 and not transaction.reliable):
                return []
        out: list[Output] = []
        self._step(transaction, event, now, out, response)
        if not out and event is not Input.GIVE_UP:
            self.stats["late_answers"] += 1
        return out

    def abandon(self, key: ServerKey, now: float) -> list[Output]:
        """Forget a request that will get no answer (an attacker's). Its retransmissions will look new."""
        out: list[Output] = []
        if transaction := self._servers.get(key):
            self._step(transaction, Input.GIVE_UP, now, out)
        return out

    def acknowledged(self, key: ServerKey) -> None:
        """The ACK of our 2xx arrived: stop repeating it."""
        if transaction := self._servers.get(key):
            self._step(transaction, Input.ACKNOWLEDGE, 0.0, [])

    def request(self, request: Request, flow: Flow, now: float) -> tuple[ClientKey, list[Output]]:
        """Send a request of ours (not an ACK, not a CANCEL) and wait for its response.

        Its top Via is ours and has a fresh branch (`new_via`); ValueError otherwise, for that is a fault of the
        caller. The request belongs to the layer from here on.
        """
        branch = request.top_via.branch or ""
        key = ClientKey(branch, request.method)
        if not branch.startswith(BRANCH_COOKIE) or key in self._clients or request.method in ("ACK", "CANCEL"):
            raise ValueError(f"no new transaction: {request.method} with branch {branch!r}")
        transaction = ClientTransaction(key, request, flow)
        return key, self._start_client(transaction, now)

    def _start_client(self, transaction: ClientTransaction, now: float) -> list[Output]:
        self._clients[transaction.key] = transaction
        out: list[Output] = [transaction.kept]
        invite = transaction.key.method == "INVITE"
        self._start(transaction, Action.START_A if invite else Action.START_E, now, out)
        self._start(transaction, Action.START_B if invite else Action.START_F, now, out)
        return out

    def cancel(self, key: ClientKey, now: float) -> list[Output]:
        """Cancel an INVITE of ours: at once when a provisional came, else when one comes (RFC 3261 §9.1).

        Nothing happens once a final response came. The INVITE's own final response (487, or a 2xx that crossed the
        CANCEL and wants ACK and BYE) still arrives; without one it fails by timeout 64*T1 after the CANCEL.
        """
        out: list[Output] = []
        if transaction := self._clients.get(key):
            self._step(transaction, Input.CANCEL, now, out)
        return out

    def answer_statelessly(
        self,
        request: Request,
        flow: Flow,
        status: int,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> list[Output]:
        """An answer that leaves nothing behind: for what we have no room for or cannot read. Never to an ACK.

        The To tag depends on the request alone, as RFC 3261 §8.2.7 asks.
        """
        if request.method == "ACK":
            return []
        response = make_response(request, status, reason, to_tag=_stateless_tag(request), headers=tuple(headers))
        reply_flow, reopen = answer_path(request, flow)
        return [SendMessage(response.to_bytes(), reply_flow, reopen)]

    # --- transport and clock -----------------------------------------------------------------------------------------

    def transport_failed(self, flow: Flow, now: float) -> list[Output]:
        """The flow broke, or a message could not be sent along it: fail the requests that depend on it.

        Looks at every client transaction; answers owed over the flow are left to reconnection and timers.
        """
        out: list[Output] = []
        for transaction in [t for t in self._clients.values() if t.flow == flow]:
            self._step(transaction, Input.TRANSPORT_ERROR, now, out)
        return out

    def next_timer(self) -> float | None:
        """When to call `handle_timers` next; None while nothing waits."""
        return self._queue.next_due()

    def handle_timers(self, now: float) -> list[Output]:
        """Fire every timer due at or before `now`, soonest first. Never raises."""
        out: list[Output] = []
        while due := self._queue.pop_due(now):
            self._step(due[0], due[1], now, out)
        return out

    def _is_full(self, *, reserve: bool) -> bool:
        return len(self._servers) + len(self._clients) >= self._limit * (IN_DIALOG_RESERVE if reserve else 1)

    # --- steps and their effects -------------------------------------------------------------------------------------

    def _step(
        self, transaction: Transaction, event: Input, now: float, out: list[Output], message: Message | None = None
    ) -> None:
        """Take one step of the table and do its actions."""
        transaction.state, actions = step(transaction.table, transaction.state, event)
        for action in actions:
            effect = self._effects.get(action)
            if effect is not None:
                effect(transaction, now, out, message)
            else:
                self._start(transaction, action, now, out)
        if transaction.state is State.TERMINATED:
            self._end(transaction, out)

    def _start(self, transaction: Transaction, action: Action, now: float, out: list[Output]) -> None:
        """Start the timer an action names. A zero timer has fired when this returns (reliable transports)."""
        timer, delay = self._delays[transaction.reliable][action]
        if timer in RETRANSMISSION_TIMERS:
            transaction.interval, transaction.repeats = delay, timer
            if delay:
                self._queue.start_retransmit(now + delay, transaction, timer)
        elif delay:
            self._queue.start_deadline(now + delay, transaction, timer)
        else:
            self._step(transaction, timer, now, out)

    def _end(self, transaction: Transaction, out: list[Output]) -> None:
        """Forget a transaction. Comes back harmlessly when a zero timer ended it inside a step."""
        self._queue.stop_retransmit(transaction)
        self._queue.stop_deadline(transaction)
        known: Transaction | None
        if isinstance(transaction, ServerTransaction):
            known = self._servers.pop(transaction.key, None)
            if transaction.merge_key is not None:
                del self._merge[transaction.merge_key]
                transaction.merge_key = None
        else:
            known = self._clients.pop(transaction.key, None)
        if known is not None and not transaction.private:
            out.append(TransactionEnded(transaction.key))

    def _name_effects(self) -> dict[Action, Effect]:
        """What each action that is not the start of a timer does."""
        return {
            Action.SEND: self._send,
            Action.RESEND: self._resend,
            Action.SEND_TRYING: self._send_trying,
            Action.SEND_ACK: self._send_ack,
            Action.RESEND_ACK: self._resend_ack,
            Action.SEND_CANCEL: self._send_cancel,
            Action.DELIVER: self._deliver,
            Action.DELIVER_ACK: self._deliver_ack,
            Action.TELL_TIMEOUT: self._tell_timeout,
            Action.TELL_TRANSPORT: self._tell_transport,
            Action.TELL_ACK_MISSING: self._tell_ack_missing,
            Action.BACK_OFF: self._back_off,
            Action.SLOW_DOWN: self._slow_down,
            Action.STOP_RETRANSMIT: self._stop_retransmit,
            Action.STOP_DEADLINE: self._stop_deadline,
        }

    def _send(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ServerTransaction) and isinstance(message, Response)
        tx.to_tag = message.to_tag or ""
        tx.kept = SendMessage(message.to_bytes(), tx.reply_flow, tx.reopen)
        out.append(tx.kept)
        if message.status in (401, 407) and tx.merge_key is not None:
            # Some phones answer the challenge without raising the CSeq: a new attempt, not a merged copy.
            self._merge.pop(tx.merge_key, None)
            tx.merge_key = None

    def _resend(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        if tx.kept is not None:
            self.stats["retransmissions"] += 1
            out.append(tx.kept)

    def _send_trying(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ServerTransaction)
        tx.kept = SendMessage(make_response(tx.request, 100).to_bytes(), tx.reply_flow, tx.reopen)
        out.append(tx.kept)

    def _send_ack(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ClientTransaction) and isinstance(message, Response)
        tx.ack = SendMessage(build_ack(tx.request, message).to_bytes(), tx.flow)
        out.append(tx.ack)

    def _resend_ack(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ClientTransaction) and tx.ack is not None
        self.stats["retransmissions"] += 1
        out.append(tx.ack)

    def _send_cancel(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ClientTransaction)
        cancel = ClientTransaction(ClientKey(tx.key.branch, "CANCEL"), build_cancel(tx.request), tx.flow, private=True)
        out.extend(self._start_client(cancel, now))

    def _deliver(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ClientTransaction) and isinstance(message, Response)
        if not tx.private:
            out.append(ResponseArrived(tx.key, message))

    def _deliver_ack(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(message, Request)
        out.append(AckArrived(message, tx.flow))

    def _tell_timeout(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        self.stats["timeouts"] += 1
        self._tell_failure(tx, FailureReason.TIMEOUT, out)

    def _tell_transport(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        self.stats["transport_failures"] += 1
        self._tell_failure(tx, FailureReason.TRANSPORT, out)

    @staticmethod
    def _tell_failure(tx: Transaction, reason: FailureReason, out: list[Output]) -> None:
        if isinstance(tx, ClientTransaction) and not tx.private:
            out.append(TransactionFailed(tx.key, reason))

    def _tell_ack_missing(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ServerTransaction)
        self.stats["acks_missing"] += 1
        out.append(AckMissing(tx.key))

    def _back_off(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        """Twice the interval; only an INVITE request is not held at T2 (RFC 3261 §17.1.1.2)."""
        longer = tx.interval * 2
        tx.interval = longer if tx.repeats is Input.TIMER_A else min(longer, self._timers.t2_s)
        self._queue.start_retransmit(now + tx.interval, tx, tx.repeats)

    def _slow_down(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        tx.interval = self._timers.t2_s
        self._queue.start_retransmit(now + tx.interval, tx, tx.repeats)

    def _stop_retransmit(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        self._queue.stop_retransmit(tx)

    def _stop_deadline(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        self._queue.stop_deadline(tx)


def _has_one_via(response: Response) -> bool:
    rows = response.rows("Via")
    return len(rows) == 1 and ("," not in rows[0] or len(response.vias) == 1)


def _stateless_tag(request: Request) -> str:
    """A To tag that the same request always gets (RFC 3261 §8.2.7)."""
    identity = f"{request.top_via}\n{request.get('Call-ID')}\n{request.get('CSeq')}"
    return blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
