"""A short flood of damaged messages; `python -m tests.fuzz.flood` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.flood import Report, flood, start
from tests.support.processes import Programs, programs

__all__ = ["programs"]


def test_five_thousand_damaged_messages_leave_a_pbx_that_answers_and_has_no_complaints(
    programs: Programs, tmp_path: Path
) -> None:
    pbx = start(programs, tmp_path)
    report = flood(pbx, 5000)
    assert report.problems() == [], report
    assert pbx.complaints() == []
    assert pbx.metric("pbx_sip_parse_errors_total") > 500
    assert pbx.stop() == 0


def test_a_report_names_each_bound_that_does_not_hold() -> None:
    good = Report(10, 1.0, 5.0, 20.0, 30.0, 60.0, 61.0)
    assert good.problems() == []
    bad = Report(10, 1.0, 51.0, 201.0, 400.0, 60.0, 90.0)
    assert len(bad.problems()) == 3
