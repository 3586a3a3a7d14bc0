"""Draining and stopping."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from services.core.lifecycle import Drained, Stopping, drain, in_background


async def forever() -> None:
    await asyncio.Event().wait()


async def test_draining_ends_when_nothing_is_left() -> None:
    async def nothing_left() -> None:
        return

    assert await drain(nothing_left(), 60, Stopping()) is Drained.DONE


async def test_draining_ends_when_its_time_is_over() -> None:
    assert await drain(forever(), 0, Stopping()) is Drained.TIME_OVER


async def test_a_second_signal_cuts_draining_short() -> None:
    stopping = Stopping()
    stopping.ask()
    assert stopping.draining
    draining = asyncio.ensure_future(drain(forever(), 60, stopping))
    stopping.ask()
    assert await draining is Drained.CUT_SHORT


async def test_a_failure_while_draining_is_raised() -> None:
    async def fails() -> None:
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        await drain(fails(), 60, Stopping())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_asks_to_drain(number: signal.Signals) -> None:
    stopping = Stopping()
    with stopping.on_signals():
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stopping.asked_to_drain(), 5)


async def test_a_background_loop_ends_with_the_body() -> None:
    stopping = Stopping()
    async with in_background("loop", forever, stopping):
        pass
    assert not stopping.draining
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "loop"]


async def test_a_background_loop_that_fails_stops_the_process() -> None:
    async def fails() -> None:
        raise RuntimeError("disk full")

    stopping = Stopping()
    with pytest.raises(RuntimeError, match="disk full"):
        async with in_background("loop", fails, stopping):
            await asyncio.wait_for(stopping.asked_to_drain(), 5)
