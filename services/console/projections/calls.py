"""Active calls: who talks to whom now, and how far a call has come."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.console.projections.view import Row, View
from services.core.events.catalogue import (
    CALLS_TOPIC,
    ApplicationStarted,
    CallEnded,
    CallStarted,
    LegAnswered,
    LegEnded,
    LegHeld,
    LegInvited,
    LegJoined,
    LegMoved,
    LegProgressed,
    LegResumed,
    LegRinging,
    LegsBridged,
)
from services.core.events.envelope import Envelope

CALLER = "a"
"""The leg of the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegNow:
    """A leg that is up or on its way."""

    leg: str
    channel: str
    family: str
    transport: str
    status: str
    """`invited`, `ringing`, `up` or `held`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallNow:
    """A call that has not ended."""

    started: float
    answered: float | None = None
    caller_name: str
    caller_number: str
    called: str
    context: str
    application: str = ""
    legs: tuple[LegNow, ...]


def fold(state: CallNow | None, envelope: Envelope) -> CallNow | None:
    """The call after an event."""
    match envelope.event:
        case CallStarted() as event:
            return _started(event, envelope.time)
        case CallEnded():
            return None
    return None if state is None else _next(state, envelope)


def _started(event: CallStarted, time: float) -> CallNow:
    caller = LegNow(leg=CALLER, channel=event.channel, family=event.family, transport=event.transport, status="invited")
    return CallNow(
        started=time,
        caller_name=event.caller_name,
        caller_number=event.caller_number,
        called=event.called,
        context=event.context,
        legs=(caller,),
    )


def _next(state: CallNow, envelope: Envelope) -> CallNow:
    match envelope.event:
        case ApplicationStarted(application=application):
            return replace(state, application=application)
        case LegInvited(leg=leg, channel=channel, family=family, transport=transport):
            invited = LegNow(leg=leg, channel=channel, family=family, transport=transport, status="invited")
            return replace(state, legs=(*_without(state, leg), invited))
        case LegJoined(leg=leg, channel=channel, family=family, transport=transport):
            joining = LegNow(leg=leg, channel=channel, family=family, transport=transport, status="invited")
            return replace(state, legs=(*_without(state, leg), joining))
        case LegRinging(leg=leg) | LegProgressed(leg=leg):
            return _marked(state, leg, "ringing")
        case LegAnswered(leg=leg):
            answered = envelope.time if leg == CALLER and state.answered is None else state.answered
            return replace(_marked(state, leg, "up"), answered=answered)
        case LegsBridged(leg=leg, peer=peer):
            return _marked(_marked(state, leg, "up"), peer, "up")
        case LegHeld(leg=leg):
            return _marked(state, leg, "held")
        case LegResumed(leg=leg):
            return _marked(state, leg, "up")
        case LegEnded(leg=leg) | LegMoved(leg=leg):
            return replace(state, legs=_without(state, leg))
    return state


def _marked(state: CallNow, leg: str, status: str) -> CallNow:
    return replace(state, legs=tuple(replace(one, status=status) if one.leg == leg else one for one in state.legs))


def _without(state: CallNow, leg: str) -> tuple[LegNow, ...]:
    return tuple(one for one in state.legs if one.leg != leg)


def status_of(state: CallNow) -> str:
    """How far a call is: `held`, `up`, `ringing` or `started`."""
    found = {leg.status for leg in state.legs}
    if state.answered is not None:
        return "held" if "held" in found else "up"
    return "ringing" if "ringing" in found else "started"


def rows(key: str, state: CallNow) -> list[Row]:
    """One row a call."""
    return [
        {
            "call": key,
            "status": status_of(state),
            "started": state.started,
            "answered": state.answered,
            "caller_name": state.caller_name,
            "caller_number": state.caller_number,
            "called": state.called,
            "context": state.context,
            "application": state.application,
            "channels": [leg.channel for leg in state.legs],
            "families": [leg.family for leg in state.legs],
            "transports": [leg.transport for leg in state.legs],
        }
    ]


ACTIVE_CALLS = View(
    name="calls", topic=CALLS_TOPIC, state=CallNow, fold=fold, place=lambda state: state.started, rows=rows
)
