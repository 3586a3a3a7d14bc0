"""What the transaction layer remembers and what it reports: keys, transactions, outputs.

Keys are plain tuples of texts and numbers, so that another process could hold them. An output is an instruction
(`SendMessage`) or news for the transaction user; the user takes them in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from services.core.address import Address, HostPort
from services.core.sip.flow import UDP, Flow
from services.core.sip.message import Request, Response
from services.core.sip.transaction_table import CLIENT, INVITE_CLIENT, INVITE_SERVER, SERVER, Input, State, Table

BRANCH_COOKIE = "z9hG4bK"
"""A branch that starts with it identifies its transaction alone (RFC 3261 §8.1.1.7)."""
SIP_PORT = 5060


class ServerKey(NamedTuple):
    """What a request shares with its retransmissions, its ACK and its CANCEL (RFC 3261 §17.2.3)."""

    branch: str
    """The top Via's branch; for a client without the cookie (RFC 2543) the fields that identified it, by line."""
    host: str
    port: int
    """The top Via's sent-by; port 0 when it names none."""
    method: str
    """INVITE for an ACK."""


class ClientKey(NamedTuple):
    """What a response shares with our request (RFC 3261 §17.1.3)."""

    branch: str
    method: str


MergeKey: TypeAlias = tuple[str, str, int, str]
"""Call-ID, From tag, CSeq number and method."""


class FailureReason(StrEnum):
    """Why a request of ours got no final response."""

    TIMEOUT = "timeout"
    TRANSPORT = "transport"


# --- outputs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send `data` along `flow`."""

    data: bytes
    flow: Flow
    reopen: Address | None = None
    """Where to connect when the flow's connection is gone (RFC 3261 §18.2.2 for responses); None: give up."""


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """A new request, once. Answer it with `respond(key, ...)`."""

    key: ServerKey
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class AckArrived:
    """An ACK that no transaction took: of a 2xx, so for a dialog; ignore it when none fits. Never answer it."""

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class CancelArrived:
    """The INVITE `key` was cancelled and has no final response yet: answer that INVITE with 487.

    The CANCEL itself is answered already.
    """

    key: ServerKey
    request: Request


@dataclass(frozen=True, slots=True)
class ResponseArrived:
    """A response to our request: every 101-199, the final one once, every copy and fork of an INVITE's 2xx.

    Each 2xx of an INVITE wants an ACK from the user, sent straight to the transport; any other is acknowledged.
    """

    key: ClientKey
    response: Response


@dataclass(frozen=True, slots=True)
class TransactionFailed:
    """No final response will come. To be taken as 408 or 503 (RFC 3261 §8.1.3.1)."""

    key: ClientKey
    reason: FailureReason


@dataclass(frozen=True, slots=True)
class AckMissing:
    """Our 2xx was repeated for 64*T1 and never acknowledged: end the session with a BYE (RFC 3261 §13.3.1.4)."""

    key: ServerKey


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """The last news of a transaction: its key is unknown from here on. Copies would look new."""

    key: ServerKey | ClientKey


Output: TypeAlias = (
    SendMessage
    | RequestArrived
    | AckArrived
    | CancelArrived
    | ResponseArrived
    | TransactionFailed
    | AckMissing
    | TransactionEnded
)


# --- transactions ----------------------------------------------------------------------------------------------------


class ServerTransaction:
    """A request we received. Only the layer changes it."""

    __slots__ = (
        "arrived_at",
        "deadline_entry",
        "flow",
        "interval",
        "kept",
        "key",
        "merge_key",
        "private",
        "reliable",
        "reopen",
        "repeats",
        "reply_flow",
        "request",
        "retransmit_entry",
        "state",
        "table",
        "to_tag",
    )

    def __init__(self, key: ServerKey, request: Request, flow: Flow, *, private: bool = False) -> None:
        self.key = key
        self.request: Request | None = request
        """None once nothing is owed any more."""
        self.flow = flow
        self.reliable = flow.reliable
        self.private = private
        """The user never heard of it (a CANCEL), so it does not hear of its end either."""
        self.table: Table = INVITE_SERVER if key.method == "INVITE" else SERVER
        self.state = State.PROCEEDING if key.method == "INVITE" else State.TRYING
        self.reply_flow, self.reopen = answer_path(request, flow)
        self.kept: SendMessage | None = None
        """The last response, as it went out."""
        self.arrived_at = 0.0
        self.to_tag = ""
        """To tag of the last response: an RFC 2543 client's ACK carries it, and so does our answer to a CANCEL."""
        self.merge_key: MergeKey | None = None
        self.interval = 0.0
        self.repeats = Input.TIMER_A
        self.retransmit_entry = 0
        self.deadline_entry = 0


