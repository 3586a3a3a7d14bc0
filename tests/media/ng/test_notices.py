"""Notices: in order, at least once, by a clock moved by hand."""

from __future__ import annotations

from itertools import pairwise

from services.media.ng.message import Envelope
from services.media.ng.notices import MAX_QUEUED, RETRY_WAITS_S, NoticeReceiver, NoticeSender


class Sender(NoticeSender[str]):
    """A sender whose datagrams are kept as (digit, peer), with the cookie of the last one."""

    def __init__(self) -> None:
        super().__init__("run1")
        self.cookie = b""

    def wire(self, datagrams: list[tuple[bytes, str]]) -> list[tuple[str, str]]:
        seen = []
        for data, peer in datagrams:
            envelope = Envelope.decode(data)
            self.cookie = envelope.cookie
            assert envelope.message["instance"] == "run1"
            seen.append((envelope.message["digit"], peer))
        return seen

    def digit(self, digit: str, now: float = 0.0, call_id: str = "call") -> list[tuple[str, str]]:
        return self.wire(self.send(call_id, {"command": "notify", "digit": digit}, now))

    def ack(self, now: float = 0.0) -> list[tuple[str, str]]:
        return self.wire(self.acknowledged(self.cookie, now))


def subscribed() -> Sender:
    sender = Sender()
    sender.subscribe("call", "edge1")
    return sender


def test_a_notice_goes_to_whoever_subscribed_last() -> None:
    sender = subscribed()
    assert sender.digit("1") == [("1", "edge1")]
    sender.subscribe("call", "edge2")
    assert sender.wire(sender.handle_timers(RETRY_WAITS_S[0])) == [("1", "edge2")]


def test_nobody_subscribed_and_the_notice_is_counted() -> None:
    sender = Sender()
    assert sender.digit("1") == []
    assert sender.given_up == 1
    assert sender.next_timer() is None


def test_the_next_notice_of_a_call_waits_for_the_acknowledgement() -> None:
    sender = subscribed()
    assert [sender.digit(digit) for digit in "123"] == [[("1", "edge1")], [], []]
    assert sender.ack() == [("2", "edge1")]
    assert sender.ack() == [("3", "edge1")]
    assert sender.ack() == []
    assert sender.next_timer() is None


def test_calls_do_not_wait_for_each_other() -> None:
    sender = subscribed()
    sender.subscribe("other", "edge3")
    sender.digit("1")
    assert sender.digit("2", call_id="other") == [("2", "edge3")]


def test_a_notice_is_repeated_until_it_is_acknowledged() -> None:
    sender = subscribed()
    sender.digit("5", now=10.0)
    sent_at = [10.0]
    while len(sent_at) < len(RETRY_WAITS_S):
        due = sender.next_timer()
        assert due is not None
        assert sender.handle_timers(due - 0.001) == []
        assert sender.wire(sender.handle_timers(due)) == [("5", "edge1")]
        sent_at.append(due)
    assert [later - at for at, later in pairwise(sent_at)] == list(RETRY_WAITS_S[:-1])
    assert sender.ack(now=sent_at[-1]) == []
    assert sender.next_timer() is None
    assert sender.given_up == 0


def test_after_the_last_copy_the_next_notice_has_its_turn() -> None:
    sender = subscribed()
    sender.digit("1")
    sender.digit("2")
    out: list[tuple[str, str]] = []
    while ("2", "edge1") not in out:
        due = sender.next_timer()
        assert due is not None
        out += sender.wire(sender.handle_timers(due))
    assert out == [("1", "edge1")] * (len(RETRY_WAITS_S) - 1) + [("2", "edge1")]
    assert sender.given_up == 1


def test_strange_acknowledgements_are_ignored() -> None:
    sender = subscribed()
    sender.digit("1")
    assert sender.acknowledged(b"stranger", 0.0) == []
    assert sender.ack() == []
    assert sender.ack() == []


def test_an_ended_call_delivers_what_it_has_and_is_forgotten() -> None:
    sender = subscribed()
    sender.digit("1")
    sender.digit("2")
    sender.call_ended("call")
    assert sender.ack() == [("2", "edge1")]
    assert sender.ack() == []
    assert sender.digit("3") == []
    assert sender.given_up == 1


def test_a_call_that_goes_on_after_its_end_is_not_forgotten() -> None:
    sender = subscribed()
    sender.digit("1")
    sender.call_ended("call")
    sender.subscribe("call", "edge2")
    assert sender.ack() == []
    assert sender.digit("2") == [("2", "edge2")]


def test_an_unknown_call_may_end() -> None:
    sender = subscribed()
    sender.call_ended("never heard of")
    sender.call_ended("call")
    assert sender.digit("1") == []


def test_a_flood_of_digits_is_bounded() -> None:
    sender = subscribed()
    for _ in range(MAX_QUEUED + 10):
        sender.digit("1")
    assert sender.given_up == 9


def test_a_copy_is_not_new_and_other_calls_and_runs_are() -> None:
    receiver = NoticeReceiver()
    first = {"instance": "run1", "call-id": "a", "seq": 1}
    assert receiver.is_new(first)
    assert receiver.is_new(first), "not delivered yet"
    receiver.seen(first)
    assert not receiver.is_new(first)
    assert receiver.is_new({**first, "seq": 3}), "the worker gave number 2 up"
    assert receiver.is_new({**first, "call-id": "b"})
    assert receiver.is_new({**first, "instance": "run2"})
    assert not receiver.is_new({**first, "seq": "x"})


def test_the_receivers_memory_is_bounded() -> None:
    receiver = NoticeReceiver(limit=2)
    for call_id in "abc":
        receiver.seen({"instance": "r", "call-id": call_id, "seq": 1})
    assert [receiver.is_new({"instance": "r", "call-id": call_id, "seq": 1}) for call_id in "abc"] == [
        True,
        False,
        False,
    ]
