"""The worker as a daemon: it serves ng, drains, and says what it could not have."""

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import ClientSession

from services.core.address import Address, Family
from services.core.config import Settings, load_settings
from services.core.lifecycle import StartError, Stopping
from services.media.__main__ import serve
from services.media.api import MediaOverloaded, NgMedia
from services.media.ng.client import NgClient
from tests.support import processes
from tests.support.readiness import becomes, readiness

from .support import description

SDP = description(Family.IP4, "192.0.2.1", 4000)


def settings(directory: Path, ng_port: int, metrics: str = "none") -> Settings:
    (directory / "sip.conf").write_text("[general]\nbindaddr=127.0.0.1\n")
    (directory / "pbx.conf").write_text(f"[metrics]\nbind={metrics}\n[shutdown]\ngrace=5\n")
    (directory / "rtp.conf").write_text(
        "[general]\nrtpstart=41300\nrtpend=41399\nbindaddr=127.0.0.1\nbindaddr=::1\n"
        f"nglisten=127.0.0.1:{ng_port}\nnglisten=[::1]:{ng_port}\n"
    )
    return load_settings(directory, {}, {})


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_calls_are_served_over_both_families_and_drained(tmp_path: Path) -> None:
    port = free_port()
    stopping = Stopping()
    serving = asyncio.create_task(serve(settings(tmp_path, port), stopping))
    clients = [NgClient([Address(host, port)]) for host in ("127.0.0.1", "::1")]
    four, six = (NgMedia(client.command) for client in clients)
    try:
        await six.offer(call_id="c", from_tag="a", to_tag="b", sdp=SDP, family=Family.IP6)
        answered = await six.answer(call_id="c", from_tag="a", to_tag="b", sdp=SDP)
        assert b"c=IN IP4 127.0.0.1" in answered
        assert {party.tag for party in (await four.query(call_id="c")).parties} == {"a", "b"}

        stopping.ask()
        await six.query(call_id="c")
        with pytest.raises(MediaOverloaded):
            await four.offer(call_id="d", from_tag="a", to_tag="b", sdp=SDP, family=Family.IP4)
        assert not serving.done()
        await six.delete(call_id="c")
        await asyncio.wait_for(serving, 5)
    finally:
        serving.cancel()
        for client in clients:
            await client.close()


async def test_it_is_not_ready_while_it_drains_and_tells_of_its_drops(tmp_path: Path) -> None:
    ng, http = free_port(), processes.free_port()
    stopping = Stopping()
    serving = asyncio.create_task(serve(settings(tmp_path, ng, f"127.0.0.1:{http}"), stopping))
    client = NgClient([Address("127.0.0.1", ng)])
    media = NgMedia(client.command)
    try:
        await media.offer(call_id="c", from_tag="a", to_tag="b", sdp=SDP, family=Family.IP4)
        await becomes(http, 200)
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{http}/metrics") as answer:
            told = (await answer.text()).splitlines()
        assert 'pbx_udp_receive_drops_total{kind="rtp"} 0.0' in told
        assert "pbx_media_silent_legs 0.0" in told
        stopping.ask()
        assert await readiness(http) == 503
        await media.delete(call_id="c")
        await asyncio.wait_for(serving, 5)
    finally:
        serving.cancel()
        await client.close()


async def test_a_taken_address_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"^rtp.conf: nglisten=127\.0\.0\.1:{port} cannot be used"):
            await serve(settings(tmp_path, port), Stopping())
