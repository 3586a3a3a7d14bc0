"""The log: one record a line on standard error, fields beside the words, never a password.

    log.info("call answered", extra={"call_id": call.id, "leg": "b"})

Text for people: `10:02:33.120 INFO  sip_edge  call answered  call_id=4f1c leg=b`; JSON for collectors, an object a
line. What came from the network is escaped, so that no peer can write a line of its own.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import Any, TextIO

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SECRET = ("secret", "password", "authorization", "authenticate", "nonce", "ha1")
"""A field whose name contains one of these is not shown, whatever passed it."""
HIDDEN = "***"


def set_up_logging(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send every record of `level` (`debug` ... `error`) and above to `stream` (standard error).

    `form` is `text`, `json`, or `auto`: text when the stream is a terminal. Replaces what was set up before.
    """
    stream = stream or sys.stderr
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The `extra` fields of a record, secrets hidden."""
    return {
        name: HIDDEN if any(word in name.lower() for word in _SECRET) else value
        for name, value in record.__dict__.items()
        if name not in _STANDARD
    }


class TextFormatter(logging.Formatter):
    """For people: local time, level, room, words, fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created)
        clock = f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}"
        room = record.name.removeprefix("services.")
        parts = [f"{clock} {record.levelname:<7} {room}  {_escape(record.getMessage())}"]
        fields = " ".join(f"{name}={_escape(str(value))}" for name, value in fields_of(record).items())
        if fields:
            parts.append(fields)
        line = "  ".join(parts)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """For collectors: one object a line, UTC."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        document: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        # ASCII, so that neither U+2028 nor a lone surrogate from the wire can break a reader.
        return json.dumps(document, default=str)


def _escape(text: str) -> str:
    """Text on one line: control and other unprintable characters become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
