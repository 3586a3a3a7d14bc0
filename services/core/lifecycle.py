"""How a process ends: first it drains, then it stops.

The first SIGINT or SIGTERM asks for draining: new work is refused, running work may finish for a time. The second one,
or the end of that time, stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StartError(Exception):
    """The process cannot start although its settings are fine (a taken port, a locked file); `str()` is one line."""


class Stopping:
    """What has been asked of this process so far: nothing, to drain, or to stop at once."""

    def __init__(self) -> None:
        self._drain = asyncio.Event()
        self._stop = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether the end has been asked for."""
        return self._drain.is_set()

    def ask(self) -> None:
        """One more signal."""
        if self._drain.is_set():
            self._stop.set()
        self._drain.set()

    async def asked_to_drain(self) -> None:
        """Return at the first signal."""
        await self._drain.wait()

    async def asked_to_stop(self) -> None:
        """Return at the second signal."""
        await self._stop.wait()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[Stopping]:
        """Listen to SIGINT and SIGTERM meanwhile. Needs a running loop in the main thread."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.ask)
        try:
            yield self
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)


class Drained(enum.Enum):
    """How draining ended."""

    DONE = "nothing was left"
    TIME_OVER = "the grace period is over"
    CUT_SHORT = "asked again"


async def drain(work: Awaitable[None], grace_s: float, stopping: Stopping) -> Drained:
    """Wait for `work` to finish, for the grace period, or for a second signal, whichever is first.

    `work` is cancelled when it is not what came first; its exception, if any, is raised.
    """
    working = asyncio.ensure_future(work)
    hurried = asyncio.ensure_future(stopping.asked_to_stop())
    try:
        await asyncio.wait({working, hurried}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return Drained.DONE
        return Drained.CUT_SHORT if hurried.done() else Drained.TIME_OVER
    finally:
        for task in (working, hurried):
            task.cancel()
        await asyncio.gather(working, hurried, return_exceptions=True)


@contextlib.asynccontextmanager
async def in_background(name: str, run: Callable[[], Awaitable[None]], stopping: Stopping) -> AsyncIterator[None]:
    """Keep a loop (`run`) going while the body runs. If it ends by an exception, the process is asked to drain, and
    the exception is raised when the body has ended: nothing dies unnoticed."""
    task = asyncio.ensure_future(run())
    task.set_name(name)
    task.add_done_callback(lambda done: None if done.cancelled() or done.exception() is None else stopping.ask())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
