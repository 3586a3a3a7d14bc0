"""The timer queue against a naive one, and its bound on stale entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.core.sip.timers import SWEEP_FROM, TimerQueue


class Owner:
    """Something with timers."""

    def __init__(self) -> None:
        self.retransmit_entry = 0
        self.deadline_entry = 0


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(("start retransmit", "start deadline", "stop retransmit", "stop deadline", "pop", "look")),
        st.integers(0, 3),
        st.integers(0, 20),
    ),
    max_size=60,
)


@given(operations=OPERATIONS)
def test_queue_equals_a_naive_one(operations: list[tuple[str, int, int]]) -> None:
    owners = [Owner() for _ in range(4)]
    queue: TimerQueue[Owner, str] = TimerQueue()
    naive: dict[tuple[int, str], tuple[int, int]] = {}
    for order, (operation, index, moment) in enumerate(operations):
        verb, _, kind = operation.partition(" ")
        if verb == "start":
            getattr(queue, f"start_{kind}")(moment, owners[index], kind)
            naive[index, kind] = (moment, order)
        elif verb == "stop":
            getattr(queue, f"stop_{kind}")(owners[index])
            naive.pop((index, kind), None)
        elif verb == "pop":
            due = min(((when, key) for key, when in naive.items() if when[0] <= moment), default=None)
            popped = queue.pop_due(moment)
            if due is None:
                assert popped is None
            else:
                assert popped == (owners[due[1][0]], due[1][1])
                del naive[due[1]]
        soonest = min((when for when, _ in naive.values()), default=None)
        assert queue.next_due() == soonest


def test_stale_entries_are_swept_before_they_outnumber_the_running_ones_by_much() -> None:
    queue: TimerQueue[Owner, str] = TimerQueue()
    running = [Owner() for _ in range(100)]
    for owner in running:
        queue.start_deadline(5.0, owner, "deadline")
    passing = Owner()
    for number in range(50_000):
        queue.start_retransmit(10.0 + number, passing, "retransmit")
        assert len(queue) <= 2 * SWEEP_FROM + 200
    assert [queue.pop_due(5.0) is not None for _ in range(101)] == [True] * 100 + [False]
    assert queue.next_due() == 10.0 + 49_999


def test_timers_of_one_moment_fire_in_the_order_they_were_started() -> None:
    queue: TimerQueue[Owner, str] = TimerQueue()
    owner = Owner()
    queue.start_deadline(1.0, owner, "first")
    queue.start_retransmit(1.0, owner, "second")
    assert queue.pop_due(0.9) is None
    assert queue.pop_due(1.0) == (owner, "first")
    assert queue.pop_due(1.0) == (owner, "second")
    assert queue.pop_due(1.0) is None
