"""Histories to project: the events of calls and registrations, and a log that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from services.core.eventlog.sqlite import FILE_NAME, SqliteLog
from services.core.events.catalogue import (
    ApplicationStarted,
    CallEnded,
    CallStarted,
    ContactBound,
    ContactRefreshed,
    ContactUnbound,
    Event,
    LegAnswered,
    LegEnded,
    LegInvited,
    LegRinging,
    LegsBridged,
    MediaReported,
)
from services.core.events.envelope import Envelope, Record, seal, unseal

START = 1736489172.0
"""2025-01-10 06:06:12 UTC."""

Timed = tuple[float, Event]
"""Seconds after START, and what happened then."""


def started(**fields: Any) -> CallStarted:
    given: dict[str, Any] = {
        "linkedid": "call-1", "caller_name": "Alice", "caller_number": "100", "caller_uri": "sip:100@example.com",
        "called": "200", "context": "internal", "channel": "SIP/dev1-00000001", "phone": "dev1", "family": "ip6",
        "transport": "udp", "source": "[2001:db8::1]:5060", "local": "[2001:db8::2]:5060", "flow_id": 1,
        "sip_call_id": "x", "local_uri": "sip:200@example.com", "remote_uri": "sip:100@example.com", "local_tag": "l",
        "remote_tag": "r", "remote_target": "sip:100@[2001:db8::1]", "remote_cseq": 1, "dialplan_version": "v",
    }  # fmt: skip
    return CallStarted(**{**given, **fields})


def ran(application: str, data: str = "", *, exten: str = "200", context: str = "internal") -> ApplicationStarted:
    return ApplicationStarted(context=context, exten=exten, priority=1, application=application, data=data)


def invited(leg: str = "b", *, family: str = "ip4", transport: str = "tcp") -> LegInvited:
    return LegInvited(
        leg=leg, target=f"SIP/{leg}", phone=leg, channel=f"SIP/{leg}-00000002", uri=f"sip:{leg}@192.0.2.1",
        family=family, transport=transport, destination="192.0.2.1:5060", local="192.0.2.2:5060", flow_id=2,
        sip_call_id=leg, local_uri="sip:100@example.com", remote_uri="sip:200@example.com", local_tag="t", local_cseq=1,
    )  # fmt: skip


def answered(leg: str = "b", application: str = "") -> LegAnswered:
    return LegAnswered(leg=leg, remote_tag="r", remote_target="sip:r@192.0.2.1", application=application)


def reported(leg: str, received: int = 500, lost: int = 0, jitter_ms: float = 1.5) -> MediaReported:
    return MediaReported(
        leg=leg, family="ip6", codec="ulaw", packets_received=received, packets_sent=received, bytes_received=1,
        bytes_sent=1, packets_lost=lost, jitter_ms=jitter_ms,
    )  # fmt: skip


def ended(disposition: str = "ANSWERED", cause: int = 16, reason: str = "hang-up", by: str = "a") -> CallEnded:
    return CallEnded(disposition=disposition, cause=cause, reason=reason, by=by)


ANSWERED_CALL: tuple[Timed, ...] = (
    (0.0, started()),
    (0.01, ran("Dial", "SIP/dev2,20")),
    (0.02, invited()),
    (0.5, LegRinging(leg="b", status=180)),
    (2.25, answered("b")),
    (2.25, answered("a")),
    (2.26, LegsBridged(leg="a", peer="b")),
    (12.9, LegEnded(leg="a", status=200, reason="BYE", cause=16, by="remote")),
    (12.9, LegEnded(leg="b", status=200, reason="BYE", cause=16, by="local")),
    (12.9, reported("a", 520, lost=2)),
    (12.9, reported("b", 510)),
    (12.95, ended()),
)
"""200 answers after 2.25 s and 100 hangs up after 12.95 s."""


def bound(
    binding: str = "1", *, expires_at: float = START + 3600, kind: type[ContactBound] = ContactBound
) -> ContactBound:
    return kind(
        contact=f"sip:dev{binding}@[2001:db8::{binding}]:5060", binding=binding, expires_at=expires_at, sip_call_id="x",
        cseq=1, transport="udp", source=f"[2001:db8::{binding}]:5060", local="[2001:db8::ff]:5060", flow_id=1,
        family="ip6", user_agent="baresip",
    )  # fmt: skip


def refreshed(binding: str = "1", *, expires_at: float = START + 7200) -> ContactBound:
    return bound(binding, expires_at=expires_at, kind=ContactRefreshed)


def unbound(binding: str = "1", reason: str = "removed") -> ContactUnbound:
    return ContactUnbound(contact=f"sip:dev{binding}@[2001:db8::{binding}]:5060", binding=binding, reason=reason)


def stream(key: str, events: Iterable[Timed], epoch: int = 1) -> list[Record]:
    """The events of a key as records."""
    return [
        seal(event, key=key, epoch=epoch, seq=seq, time=START + after, site="atlas", node="n1")
        for seq, (after, event) in enumerate(events, 1)
    ]


def envelopes(key: str, events: Iterable[Timed]) -> list[Envelope]:
    return [unseal(record.value) for record in stream(key, events)]


async def write_log(folder: Path, records: Sequence[Record]) -> None:
    """Append to the event log of a data directory."""
    log = SqliteLog(folder / FILE_NAME)
    await log.append(records)
    await log.close()
