"""Call detail records: one a call, with Asterisk's fields and both legs' family, transport and media figures.

Where Asterisk writes several records for one call (a Dial that failed and a second one that was answered), this is one
record of all of it:

- `calldate` is when the INVITE was accepted, in UTC. `duration` is from there to the end, `billsec` from the answer to
  the caller; both in whole seconds, the rest cut off.
- `dst`, `dcontext`, `lastapp` and `lastdata` are where the dialplan was last, leaving out the extension `h` and
  subroutines. A Dial keeps them, as it does in Asterisk, so that a `Hangup` behind it does not hide it; only another
  Dial takes them over, or an application that answers a caller whom the Dial could not connect.
- `dstchannel` and the `b_` columns are the callee that talked to the caller, the last one if there were several; when
  nobody answered, the callee dialled last.
- A transfer inside the call is part of the record: `dst` is where the party was sent, `dstchannel` who talked last.
  Calls that were joined (REFER with Replaces) are a record each, with one `linkedid`.
- The media figures are the worker's: `received` is what it got from that party. Empty when none were reported.

A record is complete when the call has ended and every leg's media were reported; the report may come before or after
the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from services.console.projections.calls import CALLER
from services.console.projections.view import Row, View
from services.core.events.catalogue import (
    CALLS_TOPIC,
    ApplicationStarted,
    CallEnded,
    CallStarted,
    CallTransferred,
    LegAnswered,
    LegInvited,
    LegJoined,
    LegReplaced,
    LegsBridged,
    MediaReported,
)
from services.core.events.envelope import Envelope

ASTERISK_COLUMNS = (
    "calldate", "clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata", "duration", "billsec",
    "disposition", "uniqueid", "linkedid",
)  # fmt: skip
MEDIA_COLUMNS = ("codec", "packets_received", "packets_sent", "packets_lost", "jitter_ms")
COLUMNS = (
    *ASTERISK_COLUMNS,
    "a_family", "a_transport", "b_family", "b_transport",
    *(f"a_{name}" for name in MEDIA_COLUMNS),
    *(f"b_{name}" for name in MEDIA_COLUMNS),
    "hangupcause", "hangupreason",
)  # fmt: skip
"""The columns of the CSV, in order."""

_HANGUP_EXTENSION = "h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the dialplan is."""

    context: str
    exten: str
    application: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """A leg that was dialled."""

    leg: str
    channel: str
    family: str
    transport: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What was reported of a leg."""

    leg: str
    codec: str
    packets_received: int
    packets_sent: int
    packets_lost: int
    jitter_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """A call, so far."""

    started: float
    linkedid: str
    caller_name: str
    caller_number: str
    channel: str
    family: str
    transport: str
    place: Place
    """What the record will say."""
    running: Place
    """Where the dialplan really is, outside subroutines."""
    dialled: bool = False
    """A Dial keeps `place`."""
    depth: int = 0
    """How many subroutines deep the dialplan is."""
    answered: float | None = None
    talked: float | None = None
    """When a callee was first connected, which counts as the answer if the caller's own was never told."""
    served: str = CALLER
    """The leg the dialplan works for: after a transfer by the caller another one."""
    callees: tuple[Callee, ...] = ()
    partner: str = ""
    """The leg that talked to the caller last."""
    media: tuple[Media, ...] = ()
    ended: float | None = None
    disposition: str = ""
    cause: int = 0
    reason: str = ""


def fold(state: CallRecord | None, envelope: Envelope) -> CallRecord | None:
    """The record after an event."""
    event = envelope.event
    if state is None:
        return _started(event, envelope.time) if isinstance(event, CallStarted) else None
    if isinstance(event, MediaReported):
        return _with_media(state, event)
    return state if state.ended is not None else _next(state, envelope)


def _started(event: CallStarted, time: float) -> CallRecord:
    place = Place(context=event.context, exten=event.called)
    return CallRecord(
        started=time,
        linkedid=event.linkedid,
        caller_name=event.caller_name,
        caller_number=event.caller_number,
        channel=event.channel,
        family=event.family,
        transport=event.transport,
        place=place,
        running=place,
    )


