"""What `query` and `delete` answer: rtpengine's structure, with a few keys of ours (docs/media-protocol.md)."""

from typing import Any

from services.core.address import Family
from services.media.latch import SocketAddress
from services.media.party import Medium, Party
from services.media.relay import Endpoint
from services.media.session import Call

_FAMILIES = {Family.IP4: "IPv4", Family.IP6: "IPv6"}


def report(call: Call, now: float) -> dict[str, Any]:
    """Everything counted for a call. `now` is on the worker's clock; times in the report are unix seconds."""
    unix_offset = call.created_unix - call.created_at
    tags = {tag: _party(party, unix_offset) for tag, party in call.parties.items()}
    return {
        "created": int(call.created_unix),
        "last signal": int(call.signalled_at + unix_offset),
        "duration": int((now - call.created_at) * 1000),
        "tags": tags,
        "totals": _totals(call),
    }


def _party(party: Party, unix_offset: float) -> dict[str, Any]:
    reported: dict[str, Any] = {
        "tag": party.tag,
        "created": int(party.created_at + unix_offset),
        "medias": [
            _medium(index, medium, unix_offset) for index, medium in enumerate(party.media, 1) if medium.endpoint
        ],
    }
    if party.peer is not None:
        reported["in dialogue with"] = party.peer.tag
    return reported


def _medium(index: int, medium: Medium, unix_offset: float) -> dict[str, Any]:
    endpoint = medium.endpoint
    reported: dict[str, Any] = {
        "index": index,
        "type": medium.media.kind if medium.media is not None else "",
        "protocol": medium.media.proto if medium.media is not None else "",
        "codec": _codec(medium),
        "streams": [],
    }
    if endpoint is not None:
        host = medium.connection.address if medium.connection is not None else ""
        reported["streams"] = [_rtp(endpoint, host, unix_offset), _rtcp(endpoint, host)]
    return reported


def _codec(medium: Medium) -> str:
    """Asterisk's name of what was received last, else of what was agreed first."""
    formats = medium.shown or medium.formats
    received = medium.endpoint.payload_type if medium.endpoint is not None else -1
    for entry in formats:
        if entry.payload_type == received:
            return entry.codec_name
    voice = [entry for entry in formats if not entry.is_telephone_event]
    return voice[0].codec_name if voice else ""


def _rtp(endpoint: Endpoint, host: str, unix_offset: float) -> dict[str, Any]:
    received = endpoint.received
    stream: dict[str, Any] = {
        "local address": host,
        "local port": endpoint.port,
        "family": _FAMILIES[endpoint.family],
        "stats": {
            "packets": received.packets,
            "bytes": received.bytes,
            "errors": endpoint.rejected,
            "lost": received.lost,
            "misordered": received.misordered,
            "jitter": int(received.jitter_ms * 1000),
        },
        "stats_out": {
            "packets": endpoint.sent_packets,
            "bytes": endpoint.sent_bytes,
            "errors": endpoint.send_errors,
        },
    }
    _add_address(stream, "endpoint", endpoint.latch.to)
    _add_address(stream, "advertised endpoint", endpoint.latch.announced)
    if received.packets:
        stream["SSRC"] = received.ssrc
        stream["last packet"] = int(received.last_at + unix_offset)
    return stream


def _rtcp(endpoint: Endpoint, host: str) -> dict[str, Any]:
    stream: dict[str, Any] = {
        "local address": host,
        "local port": endpoint.port + 1,
        "family": _FAMILIES[endpoint.family],
        "stats": {"packets": endpoint.rtcp_packets, "bytes": endpoint.rtcp_bytes, "errors": 0},
    }
    _add_address(stream, "endpoint", endpoint.rtcp_latch.to)
    return stream


def _add_address(stream: dict[str, Any], key: str, address: SocketAddress | None) -> None:
    if address is not None:
        family = "IPv6" if ":" in address[0] else "IPv4"
        stream[key] = {"family": family, "address": address[0], "port": address[1]}


def _totals(call: Call) -> dict[str, Any]:
    rtp = {"packets": 0, "bytes": 0, "errors": 0}
    rtcp = {"packets": 0, "bytes": 0, "errors": 0}
    for party in call.parties.values():
        for medium in party.media:
            endpoint = medium.endpoint
            if endpoint is not None:
                rtp["packets"] += endpoint.received.packets
                rtp["bytes"] += endpoint.received.bytes
                rtp["errors"] += endpoint.rejected
                rtcp["packets"] += endpoint.rtcp_packets
                rtcp["bytes"] += endpoint.rtcp_bytes
    return {"RTP": rtp, "RTCP": rtcp}
