"""From the outbox to the log: in order, at least once.

What the log has is acknowledged to the outbox afterwards, so a crash between the two makes the next forwarder append
the same records again, and the log leaves them out. Two forwarders on one outbox (two processes that share a data
directory) are harmless for the same reason: each appends the oldest records first.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from services.core.eventlog.port import EventLog, EventLogError
from services.core.store.port import OutboxStatus, Store, StoreError

LOGGER = logging.getLogger(__name__)

BATCH = 100
"""Changes moved at a time; about 2 ms of the loop."""
LINGER_S = 0.25
"""How long a commit may wait for company: an append costs about 1 ms of its own, a fifth of a call."""
POLL_S = 1.0
"""How often to look for commits of other processes."""
RETRY_MAX_S = 5.0


@dataclass(slots=True)
class ForwarderStats:
    """Counts since the start, read by the metrics."""

    published: int = 0
    """Events the log took."""
    duplicates: int = 0
    """Events the log had already."""
    failures: int = 0
    """Batches that could not be moved; they are tried again."""


class Forwarder:
    """Moves what is in the outbox, for as long as `run` runs."""

    def __init__(
        self, store: Store, log: EventLog, *, batch: int = BATCH, linger_s: float = LINGER_S, poll_s: float = POLL_S
    ) -> None:
        self._store = store
        self._log = log
        self._batch = batch
        self._linger_s = linger_s
        self._poll_s = poll_s
        self.stats = ForwarderStats()
        self.status = OutboxStatus(0, 0.0)
        """What waited when it last looked, at most `poll_s` ago."""

    async def run(self) -> None:
        """Forward until cancelled. A store or a log that is away is waited for."""
        delay_s = self._linger_s
        while True:
            try:
                await self.drain()
                delay_s = self._linger_s
                await self._store.outbox_wait(self._poll_s)
            except (StoreError, EventLogError) as error:
                self.stats.failures += 1
                delay_s = min(max(2 * delay_s, self._linger_s), RETRY_MAX_S)
                LOGGER.warning("events wait in the outbox: %s", error)
            await asyncio.sleep(delay_s)

    async def drain(self) -> None:
        """Forward what waits. Raises StoreError or EventLogError."""
        while await self.forward() == self._batch:
            pass
        self.status = await self._store.outbox_status()

    async def forward(self) -> int:
        """Move one batch; return how many changes it held. Raises StoreError or EventLogError."""
        rows = await self._store.outbox(self._batch)
        if not rows:
            return 0
        records = [record for row in rows for record in row.records]
        new = await self._log.append(records)
        self.stats.published += new
        self.stats.duplicates += len(records) - new
        await self._store.outbox_done(rows[-1].position)
        return len(rows)
