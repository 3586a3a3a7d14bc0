"""How the house is kept: what the last line counts, and that the pages lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
SUITE = """
import pytest

def test_passes(): pass
@pytest.mark.skip(reason="no root")
def test_skips(): pass
@pytest.mark.xfail(strict=True)
def test_fails_as_expected(): assert False
@pytest.fixture
def broken(): raise RuntimeError
def test_cannot_be_set_up(broken): pass
"""


def last_line(tmp_path: Path, files: dict[str, str], **env: str) -> tuple[int, str]:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    clean = {name: value for name, value in os.environ.items() if name not in ("REQUIRE_ALL", "CHECK_FAILED")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q", str(tmp_path)],
        cwd=tmp_path,
        env={**clean, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()[-1]


def test_the_last_line_counts_what_passed_failed_and_was_skipped(tmp_path: Path) -> None:
    assert last_line(tmp_path, {"test_it.py": SUITE}) == (1, "2 passed, 1 failed, 1 skipped")


def test_where_all_is_required_a_skip_is_a_failure(tmp_path: Path) -> None:
    assert last_line(tmp_path, {"test_it.py": SUITE}, REQUIRE_ALL="1") == (1, "2 passed, 2 failed, 0 skipped")


def test_where_all_is_required_a_skipped_file_is_a_failure(tmp_path: Path) -> None:
    files = {"test_it.py": "import pytest\npytest.skip('no sipp', allow_module_level=True)\n"}
    assert last_line(tmp_path, files)[1] == "0 passed, 0 failed, 1 skipped"
    assert last_line(tmp_path, files, REQUIRE_ALL="1")[1] == "0 passed, 1 failed, 0 skipped"


def test_a_failed_check_is_a_failure(tmp_path: Path) -> None:
    files = {"test_it.py": "def test_passes(): pass\n"}
    assert last_line(tmp_path, files, CHECK_FAILED="1")[1] == "1 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)", prose)
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_files_in_the_picture_of_a_call_exist() -> None:
    picture = (ROOT / "README.md").read_text().split("## The way of a call")[1].split("```")[1]
    paths = re.findall(r"[a-z_]+/[a-z_/]+(?:\.py|/)", picture)
    assert paths
    assert [path for path in paths if not (ROOT / "services" / path).exists()] == []
