"""The transaction layer: messages, wishes of the user and the clock in; messages and news for the user out.

Pure: it owns no socket, clock or randomness. Every method takes `now` (monotonic seconds) and returns what to do, in
order. The caller keeps one alarm for `next_timer()` and calls `handle_timers` when it rings. What may happen in which
state is written in `transaction_table` and done by `transaction_machines`; here messages and wishes find their
transaction.

RFC 3261 §17, §9, §8.2.2.2, §18.2.2; RFC 6026; RFC 4320; RFC 3581.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.core.address import Address, HostPort
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response
from services.core.sip.timers import Timers
from services.core.sip.transaction_machines import Machines, Message
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
    TransactionEnded,
    TransactionFailed,
    answer_path,
    request_key,
    stateless_tag,
    via_value,
)
from services.core.sip.transaction_table import Input, State, received, to_send

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
    "stateless_tag",
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
    "evicted",
    "retransmissions",
    "timeouts",
    "transport_failures",
    "acks_missing",
    "late_answers",
)


class TransactionLayer:
    """All transactions of one process.

    `limit` bounds the transactions in progress; beyond it a new request gets a stateless 503. `linger_limit` bounds
    those that only wait for copies (about 1 KiB each); beyond it the oldest is forgotten, and a late copy of it would
    look new. `new_branch` returns a fresh unguessable branch with the magic cookie (`new_via` uses it). `stats` counts
    since the start, for metrics.
    """

    def __init__(
        self,
        *,
        timers: Timers | None = None,
        limit: int = 20_000,
        linger_limit: int = 60_000,
        new_branch: Callable[[], str],
    ) -> None:
        self.stats: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self._limit = limit
        self._new_branch = new_branch
        self._machines = Machines(timers or Timers(), linger_limit, self.stats)
        self._servers = self._machines.servers
        self._clients = self._machines.clients
        self._merge = self._machines.merge
        self._step = self._machines.step

    def __len__(self) -> int:
        """Transactions kept, both sides."""
        return len(self._servers) + len(self._clients)

    @property
    def in_progress(self) -> int:
        """Transactions that still owe or are owed something; what `limit` bounds."""
        return len(self._servers) + len(self._clients) - len(self._machines.lingering)

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
        self._machines.start_server(transaction, now, out)
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
        to_tag = target.to_tag or stateless_tag(request)
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

    def respond_once(self, key: ServerKey, response: Response, now: float) -> list[Output]:
        """Send a final response and forget the request: a stateless answer (RFC 3261 §8.2.7, §26.3.2.4).

        For challenges and refusals of strangers: nothing is repeated or kept, so one datagram costs one answer, and a
        copy of the request looks new. Its To tag should be `stateless_tag(request)`. The ACK comes as AckArrived.
        """
        transaction = self._servers.get(key)
        if transaction is None or _has_answered(transaction):
            self.stats["late_answers"] += 1
            return []
        out: list[Output] = [SendMessage(response.to_bytes(), transaction.reply_flow, transaction.reopen)]
        self._step(transaction, Input.GIVE_UP, now, out)
        return out

    def abandon(self, key: ServerKey, now: float) -> list[Output]:
        """Forget a request that will get no answer (an attacker's). Its retransmissions will look new."""
        out: list[Output] = []
        if transaction := self._servers.get(key):
            self._step(transaction, Input.GIVE_UP, now, out)
        return out

    def waiting_since(self, key: ServerKey) -> float | None:
        """When a request arrived that has no final answer yet; None when it has one, or is not here."""
        transaction = self._servers.get(key)
        return None if transaction is None or _has_answered(transaction) else transaction.arrived_at

    def acknowledged(self, key: ServerKey) -> None:
        """The ACK of our 2xx arrived: stop repeating it."""
        if transaction := self._servers.get(key):
            self._step(transaction, Input.ACKNOWLEDGE, 0.0, [])

    def request(
        self, request: Request, flow: Flow, now: float, reopen: Address | None = None
    ) -> tuple[ClientKey, list[Output]]:
        """Send a request of ours (not an ACK, not a CANCEL) and wait for its response.

        Its top Via is ours and has a fresh branch (`new_via`); ValueError otherwise, for that is a fault of the
        caller. The request belongs to the layer from here on. `reopen` is where to connect for it, for its CANCEL and
        its ACK when the flow's connection is gone.
        """
        branch = request.top_via.branch or ""
        key = ClientKey(branch, request.method)
        if not branch.startswith(BRANCH_COOKIE) or key in self._clients or request.method in ("ACK", "CANCEL"):
            raise ValueError(f"no new transaction: {request.method} with branch {branch!r}")
        transaction = ClientTransaction(key, request, flow, reopen=reopen)
        return key, self._machines.start_client(transaction, now)

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
        response = make_response(request, status, reason, to_tag=stateless_tag(request), headers=tuple(headers))
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
        return self._machines.next_due()

    def handle_timers(self, now: float) -> list[Output]:
        """Fire every timer due at or before `now`, soonest first. Never raises."""
        out: list[Output] = []
        self._machines.fire(now, out)
        return out

    def _is_full(self, *, reserve: bool) -> bool:
        return self.in_progress >= self._limit * (IN_DIALOG_RESERVE if reserve else 1)


def _has_answered(transaction: ServerTransaction) -> bool:
    return transaction.state not in (State.TRYING, State.PROCEEDING)


def _has_one_via(response: Response) -> bool:
    rows = response.rows("Via")
    return len(rows) == 1 and ("," not in rows[0] or len(response.vias) == 1)
