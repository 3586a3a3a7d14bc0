"""What the edge counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.core.address import Address
from services.core.events.catalogue import CallEnded, CallStarted, LegAnswered, LegRinging, MediaReported
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, parse_message
from services.sip_edge.call.state import CallState
from services.sip_edge.metrics import EdgeMetrics
from tests.support.inprocess import in_process_pbx, write_config

FLOW = Flow("udp", Address("2001:db8::1", 5060), Address("2001:db8::2", 5060), 1)
STARTED = CallStarted(
    linkedid="1",
    caller_name="",
    caller_number="100",
    caller_uri="sip:100@x",
    called="101",
    context="internal",
    channel="SIP/a-1",
    phone="a",
    family="ip6",
    transport="udp",
    source=str(FLOW.remote),
    local=str(FLOW.local),
    flow_id=1,
    sip_call_id="c",
    local_uri="sip:101@x",
    remote_uri="sip:100@x",
    local_tag="l",
    remote_tag="r",
    remote_target="sip:100@x",
    remote_cseq=1,
    dialplan_version="v",
)


def request(method: str) -> Request:
    text = (
        f"{method} sip:x@[2001:db8::1] SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::2];branch=z9hG4bK1\r\n"
        f"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
    message = parse_message(text.encode())
    assert isinstance(message, Request)
    return message


def response(first: str, method: str) -> Response:
    text = (
        f"SIP/2.0 {first}\r\nVia: SIP/2.0/UDP [2001:db8::2];branch=z9hG4bK1\r\n"
        f"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
    message = parse_message(text.encode())
    assert isinstance(message, Response)
    return message


class Watched:
    """Metrics of an edge, with a clock moved by hand."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.now = 100.0
        self.metrics = EdgeMetrics(self.registry, lambda: self.now)
        self.call = CallState(call_id="call-1", dialplan_version="v")

    def value(self, name: str, **labels: str) -> float | None:
        for counts in self.metrics.counts:
            for sample in counts.collect().samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return self.registry.get_sample_value(name, labels)


def test_requests_are_counted_by_method_transport_family_and_direction() -> None:
    watched = Watched()
    watched.metrics.received(request("INVITE"), FLOW)
    watched.metrics.sending(b"BYE sip:x SIP/2.0\r\n", FLOW)
    watched.metrics.sending(b"SIP/2.0 200 OK\r\n", FLOW)
    labels = {"transport": "udp", "family": "ip6"}
    assert watched.value("pbx_sip_requests_total", method="INVITE", direction="in", **labels) == 1
    assert watched.value("pbx_sip_requests_total", method="BYE", direction="out", **labels) == 1


def test_a_peer_cannot_make_new_labels() -> None:
    watched = Watched()
    for number in range(50):
        watched.metrics.received(request(f"X{number}"), FLOW)
    watched.metrics.sending(b"garbage", FLOW)
    labels = {"transport": "udp", "family": "ip6"}
    assert watched.value("pbx_sip_requests_total", method="other", direction="in", **labels) == 50


def test_responses_are_counted_by_what_they_answer() -> None:
    watched = Watched()
    watched.metrics.received(response("180 Ringing", "INVITE"), FLOW)
    watched.metrics.responding(response("486 Busy Here", "INVITE"))
    assert watched.value("pbx_sip_responses_total", method="INVITE", code="180", direction="in") == 1
    assert watched.value("pbx_sip_responses_total", method="INVITE", code="486", direction="out") == 1


def test_a_first_challenge_is_no_failure() -> None:
    watched = Watched()
    watched.metrics.denied(request("REGISTER"), "missing", "")
    watched.metrics.denied(request("REGISTER"), "password", "")
    assert watched.value("pbx_auth_challenges_total") == 1
    assert watched.value("pbx_auth_failures_total", reason="password") == 1
    assert watched.value("pbx_auth_failures_total", reason="missing") is None


def test_what_cannot_be_read_and_what_is_turned_away_is_counted() -> None:
    watched = Watched()
    watched.metrics.malformed(SipError(400, "Bad Request", "Via"), FLOW)
    watched.metrics.rejected(request("INVITE"), "overload")
    assert watched.value("pbx_sip_parse_errors_total", reason="400") == 1
    assert watched.value("pbx_sip_rejected_total", reason="overload") == 1


