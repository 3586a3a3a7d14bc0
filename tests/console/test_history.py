"""`pbx events`, `pbx calls`, `pbx registrations` and `pbx cdr`, as a user has them."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from services.console import history
from services.console.listing import Column, show_csv, show_json, show_table
from services.console.projections.cdr import COLUMNS
from services.console.projections.view import Row
from services.core.eventlog.sqlite import FILE_NAME as LOG_FILE
from services.core.events.envelope import Record
from tests.console.projections.streams import ANSWERED_CALL, START, bound, started, stream, unbound, write_log

COMMANDS = ["events tail", "events export", "events rebuild", "calls", "registrations", "cdr"]


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory with a call that ended, one that goes on, and a registration."""
    await write_log(
        tmp_path,
        [
            *stream("call-1", ANSWERED_CALL),
            *stream("alice@example.com", [(0.0, bound("1", expires_at=9e9)), (1.0, bound("2")), (2.0, unbound("2"))]),
            *stream("call-2", [(60.0, started(caller_name="Bob \x1b[31m", caller_number="", sdp=b"v=0\r\n\xff"))]),
        ],
    )
    return tmp_path


def pbx(command: str, *arguments: object) -> Result:
    app = typer.Typer()
    history.mount(app)
    return CliRunner().invoke(app, [*command.split(), *map(str, arguments)], catch_exceptions=False)


