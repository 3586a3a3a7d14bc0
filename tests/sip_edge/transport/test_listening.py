"""Opening listeners, choosing flows, what is advertised: RFC 3261 18.1.1, 18.2.1; RFC 6724."""

from __future__ import annotations

import socket

import pytest

from services.core.address import Address, HostPort
from services.sip_edge.transport import BindError, UnreachableError
from tests.sip_edge.transport.world import TcpPeer, UdpPeer, a_world, on_both_loops, options, settings, until

NOT_OURS = {"4": "198.51.100.77", "6": "2001:db8:ffff::77"}


def occupied(host: str, kind: socket.SocketKind) -> socket.socket:
    """A socket of another program. It shares as much as it can; we must not."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind is socket.SOCK_DGRAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, 0))
    if kind is socket.SOCK_STREAM:
        sock.listen()
    return sock


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
@on_both_loops
async def test_udp_and_tcp_share_a_port(host: str) -> None:
    async with a_world() as world:
        here = await world.listen(host)
        assert here.host == host
        assert here.port > 0
        assert world.transport.listening == [here]
        target = Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), here.port)
        with UdpPeer("::1" if ":" in host else "127.0.0.1") as phone:
            phone.send(options(), target)
            await phone.receive()
        async with await TcpPeer.to(target) as phone:
            phone.send(options())
            await phone.receive()


@on_both_loops
async def test_a_transport_that_is_off_is_off() -> None:
    async with a_world() as world:
        await world.listen("127.0.0.1", tcp=False)
        with pytest.raises(UnreachableError, match="no IP4 listener"):
            await world.transport.flow_to("tcp", Address("127.0.0.1", 5060))
        only_tcp = await world.listen("127.0.0.1", udp=False)
        async with await TcpPeer.to(only_tcp) as phone:
            phone.send(options())
            await phone.receive()
        with pytest.raises(UnreachableError, match="no IP6 listener"):
            await world.transport.flow_to("udp", Address("::1", 5060))


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@on_both_loops
async def test_a_taken_port_is_an_error_that_names_address_and_setting(host: str, kind: socket.SocketKind) -> None:
    with occupied(host, kind) as other:
        taken = Address.from_sockaddr(other.getsockname())
        async with a_world() as world:
            with pytest.raises(BindError) as caught:
                await world.transport.listen(settings(host, port=taken.port))
            name = "UDP" if kind is socket.SOCK_DGRAM else "TCP"
            assert str(caught.value) == (
                f"sip.conf:3: cannot listen on {taken} ({name}): the port is taken by another program"
            )
            assert (caught.value.address, caught.value.origin) == (taken, "sip.conf:3")
            assert not caught.value.family_missing
            assert world.transport.listening == []
            if kind is socket.SOCK_STREAM:
                # The UDP socket of the failed attempt is gone.
                with socket.socket(other.family, socket.SOCK_DGRAM) as free:
                    free.bind((host, taken.port))


@pytest.mark.parametrize("host", NOT_OURS.values())
@on_both_loops
async def test_an_address_this_machine_has_not_got_is_told_apart(host: str) -> None:
    async with a_world() as world:
        with pytest.raises(BindError, match="this machine has no such address") as caught:
            await world.listen(host, port=5060)
        assert caught.value.family_missing


@on_both_loops
async def test_one_address_cannot_be_listened_on_twice() -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1")
        with pytest.raises(BindError):
            await world.listen("127.0.0.1", port=here.port)
        await world.listen("127.0.0.2", port=here.port)
        with UdpPeer("127.0.0.1") as phone:
            phone.send(options(), here)
            await phone.receive()


# --- choosing flows --------------------------------------------------------------------------------------------------


@on_both_loops
async def test_flow_to_a_peer_uses_the_listener_of_its_family_and_the_kernel_s_source() -> None:
    async with a_world() as world:
        six = await world.listen("::")
        four = await world.listen("0.0.0.0")
        for host, port in (("127.0.0.1", four.port), ("::1", six.port)):
            remote = Address(host, 40000)
            flow = await world.transport.flow_to("udp", remote)
            assert (flow.local, flow.remote) == (Address(host, port), remote)


@on_both_loops
async def test_of_several_listeners_the_one_with_the_kernel_s_source_is_used() -> None:
    async with a_world() as world:
        other = await world.listen("127.0.0.2")
        assert (await world.transport.flow_to("udp", Address("127.0.0.1", 1))).local == other, "bound there, it can"
        usual = await world.listen("127.0.0.1")
        assert (await world.transport.flow_to("udp", Address("127.0.0.1", 1))).local == usual


@on_both_loops
async def test_the_chosen_flow_really_leads_there_and_back() -> None:
    async with a_world(answers=False) as world:
        await world.listen("127.0.0.2")
        await world.listen("::")
        for count, host in enumerate(("127.0.0.1", "::1"), start=1):
            with UdpPeer(host) as phone:
                flow = await world.transport.flow_to("udp", phone.address)
                assert world.transport.send(options(), flow)
                _, source = await phone.receive()
                assert source == flow.local
                phone.send(options(), source)
                assert (await world.heard(count))[1] == flow


@pytest.mark.parametrize(("transport", "host"), [("udp", "::1"), ("tcp", "::1"), ("tls", "127.0.0.1")])
@on_both_loops
async def test_no_listener_no_flow(transport: str, host: str) -> None:
    async with a_world() as world:
        await world.listen("127.0.0.1")
        with pytest.raises(UnreachableError):
            await world.transport.flow_to(transport, Address(host, 5060))


@on_both_loops
async def test_a_listener_that_cannot_send_there_is_not_chosen() -> None:
    async with a_world() as world:
        await world.listen("127.0.0.1")
        with pytest.raises(UnreachableError):
            await world.transport.flow_to("udp", Address("203.0.113.1", 5060))


@on_both_loops
async def test_stored_addresses_become_a_flow_again_while_the_listener_exists() -> None:
    async with a_world() as world:
        concrete = await world.listen("127.0.0.1")
        wildcard = await world.listen("::")
        remote4, remote6 = Address("127.0.0.1", 40000), Address("::1", 40000)
        flow = world.transport.flow_between("udp", concrete, remote4)
        assert flow == await world.transport.flow_to("udp", remote4)
        asked = Address("::1", wildcard.port)
        flow = world.transport.flow_between("udp", asked, remote6)
        assert flow == await world.transport.flow_to("udp", remote6)
        assert world.transport.flow_between("udp", Address("127.0.0.2", concrete.port), remote4) is None
        assert world.transport.flow_between("udp", Address("::1", 1), remote6) is None
        assert world.transport.flow_between("tcp", concrete, remote4) is None


# --- advertising -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shown", "port"), [(HostPort("203.0.113.9", 15060), 15060), (HostPort("pbx.example"), None)])
@on_both_loops
async def test_an_advertised_address_is_shown_on_every_flow_of_its_listener(shown: HostPort, port: int | None) -> None:
    async with a_world() as world:
        here = await world.listen("127.0.0.1", advertised=shown)
        expected = HostPort(shown.host, port or here.port)
        with UdpPeer("127.0.0.1") as phone:
            phone.send(options(1), here)
            assert world.transport.advertised((await world.heard())[1]) == expected
        async with await TcpPeer.to(here) as phone:
            phone.send(options(2))
            _, flow = await world.heard(2)
            assert world.transport.advertised(flow) == expected
        await until(lambda: world.closed)
        assert world.transport.advertised(flow) == expected, "also when the connection is gone"


@on_both_loops
async def test_without_one_the_concrete_address_is_shown_never_the_wildcard() -> None:
    async with a_world() as world:
        here = await world.listen("::")
        flow = await world.transport.flow_to("udp", Address("::1", 5060))
        assert world.transport.advertised(flow) == HostPort("::1", here.port)
        assert str(world.transport.advertised(flow)) == f"[::1]:{here.port}"
