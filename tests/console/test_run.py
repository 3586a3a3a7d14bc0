"""`pbx run` as a process: its first lines, its last ones, and what it says when it cannot start."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

HELLO = Path(__file__).parents[2] / "examples" / "hello"
ANY_PORTS = {
    "PBX_SIP_GENERAL_BINDADDR": "127.0.0.1:0",
    "PBX_SIP_GENERAL_IPV6": "no",
    "PBX_PBX_METRICS_BIND": "127.0.0.1:0",
}


def pbx(*arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "services.console.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ANY_PORTS, **env},
    )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = pbx("run", "--config", str(HELLO), "--data", str(tmp_path / "data"), "--show-passwords")
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def banner_of(process: subprocess.Popen[str]) -> str:
    """Everything up to the last line of the banner."""
    assert process.stdout is not None
    shown = ""
    for line in process.stdout:
        shown += line
        if line.startswith("Ctrl-C"):
            return shown
    raise AssertionError(f"it ended: {shown} {process.stderr.read() if process.stderr else ''}")


def failed(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    out, err = process.communicate(timeout=30)
    assert out == ""
    assert "Traceback" not in err
    return process.returncode, err.splitlines()


def test_the_hello_example_runs_as_it_is_and_stops_at_ctrl_c(running: subprocess.Popen[str]) -> None:
    shown = banner_of(running)
    assert re.search(r"SIP +127\.0\.0\.1:\d+ +udp tcp", shown)
    for word in ("alice", "wonderland", "bob", "builder", "100", "200", "Echo()", "hello-world"):
        assert word in shown
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert "wonderland" not in err


def test_the_metrics_it_names_are_there(running: subprocess.Popen[str]) -> None:
    found = re.search(r"http://\S+/metrics", banner_of(running))
    assert found is not None
    with urllib.request.urlopen(found[0], timeout=10) as answer:
        samples = answer.read().decode()
    for name in ("pbx_calls_active", "pbx_bindings", "pbx_outbox_depth", "pbx_media_sessions", "process_cpu_seconds"):
        assert f"\n{name}" in samples
    assert re.findall(r'^pbx_udp_receive_drops_total{kind="(\w+)"} 0', samples, re.MULTILINE) == ["rtp", "sip"]
    families = re.findall(r"^# TYPE (\S+)", samples, re.MULTILINE)
    assert len(families) == len(set(families))


def test_a_taken_port_is_one_line_that_names_file_and_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        shutil.copytree(HELLO, tmp_path / "config")
        (tmp_path / "config" / "sip.conf").write_text(f"[general]\nipv6=no\nbindaddr={address}\n")
        environment = {name: value for name, value in os.environ.items() if name not in ANY_PORTS}
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "services.console.cli", "run"),
                *("--config", str(tmp_path / "config"), "--data", str(tmp_path / "data")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "PBX_PBX_METRICS_BIND": "none"},
        )
        code, lines = failed(process)
    assert code == 1
    assert lines == [f"sip.conf:3: cannot listen on {address} (UDP): the port is taken by another program"]


def test_bad_settings_are_a_line_each(tmp_path: Path) -> None:
    shutil.copytree(HELLO, tmp_path / "config")
    with (tmp_path / "config" / "sip.conf").open("a") as file:
        file.write("secert = x\nhost = [2001:db8::1]\n")
    line = len((tmp_path / "config" / "sip.conf").read_text().splitlines())
    code, lines = failed(pbx("run", "--config", str(tmp_path / "config"), "--data", str(tmp_path / "data")))
    assert code == 2
    assert lines == [
        f"sip.conf:{line - 1}: secert is not a setting of [carol] (did you mean secret?)",
        f"sip.conf:{line}: host: '[2001:db8::1]': an address stands here without brackets (write host=2001:db8::1)",
    ]


def test_one_data_directory_has_one_pbx(running: subprocess.Popen[str], tmp_path: Path) -> None:
    banner_of(running)
    code, lines = failed(pbx("run", "--config", str(HELLO), "--data", str(tmp_path / "data")))
    assert code == 1
    assert lines == [
        f"{tmp_path / 'data'}: this data directory is in use by process {running.pid} (stop it, or give another --data)"
    ]


def test_check_says_that_the_hello_example_is_fine() -> None:
    process = pbx("check", "--config", str(HELLO))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, f"{HELLO}: fine\n", "")


def test_check_finds_the_problems_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "sip.conf").write_text("[general]\nbindport=x\n")
    (tmp_path / "extensions.conf").write_text("[internal]\nexten => 1,1,Frobnicate()\n")
    code, lines = failed(pbx("check", "--config", str(tmp_path)))
    assert code == 2
    assert [line.split(": ")[0] for line in lines] == ["sip.conf:2", "extensions.conf:2"]


def test_help_is_quick_to_make() -> None:
    """No part of the PBX is imported for it."""
    script = (
        "import sys; sys.argv = ['pbx', '--help']\n"
        "from services.console.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'asyncio', 'aiohttp', 'msgpack', 'services.core', 'services.sip_edge', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=30)
