"""The zone of the dialplan's times."""

from __future__ import annotations

from pathlib import Path

from services.core.config.pbx import machines_timezone
from tests.core.config.conftest import Load, Problems


def test_the_zone_of_the_dialplan_is_set_by_name(load: Load) -> None:
    assert load(pbx="[dialplan]\ntimezone=America/Montreal\n").pbx.timezone == "America/Montreal"


def test_a_zone_that_does_not_exist_is_refused(problems: Problems) -> None:
    assert problems(pbx="[dialplan]\ntimezone=Quebec\n") == [
        "pbx.conf:2: timezone: 'Quebec' is no time zone (write one as in Europe/Berlin, or UTC)"
    ]


def test_without_one_it_is_the_machines(load: Load, tmp_path: Path) -> None:
    assert load(env={"HOME": "/", "TZ": "Asia/Makassar"}).pbx.timezone == "Asia/Makassar"
    zone = tmp_path / "zoneinfo" / "Asia" / "Jakarta"
    zone.parent.mkdir(parents=True)
    zone.touch()
    (tmp_path / "localtime").symlink_to(zone)
    assert machines_timezone({}, tmp_path / "localtime") == "Asia/Jakarta"
    assert machines_timezone({"TZ": "nonsense/nowhere"}, tmp_path / "nothing") == "UTC"