def output(command: str, *arguments: object) -> str:
    result = pbx(command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_tail_prints_a_readable_line_for_each_of_the_last_events(data: Path) -> None:
    lines = output("events tail", "--data", data, "-n", 3).splitlines()
    assert lines[1] == (
        "2025-01-10T06:06:14.000Z  alice@example.com  ContactUnbound  "
        "contact=sip:dev2@[2001:db8::2]:5060 binding=2 reason=removed"
    )
    assert lines[2].startswith("2025-01-10T06:07:12.000Z  call-2  CallStarted  linkedid=call-1 ")
    assert r'caller_name="Bob \\x1b[31m"' in lines[2]
    assert "sdp=<6 bytes>" in lines[2]
    assert "route_set" not in lines[2]
    assert len(lines) == 3


def test_tail_can_show_everything_of_one_call_or_address(data: Path) -> None:
    assert len(output("events tail", "--data", data, "--call", "call-1").splitlines()) == len(ANSWERED_CALL)
    assert len(output("events tail", "--data", data, "--aor", "alice@example.com").splitlines()) == 3
    assert output("events tail", "--data", data, "--call", "alice@example.com") == ""


def test_tail_can_show_one_topic(data: Path) -> None:
    lines = output("events tail", "--data", data, "--topic", "registrations").splitlines()
    assert [line.split()[2] for line in lines] == ["ContactBound", "ContactBound", "ContactUnbound"]


def test_tail_can_print_json(data: Path) -> None:
    (line,) = output("events tail", "--data", data, "-n", 1, "--json").splitlines()
    event = json.loads(line)
    assert (event["type"], event["key"], event["epoch"], event["seq"]) == ("CallStarted", "call-2", 1, 1)
    assert event["data"]["sdp"].encode("utf-8", "surrogateescape") == b"v=0\r\n\xff"
    assert event["time"] == START + 60


def test_export_writes_every_event_in_order(data: Path, tmp_path: Path) -> None:
    found = [json.loads(line) for line in output("events export", "--data", data).splitlines()]
    assert [event["position"] for event in found] == list(range(1, len(ANSWERED_CALL) + 5))
    assert {event["topic"] for event in found} == {"pbx.calls", "pbx.registrations"}
    file = tmp_path / "events.jsonl"
    assert output("events export", "--data", data, "--output", file) == ""
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == found


def test_export_can_be_of_one_call(data: Path) -> None:
    found = [json.loads(line) for line in output("events export", "--data", data, "--call", "call-1").splitlines()]
    assert len(found) == len(ANSWERED_CALL)


async def test_a_record_that_cannot_be_read_is_said_and_passed_over(data: Path) -> None:
    await write_log(data, [Record("pbx.calls", "call-3", 1, 1, b"\xc1")])
    exported = await asyncio.to_thread(pbx, "events export", "--data", data)
    assert len(exported.stdout.splitlines()) == len(ANSWERED_CALL) + 4
    assert "1 records cannot be read" in exported.stderr
    tailed = await asyncio.to_thread(pbx, "events tail", "--data", data, "-n", 1)
    assert "cannot be read" in tailed.stderr
    assert "1 unreadable" in await asyncio.to_thread(output, "events rebuild", "--data", data)


def test_rebuild_says_that_the_projections_are_the_same(data: Path) -> None:
    output("cdr", "--data", data)
    lines = output("events rebuild", "--data", data).splitlines()
    assert lines[0] == "16 events read, 0 duplicates dropped"
    assert [line.split()[0] for line in lines[1:]] == ["calls", "registrations", "cdr"]
    assert all(line.endswith("as before") for line in lines[1:])


def test_rebuild_makes_damaged_projections_again(data: Path) -> None:
    before = output("cdr", "--data", data, "--csv")
    views = data / "views.db"
    views.write_bytes(views.read_bytes()[:4096] + b"\xff" * 20000)
    assert pbx("cdr", "--data", data).exit_code == 1
    output("events rebuild", "--data", data)
    assert output("cdr", "--data", data, "--csv") == before


def test_calls_shows_what_is_up(data: Path) -> None:
    header, line = output("calls", "--data", data).splitlines()
    assert header.split()[:3] == ["CALL", "STATUS", "AGE"]
    assert line.split()[:2] == ["call-2", "started"]
    assert r"Bob \x1b[31m" in line
    (row,) = json.loads(output("calls", "--data", data, "--json"))
    assert (row["call"], row["families"]) == ("call-2", ["ip6"])


def test_registrations_shows_who_is_bound(data: Path) -> None:
    _, line = output("registrations", "--data", data).splitlines()
    assert line.split()[:4] == ["alice@example.com", "sip:dev1@[2001:db8::1]:5060", "[2001:db8::1]:5060", "IPv6/udp"]
    (row,) = json.loads(output("registrations", "--data", data, "--json"))
    assert row["contact"] == "sip:dev1@[2001:db8::1]:5060"


def test_cdr_shows_a_table_csv_and_json_of_the_same_records(data: Path) -> None:
    _, line = output("cdr", "--data", data).splitlines()
    assert line.startswith("2025-01-10 06:06:12  100  200  SIP/b-00000002")
    (from_csv,) = csv.DictReader(io.StringIO(output("cdr", "--data", data, "--csv")))
    (from_json,) = json.loads(output("cdr", "--data", data, "--json"))
    assert tuple(from_csv) == COLUMNS
    assert from_csv == {name: str(value) for name, value in from_json.items()}
    assert from_csv["clid"] == '"Alice" <100>'


def test_cdr_can_show_the_last_only(data: Path) -> None:
    assert len(json.loads(output("cdr", "--data", data, "--json", "--last", 1))) == 1


@pytest.mark.parametrize("arguments", ["cdr --csv --json", "events tail --call x --aor y"])
def test_two_that_exclude_each_other_are_refused(data: Path, arguments: str) -> None:
    result = pbx(arguments, "--data", data)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "give one of them" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_data_directory_that_does_not_exist_is_one_clear_line(tmp_path: Path, command: str) -> None:
    result = pbx(command, "--data", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"{tmp_path}/nowhere: there is no such data directory (give the --data of `pbx run`)\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_without_a_log_is_one_clear_line(tmp_path: Path, command: str) -> None:
    result = pbx(command, "--data", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "there is no event log here" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_log_that_is_none_is_one_clear_line(tmp_path: Path, command: str) -> None:
    (tmp_path / LOG_FILE).write_bytes(b"no database at all " * 500)
    result = pbx(command, "--data", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "log.db: file is not a database" in result.stderr


def test_an_export_that_cannot_be_written_is_one_clear_line(data: Path) -> None:
    result = pbx("events export", "--data", data, "--output", data / "no" / "file")
    assert (result.exit_code, result.stderr) == (1, f"{data}/no/file: No such file or directory\n")


def test_the_data_directory_is_found_by_the_configuration(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "sip.conf").write_text("[general]\n")
    (config / "pbx.conf").write_text(f"[data]\ndirectory = {data}\n")
    assert output("cdr", "--config", config, "--csv") == output("cdr", "--data", data, "--csv")
    (config / "pbx.conf").write_text("[data]\ndirektory = x\n")
    result = pbx("cdr", "--config", config)
    assert result.exit_code == 2
    assert "pbx.conf:2" in result.stderr


async def test_an_empty_history_is_said(tmp_path: Path) -> None:
    await write_log(tmp_path, [])
    assert "no calls yet" in (await asyncio.to_thread(pbx, "cdr", "--data", tmp_path)).stderr
    assert json.loads(await asyncio.to_thread(output, "cdr", "--data", tmp_path, "--json")) == []


PROGRAM = "import typer; from services.console import history; app = typer.Typer(); history.mount(app); app()"


@pytest.fixture
async def follower(data: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = ("events", "tail", "--follow", "-n", "1", "--topic", "calls", "--data", str(data))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_follow_prints_what_another_process_appends_until_interrupted(
    data: Path, follower: asyncio.subprocess.Process
) -> None:
    assert follower.stdout is not None
    assert follower.stderr is not None
    async with asyncio.timeout(30):
        assert b"call-2  CallStarted" in await follower.stdout.readline()
        await write_log(data, stream("bob@example.com", [(0.0, bound("3"))]) + stream("call-9", ANSWERED_CALL[:1]))
        assert b"call-9  CallStarted" in await follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        assert await follower.wait() == 0
        assert await follower.stderr.read() == b""


async def test_whoever_has_read_enough_may_hang_up(data: Path) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -c '{PROGRAM}' events export --data {data} | head -n 1",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert (len(out.splitlines()), err) == (1, b"")


@pytest.mark.parametrize(("width", "shown"), [(80, False), (160, True)])
async def test_on_a_terminal_there_is_a_table_as_wide_as_the_terminal(data: Path, width: int, shown: bool) -> None:
    text = await asyncio.to_thread(_on_terminal, width, "cdr", "--data", str(data))
    lines = [line.rstrip() for line in text.splitlines()]
    assert ("IPv6/udp" in text) == shown
    assert "\x1b[1m" in text
    assert any(line.startswith("2025-01-10 06:06:12  100  200") for line in lines)


def _on_terminal(width: int, *arguments: str) -> str:
    """What the program prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "LINES": "50", "TERM": "xterm"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        found = b""
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while piece := os.read(ours, 65536):
                found += piece
    os.close(ours)
    assert process.returncode == 0
    return found.decode()


def test_lists_hold_whatever_the_network_sent(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    rows: list[Row] = [{"a": "x\udcffy", "b": None}, {"a": 'q"\n', "b": 1.5}]
    show_json(rows)
    assert json.loads(capsysbinary.readouterr().out) == rows
    show_csv(("a", "b"), rows)
    assert capsysbinary.readouterr().out == b'a,b\nx\xffy,\n"q""\n",1.5\n'
    show_table([Column("A", lambda row: row["a"]), Column("B", lambda row: str(row["b"]), right=True)], rows, "none")
    assert capsysbinary.readouterr().out == b'A            B\nx\\udcffy  None\nq"\\n       1.5\n'
