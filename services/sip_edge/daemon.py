"""The edge as a daemon, and the pieces that `pbx run` composes it from."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from functools import partial

from prometheus_client import CollectorRegistry

from services.core.address import Address
from services.core.config import Settings
from services.core.embedded import Stores, embedded_stores, only_one, shared_key
from services.core.eventlog.daemon import forwarding
from services.core.lifecycle import Drained, StartError, Stopping, drain, in_background
from services.core.metrics import LoopLag, lag_measured, metrics_served, new_registry, udp_drops
from services.dialplan import Program, load
from services.dialplan.daemon import follow, published_version
from services.media.api import MediaControl, NgMedia
from services.media.ng.client import NgClient
from services.registrar import Registrar
from services.registrar.daemon import metrics_of, new_registrar
from services.sip_edge.call.process import CallSettings
from services.sip_edge.edge import Edge
from services.sip_edge.guard import Guard
from services.sip_edge.metrics import EdgeMetrics
from services.sip_edge.probes import KEY_FILE, with_probe_context, with_probes
from services.sip_edge.transport import BindError, CertificateError

log = logging.getLogger(__name__)

HANG_UP_S = 5.0
"""What draining may take beyond its grace: the BYEs and their answers."""


@contextlib.asynccontextmanager
async def remote_media(workers: Sequence[Address]) -> AsyncIterator[NgMedia]:
    """Media control of workers elsewhere, over ng."""
    client = NgClient(workers)
    media = NgMedia(client.command)
    client.on_notify = media.notified
    try:
        yield media
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def edge_running(
    settings: Settings,
    *,
    stores: Stores,
    registrar: Registrar,
    program: Program,
    media: MediaControl,
    registry: CollectorRegistry,
    lag: LoopLag,
) -> AsyncIterator[Edge]:
    """An edge that listens while the body runs. Raises StartError for a taken port or a bad certificate."""
    metrics = EdgeMetrics(registry)
    probe_key = shared_key(settings.pbx.data_directory, KEY_FILE)
    edge = Edge(
        settings=with_probes(settings.sip, probe_key),
        store=stores.store,
        registrar=registrar,
        program=with_probe_context(program),
        media=media,
        # A new key with every start: nonces seen before it are stale, so none can be replayed. Only one edge runs on
        # a data directory, so nobody else has to know it.
        digest_key=secrets.token_bytes(32),
        observer=metrics,
        call_settings=CallSettings(user_agent=settings.sip.user_agent, timezone=settings.pbx.timezone),
        guard=Guard(settings.pbx.guard),
    )
    metrics.watch(edge)
    lag.watchers.append(edge.door.note_lag)
    try:
        try:
            await edge.start()
        except (BindError, CertificateError) as error:
            raise StartError(str(error)) from None
        yield edge
    finally:
        await edge.stop()


def use_program(edge: Edge, program: Program) -> None:
    """From now on, new calls run this dialplan; live ones keep theirs."""
    edge.program = with_probe_context(program)


async def drain_edge(edge: Edge, grace_s: float, stopping: Stopping) -> None:
    """Refuse new calls, let the others go on for a time, hang them up; a second signal does not wait."""
    log.info("draining", extra={"calls": edge.calls_active, "grace_s": grace_s})
    how = await drain(edge.drain(grace_s), grace_s + HANG_UP_S, stopping)
    if how is Drained.CUT_SHORT:
        await edge.drain(0.0)


async def serve(settings: Settings, stopping: Stopping) -> None:
    """Run an edge alone until asked to stop. Raises ConfigError and StartError."""
    program = load(settings.directory / "extensions.conf")
    workers = settings.pbx.media_workers or settings.rtp.ng_listen
    registry, started = new_registry(), asyncio.Event()

    def ready() -> bool:
        return started.is_set() and not stopping.draining

    with only_one(settings.pbx.data_directory, "edge"), lag_measured() as lag:
        async with (
            embedded_stores(settings.pbx) as stores,
            metrics_served(registry, settings.pbx.metrics, settings.pbx.metrics_origin, ready, lag),
            forwarding(stores.store, stores.log, registry, stopping),
            remote_media(workers) as media,
        ):
            registrar = new_registrar(stores.store, settings.sip)
            await registrar.start()
            registry.register(metrics_of(registrar))
            running = edge_running(
                settings, stores=stores, registrar=registrar, program=program, media=media, registry=registry, lag=lag
            )
            known = await published_version(stores.store)
            async with (
                running as edge,
                in_background("dialplan", lambda: follow(stores.store, known, partial(use_program, edge)), stopping),
            ):
                registry.register(udp_drops({"sip": lambda: edge.transport.receive_drops}))
                started.set()
                log.info("the edge is ready", extra={"sip": [str(address) for address, _ in edge.listening]})
                await stopping.asked_to_drain()
                await drain_edge(edge, settings.pbx.shutdown_grace_s, stopping)
