"""docs/asyncapi.yaml, made from the catalogue: `python -m services.core.events.asyncapi > FILE`.

AsyncAPI 3.0. Payload schemas describe the msgpack maps in the terms of JSON Schema.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from services.core.events.catalogue import CATALOGUE, Event
from services.core.events.document import TOPICS, fields_of, sentence
from services.core.events.envelope import CONTENT_TYPE

HEADER = "# Made by `make docs` from services/core/events/catalogue.py; edit that. A test compares.\n"

Tree = Mapping[str, Any]

_SCHEMAS: Mapping[Any, Tree] = {
    str: {"type": "string"},
    bytes: {"type": "string", "format": "binary"},
    int: {"type": "integer"},
    float: {"type": "number"},
    tuple[str, ...]: {"type": "array", "items": {"type": "string"}},
}

_HEADERS: Tree = {
    "type": "object",
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "description": "EPOCH.SEQ@KEY"},
        "ce_type": {"type": "string", "description": "pbx.TYPE.vVERSION"},
        "ce_source": {"type": "string", "format": "uri-reference", "description": "/sites/SITE/nodes/NODE"},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"type": "string", "const": CONTENT_TYPE},
    },
}


def document() -> Tree:
    """The document as a tree of plain values."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Events of the PBX",
            "version": "1.0.0",
            "description": "Every fact of a call and of a registration. See events.md for the rules of reading them.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {_channel(topic): _channel_of(topic, what) for topic, what in TOPICS.items()},
        "operations": {
            f"read_{_channel(topic)}": {"action": "receive", "channel": {"$ref": f"#/channels/{_channel(topic)}"}}
            for topic in TOPICS
        },
        "components": {
            "messages": {event.__name__: _message(event) for event in CATALOGUE},
            "schemas": {"headers": _HEADERS, **{event.__name__: _data(event) for event in CATALOGUE}},
        },
    }


def text() -> str:
    """The whole document, in YAML."""
    return HEADER + "".join(_yaml(document(), 0))


def _channel(topic: str) -> str:
    return topic.replace(".", "_")


def _channel_of(topic: str, what: str) -> Tree:
    names = [event.__name__ for event in CATALOGUE if topic == event.TOPIC]
    return {
        "address": topic,
        "description": what,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def _message(event: type[Event]) -> Tree:
    return {
        "name": event.__name__,
        "summary": sentence(event),
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {
            "type": "object",
            "required": ["id", "type", "version", "key", "epoch", "seq", "time", "data"],
            "properties": {
                "id": {"type": "string"},
                "type": {"type": "string", "const": event.__name__},
                "version": {"type": "integer", "const": event.VERSION},
                "key": {"type": "string"},
                "epoch": {"type": "integer", "minimum": 1},
                "seq": {"type": "integer", "minimum": 1},
                "time": {"type": "number", "description": "Unix seconds"},
                "site": {"type": "string"},
                "node": {"type": "string"},
                "data": {"$ref": f"#/components/schemas/{event.__name__}"},
            },
        },
    }


def _data(event: type[Event]) -> Tree:
    fields = fields_of(event)
    properties: dict[str, Tree] = {}
    for field in fields:
        schema = dict(_SCHEMAS[field.type])
        if field.doc:
            schema["description"] = field.doc
        if not field.required and isinstance(field.default, (str, int, float)):
            schema["default"] = field.default
        properties[field.name] = schema
    required = [field.name for field in fields if field.required]
    return {"type": "object", "required": required, "properties": properties}


def _yaml(value: Any, depth: int) -> Iterator[str]:
    """Block style; scalars as JSON writes them, which is YAML too."""
    indent = "  " * depth
    if isinstance(value, Mapping):
        for name, inner in value.items():
            key = name if name.replace("_", "").isalnum() else json.dumps(name)
            if isinstance(inner, (Mapping, list)) and inner:
                yield f"{indent}{key}:\n"
                yield from _yaml(inner, depth + 1)
            else:
                yield f"{indent}{key}: {json.dumps(inner, ensure_ascii=False)}\n"
    else:
        for item in value:
            yield f"{indent}- {json.dumps(item, ensure_ascii=False)}\n"


if __name__ == "__main__":
    sys.stdout.write(text())
