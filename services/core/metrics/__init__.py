"""Measurements for Prometheus, at /metrics over HTTP, and whether the process is well, at /healthz and /readyz.

What is counted or measured is kept in plain dictionaries and lists (`Counts`, `Distribution`) and turned into samples
when somebody asks: prometheus-client's own counters and histograms take locks, which one thread has no use for, and
cost several times as much. Names and labels are those of docs/metrics.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.core.address import Address
from services.core.lifecycle import StartError

LAG_INTERVAL_S = 0.25
"""How often the event loop's lag is looked at."""


class Counts:
    """A counter with labels, whose increment is one dictionary operation."""

    __slots__ = ("_counts", "_help", "_labels", "_name")

    def __init__(self, name: str, help_text: str, labels: Iterable[str]) -> None:
        """`name` is without `_total`, which the exposition adds."""
        self._name = name
        self._help = help_text
        self._labels = tuple(labels)
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, *labels: str) -> None:
        """Count one. The values of a label must be few: never a name, a call id or an address."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def of(self, *labels: str) -> int:
        """What was counted so far."""
        return self._counts.get(labels, 0)

    def collect(self) -> Metric:
        """As samples."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        return family


class _Observed:
    """What was observed under one set of labels."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Distribution:
    """A histogram, whose observation is a search among its bounds and two additions."""

    __slots__ = ("_bounds", "_help", "_labels", "_name", "_observed")

    def __init__(self, name: str, help_text: str, labels: Iterable[str], bounds: Iterable[float]) -> None:
        """`bounds` are the upper ends of the buckets, rising; the last one, without end, is understood."""
        self._name = name
        self._help = help_text
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._observed: dict[tuple[str, ...], _Observed] = {}
        if not self._labels:
            self._observed[()] = _Observed(len(self._bounds) + 1)

    def observe(self, value: float, *labels: str) -> None:
        """Take one value in. As with `Counts`, the values of a label must be few."""
        observed = self._observed.get(labels)
        if observed is None:
            observed = self._observed[labels] = _Observed(len(self._bounds) + 1)
        observed.counts[bisect_left(self._bounds, value)] += 1
        observed.total += value

    def collect(self) -> Metric:
        """As samples."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        names = (*map(str, self._bounds), "+Inf")
        for labels, observed in self._observed.items():
            buckets = list(zip(names, accumulate(observed.counts), strict=True))
            family.add_metric(labels, buckets, observed.total)
        return family


def counter(name: str, help_text: str, values: dict[str, float], label: str = "") -> Metric:
    """A counter from numbers that are kept elsewhere: by the values of `label`, or `{"": value}` without one."""
    family = CounterMetricFamily(name, help_text, labels=[label] if label else [])
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family


def gauge(name: str, help_text: str, values: dict[str, float], label: str = "") -> Metric:
    """A gauge, likewise."""
    family = GaugeMetricFamily(name, help_text, labels=[label] if label else [])
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family


class Pulled(Collector):
    """Samples that a function yields when they are asked for."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def udp_drops(kinds: Mapping[str, Callable[[], int]]) -> Pulled:
    """What the kernel dropped before we could read it, by what the sockets are for; `kinds` may grow later.

    One declaration for all kinds: a process may have several, and a metric is told of once.
    """

    def collect() -> Iterator[Metric]:
        yield counter(
            "pbx_udp_receive_drops",
            "Datagrams the kernel dropped at SIP listeners and RTP ports, mostly for a full buffer.",
            {kind: read() for kind, read in kinds.items()},
            "kind",
        )

    return Pulled(collect)


class LoopLag:
    """How late the event loop comes, for whoever wants to hear of it; for metrics, the worst since the last look."""

    def __init__(self) -> None:
        self.watchers: list[Callable[[float, float], None]] = []
        """Told the lag and the loop's time, both in seconds, at every look."""
        self._loop = asyncio.get_running_loop()
        self._worst = 0.0
        self._timer = self._arm()

    def collect(self) -> Iterator[Metric]:
        worst, self._worst = self._worst, 0.0
        yield gauge("pbx_event_loop_lag_seconds", "How late timers fired at worst since the last scrape.", {"": worst})

    def close(self) -> None:
        """Stop looking."""
        self._timer.cancel()

    def _arm(self) -> asyncio.TimerHandle:
        due = self._loop.time() + LAG_INTERVAL_S
        return self._loop.call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        now = self._loop.time()
        self._worst = max(self._worst, now - due)
        for watcher in self.watchers:
            watcher(now - due, now)
        self._timer = self._arm()


@contextlib.contextmanager
def lag_measured() -> Iterator[LoopLag]:
    """The loop's lag is measured while the body runs."""
    lag = LoopLag()
    try:
        yield lag
    finally:
        lag.close()


def new_registry() -> CollectorRegistry:
    """A registry with the figures of this process: CPU, memory, descriptors."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of its own for the start of each counter, which nobody asks for
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


@contextlib.asynccontextmanager
async def metrics_served(
    registry: CollectorRegistry,
    address: Address | None,
    origin: str,
    ready: Callable[[], bool] = lambda: True,
    lag: LoopLag | None = None,
) -> AsyncIterator[Address | None]:
    """Serve /metrics while the body runs; yields the address as bound, None when it is switched off.

    /readyz is 200 while `ready` says so, else 503; /healthz is 200 whenever the event loop comes to it. `lag` is what
    is measured already; without it the loop's lag is measured here.

    Raises StartError, naming `origin` (`pbx.conf:3`), for a taken port.
    """
    if address is None:
        yield None
        return
    measured = lag or LoopLag()
    registry.register(Pulled(measured.collect))
    application = web.Application(client_max_size=1024)
    application.router.add_get("/metrics", _answer(registry))
    application.router.add_get("/healthz", _answer_whether(lambda: True))
    application.router.add_get("/readyz", _answer_whether(ready))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port)
        try:
            await site.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StartError(f"{origin}: metrics cannot be served on {address}: {reason}") from None
        yield Address.from_sockaddr(runner.addresses[0])
    finally:
        if lag is None:
            measured.close()
        await runner.cleanup()


def _answer(registry: CollectorRegistry) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    return answer


def _answer_whether(good: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n") if good() else web.Response(text="not ready\n", status=503)

    return answer
