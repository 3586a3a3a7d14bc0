"""Strangers at an edge, over real sockets: floods, guesses, scans, overload, and what one forged datagram can cause."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import re
import secrets
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.console.doctor.agent import CallFailed, UserAgent
from services.core.config.guard import default_guard
from services.core.sip.digest import DigestServer
from services.core.sip.flow import Flow
from services.core.sip.message import Request, parse_message
from services.sip_edge.admission import Admission, Refused
from services.sip_edge.guard import Guard, Reason
from services.sip_edge.metrics import EdgeMetrics
from tests.support.inprocess import SIP_CONF, InProcessPbx, in_process_pbx, write_config
from tests.support.rawsip import Message, authorization, compose

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
GUARD = f"[guard]\nallow={HERE}\nallow=::1\nrate=100\nburst=200\n"
PATIENCE_S = 5.0


async def until(happened: Callable[[], bool]) -> None:
    """Let the edge, which runs on this loop, go on until something has happened."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0)


class Attacker:
    """A UDP socket of an address that is not allowed."""

    def __init__(self, pbx: InProcessPbx, host: str = ELSEWHERE) -> None:
        self.pbx = pbx
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self._socket.connect(pbx.address().sockaddr())
        self.host = host

    def request(
        self, method: str, *extra: tuple[str, str], user: str = "dev1", uri: str = "", body: bytes = b"",
        **changed: str | None,
    ) -> bytes:  # fmt: skip
        uri = uri or f"sip:{user}@pbx.example"
        fields: dict[str, str | None] = {
            "Via": f"SIP/2.0/UDP {self.host}:{self._socket.getsockname()[1]};branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards": "70",
            "From": f"<sip:{user}@pbx.example>;tag={secrets.token_hex(4)}",
            "To": f"<sip:{user}@pbx.example>",
            "Call-ID": secrets.token_hex(10),
            "CSeq": f"1 {method}",
        }
        fields |= {name.replace("_", "-"): value for name, value in changed.items()}
        rows = [(name, value) for name, value in fields.items() if value is not None]
        return compose(f"{method} {uri} SIP/2.0", [*rows, *extra], body)

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    async def hears(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._socket, 65535), PATIENCE_S)

    async def asks(self, data: bytes) -> Message:
        self.send(data)
        return Message.read(await self.hears())

    async def handled(self, count: int) -> None:
        """Until the edge has taken so many datagrams from its sockets."""
        stats = self.pbx.edge.transport.stats
        await until(lambda: stats["udp_received"] >= count)

    def waiting(self) -> list[bytes]:
        """What has come and nobody has read."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65535))
            except BlockingIOError:
                return found

    def guess(self, refusal: Message, user: str, password: str) -> tuple[str, str]:
        challenge = next(row for row in refusal.get_all("WWW-Authenticate") if "algorithm=MD5," in row)
        uri = f"sip:{user}@pbx.example"
        credentials = authorization(challenge, method="REGISTER", uri=uri, user=user, password=password)
        return "Authorization", credentials

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def pbx(tmp_path: Path) -> AsyncIterator[InProcessPbx]:
    async with in_process_pbx(write_config(tmp_path, pbx=GUARD)) as running:
        yield running


@pytest.fixture
async def attacker(pbx: InProcessPbx) -> AsyncIterator[Attacker]:
    made = Attacker(pbx)
    yield made
    made.close()


@pytest.fixture
async def phones(pbx: InProcessPbx) -> AsyncIterator[list[UserAgent]]:
    agents = [pbx.agent("dev1", "one"), pbx.agent("dev2", "two")]
    for agent in agents:
        await agent.start()
    yield agents
    for agent in agents:
        await agent.close()


def counted(pbx: InProcessPbx) -> tuple[EdgeMetrics, CollectorRegistry]:
    registry = CollectorRegistry()
    metrics = EdgeMetrics(registry)
    pbx.edge.observer = metrics
    metrics.watch(pbx.edge)
    return metrics, registry


def rejected(registry: CollectorRegistry, reason: str) -> float:
    return registry.get_sample_value("pbx_sip_rejected_total", {"reason": reason}) or 0.0


# --- bans ------------------------------------------------------------------------------------------------------------


async def test_a_scanner_hears_nothing_and_is_banned(
    pbx: InProcessPbx, attacker: Attacker, caplog: pytest.LogCaptureFixture
) -> None:
    _, registry = counted(pbx)
    with caplog.at_level(logging.WARNING, "services.sip_edge.door"):
        for _ in range(20):
            attacker.send(attacker.request("OPTIONS", ("User-Agent", "friendly-scanner")))
        attacker.send(attacker.request("OPTIONS"))
        await attacker.handled(21)
    assert attacker.waiting() == []
    assert (rejected(registry, "scanner"), rejected(registry, "banned")) == (3, 18)
    assert registry.get_sample_value("pbx_banned_sources") == 1
    (record,) = caplog.records
    assert record.getMessage() == "banned"
    fields = vars(record)
    assert (fields["address"], fields["reason"], fields["count"]) == (ELSEWHERE, "scanner", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", fields["until"])


async def test_who_is_banned_is_disconnected_and_no_more_connected(pbx: InProcessPbx, attacker: Attacker) -> None:
    address = pbx.address()
    reader, writer = await asyncio.open_connection(address.host, address.port, local_addr=(ELSEWHERE, 0))
    options = attacker.request("OPTIONS")
    writer.write(options)
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).startswith(b"SIP/2.0 200")
    for _ in range(3):
        attacker.send(attacker.request("OPTIONS", ("User-Agent", "sipvicious")))
    await attacker.handled(3)
    writer.write(options)
    again_reader, again_writer = await asyncio.open_connection(address.host, address.port, local_addr=(ELSEWHERE, 0))
    for ended in (reader, again_reader):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(ended.readexactly(1), PATIENCE_S)
    for each in (writer, again_writer):
        each.close()
    assert pbx.edge.transport.stats["tcp_accepted"] == 1


async def test_guessing_passwords_ends_in_silence(pbx: InProcessPbx, attacker: Attacker) -> None:
    answers = 0
    for number in range(30):
        attacker.send(attacker.request("REGISTER"))
        await attacker.handled(2 * number + 1)
        if not (heard := attacker.waiting()):
            break
        guess = attacker.guess(Message.read(heard[0]), "dev1", f"guess{number}")
        refusal = await attacker.asks(attacker.request("REGISTER", guess))
        assert refusal.status == 401
        answers += 1
    assert answers == 21
    assert [ban.reason for ban in pbx.edge.door.guard.bans(time.time())] == [Reason.FAILURES]


async def test_a_password_that_is_guessed_too_often_is_not_found_even_if_it_is_right(attacker: Attacker) -> None:
    for number in range(11):
        password = "one" if number == 10 else f"guess{number}"
        challenge = await attacker.asks(attacker.request("REGISTER"))
        refusal = await attacker.asks(attacker.request("REGISTER", attacker.guess(challenge, "dev1", password)))
        assert refusal.status == 401
        assert "stale" not in "".join(refusal.get_all("WWW-Authenticate"))


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
async def test_looking_for_users_finds_none_and_ends_in_silence(
    pbx: InProcessPbx, attacker: Attacker, method: str
) -> None:
    heard: list[bytes] = []
    for number, user in enumerate(["dev1", *(str(1000 + n) for n in range(40))]):
        attacker.send(attacker.request(method, user=user))
        await attacker.handled(number + 1)
        heard += attacker.waiting()
    assert len(heard) == 1 + 16
    assert {Message.read(data).status for data in heard} == {401}
    assert [ban.reason for ban in pbx.edge.door.guard.bans(time.time())] == [Reason.UNKNOWN]


async def test_guests_who_look_for_extensions_are_banned_and_those_who_call_are_not(tmp_path: Path) -> None:
    sip = SIP_CONF.replace("[general]", "[general]\nallowguest=yes")
    async with in_process_pbx(write_config(tmp_path, sip=sip, pbx=GUARD)) as pbx:
        caller = Attacker(pbx, "127.0.0.3")
        attacker = Attacker(pbx)
        try:
            for number in range(30):
                for one, called in ((caller, "700"), (attacker, str(5000 + number))):
                    one.send(
                        one.request(
                            "INVITE", ("Contact", f"<sip:x@{one.host}>"), user="stranger", uri=f"sip:{called}@pbx",
                            To=f"<sip:{called}@pbx>",
                        )
                    )  # fmt: skip
                await caller.handled(2 * number + 2)
                await until(lambda: pbx.edge.calls_active == 0)
            bans = pbx.edge.door.guard.bans(time.time())
            assert [(ban.source, ban.reason) for ban in bans] == [(ELSEWHERE, Reason.UNKNOWN)]
        finally:
            caller.close()
            attacker.close()


async def test_garbage_is_answered_less_and_less(pbx: InProcessPbx, attacker: Attacker) -> None:
    for _ in range(100):
        attacker.send(attacker.request("OPTIONS", CSeq="one OPTIONS"))
    await attacker.handled(100)
    assert len(attacker.waiting()) == 51
    assert [ban.reason for ban in pbx.edge.door.guard.bans(time.time())] == [Reason.MALFORMED]


async def test_loopback_is_allowed_unless_said_otherwise(tmp_path: Path) -> None:
    async with in_process_pbx(write_config(tmp_path)) as pbx:
        attacker = Attacker(pbx)
        try:
            for number in range(100):
                answer = await attacker.asks(attacker.request("REGISTER", user=str(number)))
                assert answer.status == 401
        finally:
            attacker.close()


# --- floods ----------------------------------------------------------------------------------------------------------


async def test_phones_register_and_call_during_a_flood(
    pbx: InProcessPbx, attacker: Attacker, phones: list[UserAgent]
) -> None:
    _, registry = counted(pbx)
    stop = asyncio.Event()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        kinds = ("REGISTER", "INVITE", "OPTIONS", "BYE", "MESSAGE")
        messages = [attacker.request(kind, user=str(number)) for kind in kinds for number in range(20)]
        while not stop.is_set() or sent < 4000:
            for _ in range(50):
                try:
                    attacker.send(messages[sent % len(messages)])
                except BlockingIOError:
                    break
                sent += 1
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    caller, callee = phones
    took = []
    for _ in range(3):
        begun = time.monotonic()
        for phone in phones:
            await phone.register()
        call = await caller.call("2")
        other = await asyncio.wait_for(callee.incoming.get(), PATIENCE_S)
        await call.hang_up()
        await other.audio.close()
        took.append(time.monotonic() - begun)
    stop.set()
    await flooding
    await attacker.handled(4000)
    assert max(took) < 3.0, "two registrations and a call"
    assert sent >= 4000
    assert rejected(registry, "rate") + rejected(registry, "banned") > 0.8 * sent
    assert len(pbx.edge.layer) < 200, "little of it is remembered"


# --- overload --------------------------------------------------------------------------------------------------------


async def test_when_the_process_is_late_calls_go_on_and_new_ones_are_told_to_wait(
    pbx: InProcessPbx, attacker: Attacker, phones: list[UserAgent], caplog: pytest.LogCaptureFixture
) -> None:
    _, registry = counted(pbx)
    caller, callee = phones
    for phone in phones:
        await phone.register()
    call = await caller.call("2")
    other = await asyncio.wait_for(callee.incoming.get(), PATIENCE_S)
    door = pbx.edge.door
    with caplog.at_level(logging.INFO, "services.sip_edge.door"):
        for second in range(8):
            door.note_lag(0.7, second / 2)
        with pytest.raises(CallFailed, match="503"):
            await caller.call("2")
        refusal = await attacker.asks(attacker.request("INVITE"))
        assert (refusal.status, int(refusal.get("Retry-After"))) == (503, 5)
        assert (await attacker.asks(attacker.request("OPTIONS"))).status == 503
        await caller.register()
        assert not other.ended.is_set()
        await call.hang_up()
        await asyncio.wait_for(other.ended.wait(), PATIENCE_S)
        assert rejected(registry, "overload") == 2
        assert registry.get_sample_value("pbx_overloaded") == 1
        for second in range(8):
            door.note_lag(0.0, 10 + second / 2)
    call = await caller.call("2")
    await call.hang_up()
    await other.audio.close()
    assert [record.getMessage() for record in caplog.records] == [
        "overloaded: new calls are refused",
        "new calls are taken again",
    ]


# --- one datagram, one small answer ----------------------------------------------------------------------------------

ALLOWANCE_BYTES = 640
"""Two challenges of about 200 bytes, To tag, `received`, the long names of compact headers."""
SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
VIAS = ", ".join(f"SIP/2.0/UDP 10.0.0.{number};branch=z9hG4bK{number}" for number in range(40))
CONTACT = ("Contact", "<sip:x@127.0.0.2>")
TAGGED: Mapping[str, Any] = {"To": "<sip:dev1@pbx.example>;tag=other"}
TYPED = ("Content-Type", "application/sdp")


def unauthenticated(one: Attacker) -> Iterable[tuple[str, bytes, int]]:
    """Every kind of request that a stranger can send, and how many datagrams it leads to."""
    for method in ("REGISTER", "OPTIONS", "BYE", "CANCEL", "SUBSCRIBE", "MESSAGE", "REFER", "PUBLISH", "NOTIFY", "INFO",
                   "UPDATE", "PRACK", "XYZZY"):  # fmt: skip
        yield method, one.request(method), 1
        yield f"{method} in a dialog", one.request(method, **TAGGED), 1
    yield "INVITE", one.request("INVITE", CONTACT), 1
    yield "INVITE with a session", one.request("INVITE", CONTACT, TYPED, body=SDP), 1
    yield "INVITE in a dialog", one.request("INVITE", CONTACT, **TAGGED), 1
    yield "INVITE to nobody", one.request("INVITE", CONTACT, user="nobody"), 1
    yield "INVITE too far", one.request("INVITE", CONTACT, Max_Forwards="0"), 1
    yield "INVITE to a telephone", one.request("INVITE", CONTACT, uri="tel:+4930123"), 1
    yield "INVITE to nothing", one.request("INVITE", CONTACT, uri="http://pbx.example"), 1
    yield "INVITE that wants much", one.request("INVITE", CONTACT, ("Require", ", ".join(["a"] * 200))), 1
    yield "INVITE by many ways", one.request("INVITE", CONTACT, ("Via", VIAS)), 1
    yield "INVITE recorded", one.request("INVITE", CONTACT, ("Record-Route", ",".join(["<sip:a;lr>"] * 60))), 1
    yield "ACK", one.request("ACK"), 0
    yield "ACK in a dialog", one.request("ACK", **TAGGED), 0
    yield "no CSeq", one.request("INVITE", CSeq=None), 0
    yield "another CSeq", one.request("INVITE", CSeq="1 BYE"), 1
    yield "no Via", one.request("INVITE", Via=None), 0
    yield "no Call-ID", one.request("INVITE", Call_ID=None), 1
    yield "too short", one.request("INVITE", ("Content-Length", "9999")), 1
    yield "another version", one.request("OPTIONS").replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1), 1
    yield "a scanner", one.request("OPTIONS", ("User-Agent", "friendly-scanner")), 0
    yield "a response", b"SIP/2.0 200 OK\r\n" + one.request("INVITE", **TAGGED).partition(b"\r\n")[2], 0
    yield "keep-alive", b"\r\n\r\n", 0
    yield "STUN", bytes.fromhex("000100002112a442") + bytes(12), 0
    yield "nothing", b"", 0
    yield "garbage", bytes(range(256)) * 4, 0
    yield "words", b"hello " * 50, 0


async def test_one_datagram_of_a_stranger_leads_to_one_small_answer_at_most(tmp_path: Path) -> None:
    off = "[guard]\nallow=127.0.0.1\nmaxunknown=0\nmaxmalformed=0\nmaxscans=0\nrate=0\n"
    async with in_process_pbx(write_config(tmp_path, pbx=off)) as pbx:
        stranger = Attacker(pbx)
        try:
            for kind, data, wanted in unauthenticated(stranger):
                before = pbx.edge.transport.stats["udp_received"]
                stranger.send(data)
                await stranger.handled(before + 1)
                # All that timers would send in the next minutes, now.
                for later_s in (0.3, 1, 3, 10, 40, 200):
                    pbx.edge.work(pbx.edge.layer.handle_timers(time.monotonic() + later_s))
                answers = stranger.waiting()
                assert len(answers) == wanted, f"{kind}: {answers}"
                for answer in answers:
                    assert len(answer) <= 1.5 * len(data) + ALLOWANCE_BYTES, kind
                assert len(pbx.edge.layer) == 0, kind
        finally:
            stranger.close()


# --- who exists ------------------------------------------------------------------------------------------------------


def attempts(user: str, password: str, digest: DigestServer, flow: Flow, count: int) -> list[Request]:
    """REGISTERs with a wrong password, each for a challenge of its own."""
    found = []
    for number in range(count):
        challenge = next(row for row in digest.challenge(1000.0) if "algorithm=MD5," in row)
        uri = "sip:pbx.example"
        credentials = authorization(challenge, method="REGISTER", uri=uri, user=user, password=password)
        rows = [
            ("Via", f"SIP/2.0/UDP {flow.remote};branch=z9hG4bK{number}"),
            ("From", f"<sip:{user}@pbx.example>;tag=1"),
            ("To", f"<sip:{user}@pbx.example>"),
            ("Call-ID", hashlib.md5(f"{user}{number}".encode()).hexdigest()),
            ("CSeq", "1 REGISTER"),
            ("Authorization", credentials),
        ]
        message = parse_message(compose(f"REGISTER {uri} SIP/2.0", rows))
        assert isinstance(message, Request)
        found.append(message)
    return found


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(pbx: InProcessPbx) -> None:
    """The medians of many interleaved attempts; what is left between them is far below what a network hides."""
    digest = DigestServer("pbx.example", b"k" * 32)
    guard = Guard(default_guard())
    admission = Admission(pbx.settings.sip, digest, guard)
    flow = Flow("udp", pbx.address(), pbx.address(), 1)
    users = {"dev1": "known", "dev9": "unknown"}
    waiting = [(users[user], request) for user in users for request in attempts(user, "wrong", digest, flow, 1500)]
    random.Random(7).shuffle(waiting)
    took: dict[str, list[int]] = {"known": [], "unknown": []}
    for kind, request in waiting:
        begun = time.perf_counter_ns()
        who = admission.registrant(request, flow, 1000.0)
        took[kind].append(time.perf_counter_ns() - begun)
        assert isinstance(who, Refused)
    known, unknown = statistics.median(took["known"]), statistics.median(took["unknown"])
    assert 0.75 < unknown / known < 1.33, f"{known} and {unknown} ns"


@pytest.mark.parametrize("tries", [1, 12])
async def test_an_unknown_user_hears_the_same_as_one_with_a_wrong_password(attacker: Attacker, tries: int) -> None:
    async def last_refusal(user: str) -> tuple[str, list[tuple[str, str]]]:
        for _ in range(tries):
            challenge = await attacker.asks(attacker.request("REGISTER", user=user))
            answer = await attacker.asks(
                attacker.request("REGISTER", attacker.guess(challenge, user, "wrong"), user=user)
            )
        hidden = ("Via", "From", "To", "Call-ID")
        rows = [(name, re.sub(r'nonce="[^"]*"', "", value)) for name, value in answer.rows if name not in hidden]
        return answer.start, rows

    known = await last_refusal("dev1")
    attacker.pbx.edge.door.guard.lift(ELSEWHERE, time.time())
    assert await last_refusal("nobody") == known
