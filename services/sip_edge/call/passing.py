"""What parties say inside a call beside its media: digits and other INFO (RFC 6086), and MESSAGE (RFC 3428).

Digits of INFO (`application/dtmf-relay`, `application/dtmf`) are for the application that serves the party, as those of
RFC 4733 are. Between two parties they go on as INFO: the media worker makes no events of its own, so a phone that knows
only RFC 4733 does not hear them. Everything else goes to the other party as it is, and its answer comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.core.sip.errors import SipError
from services.core.sip.message import Request, Response, make_response
from services.core.sip.transaction import ServerKey
from services.sip_edge.call.effects import Respond
from services.sip_edge.call.state import LegPhase

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess

_RELAY, _PLAIN = "application/dtmf-relay", "application/dtmf"
_KEYS = frozenset("0123456789*#ABCD")
_EVENTS = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}
"""Keys as some phones number them, after RFC 4733 section 3.2."""
_DURATION_MS = 100
_MAX_DURATION_MS = 10_000
_MAX_BODY_BYTES = 1300
"""What may go on over UDP (RFC 3428 section 8)."""


class Passing:
    """INFO and MESSAGE inside the dialogs of a call."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call

    def info_arrived(self, leg: str, key: ServerKey, request: Request) -> None:
        call = self._call
        if request.has("Info-Package"):
            # We named no package in Recv-Info (RFC 6086 section 4.2.2)
            self._answer(key, request, 469, ("Recv-Info", ""))
            return
        kind = _content_type(request)
        if kind in (_RELAY, _PLAIN):
            pressed = _read_digit(kind, request.body)
            if pressed is None:
                self._answer(key, request, 400)
                return
            self._answer(key, request, 200)
            if call.state.leg(leg).peer:
                self._send_on(leg, request)
            elif leg == call.state.served and call.state.leg(leg).phase is not LegPhase.ENDED:
                call.applications.digit(*pressed)
        elif not request.body:
            self._answer(key, request, 200)
        elif call.state.leg(leg).peer:
            self._pass_on(leg, key, request)
        else:
            self._answer(key, request, 415, ("Accept", f"{_RELAY}, {_PLAIN}"))

    def message_arrived(self, leg: str, key: ServerKey, request: Request) -> None:
        """A message to the other party; an application reads none."""
        if not self._call.state.leg(leg).peer:
            self._answer(key, request, 480)
        else:
            self._pass_on(leg, key, request)

    def _pass_on(self, leg: str, key: ServerKey, request: Request) -> None:
        """To the other party, and its final response back."""
        flow = self._call.dialogs.flow(self._call.state.leg(leg).peer)
        if len(request.body) > _MAX_BODY_BYTES and not flow.reliable:
            self._answer(key, request, 413)
        else:
            self._send_on(leg, request, key)

    def _send_on(self, leg: str, request: Request, key: ServerKey | None = None) -> None:
        call, peer = self._call, self._call.state.leg(leg).peer
        onward = call.dialogs.next_request(peer, request.method)
        if request.body:
            onward.set_body(request.body, request.get("Content-Type"))

        def answered(response: Response) -> None:
            if key is not None and response.status >= 200:
                # A challenge is between us and the other party.
                self._answer(key, request, 403 if response.status in (401, 407) else response.status)

        def failed(_reason: str) -> None:
            if key is not None:
                self._answer(key, request, 480)

        call.request(onward, call.dialogs.flow(peer), on_response=answered, on_failure=failed)

    def _answer(self, key: ServerKey, request: Request, status: int, *headers: tuple[str, str]) -> None:
        self._call.effect(Respond(key, make_response(request, status, headers=headers)))


def _content_type(request: Request) -> str:
    try:
        return request.content_type or ""
    except SipError:
        return ""


def _read_digit(kind: str, body: bytes) -> tuple[str, int] | None:
    """Key and milliseconds; None when there is no key in it."""
    text = body.decode("ascii", "replace")
    signal, duration = text.strip(), ""
    if kind == _RELAY:
        fields = {}
        for line in text.replace("\r", "\n").split("\n"):
            name, _, value = line.partition("=")
            fields[name.strip().lower()] = value.strip()
        signal, duration = fields.get("signal", ""), fields.get("duration", "")
    signal = _EVENTS.get(signal, signal.upper())
    if signal not in _KEYS:
        return None
    known = duration.isascii() and duration.isdigit() and len(duration) <= 6
    return signal, min(int(duration), _MAX_DURATION_MS) if known else _DURATION_MS
