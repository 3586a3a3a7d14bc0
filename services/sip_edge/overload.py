"""Whether new calls are refused because the process is late. Pure.

The loop's lag is the one figure that shows every kind of overload: too many calls, a machine whose CPUs are taken by
others, a slow disk. Once it nears T1 (500 ms, RFC 3261 §17.1.1.1) every phone sends everything twice, and things only
get worse; refusing new calls early keeps those that are up well (RFC 5390, RFC 6357).
"""

from __future__ import annotations


class LagGate:
    """Closed while the loop has been late by more than `limit_s` for `for_s`; open again once it was below half of that
    as long. A limit of 0 never closes."""

    __slots__ = ("_calm_since", "_for_s", "_late_since", "_limit_s", "closed")

    def __init__(self, limit_s: float, for_s: float) -> None:
        self._limit_s = limit_s
        self._for_s = for_s
        self._late_since: float | None = None
        self._calm_since: float | None = None
        self.closed = False
        """Whether new calls are refused."""

    def note(self, lag_s: float, now: float) -> None:
        """The loop was that late just now. To be told several times in `for_s`: a single pause is no overload."""
        if not self._limit_s:
            return
        if lag_s > self._limit_s:
            self._calm_since = None
            if self._late_since is None:
                self._late_since = now
            if now - self._late_since >= self._for_s:
                self.closed = True
            return
        self._late_since = None
        if lag_s > self._limit_s / 2:
            self._calm_since = None
            return
        if self._calm_since is None:
            self._calm_since = now
        if now - self._calm_since >= self._for_s:
            self.closed = False
