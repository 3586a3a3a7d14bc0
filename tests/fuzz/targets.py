"""What is fuzzed: each target takes any octets and raises only when the code under it is wrong.

The refusals of the code (SipError, SdpError, NgError, AddressError) are part of its promise; any other exception, and
any assertion here that does not hold, is a finding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from services.core.address import Address, AddressError, HostPort, parse_ip
from services.core.sdp import (
    Connection,
    MediaRewrite,
    SdpError,
    SessionDescription,
    direction,
    is_hold,
    media_family,
    next_version,
    restrict_codecs,
    rewrite,
    synthesise_answer,
)
from services.core.sip.dialog import Dialog
from services.core.sip.digest import DigestServer, Password
from services.core.sip.errors import FramingError, SipError
from services.core.sip.framing import Ping, StreamFramer
from services.core.sip.headers import parse_contacts, parse_cseq, parse_via
from services.core.sip.message import Request, Response, make_response, parse_message
from services.core.sip.uri import NameAddr, SipUri
from services.media.ng.errors import NgError
from services.media.ng.message import Envelope, normalised
from services.registrar.request import read_contacts
from tests.core.sip.reading import read_everything

FOLDER = Path(__file__).parent / "corpus"
TORTURE = Path(__file__).parent.parent / "torture"


_SERVER = DigestServer("pbx.example", b"k" * 32)


def sip(data: bytes) -> None:
    """A datagram: read, used, answered, and written again."""
    for stream in (False, True):
        try:
            message = parse_message(data, stream=stream)
        except SipError as error:
            if error.message is not None:
                _answer(error.message)
            continue
        assert parse_message(message.to_bytes(), stream=True) == message
        _use(message)


def _use(message: Request | Response) -> None:
    with contextlib.suppress(SipError):
        read_everything(message)
    if isinstance(message, Request):
        with contextlib.suppress(SipError):
            dialog = Dialog.uas(message, "tag")
            _ = dialog.next_hop
            dialog.next_request("BYE", via="SIP/2.0/UDP [2001:db8::1];branch=z9hG4bKf")[1].to_bytes()
        with contextlib.suppress(SipError):
            read_contacts(message.get_all("Contact"))
        _SERVER.check(message.rows("Authorization"), message.method, lambda _: Password("x"), 0.0)
        _answer(message)


def _answer(request: Request) -> None:
    """An answer has one head, whatever it echoes."""
    request.top_via = request.top_via.with_source("2001:db8::9", 5060)
    data = make_response(request, 400, to_tag="t").to_bytes()
    head, end, body = data.partition(b"\r\n\r\n")
    assert end
    assert body == b""
    assert head.startswith(b"SIP/2.0 400 ")
    assert head.count(b"\n") == head.count(b"\r\n") == head.count(b"\r")


def stream(data: bytes) -> None:
    """A stream: cut anywhere, it is the same messages."""
    whole, failed = _framed([data])
    step = 1 + len(data) % 61
    pieces, failed_too = _framed([data[at : at + step] for at in range(0, len(data), step)])
    assert (pieces, failed_too) == (whole, failed)
    for frame in whole:
        if isinstance(frame, bytes):
            sip(frame)


def _framed(pieces: list[bytes]) -> tuple[list[bytes | Ping], bool]:
    framer, frames = StreamFramer(), []
    for piece in pieces:
        try:
            frames += framer.feed(piece)
        except FramingError as error:
            if error.message is not None:
                _answer(error.message)
            return [*frames, *error.frames], True
    return frames, False


_RELAY = Connection.parse("IN IP6 2001:db8::1")


def sdp(data: bytes) -> None:
    """A session description: read, asked everything, answered, and put through the relay."""
    try:
        description = SessionDescription.parse(data)
    except SdpError as error:
        assert error.status in (400, 488)
        return
    assert SessionDescription.parse(description.to_bytes()) == description
    for media in description.media:
        media.codecs()
        media.telephone_event()
        _ = media.rtcp_port, media.rtcp_connection, media.ptime_ms, media.null_address
    media_family(description), direction(description), is_hold(description)
    restricted = restrict_codecs(description, ("ulaw", "opus"))
    assert restricted is None or SessionDescription.parse(restricted).audio is not None
    answer = synthesise_answer(description, ("all",), session_id=1)
    if answer is not None:
        answered = SessionDescription.parse(answer)
        assert [media.kind for media in answered.media] == [media.kind for media in description.media]
    relayed = rewrite(
        description, [MediaRewrite(_RELAY, 4000, 4001)] * len(description.media), origin=description.origin.at(_RELAY)
    )
    SessionDescription.parse(next_version(description.to_bytes(), relayed))


def ng(data: bytes) -> None:
    """A datagram of the media protocol, bencode or JSON."""
    try:
        envelope = Envelope.decode(data)
    except NgError as error:
        str(error)
        return
    normalised(envelope.message)
    assert Envelope.decode(envelope.encode()) == envelope


def uri(data: bytes) -> None:
    """A URI, an address, a host: whatever a header's value holds."""
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(SipError):
        read = SipUri.parse(text)
        assert SipUri.parse(str(read)) == read
        assert read.same_as(read)
        assert "\n" not in read.aor()
        _ = read.user_unescaped, read.hostport, read.param("lr")
    with contextlib.suppress(SipError):
        party = NameAddr.parse(text)
        if "\r" not in text and "\n" not in text:
            assert NameAddr.parse(str(party)) == party
        _ = party.tag, party.param("q")
    with contextlib.suppress(SipError):
        via = parse_via(text)
        assert parse_via(str(via)) == via
        _ = via.received, via.rport, via.branch
    with contextlib.suppress(SipError):
        parse_contacts([text])
    with contextlib.suppress(SipError):
        assert str(parse_cseq(str(parse_cseq(text)))) == str(parse_cseq(text))
    with contextlib.suppress(AddressError):
        assert parse_ip(parse_ip(text)) == parse_ip(text)
    with contextlib.suppress(AddressError):
        assert HostPort.parse(str(HostPort.parse(text))) == HostPort.parse(text)
    with contextlib.suppress(AddressError):
        assert Address.parse(str(Address.parse(text, 5060))) == Address.parse(text, 5060)
    _SERVER.check([text], "INVITE", lambda _: Password("x"), 0.0)


Target = Callable[[bytes], None]
TARGETS: Mapping[str, Target] = MappingProxyType({"sip": sip, "stream": stream, "sdp": sdp, "ng": ng, "uri": uri})


def seeds(target: str) -> list[bytes]:
    """The corpus of a target, in a steady order: its folder, and for SIP the torture messages as well."""
    folders = [FOLDER / ("sip" if target == "stream" else target)]
    if target in ("sip", "stream"):
        folders += [TORTURE / "rfc4475", TORTURE / "rfc5118"]
    return [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())]
