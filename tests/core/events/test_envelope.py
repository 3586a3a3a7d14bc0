"""The envelope: golden bytes of schema version 1, upcasting, and CloudEvents headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.events.catalogue import CATALOGUE, CallEnded, Event, LegRinging, MediaReported
from services.core.events.codec import CodecError, pack, unpack
from services.core.events.envelope import cloud_event_headers, seal, unseal
from services.core.events.upcasting import EventSchema, UnknownEvent
from tests.core.events.strategies import any_event, wire_text

RINGING = LegRinging(leg="b", status=180)

GOLDEN = bytes.fromhex(
    "8a"  # a map of ten
    " a26964 aa312e334063616c6c2d37"  # id: 1.3@call-7
    " a474797065 aa4c656752696e67696e67"  # type: LegRinging
    " a776657273696f6e 01"  # version: 1
    " a36b6579 a663616c6c2d37"  # key: call-7
    " a565706f6368 01"  # epoch: 1
    " a3736571 03"  # seq: 3
    " a474696d65 cb41d9e02e35000000"  # time: 1736489172.0
    " a473697465 a561746c6173"  # site: atlas
    " a46e6f6465 a26e31"  # node: n1
    " a464617461 82 a36c6567 a162 a6737461747573 ccb4"  # data: {leg: b, status: 180}
)
"""Version 1 of the stored schema. These bytes are in people's logs: a test that fails here is a broken promise."""


def test_an_event_is_stored_as_these_bytes() -> None:
    record = seal(RINGING, key="call-7", epoch=1, seq=3, time=1736489172.0, site="atlas", node="n1")
    assert record.value == GOLDEN
    assert (record.topic, record.key, record.epoch, record.seq) == ("pbx.calls", "call-7", 1, 3)


def test_these_bytes_are_read_as_the_event() -> None:
    envelope = unseal(GOLDEN)
    assert envelope.event == RINGING
    assert (envelope.id, envelope.type, envelope.version) == ("1.3@call-7", "LegRinging", 1)
    assert (envelope.key, envelope.epoch, envelope.seq) == ("call-7", 1, 3)
    assert (envelope.time, envelope.site, envelope.node) == (1736489172.0, "atlas", "n1")


@given(any_event, wire_text, st.integers(1, 2**63), st.integers(1, 2**63), st.floats(0, 4e9))
def test_whatever_is_sealed_opens_to_the_same_bytes(event: Event, key: str, epoch: int, seq: int, time: float) -> None:
    value = seal(event, key=key, epoch=epoch, seq=seq, time=time).value
    opened = unseal(value)
    assert type(opened.event) is type(event)
    assert seal(opened.event, key=opened.key, epoch=epoch, seq=seq, time=time).value == value


def test_ids_of_different_events_differ_whatever_their_keys_hold() -> None:
    places = [("7@x", 1, 2), ("x", 1, 27), ("@x", 1, 27), ("x", 12, 7), ("x", 1, 2)]
    assert len({seal(RINGING, key=key, epoch=e, seq=s, time=0.0).value for key, e, s in places}) == len(places)
    assert len({unseal(seal(RINGING, key=k, epoch=e, seq=s, time=0.0).value).id for k, e, s in places}) == len(places)


def test_a_type_that_only_a_newer_program_knows_is_kept_as_it_is() -> None:
    envelope = unseal(_rewritten(type="CallTeleported", data={"to": "moon"}))
    assert envelope.event == UnknownEvent(type="CallTeleported", version=1, data={"to": "moon"})


def test_a_newer_version_of_a_known_type_is_not_taken_for_the_old_meaning() -> None:
    envelope = unseal(_rewritten(version=2))
    assert isinstance(envelope.event, UnknownEvent)
    assert envelope.event.version == 2


@pytest.mark.parametrize("field", ["id", "type", "version", "key", "epoch", "seq", "time", "data"])
def test_an_envelope_without_one_of_its_fields_is_a_codec_error(field: str) -> None:
    wire = unpack(GOLDEN)
    del wire[field]
    with pytest.raises(CodecError):
        unseal(pack(wire))


@pytest.mark.parametrize("value", [b"", GOLDEN[:-1], pack(7), pack({}), pack([GOLDEN])])
def test_what_is_no_envelope_is_a_codec_error(value: bytes) -> None:
    with pytest.raises(CodecError):
        unseal(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Event):
    """An event whose meaning changed twice: inches, then centimetres, then a unit of its own."""

    VERSION: ClassVar[int] = 3
    length: float
    unit: str


def _to_centimetres(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"length": data["length"] * 2.54}


def _to_named_unit(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**data, "unit": "cm"}


MEASURED = EventSchema([Measured], {("Measured", 1): _to_centimetres, ("Measured", 2): _to_named_unit})


@pytest.mark.parametrize(
    ("version", "data", "length"),
    [(1, {"length": 2.0}, 5.08), (2, {"length": 2.0}, 2.0), (3, {"length": 2.0, "unit": "cm"}, 2.0)],
)
def test_an_old_version_is_upcast_step_by_step(version: int, data: Mapping[str, Any], length: float) -> None:
    assert MEASURED.decode("Measured", version, data) == Measured(length=length, unit="cm")


def test_an_old_version_without_an_upcaster_is_a_codec_error() -> None:
    with pytest.raises(CodecError, match="no upcaster"):
        EventSchema([Measured], {}).decode("Measured", 1, {})


def test_the_headers_are_those_of_cloudevents() -> None:
    headers = dict(cloud_event_headers(unseal(GOLDEN)))
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"1.3@call-7",
        "ce_type": b"pbx.LegRinging.v1",
        "ce_source": b"/sites/atlas/nodes/n1",
        "ce_time": b"2025-01-10T06:06:12.000000Z",
        "content-type": b"application/msgpack",
    }


def test_the_source_of_an_odd_node_is_still_a_uri_reference() -> None:
    value = seal(RINGING, key="k", epoch=1, seq=1, time=0.0, site="a/b", node="[::1]:5060").value
    assert dict(cloud_event_headers(unseal(value)))["ce_source"] == b"/sites/a%2Fb/nodes/%5B%3A%3A1%5D%3A5060"


def test_names_of_the_catalogue_are_unique_and_every_event_has_a_topic() -> None:
    assert len({cls.__name__ for cls in CATALOGUE}) == len(CATALOGUE)
    assert {cls.TOPIC for cls in CATALOGUE} == {"pbx.calls", "pbx.registrations"}


def test_whole_numbers_where_fractions_are_meant_are_read() -> None:
    report = MediaReported(
        leg="a",
        family="ip6",
        packets_received=1,
        packets_sent=1,
        bytes_received=1,
        bytes_sent=1,
        packets_lost=0,
        jitter_ms=2,
    )
    value = seal(report, key="k", epoch=1, seq=1, time=7).value
    assert unseal(value).event == report


def test_an_event_that_cannot_be_stored_is_refused_when_sealed() -> None:
    with pytest.raises(OverflowError):
        seal(CallEnded(disposition="", cause=2**70, reason="", by=""), key="k", epoch=1, seq=1, time=0.0)
    with pytest.raises(UnicodeEncodeError):
        seal(LegRinging(leg="\ud800", status=1), key="k", epoch=1, seq=1, time=0.0)


def _rewritten(**fields: Any) -> bytes:
    return pack({**unpack(GOLDEN), **fields})
