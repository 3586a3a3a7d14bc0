"""SIP over WebSocket (RFC 7118): the handshake over HTTP, then one SIP message a WebSocket message.

The protocol is the library's (`websockets`, its part without I/O); what is here is who may open one, the bounds, and
the keep-alives of both layers: CR LF CR LF as a message (RFC 7118 section 6, RFC 5626 section 4.4.1), and pings
(RFC 6455 section 5.5.2), which browsers answer by themselves.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.datastructures import MultipleValuesError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from services.core.address import is_ip, parse_ip
from services.core.config.secure import WebSocketSettings
from services.core.sip.framing import PING
from services.core.sip.message import MAX_MESSAGE_BYTES
from services.sip_edge.transport.connection import StreamConnection

if TYPE_CHECKING:
    from services.sip_edge.transport.streams import Streams

SUBPROTOCOL = Subprotocol("sip")
_KEEP_ALIVE = b"\r\n\r\n"
_LINE_ENDS = frozenset(b"\r\n")
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.disabled = True  # What peers do wrong is counted, not logged.


class WebSocketConnection(StreamConnection):
    """One WebSocket, from its HTTP request on."""

    def __init__(self, streams: Streams, number: int, listener: int, kind: str) -> None:
        super().__init__(streams, number, listener, kind)
        self._protocol = ServerProtocol(subprotocols=[SUBPROTOCOL], max_size=MAX_MESSAGE_BYTES, logger=_library_log)
        self._pieces: list[bytes] = []
        """Frames of a message that is not complete."""
        self._heard_at = self._active_at
        self._pinged_at: float | None = None

    # --- receiving -----------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._active_at = self._streams.loop.time()
        self._pinged_at = None
        connecting = self._protocol.state is State.CONNECTING
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame):
                self._take(event)
        if connecting and self._protocol.close_expected():
            self._streams.stats[f"{self.kind}_handshake_failed"] += 1
        elif self._protocol.parser_exc is not None:
            self._streams.stats[f"{self.kind}_framing_errors"] += 1
        self._flush()
        if not self._paused:
            self._hand_up()

    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        self._flush()
        return False

    def _open(self, request: Request) -> None:
        refusal = refuse(request, self._streams.websocket)
        protocol = self._protocol
        protocol.send_response(protocol.accept(request) if refusal is None else protocol.reject(*refusal))

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._pieces.append(bytes(frame.data))
        if not frame.fin:
            return
        message = b"".join(self._pieces)
        self._pieces.clear()
        if message == _KEEP_ALIVE:
            self._frames.append(PING)
        elif _LINE_ENDS.issuperset(message):
            # The answer to a keep-alive of ours, or nothing at all.
            return
        else:
            self._frames.append(message)
        self._owes_since = None

    def _flush(self) -> None:
        """Send what the protocol has to say by itself: the handshake's answer, pongs, closes."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        data = b"".join(self._protocol.data_to_send())
        if data:
            transport.write(data)
        if self._protocol.state is State.CLOSED or self._protocol.close_expected():
            transport.close()
        elif transport.get_write_buffer_size() > self._streams.limits.write_buffer_bytes:
            # It pings and does not read.
            self._streams.stats[f"{self.kind}_send_full"] += 1
            transport.abort()

    # --- sending -------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> bool:
        """Send a message of its own: text where it is, as browsers expect (RFC 7118 section 4.2)."""
        if self._transport is None or self._protocol.state is not State.OPEN:
            return False
        if is_text(data):
            self._protocol.send_text(data)
        else:
            self._protocol.send_binary(data)
        return super().write(b"".join(self._protocol.data_to_send()))

    def close(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.GOING_AWAY)
            self._flush()
        super().close()

    def is_overdue(self, now: float) -> bool:
        if self._pinged_at is not None and now - self._pinged_at > self._streams.limits.websocket_ping_s:
            return True
        return super().is_overdue(now)

    def keep_alive(self, now: float) -> None:
        silent = now - self._heard_at > self._streams.limits.websocket_ping_s
        if silent and self._pinged_at is None and self._protocol.state is State.OPEN:
            self._pinged_at = now
            self._protocol.send_ping(b"")
            self._flush()


def is_text(data: bytes) -> bool:
    """Whether octets are UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def refuse(request: Request, settings: WebSocketSettings) -> tuple[HTTPStatus, str] | None:
    """Why a handshake is refused before the protocol looks at it: where it goes, and which page it comes from."""
    if request.path.partition("?")[0] != settings.path:
        return HTTPStatus.NOT_FOUND, f"WebSockets are at {settings.path}\n"
    try:
        origin, host = request.headers.get("Origin"), request.headers.get("Host") or ""
    except MultipleValuesError:
        return HTTPStatus.BAD_REQUEST, "One Origin, one Host.\n"
    if origin is None or may_come_from(origin, host, settings.origins):
        return None
    return HTTPStatus.FORBIDDEN, "This origin may not: see ws_origin.\n"


def may_come_from(origin: str, host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a page of `origin` may open a WebSocket to `host` (RFC 6455 section 10.2).

    Browsers alone send an Origin, and a page cannot choose it.
    """
    if allowed:
        return "*" in allowed or origin.lower() in allowed
    own = _host_of(f"//{host}")
    return bool(own) and _host_of(origin) == own


def _host_of(url: str) -> str:
    """The host of a URL, canonical, without its port; "" when it has none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return parse_ip(host) if is_ip(host) else host
