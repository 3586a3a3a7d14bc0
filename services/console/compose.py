"""A whole PBX in one process: the services of the other rooms, joined by direct calls.

    stores ─ registrar ─ dialplan ─ media worker ─► edge

Each is started after what it needs and stopped before it. A separate daemon composes the same parts over the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from rich.console import Console

from services.console.banner import Banner, Listening, dialable, show
from services.core.address import Address
from services.core.config import Settings
from services.core.daemon import complain
from services.core.embedded import embedded_stores, only_one
from services.core.eventlog.daemon import forwarding
from services.core.lifecycle import Stopping, in_background
from services.core.metrics import Pulled, lag_measured, metrics_served, new_registry, udp_drops
from services.dialplan import Program, load
from services.dialplan.daemon import Publisher, samples_of
from services.media.api import MediaControl
from services.media.local import LocalMedia
from services.media.metrics import collect as media_samples
from services.media.worker import Worker
from services.registrar.daemon import expire_forever, metrics_of, new_registrar
from services.sip_edge.daemon import drain_edge, edge_running, remote_media, use_program
from services.sip_edge.edge import Edge

log = logging.getLogger(__name__)


class Pbx:
    """`pbx run`."""

    def __init__(self, *, passwords: bool, console: Console | None = None) -> None:
        self._passwords = passwords
        self._console = console or Console()

    async def serve(self, settings: Settings, stopping: Stopping) -> None:
        """Run until asked to stop. Raises ConfigError and StartError."""
        program = load(settings.directory / "extensions.conf")
        for warning in program.warnings:
            complain(f"warning: {warning}")
        async with composed(settings, program, stopping) as (edge, metrics):
            show(banner_of(settings, program, edge, metrics), self._console, passwords=self._passwords)
            sys.stdout.flush()
            await stopping.asked_to_drain()
            await drain_edge(edge, settings.pbx.shutdown_grace_s, stopping)


@contextlib.asynccontextmanager
async def composed(
    settings: Settings, program: Program, stopping: Stopping
) -> AsyncIterator[tuple[Edge, Address | None]]:
    """Everything, running; yields the edge and the address of the metrics. Raises StartError."""
    registry, started = new_registry(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(only_one(settings.pbx.data_directory, "edge"))
        lag = stack.enter_context(lag_measured())
        stores = await stack.enter_async_context(embedded_stores(settings.pbx))
        metrics = await stack.enter_async_context(
            metrics_served(
                registry,
                settings.pbx.metrics,
                settings.pbx.metrics_origin,
                lambda: started.is_set() and not stopping.draining,
                lag,
            )
        )
        await stack.enter_async_context(forwarding(stores.store, stores.log, registry, stopping))
        registrar = new_registrar(stores.store, settings.sip)
        await registrar.start()
        registry.register(metrics_of(registrar))
        await stack.enter_async_context(in_background("expiry", lambda: expire_forever(registrar), stopping))
        drops: dict[str, Callable[[], int]] = {}
        media = await stack.enter_async_context(_media(settings, registry, drops))
        running = edge_running(
            settings,
            stores=stores,
            registrar=registrar,
            program=program,
            media=media,
            registry=registry,
            lag=lag,
        )
        edge = await stack.enter_async_context(running)
        drops["sip"] = lambda: edge.transport.receive_drops
        registry.register(udp_drops(drops))
        publisher = Publisher(settings.directory / "extensions.conf", stores.store, partial(use_program, edge))
        registry.register(samples_of(publisher))
        await stack.enter_async_context(in_background("dialplan", publisher.look_forever, stopping))
        started.set()
        yield edge, metrics


@contextlib.asynccontextmanager
async def _media(
    settings: Settings, registry: CollectorRegistry, drops: dict[str, Callable[[], int]]
) -> AsyncIterator[MediaControl]:
    """The workers of pbx.conf, or one in this process, which adds itself to `drops`."""
    if settings.pbx.media_workers:
        async with remote_media(settings.pbx.media_workers) as remote:
            yield remote
        return
    worker = Worker(settings.rtp)
    registry.register(Pulled(lambda: media_samples(worker)))
    drops["rtp"] = worker.receive_drops
    try:
        yield LocalMedia(worker)
    finally:
        worker.close()


def banner_of(settings: Settings, program: Program, edge: Edge, metrics: Address | None) -> Banner:
    """What to show of a PBX that runs."""
    sip = settings.sip
    contexts = dict.fromkeys(peer.context for peer in sip.peers.values()) or {sip.context: None}
    return Banner(
        version=version("sixfold-pbx"),
        config=settings.directory,
        data=settings.pbx.data_directory,
        sip=[
            Listening(address=address, transports=" ".join(listener.transports)) for address, listener in edge.listening
        ],
        rtp=settings.rtp,
        media_workers=settings.pbx.media_workers,
        metrics=f"http://{metrics}/metrics" if metrics else "",
        phones=list(sip.peers.values()),
        extensions=dialable(program, contexts),
        grace_s=settings.pbx.shutdown_grace_s,
    )
