"""The history: every event, for good, in the order in which it was committed per key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from services.core.events.envelope import Record

Positioned = tuple[int, Record]
"""A record and its position. Positions rise; what has position 0 or less does not exist."""


class EventLogError(Exception):
    """The log cannot be used now. Whether the records of a failed append are kept is unknown: append them again."""


class EventLog(Protocol):
    """An append-only log of records. Every method may raise EventLogError."""

    async def append(self, records: Sequence[Record]) -> int:
        """Keep the records, in this order; return how many are new.

        A record whose (topic, key, epoch, seq) is kept already is left out, so appending again is harmless.
        """
        ...

    async def read(self, topic: str | None, after: int, limit: int) -> list[Positioned]:
        """At most `limit` records behind position `after`, of one topic or of all."""
        ...

    async def read_key(self, topic: str, key: str) -> list[Positioned]:
        """Everything about one call or one address of record."""
        ...

    async def end(self) -> int:
        """The position of the last record; 0 when there is none."""
        ...

    def follow(self, topic: str | None, after: int) -> AsyncIterator[Positioned]:
        """The records behind `after`, and then those to come, without end."""
        ...

    async def close(self) -> None:
        """Keep what was appended, then let go of the log."""
        ...
