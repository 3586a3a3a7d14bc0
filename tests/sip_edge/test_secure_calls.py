"""Calls and registrations over TLS and WebSocket, through a whole PBX: RFC 3261 26.2.2, RFC 7118."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from services.console.doctor.agent import CallFailed, UserAgent
from services.console.doctor.checks import targets
from services.core.address import Family
from services.core.config import load_settings
from services.core.config.secure import TlsSettings
from services.core.events.catalogue import CallStarted, LegInvited
from services.core.sip.message import Request, Response, make_response, parse_message
from services.sip_edge.transport import UnreachableError
from tests.sip_edge.transport.world import TcpPeer
from tests.support.certificates import Authority
from tests.support.inprocess import EXTENSIONS_CONF, SIP_CONF, InProcessPbx, in_process_pbx, write_config

BOTH = (Family.IP4, Family.IP6)
SECURE = """
tlsenable=yes
tlsbindaddr=127.0.0.1:0
tlsbindaddr=[::1]:0
tlscertfile=pbx.pem
tlscafile=ca.pem
ws_bindaddr=127.0.0.1:0
ws_bindaddr=[::1]:0
wss_bindaddr=127.0.0.1:0

[phone](!)
"""
TRUNK = """
[trunk]
type=peer
host=127.0.0.1
port={port}
transport=tls
insecure=invite
context=internal
"""
EXTENSIONS = EXTENSIONS_CONF + "exten => 3,1,Dial(SIP/open,20)\nexten => _9X,1,Dial(SIP/trunk/${EXTEN:1},20)\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(folder=tmp_path)
    made.issue("pbx.pem", dns=("pbx.example",), ips=("127.0.0.1", "::1"))
    return made


def config(authority: Authority, *, trunk_port: int = 5061) -> Path:
    sip = SIP_CONF.replace("[phone](!)\n", SECURE) + TRUNK.format(port=trunk_port)
    return write_config(authority.folder, sip=sip, extensions=EXTENSIONS)


@pytest.fixture
async def pbx(authority: Authority) -> AsyncIterator[InProcessPbx]:
    async with in_process_pbx(config(authority)) as running:
        yield running


@pytest.fixture
async def agents() -> AsyncIterator[list[UserAgent]]:
    made: list[UserAgent] = []
    yield made
    for agent in made:
        await agent.close()


async def phone(agents: list[UserAgent], agent: UserAgent) -> UserAgent:
    agents.append(agent)
    await agent.start()
    await agent.register()
    return agent


@pytest.mark.parametrize(
    ("caller_by", "caller_family", "callee_by", "callee_family"),
    [
        ("tls", Family.IP4, "tls", Family.IP6),
        ("tls", Family.IP6, "tls", Family.IP4),
        ("tls", Family.IP6, "udp", Family.IP6),
        ("tcp", Family.IP4, "tls", Family.IP4),
    ],
)
async def test_both_parties_hear_each_other(
    pbx: InProcessPbx,
    agents: list[UserAgent],
    caller_by: str,
    caller_family: Family,
    callee_by: str,
    callee_family: Family,
) -> None:
    caller = await phone(agents, pbx.agent("dev1", "one", family=caller_family, transport=caller_by, tone_hz=1000))
    callee = await phone(agents, pbx.agent("dev2", "two", family=callee_family, transport=callee_by, tone_hz=440))
    connections = pbx.edge.transport.connections
    call = await caller.call("2")
    other = await asyncio.wait_for(callee.incoming.get(), 2)
    heard = await asyncio.gather(
        other.audio.hears(1000, seconds=0.4, timeout_s=4), call.audio.hears(440, seconds=0.4, timeout_s=4)
    )
    assert all(heard)
    assert pbx.edge.transport.connections == connections, "the call went over the registrations' connections"
    if caller_by == "tls":
        assert re.fullmatch(r"sip:[^@]+@\S+:\d+;transport=tls", call.dialog.remote_target)
    if callee_by == "tls":
        assert call.agent is caller
        assert re.fullmatch(r"sip:[^@]+@\S+:\d+;transport=tls", other.dialog.remote_target)
    await other.hang_up()
    await asyncio.wait_for(call.ended.wait(), 2)
    await call.audio.close()
    await asyncio.wait_for(pbx.edge.drain(5), 6)
    (started,), (invited,) = pbx.facts(CallStarted), pbx.facts(LegInvited)
    assert isinstance(started, CallStarted)
    assert isinstance(invited, LegInvited)
    assert (started.transport, invited.transport) == (caller_by, callee_by)


async def test_a_phone_may_check_the_certificate_of_the_pbx(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    server = pbx.address(transport="tls")
    trusting = TlsSettings(ca_file=pbx.settings.directory / "ca.pem")
    for tls in (trusting, TlsSettings()):
        agent = UserAgent(user="dev1", password="one", local=server.host, server=server, transport="tls", tls=tls)
        agents.append(agent)
        if tls is trusting:
            await agent.start()
            await agent.register()
        else:
            with pytest.raises(UnreachableError, match="not good"):
                await agent.start()


async def test_a_phone_whose_connection_is_gone_is_absent_until_it_registers_again(
    pbx: InProcessPbx, agents: list[UserAgent]
) -> None:
    caller = await phone(agents, pbx.agent("dev1", "one"))
    callee = await phone(agents, pbx.agent("dev2", "two", transport="tls"))
    await callee.close()
    with pytest.raises(CallFailed, match="480"):
        await caller.call("2")
    again = await phone(agents, pbx.agent("dev2", "two", transport="tls"))
    call = await caller.call("2")
    other = await asyncio.wait_for(again.incoming.get(), 2)
    await call.hang_up()
    await asyncio.wait_for(other.ended.wait(), 2)


# --- sips ------------------------------------------------------------------------------------------------------------


class RawPhone:
    """The phone `open` on a connection, message by message."""

    def __init__(self, peer: TcpPeer) -> None:
        self.peer = peer

    def invite(self, number: int, *, uri: str, contact: str, via: str) -> None:
        self.peer.send(
            f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/{via} phone.invalid;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n"
            f"From: <sips:open@pbx.example>;tag=q\r\nTo: <{uri}>\r\nCall-ID: raw{number}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <{contact}>\r\nContent-Length: 0\r\n\r\n".encode()
        )

    async def final(self) -> Response:
        while True:
            head = await self.peer.receive()
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            message = parse_message(head + await self.peer.reader.readexactly(length))
            if isinstance(message, Response) and message.status >= 200:
                return message


async def test_sips_is_dialled_over_tls_or_not_at_all(
    pbx: InProcessPbx, agents: list[UserAgent], authority: Authority
) -> None:
    here = pbx.address(transport="tls")
    in_the_clear = await phone(agents, pbx.agent("dev2", "two"))
    reader, writer = await asyncio.open_connection(here.host, here.port, ssl=authority.client())
    async with TcpPeer(reader, writer) as peer:
        caller = RawPhone(peer)
        caller.invite(1, uri="sips:2@pbx.example", contact="sips:open@phone.invalid", via="TLS")
        assert (await caller.final()).status == 480
        assert in_the_clear.incoming.empty()
        secured = await phone(agents, pbx.agent("dev2", "two", transport="tls"))
        caller.invite(2, uri="sips:2@pbx.example", contact="sips:open@phone.invalid", via="TLS")
        answer = await caller.final()
        assert answer.status == 200
        contact = answer.get("Contact") or ""
        assert re.fullmatch(rf"<sips:\S+@{here}>", contact)
        call = await asyncio.wait_for(secured.incoming.get(), 2)
        assert in_the_clear.incoming.empty()
        await call.hang_up()


@pytest.mark.parametrize(
    ("uri", "contact", "status"),
    [
        ("sips:2@pbx.example", "sip:open@phone.invalid", 403),
        ("sip:2@pbx.example", "sips:open@phone.invalid", 403),
        ("sip:2@pbx.example", "sip:sips@phone.invalid", 480),
    ],
)
async def test_sips_in_the_clear_has_been_downgraded_and_is_refused(
    pbx: InProcessPbx, uri: str, contact: str, status: int
) -> None:
    async with await TcpPeer.to(pbx.address(transport="tcp")) as peer:
        caller = RawPhone(peer)
        caller.invite(1, uri=uri, contact=contact, via="TCP")
        assert (await caller.final()).status == status


# --- trunks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("issued", "answer"), [(("127.0.0.1",), 486), (("127.0.0.2",), 480)])
async def test_a_trunk_over_tls_is_called_when_its_certificate_is_its_own(
    authority: Authority, agents: list[UserAgent], issued: tuple[str, ...], answer: int
) -> None:
    arrived: list[Request] = []

    async def trunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            request = parse_message(head + await reader.readexactly(length))
            assert isinstance(request, Request)
            arrived.append(request)
            if request.method == "ACK":
                break
            writer.write(make_response(request, 486, to_tag="busy").to_bytes())
        writer.close()

    certificate = authority.issue("trunk.pem", ips=issued)
    server = await asyncio.start_server(trunk, "127.0.0.1", 0, ssl=authority.server(certificate))
    port = server.sockets[0].getsockname()[1]
    with contextlib.closing(server):
        async with in_process_pbx(config(authority, trunk_port=port)) as pbx:
            caller = await phone(agents, pbx.agent("dev1", "one"))
            with pytest.raises(CallFailed, match=str(answer)):
                await caller.call("95")
            assert bool(arrived) is (answer == 486)
            if arrived:
                invite = arrived[0]
                assert invite.uri == f"sip:5@127.0.0.1:{port};transport=tls"
                assert (invite.get("Via") or "").startswith(f"SIP/2.0/TLS {pbx.address(transport='tls')};")


# --- WebSocket -------------------------------------------------------------------------------------------------------


class Browser:
    """A phone in a web page, without a password."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._cseq = 0

    async def request(self, method: str, *headers: str) -> Response:
        self._cseq += 1
        rows = [
            f"{method} sip:pbx.example SIP/2.0",
            f"Via: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK{self._cseq}",
            "Max-Forwards: 70",
            "From: <sip:open@pbx.example>;tag=q",
            "To: <sip:open@pbx.example>",
            "Call-ID: browser",
            f"CSeq: {self._cseq} {method}",
            *headers,
        ]
        await self.socket.send_str("\r\n".join([*rows, "", ""]))
        response = await self.next()
        assert isinstance(response, Response)
        return response

    async def next(self) -> Request | Response:
        return parse_message((await self.socket.receive_str(timeout=5)).encode())


