"""Counting, and /metrics over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client.metrics_core import Metric

from services.core.address import Address
from services.core.lifecycle import StartError
from services.core.metrics import Counts, Pulled, counter, document, gauge, metrics_served, new_registry


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
        "pbx_calls_active",
        "pbx_bindings",
        "pbx_rtp_packets_total",
        "pbx_outbox_depth",
    ):
        assert name in names
