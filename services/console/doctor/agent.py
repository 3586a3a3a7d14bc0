"""A SIP phone in one class: registers, calls, answers. Real SIP and RTP, on the stack the edge itself uses.

It is what `pbx doctor` calls with, and what tests call with where no foreign phone is wanted.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from services.console.doctor.tone import ToneEndpoint
from services.core.address import Address, HostPort
from services.core.config.secure import TlsSettings
from services.core.config.sip import ListenerSettings
from services.core.sdp import SessionDescription, synthesise_answer, synthesise_offer
from services.core.sip.dialog import Dialog
from services.core.sip.digest import DigestClient, Password
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response
from services.core.sip.transaction import (
    BRANCH_COOKIE,
    AckArrived,
    CancelArrived,
    ClientKey,
    Output,
    RequestArrived,
    ResponseArrived,
    SendMessage,
    ServerKey,
    TransactionFailed,
    TransactionLayer,
)
from services.sip_edge.transport import SipTransport

_CODECS = ("ulaw",)


class CallFailed(Exception):
    """A request of the agent was refused, or never answered (status 408)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status


@dataclass(slots=True)
class AgentCall:
    """One dialog of an agent, with its audio."""

    agent: UserAgent
    audio: ToneEndpoint
    dialog: Dialog
    flow: Flow
    status: int = 0
    """Status of the final response that made it."""
    early: list[int] = field(default_factory=list)
    """Provisional statuses seen before that."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Queue[Request] = field(default_factory=asyncio.Queue)
    """NOTIFY, INFO and MESSAGE requests that came in the dialog."""

    async def request(
        self, method: str, *, sdp: bytes = b"", headers: tuple[tuple[str, str], ...] = (), kind: str = "application/sdp"
    ) -> Response:
        """A request inside the dialog, and its final response."""
        via = self.agent.via(self.flow)
        contact = self.agent.contact if method == "INVITE" else None
        self.dialog, request = self.dialog.next_request(method, via=via, contact=contact, headers=headers)
        if sdp:
            request.set_body(sdp, kind)
        response = await self.agent.exchange(request, self.flow)
        if method == "INVITE" and response.status < 300:
            ack = self.dialog.ack(request.cseq.number, via=self.agent.via(self.flow))
            self.agent.send(ack.to_bytes(), self.flow)
        return response

    async def refer(self, target: str) -> Response:
        """Hand the other party on to a URI (RFC 3515)."""
        return await self.request("REFER", headers=(("Refer-To", f"<{target}>"), ("Contact", self.agent.contact)))

    @property
    def replaces(self) -> str:
        """This dialog as another's Replaces names it, escaped for a URI (RFC 3891)."""
        dialog = self.dialog
        return f"{dialog.call_id}%3Bto-tag%3D{dialog.remote_tag}%3Bfrom-tag%3D{dialog.local_tag}"

    async def hang_up(self) -> None:
        """BYE, unless the other side was quicker."""
        if not self.ended.is_set():
            self.ended.set()
            await self.request("BYE")
        await self.audio.close()


@dataclass(frozen=True, slots=True)
class _Draft:
    """A request outside any dialog, before it has a number, a branch and credentials."""

    method: str
    uri: str
    to: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    call_id: str = ""
    """Empty: a fresh one."""


