"""Which worker a message goes to. Pure; `now` is monotonic seconds.

A call stays with the worker that took its first offer. New calls are spread by rendezvous hashing of call id and
worker, so that every edge, and an edge that was started again, comes to the same worker while the same ones answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

from services.core.address import Address

UNREACHABLE_S = 10.0
"""How long a worker that did not answer gets no new calls."""
MAX_CALLS = 65536
"""Calls whose worker is remembered; beyond, the one unused for longest is found by its hash again."""


class WorkerPool:
    """The workers of an edge, by index into `workers`."""

    def __init__(self, workers: Sequence[Address], unreachable_s: float = UNREACHABLE_S) -> None:
        if not workers:
            raise ValueError("a pool needs a worker")
        self.workers = tuple(workers)
        self._names = [str(worker).encode() for worker in self.workers]
        self._unreachable_s = unreachable_s
        self._away_until = [0.0] * len(self.workers)
        self._calls: OrderedDict[str, int] = OrderedDict()

    def worker_of(self, call_id: str) -> int | None:
        """The worker that has the call, as far as this edge knows."""
        return self._calls.get(call_id)

    def order(self, call_id: str, now: float) -> list[int]:
        """Every worker in the order in which a call without one should try them; the unreachable ones last."""
        count = len(self.workers)
        if count == 1:
            return [0]
        key = call_id.encode("utf-8", "surrogatepass")
        weights = [blake2b(name + b"\0" + key, digest_size=8).digest() for name in self._names]
        return sorted(range(count), key=lambda index: (self._away_until[index] > now, weights[index]))

    def is_away(self, worker: int, now: float) -> bool:
        """Whether the worker is taken for unreachable."""
        return self._away_until[worker] > now

    def pin(self, call_id: str, worker: int) -> None:
        """The worker took the call."""
        self._calls[call_id] = worker
        self._calls.move_to_end(call_id)
        if len(self._calls) > MAX_CALLS:
            self._calls.popitem(last=False)

    def release(self, call_id: str) -> None:
        """The call is over, or its worker lost."""
        self._calls.pop(call_id, None)

    def answered(self, worker: int) -> None:
        """A worker is there."""
        self._away_until[worker] = 0.0

    def silent(self, worker: int, now: float) -> None:
        """A worker did not answer; new calls avoid it for a while."""
        self._away_until[worker] = now + self._unreachable_s
