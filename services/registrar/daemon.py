"""The registrar's daemon: ends bindings that nobody refreshed, whichever edge took them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from services.core.config import Settings, SipSettings
from services.core.embedded import embedded_stores, only_one
from services.core.eventlog.daemon import forwarding
from services.core.lifecycle import Stopping, in_background
from services.core.metrics import Pulled, counter, gauge, metrics_served, new_registry
from services.core.store.port import Store, StoreError
from services.registrar.model import Rules
from services.registrar.service import Registrar

log = logging.getLogger(__name__)

TICK_S = 1.0
LOOK_AGAIN_S = 30.0
"""How often a registrar that takes no REGISTER itself looks for what others took."""


def new_registrar(store: Store, settings: SipSettings) -> Registrar:
    """A registrar with the rules of sip.conf."""
    rules = Rules(
        min_expires_s=settings.min_expiry_s,
        max_expires_s=settings.max_expiry_s,
        default_expires_s=settings.default_expiry_s,
    )
    return Registrar(store, time.time, rules)


async def expire_forever(registrar: Registrar) -> None:
    """End bindings as they fall due, until cancelled. A store that is away is waited for."""
    while True:
        await asyncio.sleep(TICK_S)
        try:
            await registrar.expire_due()
        except StoreError as error:
            log.warning("bindings cannot be ended now: %s", error)


async def _look_again_forever(registrar: Registrar) -> None:
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        await registrar.start()


def metrics_of(registrar: Registrar) -> Pulled:
    """The registrar's samples."""

    def collect() -> Iterator[Metric]:
        results: dict[str, float] = dict(registrar.results)
        bindings: dict[str, float] = dict(registrar.bindings_by_family)
        yield counter("pbx_registrations", "REGISTER requests answered, and contacts that expired.", results, "result")
        yield gauge("pbx_bindings", "Contacts bound now.", bindings, "family")

    return Pulled(collect)


async def serve(settings: Settings, stopping: Stopping) -> None:
    """Run until asked to stop; there is nothing to drain. Raises StartError."""
    registry, started = new_registry(), asyncio.Event()

    def ready() -> bool:
        return started.is_set() and not stopping.draining

    with only_one(settings.pbx.data_directory, "registrar"):
        async with (
            embedded_stores(settings.pbx) as stores,
            metrics_served(registry, settings.pbx.metrics, settings.pbx.metrics_origin, ready),
            forwarding(stores.store, stores.log, registry, stopping),
        ):
            registrar = new_registrar(stores.store, settings.sip)
            known = await registrar.start()
            registry.register(metrics_of(registrar))
            started.set()
            log.info("the registrar is ready", extra={"addresses_of_record": known})
            async with (
                in_background("expiry", lambda: expire_forever(registrar), stopping),
                in_background("look again", lambda: _look_again_forever(registrar), stopping),
            ):
                await stopping.asked_to_drain()
