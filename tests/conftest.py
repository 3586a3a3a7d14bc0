"""How the tests are counted.

`REQUIRE_ALL=1` turns what would be skipped into failures: on the machine that decides, every suite runs. The last line
of a run is `N passed, N failed, N skipped`; an error outside of a test is a failure, and so is a failed `make check`.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# How long one example takes says more about the machine's other work than about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

REQUIRE_ALL = os.environ.get("REQUIRE_ALL", "") not in ("", "0")
CHECK_FAILED = os.environ.get("CHECK_FAILED", "0") != "0"


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped although REQUIRE_ALL is set: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line; after everything that pytest itself says."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly:
        return
    count = {outcome: len(reports) for outcome, reports in reporter.stats.items()}
    passed = count.get("passed", 0) + count.get("xfailed", 0)
    failed = count.get("failed", 0) + count.get("error", 0) + count.get("xpassed", 0) + CHECK_FAILED
    print(f"{passed} passed, {failed} failed, {count.get('skipped', 0)} skipped", flush=True)
