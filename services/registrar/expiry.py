"""When which AOR must be looked at again: one heap, no timer per binding. Pure: the caller brings the time."""

from __future__ import annotations

import heapq

from services.registrar.model import Bindings

_NO_COUNTS = (0, 0)


class Expiries:
    """The next expiry of every AOR, and how many bindings of each family they have.

    An AOR is armed once, for its earliest expiry. A refresh does not touch the heap: when the old time comes, the AOR
    is looked at, found alive, and armed anew. So the heap holds about one entry per AOR however often they refresh.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._armed: dict[str, float] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._totals = [0, 0]

    def watch(self, aor: str, bindings: Bindings) -> None:
        """What is bound to an AOR now."""
        first = bindings.next_expiry
        if first is not None:
            self.arm(aor, first)
        self._count(aor, bindings)

    def arm(self, aor: str, when: float) -> None:
        """Look at the AOR no later than `when`."""
        armed = self._armed.get(aor)
        if armed is None or when < armed:
            self._armed[aor] = when
            heapq.heappush(self._heap, (when, aor))

    def pop_due(self, now: float, limit: int) -> list[str]:
        """At most `limit` AORs to look at; each is disarmed, so `watch` or `arm` it again."""
        due: list[str] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(due) < limit:
            when, aor = heapq.heappop(heap)
            if self._armed.get(aor) == when:
                del self._armed[aor]
                due.append(aor)
        return due

    @property
    def next(self) -> float | None:
        """The earliest time armed, perhaps for an AOR that was refreshed since."""
        return self._heap[0][0] if self._heap else None

    @property
    def families(self) -> dict[str, int]:
        """Bindings by address family."""
        return {"ip4": self._totals[0], "ip6": self._totals[1]}

    def _count(self, aor: str, bindings: Bindings) -> None:
        ip6 = len([binding for binding in bindings.items if binding.family == "ip6"])
        counts = (len(bindings.items) - ip6, ip6)
        before = self._counts.get(aor, _NO_COUNTS)
        if counts == before:
            return
        self._totals[0] += counts[0] - before[0]
        self._totals[1] += counts[1] - before[1]
        if counts == _NO_COUNTS:
            del self._counts[aor]
        else:
            self._counts[aor] = counts
