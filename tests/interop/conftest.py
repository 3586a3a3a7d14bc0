"""What every test with foreign programs may ask for."""

from __future__ import annotations

import pytest

from tests.interop.sites import Site, start_site
from tests.support.netns import network
from tests.support.processes import Programs, module_programs, programs

__all__ = ["loopback", "module_programs", "network", "programs", "site"]


@pytest.fixture(scope="module", params=["loopback", "namespaces"])
def site(request: pytest.FixtureRequest, module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A PBX with phones, here and there."""
    far = request.getfixturevalue("network") if request.param == "namespaces" else None
    return start_site(module_programs, tmp_path_factory.mktemp(request.param), far)


@pytest.fixture(scope="module")
def loopback(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A PBX with phones on this machine's loopback."""
    return start_site(module_programs, tmp_path_factory.mktemp("loopback"), None)
