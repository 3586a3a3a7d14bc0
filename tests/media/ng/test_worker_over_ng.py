"""The real worker behind the real protocol: a call of two families, from offer to delete."""

from __future__ import annotations

import pytest

from services.core.address import Address, Family
from services.core.sdp import Media, SessionDescription, restrict_codecs, synthesise_answer, synthesise_offer
from services.media.api import NgMedia, UnknownCall
from services.media.ng.client import NgClient
from services.media.ng.message import Encoding
from services.media.ng.server import NgServer
from services.media.worker import Worker
from tests.media.support import rtp_settings


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_an_edge_bridges_ipv6_and_ipv4_over_ng(encoding: Encoding) -> None:
    worker = Worker(rtp_settings())
    server = NgServer(worker.handle)
    worker.on_notice = server.notify
    client = NgClient([await server.listen(Address("::1", 0))], encoding=encoding)
    media = NgMedia(client.command)
    try:
        offer = synthesise_offer(("ulaw", "g722"), Family.IP6, session_id=1, address="::1", port=40000)
        shown = await media.offer(
            call_id="c1",
            from_tag="a",
            to_tag="b",
            sdp=offer,
            family=Family.IP4,
            from_address="::1",
            to_address="127.0.0.1",
        )
        assert (audio_of(shown).family, audio_of(shown).formats) == (Family.IP4, ("0", "9", "101"))
        assert restrict_codecs(shown, ("ulaw",)) is not None
        answer = synthesise_answer(shown, ("g722",), session_id=2, address="127.0.0.1", port=40002)
        assert answer is not None
        told = await media.answer(call_id="c1", from_tag="a", to_tag="b", sdp=answer)
        assert (audio_of(told).family, audio_of(told).formats) == (Family.IP6, ("9", "101"))
        stats = await media.delete(call_id="c1")
        assert {party.tag: party.family for party in stats.parties} == {"a": Family.IP6, "b": Family.IP4}
        with pytest.raises(UnknownCall):
            await media.query(call_id="c1")
    finally:
        await client.close()
        await server.close()
        worker.close()


def audio_of(sdp: bytes) -> Media:
    audio = SessionDescription.parse(sdp).audio
    assert audio is not None
    return audio
