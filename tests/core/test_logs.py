"""The log: fields, secrets, one line a record."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from services.core.logs import set_up_logging

log = logging.getLogger("services.sip_edge")


@pytest.fixture(autouse=True)
def restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    set_up_logging(level, form, stream)
    return stream


def test_text_has_time_level_room_words_and_fields() -> None:
    stream = written("text")
    log.info("call answered", extra={"call_id": "4f1c", "leg": "b"})
    clock, rest = stream.getvalue().split(" ", 1)
    assert len(clock) == len("10:02:33.120")
    assert rest == "INFO    sip_edge  call answered  call_id=4f1c leg=b\n"


def test_json_is_one_object_a_line() -> None:
    stream = written("auto")
    log.warning("odd %s", "\u2028", extra={"call_id": "4f1c", "peer": "\udcff"})
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert (document["level"], document["message"], document["call_id"]) == ("warning", "odd \u2028", "4f1c")
    assert line.isascii()


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_hidden_by_the_name_of_their_field(form: str) -> None:
    stream = written(form)
    log.info("x", extra={"secret": "wonderland", "md5secret": "wonderland", "Authorization": "wonderland"})
    assert "wonderland" not in stream.getvalue()
    assert stream.getvalue().count("***") == 3


def test_a_peer_cannot_write_a_line_of_its_own() -> None:
    stream = written("text")
    log.info("from %s", "a\r\n10:00:00.000 INFO forged\x1b[2J", extra={"agent": "b\nc"})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_levels_below_the_wanted_one_are_left_out_and_exceptions_are_kept() -> None:
    stream = written("text", "warning")
    log.info("quiet")
    try:
        raise ValueError("loud")
    except ValueError:
        log.exception("failed")
    assert "quiet" not in stream.getvalue()
    assert "ValueError: loud" in stream.getvalue()


def test_setting_up_again_replaces_the_stream() -> None:
    first, second = written("text"), written("text")
    log.info("x")
    assert (first.getvalue(), second.getvalue().count("x")) == ("", 1)