class UserAgent:
    """A phone at an address of this machine."""

    def __init__(
        self,
        *,
        user: str,
        password: str,
        local: str,
        server: Address,
        transport: str = "udp",
        tone_hz: int = 1000,
        tls: TlsSettings | None = None,
    ) -> None:
        """`transport` is `udp`, `tcp` or `tls`; over TLS any certificate is taken unless `tls` says otherwise."""
        self.user = user
        self.server = server
        self.tone_hz = tone_hz
        self.incoming: asyncio.Queue[AgentCall] = asyncio.Queue()
        self.answer_status = 200
        """What calls are answered with."""
        self._local = local
        self._transport_name = transport
        self._digest = DigestClient(user, Password(password), lambda: secrets.token_hex(8))
        self._layer = TransactionLayer(new_branch=_new_branch)
        self._transport = SipTransport(
            self._message, lambda *_: None, lambda _flow: None, tls=tls or TlsSettings(verify_server=False)
        )
        self._waiting: dict[ClientKey, tuple[asyncio.Future[Response], Callable[[Response], None]]] = {}
        self._calls: dict[tuple[str, str], AgentCall] = {}
        self._ringing: dict[ServerKey, Request] = {}
        self._unacknowledged: dict[tuple[str, str], ServerKey] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._registration_call_id = secrets.token_hex(8)
        self._cseq = 0
        self._flow: Flow | None = None

    async def start(self) -> None:
        """Open a port of our own and the way to the server. Raises TransportError."""
        name = self._transport_name
        settings = ListenerSettings(
            address=Address(self._local, 0),
            udp=name == "udp",
            tcp=name == "tcp",
            tls=name == "tls",
            origin="the agent's port",
        )
        await self._transport.listen(settings)
        self._flow = await self._transport.flow_to(self._transport_name, self.server)

    async def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        for call in list(self._calls.values()):
            await call.audio.close()
        await self._transport.close()

    @property
    def flow(self) -> Flow:
        assert self._flow is not None, "start() first"
        return self._flow

    @property
    def _domain(self) -> HostPort:
        return HostPort(self.server.host, self.server.port)

    @property
    def aor(self) -> str:
        return f"sip:{self.user}@{self._domain}"

    @property
    def contact(self) -> str:
        parameter = "" if self._transport_name == "udp" else f";transport={self._transport_name}"
        return f"<sip:{self.user}@{self._transport.advertised(self.flow)}{parameter}>"

    def via(self, flow: Flow) -> str:
        return f"SIP/2.0/{flow.transport.upper()} {self._transport.advertised(flow)};branch={_new_branch()};rport"

    def send(self, data: bytes, flow: Flow) -> None:
        self._transport.send(data, flow)

    # --- as a client -------------------------------------------------------------------------------------------

    async def register(self, expires_s: int = 60) -> Response:
        """Bind our contact (0: remove it). Raises CallFailed."""
        draft = _Draft(
            "REGISTER",
            f"sip:{self._domain}",
            self.aor,
            headers=(("Expires", str(expires_s)),),
            call_id=self._registration_call_id,
        )
        _, response = await self._authenticated(draft)
        if response.status != 200:
            raise CallFailed(response.status, response.reason)
        return response

    async def call(
        self, number: str, *, timeout_s: float = 10.0, headers: tuple[tuple[str, str], ...] = ()
    ) -> AgentCall:
        """Dial, and wait for the answer. Raises CallFailed with the status of a refusal."""
        audio = ToneEndpoint(self._local_for_media(), self.tone_hz)
        local = audio.address
        offer = synthesise_offer(_CODECS, local.family, session_id=1, address=local.host, port=local.port)
        target = f"sip:{number}@{self._domain}"
        draft = _Draft("INVITE", target, target, headers=(("Content-Type", "application/sdp"), *headers), body=offer)
        early: list[int] = []
        try:
            async with asyncio.timeout(timeout_s):
                invite, response = await self._authenticated(draft, early.append)
            if response.status >= 300:
                raise CallFailed(response.status, response.reason)
        except (TimeoutError, CallFailed) as error:
            await audio.close()
            raise error if isinstance(error, CallFailed) else CallFailed(408, "no answer") from None
        return self._established(invite, response, audio, early)

    def _established(self, invite: Request, response: Response, audio: ToneEndpoint, early: list[int]) -> AgentCall:
        dialog = Dialog.uac(invite, response)
        call = AgentCall(self, audio, dialog, self.flow, response.status, early)
        self._calls[dialog.call_id, dialog.local_tag] = call
        ack = dialog.ack(invite.cseq.number, via=self.via(self.flow))
        self.send(ack.to_bytes(), self.flow)
        audio.start(_audio_address(response.body))
        return call

    async def _authenticated(
        self, draft: _Draft, provisional: Callable[[int], None] = lambda _status: None
    ) -> tuple[Request, Response]:
        """Send a request, and once more with credentials if it is challenged."""
        call_id, tag = secrets.token_hex(8), secrets.token_hex(4)
        credentials: list[tuple[str, str]] = []
        while True:
            self._cseq += 1
            rows = [
                ("Via", self.via(self.flow)),
                ("Max-Forwards", "70"),
                ("From", f"<{self.aor}>;tag={tag}"),
                ("To", f"<{draft.to}>"),
                ("Call-ID", draft.call_id or call_id),
                ("CSeq", f"{self._cseq} {draft.method}"),
                ("Contact", self.contact),
                *draft.headers,
                *credentials,
            ]
            request = Request(draft.method, draft.uri, rows, draft.body)
            response = await self.exchange(request, self.flow, lambda answer: provisional(answer.status))
            if response.status != 401 or credentials:
                return request, response
            challenges = response.rows("WWW-Authenticate")
            credentials = [("Authorization", self._digest.answer(challenges, draft.method, draft.uri))]

    async def exchange(
        self, request: Request, flow: Flow, provisional: Callable[[Response], None] = lambda _response: None
    ) -> Response:
        """A client transaction. Raises CallFailed(408) when nobody answers."""
        key, outputs = self._layer.request(request, flow, time.monotonic())
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[key] = (future, provisional)
        self._work(outputs)
        try:
            return await future
        except asyncio.CancelledError:
            self._work(self._layer.cancel(key, time.monotonic()))
            raise
        finally:
            self._waiting.pop(key, None)

    # --- as a server -------------------------------------------------------------------------------------------

    def _message(self, message: Request | Response, flow: Flow) -> None:
        self._work(self._layer.receive(message, flow, time.monotonic()))

    def _work(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case SendMessage():
                    self._transport.send(output.data, output.flow, reopen=output.reopen)
                case ResponseArrived():
                    self._response(output.key, output.response)
                case TransactionFailed():
                    future, _ = self._waiting.get(output.key, (None, None))
                    if future is not None and not future.done():
                        future.set_exception(CallFailed(408, output.reason.value))
                case RequestArrived():
                    self._request(output)
                case AckArrived():
                    self._acknowledged(output.request)
                case CancelArrived():
                    request = self._ringing.pop(output.key, None)
                    if request is not None:
                        self._respond(output.key, make_response(request, 487))
                case _:
                    pass
        self._set_alarm()

    def _response(self, key: ClientKey, response: Response) -> None:
        future, provisional = self._waiting.get(key, (None, None))
        if future is None or future.done():
            return
        if response.status < 200:
            if provisional is not None:
                provisional(response)
        else:
            future.set_result(response)

    def _request(self, arrived: RequestArrived) -> None:
        request = arrived.request
        call = self._calls.get((request.call_id, request.to_tag or ""))
        if request.method == "INVITE" and call is None:
            self._invited(arrived)
        elif request.method == "BYE" and call is not None:
            self._respond(arrived.key, make_response(request, 200))
            call.ended.set()
        elif request.method == "INVITE" and call is not None:
            self._reinvited(arrived, call)
        elif request.method in ("NOTIFY", "INFO", "MESSAGE") and call is not None:
            call.dialog = call.dialog.received(request)
            self._respond(arrived.key, make_response(request, 200))
            call.told.put_nowait(request)
        elif request.method == "OPTIONS":
            self._respond(arrived.key, make_response(request, 200, to_tag=secrets.token_hex(4)))
        else:
            self._respond(arrived.key, make_response(request, 481, to_tag=secrets.token_hex(4)))

    def _invited(self, arrived: RequestArrived) -> None:
        request, tag = arrived.request, secrets.token_hex(4)
        contact = (("Contact", self.contact),)
        self._respond(arrived.key, make_response(request, 180, to_tag=tag, headers=contact))
        if self.answer_status == 180:
            self._ringing[arrived.key] = request
            return
        if self.answer_status >= 300:
            self._respond(arrived.key, make_response(request, self.answer_status, to_tag=tag))
            return
        audio = ToneEndpoint(self._local_for_media(), self.tone_hz)
        answer = self._answer_to(request.body, audio)
        if answer is None:
            self._respond(arrived.key, make_response(request, 488, to_tag=tag))
            return
        call = AgentCall(self, audio, Dialog.uas(request, tag), arrived.flow, 200)
        self._calls[request.call_id, tag] = call
        response = make_response(request, 200, to_tag=tag, headers=contact)
        response.set_body(answer, "application/sdp")
        self._respond(arrived.key, response)
        self._unacknowledged[request.call_id, tag] = arrived.key
        audio.start(_audio_address(request.body))
        self.incoming.put_nowait(call)

    def _reinvited(self, arrived: RequestArrived, call: AgentCall) -> None:
        request = arrived.request
        call.dialog = call.dialog.received(request)
        answer = self._answer_to(request.body, call.audio)
        response = make_response(request, 488 if answer is None else 200, headers=(("Contact", self.contact),))
        if answer is not None:
            response.set_body(answer, "application/sdp")
            self._unacknowledged[call.dialog.call_id, call.dialog.local_tag] = arrived.key
            call.audio.start(_audio_address(request.body))
        self._respond(arrived.key, response)

    def _answer_to(self, offer: bytes, audio: ToneEndpoint) -> bytes | None:
        local = audio.address
        return synthesise_answer(offer, _CODECS, session_id=1, address=local.host, port=local.port)

    def _acknowledged(self, request: Request) -> None:
        try:
            key = self._unacknowledged.pop((request.call_id, request.to_tag or ""), None)
        except SipError:
            return
        if key is not None:
            self._layer.acknowledged(key)

    def _respond(self, key: ServerKey, response: Response) -> None:
        self._work(self._layer.respond(key, response, time.monotonic()))

    def _local_for_media(self) -> str:
        return self.flow.local.host

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        due = self._layer.next_timer()
        if due is not None:
            delay_s = max(0.0, due - time.monotonic())
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._work(self._layer.handle_timers(time.monotonic()))


def _audio_address(sdp: bytes) -> Address:
    audio = SessionDescription.parse(sdp).audio
    if audio is None or audio.connection is None:
        raise CallFailed(488, "no audio in the answer")
    return Address(audio.connection.address, audio.port)


def _new_branch() -> str:
    return BRANCH_COOKIE + secrets.token_hex(8)
