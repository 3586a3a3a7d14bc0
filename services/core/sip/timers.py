"""The clock side of transactions: the values of RFC 3261's timers and one heap for all that are running.

A transaction never owns a coroutine or a loop handle. It has at most two timers running, one that retransmits and
one that ends a wait, and remembers only the number of each one's entry in the heap. Stopping a timer forgets the
number; the entry stays behind, is recognised as stale when it surfaces, and is swept when stale entries outnumber
running ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

from services.core.sip.transaction_table import Action, Input

SWEEP_FROM = 1024
"""A heap smaller than this is never swept: stale entries leave by coming due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """Base values in seconds and what RFC 3261 §17 (table 4), RFC 6026 and RFC 4320 derive from them."""

    t1_s: float = 0.5
    """Round trip estimate."""
    t2_s: float = 4.0
    """Longest interval between retransmissions of a non-INVITE request, of a final response, of a 2xx."""
    t4_s: float = 5.0
    """Longest time a message stays in the network."""
    trying_s: float = 0.2
    """An INVITE without an answer of ours for this long gets a 100 (RFC 3261 §17.2.1)."""
    completed_invite_s: float = 32.0
    """Timer D on an unreliable transport: at least 32 s (RFC 3261 §17.1.1.2)."""

    @property
    def patience_s(self) -> float:
        """64*T1: timers B, F, H, J, L, M, and how long a 2xx is retransmitted."""
        return 64 * self.t1_s

    @property
    def soonest_s(self) -> float:
        """No timer is due sooner than this after it was started."""
        return min(self.trying_s, self.t1_s, self.t4_s)

    @property
    def late_trying_s(self) -> float:
        """When timer E of a non-INVITE client first reaches T2: the earliest 100 by RFC 4320 §4.1."""
        interval, elapsed = self.t1_s, self.t1_s
        while interval * 2 < self.t2_s:
            interval *= 2
            elapsed += interval
        return elapsed


def first_delays(timers: Timers, *, reliable: bool) -> dict[Action, tuple[Input, float]]:
    """The timer each START action means and its first delay; 0 is not at all, or at once for a deadline.

    RFC 3261 §17, table 4: over a reliable transport nothing is repeated and nobody lingers for late copies.
    """
    patience = timers.patience_s
    repeat = 0.0 if reliable else timers.t1_s
    linger = 0.0 if reliable else timers.t4_s
    return {
        Action.START_A: (Input.TIMER_A, repeat),
        Action.START_B: (Input.TIMER_B, patience),
        Action.START_D: (Input.TIMER_D, 0.0 if reliable else timers.completed_invite_s),
        Action.START_E: (Input.TIMER_E, repeat),
        Action.START_F: (Input.TIMER_F, patience),
        Action.START_G: (Input.TIMER_G, repeat),
        Action.START_H: (Input.TIMER_H, patience),
        Action.START_I: (Input.TIMER_I, linger),
        Action.START_J: (Input.TIMER_J, 0.0 if reliable else patience),
        Action.START_K: (Input.TIMER_K, linger),
        Action.START_L: (Input.TIMER_L, patience),
        Action.START_M: (Input.TIMER_M, patience),
        Action.START_2XX: (Input.TIMER_2XX, timers.t1_s),
        Action.START_TRYING: (Input.TIMER_TRYING, timers.trying_s),
        Action.START_LATE_TRYING: (Input.TIMER_TRYING, timers.late_trying_s),
        Action.START_CANCEL: (Input.TIMER_CANCEL, patience),
        Action.START_ABANDON: (Input.TIMER_ABANDON, patience),
    }


class Timed(Protocol):
    """What has timers in the queue: it keeps the numbers of its running entries, 0 for none."""

    retransmit_entry: int
    deadline_entry: int


T = TypeVar("T", bound=Timed)
K = TypeVar("K")


class TimerQueue(Generic[T, K]):
    """Running timers, soonest first; `K` says which timer of its owner an entry is."""

    __slots__ = ("_count", "_heap", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T, K]] = []
        self._count = 0
        self._stale = 0

    def __len__(self) -> int:
        """Entries held, stale ones included."""
        return len(self._heap)

    def start_retransmit(self, due: float, owner: T, kind: K) -> None:
        """Run `kind` as the owner's retransmission timer, instead of the one that was running."""
        self.stop_retransmit(owner)
        owner.retransmit_entry = self._push(due, owner, kind)

    def start_deadline(self, due: float, owner: T, kind: K) -> None:
        """Run `kind` as the owner's deadline, instead of the one that was running."""
        self.stop_deadline(owner)
        owner.deadline_entry = self._push(due, owner, kind)

    def stop_retransmit(self, owner: T) -> None:
        """Stop the owner's retransmission timer, if it runs."""
        if owner.retransmit_entry:
            owner.retransmit_entry = 0
            self._stale += 1

    def stop_deadline(self, owner: T) -> None:
        """Stop the owner's deadline, if it runs."""
        if owner.deadline_entry:
            owner.deadline_entry = 0
            self._stale += 1

    def next_due(self) -> float | None:
        """When the soonest running timer is due; None when nothing runs."""
        heap = self._heap
        while heap:
            due, number, owner, _ = heap[0]
            if number in (owner.retransmit_entry, owner.deadline_entry):
                return due
            heappop(heap)
            self._stale -= 1
        return None

    def pop_due(self, now: float) -> tuple[T, K] | None:
        """Take the soonest timer that is due at or before `now`; it no longer runs."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, number, owner, kind = heappop(heap)
            if owner.retransmit_entry == number:
                owner.retransmit_entry = 0
                return owner, kind
            if owner.deadline_entry == number:
                owner.deadline_entry = 0
                return owner, kind
            self._stale -= 1
        return None

    def _push(self, due: float, owner: T, kind: K) -> int:
        self._count += 1
        heappush(self._heap, (due, self._count, owner, kind))
        if self._stale > SWEEP_FROM and self._stale * 2 > len(self._heap):
            self._sweep(keep=self._count)
        return self._count

    def _sweep(self, keep: int) -> None:
        # `keep` was pushed a moment ago and its owner does not know the number yet.
        self._heap = [
            entry
            for entry in self._heap
            if entry[1] == keep or entry[1] in (entry[2].retransmit_entry, entry[2].deadline_entry)
        ]
        heapify(self._heap)
        self._stale = 0