class ClientTransaction:
    """A request of ours. Only the layer changes it."""

    __slots__ = (
        "ack",
        "deadline_entry",
        "flow",
        "interval",
        "kept",
        "key",
        "private",
        "reliable",
        "reopen",
        "repeats",
        "request",
        "retransmit_entry",
        "sent_by",
        "state",
        "table",
    )

    def __init__(
        self, key: ClientKey, request: Request, flow: Flow, *, reopen: Address | None = None, private: bool = False
    ) -> None:
        self.key = key
        self.request: Request | None = request
        """None once nothing is owed any more."""
        self.flow = flow
        self.reliable = flow.reliable
        self.private = private
        self.reopen = reopen
        self.table: Table = INVITE_CLIENT if key.method == "INVITE" else CLIENT
        self.state = State.CALLING if key.method == "INVITE" else State.TRYING
        via = request.top_via
        self.sent_by = (via.host, via.port)
        self.kept: SendMessage | None = SendMessage(request.to_bytes(), flow, reopen)
        self.ack: SendMessage | None = None
        self.interval = 0.0
        self.repeats = Input.TIMER_A
        self.retransmit_entry = 0
        self.deadline_entry = 0


Transaction: TypeAlias = ServerTransaction | ClientTransaction


# --- matching and routing --------------------------------------------------------------------------------------------


def request_key(request: Request) -> ServerKey:
    """The key of the transaction a request belongs to (RFC 3261 §17.2.3). Raises SipError when fields are malformed.

    Without the cookie the branch is no identity: the Request-URI, From tag, Call-ID and CSeq number take its place
    (RFC 2543). The To tag is not among them: the CSeq tells a request in a dialog from the one that made it.
    """
    via = request.top_via
    branch = via.branch or ""
    method = "INVITE" if request.method == "ACK" else request.method
    if not branch.startswith(BRANCH_COOKIE):
        fields = ("2543", branch, request.uri, request.from_tag or "", request.call_id, str(request.cseq.number))
        branch = "\n".join(fields)
    return ServerKey(branch, via.host, via.port or 0, method)


def answer_path(request: Request, flow: Flow) -> tuple[Flow, Address | None]:
    """Where answers to `request` go: the flow, and where to reconnect should its connection be gone.

    RFC 3261 §18.2.2 with RFC 3581: back to the address the request came from; over UDP to the port it came from if
    the client asked for that (`rport`), else to the port of its sent-by. A `maddr` in the Via is not followed: it
    lets anybody point our answers at anybody.
    """
    via = request.top_via
    port = via.port or SIP_PORT
    if flow.transport != UDP:
        return flow, Address(flow.remote.host, port, flow.remote.scope_id)
    if port == flow.remote.port or via.wants_rport:
        return flow, None
    return replace(flow, remote=Address(flow.remote.host, port, flow.remote.scope_id)), None


def via_value(transport: str, sent_by: HostPort, new_branch: Callable[[], str]) -> str:
    """A Via value of ours, with a fresh branch, asking for `rport` (RFC 3581)."""
    return f"SIP/2.0/{transport.upper()} {sent_by};branch={new_branch()};rport"


def stateless_tag(request: Request) -> str:
    """A To tag that the same request always gets, for answers that leave no state (RFC 3261 §8.2.7)."""
    identity = f"{request.top_via}\n{request.get('Call-ID')}\n{request.get('CSeq')}"
    return blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()


# --- requests of a hop -----------------------------------------------------------------------------------------------


def build_ack(invite: Request, response: Response) -> Request:
    """The ACK of a 300-699 (RFC 3261 §17.1.1.3): one Via, the INVITE's; its Route; the response's To."""
    return _same_hop("ACK", invite, response.get("To") or "")


def build_cancel(invite: Request) -> Request:
    """The CANCEL of an INVITE (RFC 3261 §9.1): everything that identifies it is the INVITE's."""
    return _same_hop("CANCEL", invite, invite.get("To") or "")


def _same_hop(method: str, invite: Request, to: str) -> Request:
    rows = [("Via", str(invite.top_via)), ("Max-Forwards", "70")]
    rows += [("Route", route) for route in invite.rows("Route")]
    rows += [
        ("From", invite.get("From") or ""),
        ("To", to),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{invite.cseq.number} {method}"),
    ]
    return Request(method, invite.uri, rows)
