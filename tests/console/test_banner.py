"""What `pbx run` shows."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from services.console.banner import Banner, Listening, dialable, lines, show
from services.core.address import Address
from services.core.config import load_settings
from services.dialplan.program import Program, make_context, make_extension, make_include, make_statement

SIP = """
[general]
[alice]
type=friend
host=dynamic
secret=wonderland
callerid="Alice" <100>
[bob]
type=friend
host=dynamic
md5secret=0123456789abcdef0123456789abcdef
[dev1]
type=friend
host=dynamic
[trunk]
type=peer
host=2001:db8::9
insecure=invite
"""


@pytest.fixture
def banner(tmp_path: Path) -> Banner:
    (tmp_path / "sip.conf").write_text(SIP)
    settings = load_settings(tmp_path, {"HOME": "/"})
    return Banner(
        version="1.2.3",
        config=Path("examples/hello"),
        data=Path("/srv/pbx"),
        sip=[
            Listening(address=Address("2001:db8::1", 5060), transports="udp tcp"),
            Listening(address=Address("192.0.2.1", 5060), transports="udp"),
        ],
        rtp=settings.rtp,
        media_workers=(),
        metrics="http://127.0.0.1:9600/metrics",
        phones=list(settings.sip.peers.values()),
        extensions=[("100", "Dial(SIP/alice,30)"), ("_2XX", "Playback(hello-world)")],
        grace_s=5,
    )


def text(banner: Banner, *, passwords: bool = True) -> str:
    return "\n".join(line.plain for line in lines(banner, passwords=passwords))


def test_it_names_everything_a_user_needs(banner: Banner) -> None:
    shown = text(banner)
    for fact in (
        "[2001:db8::1]:5060",
        "192.0.2.1:5060",
        "udp tcp",
        "ports 10000 to 20000",
        "http://127.0.0.1:9600/metrics",
        "/srv/pbx",
        "wonderland",
        "Alice <100>",
        "_2XX",
        "Playback(hello-world)",
    ):
        assert fact in shown


def test_each_kind_of_phone_says_how_it_is_known(banner: Banner) -> None:
    shown = {line.split()[0]: line for line in text(banner).splitlines() if line}
    assert "as md5secret" in shown["bob"]
    assert "none: open to everybody" in shown["dev1"]
    assert "none: known by [2001:db8::9]" in shown["trunk"]


def test_passwords_can_be_hidden(banner: Banner) -> None:
    shown = text(banner, passwords=False)
    assert "wonderland" not in shown
    assert "hidden (--show-passwords)" in shown


def test_it_fits_80_columns(banner: Banner) -> None:
    assert max(len(line) for line in text(banner).splitlines()) <= 80


def test_it_is_plain_text_in_a_pipe(banner: Banner) -> None:
    pipe = io.StringIO()
    show(banner, Console(file=pipe), passwords=True)
    assert pipe.getvalue() == text(banner) + "\n"


def test_dialable_extensions_follow_includes_and_leave_out_special_ones() -> None:
    phones = make_context(
        "phones",
        [
            make_extension("100", None, [make_statement(1, "", "Dial", "SIP/alice,30")]),
            make_extension("h", None, [make_statement(1, "", "NoOp", "")]),
        ],
        [make_include("demos"), make_include("phones")],
    )
    demos = make_context(
        "demos",
        [
            make_extension(
                "2",
                None,
                [make_statement(1, "", "Answer", ""), make_statement(2, "", "Playback", "hello-world")],
            ),
            make_extension("100", None, [make_statement(1, "", "Busy", "")]),
            make_extension("s", None, [make_statement(1, "", "Answer", "")]),
        ],
        [],
    )
    assert dialable(Program((phones, demos), {}), ["phones", "nowhere"]) == [
        ("100", "Dial(SIP/alice,30)"),
        ("2", "Playback(hello-world)"),
    ]


def test_long_lists_are_cut(banner: Banner) -> None:
    many = [(str(number), "Echo()") for number in range(100, 200)]
    rows = [line.plain for line in lines(dataclasses.replace(banner, extensions=many), passwords=False)]
    assert "...   and 60 more" in rows
