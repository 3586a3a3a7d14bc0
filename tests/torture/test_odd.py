"""Our own bad and odd messages, each to the parser alone and to a PBX over UDP and TCP."""

from __future__ import annotations

from collections import Counter

import pytest

from services.core.address import Family
from tests.core.sip.reading import verdict
from tests.support.inprocess import InProcessPbx
from tests.torture.edge import outcome_over_tcp, outcome_over_udp
from tests.torture.odd import CASES, Case

NUMBERED = list(enumerate(CASES))
EVERY_CASE = pytest.mark.parametrize(("number", "case"), NUMBERED, ids=[f"{case.group}: {case.name}" for case in CASES])


def test_there_are_more_than_two_hundred_and_no_two_have_one_name() -> None:
    assert len(CASES) > 200
    assert [name for name, count in Counter((case.group, case.name) for case in CASES).items() if count > 1] == []


@EVERY_CASE
def test_the_parser_takes_or_refuses_it(number: int, case: Case) -> None:
    assert verdict(case.data(f"{number:03}")) == case.parser


@EVERY_CASE
def test_the_edge_answers_it(number: int, case: Case, transport: str, pbx: InProcessPbx) -> None:
    server, data = pbx.address(Family.IP4 if number % 2 else Family.IP6), case.data(f"{number:03}")
    if transport == "udp":
        assert outcome_over_udp(server, data, case.udp) == case.udp
    else:
        assert outcome_over_tcp(server, data, case.tcp) == case.tcp
    assert pbx.edge.transport.stats["handler_errors"] == 0
