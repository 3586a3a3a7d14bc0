"""UDP listeners on real sockets: RFC 3261 18.2; RFC 3581; RFC 3493 5.3; RFC 3542."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket

import pytest

from services.core.address import Address
from services.core.sip.message import Request, Response
from services.sip_edge.transport import BindError, TransportLimits
from tests.sip_edge.transport.world import UdpPeer, World, a_world, link_locals, on_both_loops, options, until

LOOPBACKS = ("127.0.0.1", "::1")
WILDCARDS = ("0.0.0.0", "::")


@pytest.mark.parametrize("host", LOOPBACKS)
@on_both_loops
async def test_request_comes_up_with_its_flow_and_its_answer_goes_back(host: str) -> None:
    async with a_world() as world:
        here = await world.listen(host)
        with UdpPeer(host) as phone:
            phone.send(options(), here)
            message, flow = await world.heard()
            assert isinstance(message, Request)
            assert (flow.transport, flow.local, flow.remote) == ("udp", here, phone.address)
            data, source = await phone.receive()
            assert data.startswith(b"SIP/2.0 200 OK\r\n")
            assert source == here


@pytest.mark.parametrize(
    ("local", "via_host"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("127.0.0.3", "127.0.0.3")]
)
@on_both_loops
async def test_on_the_ipv4_wildcard_answers_leave_from_the_address_asked(local: str, via_host: str) -> None:
    async with a_world() as world:
        bound = await world.listen("0.0.0.0")
        with UdpPeer("127.0.0.1") as phone:
            asked = Address(local, bound.port)
            phone.send(options(), asked)
            _, flow = await world.heard()
            assert flow.local == asked
            assert (await phone.receive())[1] == asked
            assert world.transport.advertised(flow).host == via_host


@on_both_loops
async def test_on_the_ipv6_wildcard_answers_leave_from_the_address_asked() -> None:
    async with a_world() as world:
        bound = await world.listen("::")
        with UdpPeer("::1") as phone:
            asked = Address("::1", bound.port)
            phone.send(options(), asked)
            _, flow = await world.heard()
            assert flow.local == asked
            assert (await phone.receive())[1] == asked


@on_both_loops
async def test_link_local_peers_are_answered_in_their_scope_and_no_zone_is_written() -> None:
    async with a_world() as world:
        bound = await world.listen("::")
        for count, local in enumerate(link_locals(), start=1):
            asked = Address(local.host, bound.port, local.scope_id)
            with UdpPeer("::") as phone:
                phone.send(options(count), asked)
                message, flow = await world.heard(count)
                assert flow.local == asked
                assert flow.remote.scope_id == local.scope_id
                assert message.top_via.received == local.host
                data, source = await phone.receive()
                assert source == asked
                assert b"%" not in data


@pytest.mark.parametrize("host", LOOPBACKS)
@on_both_loops
async def test_datagrams_the_kernel_dropped_are_known(host: str) -> None:
    async with a_world() as world:
        here, _ = await world.listen(host), await world.listen(host)
        with UdpPeer(host) as phone:
            assert world.transport.receive_drops == 0
            while not world.transport.receive_drops:  # nobody reads meanwhile: the loop is busy with us
                phone.send(bytes(1400), here)
            assert world.transport.receive_drops == 1


async def both_wildcards(world: World) -> Address:
    """Listen on [::] and 0.0.0.0 with one port, one that no other program uses in either family."""
    while True:
        six = await world.listen("::")
        with contextlib.suppress(BindError):
            return await world.listen("0.0.0.0", port=six.port)


@on_both_loops
async def test_both_wildcards_share_a_port_and_no_address_is_mapped() -> None:
    async with a_world() as world:
        four = await both_wildcards(world)
        with UdpPeer("127.0.0.1") as phone:
            phone.send(options(), Address("127.0.0.1", four.port))
            message, flow = await world.heard()
            assert message.top_via.received == "127.0.0.1"
            assert flow.local == Address("127.0.0.1", four.port)
            data, source = await phone.receive()
            assert b"::ffff" not in data
            assert source == Address("127.0.0.1", four.port)


@on_both_loops
async def test_the_ipv6_wildcard_alone_takes_no_ipv4() -> None:
    async with a_world() as world:
        six = await world.listen("::")
        with UdpPeer("127.0.0.1") as v4, UdpPeer("::1") as v6:
            v4.send(options(1), Address("127.0.0.1", six.port))
            v6.send(options(2), Address("::1", six.port))
            await world.heard()
            await v6.receive()
            assert world.numbers == [2]


@pytest.mark.parametrize("host", LOOPBACKS)
@on_both_loops
async def test_received_and_rport_are_noted_in_the_first_via_only(host: str) -> None:
    async with a_world() as world:
        here = await world.listen(host)
        with UdpPeer(host) as phone:
            shared = options(1, via_params=";rport, SIP/2.0/UDP second.example;branch=z9hG4bKsecond;rport")
            phone.send(shared, here)
            message, _ = await world.heard()
            first, second = message.vias
            assert (first.received, first.rport) == (host, phone.address.port)
            assert second.received is None
            assert second.rport is None


@pytest.mark.parametrize(
    ("via_params", "received"),
    [("", "127.0.0.1"), (";received=198.51.100.1", "127.0.0.1"), (";received=10.1.1.1;rport", "127.0.0.1")],
)
@on_both_loops
async def test_received_is_the_source_whatever_the_peer_wrote(via_params: str, received: str) -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        with UdpPeer("127.0.0.1") as phone:
            phone.send(options(via_params=via_params), here)
            message, _ = await world.heard()
            assert message.top_via.received == received
            assert [name for name, _ in message.top_via.params].count("received") == 1


@on_both_loops
async def test_received_is_left_out_where_sent_by_is_the_source() -> None:
    async with a_world() as world:
        here = await world.listen("::1")
        with UdpPeer("::1") as phone:
            phone.send(options(via="SIP/2.0/UDP [0:0:0::1]:5070", via_params=""), here)
            message, _ = await world.heard()
            assert message.top_via.received is None


@on_both_loops
async def test_what_is_no_message_goes_up_as_an_error_and_can_be_answered() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        with UdpPeer("127.0.0.1") as phone:
            broken = options().replace(b"CSeq: 1 OPTIONS", b"CSeq: one OPTIONS")
            phone.send(broken, here)
            data, _ = await phone.receive()
            assert data.startswith(b"SIP/2.0 400 ")
            assert b"received=127.0.0.1" in data
            error, seen, flow = world.errors[0]
            assert (error.status, seen, flow.remote) == (400, broken, phone.address)
            phone.send(b"\xff\xfe garbage \x00", here)
            await until(lambda: len(world.errors) == 2)
            assert world.errors[1][0].message is None
            assert world.messages == []
            assert world.transport.stats["parse_errors"] == 2


@on_both_loops
async def test_keep_alives_and_other_protocols_are_counted_and_go_no_further() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        with UdpPeer("127.0.0.1") as phone:
            for data in (b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"", b" "):
                phone.send(data, here)
            stun = bytes.fromhex("0001000021 12a442") + b"t" * 12
            phone.send(stun, here)
            phone.send(options(), here)
            await world.heard()
            assert world.transport.stats["keepalives"] == 5
            assert world.transport.stats["not_sip"] == 1
            assert world.errors == []


@on_both_loops
async def test_the_longest_datagram_is_a_message_and_a_longer_one_is_not_sent() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        with UdpPeer("127.0.0.1") as phone:
            head = options()[:-2] + b"X-Long: "
            data = head + b"x" * (65507 - len(head) - 4) + b"\r\n\r\n"
            phone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            phone.send(data, here)
            message, flow = await world.heard()
            assert len(message.get("X-Long") or "") > 65000
            assert world.transport.send(b"x" * 65508, flow) is False
            assert world.transport.stats["udp_send_failed"] == 1


@on_both_loops
async def test_a_handler_that_fails_does_not_end_the_listener() -> None:
    async with a_world() as world:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))

        def fail(message: object, flow: object) -> None:
            if len(world.messages) == 1:
                raise ZeroDivisionError

        world.on_message = fail
        here = await world.listen("127.0.0.1")
        with UdpPeer("127.0.0.1") as phone:
            phone.send(options(1), here)
            phone.send(options(2), here)
            await phone.receive()
            assert world.numbers == [1, 2]
            assert [type(error) for error in reported] == [ZeroDivisionError]
            assert world.transport.stats["handler_errors"] == 1


@pytest.mark.parametrize("host", [*LOOPBACKS, *WILDCARDS])
@on_both_loops
async def test_a_burst_is_taken_in_batches_with_turns_for_others_in_between(host: str) -> None:
    limits = TransportLimits(receive_batch=8)
    async with a_world(limits=limits, answers=False) as world:
        bound = await world.listen(host)
        to = Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), bound.port)
        with UdpPeer("::1" if ":" in host else "127.0.0.1") as phone:
            for number in range(100):
                phone.send(options(number), to)
            heights = [0]
            while heights[-1] < 100:
                await asyncio.sleep(0)
                heights.append(len(world.messages))
            steps = [after - before for before, after in itertools.pairwise(heights)]
            assert max(steps) <= 8
            assert world.numbers == list(range(100))


@on_both_loops
async def test_many_peers_do_not_make_the_listener_grow() -> None:
    limits = TransportLimits(udp_flows=4)
    async with a_world(limits=limits, answers=False) as world:
        here = await world.listen("127.0.0.1")
        for number in range(1, 12):
            with UdpPeer("127.0.0.1") as phone:
                phone.send(options(number), here)
                _, flow = await world.heard(number)
                assert flow.remote == phone.address


@on_both_loops
async def test_one_peer_has_one_flow() -> None:
    async with a_world() as world:
        bound = await world.listen("0.0.0.0")
        with UdpPeer("127.0.0.1") as phone:
            phone.send(options(1), Address("127.0.0.1", bound.port))
            phone.send(options(2), Address("127.0.0.1", bound.port))
            phone.send(options(3), Address("127.0.0.2", bound.port))
            await world.heard(3)
            one, two, other = [flow for _, flow in world.messages]
            assert one is two
            assert one != other


@on_both_loops
async def test_a_flow_of_no_listener_sends_nothing() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1", udp=True)
        flow = await world.transport.flow_to("udp", here)
        await world.transport.close()
        assert world.transport.send(b"x", flow) is False
        assert world.transport.stats["unknown_flow"] == 1


@on_both_loops
async def test_any_datagrams_leave_the_listener_answering() -> None:
    chance = random.Random(4475)
    async with a_world() as world:
        here = await world.listen("::1")
        with UdpPeer("::1") as attacker, UdpPeer("::1") as phone:
            for number in range(600):
                data = bytearray(options(number))
                for _ in range(chance.randrange(1, 30)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                attacker.send(bytes(data[: chance.randrange(len(data) + 1)]), here)
                if number % 50 == 0:
                    phone.send(options(number, via_params=";rport;x=phone"), here)
                    while b"x=phone" not in (await phone.receive())[0]:
                        pass
            stats = world.transport.stats
            await until(lambda: stats["udp_received"] == 612)
            assert stats["handler_errors"] == 0
            assert stats["udp_sent"] <= stats["udp_received"], "at most one answer each"


@on_both_loops
async def test_responses_come_up_too() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        with UdpPeer("127.0.0.1") as phone:
            response = options().replace(b"OPTIONS sip:pbx.example SIP/2.0", b"SIP/2.0 200 OK")
            phone.send(response, here)
            message, _ = await world.heard()
            assert isinstance(message, Response)
            assert message.top_via.received is None, "the Via of a response is ours, nobody writes into it"
