"""Transactions at work: the tables' steps taken, and what each action does.

The layer above (`transaction`) finds the transaction a message or wish is about; here its table is asked what to do
and that is done. All of it is pure: what goes out is appended to a list.
"""

from __future__ import annotations

from collections.abc import Callable

from services.core.sip.message import Request, Response, make_response
from services.core.sip.timers import TimerQueue, Timers, first_delays
from services.core.sip.transaction_model import (
    AckArrived,
    AckMissing,
    ClientKey,
    ClientTransaction,
    FailureReason,
    MergeKey,
    Output,
    ResponseArrived,
    SendMessage,
    ServerKey,
    ServerTransaction,
    Transaction,
    TransactionEnded,
    TransactionFailed,
    build_ack,
    build_cancel,
)
from services.core.sip.transaction_table import RETRANSMISSION_TIMERS, Action, Input, State, step

Message = Request | Response
Effect = Callable[[Transaction, float, list[Output], Message | None], None]


class Machines:
    """The transactions there are, and the steps they take."""

    def __init__(self, timers: Timers, linger_limit: int, stats: dict[str, int]) -> None:
        self.servers: dict[ServerKey, ServerTransaction] = {}
        self.clients: dict[ClientKey, ClientTransaction] = {}
        self.merge: dict[MergeKey, ServerKey] = {}
        """Requests outside dialogs, by what a copy of them over another path shares (RFC 3261 §8.2.2.2)."""
        self.lingering: dict[Transaction, None] = {}
        """Those that only wait for copies, oldest first."""
        self._timers = timers
        self._linger_limit = max(1, linger_limit)
        self._stats = stats
        self._queue: TimerQueue[Transaction, Input] = TimerQueue()
        self._delays = {reliable: first_delays(timers, reliable=reliable) for reliable in (False, True)}
        self._effects = self._name_effects()

    def step(
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

    def start_server(self, transaction: ServerTransaction, now: float, out: list[Output]) -> None:
        """Begin a transaction for a request that is the user's to answer."""
        self.servers[transaction.key] = transaction
        transaction.arrived_at = now
        invite = transaction.key.method == "INVITE"
        self._start(transaction, Action.START_TRYING if invite else Action.START_LATE_TRYING, now, out)

    def start_client(self, transaction: ClientTransaction, now: float) -> list[Output]:
        """Begin a transaction by sending its request."""
        self.clients[transaction.key] = transaction
        out: list[Output] = []
        if transaction.kept is not None:
            out.append(transaction.kept)
        invite = transaction.key.method == "INVITE"
        self._start(transaction, Action.START_A if invite else Action.START_E, now, out)
        self._start(transaction, Action.START_B if invite else Action.START_F, now, out)
        return out

    def fire(self, now: float, out: list[Output]) -> None:
        """Fire every timer due at or before `now`, soonest first."""
        while due := self._queue.pop_due(now):
            self.step(due[0], due[1], now, out)

    def next_due(self) -> float | None:
        """When the soonest timer is due."""
        return self._queue.next_due()

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
            self.step(transaction, timer, now, out)

    def _end(self, transaction: Transaction, out: list[Output]) -> None:
        """Forget a transaction. Comes back harmlessly when a zero timer ended it inside a step."""
        self._queue.stop_retransmit(transaction)
        self._queue.stop_deadline(transaction)
        self.lingering.pop(transaction, None)
        known: Transaction | None
        if isinstance(transaction, ServerTransaction):
            known = self.servers.pop(transaction.key, None)
            if transaction.merge_key is not None:
                del self.merge[transaction.merge_key]
                transaction.merge_key = None
        else:
            known = self.clients.pop(transaction.key, None)
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
            Action.LINGER: self._linger,
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
            self.merge.pop(tx.merge_key, None)
            tx.merge_key = None

    def _resend(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        if tx.kept is not None:
            self._stats["retransmissions"] += 1
            out.append(tx.kept)

    def _send_trying(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ServerTransaction) and tx.request is not None
        tx.kept = SendMessage(make_response(tx.request, 100).to_bytes(), tx.reply_flow, tx.reopen)
        out.append(tx.kept)

    def _send_ack(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ClientTransaction) and tx.request is not None and isinstance(message, Response)
        tx.ack = SendMessage(build_ack(tx.request, message).to_bytes(), tx.flow, tx.reopen)
        out.append(tx.ack)

    def _resend_ack(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ClientTransaction) and tx.ack is not None
        self._stats["retransmissions"] += 1
        out.append(tx.ack)

    def _send_cancel(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ClientTransaction) and tx.request is not None
        key = ClientKey(tx.key.branch, "CANCEL")
        cancel = ClientTransaction(key, build_cancel(tx.request), tx.flow, reopen=tx.reopen, private=True)
        out.extend(self.start_client(cancel, now))

    def _deliver(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ClientTransaction) and isinstance(message, Response)
        if not tx.private:
            out.append(ResponseArrived(tx.key, message))

    def _deliver_ack(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(message, Request)
        out.append(AckArrived(message, tx.flow))

    def _tell_timeout(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        self._stats["timeouts"] += 1
        self._tell_failure(tx, FailureReason.TIMEOUT, out)

    def _tell_transport(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        self._stats["transport_failures"] += 1
        self._tell_failure(tx, FailureReason.TRANSPORT, out)

    @staticmethod
    def _tell_failure(tx: Transaction, reason: FailureReason, out: list[Output]) -> None:
        if isinstance(tx, ClientTransaction) and not tx.private:
            out.append(TransactionFailed(tx.key, reason))

    def _tell_ack_missing(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        assert isinstance(tx, ServerTransaction)
        self._stats["acks_missing"] += 1
        out.append(AckMissing(tx.key))

    def _linger(self, tx: Transaction, now: float, out: list[Output], message: Message | None) -> None:
        tx.request = None
        if isinstance(tx, ClientTransaction):
            tx.kept = None
        self.lingering[tx] = None
        if len(self.lingering) > self._linger_limit:
            self._stats["evicted"] += 1
            self.step(next(iter(self.lingering)), Input.EVICT, now, out)

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
