"""Two transaction layers joined by a wire that loses datagrams: what each user hears must not depend on the loss."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from services.core.sip.message import Response, make_response
from services.core.sip.transaction import (
    AckArrived,
    AckMissing,
    CancelArrived,
    ClientKey,
    Output,
    RequestArrived,
    ResponseArrived,
    ServerKey,
    TransactionFailed,
)
from tests.core.sip.exchange import User, Wire, a_request, our_request


class Callee(User):
    """Rings, and answers an INVITE after a while of the wire's time; anything else at once."""

    def __init__(self, status: int, rings: tuple[int, ...] = (180,)) -> None:
        super().__init__("callee")
        self.status = status
        self.rings = rings
        self.invite: RequestArrived | None = None
        self.acked = 0

    def react(self, output: Output) -> None:
        if isinstance(output, RequestArrived):
            if output.request.method != "INVITE":
                self._say(output.key, output, self.status)
                return
            self.invite = output
            for status in self.rings:
                self._say(output.key, output, status)
            if self.status:
                self._say(output.key, output, self.status)
        elif isinstance(output, CancelArrived):
            assert self.invite is not None
            self._say(output.key, self.invite, 487)
        elif isinstance(output, AckArrived):
            self.acked += 1
            assert self.invite is not None
            self.layer.acknowledged(self.invite.key)

    def _say(self, key: ServerKey, arrived: RequestArrived, status: int) -> None:
        self.take(self.layer.respond(key, make_response(arrived.request, status, to_tag="callee"), self.wire.now))


class Caller(User):
    """Sends one request and acknowledges every 2xx of an INVITE."""

    def __init__(self, *, acknowledges: int = 1000, cancels_when_ringing: bool = False) -> None:
        super().__init__("caller")
        self.acknowledges = acknowledges
        self.cancels = cancels_when_ringing
        self.finals: list[int] = []
        self.key: ClientKey | None = None

    def ask(self, method: str) -> None:
        self.key, outputs = self.layer.request(our_request(method), self.flow, self.wire.now)
        self.take(outputs)

    def react(self, output: Output) -> None:
        if not isinstance(output, ResponseArrived):
            return
        status = output.response.status
        if status < 200:
            if self.cancels:
                self.take(self.layer.cancel(output.key, self.wire.now))
            return
        self.finals.append(status)
        if output.key.method == "INVITE" and status < 300 and self.acknowledges:
            self.acknowledges -= 1
            ack = a_request("ACK", branch="z9hG4bKack", sent_by="192.0.2.1:5060", to_tag="callee")
            self.wire.put(self.side, ack.to_bytes())

    def final(self) -> int:
        """The one final status; copies of a 2xx count once."""
        assert len(set(self.finals)) == 1, self.finals
        return self.finals[0]


def lossy(seed: int, percent: int) -> Callable[[int, bytes], bool]:
    chance = random.Random(seed)
    return lambda number, data: chance.randrange(100) < percent


def first_of(*starts: bytes) -> Callable[[int, bytes], bool]:
    """Lose the first message of each kind."""
    waiting = list(starts)

    def lose(number: int, data: bytes) -> bool:
        for start in waiting:
            if data.startswith(start):
                waiting.remove(start)
                return True
        return False

    return lose


def played(
    method: str, caller: Caller, callee: Callee, lose: Callable[[int, bytes], bool], seconds: float = 300
) -> Wire:
    wire = Wire((caller, callee), lose=lose)
    caller.ask(method)
    wire.run(seconds)
    return wire


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("status", [200, 404])
def test_request_and_answer_come_through_a_third_lost(seed: int, status: int) -> None:
    caller, callee = Caller(), Callee(status)
    played("OPTIONS", caller, callee, lossy(seed, 33))
    assert caller.finals == [status]
    assert callee.heard(RequestArrived) == 1
    assert len(caller.layer) == len(callee.layer) == 0


@pytest.mark.parametrize("seed", range(12))
def test_call_is_answered_and_acknowledged_through_a_third_lost(seed: int) -> None:
    caller, callee = Caller(), Callee(200)
    played("INVITE", caller, callee, lossy(seed, 33))
    assert caller.final() == 200
    assert callee.heard(RequestArrived) == 1
    assert callee.acked >= 1
    assert callee.heard(AckMissing) == 0
    assert len(caller.layer) == len(callee.layer) == 0


