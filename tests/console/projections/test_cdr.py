"""Call detail records, against calls as the talk of Asterisk's records has them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from services.console.projections.cdr import ASTERISK_COLUMNS, CDR, COLUMNS, CallRecord
from services.console.projections.view import Kept, Row, advance
from services.core.events.catalogue import LegAnswered, LegEnded, LegsBridged
from tests.console.projections.streams import (
    ANSWERED_CALL,
    START,
    Timed,
    answered,
    ended,
    envelopes,
    invited,
    ran,
    reported,
    started,
)


def state_of(events: Iterable[Timed]) -> CallRecord:
    kept: Kept[CallRecord] | None = None
    for envelope in envelopes("call-1", events):
        kept = advance(CDR, kept, envelope)
    assert kept is not None
    assert kept.state is not None
    return kept.state


def record(events: Iterable[Timed]) -> Row:
    (row,) = CDR.rows("call-1", state_of(events))
    return row


def in_order(*events: Any) -> list[Timed]:
    return [(float(second), event) for second, event in enumerate(events)]


def test_an_answered_call_has_every_field_of_asterisk() -> None:
    assert record(ANSWERED_CALL) == {
        "calldate": "2025-01-10 06:06:12",
        "clid": '"Alice" <100>',
        "src": "100",
        "dst": "200",
        "dcontext": "internal",
        "channel": "SIP/dev1-00000001",
        "dstchannel": "SIP/b-00000002",
        "lastapp": "Dial",
        "lastdata": "SIP/dev2,20",
        "duration": 12,
        "billsec": 10,
        "disposition": "ANSWERED",
        "uniqueid": "call-1",
        "linkedid": "call-1",
        "a_family": "ip6",
        "a_transport": "udp",
        "b_family": "ip4",
        "b_transport": "tcp",
        "a_codec": "ulaw",
        "a_packets_received": 520,
        "a_packets_sent": 520,
        "a_packets_lost": 2,
        "a_jitter_ms": 1.5,
        "b_codec": "ulaw",
        "b_packets_received": 510,
        "b_packets_sent": 510,
        "b_packets_lost": 0,
        "b_jitter_ms": 1.5,
        "hangupcause": 16,
        "hangupreason": "hang-up",
    }


def test_the_columns_begin_with_asterisks_in_asterisks_order() -> None:
    assert tuple(record(ANSWERED_CALL)) == COLUMNS
    assert COLUMNS[: len(ASTERISK_COLUMNS)] == ASTERISK_COLUMNS


def test_the_order_of_the_end_and_the_media_reports_does_not_matter() -> None:
    before, last_four = ANSWERED_CALL[:-3], ANSWERED_CALL[-3:]
    records = [state_of([*before, *order]) for order in itertools.permutations(last_four)]
    assert len(records) == 6
    assert all(one == records[0] for one in records)
    assert CDR.rows("call-1", records[0]) == [record(ANSWERED_CALL)]


def test_a_call_that_goes_on_has_no_record_yet() -> None:
    state = state_of(ANSWERED_CALL[:-1])
    assert CDR.place(state) is None
    assert CDR.rows("call-1", state) == []


def test_records_come_in_the_order_in_which_calls_started() -> None:
    assert CDR.place(state_of(ANSWERED_CALL)) == START


def test_nothing_but_media_changes_a_record_after_the_end() -> None:
    late = [(99.0, ran("Echo")), (99.0, answered("a")), (99.0, ended("FAILED")), (99.0, invited("c"))]
    assert record([*ANSWERED_CALL, *late]) == record(ANSWERED_CALL)


@pytest.mark.parametrize(
    ("name", "number", "clid"),
    [("Alice", "100", '"Alice" <100>'), ("", "100", "100"), ("Alice", "", "Alice"), ("", "", "")],
)
def test_clid_is_written_as_asterisk_writes_it(name: str, number: str, clid: str) -> None:
    row = record(in_order(started(caller_name=name, caller_number=number), ended("FAILED")))
    assert (row["clid"], row["src"]) == (clid, number)


def test_a_call_nobody_answered_names_the_callee_dialled_last() -> None:
    row = record(
        in_order(started(), ran("Dial", "SIP/b"), invited("b"), invited("c", family="ip6"), ended("NO ANSWER", 19))
    )
    assert (row["dstchannel"], row["b_family"], row["billsec"], row["duration"]) == ("SIP/c-00000002", "ip6", 0, 4)
    assert row["disposition"] == "NO ANSWER"


def test_in_a_ring_group_the_one_who_answered_is_the_destination() -> None:
    group = in_order(
        started(), ran("Dial", "SIP/b&SIP/c"), invited("b"), invited("c"), answered("b"), answered("a"),
        LegsBridged(leg="a", peer="b"), LegEnded(leg="c", status=487, reason="", cause=26, by="local"), reported("b"),
        reported("c", 0), reported("a"), ended(),
    )  # fmt: skip
    assert record(group)["dstchannel"] == "SIP/b-00000002"
    assert record(group)["b_packets_received"] == 500


def test_of_two_who_answer_at_once_the_bridged_one_counts_whichever_was_heard_first() -> None:
    for first, second in (("b", "c"), ("c", "b")):
        race = in_order(
            started(), ran("Dial"), invited("b"), invited("c"), answered(first), answered(second), answered("a"),
            LegsBridged(leg="a", peer="c"), ended(),
        )  # fmt: skip
        assert record(race)["dstchannel"] == "SIP/c-00000002"


def test_the_callee_of_a_bridge_is_found_whichever_way_it_is_told() -> None:
    for bridge in (LegsBridged(leg="a", peer="b"), LegsBridged(leg="b", peer="a")):
        assert (
            record(in_order(started(), invited("b"), invited("c"), bridge, ended()))["dstchannel"] == "SIP/b-00000002"
        )


def test_the_second_dial_of_a_call_takes_the_record_over() -> None:
    row = record(
        in_order(
            started(), ran("Dial", "SIP/b"), invited("b"), ran("Dial", "SIP/c"), invited("c"), answered("c"),
            answered("a"), LegsBridged(leg="a", peer="c"), ended(),
        )
    )  # fmt: skip
    assert (row["lastapp"], row["lastdata"], row["dstchannel"]) == ("Dial", "SIP/c", "SIP/c-00000002")


def test_a_hangup_behind_a_dial_does_not_hide_it() -> None:
    row = record(
        in_order(started(), ran("Dial", "SIP/b"), invited("b"), ran("Hangup", exten="s-BUSY"), ended("BUSY", 17))
    )
    assert (row["lastapp"], row["lastdata"], row["dst"]) == ("Dial", "SIP/b", "200")


def test_an_application_that_answers_after_a_failed_dial_takes_the_record_over() -> None:
    row = record(
        in_order(
            started(), ran("Dial", "SIP/b"), invited("b"), ran("Playback", "vm-nobodyavail"), answered("a", "Playback"),
            ran("Echo"), ended(),
        )
    )  # fmt: skip
    assert (row["lastapp"], row["dstchannel"]) == ("Echo", "SIP/b-00000002")


def test_an_application_that_answered_before_a_dial_does_not() -> None:
    row = record(
        in_order(
            started(),
            ran("Answer"),
            answered("a", "Answer"),
            ran("Dial", "SIP/b"),
            invited("b"),
            ran("Hangup"),
            ended(),
        )
    )
    assert row["lastapp"] == "Dial"


def test_an_ivr_call_ends_where_the_caller_went() -> None:
    row = record(
        in_order(
            started(called="300"), ran("Answer", exten="300"), answered("a", "Answer"),
            ran("Goto", "ivr,s,1", exten="300"), ran("Background", "menu", context="ivr", exten="s"),
            ran("Playback", "hello-world", context="ivr", exten="2"), ended(),
        )
    )  # fmt: skip
    assert (row["dst"], row["dcontext"], row["lastapp"], row["lastdata"]) == ("2", "ivr", "Playback", "hello-world")
    assert (row["dstchannel"], row["b_family"], row["b_packets_received"]) == ("", "", None)


def test_the_hangup_extension_and_the_place_of_a_subroutine_do_not_count() -> None:
    row = record(
        in_order(
            started(), ran("Gosub", "greet,s,1"), ran("Playback", "hello", context="greet", exten="s"),
            ran("Return", context="greet", exten="s"), ran("NoOp", "h", exten="h"), ended(),
        )
    )  # fmt: skip
    assert (row["dst"], row["dcontext"], row["lastapp"]) == ("200", "internal", "Return")


def test_a_call_without_any_application_is_where_it_was_dialled() -> None:
    row = record(in_order(started(called="999"), ended("FAILED", 1, "no such extension", "")))
    assert (row["dst"], row["dcontext"], row["lastapp"], row["hangupcause"]) == ("999", "internal", "", 1)


@pytest.mark.parametrize(
    ("answer", "end", "billsec", "duration"),
    [(1.0, 1.999, 0, 1), (1.0, 2.0, 1, 2), (0.1, 60.1, 60, 60), (5.0, 3.0, 0, 3), (1.0, -2.0, 0, 0)],
)
def test_seconds_are_whole_and_never_negative(answer: float, end: float, billsec: int, duration: int) -> None:
    row = record([(0.0, started()), (answer, answered("a", "Answer")), (end, ended())])
    assert (row["billsec"], row["duration"]) == (billsec, duration)


def test_a_call_that_was_answered_before_its_owner_died_is_billed_from_the_bridge() -> None:
    row = record([(0.0, started()), (1.0, invited()), (2.0, LegsBridged(leg="a", peer="b")), (9.0, ended())])
    assert row["billsec"] == 7


def test_a_history_without_its_beginning_has_no_record() -> None:
    kept = None
    for envelope in envelopes("call-1", ANSWERED_CALL[1:]):
        kept = advance(CDR, kept, envelope)
    assert kept is not None
    assert kept.state is None


def test_a_leg_is_dialled_once_however_often_it_is_invited() -> None:
    again = LegAnswered(leg="b", remote_tag="", remote_target="")
    state = state_of(in_order(started(), invited("b"), invited("b"), again, ended()))
    assert len(state.callees) == 1
