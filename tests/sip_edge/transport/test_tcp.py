"""TCP connections on real sockets: RFC 3261 18.2.2, 18.3; RFC 5626 4.4.1."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket

import pytest

from services.core.address import Address
from services.core.sip.framing import PONG
from services.sip_edge.transport import TransportLimits, UnreachableError
from tests.sip_edge.transport.world import TcpPeer, World, a_world, link_locals, on_both_loops, options, until

LOOPBACKS = ("127.0.0.1", "::1")


def tcp_options(number: int = 1) -> bytes:
    return options(number, via="SIP/2.0/TCP phone.invalid:5070")


# --- framing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", LOOPBACKS)
@on_both_loops
async def test_request_and_answer_share_a_connection(host: str) -> None:
    async with a_world() as world:
        here = await world.listen(host)
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options())
            message, flow = await world.heard()
            assert (flow.transport, flow.local, flow.remote) == ("tcp", here, phone.address)
            assert flow.reliable
            assert message.top_via.received == host
            assert (await phone.receive()).startswith(b"SIP/2.0 200 OK\r\n")
            assert world.transport.connections == 1


@pytest.mark.parametrize(("wildcard", "asked"), [("0.0.0.0", "127.0.0.2"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")])
@on_both_loops
async def test_on_a_wildcard_the_flow_says_which_address_was_asked(wildcard: str, asked: str) -> None:
    async with a_world() as world:
        bound = await world.listen(wildcard)
        async with await TcpPeer.to(Address(asked, bound.port)) as phone:
            phone.send(tcp_options())
            _, flow = await world.heard()
            assert flow.local == Address(asked, bound.port)


@on_both_loops
async def test_message_in_single_octets_is_one_message() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in tcp_options(7):
                phone.send(bytes([octet]))
                await asyncio.sleep(0)
            await phone.receive()
            assert world.numbers == [7]


@on_both_loops
async def test_many_messages_in_one_segment_come_in_order_and_in_batches() -> None:
    limits = TransportLimits(receive_batch=8)
    async with a_world(limits=limits) as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.send(b"".join(tcp_options(number) for number in range(100)))
            heights = [0]
            while heights[-1] < 100:
                await asyncio.sleep(0)
                heights.append(len(world.messages))
            assert max(after - before for before, after in itertools.pairwise(heights)) <= 8
            assert world.numbers == list(range(100))
            for _ in range(100):
                await phone.receive()
            phone.send(tcp_options(100))
            await world.heard(101)


@on_both_loops
async def test_keep_alive_gets_its_pong() -> None:
    async with a_world() as world:
        here = await world.listen("::1")
        async with await TcpPeer.to(here) as phone:
            phone.send(b"\r\n\r\n" + tcp_options() + b"\r\n\r\n")
            assert await phone.reader.readexactly(2) == PONG
            await phone.receive()
            assert await phone.reader.readexactly(2) == PONG
            assert world.transport.stats["keepalives"] == 2


@on_both_loops
async def test_unreadable_message_with_a_length_is_answered_and_the_connection_stays() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options(1).replace(b"CSeq: 1", b"CSeq: x") + tcp_options(2))
            assert (await phone.receive()).startswith(b"SIP/2.0 400 ")
            assert (await phone.receive()).startswith(b"SIP/2.0 200 ")
            assert world.numbers == [2]


@on_both_loops
async def test_stream_that_cannot_be_framed_is_answered_and_closed() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options(1) + tcp_options(2).replace(b"Content-Length: 0\r\n", b"") + tcp_options(3))
            assert (await phone.receive()).startswith(b"SIP/2.0 200 ")
            assert (await phone.receive()).startswith(b"SIP/2.0 400 ")
            assert await phone.ended()
            assert world.numbers == [1], "what came before is served, what follows is not"
            await until(lambda: world.closed)
            assert world.transport.stats["tcp_framing_errors"] == 1


@pytest.mark.parametrize("garbage", [b"\0" * 70_000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"A" * 70_000])
@on_both_loops
async def test_garbage_ends_its_connection_and_no_other(garbage: bytes) -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as attacker, await TcpPeer.to(here) as phone:
            attacker.send(garbage)
            assert await attacker.ended()
            phone.send(tcp_options())
            await phone.receive()
            assert world.transport.connections == 1


@on_both_loops
async def test_link_local_connections_keep_their_scope() -> None:
    """Dialled and accepted by two transports of ours, each on the wildcard."""
    async with a_world() as us, a_world() as phone:
        await us.listen("::")
        bound = await phone.listen("::")
        for count, local in enumerate(link_locals(), start=1):
            asked = Address(local.host, bound.port, local.scope_id)
            flow = await us.transport.flow_to("tcp", asked)
            assert flow.remote == asked
            assert flow.local.scope_id == local.scope_id
            us.transport.send(tcp_options(count), flow)
            message, arrived = await phone.heard(count)
            assert (arrived.local, arrived.remote) == (asked, flow.local)
            assert message.top_via.received == local.host
            assert (await us.heard(count))[1] == flow


@on_both_loops
async def test_any_octets_leave_the_listener_answering() -> None:
    chance = random.Random(4475)
    async with a_world() as world:
        here = await world.listen("::1")
        for number in range(60):
            async with await TcpPeer.to(here) as attacker, await TcpPeer.to(here) as phone:
                data = bytearray(b"".join(tcp_options(number) for _ in range(5)))
                for _ in range(chance.randrange(1, 20)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                attacker.send(bytes(data))
                phone.send(tcp_options(number))
                await phone.receive()
        await until(lambda: world.transport.connections == 0)
        assert world.transport.stats["handler_errors"] == 0


# --- closing and reconnecting ----------------------------------------------------------------------------------------


@on_both_loops
async def test_closed_connection_is_reported_and_sends_no_more() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options())
            _, flow = await world.heard()
        await until(lambda: world.closed)
        assert world.closed == [flow]
        assert world.transport.connections == 0
        assert world.transport.send(b"late", flow) is False


@on_both_loops
async def test_answer_to_a_closed_connection_goes_over_a_new_one() -> None:
    """RFC 3261 18.2.2: to the source address, port of sent-by."""
    async with a_world(answers=False) as world, a_world() as phone:
        here = await world.listen("127.0.0.1")
        phone_port = (await phone.listen("127.0.0.2", udp=False)).port
        async with await TcpPeer.to(here) as gone:
            gone.send(tcp_options())
            _, flow = await world.heard()
        await until(lambda: world.closed)
        for number in (1, 2):
            answer = tcp_options(number).replace(b"OPTIONS sip:pbx.example SIP/2.0", b"SIP/2.0 200 OK")
            assert world.transport.send(answer, flow, reopen=Address("127.0.0.2", phone_port))
        await phone.heard(2)
        assert phone.numbers == [1, 2]
        assert phone.transport.stats["tcp_accepted"] == 1, "both waited for one connection"


@on_both_loops
async def test_answer_that_cannot_be_delivered_anywhere_is_lost_quietly() -> None:
    async with a_world(answers=False) as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as gone:
            gone.send(tcp_options())
            _, flow = await world.heard()
        await until(lambda: world.closed)
        assert world.transport.send(b"answer", flow, reopen=Address("127.0.0.1", free_port())), "it waits"
        await until(lambda: world.transport.stats["tcp_dial_failed"])
        assert world.transport.connections == 0
        assert world.closed == [flow]


@on_both_loops
async def test_closing_lets_buffered_answers_out() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options())
            await world.heard()
            await world.transport.close()
            assert (await phone.receive()).startswith(b"SIP/2.0 200 ")
            assert await phone.ended()
            assert world.transport.connections == 0


@on_both_loops
async def test_closed_transport_frees_its_ports() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options())
            await phone.receive()
            await world.transport.close()
            async with a_world() as next_world:
                assert await next_world.listen("127.0.0.1", port=here.port) == here


# --- our connections -------------------------------------------------------------------------------------------------


async def two_worlds(caller: World, callee: World, host: str) -> tuple[Address, Address]:
    return await caller.listen(host), await callee.listen(host)


@pytest.mark.parametrize("host", LOOPBACKS)
@on_both_loops
async def test_a_connection_is_dialled_on_demand_and_used_again(host: str) -> None:
    async with a_world() as us, a_world() as trunk:
        here, there = await two_worlds(us, trunk, host)
        flow = await us.transport.flow_to("tcp", there)
        assert (flow.remote, flow.local.host) == (there, host)
        assert us.transport.advertised(flow).port == here.port, "peers reach us at the listener, not at this port"
        us.transport.send(tcp_options(1), flow)
        assert await us.transport.flow_to("tcp", there) == flow
        us.transport.send(tcp_options(2), flow)
        await us.heard(2)
        assert trunk.transport.stats["tcp_accepted"] == 1
        assert us.messages[0][1] == flow, "the answer came over it"


@on_both_loops
async def test_all_who_want_a_connection_at_once_share_it_and_one_may_lose_patience() -> None:
    async with a_world() as us, a_world() as trunk:
        _, there = await two_worlds(us, trunk, "127.0.0.1")
        impatient = asyncio.ensure_future(us.transport.flow_to("tcp", there))
        others = [asyncio.ensure_future(us.transport.flow_to("tcp", there)) for _ in range(5)]
        await asyncio.sleep(0)
        impatient.cancel()
        flows = await asyncio.gather(*others)
        assert len(set(flows)) == 1
        assert impatient.cancelled()
        await until(lambda: trunk.transport.connections == 1)


@on_both_loops
async def test_requests_toward_a_registered_phone_use_its_own_connection() -> None:
    async with a_world() as world:
        here = await world.listen("::1")
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options())
            _, flow = await world.heard()
            await phone.receive()
            assert await world.transport.flow_to("tcp", phone.address) == flow
            assert world.transport.flow_between("tcp", here, phone.address) == flow
            assert world.transport.send(tcp_options(5), flow)
            assert b"CSeq: 5 OPTIONS" in await phone.receive()


@on_both_loops
async def test_refused_connection_says_why() -> None:
    async with a_world() as world:
        await world.listen("::1")
        nobody = Address("::1", free_port("::1"))
        with pytest.raises(UnreachableError, match="connection refused") as caught:
            await world.transport.flow_to("tcp", nobody)
        assert str(nobody) in str(caught.value)
        assert world.transport.connections == 0


@on_both_loops
async def test_peer_that_does_not_answer_is_given_up() -> None:
    limits = TransportLimits(connect_s=0.1)
    async with a_world(limits=limits) as world:
        await world.listen("127.0.0.1")
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            silent = Address.from_sockaddr(full.getsockname())
            with socket.create_connection(silent.sockaddr()[:2]), pytest.raises(UnreachableError, match="no answer"):
                await world.transport.flow_to("tcp", silent)


# --- bounds ----------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_connections_over_the_limit_are_closed_and_counted() -> None:
    async with a_world(limits=TransportLimits(connections=2)) as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as first, await TcpPeer.to(here) as second:
            first.send(tcp_options(1))
            second.send(tcp_options(2))
            await world.heard(2)
            async with await TcpPeer.to(here) as third:
                assert await third.ended()
            assert world.transport.stats["tcp_refused"] == 1
            with pytest.raises(UnreachableError, match="too many"):
                await world.transport.flow_to("tcp", Address("127.0.0.1", free_port()))
        await until(lambda: world.transport.connections == 0)
        async with await TcpPeer.to(here) as later:
            later.send(tcp_options(3))
            await later.receive()
        await until(lambda: world.transport.connections == 0)
        assert {flow for _, flow in world.messages} == set(world.closed), "the refused one was never up for anybody"


@pytest.mark.parametrize("start", [b"", b"OPTIONS sip:x SIP/2.0\r\nVia: ", tcp_options() + b"OPTIONS sip:"])
@on_both_loops
async def test_peer_that_does_not_finish_a_message_is_closed(start: bytes) -> None:
    limits = TransportLimits(first_message_s=0.05, sweep_s=0.01)
    async with a_world(limits=limits) as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as slow:
            slow.send(start)
            assert await slow.ended()
            assert world.transport.stats["tcp_overdue"] == 1


@on_both_loops
async def test_quiet_phone_stays_connected_until_it_is_idle_for_too_long() -> None:
    limits = TransportLimits(first_message_s=0.02, idle_s=0.3, sweep_s=0.01)
    async with a_world(limits=limits) as world:
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options() + b"\r\n")
            await phone.receive()
            started = asyncio.get_running_loop().time()
            assert await phone.ended()
            assert asyncio.get_running_loop().time() - started > 0.2


@on_both_loops
async def test_peer_that_does_not_read_costs_a_bounded_buffer() -> None:
    limits = TransportLimits(write_buffer_bytes=100_000)
    async with a_world(limits=limits) as world:
        here = await world.listen("127.0.0.1")
        with socket.create_connection((here.host, here.port)) as deaf:
            deaf.sendall(tcp_options())
            _, flow = await world.heard()
            message = b"x" * 10_000
            sent = 0
            while world.transport.send(message, flow):
                sent += 1
                assert sent < 10_000
            assert world.transport.stats["tcp_send_full"] == 1
            async with await TcpPeer.to(here) as phone:
                phone.send(tcp_options(2))
                await phone.receive()


@on_both_loops
async def test_handler_that_fails_does_not_end_the_connection() -> None:
    async with a_world() as world:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))

        def fail(message: object, flow: object) -> None:
            if len(world.messages) == 1:
                raise ZeroDivisionError

        world.on_message = fail
        here = await world.listen("127.0.0.1")
        async with await TcpPeer.to(here) as phone:
            phone.send(tcp_options(1) + tcp_options(2))
            await phone.receive()
            assert world.numbers == [1, 2]
            assert len(reported) == 1


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port