@pytest.mark.parametrize("seed", range(12))
def test_refused_call_is_acknowledged_by_the_layers_through_a_third_lost(seed: int) -> None:
    caller, callee = Caller(), Callee(486)
    played("INVITE", caller, callee, lossy(seed, 33))
    assert caller.finals == [486]
    assert callee.heard(AckArrived) == 0, "the ACK of a refusal is no news"
    assert len(caller.layer) == len(callee.layer) == 0


@pytest.mark.parametrize("seed", range(12))
def test_cancelled_call_ends_with_487_through_a_third_lost(seed: int) -> None:
    caller, callee = Caller(), Callee(0, rings=(100, 180, 183))
    wire = Wire((caller, callee), lose=lossy(seed, 33))
    caller.ask("INVITE")
    wire.run(random.Random(seed).uniform(0, 3))
    assert caller.key is not None
    caller.take(caller.layer.cancel(caller.key, wire.now))
    wire.run(300)
    assert caller.finals == [487]
    assert callee.heard(CancelArrived) == 1


@pytest.mark.parametrize(
    "lost",
    [
        (b"INVITE",),
        (b"SIP/2.0 180",),
        (b"SIP/2.0 200",),
        (b"ACK",),
        (b"INVITE", b"SIP/2.0 180", b"SIP/2.0 200", b"ACK"),
    ],
    ids=lambda lost: " and ".join(start.decode() for start in lost),
)
def test_call_survives_the_loss_of_the_first(lost: tuple[bytes, ...]) -> None:
    caller, callee = Caller(), Callee(200)
    played("INVITE", caller, callee, first_of(*lost))
    assert caller.final() == 200
    assert callee.acked >= 1
    assert callee.heard(RequestArrived) == 1


@pytest.mark.parametrize("lost", [b"CANCEL", b"SIP/2.0 200", b"SIP/2.0 487", b"ACK"])
def test_cancelling_survives_the_loss_of_the_first(lost: bytes) -> None:
    caller, callee = Caller(cancels_when_ringing=True), Callee(0)
    played("INVITE", caller, callee, first_of(lost))
    assert caller.finals == [487]
    assert callee.heard(CancelArrived) == 1
    assert len(caller.layer) == len(callee.layer) == 0


def test_lost_acks_are_told_after_64_t1() -> None:
    caller, callee = Caller(acknowledges=0), Callee(200)
    wire = Wire((caller, callee), lose=lambda number, data: False)
    caller.ask("INVITE")
    wire.run(31)
    assert callee.heard(AckMissing) == 0
    assert len(caller.finals) == 1 + 9, "the 2xx is repeated and every copy reaches the user"
    wire.run(40)
    assert callee.heard(AckMissing) == 1


def test_dead_peer_is_told_as_a_timeout_and_a_half_dead_one_too() -> None:
    for deaf in (b"INVITE", b"SIP/2.0"):
        caller, callee = Caller(), Callee(486)
        played("INVITE", caller, callee, lambda number, data, deaf=deaf: data.startswith(deaf))  # type: ignore[misc]
        assert caller.heard(TransactionFailed) == 1
        assert caller.finals == []
        assert len(caller.layer) == len(callee.layer) == 0


def test_without_loss_nothing_is_sent_twice() -> None:
    seen: list[bytes] = []

    def watch(number: int, data: bytes) -> bool:
        seen.append(data)
        return False

    caller, callee = Caller(), Callee(486)
    played("INVITE", caller, callee, watch)
    starts = [data.split(b"\r\n")[0].decode() for data in seen]
    assert starts == [
        "INVITE sip:bob@192.0.2.1 SIP/2.0",
        "SIP/2.0 180 Ringing",
        "SIP/2.0 486 Busy Here",
        "ACK sip:bob@192.0.2.1 SIP/2.0",
    ]
    assert isinstance(caller.news[0], ResponseArrived)
    assert isinstance(caller.news[0].response, Response)
