"""SIP over TLS on real sockets: RFC 3261 26.2, RFC 5922, RFC 6066 3, RFC 8446."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from services.core.address import Address
from services.core.config.secure import CertificateFiles, TlsSettings
from services.core.sip.flow import Flow
from services.sip_edge.transport import CertificateError, TransportLimits, UnreachableError
from services.sip_edge.transport.tls import Tls
from tests.sip_edge.transport.world import TcpPeer, World, a_world, on_both_loops, options, until
from tests.support.certificates import Authority

LOOPBACKS = ("127.0.0.1", "::1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(folder=tmp_path)


def tls_options(number: int = 1) -> bytes:
    return options(number, via="SIP/2.0/TLS phone.invalid:5071")


def files(*certificates: Path) -> tuple[CertificateFiles, ...]:
    return tuple(CertificateFiles(certificate=path, origin="sip.conf:4") for path in certificates)


def showing(*certificates: Path, **more: Any) -> TlsSettings:
    return TlsSettings(certificates=files(*certificates), **more)


async def listening(world: World, host: str = "127.0.0.1") -> Address:
    return await world.listen(host, udp=False, tcp=False, tls=True)


async def phone_at(here: Address, context: ssl.SSLContext, server_name: str = "pbx.example") -> TcpPeer:
    return TcpPeer(*await asyncio.open_connection(here.host, here.port, ssl=context, server_hostname=server_name))


def shown_to(phone: TcpPeer) -> set[str]:
    """The DNS names of the certificate a phone was shown."""
    certificate = phone.writer.get_extra_info("peercert")
    return {name for kind, name in certificate["subjectAltName"] if kind == "DNS"}


# --- as a server -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", LOOPBACKS)
@on_both_loops
async def test_request_and_answer_share_a_connection(authority: Authority, host: str) -> None:
    async with a_world(tls=showing(authority.issue("pbx.pem", dns=("pbx.example",)))) as world:
        here = await listening(world, host)
        async with await phone_at(here, authority.client()) as phone:
            phone.send(tls_options(1) + b"\r\n\r\n" + tls_options(2))
            message, flow = await world.heard(2)
            assert (flow.transport, flow.local, flow.remote) == ("tls", here, phone.address)
            assert flow.reliable
            assert flow.secure
            assert message.top_via.received == host
            assert (await phone.receive()).startswith(b"SIP/2.0 200 OK\r\n")
            assert str(world.transport.advertised(flow)) == str(here)
            stats = world.transport.stats
            assert (stats["tls_accepted"], stats["tls_received"], stats["tls_sent"]) == (1, 2, 2)


@on_both_loops
async def test_tls_before_1_2_is_refused(authority: Authority) -> None:
    async with a_world(tls=showing(authority.issue("pbx.pem"))) as world:
        here = await listening(world)
        context = authority.client()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with await phone_at(here, context) as phone:
            assert phone.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        assert world.transport._tls.server is not None
        assert world.transport._tls.server.minimum_version == ssl.TLSVersion.TLSv1_2
        assert world.transport._tls.client.minimum_version == ssl.TLSVersion.TLSv1_2


@on_both_loops
async def test_a_handshake_that_fails_costs_a_counter_and_nothing_else(authority: Authority) -> None:
    async with a_world(tls=showing(authority.issue("pbx.pem"))) as world:
        here = await listening(world)
        async with await TcpPeer.to(here) as scanner:
            scanner.send(options())
            assert await scanner.ended()
        with pytest.raises(ssl.SSLError):
            await phone_at(here, ssl.create_default_context())
        async with await TcpPeer.to(here):
            pass
        await until(lambda: world.transport.stats["tls_handshake_failed"] == 3)
        assert (world.messages, world.errors, world.closed, world.transport.connections) == ([], [], [], 0)
        async with await phone_at(here, authority.client()) as phone:
            phone.send(tls_options())
            await phone.receive()


@on_both_loops
async def test_a_handshake_has_its_time_and_then_ends(authority: Authority) -> None:
    async with a_world(tls=showing(authority.issue("pbx.pem")), limits=TransportLimits(handshake_s=0.05)) as world:
        here = await listening(world)
        async with await TcpPeer.to(here) as silent:
            assert await silent.ended()
        assert world.transport.stats["tls_handshake_failed"] == 1


@on_both_loops
async def test_handshakes_under_way_count_as_connections(authority: Authority) -> None:
    async with a_world(tls=showing(authority.issue("pbx.pem")), limits=TransportLimits(connections=2)) as world:
        here = await listening(world)
        async with await TcpPeer.to(here), await TcpPeer.to(here), await TcpPeer.to(here) as third:
            assert await third.ended()
            assert world.transport.stats["tls_refused"] == 1


@on_both_loops
async def test_a_listener_closes_with_handshakes_under_way(authority: Authority) -> None:
    async with a_world(tls=showing(authority.issue("pbx.pem"))) as world:
        peer = await TcpPeer.to(await listening(world))
        await until(lambda: world.transport._streams._secure[0]._handshakes)
    assert await peer.ended()
    await peer.close()


@on_both_loops
async def test_a_listener_without_certificates_takes_nobody() -> None:
    async with a_world() as world, await TcpPeer.to(await listening(world)) as peer:
        assert await peer.ended()


# --- certificates ----------------------------------------------------------------------------------------------------


@on_both_loops
async def test_the_certificate_is_chosen_by_server_name(authority: Authority) -> None:
    first = authority.issue("a.pem", dns=("pbx.example", "sip.example"))
    second = authority.issue("b.pem", dns=("*.other.example",))
    async with a_world(tls=showing(first, second)) as world:
        here = await listening(world)
        for asked, shown in (
            ("pbx.example", "pbx.example"),
            ("SIP.example", "pbx.example"),
            ("a.other.example", "*.other.example"),
            ("a.b.other.example", "pbx.example"),
            ("unknown.example", "pbx.example"),
            ("127.0.0.1", "pbx.example"),
        ):
            async with await phone_at(here, authority.client(), asked) as phone:
                assert shown in shown_to(phone), asked


@on_both_loops
async def test_a_directory_holds_certificates_with_their_keys_inside_or_beside(authority: Authority) -> None:
    folder = authority.folder / "certificates"
    folder.mkdir()
    authority.issue("certificates/b.pem", dns=("b.example",))
    both = authority.issue("certificates/a.pem", dns=("a.example",)).read_text()
    certificate, mark, key = both.partition("-----BEGIN PRIVATE")
    (folder / "a.pem").unlink()
    (folder / "a.crt").write_text(certificate)
    (folder / "a.key").write_text(mark + key)
    (folder / "README").write_text("no certificate")
    async with a_world(tls=showing(folder)) as world:
        here = await listening(world)
        for name in ("a.example", "b.example"):
            async with await phone_at(here, authority.client(), name) as phone:
                assert shown_to(phone) == {name}


@on_both_loops
async def test_renewed_certificates_are_shown_without_a_restart_and_old_connections_live_on(
    authority: Authority,
) -> None:
    limits = TransportLimits(certificate_check_s=0.01)
    file = authority.issue("pbx.pem", dns=("old.example",))
    async with a_world(tls=showing(file), limits=limits) as world:
        here, stats = await listening(world), world.transport.stats
        async with await phone_at(here, authority.client()) as phone:
            assert shown_to(phone) == {"old.example"}
            authority.issue("pbx.pem", dns=("new.example",))
            await until(lambda: stats["tls_certificates_reloaded"] == 1)
            async with await phone_at(here, authority.client()) as other:
                assert shown_to(other) == {"new.example"}
            phone.send(tls_options())
            await phone.receive()


@on_both_loops
async def test_a_renewal_that_cannot_be_used_leaves_the_former_certificate(authority: Authority) -> None:
    limits = TransportLimits(certificate_check_s=0.01)
    file = authority.issue("pbx.pem", dns=("old.example",))
    async with a_world(tls=showing(file), limits=limits) as world:
        here, stats = await listening(world), world.transport.stats
        file.write_text("half of a ")
        await until(lambda: stats["tls_certificates_refused"])
        async with await phone_at(here, authority.client()) as phone:
            assert shown_to(phone) == {"old.example"}
        authority.issue("pbx.pem", dns=("new.example",))
        await until(lambda: stats["tls_certificates_reloaded"])
        async with await phone_at(here, authority.client()) as phone:
            assert shown_to(phone) == {"new.example"}


@on_both_loops
async def test_what_cannot_be_used_at_the_start_is_one_line(authority: Authority) -> None:
    good, other = authority.issue("pbx.pem"), authority.issue("other.pem")
    bad = authority.folder / "bad.pem"
    bad.write_text("nothing")
    empty = authority.folder / "empty"
    empty.mkdir()
    for tls, message in (
        (showing(bad), f"sip.conf:4: {bad} cannot be used: it is not PEM, or has a password"),
        (showing(empty), f"sip.conf:4: there is no certificate in {empty}"),
        (
            TlsSettings(certificates=(CertificateFiles(certificate=good, key=other, origin="sip.conf:4"),)),
            f"sip.conf:4: {good} with {other} cannot be used: key values mismatch",
        ),
        (showing(good, ca_file=bad), f"tlscafile: {bad}: no certificate or crl found"),
    ):
        async with a_world(tls=tls) as world:
            with pytest.raises(CertificateError) as caught:
                await listening(world)
            assert str(caught.value) == message
            assert world.transport.listening == []


@pytest.mark.parametrize("verify", ["optional", "yes"])
@on_both_loops
async def test_certificates_of_clients_are_checked_as_asked(authority: Authority, verify: str) -> None:
    stranger = Authority(folder=authority.folder, name="stranger")
    tls = showing(authority.issue("pbx.pem"), ca_file=authority.file, verify_client=verify)
    async with a_world(tls=tls) as world:
        here = await listening(world)
        async with await phone_at(here, authority.client(authority.issue("phone.pem"))) as phone:
            phone.send(tls_options())
            assert (await phone.receive()).startswith(b"SIP/2.0 200 ")
        contexts = [authority.client(stranger.issue("bad.pem"))]
        if verify == "yes":
            contexts.append(authority.client())
        for context in contexts:
            # By TLS 1.3 the client learns of its refusal with the first octets it reads.
            with pytest.raises((ssl.SSLError, ConnectionResetError, asyncio.IncompleteReadError)):
                async with await phone_at(here, context) as phone:
                    phone.send(tls_options(2))
                    await phone.receive()
        await until(lambda: world.transport.stats["tls_handshake_failed"] == len(contexts))
        assert world.numbers == [1]
        if verify == "optional":
            async with await phone_at(here, authority.client()) as phone:
                phone.send(tls_options(3))
                await phone.receive()


# --- as a client -----------------------------------------------------------------------------------------------------


class Trunk:
    """A server that answers nothing and keeps what it got."""

    def __init__(self) -> None:
        self.peers: list[TcpPeer] = []

    @classmethod
    async def at(cls, host: str, context: ssl.SSLContext) -> tuple[Trunk, asyncio.Server, Address]:
        trunk = cls()
        server = await asyncio.start_server(
            lambda reader, writer: trunk.peers.append(TcpPeer(reader, writer)), host, 0, ssl=context
        )
        return trunk, server, Address.from_sockaddr(server.sockets[0].getsockname())

    async def close(self, server: asyncio.Server) -> None:
        server.close()
        for peer in self.peers:
            await peer.close()


@pytest.mark.parametrize("host", LOOPBACKS)
@on_both_loops
async def test_a_trunk_is_reached_when_its_certificate_is_for_its_name(authority: Authority, host: str) -> None:
    certificate = authority.issue("trunk.pem", uris=("sip:trunk.example",))
    tls = showing(authority.issue("pbx.pem"), ca_file=authority.file)
    trunk, server, there = await Trunk.at(host, authority.server(certificate))
    async with a_world(tls=tls) as world:
        here = await listening(world, host)
        flow = await world.transport.flow_to("tls", there, "trunk.example")
        assert (flow.transport, flow.remote, flow.peer_name) == ("tls", there, "trunk.example")
        assert str(world.transport.advertised(flow)) == str(here)
        assert world.transport.send(tls_options(), flow)
        await until(lambda: trunk.peers)
        assert (await trunk.peers[0].receive()).startswith(b"OPTIONS ")
        assert await world.transport.flow_to("tls", there, "trunk.example") == flow, "the connection is used again"
        with pytest.raises(UnreachableError, match=r"for trunk\.example, not for other\.example"):
            await world.transport.flow_to("tls", there, "other.example")
    await trunk.close(server)


@on_both_loops
async def test_a_gone_connection_to_a_trunk_is_opened_again_and_asked_for_the_same_certificate(
    authority: Authority,
) -> None:
    trunk, server, there = await Trunk.at(
        "127.0.0.1", authority.server(authority.issue("trunk.pem", dns=("trunk.example",)))
    )
    async with a_world(tls=showing(authority.issue("pbx.pem"), ca_file=authority.file)) as world:
        await listening(world)
        flow = await world.transport.flow_to("tls", there, "trunk.example")
        await until(lambda: trunk.peers)
        await trunk.peers[0].close()
        await until(lambda: world.closed)
        assert world.transport.send(tls_options(), flow, reopen=there)
        await until(lambda: len(trunk.peers) == 2)
        assert (await trunk.peers[1].receive()).startswith(b"OPTIONS ")
        wrong = Flow("tls", flow.local, flow.remote, 99, "other.example")
        world.transport.send(tls_options(), wrong, reopen=there)
        await until(lambda: world.transport.stats["tls_dial_failed"])
        assert world.transport.connections == 1
    await trunk.close(server)


@pytest.mark.parametrize(
    ("issued", "reason"),
    [
        ({"dns": ("*.example",)}, r"its certificate is for \*.example, not for trunk.example"),
        ({"common_name": "other"}, "its certificate is for other, not for trunk.example"),
        ({"dns": ("trunk.example",), "days": -1}, "its certificate is not good: certificate has expired"),
    ],
)
@on_both_loops
async def test_a_certificate_for_somebody_else_is_no_way_to_a_trunk(
    authority: Authority, issued: dict[str, Any], reason: str
) -> None:
    trunk, server, there = await Trunk.at("127.0.0.1", authority.server(authority.issue("trunk.pem", **issued)))
    async with a_world(tls=showing(authority.issue("pbx.pem"), ca_file=authority.file)) as world:
        await listening(world)
        with pytest.raises(UnreachableError, match=reason):
            await world.transport.flow_to("tls", there, "trunk.example")
        assert (world.transport.stats["tls_dial_failed"], world.transport.connections) == (1, 0)
    async with a_world(tls=showing(authority.issue("pbx.pem"), verify_server=False)) as world:
        await listening(world)
        assert (await world.transport.flow_to("tls", there, "trunk.example")).peer_name == "trunk.example"
    await trunk.close(server)


@on_both_loops
async def test_an_unknown_authority_and_no_tls_at_all_are_no_way_either(authority: Authority) -> None:
    stranger = Authority(folder=authority.folder, name="stranger")
    trunk, server, there = await Trunk.at("127.0.0.1", authority.server(stranger.issue("t.pem", ips=("127.0.0.1",))))
    limits = TransportLimits(connect_s=0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with a_world(tls=showing(authority.issue("pbx.pem"), ca_file=authority.file), limits=limits) as world:
            await listening(world)
            with pytest.raises(UnreachableError, match="its certificate is not good: unable to get local issuer"):
                await world.transport.flow_to("tls", there)
            with pytest.raises(UnreachableError, match="no answer"):
                await world.transport.flow_to("tls", Address.from_sockaddr(silent.getsockname()))
            assert world.transport.connections == 0
    await trunk.close(server)


@on_both_loops
async def test_an_address_must_be_named_by_the_certificate(authority: Authority) -> None:
    trunk, server, there = await Trunk.at("::1", authority.server(authority.issue("trunk.pem", ips=("::1",))))
    async with a_world(tls=showing(authority.issue("pbx.pem"), ca_file=authority.file)) as world:
        await listening(world, "::1")
        assert (await world.transport.flow_to("tls", there)).peer_name == "::1"
    await trunk.close(server)


@on_both_loops
async def test_a_phone_is_met_on_its_own_connection_or_not_at_all(authority: Authority) -> None:
    async with a_world(tls=showing(authority.issue("pbx.pem"))) as world:
        here = await listening(world)
        async with await phone_at(here, authority.client()) as phone:
            phone.send(tls_options())
            _, flow = await world.heard()
            transport = world.transport
            assert transport.flow_between("tls", flow.local, flow.remote, flow.id) == flow
            assert transport.flow_between("tls", flow.local, flow.remote, flow.id + 1) is None
            assert transport.flow_between("wss", flow.local, flow.remote, flow.id) is None
        await until(lambda: world.closed)
        assert not transport.send(tls_options(), flow, reopen=here)
        assert transport.stats["tls_send_failed"] == 1


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(authority: Authority, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(authority.issue("pbx.pem").read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    pair = CertificateFiles(certificate=tmp_path / "pbx.pem", key=locked, origin="sip.conf:4")
    with pytest.raises(CertificateError, match="has a password"):
        Tls(TlsSettings(certificates=(pair,))).load()
