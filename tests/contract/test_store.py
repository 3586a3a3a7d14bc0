"""What every store promises (`services/core/store/port.py`), whichever adapter keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.events.catalogue import CallEnded, ContactUnbound, Event, LegRinging
from services.core.events.envelope import Record, unseal
from services.core.store.port import Change, Conflict, OutboxRow, Store, StoreError, Version
from services.core.store.sqlite import SqliteStore

NOTHING = Version(0, 0)
RINGING = LegRinging(leg="b", status=180)
ENDED = CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="a")
UNBOUND = ContactUnbound(contact="sip:a@b", binding="1", reason="removed")
AWKWARD_KEYS = ["a:b@[2001:db8::1]", "{x}", "a*?[b]", "日本", "\udcff\udc80", " ", "a%2Fb", "'; --"]

OpenStore = Callable[[Path], Store]
ADAPTERS: dict[str, OpenStore] = {
    "sqlite": lambda path: SqliteStore(path / "state.db", site="atlas", node="n1"),
}


@pytest.fixture(params=ADAPTERS)
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    return ADAPTERS[request.param]


@pytest.fixture
async def store(open_store: OpenStore, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path)
    yield store
    await store.close()


def change(
    key: str = "k",
    expected: Version = NOTHING,
    *events: Event,
    epoch: int = 1,
    snapshot: bytes | None = b"s",
    kind: str = "call",
    time: float = 1000.0,
) -> Change:
    return Change(
        kind=kind, key=key, expected=expected, epoch=epoch, events=events or (RINGING,), snapshot=snapshot, time=time
    )


async def kept(store: Store, one: Change) -> Version:
    """Commit a change that must be accepted."""
    (version,) = await store.commit([one])
    assert isinstance(version, Version)
    return version


async def waiting(store: Store) -> list[Record]:
    return [record for row in await store.outbox(10**6) for record in row.records]


async def test_what_was_never_there_is_not_found(store: Store) -> None:
    assert await store.load("call", "k") is None
    assert [item async for item in store.scan("call")] == []
    assert await store.outbox(10) == []
    assert await store.get_value("db", "k") is None


async def test_a_commit_keeps_the_snapshot_and_puts_the_events_in_the_outbox(store: Store) -> None:
    version = await kept(store, change("k", NOTHING, RINGING, ENDED, snapshot=b"\x00state"))
    assert version == Version(1, 2)
    assert await store.load("call", "k") == (Version(1, 2), b"\x00state")
    records = await waiting(store)
    assert [(r.topic, r.key, r.epoch, r.seq) for r in records] == [("pbx.calls", "k", 1, 1), ("pbx.calls", "k", 1, 2)]
    envelope = unseal(records[1].value)
    assert envelope.event == ENDED
    assert (envelope.time, envelope.site, envelope.node, envelope.key, envelope.seq) == (1000.0, "atlas", "n1", "k", 2)


async def test_events_that_waited_for_a_common_commit_keep_their_own_times(store: Store) -> None:
    late = Change(
        kind="call",
        key="k",
        expected=NOTHING,
        epoch=1,
        events=(RINGING, ENDED),
        snapshot=None,
        time=9.0,
        times=(1.5, 9.0),
    )
    await kept(store, late)
    assert [unseal(record.value).time for record in await waiting(store)] == [1.5, 9.0]
    assert (await store.outbox_status()).oldest == 9.0
    wrong = Change(
        kind="call", key="x", expected=NOTHING, epoch=1, events=(RINGING,), snapshot=b"", time=9.0, times=(1.0, 2.0)
    )
    with pytest.raises(ValueError, match="argument"):
        await store.commit([wrong])


async def test_versions_count_the_events_of_a_key(store: Store) -> None:
    version = NOTHING
    for expected in (Version(1, 1), Version(1, 2), Version(1, 3)):
        version = await kept(store, change("k", version))
        assert version == expected
    assert await kept(store, change("other")) == Version(1, 1)


async def test_a_change_of_an_older_version_is_refused_and_keeps_nothing(store: Store) -> None:
    first = await kept(store, change("k", NOTHING, snapshot=b"1"))
    await kept(store, change("k", first, snapshot=b"2"))
    before = await waiting(store)
    assert await store.commit([change("k", first, snapshot=b"3")]) == [Conflict(Version(1, 2))]
    assert await store.load("call", "k") == (Version(1, 2), b"2")
    assert await waiting(store) == before


async def test_creating_what_exists_is_refused(store: Store) -> None:
    await kept(store, change("k"))
    assert await store.commit([change("k")]) == [Conflict(Version(1, 1))]


async def test_changing_what_does_not_exist_is_refused(store: Store) -> None:
    assert await store.commit([change("k", Version(1, 1))]) == [Conflict(NOTHING)]
    assert await waiting(store) == []


async def test_a_new_owner_goes_on_with_a_higher_epoch_and_the_old_one_is_fenced_off(store: Store) -> None:
    old = await kept(store, change("k", NOTHING, epoch=3))
    new = await kept(store, change("k", old, epoch=4))
    assert new == Version(4, 2)
    assert await store.commit([change("k", new, epoch=3)]) == [Conflict(new)]
    assert await store.commit([change("k", old, epoch=3)]) == [Conflict(new)]


@pytest.mark.parametrize("epoch", [0, -1])
async def test_an_epoch_that_is_not_positive_is_a_mistake_of_the_caller(store: Store, epoch: int) -> None:
    with pytest.raises(ValueError, match="epoch"):
        await store.commit([change("k", epoch=epoch)])


async def test_a_snapshot_can_be_replaced_without_events(store: Store) -> None:
    version = await kept(store, change("k"))
    quiet = Change(kind="call", key="k", expected=version, epoch=1, snapshot=b"new", time=0.0)
    assert await store.commit([quiet]) == [version]
    assert await store.load("call", "k") == (version, b"new")
    assert len(await waiting(store)) == 1


async def test_changes_of_a_batch_are_kept_or_refused_each_by_itself(store: Store) -> None:
    taken = await kept(store, change("taken"))
    answers = await store.commit([change("a"), change("taken"), change("b"), change("taken", taken)])
    assert answers == [Version(1, 1), Conflict(taken), Version(1, 1), Version(1, 2)]
    assert [record.key for record in await waiting(store)] == ["taken", "a", "b", "taken"]


async def test_a_later_change_of_a_batch_builds_on_an_earlier_one(store: Store) -> None:
    assert await store.commit([change("k"), change("k", Version(1, 1))]) == [Version(1, 1), Version(1, 2)]


async def test_many_at_once_are_answered_each_with_its_own(store: Store) -> None:
    answers = await asyncio.gather(*[store.commit([change(f"k{n % 50}", NOTHING)]) for n in range(100)])
    assert [type(answer[0]) for answer in answers] == [Version] * 50 + [Conflict] * 50
    assert len(await waiting(store)) == 50


async def test_one_that_cannot_be_stored_fails_alone(store: Store) -> None:
    bad = CallEnded(disposition="", cause=2**80, reason="", by="")
    answers = await asyncio.gather(
        store.commit([change("a")]),
        store.commit([change("half"), change("b", NOTHING, bad)]),
        store.commit([change("c")]),
        return_exceptions=True,
    )
    assert answers[0] == answers[2] == [Version(1, 1)]
    assert isinstance(answers[1], OverflowError)
    assert [record.key for record in await waiting(store)] == ["a", "c"]
    assert await store.load("call", "half") is None


async def test_a_commit_whose_caller_was_cancelled_is_kept(store: Store) -> None:
    task = asyncio.create_task(store.commit([change("k")]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await kept(store, change("after"))
    assert await store.load("call", "k") == (Version(1, 1), b"s")


async def test_a_deleted_aggregate_is_not_found_and_takes_late_facts(store: Store) -> None:
    first = await kept(store, change("k"))
    gone = await kept(store, change("k", first, ENDED, snapshot=None))
    assert await store.load("call", "k") is None
    assert [item async for item in store.scan("call")] == []
    assert await kept(store, change("k", gone, snapshot=None)) == Version(1, 3)
    assert await store.load("call", "k") is None


@pytest.mark.parametrize("kind", ["call", "registration"])
async def test_numbers_of_a_key_go_on_after_a_deletion(store: Store, kind: str) -> None:
    first = await kept(store, change("k", NOTHING, kind=kind))
    await kept(store, change("k", first, kind=kind, snapshot=None))
    assert await kept(store, change("k", NOTHING, kind=kind)) == Version(1, 3)
    places = [(record.epoch, record.seq) for record in await waiting(store)]
    assert len(set(places)) == len(places) == 3


async def test_a_lower_epoch_cannot_bring_back_what_was_deleted(store: Store) -> None:
    first = await kept(store, change("k", NOTHING, epoch=5))
    gone = await kept(store, change("k", first, epoch=5, snapshot=None))
    assert await store.commit([change("k", NOTHING, epoch=4)]) == [Conflict(gone)]


async def test_the_versions_of_long_gone_calls_are_forgotten_and_those_of_addresses_are_not(store: Store) -> None:
    for kind in ("call", "registration"):
        first = await kept(store, change("old", NOTHING, kind=kind, time=0.0))
        await kept(store, change("old", first, kind=kind, snapshot=None, time=0.0))
        for number in range(3):
            other = await kept(store, change(f"new{number}", NOTHING, kind=kind, time=5000.0))
            await kept(store, change(f"new{number}", other, kind=kind, snapshot=None, time=5000.0))
    assert await kept(store, change("old", NOTHING, kind="call")) == Version(1, 1)
    assert await kept(store, change("old", NOTHING, kind="registration")) == Version(1, 3)


async def test_kinds_do_not_mix(store: Store) -> None:
    await kept(store, change("k", NOTHING, kind="call", snapshot=b"c"))
    await kept(store, change("k", NOTHING, UNBOUND, kind="registration", snapshot=b"r"))
    assert await store.load("call", "k") == (Version(1, 1), b"c")
    assert await store.load("registration", "k") == (Version(1, 1), b"r")


async def test_keys_may_hold_any_character(store: Store) -> None:
    for key in AWKWARD_KEYS:
        await kept(store, change(key, NOTHING, snapshot=key.encode("utf-8", "surrogateescape")))
        await store.put_value("db", key, key)
    found = {key: snapshot async for key, _, snapshot in store.scan("call")}
    assert found == {key: key.encode("utf-8", "surrogateescape") for key in AWKWARD_KEYS}
    assert [await store.get_value("db", key) for key in AWKWARD_KEYS] == AWKWARD_KEYS
    assert [record.key for record in await waiting(store)] == AWKWARD_KEYS


async def test_a_scan_finds_everything_however_much_there_is(store: Store) -> None:
    keys = {f"k{number}" for number in range(700)}
    await store.commit([change(key) for key in keys])
    assert {key async for key, _, _ in store.scan("call")} == keys


async def test_the_outbox_gives_the_oldest_first_until_they_are_acknowledged(store: Store) -> None:
    for number in range(5):
        await kept(store, change(f"k{number}"))
    first, second = await store.outbox(2)
    assert [row.records[0].key for row in (first, second)] == ["k0", "k1"]
    assert await store.outbox(2) == [first, second]
    await store.outbox_done(second.position)
    assert [record.key for record in await waiting(store)] == ["k2", "k3", "k4"]


async def test_what_is_committed_after_the_outbox_was_emptied_is_not_acknowledged_by_a_late_repetition(
    store: Store,
) -> None:
    await kept(store, change("old"))
    (row,) = await store.outbox(10)
    await store.outbox_done(row.position)
    await kept(store, change("new"))
    await store.outbox_done(row.position)
    await store.outbox_done(row.position - 1)
    assert [record.key for record in await waiting(store)] == ["new"]


async def test_an_acknowledgement_of_more_than_there_is_does_not_reach_into_the_future(store: Store) -> None:
    await store.outbox_done(10**9)
    await kept(store, change("k"))
    await store.outbox_done(10**9)
    await kept(store, change("new"))
    assert [record.key for record in await waiting(store)] == ["new"]


async def test_the_outbox_tells_how_much_waits_and_since_when(store: Store) -> None:
    assert (await store.outbox_status()).depth == 0
    await kept(store, change("a", time=70.0))
    await kept(store, change("b", time=80.0))
    status = await store.outbox_status()
    assert (status.depth, status.oldest) == (2, 70.0)
    await store.outbox_done((await store.outbox(1))[0].position)
    status = await store.outbox_status()
    assert (status.depth, status.oldest) == (1, 80.0)
    await store.outbox_done((await store.outbox(1))[0].position)
    status = await store.outbox_status()
    assert (status.depth, status.oldest) == (0, 0.0)


async def test_a_commit_ends_the_wait_for_one(store: Store) -> None:
    waiter = asyncio.create_task(store.outbox_wait(60.0))
    await asyncio.sleep(0)
    await kept(store, change("k"))
    async with asyncio.timeout(5):
        await waiter
    await store.outbox_wait(0.0)


async def test_values_are_kept_per_space(store: Store) -> None:
    await store.put_value("db", "k", "1")
    await store.put_value("global", "k", "2")
    await store.put_value("db", "k", "3")
    assert await store.get_value("db", "k") == "3"
    assert await store.get_value("global", "k") == "2"
    await store.delete_value("db", "k")
    await store.delete_value("db", "k")
    assert await store.get_value("db", "k") is None
    assert await store.get_value("global", "k") == "2"


async def test_everything_is_there_after_reopening(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    version = await kept(store, change("k", NOTHING, RINGING, ENDED))
    await store.put_value("db", "k", "v")
    await store.close()
    store = open_store(tmp_path)
    assert await store.load("call", "k") == (version, b"s")
    assert await store.get_value("db", "k") == "v"
    assert [(record.epoch, record.seq) for record in await waiting(store)] == [(1, 1), (1, 2)]
    await store.close()


async def test_closing_keeps_what_was_submitted_and_then_refuses(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    future = store.submit([change("k")])
    await store.close()
    assert await future == [Version(1, 1)]
    with pytest.raises(StoreError):
        await store.commit([change("k2")])
    await store.close()


Step = tuple[str, int, int, bool]


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.integers(0, 3), st.booleans()), min_size=1, max_size=30
    )
)
def test_a_store_behaves_as_the_model(
    adapter: str, steps: list[Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(_compare_with_model(ADAPTERS[adapter](tmp_path_factory.mktemp("model")), steps))


async def _compare_with_model(store: Store, steps: list[Step]) -> None:
    versions: dict[str, Version] = {}
    alive: set[str] = set()
    log: list[tuple[str, int, int]] = []
    for key, epoch, count, keep in steps:
        current = versions.get(key, NOTHING)
        expected = current if key in alive else NOTHING
        one = Change(
            kind="registration",
            key=key,
            expected=expected,
            epoch=epoch,
            events=(UNBOUND,) * count,
            snapshot=b"s" if keep else None,
            time=0.0,
        )
        (answer,) = await store.commit([one])
        if epoch < current.epoch:
            assert answer == Conflict(current)
            continue
        versions[key] = Version(epoch, current.seq + count)
        assert answer == versions[key]
        log += [(key, epoch, current.seq + number + 1) for number in range(count)]
        (alive.add if keep else alive.discard)(key)
        assert (await store.load("registration", key) is not None) == keep
    assert [(record.key, record.epoch, record.seq) for record in await waiting(store)] == log
    rows: list[OutboxRow] = await store.outbox(10**6)
    assert [row.position for row in rows] == sorted({row.position for row in rows})
    await store.close()
