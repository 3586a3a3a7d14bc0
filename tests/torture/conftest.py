"""One PBX for each transport: the same message over both would be one transaction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.inprocess import InProcessPbx
from tests.torture.edge import running_pbx


@pytest.fixture(scope="module", params=["udp", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pbx(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessPbx]:
    with running_pbx(tmp_path_factory.mktemp(f"torture-{transport}")) as running:
        yield running
