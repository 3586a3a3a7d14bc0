"""What every test with foreign programs may ask for."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.interop.sites import Site, start_site
from tests.support.netns import Network, network
from tests.support.pbx import Pbx
from tests.support.processes import Programs, module_programs, programs

__all__ = ["loopback", "module_programs", "namespaces", "network", "programs", "site"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its programs said last."""
    report = yield
    if report.failed:
        users = {id(found): found for value in item.funcargs.values() if (found := _programs_of(value))}
        for started in users.values():
            report.sections += started.said()
    return report


def _programs_of(value: object) -> Programs | None:
    """The programs behind a fixture."""
    if isinstance(value, Programs):
        return value
    return value.programs if isinstance(value, Site | Pbx) else None


@pytest.fixture(scope="module")
def loopback(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A PBX with phones on this machine's loopback; nothing that it does is worth a warning."""
    site = start_site(module_programs, tmp_path_factory.mktemp("loopback"), None)
    yield site
    assert site.pbx.complaints() == []


@pytest.fixture(scope="module")
def namespaces(network: Network, module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A PBX with phones on hosts of their own; nothing that it does is worth a warning."""
    site = start_site(module_programs, tmp_path_factory.mktemp("namespaces"), network)
    yield site
    assert site.pbx.complaints() == []


@pytest.fixture(params=["loopback", "namespaces"])
def site(request: pytest.FixtureRequest) -> Site:
    """Here and there."""
    found: Site = request.getfixturevalue(request.param)
    return found
