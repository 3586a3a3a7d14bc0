"""Active calls and registrations."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from services.console.projections.calls import ACTIVE_CALLS, CallNow
from services.console.projections.registrations import REGISTRATIONS, AddressNow
from services.console.projections.view import Kept, Row, advance
from services.core.events.catalogue import LegEnded, LegHeld, LegResumed
from services.core.events.upcasting import UnknownEvent
from tests.console.projections.streams import (
    ANSWERED_CALL,
    START,
    Timed,
    bound,
    envelopes,
    invited,
    refreshed,
    started,
    unbound,
)


def call_after(events: Iterable[Timed]) -> CallNow | None:
    kept: Kept[CallNow] | None = None
    for envelope in envelopes("call-1", events):
        kept = advance(ACTIVE_CALLS, kept, envelope) or kept
    return kept.state if kept is not None else None


def contacts_after(*events: Timed) -> list[Row]:
    kept: Kept[AddressNow] | None = None
    for envelope in envelopes("alice@example.com", events):
        kept = advance(REGISTRATIONS, kept, envelope) or kept
    assert kept is not None
    return [] if kept.state is None else REGISTRATIONS.rows("alice@example.com", kept.state)


@pytest.mark.parametrize(("events", "status"), [(1, "started"), (3, "started"), (4, "ringing"), (6, "up"), (7, "up")])
def test_a_call_is_as_far_as_its_events(events: int, status: str) -> None:
    state = call_after(ANSWERED_CALL[:events])
    assert state is not None
    assert ACTIVE_CALLS.rows("call-1", state)[0]["status"] == status


def test_a_call_shows_both_legs() -> None:
    state = call_after(ANSWERED_CALL[:7])
    assert state is not None
    assert ACTIVE_CALLS.rows("call-1", state) == [
        {
            "call": "call-1",
            "status": "up",
            "started": START,
            "answered": START + 2.25,
            "caller_name": "Alice",
            "caller_number": "100",
            "called": "200",
            "context": "internal",
            "application": "Dial",
            "channels": ["SIP/dev1-00000001", "SIP/b-00000002"],
            "families": ["ip6", "ip4"],
            "transports": ["udp", "tcp"],
        }
    ]


def test_a_held_call_is_held_until_it_is_resumed() -> None:
    held: list[Timed] = [*ANSWERED_CALL[:7], (3.0, LegHeld(leg="b", direction="sendonly"))]
    resumed: list[Timed] = [*held, (4.0, LegResumed(leg="b"))]
    statuses = [ACTIVE_CALLS.rows("k", state)[0]["status"] for state in map(call_after, (held, resumed)) if state]
    assert statuses == ["held", "up"]


def test_a_leg_that_ended_is_not_shown() -> None:
    state = call_after(
        [(0.0, started()), (1.0, invited()), (2.0, LegEnded(leg="b", status=486, reason="", cause=17, by="remote"))]
    )
    assert state is not None
    assert [leg.leg for leg in state.legs] == ["a"]


def test_a_call_that_ended_is_gone_and_late_facts_do_not_bring_it_back() -> None:
    for end in range(len(ANSWERED_CALL) - 3, len(ANSWERED_CALL)):
        events = list(ANSWERED_CALL)
        events.insert(end, events.pop())
        assert call_after(events) is None


def test_an_event_of_a_newer_program_is_passed_over() -> None:
    events: list[Timed] = [*ANSWERED_CALL[:7]]
    before = call_after(events)
    assert call_after([*events, (5.0, UnknownEvent(type="LegMoved", version=1, data={}))]) == before


def test_events_seen_before_change_nothing() -> None:
    once = envelopes("call-1", ANSWERED_CALL[:7])
    kept: Kept[CallNow] | None = None
    for envelope in once:
        kept = advance(ACTIVE_CALLS, kept, envelope)
    assert [advance(ACTIVE_CALLS, kept, envelope) for envelope in once] == [None] * 7


def test_a_contact_is_shown_from_its_binding_to_its_end() -> None:
    assert contacts_after((0.0, bound("1"))) == [
        {
            "aor": "alice@example.com",
            "contact": "sip:dev1@[2001:db8::1]:5060",
            "source": "[2001:db8::1]:5060",
            "family": "ip6",
            "transport": "udp",
            "q": 1.0,
            "since": START,
            "expires_at": START + 3600,
            "user_agent": "baresip",
        }
    ]
    assert contacts_after((0.0, bound("1")), (1.0, unbound("1"))) == []


def test_a_refreshed_contact_keeps_its_place_and_its_age() -> None:
    rows = contacts_after((0.0, bound("1")), (1.0, bound("2")), (2.0, refreshed("1")))
    assert [row["contact"] for row in rows] == ["sip:dev1@[2001:db8::1]:5060", "sip:dev2@[2001:db8::2]:5060"]
    assert (rows[0]["since"], rows[0]["expires_at"]) == (START, START + 7200)


def test_one_contact_of_several_can_end() -> None:
    rows = contacts_after((0.0, bound("1")), (1.0, bound("2")), (2.0, unbound("1")), (3.0, unbound("9")))
    assert [row["contact"] for row in rows] == ["sip:dev2@[2001:db8::2]:5060"]
