"""The heap of expiries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.registrar.expiry import Expiries
from tests.registrar.facts import NOW, Aor

ONE, TWO = "<sip:1@h>", "<sip:2@h>"


def test_aor_is_due_when_its_first_binding_ends() -> None:
    aor, expiries = Aor(), Expiries()
    aor.ok(f"{ONE};expires=100", f"{TWO};expires=60")
    expiries.watch("dev1", aor.bindings)
    assert expiries.next == NOW + 60
    assert expiries.pop_due(NOW + 59.9, 10) == []
    assert expiries.pop_due(NOW + 60, 10) == ["dev1"]
    assert expiries.pop_due(NOW + 60, 10) == []
    assert expiries.next is None


def test_refreshing_forever_does_not_let_the_heap_grow() -> None:
    aor, expiries = Aor(), Expiries()
    for _ in range(1000):
        aor.ok(ONE)
        aor.now += 1
        expiries.watch("dev1", aor.bindings)
    assert len(expiries._heap) == 1


def test_shorter_expiry_is_noticed() -> None:
    aor, expiries = Aor(), Expiries()
    aor.ok(ONE)
    expiries.watch("dev1", aor.bindings)
    aor.ok(f"{ONE};expires=60")
    expiries.watch("dev1", aor.bindings)
    assert expiries.pop_due(NOW + 60, 10) == ["dev1"]
    assert expiries.pop_due(NOW + 3600, 10) == []


def test_no_more_than_asked_for_come_at_once() -> None:
    expiries = Expiries()
    for number in range(5):
        expiries.arm(f"dev{number}", NOW)
    assert [len(expiries.pop_due(NOW, 2)) for _ in range(4)] == [2, 2, 1, 0]


def test_bindings_are_counted_by_family() -> None:
    aor, expiries = Aor(), Expiries()
    aor.ok(ONE)
    aor.ok(TWO, family="ip4")
    expiries.watch("a", aor.bindings)
    expiries.watch("b", aor.bindings)
    assert expiries.families == {"ip4": 2, "ip6": 2}
    aor.ok(ONE, expires=0)
    expiries.watch("a", aor.bindings)
    assert expiries.families == {"ip4": 2, "ip6": 1}
    aor.ok(TWO, expires=0)
    for name in "ab":
        expiries.watch(name, aor.bindings)
    assert expiries.families == {"ip4": 0, "ip6": 0}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=30))
def test_every_aor_comes_no_later_than_it_was_armed_for(arms: list[tuple[str, int]]) -> None:
    expiries = Expiries()
    waiting: dict[str, int] = {}
    for now, (aor, delay) in enumerate(arms):
        expiries.arm(aor, now + delay)
        waiting[aor] = min(waiting.get(aor, now + delay), now + delay)
        due = expiries.pop_due(now, 10)
        assert sorted(due) == sorted([name for name, when in waiting.items() if when <= now])
        for name in due:
            del waiting[name]
