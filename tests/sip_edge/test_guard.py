"""Rates and bans, with a clock moved by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.config.acl import network
from services.core.config.guard import GuardSettings, default_guard
from services.sip_edge.guard import CREDIT, FORGET_S, MAX_SOURCES, TRUST_S, Ban, Drop, Guard, Reason, source_of
from services.sip_edge.overload import LagGate

STRANGER = "203.0.113.7"
OFFICE = "198.51.100.1"
SCANNER = "friendly-scanner"


def settings(**changes: Any) -> GuardSettings:
    return dataclasses.replace(default_guard(), **changes)


class Watched:
    """A guard and the bans it told of; the clock moves when `later` says so."""

    def __init__(self, **changes: Any) -> None:
        sizes = {name: changes.pop(name) for name in list(changes) if name in ("max_sources", "max_bans", "max_users")}
        self.now = 1_700_000_000.0
        self.told: list[Ban] = []
        self.guard = Guard(settings(**changes), self.told.append, **sizes)

    def later(self, seconds: float) -> None:
        self.now += seconds

    def sends(self, host: str, count: int = 1) -> int:
        """How many of so many messages at once are let in."""
        return sum(self.guard.admit(host, self.now) is None for _ in range(count))

    def fails(self, host: str, count: int, user: str = "alice") -> None:
        for _ in range(count):
            self.guard.failed(host, user, self.now)

    def is_banned(self, host: str) -> bool:
        return self.guard.admit(host, self.now) is Drop.BANNED


# --- sources ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1", "fe80::1"),
    ],
)
def test_what_counts_as_one_source(host: str, source: str) -> None:
    assert source_of(host) == source


def test_whoever_has_one_address_of_a_network_of_64_has_no_more_by_using_others() -> None:
    watched = Watched(burst=10)
    assert sum(watched.sends(f"2001:db8::{number:x}") for number in range(1, 100)) == 10
    assert watched.sends("2001:db8:0:1::1", 100) == 10, "the next network has its own"


def test_a_mapped_address_shares_the_fate_of_the_address_it_maps() -> None:
    watched = Watched(max_scans=1)
    for _ in range(2):
        watched.guard.is_scanner(f"::ffff:{STRANGER}", SCANNER, watched.now)
    assert watched.is_banned(STRANGER)


def test_loopback_is_never_limited_and_never_banned() -> None:
    watched = Watched(burst=1, rate=1, max_failures=1)
    for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        watched.fails(host, 100)
        assert not watched.guard.is_scanner(host, SCANNER, watched.now)
        assert watched.sends(host, 1000) == 1000
    assert watched.told == []


def test_an_address_that_is_allowed_does_not_take_its_neighbours_along() -> None:
    watched = Watched(allow=(network("2001:db8::7"),), burst=5)
    for neighbour in ("2001:db8::8", "2001:db8::9"):
        assert watched.sends("2001:db8::7", 50) == 50
        watched.sends(neighbour, 50)
    assert watched.sends("2001:db8::a", 50) == 0


def test_everything_can_be_switched_off() -> None:
    watched = Watched(enabled=False, burst=1)
    watched.fails(STRANGER, 1000)
    assert watched.sends(STRANGER, 1000) == 1000


# --- rates -----------------------------------------------------------------------------------------------------------


def test_a_source_sends_a_burst_and_then_at_its_rate() -> None:
    watched = Watched(rate=10, burst=100)
    assert watched.sends(STRANGER, 500) == 100
    watched.later(2.0)
    assert watched.sends(STRANGER, 500) == 20
    watched.later(3600)
    assert watched.sends(STRANGER, 500) == 100
    assert watched.sends(OFFICE, 500) == 100, "one source takes nothing from another"


def test_thousands_of_phones_behind_one_address_register_after_a_power_failure() -> None:
    watched = Watched()
    dropped = 0
    for phone in range(5000):
        dropped += 3 - watched.sends(OFFICE, 3)  # a REGISTER, the one with the password, and a retransmission
        watched.guard.succeeded(OFFICE, f"phone{phone}", watched.now)
        watched.later(0.001)
    assert dropped == 0
    assert watched.told == []


def test_an_office_may_call_as_much_as_it_likes() -> None:
    watched = Watched()
    for _ in range(20_000):
        assert watched.sends(OFFICE, 14) == 14
        watched.guard.succeeded(OFFICE, "alice", watched.now)
        watched.later(0.01)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=40),
    st.integers(1, 100),
    st.integers(1, 200),
)
def test_nobody_gets_more_than_the_burst_and_the_rate(sent: list[tuple[float, int]], rate: int, burst: int) -> None:
    watched = Watched(rate=rate, burst=burst)
    begun, admitted = watched.now, 0
    for pause_s, count in sent:
        watched.later(pause_s)
        got = watched.sends(STRANGER, count)
        admitted += got
        assert admitted <= burst + rate * (watched.now - begun) + 1e-3
        if got < count:
            assert watched.guard.admit(STRANGER, watched.now) is Drop.RATE


@given(st.lists(st.floats(-1000, 1000), max_size=20))
def test_a_clock_that_jumps_grants_no_more_than_a_burst_at_once(jumps: list[float]) -> None:
    watched = Watched(rate=10, burst=20)
    for jump in jumps:
        watched.later(jump)
        assert watched.sends(STRANGER, 100) <= 20


# --- bans ------------------------------------------------------------------------------------------------------------


def test_wrong_passwords_lead_to_a_ban_that_ends_by_itself() -> None:
    watched = Watched()
    watched.fails(STRANGER, 20)
    assert not watched.is_banned(STRANGER)
    watched.fails(STRANGER, 1)
    assert watched.is_banned(STRANGER)
    assert [(ban.source, ban.reason, ban.count) for ban in watched.told] == [(STRANGER, Reason.FAILURES, 1)]
    assert watched.guard.bans(watched.now) == watched.told
    watched.later(299)
    assert watched.is_banned(STRANGER)
    watched.later(2)
    assert not watched.is_banned(STRANGER)
    assert watched.guard.bans(watched.now) == []


def test_wrong_passwords_now_and_then_are_no_attack() -> None:
    watched = Watched()
    for _ in range(200):
        watched.fails(STRANGER, 1)
        watched.later(31)
    assert watched.told == []


def test_a_few_wrong_phones_do_not_shut_out_the_office_they_are_in() -> None:
    watched = Watched()
    for second in range(7200):
        if second % 60 == 0:
            watched.guard.succeeded(OFFICE, "good", watched.now)
        if second % 6 == 0:  # five phones with an old password, each every half a minute
            watched.fails(OFFICE, 1, f"wrong{second % 5}")
            watched.guard.unknown(OFFICE, f"gone{second % 40}", watched.now)
        watched.later(1)
    assert watched.told == []


def test_whoever_has_a_right_password_may_still_not_guess_others_without_end() -> None:
    watched = Watched()
    watched.guard.succeeded(OFFICE, "mallory", watched.now)
    watched.fails(OFFICE, 201)
    assert watched.is_banned(OFFICE)


def test_trust_ends() -> None:
    watched = Watched()
    watched.guard.succeeded(OFFICE, "alice", watched.now)
    watched.later(TRUST_S + 1)
    watched.fails(OFFICE, 21)
    assert watched.is_banned(OFFICE)


def test_asking_for_many_who_do_not_exist_leads_to_a_ban_and_asking_again_for_one_does_not() -> None:
    watched = Watched()
    for _ in range(1000):
        watched.guard.unknown(STRANGER, "1000", watched.now)
    assert watched.told == []
    for number in range(1001, 1016):
        watched.guard.unknown(STRANGER, str(number), watched.now)
    assert [ban.reason for ban in watched.told] == [Reason.UNKNOWN]


def test_garbage_leads_to_a_ban() -> None:
    watched = Watched()
    for _ in range(51):
        watched.guard.malformed("2001:db8::1", watched.now)
    assert [(ban.source, ban.reason) for ban in watched.told] == [("2001:db8::/64", Reason.MALFORMED)]


@pytest.mark.parametrize(
    "agent", ["friendly-scanner", "sipvicious", "sipcli/v1.8", "sundayddr", "VaxSIPUserAgent/3.0", "FRIENDLY-SCANNER x"]
)
def test_scanners_are_known_by_their_name(agent: str) -> None:
    watched = Watched()
    assert [watched.guard.is_scanner(STRANGER, agent, watched.now) for _ in range(3)] == [True, True, True]
    assert [ban.reason for ban in watched.told] == [Reason.SCANNER]


@pytest.mark.parametrize(
    "agent", ["Yealink SIP-T46S 66.85", "baresip v1.0.0 (x86_64/linux)", "sipsak 0.9.8.1", "", None]
)
def test_phones_are_no_scanners(agent: str | None) -> None:
    watched = Watched()
    assert not watched.guard.is_scanner(STRANGER, agent, watched.now)


def test_a_forged_scanner_does_not_shut_out_an_office_at_once() -> None:
    watched = Watched()
    watched.guard.succeeded(OFFICE, "alice", watched.now)
    for _ in range(20):
        assert watched.guard.is_scanner(OFFICE, SCANNER, watched.now), "dropped all the same"
    assert watched.told == []


def test_each_ban_is_twice_as_long_until_there_was_a_good_day() -> None:
    watched = Watched(ban_s=100, max_ban_s=350)
    lengths = []
    for _ in range(4):
        watched.fails(STRANGER, 21)
        lengths.append(watched.told[-1].until_s - watched.now)
        watched.later(lengths[-1])
    assert lengths == [100, 200, 350, 350]
    watched.later(FORGET_S + 1)
    watched.fails(STRANGER, 21)
    assert (watched.told[-1].count, watched.told[-1].until_s - watched.now) == (1, 100)


def test_a_ban_can_be_lifted_by_any_address_of_its_source() -> None:
    watched = Watched()
    watched.fails("2001:db8::1", 21)
    assert watched.guard.lift("2001:db8::99", watched.now)
    assert not watched.is_banned("2001:db8::1")
    assert not watched.guard.lift("2001:db8::/64", watched.now)
    watched.fails("2001:db8::1", 21)
    assert watched.told[-1].count == 1, "it is forgotten, too"


def test_a_limit_of_zero_is_none() -> None:
    watched = Watched(max_failures=0, max_unknown=0, max_malformed=0, max_scans=0, rate=0)
    watched.fails(STRANGER, 500)
    for number in range(500):
        watched.guard.unknown(STRANGER, str(number), watched.now)
        watched.guard.malformed(STRANGER, watched.now)
        watched.guard.is_scanner(STRANGER, SCANNER, watched.now)
    assert watched.told == []
    assert watched.sends(STRANGER, 10_000) == 10_000


# --- user names ------------------------------------------------------------------------------------------------------


def test_many_guessers_together_guess_one_user_no_faster_than_one() -> None:
    watched = Watched()
    looked_at = 0
    for number in range(600):  # ten a second, each from elsewhere
        host = f"10.{number // 250}.{number % 250}.1"
        looked_at += watched.guard.may_try(host, "alice", watched.now)
        watched.guard.failed(host, "alice", watched.now)
        watched.later(0.1)
    assert looked_at <= 20, "ten at once, ten a minute"
    assert watched.guard.may_try("10.99.0.1", "bob", watched.now)


def test_a_user_gets_in_from_where_he_was_let_in_last_while_others_guess() -> None:
    watched = Watched()
    watched.guard.succeeded(OFFICE, "alice", watched.now)
    watched.fails("10.0.0.1", 15)
    assert not watched.guard.may_try("10.0.0.2", "alice", watched.now)
    assert watched.guard.may_try(OFFICE, "alice", watched.now)
    watched.later(60)
    assert watched.guard.may_try("10.0.0.2", "alice", watched.now)


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_users_who_do_not_exist_are_limited_like_those_who_do(name: str) -> None:
    watched = Watched()
    tries = []
    for _ in range(12):
        tries.append(watched.guard.may_try(STRANGER, name, watched.now))
        watched.guard.failed(STRANGER, name, watched.now)
    assert tries == [True] * 10 + [False] * 2


# --- memory ----------------------------------------------------------------------------------------------------------


def tables(guard: Guard) -> list[int]:
    return [len(table) for table in (guard._sources, guard._bans, guard._users, guard._keys)]


def test_forged_sources_and_users_fill_no_memory() -> None:
    watched = Watched(max_sources=100, max_bans=50, max_users=70, max_failures=1)
    for number in range(20_000):
        host = f"2001:db8:{number:x}::1" if number % 2 else f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        watched.guard.admit(host, watched.now)
        watched.fails(host, 2, f"user{number}" + "x" * 10_000)
    sources, bans, users, keys = tables(watched.guard)
    assert (sources, bans, users) == (100, 50, 70)
    assert keys <= 8192
    assert len(watched.guard.bans(watched.now)) == 50
    assert all(len(name) <= 64 for name in watched.guard._users)


def test_a_flood_of_forged_sources_does_not_make_the_guard_forget_an_office() -> None:
    watched = Watched(max_sources=100)
    watched.guard.succeeded(OFFICE, "alice", watched.now)
    for number in range(5000):
        watched.guard.admit(f"10.0.{number >> 8}.{number & 255}", watched.now)
    watched.fails(OFFICE, 100)
    assert watched.told == []


def test_a_ban_outlives_that_its_source_is_forgotten() -> None:
    watched = Watched(max_sources=10)
    watched.fails(STRANGER, 21)
    for number in range(100):
        watched.guard.admit(f"10.0.0.{number}", watched.now)
    assert watched.is_banned(STRANGER)


def test_when_all_sources_are_trusted_one_is_forgotten_all_the_same() -> None:
    watched = Watched(max_sources=10)
    for number in range(100):
        watched.guard.succeeded(f"10.0.0.{number}", "alice", watched.now)
    assert tables(watched.guard)[0] == 10


HOSTS = st.sampled_from(["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::1"])
STEPS = st.one_of(
    st.tuples(st.just("fail"), HOSTS),
    st.tuples(st.just("lift"), HOSTS),
    st.tuples(st.just("wait"), st.floats(0, 400)),
)


@given(st.lists(STEPS, max_size=80))
def test_bans_are_what_a_simple_count_says(steps: list[tuple[str, Any]]) -> None:
    """Against a second telling of the rules, which keeps every failure and looks at them all."""
    watched = Watched(max_failures=2, find_time_s=300, ban_s=100, max_ban_s=400, max_unknown=0)
    failures: dict[str, list[float]] = {}
    windows: dict[str, float] = {}
    held: dict[str, tuple[float, int]] = {}
    for what, given_value in steps:
        if what == "wait":
            watched.later(given_value)
            continue
        source, now = source_of(given_value), watched.now
        until, count = held.get(source, (0.0, 0))
        if what == "lift":
            assert watched.guard.lift(given_value, now) is (until > now)
            held.pop(source, None)
            if source in windows:
                failures[source], windows[source] = [], now
            continue
        watched.guard.failed(given_value, "alice", now)
        windows.setdefault(source, now)
        if until > now:
            continue
        if now - windows[source] > 300:
            failures[source], windows[source] = [], now
        failures.setdefault(source, []).append(now)
        if len(failures[source]) > 2:
            held[source] = (now + min(100 * 2**count, 400), count + 1)
            failures[source], windows[source] = [], now
    expected = {source: until for source, (until, _) in held.items() if until > watched.now}
    assert {ban.source: ban.until_s for ban in watched.guard.bans(watched.now)} == expected


def test_a_message_costs_no_memory_that_stays() -> None:
    watched = Watched()
    watched.sends(STRANGER, 10_000)
    assert tables(watched.guard) == [1, 0, 0, 0]
    assert MAX_SOURCES > 1000
    assert CREDIT > 14, "more than a call has messages"


# --- overload --------------------------------------------------------------------------------------------------------


class Lagging:
    """A gate that is told a lag four times a second."""

    def __init__(self, limit_s: float = 0.5, for_s: float = 3.0) -> None:
        self.gate = LagGate(limit_s, for_s)
        self.now = 0.0

    def goes_on(self, lag_s: float, seconds: float) -> bool:
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.gate.note(lag_s, self.now)
        return self.gate.closed


def test_new_calls_are_refused_when_the_loop_is_late_for_long_and_taken_when_it_is_well_for_long() -> None:
    loop = Lagging()
    assert not loop.goes_on(0.6, 3)
    assert loop.goes_on(0.6, 1)
    assert loop.goes_on(0.3, 10), "neither late nor well: it stays as it is"
    assert loop.goes_on(0.01, 3)
    assert not loop.goes_on(0.01, 1)


def test_a_pause_is_no_overload() -> None:
    loop = Lagging()
    for _ in range(10):
        assert not loop.goes_on(30.0, 0.25)
        assert not loop.goes_on(0.0, 1)


def test_a_limit_of_zero_never_refuses() -> None:
    assert not Lagging(limit_s=0).goes_on(60.0, 60)
