"""A call without a network: its effects are collected, the media worker and the locator answer from tables."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.core.address import Address, Family, HostPort
from services.core.events.catalogue import Event
from services.core.sdp import (
    NOWHERE,
    Connection,
    Direction,
    Media,
    MediaRewrite,
    SessionDescription,
    media_family,
    rewrite,
)
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response, parse_message
from services.core.sip.transaction import ServerKey
from services.dialplan.loader import load
from services.media.api import MediaStats, PartyStats
from services.sip_edge.call import effects as fx
from services.sip_edge.call.party import (
    Destination,
    IncomingInvite,
    Joined,
    JoinRequest,
    MediaFailed,
    NotLocated,
    PhoneRules,
)
from services.sip_edge.call.process import CallProcess, CallSettings, Decision, Surroundings
from services.sip_edge.call.snapshot import pack, unpack
from services.sip_edge.call.state import CallState, evolve, new_call

WORKER = {Family.IP4: "192.0.2.100", Family.IP6: "2001:db8::100"}
PBX = {Family.IP4: "192.0.2.1", Family.IP6: "2001:db8::1"}


def sdp(address: str, port: int = 40000, *, formats: str = "0 101", extra: str = "a=sendrecv") -> bytes:
    """A phone's description."""
    kind = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=phone 1 1 IN {kind} {address}", "s=-", f"c=IN {kind} {address}", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP {formats}", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000"]
    if " 8" in f" {formats}":
        lines.append("a=rtpmap:8 PCMA/8000")
    return "".join(f"{line}\r\n" for line in [*lines, extra]).encode()


