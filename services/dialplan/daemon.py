"""The dialplan's daemon: compiles extensions.conf whenever it changes, and publishes each version that is sound.

A version with errors is reported and not published, so that edges go on with the last good one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric

from services.core.config import ConfigError, Settings
from services.core.daemon import complain
from services.core.embedded import embedded_stores, only_one
from services.core.lifecycle import Stopping, in_background
from services.core.metrics import Counts, Pulled, metrics_served, new_registry
from services.core.store.port import Store
from services.dialplan.loader import load
from services.dialplan.program import Program

log = logging.getLogger(__name__)

SPACE = "dialplan"
CURRENT = "current"
"""Key of the version that new calls use; each version itself is under its own name."""
POLL_S = 1.0


class Publisher:
    """Looks at the files of one dialplan and keeps the store up to date."""

    def __init__(self, path: Path, store: Store, on_program: Callable[[Program], None] | None = None) -> None:
        """`on_program` is called with each version that is published."""
        self._path = path
        self._store = store
        self._on_program = on_program
        self._seen = self._compiled = _stamp(path.parent)
        self.results = Counts("pbx_dialplan_versions", "Dialplans compiled after a change.", ("result",))

    async def publish(self, program: Program) -> None:
        """Make a version the one that new calls use."""
        packed = base64.b64encode(program.to_bytes()).decode("ascii")
        await self._store.put_value(SPACE, program.version, packed)
        await self._store.put_value(SPACE, CURRENT, program.version)
        if self._on_program is not None:
            self._on_program(program)
        self.results.add("published")
        log.info("dialplan published", extra={"version": program.version, "contexts": len(program.contexts)})

    async def look(self) -> None:
        """Compile and publish when a file has changed; complain about errors and keep the last good version.

        A file must have stayed as it is from one look to the next: half a file, as an editor or a copy leaves it for a
        moment, can be a sound dialplan and a wrong one.
        """
        before, self._seen = self._seen, _stamp(self._path.parent)
        if self._seen in (self._compiled, ()) or self._seen != before:
            return
        self._compiled = self._seen
        try:
            await self.publish(load(self._path))
        except ConfigError as error:
            self.results.add("refused")
            for problem in error.problems:
                log.error("%s", problem)

    async def look_forever(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            await self.look()


def _stamp(folder: Path) -> tuple[object, ...]:
    """What changes when one of the files does that a dialplan may include from its own directory."""
    return tuple((str(path), *_times(path)) for path in sorted(folder.rglob("*.conf")))


def _times(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


async def published_version(store: Store) -> str | None:
    """The version that new calls should use; None when none was ever published."""
    return await store.get_value(SPACE, CURRENT)


async def follow(store: Store, known: str | None, on_program: Callable[[Program], None]) -> None:
    """Call `on_program` with each version that is published from now on; `known` is the one at the start."""
    while True:
        await asyncio.sleep(POLL_S)
        version = await published_version(store)
        if version is None or version == known:
            continue
        known = version
        packed = await store.get_value(SPACE, version)
        if packed is not None:
            on_program(Program.from_bytes(base64.b64decode(packed)))
            log.info("new calls use another dialplan", extra={"version": version})


async def serve(settings: Settings, stopping: Stopping) -> None:
    """Publish now and after every change, until asked to stop. Raises ConfigError when the first is not sound."""
    path = settings.directory / "extensions.conf"
    program = load(path)
    for warning in program.warnings:
        complain(f"warning: {warning}")
    registry, started = new_registry(), asyncio.Event()

    def ready() -> bool:
        return started.is_set() and not stopping.draining

    with only_one(settings.pbx.data_directory, "dialplan"):
        async with contextlib.AsyncExitStack() as stack:
            stores = await stack.enter_async_context(embedded_stores(settings.pbx))
            await stack.enter_async_context(
                metrics_served(registry, settings.pbx.metrics, settings.pbx.metrics_origin, ready)
            )
            publisher = Publisher(path, stores.store)
            registry.register(samples_of(publisher))
            await publisher.publish(program)
            started.set()
            await stack.enter_async_context(in_background("dialplan", publisher.look_forever, stopping))
            await stopping.asked_to_drain()


def samples_of(publisher: Publisher) -> Pulled:
    """The publisher's samples."""

    def collect() -> Iterator[Metric]:
        yield publisher.results.collect()

    return Pulled(collect)
