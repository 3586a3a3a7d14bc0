"""docs/events.md, made from the catalogue: `python -m services.core.events.document > FILE`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.core.events import catalogue
from services.core.events.catalogue import CALLS_TOPIC, CATALOGUE, REGISTRATIONS_TOPIC, Event

INTRO = """\
# Events

<!-- Made by `make docs` from services/core/events/catalogue.py; edit that. A test compares. -->

Every fact of a call and of a registration is an event: past tense, immutable, kept for good. `pbx events tail` shows
them, `pbx events export` writes them as JSON. [asyncapi.yaml](asyncapi.yaml) says the same for machines.

## A stored event

One [msgpack](https://msgpack.org) map, the same in the outbox, in the embedded log (`log.db`) and in Kafka:

| field | type | what |
|---|---|---|
| `id` | text | `EPOCH.SEQ@KEY`; unique among all events |
| `type` | text | the name of the event below |
| `version` | integer | of the event's schema |
| `key` | text | the call id, or the address of record |
| `epoch` | integer | fencing token of the writer; a new owner of a call has a higher one |
| `seq` | integer | counts from 1 within the key, and goes on when the epoch rises |
| `time` | number | when it was decided, Unix seconds |
| `site`, `node` | text | who decided it |
| `data` | map | the fields below |

- `(key, epoch, seq)` names an event for good. Whoever reads may meet one twice and drops it by that.
- Order is promised within a key, by `(epoch, seq)`. Across keys there is none.
- Schemas only grow: a new field has a default, and a reader ignores fields it does not know. When a meaning changes,
  `version` rises and old events are turned into new ones as they are read (`services/core/events/upcasting.py`).
- Text is UTF-8 as far as the network's was: bytes of a SIP message that are none are kept as they came. In JSON they
  are `\\udc80`-`\\udcff`.
- In Kafka the record's key is `key`, and the headers are those of CloudEvents 1.0: `ce_specversion`, `ce_id`, `ce_type`
  (`pbx.CallAnswered.v1`), `ce_source` (`/sites/SITE/nodes/NODE`), `ce_time`, `content-type: application/msgpack`.
"""

TOPICS: Mapping[str, str] = {
    CALLS_TOPIC: "Facts of one call; the key is the call id.",
    REGISTRATIONS_TOPIC: "Facts of one address of record; the key is the AOR.",
}

COMMON: Mapping[str, str] = {
    "application": "Name of the application.",
    "answer": "The session description answered.",
    "bytes_received": "RTP payload and headers, without IP and UDP.",
    "bytes_sent": "RTP payload and headers, without IP and UDP.",
    "binding": "Id of the binding inside its AOR.",
    "contact": "The Contact's URI, byte for byte as received.",
    "caller_name": "Display name shown to callees.",
    "caller_number": "Number shown to callees.",
    "caller_uri": "URI of the caller's From.",
    "channel": "Name of the leg in Asterisk's form, `SIP/dev2-00000002`.",
    "codec": "Name of the codec last received, lower case; empty when nothing came.",
    "context": "Context of the dialplan.",
    "cseq": "Number of the REGISTER's CSeq.",
    "data": "Its arguments, variables replaced.",
    "dialplan_version": "Content hash of the dialplan that the call runs.",
    "digit": "`0`-`9`, `*`, `#` or `A`-`D`.",
    "duration_ms": "In milliseconds.",
    "exten": "Extension of the dialplan.",
    "family": "`ip4` or `ip6`.",
    "files": "Names of the recordings, in order.",
    "flow_id": "The listener (UDP) or connection it came by, or leaves by.",
    "instance": "`+sip.instance` of the Contact (RFC 5626); empty without one.",
    "leg": "The leg it is about; `a` is the caller's.",
    "local": "Our address and port.",
    "local_cseq": "Number of our last CSeq in the dialog.",
    "local_tag": "Our tag of the dialog.",
    "local_uri": "Our URI of the dialog.",
    "offer": "The session description offered.",
    "packets_received": "RTP packets the party sent us.",
    "packets_sent": "RTP packets we sent to the party.",
    "path": "Path header fields of the REGISTER (RFC 3327), in order.",
    "peer": "The other leg.",
    "phone": "Section of sip.conf of the party; empty when there is none.",
    "priority": "Priority of the dialplan.",
    "q": "Preference of the contact, 0 to 1.",
    "reason": "In words.",
    "reg_id": "`reg-id` of the Contact (RFC 5626); 0 without one.",
    "remote_cseq": "Number of the far side's last CSeq in the dialog.",
    "remote_tag": "The far side's tag of the dialog.",
    "remote_target": "The far side's Contact: where requests of the dialog go.",
    "remote_uri": "The far side's URI of the dialog.",
    "route_set": "Route set of the dialog, in the order of Route header fields.",
    "sdp": "A session description.",
    "sip_call_id": "Call-ID of the dialog, or of the REGISTER.",
    "status": "SIP status code.",
    "transport": "`udp`, `tcp`, `tls`, `ws` or `wss`.",
    "user_agent": "The phone's User-Agent.",
}
"""Of fields that mean the same wherever they stand; the catalogue describes the others, and exceptions."""

TYPE_NAMES: Mapping[Any, str] = {
    str: "text",
    bytes: "bytes",
    int: "integer",
    float: "number",
    tuple[str, ...]: "list of text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDocument:
    """A field of an event, as the catalogue describes it."""

    name: str
    type: Any
    required: bool
    default: Any
    doc: str


def fields_of(event: type[Event]) -> list[FieldDocument]:
    """The fields of an event with the docstrings under them, in the order of the catalogue."""
    docs = _field_docs()
    described: dict[str, str] = {}
    for cls in reversed(event.__mro__):
        described |= docs.get(cls.__name__, {})
    hints = typing.get_type_hints(event)
    return [
        FieldDocument(
            name=field.name,
            type=hints[field.name],
            required=field.default is dataclasses.MISSING,
            default=None if field.default is dataclasses.MISSING else field.default,
            doc=described.get(field.name) or COMMON.get(field.name, ""),
        )
        for field in dataclasses.fields(event)
    ]


def sentence(event: type[Event]) -> str:
    """What an event says, in one paragraph."""
    return " ".join((event.__doc__ or "").split())


def _field_docs() -> dict[str, dict[str, str]]:
    """The string literals that stand under the fields, by class and field. Python keeps none of them."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(catalogue)).body:
        if isinstance(node, ast.ClassDef):
            pairs = zip(node.body, node.body[1:], strict=False)
            found[node.name] = {
                field.target.id: " ".join(text.value.value.split())
                for field, text in pairs
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            }
    return found


def pages() -> Iterator[str]:
    """The document, piece by piece."""
    yield INTRO
    for topic, what in TOPICS.items():
        yield f"\n## `{topic}`\n\n{what}\n"
        for event in CATALOGUE:
            if topic == event.TOPIC:
                yield from _event(event)


def _event(event: type[Event]) -> Iterator[str]:
    yield f"\n### {event.__name__}\n\n{sentence(event)} Version {event.VERSION}.\n\n"
    yield "| field | type | what |\n|---|---|---|\n"
    for field in fields_of(event):
        default = "" if field.required else f"; {_value(field.default)} unless given"
        yield f"| `{field.name}` | {TYPE_NAMES[field.type]}{default} | {field.doc.replace('|', chr(92) + '|')} |\n"


def _value(default: Any) -> str:
    return "empty" if default in ("", b"", ()) else f"{default}"


def text() -> str:
    """The whole document."""
    return "".join(pages())


if __name__ == "__main__":
    sys.stdout.write(text())
