"""What surrounds an event: which stream it belongs to, its place there, and who said it when.

The stored value of an event is one msgpack map, the same in the outbox, in the embedded log and in Kafka:

    {id, type, version, key, epoch, seq, time, site, node, data}

`(key, epoch, seq)` names an event for good: consumers drop what they have seen by it. `epoch` is the fencing token of
the writer, `seq` counts from 1 within the key and goes on when the epoch rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from services.core.events.catalogue import Event
from services.core.events.codec import CodecError, codec_of, pack, unpack
from services.core.events.upcasting import SCHEMA, EventSchema, UnknownEvent

CONTENT_TYPE = "application/msgpack"


@dataclass(slots=True)  # made for every event: unfrozen costs a third
class Record:
    """An enveloped event as it is stored: enough outside the value to order it and to find duplicates."""

    topic: str
    key: str
    epoch: int
    seq: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A record, read."""

    id: str
    """Unique among all events; made of key, epoch and seq, so that writing twice gives the same id."""
    type: str
    version: int
    key: str
    """The call id or the address of record."""
    epoch: int
    seq: int
    time: float
    """Unix seconds at which the writer decided it."""
    site: str
    node: str
    event: Event


def seal(event: Event, *, key: str, epoch: int, seq: int, time: float, site: str = "", node: str = "") -> Record:
    """The record of an event. Raises TypeError, OverflowError or UnicodeEncodeError on what cannot be stored."""
    cls = type(event)
    value = pack(
        {
            # epoch and seq are digits, so the first '@' ends them whatever the key holds.
            "id": f"{epoch}.{seq}@{key}",
            "type": cls.__name__,
            "version": cls.VERSION,
            "key": key,
            "epoch": epoch,
            "seq": seq,
            "time": time,
            "site": site,
            "node": node,
            "data": codec_of(cls).to_map(event),
        }
    )
    return Record(cls.TOPIC, key, epoch, seq, value)


def unseal(value: bytes, schema: EventSchema = SCHEMA) -> Envelope:
    """Read a record's value. Raises CodecError."""
    wire = unpack(value)
    try:
        return Envelope(
            id=wire["id"],
            type=wire["type"],
            version=wire["version"],
            key=wire["key"],
            epoch=wire["epoch"],
            seq=wire["seq"],
            time=wire["time"],
            site=wire.get("site", ""),
            node=wire.get("node", ""),
            event=schema.decode(wire["type"], wire["version"], wire["data"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CodecError(f"not an event's envelope: {error!r}") from error


def cloud_event_headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 attributes as Kafka headers (Kafka protocol binding, binary content mode)."""
    source = f"/sites/{quote(envelope.site, safe='')}/nodes/{quote(envelope.node, safe='')}"
    time = datetime.fromtimestamp(envelope.time, UTC).isoformat(timespec="microseconds")
    version = envelope.event.version if isinstance(envelope.event, UnknownEvent) else envelope.version
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": envelope.id,
        "ce_type": f"pbx.{envelope.type}.v{version}",
        "ce_source": source,
        "ce_time": time.replace("+00:00", "Z"),
        "content-type": CONTENT_TYPE,
    }
    return [(name, value.encode("utf-8", "surrogateescape")) for name, value in attributes.items()]