@pytest.mark.parametrize(("transport", "family"), [("ws", Family.IP4), ("ws", Family.IP6), ("wss", Family.IP4)])
async def test_a_browser_registers_and_is_called_over_its_connection(
    pbx: InProcessPbx, agents: list[UserAgent], authority: Authority, transport: str, family: Family
) -> None:
    here = pbx.address(family, transport)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{transport}://{here}/ws", protocols=("sip",), ssl=authority.client()) as socket,
    ):
        browser = Browser(socket)
        contact = "Contact: <sip:open@df7jal23ls0d.invalid;transport=ws>;expires=600"
        registered = await browser.request("REGISTER", contact)
        assert (registered.status, registered.get_all("Contact")) == (200, [contact.partition(" ")[2]])
        assert (await browser.request("OPTIONS")).status == 200
        (binding,) = await pbx.registrar.lookup("open")
        assert binding.transport == transport

        caller = await phone(agents, pbx.agent("dev1", "one"))
        calling = asyncio.create_task(caller.call("3"))
        invite = await browser.next()
        assert isinstance(invite, Request)
        assert (invite.method, invite.uri) == ("INVITE", "sip:open@df7jal23ls0d.invalid;transport=ws")
        assert (invite.get("Via") or "").startswith(f"SIP/2.0/{transport.upper()} {here};")
        assert re.fullmatch(r"<sip:\S+;transport=ws>", invite.get("Contact") or "")
        await socket.send_str(make_response(invite, 486, to_tag="busy").to_bytes().decode())
        ack = await browser.next()
        assert isinstance(ack, Request)
        assert ack.method == "ACK"
        with pytest.raises(CallFailed, match="486"):
            await calling
    with pytest.raises(CallFailed, match="480"):
        await caller.call("3")


def test_the_doctor_calls_over_tls_and_leaves_websockets_to_browsers(authority: Authority) -> None:
    settings = load_settings(config(authority), {})
    assert [name for _, name in targets(settings.sip.listeners)] == ["udp", "tcp"] * 2 + ["tls"] * 2
