"""Requests, responses, a layer under a hand-moved clock, and two layers joined by a lossy wire."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from heapq import heappop, heappush

from services.core.address import Address
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response, parse_message
from services.core.sip.transaction import (
    ClientKey,
    Output,
    RequestArrived,
    SendMessage,
    ServerKey,
    Timers,
    TransactionLayer,
)

US = Address("192.0.2.1", 5060)
PEER = Address("192.0.2.9", 5070)
UDP_FLOW = Flow("udp", US, PEER, 1)
TCP_FLOW = Flow("tcp", US, PEER, 7)
FLOWS = {"udp": UDP_FLOW, "tcp": TCP_FLOW}


def a_request(
    method: str = "OPTIONS",
    *,
    branch: str | None = "z9hG4bKpeer1",
    sent_by: str = "192.0.2.9:5070",
    via_params: str = ";rport",
    cseq: int = 1,
    call_id: str = "call-1",
    to_tag: str | None = None,
    from_tag: str | None = "peer",
    more: str = "",
) -> Request:
    """A request as it comes from the network."""
    branch_param = "" if branch is None else f";branch={branch}"
    text = (
        f"{method} sip:bob@192.0.2.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {sent_by}{branch_param}{via_params}\r\n"
        f"From: Alice <sip:alice@192.0.2.9>{'' if from_tag is None else f';tag={from_tag}'}\r\n"
        f"To: Bob <sip:bob@192.0.2.1>{'' if to_tag is None else f';tag={to_tag}'}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n"
        f"Contact: <sip:alice@192.0.2.9:5070>\r\n{more}Content-Length: 0\r\n\r\n"
    )
    request = parse_message(text.encode())
    assert isinstance(request, Request)
    return request


def our_request(method: str = "OPTIONS", *, branch: str = "z9hG4bKours1", more: str = "") -> Request:
    """A request of ours, as the user gives it to the layer."""
    return a_request(method, branch=branch, sent_by="192.0.2.1:5060", from_tag="ours", more=more)


def a_response(request: Request, status: int, *, tag: str | None = "peertag") -> Response:
    """A response as it comes from the network."""
    response = parse_message(make_response(request, status, to_tag=tag).to_bytes())
    assert isinstance(response, Response)
    return response


def read(data: bytes) -> Request | Response:
    return parse_message(data)


class Driven:
    """A layer, its clock, and everything it has said since the last look."""

    def __init__(
        self, transport: str = "udp", *, limit: int = 1000, linger_limit: int = 1000, timers: Timers | None = None
    ) -> None:
        self.now = 100.0
        self.flow = FLOWS[transport]
        branches = (f"z9hG4bKfresh{number}" for number in itertools.count(1))
        self.layer = TransactionLayer(
            timers=timers, limit=limit, linger_limit=linger_limit, new_branch=lambda: next(branches)
        )
        self.said: list[Output] = []

    def hear(self, message: Request | Response, flow: Flow | None = None) -> list[Output]:
        """Give the layer a message from the network."""
        return self._note(self.layer.receive(message, flow or self.flow, self.now))

    def arrived(self, request: Request) -> ServerKey:
        """Give the layer a request that is new and return its key."""
        outputs = self.hear(request)
        assert len(outputs) == 1 and isinstance(outputs[0], RequestArrived), outputs
        return outputs[0].key

    def answer(self, key: ServerKey, request: Request, status: int, *, tag: str = "ourtag") -> list[Output]:
        """Answer a request as its user."""
        return self._note(self.layer.respond(key, make_response(request, status, to_tag=tag), self.now))

    def ask(self, request: Request) -> ClientKey:
        """Send a request as its user."""
        key, outputs = self.layer.request(request, self.flow, self.now)
        self._note(outputs)
        return key

    def cancel(self, key: ClientKey) -> list[Output]:
        return self._note(self.layer.cancel(key, self.now))

    def wait(self, seconds: float) -> list[Output]:
        """Move the clock, firing timers exactly when they are due."""
        until = self.now + seconds
        outputs: list[Output] = []
        while (due := self.layer.next_timer()) is not None and due <= until:
            self.now = max(due, self.now)
            outputs += self.layer.handle_timers(self.now)
        self.now = until
        return self._note(outputs)

    def moments_of_sending(self, seconds: float) -> list[float]:
        """Seconds from now at which the layer sends something by itself, within a while."""
        start, until, moments = self.now, self.now + seconds, []
        while (due := self.layer.next_timer()) is not None and due <= until:
            self.now = max(due, self.now)
            outputs = self._note(self.layer.handle_timers(self.now))
            moments += [round(self.now - start, 6) for output in outputs if isinstance(output, SendMessage)]
        self.now = until
        return moments

    def _note(self, outputs: list[Output]) -> list[Output]:
        self.said += outputs
        return outputs


def sent(outputs: list[Output]) -> list[Request | Response]:
    """The messages among the outputs, read again."""
    return [read(output.data) for output in outputs if isinstance(output, SendMessage)]


def sent_starts(outputs: list[Output]) -> list[str]:
    """The start lines of the messages sent."""
    return [message.start_line for message in sent(outputs)]


class Wire:
    """Two layers in one world. `lose(number, data)` says which datagrams never arrive; each takes `delay_s`."""

    def __init__(
        self,
        users: tuple[User, User],
        *,
        lose: Callable[[int, bytes], bool],
        transport: str = "udp",
        delay_s: float = 0.03,
    ) -> None:
        self.now = 0.0
        self._users = users
        self._lose = lose
        self._delay_s = delay_s
        self._sent = 0
        self._flying: list[tuple[float, int, int, bytes]] = []
        flow = FLOWS[transport]
        self._flows = (Flow(transport, flow.local, flow.remote, 1), Flow(transport, flow.remote, flow.local, 1))
        for side, user in enumerate(users):
            user.side, user.wire, user.flow = side, self, self._flows[side]

    def put(self, side: int, data: bytes) -> None:
        """Send from one side to the other."""
        self._sent += 1
        if not self._lose(self._sent, data):
            heappush(self._flying, (self.now + self._delay_s, self._sent, 1 - side, data))

    def run(self, seconds: float) -> None:
        """Let time pass: datagrams land, timers fire, users act."""
        while True:
            moments = [user.layer.next_timer() for user in self._users]
            moments.append(self._flying[0][0] if self._flying else None)
            soonest = min((moment for moment in moments if moment is not None), default=None)
            if soonest is None or soonest > seconds:
                self.now = seconds
                return
            self.now = max(self.now, soonest)
            for user in self._users:
                user.take(user.layer.handle_timers(self.now))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, side, data = heappop(self._flying)
                user = self._users[side]
                user.take(user.layer.receive(parse_message(data), user.flow, self.now))


class User:
    """A transaction user on one side of a wire; subclasses say what it does with news."""

    side: int
    wire: Wire
    flow: Flow

    def __init__(self, name: str, timers: Timers | None = None) -> None:
        branches = (f"z9hG4bK{name}{number}" for number in itertools.count(1))
        self.layer = TransactionLayer(timers=timers, limit=1000, new_branch=lambda: next(branches))
        self.news: list[Output] = []

    def take(self, outputs: list[Output]) -> None:
        """Do what the layer says and note its news."""
        for output in outputs:
            if isinstance(output, SendMessage):
                self.wire.put(self.side, output.data)
            else:
                self.news.append(output)
                self.react(output)

    def react(self, output: Output) -> None:
        """What this user does about a piece of news."""

    def heard(self, kind: type[Output]) -> int:
        """How many pieces of news of one kind there were."""
        return sum(isinstance(output, kind) for output in self.news)
