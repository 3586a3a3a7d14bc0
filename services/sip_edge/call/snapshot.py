"""A call's state as bytes: what the store keeps beside the events, so that a call need not be replayed to be found."""

from __future__ import annotations

from typing import Any

import msgpack

from services.sip_edge.call.state import CALLER, CallState, LegPhase, LegState

_LEG_FIELDS = LegState._fields


def pack(state: CallState, execution: dict[str, Any] | None) -> bytes:
    """The snapshot of a call and of its place in the dialplan."""
    packed: bytes = msgpack.packb(
        {
            "v": 1,
            "call": state.call_id,
            "dialplan": state.dialplan_version,
            "fields": _LEG_FIELDS,
            "legs": list(state.legs.values()),
            "ended": state.ended,
            "reported": sorted(state.reported),
            "served": state.served,
            "linkedid": state.linkedid,
            "execution": execution,
        },
        unicode_errors="surrogateescape",  # what phones say need not be UTF-8
    )
    return packed


def unpack(data: bytes) -> tuple[CallState, dict[str, Any] | None]:
    """The state `pack` was given. Fields that are not known any more are dropped, new ones have their defaults."""
    read = msgpack.unpackb(data, unicode_errors="surrogateescape")
    legs = {}
    for row in read["legs"]:
        values = {name: value for name, value in zip(read["fields"], row, strict=True) if name in _LEG_FIELDS}
        values["phase"] = LegPhase(values["phase"])
        values["route_set"] = tuple(values["route_set"])
        leg = LegState(**values)
        legs[leg.leg] = leg
    state = CallState(
        call_id=read["call"],
        dialplan_version=read["dialplan"],
        legs=legs,
        ended=read["ended"],
        reported=frozenset(read["reported"]),
        served=read.get("served", CALLER),
        linkedid=read.get("linkedid", ""),
    )
    return state, read["execution"]
