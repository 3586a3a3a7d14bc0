"""Client and server over real sockets of both families: lost packets, silent and full workers, notices."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from services.core.address import Address
from services.media.api import MediaUnreachable, NgMedia, Notice
from services.media.ng.client import NgClient
from services.media.ng.message import Encoding, Envelope, Message
from services.media.ng.replies import UNKNOWN_CALL, error, load_limit
from services.media.ng.server import MAX_REPLY_BYTES, NgServer

FAST = (0.01, 0.02, 0.04, 0.02)
"""Waits for tests in which somebody must be found silent."""
LOOPBACKS = [Address("127.0.0.1", 0), Address("::1", 0)]


class Worker:
    """A handler that notes what it was asked, and answers what it is told to."""

    def __init__(self, answer: Message | Callable[[Message], Message] | None = None) -> None:
        self.asked: list[Message] = []
        self.answer = answer if answer is not None else {"result": "ok"}
        self.server = NgServer(self.handle, instance="run1")
        self.address = Address("::1", 9)

    def handle(self, message: Message) -> Message:
        self.asked.append(message)
        return self.answer(message) if callable(self.answer) else self.answer

    @property
    def commands(self) -> list[object]:
        return [message.get("command") for message in self.asked]


class House:
    """Opens servers, clients and sockets, and closes them all."""

    def __init__(self) -> None:
        self._servers: list[NgServer] = []
        self._clients: list[NgClient] = []
        self._sockets: list[socket.socket] = []

    async def worker(self, answer: Any = None, at: Address = LOOPBACKS[1]) -> Worker:
        worker = Worker(answer)
        self._servers.append(worker.server)
        worker.address = await worker.server.listen(at)
        return worker

    def client(self, *workers: Address, **settings: Any) -> NgClient:
        client = NgClient(workers, **settings)
        self._clients.append(client)
        return client

    def socket(self, address: Address = LOOPBACKS[1]) -> socket.socket:
        sock = socket.socket(address.family.af, socket.SOCK_DGRAM)
        self._sockets.append(sock)
        sock.bind(address.sockaddr())
        sock.setblocking(False)
        return sock

    def silent(self) -> Address:
        """An address where packets go in and nothing comes out."""
        return Address.from_sockaddr(self.socket().getsockname())

    def closed(self) -> Address:
        """An address where nobody listens."""
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
            return Address.from_sockaddr(sock.getsockname())

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        for server in self._servers:
            await server.close()
        for sock in self._sockets:
            sock.close()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()
    await asyncio.sleep(0)  # transports close their sockets in the next turn


async def received(sock: socket.socket) -> bytes:
    async with asyncio.timeout(5):
        while True:
            try:
                return sock.recv(65535)
            except BlockingIOError:
                await asyncio.sleep(0.001)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in code that knows nothing of tests
            await asyncio.sleep(0.001)


# --- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loopback", LOOPBACKS, ids=str)
@pytest.mark.parametrize("encoding", list(Encoding))
async def test_a_command_is_answered_in_either_family_and_encoding(
    house: House, loopback: Address, encoding: Encoding
) -> None:
    worker = await house.worker(lambda message: {"result": "ok", "sdp": message["sdp"] + b"\xff"}, at=loopback)
    client = house.client(worker.address, encoding=encoding)
    reply = await client.command({"command": "offer", "call-id": "c", "address family": "IP6", "sdp": b"v=0\r\n"})
    assert reply == {"result": "ok", "sdp": b"v=0\r\n\xff"}
    assert worker.asked[0]["address-family"] == "IP6"


async def test_a_server_listens_on_several_addresses(house: House) -> None:
    worker = await house.worker()
    other = await worker.server.listen(LOOPBACKS[0])
    await house.client(other).ping(0)
    assert await house.client(worker.address).ping(0) >= 0
    assert worker.server.requests == 2


async def test_many_commands_at_once_find_their_own_replies(house: House) -> None:
    worker = await house.worker(lambda message: {"result": "ok", "n": message["n"]})
    client = house.client(worker.address)
    replies = await asyncio.gather(*[client.command({"command": "query", "n": n}) for n in range(200)])
    assert [reply["n"] for reply in replies] == list(range(200))


async def test_an_ipv6_wildcard_does_not_take_ipv4(house: House) -> None:
    worker = await house.worker(at=Address("::", 0))
    assert await worker.server.listen(Address("0.0.0.0", worker.address.port)) == Address(
        "0.0.0.0", worker.address.port
    )


async def test_a_taken_port_is_an_os_error(house: House) -> None:
    worker = await house.worker()
    with pytest.raises(OSError, match="in use"):
        await worker.server.listen(worker.address)


# --- lost packets ------------------------------------------------------------------------------------------------


async def test_a_copy_gets_the_same_bytes_and_is_not_executed_again(house: House) -> None:
    count = iter(range(10))
    worker = await house.worker(lambda _: {"result": "ok", "n": next(count)})
    sock = house.socket()
    replies = []
    for cookie in (b"c1", b"c1", b"c2", b"c1"):
        sock.sendto(cookie + b" d7:command5:querye", worker.address.sockaddr())
        replies.append(await received(sock))
    assert replies == [b"c1 d6:result2:ok1:ni0ee", b"c1 d6:result2:ok1:ni0ee", b"c2 d6:result2:ok1:ni1ee", replies[0]]
    assert (worker.server.requests, worker.server.repeated) == (2, 2)


async def test_a_lost_request_is_sent_again_under_its_cookie(house: House) -> None:
    sock = house.socket()
    client = house.client(Address.from_sockaddr(sock.getsockname()), retry_waits_s=(0.01, 5.0))
    asking = asyncio.create_task(client.command({"command": "ping"}))
    first = await received(sock)
    again, peer = await received(sock), client._channels[0]
    assert first == again
    assert client.retransmissions == 1
    assert peer is not None
    peer.datagram_received(Envelope(Envelope.decode(first).cookie, {"result": "pong"}).encode(), None)
    peer.datagram_received(Envelope(Envelope.decode(first).cookie, {"result": "pong"}).encode(), None)
    assert await asking == {"result": "pong"}


async def test_a_silent_worker_is_given_up(house: House) -> None:
    client = house.client(house.silent(), retry_waits_s=FAST)
    with pytest.raises(MediaUnreachable, match="does not answer"):
        await client.ping(0)
    assert client.retransmissions == len(FAST) - 1
    with pytest.raises(MediaUnreachable):
        await client.command({"command": "list"})


async def test_a_closed_port_is_noticed_early(house: House) -> None:
    client = house.client(house.closed(), retry_waits_s=(0.01, 0.01, 60.0, 60.0))
    async with asyncio.timeout(5):
        with pytest.raises(MediaUnreachable):
            await client.ping(0)


async def test_closing_the_client_ends_what_waits(house: House) -> None:
    client = house.client(house.silent())
    asking = asyncio.create_task(client.command({"command": "ping"}))
    await until(lambda: client._channels[0] is not None)
    await client.close()
    with pytest.raises(MediaUnreachable):
        await asking


async def test_a_cancelled_command_leaves_nothing_behind(house: House) -> None:
    client = house.client(house.silent())
    asking = asyncio.create_task(client.command({"command": "ping"}))
    await until(lambda: client._channels[0] is not None and bool(client._channels[0].requests))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert client._channels[0] is not None
    assert client._channels[0].requests == {}


# --- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"c7 dx", b"c7 d6:result5:error12:error-reason20:not a bencode stringe"),
        (b"c8 hello", b"c8 d6:result5:error12:error-reason24:neither bencode nor JSONe"),
        (b'c9 {"x"', b"c9 d6:result5:error12:error-reason8:not JSONe"),
    ],
)
async def test_what_is_no_message_costs_one_error_reply(house: House, data: bytes, reply: bytes) -> None:
    worker = await house.worker()
    sock = house.socket()
    sock.sendto(data, worker.address.sockaddr())
    assert await received(sock) == reply
    assert (worker.server.unreadable, worker.server.requests) == (1, 0)


async def test_what_has_no_cookie_gets_no_reply(house: House) -> None:
    worker = await house.worker()
    sock = house.socket()
    for data in (b"", b"\xff" * 2000, b" d7:command4:pinge"):
        sock.sendto(data, worker.address.sockaddr())
    sock.sendto(b"c d7:command4:pinge", worker.address.sockaddr())
    assert await received(sock) == b"c d6:result2:oke"
    assert worker.server.unreadable == 3


async def test_a_failing_handler_fails_one_request(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def answer(message: Message) -> Message:
        return {"result": {"ping": "ok"}[message["command"]]}

    worker = await house.worker(answer)
    client = house.client(worker.address)
    assert await client.command({"command": "query"}) == error("Internal error")
    assert "ng request failed" in caplog.text
    await client.ping(0)


@pytest.mark.parametrize("value", [1.5, "x" * MAX_REPLY_BYTES])
async def test_a_reply_that_cannot_be_sent_is_an_error(house: House, value: object) -> None:
    worker = await house.worker({"result": "ok", "value": value})
    assert (await house.client(worker.address).command({"command": "query"}))["result"] == "error"


async def test_strays_are_counted_by_the_client(house: House) -> None:
    worker = await house.worker()
    client = house.client(worker.address)
    await client.ping(0)
    channel = client._channels[0]
    assert channel is not None
    for data in (b"junk", b"c d6:result2:oke", b"c d7:command4:pinge"):
        channel.datagram_received(data, None)
    assert client.strays == 3


# --- several workers ---------------------------------------------------------------------------------------------

OFFER = {"command": "offer", "call-id": "call1"}


def first_asked(client: NgClient, call_id: str = "call1") -> int:
    return client.pool.order(call_id, 0.0)[0]


async def test_a_call_stays_with_its_worker(house: House) -> None:
    workers = [await house.worker() for _ in range(3)]
    client = house.client(*[worker.address for worker in workers])
    for command in ("offer", "answer", "play media", "query", "delete"):
        await client.command({**OFFER, "command": command})
        if command == "query":
            assert client.worker_of("call1") == workers[first_asked(client)].address
    assert sorted(len(worker.asked) for worker in workers) == [0, 0, 5]
    assert client.worker_of("call1") is None


async def test_removing_a_party_keeps_the_call_where_it_is(house: House) -> None:
    worker = await house.worker()
    client = house.client(worker.address)
    await client.command(OFFER)
    await client.command({"command": "delete", "call-id": "call1", "to-tag": "b"})
    assert client.worker_of("call1") == worker.address


async def test_an_offer_moves_on_from_a_silent_worker(house: House) -> None:
    live = await house.worker()
    client = house.client(house.silent(), live.address, retry_waits_s=FAST)
    call_id = next(name for name in map(str, range(100)) if first_asked(client, name) == 0)
    assert (await client.command({**OFFER, "call-id": call_id}))["result"] == "ok"
    assert client.pool.is_away(0, client._clock())
    assert client.worker_of(call_id) == live.address


async def test_the_next_call_does_not_try_the_silent_worker_again(house: House) -> None:
    live = await house.worker()
    client = house.client(house.silent(), live.address, retry_waits_s=FAST)
    for name in map(str, range(20)):
        await client.command({**OFFER, "call-id": name})
    assert client.retransmissions == len(FAST) - 1


@pytest.mark.parametrize("refusal", [load_limit(), error("Ran out of ports"), error("Parallel session limit reached")])
async def test_an_offer_moves_on_from_a_full_worker(house: House, refusal: Message) -> None:
    full, free = await house.worker(refusal), await house.worker()
    client = house.client(full.address, free.address)
    call_id = next(name for name in map(str, range(100)) if first_asked(client, name) == 0)
    assert (await client.command({**OFFER, "call-id": call_id}))["result"] == "ok"
    assert (full.commands, free.commands) == (["offer"], ["offer"])


async def test_when_all_are_full_the_refusal_is_the_reply(house: House) -> None:
    full = await house.worker(load_limit())
    client = house.client(full.address, full.address)
    assert await client.command(OFFER) == load_limit()
    assert client.worker_of("call1") is None


async def test_full_workers_are_not_followed_by_waiting_for_silent_ones(house: House) -> None:
    full = await house.worker(load_limit())
    client = house.client(full.address, house.silent(), retry_waits_s=FAST)
    with pytest.raises(MediaUnreachable):
        await client.ping(1)
    assert await client.command(OFFER) == load_limit()
    assert client.retransmissions == len(FAST) - 1


async def test_an_error_is_not_taken_to_another_worker(house: House) -> None:
    workers = [await house.worker(error("Incomplete SDP")) for _ in range(2)]
    client = house.client(*[worker.address for worker in workers])
    assert (await client.command(OFFER))["error-reason"] == "Incomplete SDP"
    assert sum(len(worker.asked) for worker in workers) == 1


async def test_a_call_whose_worker_is_silent_is_lost_and_offered_anew(house: House) -> None:
    worker, other = await house.worker(), await house.worker()
    client = house.client(worker.address, other.address, retry_waits_s=FAST)
    client.pin("call1", worker.address)
    await worker.server.close()
    with pytest.raises(MediaUnreachable):
        await client.command({**OFFER, "command": "query"})
    await client.command(OFFER)
    assert client.worker_of("call1") == other.address


async def test_after_a_restart_the_worker_that_knows_the_call_is_found(house: House) -> None:
    def answer(message: Message) -> Message:
        if message["command"] == "delete":
            return {"result": "ok", "warning": "Call-ID not found or tags didn't match"}
        return error(UNKNOWN_CALL)

    strangers = [await house.worker(answer) for _ in range(2)]
    knows = await house.worker()
    client = house.client(*[worker.address for worker in (*strangers, knows)])
    for name in map(str, range(8)):
        assert (await client.command({"command": "query", "call-id": name}))["result"] == "ok"
        assert client.worker_of(name) == knows.address
    assert "warning" not in await client.command({"command": "delete", "call-id": "elsewhere"})


async def test_a_worker_that_is_none_of_ours_can_not_be_pinned(house: House) -> None:
    with pytest.raises(ValueError, match=r"not in tuple|index"):
        house.client(Address("::1", 9)).pin("call1", Address("::1", 10))


# --- notices -----------------------------------------------------------------------------------------------------

ASKING = {**OFFER, "notices": "here"}


def digit(digit: str, seq: int, call_id: str = "call1") -> Notice:
    return Notice(call_id=call_id, tag="a", kind="digit", digit=digit, duration_ms=160, seq=seq)


async def test_notices_reach_the_edge_that_asked_in_their_order(house: House) -> None:
    worker = await house.worker()
    client = house.client(worker.address)
    media = NgMedia(client.command)
    client.on_notify = media.notified
    heard: list[Notice] = []
    media.on_notice = heard.append
    await client.command(ASKING)
    sent = [digit(text, seq) for seq, text in enumerate("0123456789*#ABCD", start=1)]
    for notice in sent:
        worker.server.notify(notice)
    await until(lambda: len(heard) == len(sent))
    assert heard == sent
    assert worker.server.notices_given_up == 0


async def test_a_notice_that_nobody_asked_for_is_counted(house: House) -> None:
    worker = await house.worker()
    await house.client(worker.address).command(OFFER)
    worker.server.notify(digit("1", 1))
    assert worker.server.notices_given_up == 1


async def test_a_refused_session_gets_no_notices(house: House) -> None:
    worker = await house.worker(load_limit())
    await house.client(worker.address).command(ASKING)
    worker.server.notify(digit("1", 1))
    assert worker.server.notices_given_up == 1


async def test_a_notice_is_repeated_until_acknowledged_and_taken_once(house: House) -> None:
    worker = await house.worker()
    sock = house.socket()
    sock.sendto(Envelope(b"c1", ASKING).encode(), worker.address.sockaddr())
    await received(sock)
    worker.server.notify(digit("7", 1))
    first = await received(sock)
    again = await received(sock)  # a quarter of a second later
    assert first == again
    taken: list[Message] = []
    client = house.client(worker.address, on_notify=taken.append)
    await client.ping(0)
    channel = client._channels[0]
    assert channel is not None
    channel.datagram_received(first, None)
    channel.datagram_received(again, None)
    await until(lambda: worker.server._notices.next_timer() is None)
    assert [message["digit"] for message in taken] == ["7"]


async def test_a_notice_whose_taking_fails_is_not_acknowledged(house: House) -> None:
    worker = await house.worker()

    def fail(message: Message) -> None:
        raise ValueError(message)

    client = house.client(worker.address, on_notify=fail)
    await client.ping(0)
    channel = client._channels[0]
    assert channel is not None
    notify = Envelope(b"n1", {**digit("7", 1).to_message(), "instance": "run1"})
    with pytest.raises(ValueError, match="notify"):
        channel.datagram_received(notify.encode(), None)
    client.on_notify = None
    channel.datagram_received(notify.encode(), None)
    assert not client._receiver.is_new(notify.message)


async def test_a_deleted_call_says_no_more(house: House) -> None:
    worker = await house.worker()
    client = house.client(worker.address)
    await client.command(ASKING)
    await client.command({"command": "delete", "call-id": "call1"})
    worker.server.notify(digit("1", 1))
    assert worker.server.notices_given_up == 1


async def test_a_call_that_the_worker_ended_still_tells_why(house: House) -> None:
    worker = await house.worker()
    taken: list[Message] = []
    client = house.client(worker.address, on_notify=taken.append)
    await client.command(ASKING)
    worker.server.notify(Notice(call_id="call1", tag="a", kind="timeout", duration_ms=30000, seq=1))
    worker.server.call_ended("call1")
    worker.server.notify(digit("1", 2))
    await until(lambda: bool(taken))
    assert (taken[0]["event"], taken[0]["duration"]) == ("timeout", 30000)


# --- the other event loop ----------------------------------------------------------------------------------------


async def call_and_failover() -> None:
    """A call with a notice, a closed port, and a worker that answers: what depends on the loop's sockets."""
    house = House()
    try:
        worker = await house.worker()
        taken: list[Message] = []
        client = house.client(house.closed(), worker.address, retry_waits_s=FAST, on_notify=taken.append)
        for name in map(str, range(4)):
            await client.command({**ASKING, "call-id": name})
        with pytest.raises(MediaUnreachable):
            await client.ping(0)
        worker.server.notify(digit("1", 1, call_id="3"))
        await until(lambda: worker.server._notices.next_timer() is None)
        assert [message["digit"] for message in taken] == ["1"]
    finally:
        await house.close()
        await asyncio.sleep(0)


def test_uvloop_does_the_same() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(call_and_failover())
