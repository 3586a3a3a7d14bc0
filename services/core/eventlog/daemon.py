"""The forwarder as a part of a daemon: it runs beside the rest, is measured, and ends with nothing left behind."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from services.core.eventlog.forwarder import Forwarder
from services.core.eventlog.port import EventLog, EventLogError
from services.core.lifecycle import Stopping, in_background
from services.core.metrics import Pulled, counter, gauge
from services.core.store.port import Store, StoreError

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def forwarding(
    store: Store, event_log: EventLog, registry: CollectorRegistry, stopping: Stopping
) -> AsyncIterator[Forwarder]:
    """Move the outbox to the log while the body runs, and what is left when it has ended."""
    forwarder = Forwarder(store, event_log)
    registry.register(_samples(forwarder))
    async with in_background("forwarder", forwarder.run, stopping):
        yield forwarder
    try:
        await forwarder.drain()
    except (StoreError, EventLogError) as error:
        log.warning("events stay in the outbox until the next start: %s", error)


def _samples(forwarder: Forwarder) -> Pulled:
    def collect() -> Iterator[Metric]:
        stats, waiting = forwarder.stats, forwarder.status
        results: dict[str, float] = {"ok": stats.published, "failed": stats.failures}
        oldest_s = time.time() - waiting.oldest if waiting.oldest else 0.0
        yield counter("pbx_events_published", "Events the log took, and batches it did not take.", results, "result")
        yield counter("pbx_duplicate_events", "Events the log had already.", {"": stats.duplicates})
        yield gauge("pbx_outbox_depth", "Changes that wait for the log.", {"": waiting.depth})
        yield gauge("pbx_outbox_oldest_seconds", "How long the oldest has waited.", {"": oldest_s})

    return Pulled(collect)
