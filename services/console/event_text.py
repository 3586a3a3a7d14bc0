"""An event as a line for people, and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from services.core.eventlog.port import Positioned
from services.core.events.catalogue import Event
from services.core.events.envelope import Envelope, unseal
from services.core.events.upcasting import UnknownEvent


@dataclasses.dataclass(frozen=True, slots=True)
class EventLine:
    """The parts of a line, so that a terminal can colour them. Every part is safe to print."""

    time: str
    key: str
    type: str
    fields: str

    def __str__(self) -> str:
        return f"{self.time}  {self.key}  {self.type}  {self.fields}".rstrip()


def line_of(envelope: Envelope) -> EventLine:
    """The line of an event. Empty fields are left out, session descriptions are counted."""
    fields = " ".join(
        f"{name}={_short(value)}" for name, value in _fields(envelope.event) if value not in ("", b"", ())
    )
    return EventLine(time_text(envelope.time), visible(envelope.key), visible(envelope.type), fields)


def json_of(positioned: Positioned) -> str:
    """An event as one line of JSON. Raises CodecError.

    Bytes are text there; what is not UTF-8 in them, or in text of the network, is `\\udc80`-`\\udcff`.
    """
    position, record = positioned
    envelope = unseal(record.value)
    return json.dumps(
        {
            "position": position,
            "topic": record.topic,
            "id": envelope.id,
            "type": envelope.type,
            "version": envelope.version,
            "key": envelope.key,
            "epoch": envelope.epoch,
            "seq": envelope.seq,
            "time": envelope.time,
            "site": envelope.site,
            "node": envelope.node,
            "data": {name: _plain(value) for name, value in _fields(envelope.event)},
        }
    )


def time_text(time: float) -> str:
    """Unix seconds as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def visible(text: str) -> str:
    """Text with everything escaped that would not be seen, or that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _fields(event: Event) -> Iterator[tuple[str, Any]]:
    if isinstance(event, UnknownEvent):
        yield from event.data.items()
        return
    for field in dataclasses.fields(event):
        yield field.name, getattr(event, field.name)


def _short(value: Any) -> str:
    match value:
        case bytes():
            return f"<{len(value)} bytes>"
        case tuple():
            return ",".join(_short(one) for one in value)
        case str():
            shown = visible(value)
            return json.dumps(shown, ensure_ascii=False) if " " in shown or '"' in shown else shown
    return str(value)


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case tuple() | list():
            return [_plain(one) for one in value]
        case dict():
            return {str(name): _plain(one) for name, one in value.items()}
    return value