def _next(state: CallRecord, envelope: Envelope) -> CallRecord:
    match envelope.event:
        case ApplicationStarted() as event:
            return _moved(state, event)
        case LegInvited(leg=leg, channel=channel, family=family, transport=transport):
            callee = Callee(leg=leg, channel=channel, family=family, transport=transport)
            return replace(state, callees=(*(one for one in state.callees if one.leg != leg), callee))
        case LegAnswered(leg=leg, application=application):
            return _answered(state, leg, application, envelope.time)
        case CallTransferred(party=party):
            return replace(state, served=party)
        case LegJoined(leg=leg, channel=channel, family=family, transport=transport, linkedid=linkedid):
            callee = Callee(leg=leg, channel=channel, family=family, transport=transport)
            return replace(state, callees=(*state.callees, callee), linkedid=linkedid)
        case LegReplaced(leg=leg, by=by):
            return replace(state, served=by if state.served == leg else state.served)
        case LegsBridged(leg=leg, peer=peer):
            partner = peer if leg == state.served else leg
            return replace(state, partner=partner, talked=envelope.time if state.talked is None else state.talked)
        case CallEnded(disposition=disposition, cause=cause, reason=reason):
            return replace(state, ended=envelope.time, disposition=disposition, cause=cause, reason=reason)
    return state


def _moved(state: CallRecord, event: ApplicationStarted) -> CallRecord:
    depth = state.depth + {"Gosub": 1, "Return": -1}.get(event.application, 0)
    inside = state.depth > 0
    state = replace(state, depth=depth)
    if event.exten == _HANGUP_EXTENSION:
        return state
    dialling = event.application == "Dial"
    if inside:  # its applications count, its place does not
        context, exten = state.running.context, state.running.exten
    else:
        context, exten = event.context, event.exten
    running = Place(context=context, exten=exten, application=event.application, data=event.data)
    if state.dialled and not dialling:
        return replace(state, running=running)
    return replace(state, running=running, place=running, dialled=dialling)


def _answered(state: CallRecord, leg: str, application: str, time: float) -> CallRecord:
    if leg != CALLER:
        return replace(state, partner=state.partner or leg)  # of several who answer, the bridge says who it is
    state = replace(state, answered=time if state.answered is None else state.answered)
    if application and not state.partner:
        return replace(state, place=state.running, dialled=False)
    return state


def _with_media(state: CallRecord, event: MediaReported) -> CallRecord:
    """In the order of the legs' names, so that it does not matter which was reported first."""
    reported = Media(
        leg=event.leg,
        codec=event.codec,
        packets_received=event.packets_received,
        packets_sent=event.packets_sent,
        packets_lost=event.packets_lost,
        jitter_ms=event.jitter_ms,
    )
    others = [one for one in state.media if one.leg != event.leg]
    return replace(state, media=tuple(sorted([*others, reported], key=lambda one: one.leg)))


# --- the record ------------------------------------------------------------------------------------------------------


def rows(key: str, state: CallRecord) -> list[Row]:
    """One row a call that has ended."""
    if state.ended is None:
        return []
    callee = _callee(state)
    answered = state.answered
    if answered is None and state.disposition == "ANSWERED":
        answered = state.talked
    values = {
        "calldate": datetime.fromtimestamp(state.started, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "clid": _caller_id(state.caller_name, state.caller_number),
        "src": state.caller_number,
        "dst": state.place.exten,
        "dcontext": state.place.context,
        "channel": state.channel,
        "dstchannel": callee.channel if callee else "",
        "lastapp": state.place.application,
        "lastdata": state.place.data,
        "duration": _seconds(state.started, state.ended),
        "billsec": 0 if answered is None else _seconds(answered, state.ended),
        "disposition": state.disposition,
        "uniqueid": key,
        "linkedid": state.linkedid,
        "a_family": state.family,
        "a_transport": state.transport,
        "b_family": callee.family if callee else "",
        "b_transport": callee.transport if callee else "",
        **_media_columns("a", state, CALLER),
        **_media_columns("b", state, callee.leg if callee else ""),
        "hangupcause": state.cause,
        "hangupreason": state.reason,
    }
    return [{name: values[name] for name in COLUMNS}]


def _callee(state: CallRecord) -> Callee | None:
    for callee in reversed(state.callees):
        if callee.leg == state.partner or not state.partner:
            return callee
    return state.callees[-1] if state.callees else None


def _media_columns(side: str, state: CallRecord, leg: str) -> dict[str, Any]:
    found = next((one for one in state.media if one.leg == leg), None)
    return {f"{side}_{name}": getattr(found, name) if found else None for name in MEDIA_COLUMNS}


def _caller_id(name: str, number: str) -> str:
    if name and number:
        return f'"{name}" <{number}>'
    return name or number


def _seconds(start: float, end: float) -> int:
    """Whole seconds, as Asterisk counts them; never below zero, whatever the clock did."""
    return max(0, round((end - start) * 1000) // 1000)


CDR = View(
    name="cdr",
    topic=CALLS_TOPIC,
    state=CallRecord,
    fold=fold,
    place=lambda state: None if state.ended is None else state.started,
    rows=rows,
)
