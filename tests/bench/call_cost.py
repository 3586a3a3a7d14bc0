"""CPU of a call and of a REGISTER without SIPp and without SIP sockets: for judging a change, not for comparing PBXs.

python -m tests.bench.call_cost [--calls 200] [--registers 500] [--rounds 10] [--rate 50] [--open] [--profile call]

The edge, its stores on disk with the forwarder, the media worker with its ports and the metrics are the real ones, on
the loop of production; the transport hands messages over in memory. `--rate` spreads the calls over time, which is
what a PBX sees: between two calls the processor's caches are cold, and a call costs more than in a tight loop.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from services.core.address import Address, HostPort
from services.core.config import load_settings
from services.core.daemon import run_loop
from services.core.eventlog.forwarder import Forwarder
from services.core.eventlog.sqlite import SqliteLog
from services.core.metrics import new_registry
from services.core.sip.digest import DigestClient, Password
from services.core.sip.errors import SipError
from services.core.sip.flow import UDP, Flow
from services.core.store.sqlite import SqliteStore
from services.dialplan import load
from services.media.local import LocalMedia
from services.media.worker import Worker
from services.registrar import Registrar
from services.sip_edge.edge import Edge
from services.sip_edge.metrics import EdgeMetrics
from services.sip_edge.transport import SipTransport
from services.sip_edge.transport.transport import Message
from tests.support.inprocess import write_config

PBX = Address("127.0.0.1", 5060)
CALLER_SIDE, CALLEE_SIDE = Address("127.0.0.1", 5070), Address("127.0.0.1", 5080)
USERS = 100
PAUSE_S = 0.3
"""How long what waits in the background (commits, the forwarder) may take."""
YARDSTICK_MS = 20.0
"""What `yardstick_ms` takes on an idle machine of the kind this is developed on."""
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 101\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)


class MemoryTransport(SipTransport):
    """The transport without sockets: what is sent goes to `peer`, what `peer` sends comes in as a datagram would."""

    peer: Phones

    def send(self, data: bytes, flow: Flow, reopen: Address | None = None) -> bool:
        self.peer.take(data, flow)
        return True

    def advertised(self, flow: Flow) -> HostPort:
        return HostPort(flow.local.host, flow.local.port)

    def flow_between(self, transport: str, local: Address, remote: Address, number: int = 0) -> Flow | None:
        return Flow(transport, local, remote, 1)

    def arrive(self, data: bytes, flow: Flow) -> None:
        """A datagram came."""
        self._receive_datagram(data, flow)


class Phones:
    """Callers 1000.. and callees 2000.., all of them, as texts: they cost little beside what they measure."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._flows = {side.port: Flow(UDP, PBX, side, 1) for side in (CALLER_SIDE, CALLEE_SIDE)}
        self._clients: dict[str, DigestClient] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._count = 0
        transport.peer = self

    async def call(self) -> None:
        """One call from its INVITE to the 200 of its BYE."""
        await self._begin("call", self._invite)

    async def register(self) -> None:
        """One REGISTER, challenged once."""
        await self._begin("reg", self._register)

    async def _begin(self, kind: str, first: Callable[[str], None]) -> None:
        self._count += 1
        call_id = f"{kind}-{self._count}-{self._count % USERS}"
        done = self._waiting[call_id] = self._loop.create_future()
        first(call_id)
        async with asyncio.timeout(10):
            await done

    # --- what arrives ------------------------------------------------------------------------------------------

    def take(self, data: bytes, flow: Flow) -> None:
        """The PBX sent something; it is answered in the loop's next turn, as over a network."""
        if flow.remote.port == CALLEE_SIDE.port:
            self._loop.call_soon(self._at_callee, data)
        elif not data.startswith(b"SIP/2.0 1"):
            self._loop.call_soon(self._at_caller, data.decode())

    def _at_callee(self, data: bytes) -> None:
        method, _, rest = data.decode().partition(" ")
        if method == "INVITE":
            self._answer(rest, "180 Ringing")
            self._answer(rest, "200 OK", SDP)
        elif method == "BYE":
            self._answer(rest, "200 OK")

    def _answer(self, request: str, status: str, body: bytes = b"") -> None:
        head = request.partition("\r\n\r\n")[0]
        rows = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        to = rows["To"] if ";tag=" in rows["To"] else f"{rows['To']};tag=s{rows['Call-ID']}"
        echoed = "".join(f"{name}: {rows[name]}\r\n" for name in ("Via", "From", "Call-ID", "CSeq"))
        text = (
            f"SIP/2.0 {status}\r\n{echoed}To: {to}\r\nContact: <sip:{CALLEE_SIDE};transport=UDP>\r\n"
            f"{'Content-Type: application/sdp' + chr(13) + chr(10) if body else ''}Content-Length: {len(body)}\r\n\r\n"
        )
        self._arrive(text, body, CALLEE_SIDE)

    def _at_caller(self, text: str) -> None:
        head = text.partition("\r\n\r\n")[0].split("\r\n")
        rows = dict(line.split(": ", 1) for line in head[1:])
        call_id, method = rows["Call-ID"], rows["CSeq"].partition(" ")[2]
        if head[0].startswith("SIP/2.0 401"):
            challenges = [line.partition(": ")[2] for line in head if line.startswith("WWW-Authenticate")]
            if method == "INVITE":
                self._request("ACK", call_id, 1, rows["To"])
                self._invite(call_id, 2, self._credentials(method, call_id, challenges))
            else:
                self._register(call_id, 2, self._credentials(method, call_id, challenges))
        elif not head[0].startswith("SIP/2.0 200"):
            raise AssertionError(text)
        elif method == "INVITE":
            target = rows["Contact"].strip("<>")
            self._request("ACK", call_id, 2, rows["To"], target)
            self._request("BYE", call_id, 3, rows["To"], target)
        else:
            self._waiting.pop(call_id).set_result(None)

    # --- what leaves -------------------------------------------------------------------------------------------

    def _invite(self, call_id: str, cseq: int = 1, more: str = "") -> None:
        number = call_id.rpartition("-")[2]
        more += f"Contact: <sip:{1000 + int(number)}@{CALLER_SIDE}>\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n"
        to = f"<sip:{2000 + int(number)}@127.0.0.1>"
        self._request("INVITE", call_id, cseq, to, more=f"{more}Content-Type: application/sdp\r\n", body=SDP)

    def _register(self, call_id: str, cseq: int = 1, more: str = "") -> None:
        user = 2000 + int(call_id.rpartition("-")[2])
        more += f"Contact: <sip:{user}@{CALLEE_SIDE}>\r\nExpires: 3600\r\n"
        self._request("REGISTER", call_id, cseq, f"<sip:{user}@127.0.0.1>", "sip:127.0.0.1", more)

    def _request(
        self, method: str, call_id: str, cseq: int, to: str, uri: str = "", more: str = "", body: bytes = b""
    ) -> None:
        user = int(call_id.rpartition("-")[2]) + (2000 if method == "REGISTER" else 1000)
        text = (
            f"{method} {uri or to.partition('>')[0][1:]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {CALLER_SIDE};branch=z9hG4bK-{call_id}-{cseq}{method[:1] if uri else ''};rport\r\n"
            f"From: <sip:{user}@127.0.0.1>;tag=c{call_id}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
            f"CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        )
        self._arrive(text, body, CALLER_SIDE)

    def _credentials(self, method: str, call_id: str, challenges: list[str]) -> str:
        user = str(int(call_id.rpartition("-")[2]) + (2000 if method == "REGISTER" else 1000))
        client = self._clients.get(user)
        if client is None:
            client = self._clients[user] = DigestClient(user, Password(f"pw{user}"), lambda: "0a4f113b")
        return f"Authorization: {client.answer(challenges[-1:], method, 'sip:127.0.0.1:5060')}\r\n"

    def _arrive(self, text: str, body: bytes, side: Address) -> None:
        self._loop.call_soon(self._transport.arrive, text.encode() + body, self._flows[side.port])


@asynccontextmanager
async def phones(folder: Path, *, secrets_kept: bool) -> AsyncIterator[Phones]:
    """A PBX in `folder`, and its phones."""
    users = [*range(1000, 1000 + USERS), *range(2000, 2000 + USERS)]
    entries = "".join(f"[{user}](phone)\n{f'secret=pw{user}' if secrets_kept else ''}\n" for user in users)
    settings = load_settings(
        write_config(
            folder,
            sip=f"[general]\nbindaddr={PBX}\ncontext=internal\nallow=ulaw,alaw\n"
            f"[phone](!)\ntype=friend\nhost=dynamic\n{entries}",
            extensions="[internal]\nexten => _2XXX,1,Dial(SIP/${EXTEN},30)\n",
            rtp="[general]\nbindaddr=127.0.0.1\nrtpstart=20000\nrtpend=29999\n",
        ),
        {},
        {},
    )
    store, log = SqliteStore(folder / "state.db", site="bench", node="bench"), SqliteLog(folder / "log.db")
    registrar = Registrar(store, time.time)
    worker = Worker(settings.rtp)
    forwarding = asyncio.create_task(Forwarder(store, log).run())

    def message(message: Message, flow: Flow) -> None:
        edge._message(message, flow)

    def malformed(error: SipError, data: bytes, _flow: Flow) -> None:
        raise AssertionError(data) from error

    transport = MemoryTransport(message, malformed, lambda _flow: None)
    metrics = EdgeMetrics(new_registry())
    edge = Edge(
        settings=settings.sip, store=store, registrar=registrar, program=load(folder / "extensions.conf"),
        media=LocalMedia(worker), digest_key=secrets.token_bytes(32), observer=metrics, transport=transport,
    )  # fmt: skip
    try:
        yield Phones(transport)
        await edge.drain(5)
    finally:
        forwarding.cancel()
        await edge.stop()
        worker.close()
        await log.close()
        await store.close()


async def repeat(work: Callable[[], object], count: int, rate: float) -> None:
    """`work` so often, one after the other, or with `rate` so many times a second."""
    if not rate:
        for _ in range(count):
            await work()  # type: ignore[misc]
        return
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(begin + number / rate - loop.time())
            group.create_task(work())  # type: ignore[arg-type]


async def measured(work: Callable[[], object], count: int, rate: float) -> tuple[float, float]:
    """Milliseconds of CPU each, with what waits in the background afterwards; and the same by the yardstick."""
    before = yardstick_ms()
    spent = time.process_time()
    await repeat(work, count, rate)
    await asyncio.sleep(PAUSE_S)
    each = (time.process_time() - spent) / count * 1000
    return each, each * YARDSTICK_MS * 2 / (before + yardstick_ms())


def yardstick_ms() -> float:
    """CPU of some work that never changes: a shared machine is faster or slower by the minute, and both go with it."""
    spent = time.process_time()
    for _ in range(60):
        rows = [(f"Name{number}", f"value {number};tag={number}") for number in range(300)]
        found = {name: value.partition(";")[2].split("=") for name, value in rows if name.startswith("Name")}
        _ = [value[-1].encode() for _, value in sorted(found.items())]
    return (time.process_time() - spent) * 1000


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="pbx-cost-") as folder:
        async with phones(Path(folder), secrets_kept=not options.open) as driver:
            for _ in range(USERS):
                await driver.register()
            plans = (("REGISTER", driver.register, options.registers, 4), ("call", driver.call, options.calls, 1))
            for what, work, count, times in plans:
                if not count:
                    continue
                await measured(work, min(count, USERS), 0)
                profiler = cProfile.Profile() if options.profile == what else None
                if profiler is not None:
                    profiler.enable()
                rounds = [await measured(work, count, times * options.rate) for _ in range(options.rounds)]
                each, scaled = zip(*rounds, strict=True)
                print(
                    f"{what:<10}best {min(each):6.3f} ms, median {statistics.median(each):6.3f} ms;"
                    f" by the yardstick {statistics.median(scaled):6.3f} ms",
                    flush=True,
                )
                if profiler is not None:
                    profiler.disable()
                    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(70)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200, help="a round")
    parser.add_argument("--registers", type=int, default=500, help="a round")
    parser.add_argument(
        "--rate", type=float, default=0, help="calls a second (REGISTERs: four times that); 0: no pause"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--open", action="store_true", help="phones without passwords")
    parser.add_argument("--profile", choices=("call", "REGISTER"), help="print where its time goes, by cProfile")
    return parser.parse_args()


if __name__ == "__main__":
    run_loop(main(arguments()))
