"""Hypothesis strategies for every event of the catalogue."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from hypothesis import strategies as st

from services.core.events.catalogue import CATALOGUE, Event

wire_text = st.one_of(st.text(max_size=20), st.binary(max_size=20).map(lambda b: b.decode("utf-8", "surrogateescape")))
"""Text as the SIP parser makes it: undecodable bytes are in it as surrogates."""

BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: wire_text,
    bytes: st.binary(max_size=40),
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False),
    tuple[str, ...]: st.lists(wire_text, max_size=3).map(tuple),
}


def event_of(cls: type[Event]) -> st.SearchStrategy[Event]:
    """Any event of a class, sometimes with its defaults."""
    hints = typing.get_type_hints(cls)
    required = {f.name: BY_TYPE[hints[f.name]] for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
    optional = {f.name: BY_TYPE[hints[f.name]] for f in dataclasses.fields(cls) if f.name not in required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: cls(**fields))


any_event = st.sampled_from(CATALOGUE).flatmap(event_of)