def test_a_call_is_timed_from_its_invite() -> None:
    watched = Watched()
    watched.metrics.events(watched.call, (STARTED,))
    watched.now += 2
    watched.metrics.events(watched.call, (LegRinging(leg="b1", status=180),))
    watched.now += 5
    answered = LegAnswered(leg="a", remote_tag="r", remote_target="sip:100@x")
    watched.metrics.events(watched.call, (answered, answered))
    watched.now += 60
    watched.metrics.events(watched.call, (CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="a"),))
    assert watched.value("pbx_call_attempts_total", family="ip6", transport="udp") == 1
    assert watched.value("pbx_call_post_dial_delay_seconds_sum") == 2
    assert watched.value("pbx_call_answer_seconds_sum") == 7
    assert watched.value("pbx_call_answer_seconds_count") == 1
    assert watched.value("pbx_call_duration_seconds_sum") == 60
    assert watched.value("pbx_calls_ended_total", result="ANSWERED", cause="16") == 1


def test_transactions_are_timed_by_method() -> None:
    watched = Watched()
    watched.metrics.answered("BYE", 0.002)
    watched.metrics.answered("BYE", 0.004)
    watched.metrics.answered("XYZZY", 0.001)
    name = "pbx_sip_transaction_duration_seconds"
    assert watched.value(f"{name}_count", method="BYE") == 2
    assert watched.value(f"{name}_sum", method="BYE") == 0.006
    assert watched.value(f"{name}_bucket", method="BYE", le="0.0025") == 1
    assert watched.value(f"{name}_count", method="other") == 1


async def test_an_edge_times_what_it_answers_and_not_what_it_challenges(tmp_path: Path) -> None:
    watched = Watched()
    async with in_process_pbx(write_config(tmp_path)) as pbx:
        pbx.edge.observer = watched.metrics
        caller, callee = pbx.agent("dev1", "one"), pbx.agent("dev2", "two")
        try:
            for agent in (caller, callee):
                await agent.start()
                await agent.register()
            call = await caller.call("2")
            await call.hang_up()
            await asyncio.wait_for(pbx.edge.drain(5), 6)
        finally:
            await caller.close()
            await callee.close()
    counts = {
        method: watched.value("pbx_sip_transaction_duration_seconds_count", method=method)
        for method in ("REGISTER", "INVITE", "BYE")
    }
    assert counts["INVITE"] == counts["BYE"] == 1
    assert counts["REGISTER"] is not None
    assert counts["REGISTER"] >= 2
    assert watched.value("pbx_auth_challenges_total") == 3
    assert watched.value("pbx_sip_transaction_duration_seconds_bucket", method="INVITE", le="10.0") == 1
    assert watched.value("pbx_rtp_mos_count") == watched.value("pbx_rtp_jitter_seconds_count")


def reported(leg: str, codec: str, received: int, lost: int, jitter_ms: float) -> MediaReported:
    return MediaReported(
        leg=leg,
        family="ip6",
        codec=codec,
        packets_received=received,
        packets_sent=1000,
        bytes_received=172 * received,
        bytes_sent=172_000,
        packets_lost=lost,
        jitter_ms=jitter_ms,
    )


def test_a_legs_media_are_judged_once_when_they_are_accounted_for() -> None:
    watched = Watched()
    watched.metrics.events(watched.call, (reported("a", "ulaw", 1000, 0, 3.0), reported("b", "g729", 900, 100, 40.0)))
    assert watched.value("pbx_rtp_jitter_seconds_count") == 2
    assert watched.value("pbx_rtp_jitter_seconds_bucket", le="0.005") == 1
    assert watched.value("pbx_rtp_mos_count") == 2
    assert watched.value("pbx_rtp_mos_bucket", le="3.1") == 1, "a tenth lost of G.729 is what nearly all complain of"
    assert watched.value("pbx_rtp_mos_bucket", le="4.34") == 1


def test_silence_has_no_quality_and_an_unmeasured_codec_no_score() -> None:
    watched = Watched()
    watched.metrics.events(watched.call, (reported("a", "ulaw", 0, 0, 0.0), reported("b", "lpc10", 1000, 0, 1.0)))
    assert watched.value("pbx_rtp_jitter_seconds_count") == 1
    assert watched.value("pbx_rtp_mos_count") == 0
