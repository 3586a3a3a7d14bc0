"""What a daemon says of itself at /readyz."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import ClientError, ClientSession

from services.core.config import load_settings
from services.core.daemon import Serve
from services.core.lifecycle import Stopping
from tests.support.processes import free_port

PATIENCE_S = 10.0


async def readiness(port: int) -> int | None:
    """The status of /readyz on loopback; None while nobody answers there."""
    async with ClientSession() as session:
        try:
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                return answer.status
        except ClientError:
            return None


async def becomes(port: int, status: int | None) -> None:
    """Return once /readyz has that status."""
    async with asyncio.timeout(PATIENCE_S):
        while await readiness(port) != status:  # noqa: ASYNC110 - the condition is another server's state
            await asyncio.sleep(0.001)


class Held:
    """A daemon whose start and whose end are held back until the test lets them happen."""

    def __init__(self) -> None:
        self.may_start = asyncio.Event()
        self._may_end = asyncio.Event()

    async def end(self, *_owner: object) -> None:
        """Stands in for what the daemon does all its life: over only when it may be."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._may_end.wait()

    async def is_ready_from_start_to_draining(self, serve: Serve, folder: Path) -> None:
        """Run it on a configuration in `folder`, and see what it says of itself at each step."""
        port = free_port()
        (folder / "sip.conf").write_text("[general]\nbindaddr=127.0.0.1\n")
        (folder / "pbx.conf").write_text(f"[metrics]\nbind=127.0.0.1:{port}\n[data]\ndirectory={folder}\n")
        stopping = Stopping()
        serving = asyncio.ensure_future(serve(load_settings(folder, {}, {}), stopping))
        try:
            await becomes(port, 503)
            self.may_start.set()
            await becomes(port, 200)
            stopping.ask()
            assert await readiness(port) == 503
            self._may_end.set()
            await asyncio.wait_for(serving, 5)
        finally:
            serving.cancel()