class Harness:
    """Drives one `CallProcess`. Everything sent is in `sent`, newest last; every fact in `events`."""

    def __init__(
        self,
        folder: Path,
        dialplan: str,
        *,
        phones: Mapping[str, str] | None = None,
        codecs: tuple[str, ...] = ("ulaw", "alaw"),
        name: str = "",
    ) -> None:
        path = folder / "extensions.conf"
        path.write_text(dialplan)
        counter = itertools.count(1)
        self.now_s = 1_700_000_000.0
        self.name = name
        self.rules: dict[str, PhoneRules] = {}
        self.others: list[Harness] = []
        """Calls of the same edge: those a REFER with Replaces may name."""
        self.phones = dict(phones or {"dev2": "192.0.2.12", "dev3": "192.0.2.13"})
        self.codecs = codecs
        self.call = CallProcess(
            f"1700000000.c1{name}",
            program=load(path),
            settings=CallSettings(user_agent="test"),
            surroundings=Surroundings(
                new_tag=lambda: f"tag{name}{next(counter)}",
                new_sip_call_id=lambda: f"callid{name}{next(counter)}",
                unix_s=lambda: self.now_s,
                phone=lambda phone: self.rules.get(phone, PhoneRules(context="internal")),
            ),
        )
        self.events: list[Event] = []
        self.effects: list[fx.Effect] = []
        self.responses: list[Response] = []
        self.requests: dict[int, Request] = {}
        self.acks: list[Request] = []
        self.cancelled: list[int] = []
        self.timers: dict[str, float] = {}
        self.media: list[fx.MediaOperation] = []
        self.values: dict[tuple[str, str], str] = {}
        self.failing: dict[type[Any], str] = {}
        """Media operations that fail, with the worker's reason."""
        self.released = False
        self.invite: IncomingInvite | None = None
        self._inbox: deque[Decision] = deque()

    # --- the caller --------------------------------------------------------------------------------------------

    def start(self, called: str, *, offer: bytes | None = None, source: str = "192.0.2.11", hops: int = 70) -> None:
        """dev1 dials. `offer` b"" is an INVITE without one."""
        body = sdp(source) if offer is None else offer
        flow = self.flow(source)
        request = self.message(
            "INVITE", f"sip:{called}@pbx.example", source, cseq=1, call_id=f"caller-call{self.name}",
            from_tag="caller", body=body,
            max_forwards=hops,
        )  # fmt: skip
        self.invite = IncomingInvite(
            key=self.key(request),
            request=request,
            flow=flow,
            advertised=HostPort(flow.local.host, 5060),
            phone="dev1",
            codecs=self.codecs,
            context="internal",
            called=called,
            caller_name="Fred",
            caller_number="1",
            channel="SIP/dev1-00000001",
        )
        self.feed(self.call.start(self.invite))

    def flow(self, peer: str, port: int = 5060) -> Flow:
        remote = Address(peer, port)
        return Flow("udp", Address(PBX[remote.family], 5060), remote, 1)

    def message(
        self, method: str, uri: str, source: str, *, cseq: int, call_id: str, from_tag: str, to_tag: str = "",
        body: bytes = b"", max_forwards: int = 70, extra: str = "",
    ) -> Request:  # fmt: skip
        host = f"[{source}]" if ":" in source else source
        to = f"<sip:x@pbx.example>{f';tag={to_tag}' if to_tag else ''}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {host};branch=z9hG4bK{from_tag}{method}{cseq}",
            f"From: <sip:dev1@pbx.example>;tag={from_tag}",
            f"To: {to}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Max-Forwards: {max_forwards}",
            f"Contact: <sip:dev1@{host}>",
        ]
        text = "".join(f"{line}\r\n" for line in lines) + extra
        if body:
            text += "Content-Type: application/sdp\r\n"
        parsed = parse_message(f"{text}Content-Length: {len(body)}\r\n\r\n".encode("utf-8", "surrogateescape") + body)
        assert isinstance(parsed, Request)
        return parsed

    @staticmethod
    def key(request: Request) -> ServerKey:
        via = request.top_via
        return ServerKey(via.branch or "", via.host, via.port or 0, request.method)

    def from_leg(self, leg: str, method: str, *, body: bytes = b"", cseq: int = 2, extra: str = "") -> ServerKey:
        """A request of a party inside its dialog."""
        state = self.call.state.leg(leg)
        source = Address.parse(state.remote).host
        request = self.message(
            method, f"sip:{leg}@pbx", source, cseq=cseq, call_id=state.sip_call_id, from_tag=state.remote_tag,
            to_tag=state.local_tag, body=body, extra=extra,
        )  # fmt: skip
        key = self.key(request)
        if method == "ACK":
            self.feed(self.call.ack_arrived(leg, request))
        else:
            self.feed(self.call.request_arrived(leg, key, request, self.flow(source)))
        return key

    # --- the callees -------------------------------------------------------------------------------------------

    def token_of(self, leg: str, method: str = "INVITE") -> int:
        """The newest request of ours of a method in a leg's dialog."""
        state = self.call.state.leg(leg)
        found = [
            token
            for token, request in self.requests.items()
            if request.method == method and request.call_id == state.sip_call_id
        ]
        assert found, f"no {method} went to leg {leg}"
        return found[-1]

    def requests_to(self, leg: str, method: str) -> list[Request]:
        """Every request of ours of a method in a leg's dialog."""
        call_id = self.call.state.leg(leg).sip_call_id
        return [one for one in self.requests.values() if one.method == method and one.call_id == call_id]

    def request_to(self, leg: str, method: str = "INVITE") -> Request:
        return self.requests[self.token_of(leg, method)]

    def answers(
        self,
        leg: str,
        status: int,
        body: bytes = b"",
        *,
        method: str = "INVITE",
        tag: str | None = None,
        contact: str | None = None,
    ) -> Response:
        """A response of a callee to our newest request of `method`."""
        token = self.token_of(leg, method)
        request = self.requests[token]
        source = Address.parse(self.call.state.leg(leg).remote).host
        host = f"[{source}]" if ":" in source else source
        response = make_response(
            request, status, to_tag=tag or f"callee-{leg}", headers=(("Contact", contact or f"<sip:{leg}@{host}>"),)
        )
        if body:
            response.set_body(body, "application/sdp")
        self.feed(self.call.response_arrived(token, response))
        return response

    # --- time and media ------------------------------------------------------------------------------------------

    def fire(self, name: str) -> None:
        """The timer `name` runs out."""
        self.now_s += self.timers.pop(name)
        self.feed(self.call.timer_fired(name))

    def digits(self, text: str) -> None:
        for digit in text:
            self.feed(self.call.digit("a", digit, 100))

    # --- effects -----------------------------------------------------------------------------------------------

    def feed(self, decision: Decision) -> None:
        """Take note of a decision, and answer for the worker and the locator."""
        self._inbox.append(decision)
        if len(self._inbox) > 1:
            return
        while self._inbox:
            taken = self._inbox[0]
            self.events += taken.events
            for effect in taken.effects:
                self.effects.append(effect)
                self._carry_out(effect)
            self._inbox.popleft()
        self._check_fold()

    def _carry_out(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Respond():
                self.responses.append(effect.response)
            case fx.SendRequest():
                self.requests[effect.token] = effect.request
            case fx.SendAck():
                self.acks.append(effect.request)
            case fx.CancelRequest():
                self.cancelled.append(effect.token)
            case fx.StartTimer():
                self.timers[effect.name] = effect.delay_s
            case fx.StopTimer():
                self.timers.pop(effect.name, None)
            case fx.Media():
                self.media.append(effect.operation)
                self.feed(self.call.media_done(effect.token, self._worker(effect.operation)))
            case fx.Locate():
                self.feed(self.call.located(effect.token, self._locate(effect.target)))
            case fx.FetchValues():
                self.feed(self.call.values_fetched(effect.token, {key: self.values.get(key) for key in effect.keys}))
            case fx.PutValue():
                if effect.value is None:
                    self.values.pop((effect.space, effect.key), None)
                else:
                    self.values[effect.space, effect.key] = effect.value
            case fx.Join():
                self._join(effect)
            case fx.JoinOver():
                outcome, token = effect.outcome, effect.request.token
                (asking,) = (one for one in self.others if one.call.state.call_id == effect.request.from_call)
                asking.feed(asking.call.joined(token, outcome))
            case fx.Release():
                self.released = True
            case _:
                pass

    def _join(self, effect: fx.Join) -> None:
        named = effect.replaces
        for other in self.others:
            for leg in other.call.state.legs.values():
                if (leg.sip_call_id, leg.local_tag, leg.remote_tag) == (named.call_id, named.to_tag, named.from_tag):
                    request = JoinRequest(
                        from_call=self.call.state.call_id, token=effect.token, linkedid=effect.linkedid,
                        leg=effect.leg, path=effect.path, replaced=leg.leg, early_only=named.early_only,
                    )  # fmt: skip
                    other.feed(other.call.lent(request))
                    return
        self.feed(self.call.joined(effect.token, Joined(status=481)))

    def _locate(self, target: str) -> tuple[Destination, ...] | NotLocated:
        phone = target.partition("/")[2]
        address = self.phones.get(phone)
        if address is None:
            return NotLocated(cause=20, reason=f"{phone} is not registered")
        flow = self.flow(address)
        host = f"[{address}]" if ":" in address else address
        return (
            Destination(
                flow=flow,
                advertised=HostPort(flow.local.host, 5060),
                uri=f"sip:{phone}@{host}",
                route_set=(),
                phone=phone,
                channel=f"SIP/{phone}-00000002",
                codecs=self.codecs,
            ),
        )

    def _worker(self, operation: fx.MediaOperation) -> Any:
        reason = self.failing.get(type(operation))
        if reason is not None:
            return MediaFailed(reason=reason)
        match operation:
            case fx.Offer():
                return _relayed(operation.sdp, operation.family)
            case fx.Answer():
                asked = [entry for entry in self.media if isinstance(entry, fx.Offer)]
                offered = next(
                    entry
                    for entry in reversed(asked)
                    if entry.from_tag == operation.from_tag and entry.to_tag == operation.to_tag
                )
                return _relayed(operation.sdp, media_family(offered.sdp) or Family.IP4)
            case fx.Play():
                return 1.5
            case fx.DeleteMedia():
                tags = [operation.tag] if operation.tag else list(self.call.state.legs)
                return MediaStats(
                    parties=tuple(
                        PartyStats(tag=tag, family=Family.IP4, packets_received=50, packets_sent=49) for tag in tags
                    )
                )
            case fx.StopPlaying():
                return None

    def _check_fold(self) -> None:
        """The state is the fold of the events, and a snapshot is the state."""
        state: CallState = new_call(self.call.state.call_id)
        for event in self.events:
            state = evolve(state, event)
        assert state == self.call.state
        assert unpack(pack(state, None))[0] == state

    # --- questions ---------------------------------------------------------------------------------------------

    @property
    def statuses(self) -> list[int]:
        """Every response the caller and callees got, in order."""
        return [response.status for response in self.responses]

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def the(self, kind: type[Event]) -> Any:
        """The newest fact of a kind."""
        return next(event for event in reversed(self.events) if isinstance(event, kind))


def _direction(media: Media) -> Direction:
    """A null address is a hold, but an application's, which has none."""
    application = media.connection is not None and media.connection.address == NOWHERE
    return media.direction_attribute if application else media.direction


def _relayed(description: bytes, family: Family) -> bytes:
    parsed = SessionDescription.parse(description)
    entries = [
        MediaRewrite(Connection(family, WORKER[family]), 20000 + 2 * index, None, _direction(media))
        if media.port
        else None
        for index, media in enumerate(parsed.media)
    ]
    return rewrite(parsed, entries, origin=parsed.origin.at(Connection(family, WORKER[family])))
