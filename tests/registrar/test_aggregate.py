"""RFC 3261 10.3, rule by rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.core.events.catalogue import CallEnded, ContactBound, ContactRefreshed, ContactUnbound
from services.core.events.codec import codec_of
from services.registrar.aggregate import evolve, expired, fold
from services.registrar.model import NO_BINDINGS, Bindings, Registered, Rules, WhenFull
from tests.registrar.facts import NOW, Aor, register

ONE, TWO, THREE = "<sip:1@[2001:db8::1]>", "<sip:2@10.0.0.2:5062>", "<sip:3@phone.example;transport=tcp>"
URI_1, URI_2, URI_3 = ONE[1:-1], TWO[1:-1], THREE[1:-1]


# --- binding, refreshing, asking, removing ---------------------------------------------------------------------------


def test_contact_is_bound_with_everything_the_request_said() -> None:
    aor = Aor()
    decision = aor.send(
        f'"Dev"{ONE};q=0.5;+sip.instance="<urn:uuid:0:1>";reg-id=2',
        call_id="c:1",
        cseq=7,
        request_id="r",
        path=("<sip:p1;lr>", "<sip:p2;lr>"),
        user_agent="phone/1",
        scope_id=2,
    )
    assert decision == Registered(
        (
            ContactBound(
                contact=URI_1,
                binding="r.0",
                path=("<sip:p1;lr>", "<sip:p2;lr>"),
                instance="<urn:uuid:0:1>",
                reg_id=2,
                q=0.5,
                expires_at=NOW + 3600,
                sip_call_id="c:1",
                cseq=7,
                transport="udp",
                source="[2001:db8::9]:49152",
                local="[2001:db8::5]:5060",
                flow_id=3,
                scope_id=2,
                family="ip6",
                user_agent="phone/1",
            ),
        )
    )
    (binding,) = aor.bindings.items
    assert (binding.contact, binding.call_id, binding.cseq) == (URI_1, "c:1", 7)
    assert (binding.remote.host, binding.remote.port, binding.remote.scope_id) == ("2001:db8::9", 49152, 2)


def test_several_contacts_of_several_devices_live_side_by_side() -> None:
    aor = Aor()
    assert aor.ok(ONE, TWO) == ("ContactBound", "ContactBound")
    assert aor.ok(THREE, call_id="another device") == ("ContactBound",)
    assert aor.contacts == [URI_1, URI_2, URI_3]


def test_refresh_replaces_the_facts_and_keeps_the_binding() -> None:
    aor = Aor()
    aor.ok(ONE)
    before = aor.bindings.items[0]
    aor.now += 1800
    assert aor.ok(f"{ONE};q=0.3", source="[2001:db8::a]:5060") == ("ContactRefreshed",)
    (after,) = aor.bindings.items
    assert (after.id, after.cseq, after.q, after.source) == (before.id, 2, 0.3, "[2001:db8::a]:5060")
    assert aor.remaining == [3600]


def test_query_changes_nothing() -> None:
    aor = Aor()
    aor.ok(ONE)
    assert aor.ok(cseq=1) == ()
    assert aor.ok(expires=0) == ()
    assert aor.contacts == [URI_1]


@pytest.mark.parametrize("zero", [{"expires": 0}, {}], ids=["header", "parameter"])
def test_contact_with_expires_zero_is_removed_and_no_other(zero: dict[str, int]) -> None:
    aor = Aor()
    aor.ok(ONE, TWO)
    gone = aor.send(ONE if zero else f"{ONE};expires=0", **zero)
    assert gone == Registered((ContactUnbound(contact=URI_1, binding="r1.0", reason="removed"),))
    assert aor.contacts == [URI_2]


def test_removing_what_is_not_bound_succeeds() -> None:
    aor = Aor()
    assert aor.ok(ONE, expires=0) == ()
    aor.ok(TWO)
    assert aor.ok(ONE, expires=0) == ()
    assert aor.contacts == [URI_2]


def test_one_request_may_bind_refresh_and_remove() -> None:
    aor = Aor()
    aor.ok(ONE, TWO)
    assert aor.ok(f"{ONE};expires=0", TWO, THREE) == ("ContactUnbound", "ContactRefreshed", "ContactBound")
    assert aor.contacts == [URI_2, URI_3]


def test_contact_named_twice_in_one_request_is_bound_once_and_the_later_counts() -> None:
    aor = Aor()
    assert aor.ok(f"{ONE};expires=100", f"{ONE};expires=200") == ("ContactBound",)
    assert aor.remaining == [200]
    assert aor.ok(f"{ONE};expires=300", f"{ONE};expires=0") == ("ContactUnbound",)
    assert aor.contacts == []
    assert aor.ok(f"{TWO};expires=300", f"{TWO};expires=0") == ()


# --- the star --------------------------------------------------------------------------------------------------------


def test_star_with_expires_zero_removes_all() -> None:
    aor = Aor()
    aor.ok(ONE, TWO)
    aor.ok(THREE, call_id="another device")
    assert aor.ok("*", expires=0, call_id="a third") == ("ContactUnbound",) * 3
    assert aor.contacts == []


def test_star_on_nothing_succeeds() -> None:
    assert Aor().ok("*", expires=0) == ()


@pytest.mark.parametrize("expires", [None, 1, 3600])
def test_star_without_expires_zero_is_400(expires: int | None) -> None:
    aor = Aor()
    aor.ok(ONE)
    assert aor.refused("*", expires=expires).status == 400


def test_star_does_not_remove_what_a_later_request_of_the_same_call_id_bound() -> None:
    aor = Aor()
    aor.ok(ONE, call_id="other")
    aor.ok(TWO, cseq=10)
    assert aor.refused("*", expires=0, cseq=10).status == 500
    assert aor.contacts == [URI_1, URI_2]
    assert aor.ok("*", expires=0, cseq=11) == ("ContactUnbound", "ContactUnbound")


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cseq", [9, 10])
@pytest.mark.parametrize("contact", [ONE, f"{ONE};expires=0"])
def test_lower_or_equal_cseq_of_the_same_call_id_is_refused(cseq: int, contact: str) -> None:
    aor = Aor()
    aor.ok(ONE, cseq=10)
    assert aor.refused(contact, cseq=cseq).status == 500


def test_any_cseq_of_another_call_id_is_taken() -> None:
    aor = Aor()
    aor.ok(ONE, cseq=10)
    assert aor.ok(ONE, cseq=1, call_id="rebooted") == ("ContactRefreshed",)
    assert aor.ok(ONE, cseq=1, expires=0) == ("ContactUnbound",)


def test_one_contact_out_of_order_refuses_the_whole_request() -> None:
    aor = Aor()
    aor.ok(TWO, cseq=10)
    assert aor.refused(ONE, f"{THREE};expires=60", TWO, cseq=10).status == 500
    assert aor.contacts == [URI_2]


def test_expired_binding_does_not_count_for_the_order() -> None:
    aor = Aor()
    aor.ok(f"{ONE};expires=60", cseq=10)
    aor.now += 60
    assert aor.ok(ONE, cseq=5) == ("ContactUnbound", "ContactBound")
    assert aor.remaining == [3600]


# --- expiry ----------------------------------------------------------------------------------------------------------


def test_contact_parameter_goes_before_the_expires_header_and_both_before_the_default() -> None:
    aor = Aor(Rules(default_expires_s=1000))
    aor.ok(f"{ONE};expires=100", TWO, expires=200)
    aor.ok(THREE)
    assert aor.remaining == [100, 200, 1000]


def test_malformed_expires_is_an_hour() -> None:
    aor = Aor(Rules(default_expires_s=1000, max_expires_s=7200))
    aor.ok(f"{ONE};expires=soon", f"{TWO};expires=-1", f'{THREE};expires="60"')
    assert aor.remaining == [3600, 3600, 60]


def test_wish_that_is_too_long_is_shortened() -> None:
    aor = Aor(Rules(max_expires_s=7200))
    aor.ok(f"{ONE};expires=7201", f"{TWO};expires=99999999999999999999")
    assert aor.remaining == [7200, 7200]


def test_wish_that_is_too_brief_is_423_with_the_minimum() -> None:
    aor = Aor(Rules(min_expires_s=60))
    refused = aor.refused(ONE, f"{TWO};expires=59")
    assert (refused.status, refused.headers) == (423, (("Min-Expires", "60"),))
    aor.ok(f"{ONE};expires=60")
    assert aor.remaining == [60]


def test_wish_of_an_hour_is_never_too_brief() -> None:
    aor = Aor(Rules(min_expires_s=7200, max_expires_s=86400))
    assert aor.refused(ONE, expires=3599).status == 423
    aor.ok(ONE, expires=3600)
    assert aor.remaining == [3600]


def test_binding_ends_when_its_time_is_over() -> None:
    aor = Aor()
    aor.ok(f"{ONE};expires=60", TWO)
    aor.now += 59.999
    assert aor.contacts == [URI_1, URI_2]
    assert expired(aor.bindings, aor.now) == ()
    aor.now = NOW + 60
    assert aor.contacts == [URI_2]
    assert expired(aor.bindings, aor.now) == (ContactUnbound(contact=URI_1, binding="r1.0", reason="expired"),)


def test_request_records_the_end_of_bindings_that_expired_unnoticed() -> None:
    aor = Aor()
    aor.ok(f"{ONE};expires=60")
    aor.now += 100
    assert aor.ok(TWO) == ("ContactUnbound", "ContactBound")
    assert len(aor.bindings.items) == 1


# --- how many --------------------------------------------------------------------------------------------------------


def test_contact_too_many_is_403_and_a_refresh_is_not() -> None:
    aor = Aor(Rules(max_contacts=2))
    aor.ok(ONE, TWO)
    assert aor.refused(THREE).status == 403
    assert aor.ok(ONE) == ("ContactRefreshed",)
    assert aor.ok(f"{ONE};expires=0", THREE) == ("ContactUnbound", "ContactBound")
    assert aor.contacts == [URI_2, URI_3]


def test_expired_contacts_take_no_room() -> None:
    aor = Aor(Rules(max_contacts=1))
    aor.ok(f"{ONE};expires=60")
    aor.now += 60
    aor.ok(TWO)
    assert aor.contacts == [URI_2]


def test_phones_bound_before_the_limit_was_lowered_may_refresh() -> None:
    aor = Aor()
    aor.ok(ONE, TWO, THREE)
    aor.rules = Rules(max_contacts=1)
    assert aor.ok(ONE, TWO) == ("ContactRefreshed", "ContactRefreshed")
    assert aor.refused("<sip:4@h>").status == 403


def test_limit_of_zero_lets_nobody_register() -> None:
    assert Aor(Rules(max_contacts=0)).refused(ONE).status == 403


def test_contact_that_would_end_first_makes_room_where_the_rules_say_so() -> None:
    aor = Aor(Rules(max_contacts=2, when_full=WhenFull.REPLACE))
    aor.ok(f"{ONE};expires=1000", f"{TWO};expires=500")
    decision = aor.send(f"{THREE};expires=60", call_id="new phone")
    assert isinstance(decision, Registered)
    assert decision.events[0] == ContactUnbound(contact=URI_2, binding="r1.1", reason="replaced")
    assert aor.contacts == [URI_1, URI_3]


def test_request_with_more_than_fit_is_refused_even_where_others_make_room() -> None:
    aor = Aor(Rules(max_contacts=2, when_full=WhenFull.REPLACE))
    assert aor.refused(ONE, TWO, THREE).status == 403
    aor.ok("<sip:0@h>")
    assert aor.refused(ONE, TWO, THREE).status == 403
    aor.ok(ONE, TWO)
    assert aor.contacts == [URI_1, URI_2]


def test_request_with_thousands_of_contacts_is_refused_before_any_is_looked_at() -> None:
    assert Aor().refused(*[f"<sip:{number}@h>" for number in range(4000)]).status == 403


# --- which contacts are the same (RFC 3261 19.1.4, RFC 5954 4.2) -----------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:2@[2001:db8::9:1]", "sip:2@[2001:DB8:0:0:0:0:9:01]"),
        ("sip:2@[::ffff:192.0.2.128]", "sip:2@[::ffff:c000:280]"),
        ("sip:2@PHONE.example", "SIP:2@phone.EXAMPLE"),
        ("sip:%61lice@h", "sip:alice@h"),
        ("sip:a%3Ab@h", "sip:a%3ab@h"),
        ("sip:2@h;transport=TCP", "sip:2@h;Transport=tcp"),
        ("sip:2@h;ob;x=1", "sip:2@h;x=1;ob"),
        ("sip:2@h;x=1", "sip:2@h"),
        ("sip:2@h:05060", "sip:2@h:5060"),
        ("sip:2@h?a=1&b=2", "sip:2@h?b=2&a=1"),
    ],
)
def test_contact_is_found_under_another_spelling(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        aor = Aor()
        aor.ok(f"<{first}>")
        assert aor.ok(f"<{second}>") == ("ContactRefreshed",)
        assert aor.contacts == [second]
        assert aor.ok(f"<{first}>;expires=0") == ("ContactUnbound",)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:2@192.0.2.5", "sip:2@[::ffff:192.0.2.5]"),
        ("sip:2@h", "sip:2@h:5060"),
        ("sip:2@h", "sip:2@h;transport=udp"),
        ("sip:2@h", "sip:2@h;maddr=[2001:db8::1]"),
        ("sip:2@h", "sips:2@h"),
        ("sip:Alice@h", "sip:alice@h"),
        ("sip:a%3Ab@h", "sip:a%253Ab@h"),
        ("sip:2@h;x=on", "sip:2@h;x=off"),
        ("sip:2@[2001:db8::1:5060]", "sip:2@[2001:db8::1]:5060"),
        ("sip:h", "sip:2@h"),
        ("sip:2@h", "sip:2:@h"),
        ("sip:2@h?a=1", "sip:2@h"),
    ],
)
def test_contacts_that_differ_are_two_bindings(one: str, other: str) -> None:
    aor = Aor()
    aor.ok(f"<{one}>")
    assert aor.ok(f"<{other}>") == ("ContactBound",)
    assert aor.contacts == [one, other]


def test_contact_equal_to_two_bindings_takes_the_place_of_both() -> None:
    aor = Aor()
    aor.ok("<sip:2@h;x=on>", "<sip:2@h;x=off>")
    assert aor.ok("<sip:2@h>") == ("ContactUnbound", "ContactRefreshed")
    assert aor.contacts == ["sip:2@h"]


def test_removal_of_a_contact_equal_to_two_bindings_removes_both() -> None:
    aor = Aor()
    aor.ok("<sip:2@h;x=on>", "<sip:2@h;x=off>", ONE)
    assert aor.ok("<sip:2@h>;expires=0") == ("ContactUnbound", "ContactUnbound")
    assert aor.contacts == [URI_1]


@pytest.mark.parametrize(
    "uri",
    [
        "sip:2@[2001:DB8::1]:5060;transport=tcp",
        "sip:a%3Ab%2A%5B@[2001:db8::1]",
        "sip:j%C3%BCrg@h",
        "sip:2:secret@h;lr;x=%22q%22?Subject=a%20b&Route=%3Csip:evil%3E",
        "SIP:2@H",
        "sip:*@h",
        "sip:2@h;gruu;opaque=1:2",
    ],
)
def test_every_character_of_a_contact_survives(uri: str) -> None:
    aor = Aor()
    aor.ok(f'"name, with <odd> \\"marks\\"" <{uri}>;q=0.1')
    codec = codec_of(Bindings)
    assert [item.contact for item in codec.unpack(codec.pack(aor.bindings)).items] == [uri]


# --- evolving --------------------------------------------------------------------------------------------------------


def test_history_read_twice_gives_the_same_state() -> None:
    aor = Aor()
    history = [
        event
        for decision in (aor.send(ONE, TWO), aor.send(ONE), aor.send(TWO, expires=0))
        if isinstance(decision, Registered)
        for event in decision.events
    ]
    assert fold(NO_BINDINGS, history) == aor.bindings
    assert fold(aor.bindings, history[-1:]) == aor.bindings


def test_evolving_never_fails_on_events_that_do_not_fit() -> None:
    aor = Aor()
    bound = aor.send(ONE)
    assert isinstance(bound, Registered)
    (event,) = bound.events
    assert isinstance(event, ContactBound)
    refreshed = ContactRefreshed(**codec_of(ContactBound).to_map(event))
    assert evolve(NO_BINDINGS, refreshed) == aor.bindings
    assert evolve(aor.bindings, event) == aor.bindings
    assert evolve(NO_BINDINGS, ContactUnbound(contact=URI_1, binding="x", reason="removed")) == NO_BINDINGS
    stranger = CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="a")
    assert evolve(aor.bindings, stranger) == aor.bindings  # type: ignore[arg-type]


def test_binding_whose_uri_cannot_be_read_any_more_equals_only_itself() -> None:
    aor = Aor()
    aor.ok(ONE)
    aor.bindings = Bindings((replace(aor.bindings.items[0], contact="??"),))
    assert aor.ok(TWO) == ("ContactBound",)
    assert aor.ok("*", expires=0, cseq=9) == ("ContactUnbound", "ContactUnbound")


def test_ids_of_bindings_of_different_requests_differ() -> None:
    aor = Aor()
    aor.ok(ONE, TWO)
    aor.ok(THREE)
    assert len({binding.id for binding in aor.bindings.items}) == 3
    assert register(ONE).id
