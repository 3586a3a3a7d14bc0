"""What a daemon says of itself at /readyz."""

from __future__ import annotations

import asyncio

from aiohttp import ClientError, ClientSession

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
