"""What the edge counts: an Observer on its way, and samples when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from services.core.address import Family
from services.core.events.catalogue import CallEnded, CallStarted, Event, LegAnswered, LegRinging, MediaReported
from services.core.metrics import Counts, Distribution, Pulled, counter, gauge
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response
from services.media.quality import opinion
from services.sip_edge.admission import Denied
from services.sip_edge.call.state import CALLER, CallState
from services.sip_edge.edge import Edge
from services.sip_edge.observer import Observer

METHODS = frozenset(
    (
        *("ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER"),
        *("REGISTER", "SUBSCRIBE", "UPDATE"),
    )
)
"""Methods that are a label of their own; a peer cannot make new ones."""
OTHER = "other"
_FAMILIES: Mapping[Family, str] = MappingProxyType({family: family.value for family in Family})
"""Asking an enum's member for its value is two calls, and this is asked for every message."""
FIRST_CHALLENGE = Denied.MISSING.value
"""Every request of a phone begins with one: no failure."""
TRANSACTION_BUCKETS_S = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0),
)
"""From what a request in a dialog takes to how long a phone may ring (timer C)."""
SETUP_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DURATION_BUCKETS_S = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
JITTER_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5)
MOS_BUCKETS = (1.5, 2.0, 2.58, 3.1, 3.6, 4.03, 4.2, 4.34, 4.5)
"""Among them the steps of G.107 table B.1: R of 50, 60, 70, 80, 90."""


@dataclass(slots=True)
class _Timing:
    """When things happened to a call that is up."""

    started: float
    heard: bool = False
    answered: float | None = None


