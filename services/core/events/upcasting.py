"""From the stored form of an event, of any age, to the class of today.

The stored form is (type, version, map). Within a version fields are only added, with defaults, so the codec alone
reads it. When a change of meaning made a new `VERSION`, an upcaster per (type, old version) turns the old map into the
next version's; they are chained. A type or version that only a newer program knows becomes an `UnknownEvent`: it can be
shown and passed on, and a fold skips it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.core.events.catalogue import CATALOGUE, Event
from services.core.events.codec import CodecError, DataclassCodec, codec_of

Upcaster = Callable[[Mapping[str, Any]], Mapping[str, Any]]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(type, version) -> function from that version's map to the next one's. No schema has a second version yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(Event):
    """A fact of a kind, or of a meaning, that this program is too old to know."""

    type: str
    version: int
    data: Mapping[str, Any]


class EventSchema:
    """The event classes by name, their codecs and the upcasters to them."""

    __slots__ = ("_codecs", "_upcasters")

    def __init__(self, events: Iterable[type[Event]], upcasters: Mapping[tuple[str, int], Upcaster]) -> None:
        self._codecs: dict[str, DataclassCodec[Event]] = {cls.__name__: codec_of(cls) for cls in events}
        self._upcasters = dict(upcasters)

    def decode(self, type_name: str, version: int, data: Mapping[str, Any]) -> Event:
        """The event stored so. Raises CodecError when the map is not one of that type and version."""
        codec = self._codecs.get(type_name)
        if codec is None or version > codec.cls.VERSION:
            return UnknownEvent(type=type_name, version=version, data=data)
        while version < codec.cls.VERSION:
            upcast = self._upcasters.get((type_name, version))
            if upcast is None:
                raise CodecError(f"{type_name} version {version} cannot be read: no upcaster")
            data, version = upcast(data), version + 1
        return codec.from_map(data)


SCHEMA = EventSchema(CATALOGUE, UPCASTERS)
"""The events of this program."""
