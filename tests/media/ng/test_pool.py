"""Which worker takes a call."""

from __future__ import annotations

from collections import Counter

import pytest

from services.core.address import Address
from services.media.ng import pool as pool_module
from services.media.ng.pool import UNREACHABLE_S, WorkerPool

WORKERS = [Address("192.0.2.1", 2223), Address("2001:db8::1", 2223), Address("192.0.2.3", 2223)]


def test_every_edge_comes_to_the_same_order() -> None:
    one, other = WorkerPool(WORKERS), WorkerPool(WORKERS)
    assert [one.order(f"call{number}", 0.0) for number in range(50)] == [
        other.order(f"call{number}", 0.0) for number in range(50)
    ]


def test_calls_are_spread() -> None:
    pool = WorkerPool(WORKERS)
    first = Counter(pool.order(f"call{number}", 0.0)[0] for number in range(3000))
    assert all(850 < first[worker] < 1150 for worker in range(3))


def test_only_the_calls_of_a_lost_worker_move() -> None:
    pool = WorkerPool(WORKERS)
    before = {f"c{number}": pool.order(f"c{number}", 0.0) for number in range(200)}
    pool.silent(1, 0.0)
    after = {call_id: pool.order(call_id, 1.0) for call_id in before}
    assert all(after[call_id][-1] == 1 for call_id in before)
    assert all(after[call_id][0] == before[call_id][0] for call_id in before if before[call_id][0] != 1)


def test_a_silent_worker_is_away_for_a_while_or_until_it_answers() -> None:
    pool = WorkerPool(WORKERS)
    pool.silent(0, 5.0)
    assert pool.is_away(0, 5.0 + UNREACHABLE_S - 0.1)
    assert not pool.is_away(0, 5.0 + UNREACHABLE_S)
    pool.silent(0, 100.0)
    pool.answered(0)
    assert not pool.is_away(0, 100.0)


def test_a_call_stays_with_its_worker_until_it_is_released() -> None:
    pool = WorkerPool(WORKERS)
    pool.pin("call", 2)
    assert pool.worker_of("call") == 2
    pool.release("call")
    pool.release("call")
    assert pool.worker_of("call") is None


def test_the_memory_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_CALLS", 2)
    pool = WorkerPool(WORKERS)
    for call_id in "abac":
        pool.pin(call_id, 0)
    assert [pool.worker_of(call_id) for call_id in "abc"] == [0, None, 0]


def test_a_single_worker_is_always_tried() -> None:
    pool = WorkerPool(WORKERS[:1])
    pool.silent(0, 0.0)
    assert pool.order("call", 1.0) == [0]


def test_a_pool_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="worker"):
        WorkerPool([])