class EdgeMetrics(Observer):
    """Counts for one edge; `watch` ties it to a registry once the edge is there."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._calls: dict[str, _Timing] = {}
        message = ("method", "transport", "family", "direction")
        self._requests = Counts("pbx_sip_requests", "SIP requests, retransmissions included.", message)
        self._responses = Counts("pbx_sip_responses", "SIP responses to a method.", ("method", "code", "direction"))
        self._unreadable = Counts("pbx_sip_parse_errors", "Messages that could not be read.", ("reason",))
        self._rejected = Counts(
            "pbx_sip_rejected",
            "Requests turned away before authentication, and messages dropped unread (`banned`, `rate`) or without "
            "an answer (`scanner`).",
            ("reason",),
        )
        self._denied = Counts("pbx_auth_failures", "Requests refused by password or access list.", ("reason",))
        self._challenged = Counts("pbx_auth_challenges", "Requests without a password, asked for one.", ())
        self._attempts = Counts("pbx_call_attempts", "Calls begun.", ("family", "transport"))
        self._ended = Counts("pbx_calls_ended", "Calls ended.", ("result", "cause"))
        self._transactions = Distribution(
            "pbx_sip_transaction_duration_seconds",
            "From a request to our final response; of an INVITE, with the ringing. Not what is challenged or denied.",
            ("method",),
            TRANSACTION_BUCKETS_S,
        )
        self._ringing = Distribution(
            "pbx_call_post_dial_delay_seconds",
            "From the INVITE to the first ringing (RFC 6076 SRD).",
            (),
            SETUP_BUCKETS_S,
        )
        self._answer = Distribution("pbx_call_answer_seconds", "From the INVITE to its 2xx.", (), SETUP_BUCKETS_S)
        self._duration = Distribution("pbx_call_duration_seconds", "From the 2xx to the end.", (), DURATION_BUCKETS_S)
        self._jitter = Distribution(
            "pbx_rtp_jitter_seconds",
            "Interarrival jitter (RFC 3550 A.8) of what a leg sent us, once a leg, when its media ended.",
            (),
            JITTER_BUCKETS_S,
        )
        self._mos = Distribution(
            "pbx_rtp_mos",
            "What a leg sent us, as G.107 scores its codec and loss at an assumed 100 ms of delay, once a leg.",
            (),
            MOS_BUCKETS,
        )

    @property
    def counts(self) -> tuple[Counts | Distribution, ...]:
        """Everything that is counted or measured on the way."""
        return (
            *(self._requests, self._responses, self._unreadable, self._rejected, self._denied),
            *(self._challenged, self._attempts, self._ended),
            *(self._transactions, self._ringing, self._answer, self._duration, self._jitter, self._mos),
        )

    def watch(self, edge: Edge) -> None:
        """Tell the registry of this edge."""
        self._registry.register(Pulled(lambda: self._collect(edge)))

    # --- on the way --------------------------------------------------------------------------------------------

    def received(self, message: Request | Response, flow: Flow) -> None:
        if isinstance(message, Request):
            self._requests.add(_method(message.method), flow.transport, _FAMILIES[flow.local.family], "in")
        else:
            self._responses.add(_method_of(message), str(message.status), "in")

    def sending(self, data: bytes, flow: Flow) -> None:
        word = data[: data.find(b" ")]
        if word != b"SIP/2.0":
            method = _method(word.decode("latin-1"))
            self._requests.add(method, flow.transport, _FAMILIES[flow.local.family], "out")

    def responding(self, response: Response) -> None:
        self._responses.add(_method_of(response), str(response.status), "out")

    def answered(self, method: str, seconds: float) -> None:
        self._transactions.observe(seconds, _method(method))

    def malformed(self, error: SipError, flow: Flow) -> None:
        self._unreadable.add(str(error.status))

    def rejected(self, request: Request, reason: str) -> None:
        self._rejected.add(reason)

    def dropped(self, reason: str) -> None:
        self._rejected.add(reason)

    def denied(self, request: Request, reason: str, detail: str) -> None:
        if reason == FIRST_CHALLENGE:
            self._challenged.add()
        else:
            self._denied.add(reason)

    def events(self, state: CallState, events: tuple[Event, ...]) -> None:
        for event in events:
            match event:
                case CallStarted():
                    self._attempts.add(event.family, event.transport)
                    self._calls[state.call_id] = _Timing(self._clock())
                case LegRinging() | LegAnswered():
                    self._progressed(state.call_id, event)
                case CallEnded():
                    self._over(state.call_id, event)
                case MediaReported():
                    self._accounted(event)

    def _progressed(self, call_id: str, event: LegRinging | LegAnswered) -> None:
        timing = self._calls.get(call_id)
        if timing is None:
            return
        now = self._clock()
        if not timing.heard:
            timing.heard = True
            self._ringing.observe(now - timing.started)
        if isinstance(event, LegAnswered) and event.leg == CALLER and timing.answered is None:
            timing.answered = now
            self._answer.observe(now - timing.started)

    def _over(self, call_id: str, event: CallEnded) -> None:
        self._ended.add(event.disposition, str(event.cause))
        timing = self._calls.pop(call_id, None)
        if timing is not None and timing.answered is not None:
            self._duration.observe(self._clock() - timing.answered)

    def _accounted(self, event: MediaReported) -> None:
        """A leg that sent nothing has no jitter, and one whose codec nobody measured no score."""
        if event.packets_received:
            self._jitter.observe(event.jitter_ms / 1000)
        if (score := opinion(event.codec, event.packets_received, event.packets_lost)) is not None:
            self._mos.observe(score)

    # --- when asked --------------------------------------------------------------------------------------------

    def _collect(self, edge: Edge) -> Iterator[Metric]:
        for counts in self.counts:
            yield counts.collect()
        answered = sum(1 for timing in self._calls.values() if timing.answered is not None)
        states: dict[str, float] = {"answered": answered, "setup": len(self._calls) - answered}
        yield gauge("pbx_calls_active", "Calls now.", states, "state")
        yield gauge("pbx_call_capacity", "Calls this edge takes.", {"": edge.settings.max_calls})
        yield gauge("pbx_draining", "1 while new calls are refused.", {"": int(edge.draining)})
        yield gauge(
            "pbx_drain_remaining_calls",
            "Calls that draining waits for.",
            {"": edge.calls_active if edge.draining else 0},
        )
        yield gauge("pbx_banned_sources", "Addresses and /64 networks that are banned.", {"": edge.door.banned_sources})
        yield gauge(
            "pbx_overloaded", "1 while new calls are refused because the process is late.", {"": int(edge.door.closed)}
        )
        layer, transport = edge.layer.stats, edge.transport.stats
        again = layer["retransmissions"]
        yield counter("pbx_sip_retransmissions", "Messages of ours sent again.", {"": again})
        yield counter("pbx_sip_transactions", "What the transaction layer saw.", dict(layer), "kind")
        yield counter("pbx_sip_transport", "What the sockets saw.", dict(transport), "kind")
        yield gauge("pbx_sip_connections", "Connections held: TCP, TLS, WebSocket.", {"": edge.transport.connections})


def _method(method: str) -> str:
    return method if method in METHODS else OTHER


def _method_of(response: Response) -> str:
    try:
        return _method(response.cseq.method)
    except SipError:
        return OTHER
