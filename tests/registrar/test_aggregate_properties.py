"""What holds after any sequence of REGISTERs."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from services.core.events.catalogue import RegistrationEvent
from services.core.events.codec import codec_of
from services.core.sip.uri import SipUri
from services.registrar.aggregate import decide, expired, fold
from services.registrar.model import NO_BINDINGS, Bindings, Registered, Rules, WhenFull
from tests.registrar.facts import NOW, register

# Few spellings of few places, so that they meet: equal, unequal, and equal to two that are not equal.
USERS = ("2", "%32", "a%3Ab", "a%3ab", "*")
HOSTS = ("[2001:db8::1]", "[2001:DB8:0::0:1]", "[::ffff:10.0.0.1]", "[::ffff:a00:1]", "10.0.0.1", "h", "H")
TAILS = ("", ":5060", ";x=on", ";x=off", ";x=ON", ";transport=tcp", ";transport=udp", "?a=1")

uris = st.builds(
    lambda user, host, tail: f"sip:{user}@{host}{tail}",
    st.sampled_from(USERS),
    st.sampled_from(HOSTS),
    st.sampled_from(TAILS),
)


@dataclass(frozen=True)
class Step:
    contacts: tuple[str, ...]
    call_id: str
    cseq: int
    expires: int | None
    wait_s: float


contacts = st.lists(
    st.builds(lambda uri, tail: f"<{uri}>{tail}", uris, st.sampled_from(("", ";expires=0", ";expires=60", ";q=0.5"))),
    max_size=4,
).map(tuple)
steps = st.builds(
    Step,
    contacts=st.one_of(contacts, st.just(("*",))),
    call_id=st.sampled_from(("one", "two")),
    cseq=st.integers(1, 12),
    expires=st.sampled_from((None, 0, 30, 60, 3600, 100_000)),
    wait_s=st.sampled_from((0, 1, 60, 4000)),
)
rules = st.builds(Rules, max_contacts=st.integers(0, 4), when_full=st.sampled_from(WhenFull))


@given(st.lists(steps, max_size=12), rules)
def test_rules_hold_after_any_sequence_of_requests(sequence: list[Step], granting: Rules) -> None:
    bindings, now = NO_BINDINGS, NOW
    history: list[RegistrationEvent] = []
    for number, step in enumerate(sequence):
        now += step.wait_s
        command = register(
            *step.contacts, call_id=step.call_id, cseq=step.cseq, expires=step.expires, request_id=f"r{number}"
        )
        before = bindings
        decision = decide(before, command, now, granting)
        if not isinstance(decision, Registered):
            assert decision.status in (400, 403, 423, 500)
            continue
        history += decision.events
        bindings = fold(before, decision.events)
        live = bindings.live(now)
        if decision.events:
            assert live == bindings.items
        read = [SipUri.parse(binding.contact) for binding in live]
        assert not any(one.same_as(other) for index, one in enumerate(read) for other in read[:index])
        assert len(live) <= max(granting.max_contacts, len(before.live(now)))
        assert len({binding.id for binding in live}) == len(live)
        assert all(now < binding.expires_at <= now + granting.max_expires_s for binding in live)
        for old in before.live(now):
            if old not in live and old.call_id == step.call_id:
                assert step.cseq > old.cseq or any(_makes_room(event, old.id) for event in decision.events)
    assert fold(NO_BINDINGS, history) == bindings
    codec = codec_of(Bindings)
    assert codec.unpack(codec.pack(bindings)) == bindings
    ended = fold(bindings, expired(bindings, now + 10**9))
    assert ended == NO_BINDINGS


def _makes_room(event: RegistrationEvent, binding: str) -> bool:
    return getattr(event, "binding", "") == binding and getattr(event, "reason", "") == "replaced"


@given(st.lists(uris, min_size=1, max_size=5), uris)
def test_removal_removes_exactly_what_is_equal(bound: list[str], removed: str) -> None:
    bindings = NO_BINDINGS
    for number, uri in enumerate(bound):
        decision = decide(bindings, register(f"<{uri}>", cseq=number + 1), NOW, Rules())
        assert isinstance(decision, Registered)
        bindings = fold(bindings, decision.events)
    gone = SipUri.parse(removed)
    left = tuple([item for item in bindings.items if not SipUri.parse(item.contact).same_as(gone)])
    decision = decide(bindings, register(f"<{removed}>;expires=0", cseq=100), NOW, Rules())
    assert isinstance(decision, Registered)
    assert fold(bindings, decision.events).items == left


@given(st.lists(uris, min_size=1, max_size=5, unique=True))
def test_registering_again_word_for_word_changes_only_the_time(bound: list[str]) -> None:
    states = [NO_BINDINGS]
    for cseq in (1, 2):
        command = register(*[f"<{uri}>" for uri in bound], cseq=cseq)
        decision = decide(states[-1], command, NOW + cseq, Rules())
        assert isinstance(decision, Registered)
        states.append(fold(states[-1], decision.events))
    _, first, second = states
    assert {item.contact for item in second.items} == {item.contact for item in first.items}
    assert {(item.cseq, item.expires_at) for item in second.items} == {(2, NOW + 2 + 3600)}
