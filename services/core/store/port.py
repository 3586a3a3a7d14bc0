"""The hot state: what a running cluster must know now, and what happened but has not reached the history yet.

A *change* is one step of one aggregate (a call, an address of record): the events it decided and the snapshot they
lead to. Both are kept together or not at all, and only when the aggregate is still at the version the decider saw.
The events wait in the outbox until a forwarder has moved them to the event log.

Versions are fenced: a change with a lower epoch than the stored one is refused, so an owner that was replaced cannot
write any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.core.events.catalogue import Event
from services.core.events.envelope import Record


class StoreError(Exception):
    """The store cannot be used now (disk full, file damaged, server away). Nothing of the change was kept."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Where an aggregate stands. `Version(0, 0)`: there is nothing yet (or not any more)."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """The aggregate was not at the expected version, or its epoch is higher; nothing of the change was kept."""

    current: Version
    """Where it is; `Version(0, 0)` when it does not exist."""


@dataclass(slots=True, kw_only=True)  # made for every commit: unfrozen costs a third
class Change:
    """One step of one aggregate. A value: do not write to it."""

    kind: str
    """`call` or `registration`."""
    key: str
    expected: Version
    """The version that was decided upon. `Version(0, 0)` when there was nothing; after a deletion that too, or the
    version the deletion gave (for facts that come late)."""
    epoch: int
    """Fencing token of the writer, at least 1 and at least the stored one."""
    events: tuple[Event, ...] = ()
    """They get the numbers `expected.seq + 1` and so on. Numbers of a key are never used twice: a key that was deleted
    and comes again goes on where it stopped."""
    snapshot: bytes | None
    """The state after the events; None deletes it."""
    time: float
    """Unix seconds at which it was decided."""
    times: tuple[float, ...] = ()
    """When each event was decided, for events that waited for a common commit; empty when all were at `time`."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """The events of one change, waiting for the log."""

    position: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """How far the log is behind."""

    depth: int
    """Changes that wait."""
    oldest: float
    """When the oldest of them was decided, in Unix seconds; 0.0 when none waits."""


class Store(Protocol):
    """The hot state. Every method may raise StoreError."""

    def submit(self, changes: Sequence[Change]) -> asyncio.Future[list[Version | Conflict]]:
        """Commit, without a coroutine: the future is done when the changes are kept.

        Each change is kept or refused by itself; the list answers in their order. What is submitted in one turn of the
        event loop is one transaction. A later change of the list may build on an earlier one.
        Raises ValueError when an epoch is not positive; the future raises TypeError, OverflowError or
        UnicodeEncodeError when an event cannot be stored.
        """
        ...

    async def commit(self, changes: Sequence[Change]) -> list[Version | Conflict]:
        """`submit`, awaited. Cancelling it does not take the changes back."""
        ...

    async def load(self, kind: str, key: str) -> tuple[Version, bytes] | None:
        """The snapshot of an aggregate and its version."""
        ...

    def scan(self, kind: str) -> AsyncIterator[tuple[str, Version, bytes]]:
        """Every aggregate of a kind, by key. What changes meanwhile may or may not be seen."""
        ...

    async def get_value(self, space: str, key: str) -> str | None:
        """A single value, of the dialplan's `DB()` or `GLOBAL()`."""
        ...

    async def put_value(self, space: str, key: str, value: str) -> None:
        """Set a single value."""
        ...

    async def delete_value(self, space: str, key: str) -> None:
        """Forget a single value; one that is not there is fine."""
        ...

    async def outbox(self, limit: int) -> list[OutboxRow]:
        """The oldest changes whose events are not acknowledged, in the order of their commits, at most `limit`."""
        ...

    async def outbox_done(self, up_to: int) -> None:
        """The log has the events of every row up to this position."""
        ...

    async def outbox_status(self) -> OutboxStatus:
        """What waits, for the metrics."""
        ...

    async def outbox_wait(self, timeout_s: float) -> None:
        """Return when something was committed since the last call, or after the timeout (another process may share
        the store and its commits are not announced here)."""
        ...

    async def close(self) -> None:
        """Keep what was submitted, then let go of the store."""
        ...
