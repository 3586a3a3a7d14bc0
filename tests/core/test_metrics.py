"""Counting, and /metrics over HTTP."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client.metrics_core import Metric

from services.core.address import Address
from services.core.lifecycle import StartError
from services.core.metrics import (
    LAG_INTERVAL_S,
    Counts,
    Distribution,
    Pulled,
    counter,
    document,
    gauge,
    lag_measured,
    metrics_served,
    new_registry,
    udp_drops,
)


async def scraped(address: Address) -> str:
    async with ClientSession() as session, session.get(f"http://{address}/metrics") as answer:
        assert answer.status == 200
        return await answer.text()


async def test_counts_and_pulled_figures_are_served() -> None:
    counts = Counts("pbx_things", "Things.", ("kind",))
    counts.add("a")
    counts.add("a")

    def collect() -> list[Metric]:
        return [counts.collect(), gauge("pbx_level", "Level.", {"": 3}), counter("pbx_bytes", "Bytes.", {"x": 5}, "of")]

    registry = new_registry()
    registry.register(Pulled(collect))
    async with metrics_served(registry, Address("127.0.0.1", 0), "pbx.conf:2") as address:
        assert address is not None
        text = await scraped(address)
    assert counts.of("a") == 2
    for line in ('pbx_things_total{kind="a"} 2.0', "pbx_level 3.0", 'pbx_bytes_total{of="x"} 5.0'):
        assert line in text.splitlines()
    assert "pbx_event_loop_lag_seconds" in text
    assert "process_cpu_seconds_total" in text


def samples(metric: Metric) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for sample in metric.samples}


def test_a_value_falls_into_its_bucket_and_all_above() -> None:
    waits = Distribution("pbx_waits_seconds", "Waits.", ("who",), (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        waits.observe(value, "a")
    waits.observe(1.0, "b")
    found = samples(waits.collect())
    assert [found["pbx_waits_seconds_bucket", "a", end] for end in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert found["pbx_waits_seconds_count", "a"] == 4
    assert found["pbx_waits_seconds_sum", "a"] == pytest.approx(7.65)
    assert found["pbx_waits_seconds_bucket", "b", "0.1"] == 0


def test_a_distribution_without_labels_is_there_before_its_first_value() -> None:
    found = samples(Distribution("pbx_waits_seconds", "Waits.", (), (0.1,)).collect())
    assert found == {
        ("pbx_waits_seconds_bucket", "0.1"): 0,
        ("pbx_waits_seconds_bucket", "+Inf"): 0,
        ("pbx_waits_seconds_count",): 0,
        ("pbx_waits_seconds_sum",): 0,
    }


def test_dropped_datagrams_of_all_kinds_are_one_metric() -> None:
    kinds = {"sip": lambda: 3}
    pulled = udp_drops(kinds)
    kinds["rtp"] = lambda: 5
    (metric,) = pulled.collect()
    assert samples(metric) == {
        ("pbx_udp_receive_drops_total", "sip"): 3,
        ("pbx_udp_receive_drops_total", "rtp"): 5,
    }


async def test_metrics_are_served_over_ipv6() -> None:
    async with metrics_served(new_registry(), Address("::1", 0), "pbx.conf:2") as address:
        assert address is not None
        assert "process_" in await scraped(address)


async def test_metrics_can_be_off() -> None:
    async with metrics_served(new_registry(), None, "pbx.conf:2") as address:
        assert address is None


async def test_a_taken_port_names_the_setting() -> None:
    async with metrics_served(new_registry(), Address("127.0.0.1", 0), "pbx.conf:2") as taken:
        with pytest.raises(StartError) as caught:
            async with metrics_served(new_registry(), taken, "pbx.conf:9"):
                pass
    assert str(caught.value) == f"pbx.conf:9: metrics cannot be served on {taken}: Address already in use"


async def test_health_and_readiness_are_told_apart() -> None:
    ready = False
    async with metrics_served(new_registry(), Address("127.0.0.1", 0), "pbx.conf:2", lambda: ready) as address:
        assert await _statuses(address) == (200, 503)
        ready = True
        assert await _statuses(address) == (200, 200)


async def _statuses(address: Address | None) -> tuple[int, ...]:
    async with ClientSession() as session, asyncio.timeout(10):
        answers = [await session.get(f"http://{address}/{path}") for path in ("healthz", "readyz")]
        return tuple(answer.status for answer in answers)


def test_the_page_is_what_the_code_declares() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == document.text(), "run `make docs`"


def test_every_metric_has_one_declaration_and_the_name_it_should() -> None:
    found = document.declared()
    names = [one.name for one in found]
    assert len(set(names)) == len(names) > 25
    assert all(one.what.endswith(".") for one in found)
    for name in (
        "pbx_sip_requests_total",
        "pbx_sip_transaction_duration_seconds",
        "pbx_calls_active",
        "pbx_bindings",
        "pbx_rtp_packets_total",
        "pbx_rtp_jitter_seconds",
        "pbx_rtp_mos",
        "pbx_media_silent_legs",
        "pbx_udp_receive_drops_total",
        "pbx_outbox_depth",
    ):
        assert name in names


async def test_who_watches_the_loop_hears_how_late_it_is() -> None:
    heard: asyncio.Queue[tuple[float, float]] = asyncio.Queue()
    with lag_measured() as lag:
        lag.watchers.append(lambda lag_s, now: heard.put_nowait((lag_s, now)))
        time.sleep(LAG_INTERVAL_S + 0.1)  # noqa: ASYNC251 - the loop is to be late
        lag_s, now = await asyncio.wait_for(heard.get(), 5)
        assert lag_s > 0.09
        assert now <= asyncio.get_running_loop().time()
        (family,) = lag.collect()
        assert family.samples[0].value >= lag_s


async def test_the_lag_that_is_measured_already_is_the_one_that_is_served() -> None:
    registry = new_registry()
    with lag_measured() as lag:
        async with metrics_served(registry, Address("127.0.0.1", 0), "pbx.conf:2", lag=lag):
            time.sleep(LAG_INTERVAL_S + 0.1)  # noqa: ASYNC251 - as above
            late = asyncio.Event()
            lag.watchers.append(lambda *_: late.set())
            await asyncio.wait_for(late.wait(), 5)
            assert (registry.get_sample_value("pbx_event_loop_lag_seconds") or 0) > 0.09
