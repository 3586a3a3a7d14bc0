"""The registrar over a real store: what it answers, what it keeps, and what happens when others write too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from services.core.events.catalogue import ContactBound, ContactUnbound, RegistrationEvent
from services.core.events.envelope import unseal
from services.core.store.port import Change, Conflict, Store, StoreError, Version
from services.core.store.sqlite import SqliteStore
from services.registrar import RegisterOutcome, Registrar, Rules
from services.registrar import service as service_module
from tests.registrar.facts import NOW, read, register

ONE, TWO, THREE = "<sip:1@[2001:db8::1]>", "<sip:2@10.0.0.2:5062>", "<sip:3@h>"
AWKWARD_AORS = [
    "a%3Ab@[2001:db8::1]", "a%3ab@h", "*@h", "[x]@h", "{dev}@h", "a%0D%0Ab@h", "a%00b@h", "dev1@h:5060", "日本@h",
    "\udcff@h", "registration", "dev1'; DROP TABLE state; --", " ", "a*", "a?",
]  # fmt: skip


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db")
    yield store
    await store.close()


@pytest.fixture
def registrar(store: Store, clock: Clock) -> Registrar:
    return Registrar(store, clock)


def values(outcome: RegisterOutcome, name: str) -> list[str]:
    return [value for header, value in outcome.headers if header == name]


async def bound(registrar: Registrar, aor: str = "dev1") -> list[str]:
    return [binding.contact for binding in await registrar.lookup(aor)]


async def events(store: Store) -> list[RegistrationEvent]:
    records = [record for row in await store.outbox(1000) for record in row.records]
    found = [unseal(record.value).event for record in records]
    assert all(isinstance(event, RegistrationEvent) for event in found)
    return [event for event in found if isinstance(event, RegistrationEvent)]


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_answer_lists_every_binding_with_the_seconds_it_has_left(registrar: Registrar, clock: Clock) -> None:
    await registrar.register("dev1", register(f'{ONE};q=0.5;+sip.instance="<urn:uuid:1>";reg-id=1'))
    clock.now += 1000.4
    outcome = await registrar.register("dev1", register(f"{TWO};expires=60", cseq=2))
    assert (outcome.status, outcome.reason, outcome.result) == (200, "OK", "bound")
    assert values(outcome, "Contact") == [
        '<sip:1@[2001:db8::1]>;expires=2600;q=0.5;+sip.instance="<urn:uuid:1>";reg-id=1',
        "<sip:2@10.0.0.2:5062>;expires=60",
    ]
    assert [binding.contact for binding in outcome.bindings] == ["sip:1@[2001:db8::1]", "sip:2@10.0.0.2:5062"]


async def test_answer_carries_the_path_and_the_date(registrar: Registrar) -> None:
    outcome = await registrar.register("dev1", register(ONE, path=("<sip:p1;lr>", "<sip:p2;lr>")))
    assert values(outcome, "Path") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert values(outcome, "Date") == ["Fri, 15 Jan 2027 08:00:00 GMT"]


async def test_query_is_answered_with_what_is_bound(registrar: Registrar, store: Store) -> None:
    await registrar.register("dev1", register(ONE))
    outcome = await registrar.register("dev1", register())
    assert (outcome.status, outcome.result) == (200, "queried")
    assert values(outcome, "Contact") == ["<sip:1@[2001:db8::1]>;expires=3600"]
    assert len(await events(store)) == 1


async def test_second_before_the_end_is_never_told_as_zero(registrar: Registrar, clock: Clock) -> None:
    await registrar.register("dev1", register(ONE))
    clock.now += 3599.9
    assert values(await registrar.register("dev1", register()), "Contact") == ["<sip:1@[2001:db8::1]>;expires=1"]


async def test_refusals_tell_the_phone_what_to_do(registrar: Registrar) -> None:
    brief = await registrar.register("dev1", register(ONE, expires=5))
    assert (brief.status, brief.headers, brief.result) == (423, (("Min-Expires", "60"),), "too_brief")
    full = await registrar.register("dev1", register(ONE, TWO), Rules(max_contacts=1))
    assert (full.status, full.result) == (403, "full")
    star = await registrar.register("dev1", register("*"))
    assert (star.status, star.result) == (400, "bad_star")
    await registrar.register("dev1", register(ONE, cseq=5))
    late = await registrar.register("dev1", register(ONE, cseq=5))
    assert (late.status, late.result) == (500, "out_of_order")
    assert await bound(registrar) == ["sip:1@[2001:db8::1]"]


async def test_results_are_counted(registrar: Registrar) -> None:
    await registrar.register("dev1", register(ONE))
    await registrar.register("dev1", register(ONE, cseq=2))
    await registrar.register("dev1", register(ONE, cseq=2))
    await registrar.register("dev1", register())
    await registrar.register("dev1", register(ONE, cseq=3, expires=0))
    await registrar.register("dev1", register("*", cseq=4, expires=0))
    assert registrar.results == {"bound": 1, "refreshed": 1, "out_of_order": 1, "queried": 1, "removed": 2}


async def test_message_off_the_wire_is_registered_whole(registrar: Registrar) -> None:
    uri = "sip:%64ev1@[2001:DB8::9]:49152;transport=udp;x=%22?a=%5B"
    outcome = await registrar.register("dev1", read(f'Contact: "d, e" <{uri}>;expires=120', "Path: <sip:p;lr>"))
    assert values(outcome, "Contact") == [f"<{uri}>;expires=120"]
    (binding,) = await registrar.lookup("dev1")
    assert (binding.contact, binding.path) == (uri, ("<sip:p;lr>",))
    assert (binding.source, binding.local, binding.transport) == ("[2001:db8::9]:49152", "[2001:db8::5]:5060", "udp")


# --- lookup ----------------------------------------------------------------------------------------------------------


async def test_lookup_gives_highest_q_first_then_the_newest(registrar: Registrar) -> None:
    for number, contact in enumerate(("<sip:a@h>;q=0.5", "<sip:b@h>", "<sip:c@h>;q=0.5", "<sip:d@h>")):
        await registrar.register("dev1", register(contact, call_id=str(number)))
    assert await bound(registrar) == ["sip:d@h", "sip:b@h", "sip:c@h", "sip:a@h"]


async def test_lookup_leaves_out_what_expired(registrar: Registrar, clock: Clock) -> None:
    await registrar.register("dev1", register(f"{ONE};expires=60", TWO))
    clock.now += 60
    assert await bound(registrar) == ["sip:2@10.0.0.2:5062"]
    assert await bound(registrar, "nobody") == []


async def test_addresses_of_record_never_fall_together(registrar: Registrar, store: Store, clock: Clock) -> None:
    for number, aor in enumerate(AWKWARD_AORS):
        outcome = await registrar.register(aor, register(f"<sip:{number}@h>"))
        assert outcome.status == 200
    other = Registrar(store, clock)
    assert await other.start() == len(AWKWARD_AORS)
    for number, aor in enumerate(AWKWARD_AORS):
        assert await bound(registrar, aor) == await bound(other, aor) == [f"sip:{number}@h"]


# --- events ----------------------------------------------------------------------------------------------------------


async def test_every_change_is_an_event_in_the_stream_of_its_aor(registrar: Registrar, store: Store) -> None:
    await registrar.register("dev1", register(ONE))
    await registrar.register("dev2", register(TWO))
    await registrar.register("dev1", register(ONE, cseq=2))
    await registrar.register("dev1", register("*", cseq=3, expires=0))
    await registrar.register("dev1", register(THREE, cseq=4))
    rows = await store.outbox(100)
    told = [
        (unseal(record.value).key, unseal(record.value).seq, unseal(record.value).type)
        for row in rows
        for record in row.records
    ]
    assert told == [
        ("dev1", 1, "ContactBound"),
        ("dev2", 1, "ContactBound"),
        ("dev1", 2, "ContactRefreshed"),
        ("dev1", 3, "ContactUnbound"),
        ("dev1", 4, "ContactBound"),
    ]


async def test_refused_request_leaves_no_event(registrar: Registrar, store: Store) -> None:
    await registrar.register("dev1", register(ONE, f"{TWO};expires=1"))
    assert await events(store) == []
    assert await store.load("registration", "dev1") is None


# --- expiry ----------------------------------------------------------------------------------------------------------


async def test_binding_nobody_refreshed_is_ended_with_an_event(
    registrar: Registrar, store: Store, clock: Clock
) -> None:
    await registrar.register("dev1", register(f"{ONE};expires=60", TWO))
    await registrar.register("dev2", register(f"{THREE};expires=60"))
    assert registrar.bindings_by_family == {"ip4": 0, "ip6": 3}
    clock.now += 59
    assert await registrar.expire_due() == 0
    clock.now += 1
    assert registrar.next_expiry == clock.now
    assert await registrar.expire_due() == 2
    assert await registrar.expire_due() == 0
    ended = [event for event in await events(store) if isinstance(event, ContactUnbound)]
    assert [(event.contact, event.reason) for event in ended] == [
        ("sip:1@[2001:db8::1]", "expired"),
        ("sip:3@h", "expired"),
    ]
    assert await store.load("registration", "dev2") is None
    assert registrar.bindings_by_family == {"ip4": 0, "ip6": 1}
    assert registrar.results["expired"] == 2
    clock.now += 3540
    assert await registrar.expire_due() == 1
    assert registrar.next_expiry is None


async def test_refreshed_binding_is_not_ended(registrar: Registrar, store: Store, clock: Clock) -> None:
    for cseq in range(1, 20):
        await registrar.register("dev1", register(ONE, cseq=cseq, expires=60))
        clock.now += 59
        assert await registrar.expire_due() == 0
    clock.now += 1
    assert await registrar.expire_due() == 1


async def test_thousands_end_at_once(registrar: Registrar, clock: Clock) -> None:
    for number in range(600):
        await registrar.register(f"dev{number}", register(ONE))
    clock.now += 3600
    assert await registrar.expire_due() == 600
    assert registrar.bindings_by_family == {"ip4": 0, "ip6": 0}


async def test_restarted_registrar_ends_what_the_old_one_bound(
    registrar: Registrar, store: Store, clock: Clock
) -> None:
    await registrar.register("dev1", register(ONE))
    await registrar.register("dev2", register(TWO))
    restarted = Registrar(store, clock)
    assert await restarted.start() == 2
    assert restarted.bindings_by_family == {"ip4": 0, "ip6": 2}
    clock.now += 3600
    assert await restarted.expire_due() == 2
    assert await registrar.expire_due() == 0
    assert await bound(registrar) == []


async def test_binding_refreshed_elsewhere_stays(registrar: Registrar, store: Store, clock: Clock) -> None:
    await registrar.register("dev1", register(ONE))
    clock.now += 3000
    await Registrar(store, clock).register("dev1", register(ONE, cseq=2))
    clock.now += 600
    assert await registrar.expire_due() == 0
    assert await bound(registrar) == ["sip:1@[2001:db8::1]"]
    clock.now += 3000
    assert await registrar.expire_due() == 1


# --- several registrars on one store ---------------------------------------------------------------------------------


async def test_what_one_registrar_binds_the_other_finds_at_once(store: Store, clock: Clock) -> None:
    one, other = Registrar(store, clock), Registrar(store, clock)
    await one.register("dev1", register(ONE))
    assert await bound(other) == ["sip:1@[2001:db8::1]"]
    await other.register("dev1", register("*", call_id="other", expires=0))
    assert await bound(one) == []
    await one.register("dev1", register(TWO, call_id="third"))
    assert await bound(other) == await bound(one) == ["sip:2@10.0.0.2:5062"]


async def test_old_memory_never_refuses_and_never_forgets(store: Store, clock: Clock) -> None:
    one, other = Registrar(store, clock, Rules(max_contacts=2)), Registrar(store, clock, Rules(max_contacts=2))
    await one.register("dev1", register(ONE, TWO))
    await other.register("dev1", register(ONE, cseq=2, expires=0))
    third = await one.register("dev1", register(THREE, call_id="new phone"))
    assert third.status == 200
    assert await bound(one) == ["sip:3@h", "sip:2@10.0.0.2:5062"]
    late = await other.register("dev1", register(THREE, call_id="new phone"))
    assert late.status == 500
    query = await other.register("dev1", register())
    assert len(values(query, "Contact")) == 2


async def test_registrations_at_the_same_moment_are_both_kept(registrar: Registrar, store: Store, clock: Clock) -> None:
    other = Registrar(store, clock)
    outcomes = await asyncio.gather(
        *[
            (registrar, other)[number % 2].register("dev1", register(f"<sip:{number}@h>", call_id=str(number)))
            for number in range(10)
        ]
    )
    assert [outcome.status for outcome in outcomes] == [200] * 10
    assert sorted(await bound(registrar)) == [f"sip:{number}@h" for number in range(10)]
    numbers = [unseal(record.value).seq for row in await store.outbox(100) for record in row.records]
    assert numbers == list(range(1, 11))


async def test_fifty_at_the_same_moment_take_turns_and_none_is_refused(registrar: Registrar) -> None:
    phones = [register("<sip:one@h>", call_id=str(number)) for number in range(50)]
    outcomes = await asyncio.gather(*[registrar.register("dev1", phone) for phone in phones])
    assert [outcome.status for outcome in outcomes] == [200] * 50
    assert len(registrar._turns) == 0


async def test_memory_is_bounded(registrar: Registrar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "MAX_CACHED", 3)
    for number in range(10):
        await registrar.register(f"dev{number}", register(ONE))
    assert len(registrar._known) == 3
    for number in range(10):
        assert await bound(registrar, f"dev{number}") == ["sip:1@[2001:db8::1]"]
    assert registrar.bindings_by_family == {"ip4": 0, "ip6": 10}


# --- when the store fails --------------------------------------------------------------------------------------------


class BadStore(SqliteStore):
    """A store that fails as told."""

    failing = False
    conflicting = 0

    async def commit(self, changes: Sequence[Change]) -> list[Version | Conflict]:
        if self.failing:
            raise StoreError("disk full")
        if self.conflicting:
            self.conflicting -= 1
            return [Conflict(Version(1, 99)) for _ in changes]
        return await super().commit(changes)


@pytest.fixture
async def bad_store(tmp_path: Path) -> AsyncIterator[BadStore]:
    store = BadStore(tmp_path / "bad.db")
    yield store
    await store.close()


async def test_registration_that_cannot_be_kept_is_500_and_changes_nothing(bad_store: BadStore, clock: Clock) -> None:
    registrar = Registrar(bad_store, clock)
    bad_store.failing = True
    outcome = await registrar.register("dev1", register(ONE))
    assert (outcome.status, outcome.result) == (500, "store_error")
    assert values(outcome, "Retry-After")
    assert await bound(registrar) == []
    bad_store.failing = False
    assert (await registrar.register("dev1", register(ONE))).status == 200


async def test_conflicts_are_tried_again_and_not_for_ever(bad_store: BadStore, clock: Clock) -> None:
    registrar = Registrar(bad_store, clock)
    bad_store.conflicting = 3
    assert (await registrar.register("dev1", register(ONE))).status == 200
    bad_store.conflicting = 1000
    assert (await registrar.register("dev1", register(ONE, cseq=2))).status == 500
    bad_store.conflicting = 0
    assert await bound(registrar) == ["sip:1@[2001:db8::1]"]


async def test_expiry_the_store_did_not_take_is_tried_again(bad_store: BadStore, clock: Clock) -> None:
    registrar = Registrar(bad_store, clock)
    await registrar.register("dev1", register(ONE))
    clock.now += 3600
    bad_store.failing = True
    with pytest.raises(StoreError):
        await registrar.expire_due()
    bad_store.failing, bad_store.conflicting = False, 1
    assert await registrar.expire_due() == 1


async def test_unreadable_bindings_are_overwritten_by_the_next_registration(
    store: Store, registrar: Registrar, clock: Clock
) -> None:
    await registrar.register("dev1", register(ONE))
    (version, _) = await store.load("registration", "dev1") or (None, None)
    assert version is not None
    event = ContactUnbound(contact="sip:x", binding="x", reason="removed")
    damaged = Change(
        kind="registration", key="dev1", expected=version, epoch=1, events=(event,), snapshot=b"\xc1", time=NOW
    )
    await store.commit([damaged])
    other = Registrar(store, clock)
    assert await other.start() == 1
    assert await bound(other) == []
    assert (await other.register("dev1", register(TWO))).status == 200
    assert await bound(registrar) == ["sip:2@10.0.0.2:5062"]
    assert isinstance((await events(store))[-1], ContactBound)
