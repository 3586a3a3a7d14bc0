"""The codec: what is packed comes back, whoever wrote it and whenever."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.events.catalogue import CATALOGUE, Event
from services.core.events.codec import CodecError, codec_of, pack, unpack
from tests.core.events.strategies import event_of, wire_text

Tag = NewType("Tag", str)


class Mood(enum.Enum):
    CALM = "calm"
    CROSS = "cross"


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


@dataclass(frozen=True, slots=True)
class Circle:
    centre: Point
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """One field of every type that the codec understands."""

    tag: Tag
    mood: Mood = Mood.CALM
    word: Literal["a", "b"] = "a"
    maybe: Point | None = None
    pair: tuple[str, Point] = ("", Point(0))
    points: tuple[Point, ...] = ()
    plain: tuple[int, ...] = ()
    items: list[Mood] = field(default_factory=list)
    names: frozenset[str] = frozenset()
    table: Mapping[str, Point] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    shape: Point | Circle | str = ""
    child: Everything | None = None


FULL = Everything(
    tag=Tag("t"),
    mood=Mood.CROSS,
    word="b",
    maybe=Point(1, 2),
    pair=("p", Point(3)),
    points=(Point(4), Point(5)),
    plain=(1, 2),
    items=[Mood.CALM],
    names=frozenset({"z", "a"}),
    table={"k": Point(6)},
    facts={"f": "g"},
    shape=Circle(Point(7), 1.5),
    child=Everything(tag=Tag("c"), shape=Point(8)),
)


@pytest.mark.parametrize("cls", CATALOGUE, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_every_event_of_the_catalogue_comes_back_as_it_was(cls: type[Event], data: st.DataObject) -> None:
    event = data.draw(event_of(cls))
    packed = codec_of(cls).pack(event)
    assert codec_of(cls).pack(codec_of(cls).unpack(packed)) == packed
    assert _bytes_of(codec_of(cls).unpack(packed)) == _bytes_of(event)


def test_nested_values_of_every_type_come_back_as_they_were() -> None:
    codec = codec_of(Everything)
    assert codec.unpack(codec.pack(FULL)) == FULL
    least = Everything(tag=Tag(""))
    assert codec.unpack(codec.pack(least)) == least


def test_equal_sets_are_equal_bytes() -> None:
    names = [f"n{number}" for number in range(50)]
    codec = codec_of(Everything)
    one = codec.pack(Everything(tag=Tag(""), names=frozenset(names)))
    assert codec.pack(Everything(tag=Tag(""), names=frozenset(reversed(names)))) == one


def test_fields_of_a_newer_writer_are_left_out() -> None:
    assert codec_of(Point).unpack(pack({"x": 1, "y": 2, "z": 3})) == Point(1, 2)
    assert codec_of(Circle).unpack(pack({"centre": {"x": 1, "w": 9}, "radius": 2.0, "colour": "red"})) == Circle(
        Point(1), 2.0
    )


def test_fields_an_older_writer_did_not_know_take_their_defaults() -> None:
    assert codec_of(Point).unpack(pack({"x": 1})) == Point(1, 0)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\xc1",
        pack({"x": 1})[:-1],
        pack({"x": 1}) + b"\x00",
        pack([1, 2]),
        pack({"y": 1}),
        pack({1: 2}),
        b"\x91" * 10000,
    ],
    ids=["empty", "reserved", "cut", "trailing", "array", "no required field", "number as name", "deep"],
)
def test_damaged_bytes_are_a_codec_error(stored: bytes) -> None:
    with pytest.raises(CodecError):
        codec_of(Point).unpack(stored)


@pytest.mark.parametrize(
    "stored",
    [
        {"tag": "t", "mood": "glad"},
        {"tag": "t", "maybe": 7},
        {"tag": "t", "pair": ["p"]},
        {"tag": "t", "shape": ["X", {}]},
    ],
)
def test_values_of_another_type_are_a_codec_error(stored: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        codec_of(Everything).unpack(pack(stored))


def test_a_class_that_cannot_be_stored_is_refused_when_its_codec_is_made() -> None:
    @dataclass
    class Bad:
        thing: object
        other: complex

    with pytest.raises(TypeError, match="complex"):
        codec_of(Bad)
    with pytest.raises(TypeError, match="not a dataclass"):
        codec_of(int)


@given(wire_text)
def test_text_keeps_the_bytes_it_came_from(text: str) -> None:
    back = unpack(pack(text))
    assert back.encode("utf-8", "surrogateescape") == text.encode("utf-8", "surrogateescape")


@given(st.binary(max_size=200))
def test_any_bytes_either_unpack_or_are_a_codec_error(data: bytes) -> None:
    try:
        unpack(data)
    except CodecError as error:
        assert "msgpack" in str(error)


def test_what_is_packed_is_ordinary_msgpack() -> None:
    assert msgpack.unpackb(codec_of(Circle).pack(Circle(Point(1, 2), 0.5))) == {
        "centre": {"x": 1, "y": 2},
        "radius": 0.5,
    }


def _bytes_of(event: Event) -> list[Any]:
    """The fields, text as bytes: two surrogates that make a character together read back as that character."""

    def raw(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(raw, value))
        return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value

    return [raw(getattr(event, name)) for name in type(event).__dataclass_fields__]
