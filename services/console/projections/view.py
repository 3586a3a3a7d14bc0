"""What a projection is: a fold over the events of a key, and rows to show for what it led to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.core.events.envelope import Envelope

S = TypeVar("S")

Row = Mapping[str, Any]
"""What is shown: text, numbers, None and lists of those, by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Generic[S]):
    """A projection, as data. Every function is pure and never fails on any sequence of events."""

    name: str
    topic: str
    state: type[S]
    """A dataclass that `codec_of` understands."""
    fold: Callable[[S | None, Envelope], S | None]
    """The state after an event; None when there is nothing to know (any more)."""
    place: Callable[[S], float | None]
    """Where the rows come among the others, lowest first; None while there is nothing to show."""
    rows: Callable[[str, S], list[Row]]
    """The rows of a key."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[S]):
    """How far a key has been read, and what that led to."""

    epoch: int
    seq: int
    state: S | None


def advance(view: View[S], kept: Kept[S] | None, envelope: Envelope) -> Kept[S] | None:
    """Fold one event more; None when it was seen before, or comes from an owner that was replaced.

    The events of a key come in order, so everything up to the last one's (epoch, seq) has been seen.
    """
    if kept is not None and (envelope.epoch, envelope.seq) <= (kept.epoch, kept.seq):
        return None
    return Kept(envelope.epoch, envelope.seq, view.fold(kept.state if kept is not None else None, envelope))
