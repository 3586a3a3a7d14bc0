"""Registration as phones do it: passwords, bindings, their ends, and what a power failure leaves of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from services.core.address import Family
from services.core.events.catalogue import CallEnded, ContactBound, ContactRefreshed, ContactUnbound, LegInvited
from tests.interop.lab import Lab, call_id, open_lab
from tests.support.processes import Programs, until
from tests.support.rawsip import Message, Phone, authorization, challenge_of, parameters
from tests.support.sipp import Sipp, sipp

__all__ = ["sipp"]

REALM = "pbx.example"
PHONES = """
[few](phone)
secret=four
max_contacts=2

[guarded](phone)
secret=five
deny=127.0.0.0/8
deny=::1
"""
MIN_EXPIRY_S = 2
A, B, C = "sip:dev1@192.0.2.1:5070", "sip:dev1@[2001:db8::1]:5070", "sip:dev1@192.0.2.3;transport=tcp"
ALGORITHMS = pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])


@pytest.fixture(scope="module")
def lab(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield from open_lab(
        module_programs,
        tmp_path_factory.mktemp("pbx"),
        extensions="[internal]\nexten => 2,1,Dial(SIP/dev2,20)\n",
        general=f"minexpiry={MIN_EXPIRY_S}",
        phones=PHONES,
    )


@pytest.fixture
def phone(lab: Lab) -> Iterator[Phone]:
    """dev1, bound nowhere."""
    with lab.phone("dev1") as made:
        assert made.register("*", expires=0).contacts == []
        yield made


def bound(phone: Phone) -> list[str]:
    """What the registrar has, asked with a REGISTER without a Contact."""
    answer = phone.ask("REGISTER", f"sip:{phone.domain}", To=f"<{phone.aor}>")
    assert answer.status == 200
    return answer.contacts


# --- passwords -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
def test_a_phone_registers_and_leaves(lab: Lab, sipp: Sipp, family: Family, transport: str) -> None:
    run = sipp.call("phone_registers", lab.pbx.address(family), called="dev3", user="dev3", password="three",
                    transport=transport)  # fmt: skip
    bound_answer, left_answer = [message for message in run.finish() if message.status == 200]
    contact = f"sip:dev3@{run.local};transport={transport.upper()}"
    assert (bound_answer.contacts, bound_answer.expires_of(contact)) == ([contact], 600)
    assert left_answer.contacts == []

    def kept() -> ContactBound | None:
        return next((e for e in lab.history.registrations("dev3", 1).all(ContactBound, contact=contact)), None)

    fact = until(kept, f"the registration of {contact} in the history")
    assert (fact.family, fact.transport, fact.source) == (family.value, transport, str(run.local))
    until(
        lambda: lab.history.registrations("dev3", 2).all(ContactUnbound, contact=contact, reason="removed") or None,
        f"the end of the registration of {contact} in the history",
    )


@ALGORITHMS
@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
def test_a_password_is_proved_with_either_hash(lab: Lab, family: Family, algorithm: str) -> None:
    with lab.phone("dev1", family=family) as phone:
        phone.algorithm = algorithm
        assert phone.contact in phone.register().contacts


def test_the_stronger_hash_is_offered_first_with_all_a_phone_needs(phone: Phone) -> None:
    refusal = phone.tell(phone.request("REGISTER", "sip:pbx.example", To=f"<{phone.aor}>"))
    offered = [parameters(row) for row in refusal.get_all("WWW-Authenticate")]
    assert [offer["algorithm"] for offer in offered] == ["SHA-256", "MD5"]
    assert {offer["realm"] for offer in offered} == {REALM}
    assert {offer["qop"] for offer in offered} == {"auth"}
    again = phone.tell(phone.request("REGISTER", "sip:pbx.example", To=f"<{phone.aor}>"))
    assert parameters(again.get("WWW-Authenticate"))["nonce"] != offered[0]["nonce"]


@ALGORITHMS
def test_an_unknown_user_looks_like_a_wrong_password(lab: Lab, algorithm: str) -> None:
    def refusal_of(user: str) -> tuple[str, list[str], list[dict[str, str]]]:
        with lab.phone(user, password="wrong") as phone:
            phone.algorithm = algorithm
            answer = phone.register()
            offers = [parameters(row) | {"nonce": "?"} for row in answer.get_all("WWW-Authenticate")]
            return answer.start, [name for name, _ in answer.rows], offers

    assert refusal_of("nobody") == refusal_of("dev1")
    assert refusal_of("dev1")[0] == "SIP/2.0 401 Unauthorized"


def register_with(phone: Phone, credentials: str) -> Message:
    return phone.tell(
        phone.request(
            "REGISTER", "sip:pbx.example", ("Authorization", credentials), To=f"<{phone.aor}>", Contact=f"<{A}>"
        )
    )


def challenge_for(phone: Phone) -> str:
    refusal = phone.tell(phone.request("REGISTER", "sip:pbx.example", To=f"<{phone.aor}>"))
    return challenge_of(refusal, phone.algorithm)


def answer_to(challenge: str, *, nc: int = 1, uri: str = "sip:pbx.example", method: str = "REGISTER") -> str:
    return authorization(challenge, method=method, uri=uri, user="dev1", password="one", nc=nc)


@ALGORITHMS
def test_an_answer_to_a_challenge_is_good_once_and_the_next_count_is_good_again(phone: Phone, algorithm: str) -> None:
    phone.algorithm = algorithm
    challenge = challenge_for(phone)
    assert register_with(phone, answer_to(challenge)).status == 200
    assert register_with(phone, answer_to(challenge)).status == 401
    assert register_with(phone, answer_to(challenge, nc=2)).status == 200
    assert register_with(phone, answer_to(challenge, nc=1)).status == 401


def test_a_right_answer_to_a_nonce_of_another_life_is_stale_and_a_wrong_one_is_just_wrong(
    lab: Lab, phone: Phone
) -> None:
    before = challenge_for(phone)
    lab.pbx.kill()
    lab.pbx.start()
    wrong = authorization(before, method="REGISTER", uri="sip:pbx.example", user="dev1", password="wrong")
    for credentials, stale in ((answer_to(before), "true"), (wrong, None)):
        refusal = register_with(phone, credentials)
        assert refusal.status == 401
        assert {parameters(row).get("stale") for row in refusal.get_all("WWW-Authenticate")} == {stale}
    fresh = challenge_of(register_with(phone, answer_to(before)), "MD5")
    assert register_with(phone, answer_to(fresh)).status == 200


def test_a_proof_for_one_request_is_none_for_another(phone: Phone) -> None:
    assert register_with(phone, answer_to(challenge_for(phone), method="INVITE")).status == 401
    assert register_with(phone, answer_to(challenge_for(phone), uri="sip:2@pbx.example")).status == 401
    assert bound(phone) == []


def test_a_phone_registers_nobody_but_itself_and_only_from_where_it_may(lab: Lab, phone: Phone) -> None:
    assert phone.register(To="<sip:dev2@pbx.example>").status == 403
    for family in Family:
        with lab.phone("guarded", password="five", family=family) as guarded:
            assert guarded.register().status == 403


# --- bindings --------------------------------------------------------------------------------------------------------


def test_a_phone_has_several_contacts_and_asks_what_they_are(lab: Lab, phone: Phone) -> None:
    assert phone.register(f"<{A}>;q=0.5", f"<{B}>").contacts == sorted([A, B])
    assert phone.register(f"<{C}>;expires=100").contacts == sorted([A, B, C])
    answer = phone.ask("REGISTER", "sip:pbx.example", To=f"<{phone.aor}>")
    assert answer.contacts == sorted([A, B, C])
    assert 90 < answer.expires_of(C) <= 100
    assert 3590 < answer.expires_of(A) <= 3600
    assert ";q=0.5" in next(row for row in answer.get_all("Contact") if A in row)


def test_a_refresh_keeps_the_binding_and_its_new_time(lab: Lab, phone: Phone) -> None:
    contact = f"sip:dev1@192.0.2.1:{secrets.randbelow(50000) + 1024}"
    phone.register(f"<{contact}>", expires=100)
    assert phone.register(f"<{contact}>", expires=900).expires_of(contact) == 900

    def refreshed() -> ContactRefreshed | None:
        story = lab.history.registrations("dev1", 1)
        return next(iter(story.all(ContactRefreshed, contact=contact)), None)

    fact = until(refreshed, "the refresh in the history")
    story = lab.history.registrations("dev1", 1).all(ContactBound, contact=contact)
    assert [(type(event), event.binding) for event in story] == [
        (ContactBound, fact.binding),
        (ContactRefreshed, fact.binding),
    ]


def test_a_contact_is_removed_alone_or_with_all_the_others(phone: Phone) -> None:
    phone.register(f"<{A}>", f"<{B}>", f"<{C}>")
    assert phone.register(f"<{B}>;expires=0").contacts == sorted([A, C])
    assert phone.register(f"<{B}>", expires=0).contacts == sorted([A, C])
    assert phone.register("*", expires=0).contacts == []


@pytest.mark.parametrize(
    ("contacts", "expires"), [(["*"], 60), (["*"], None), (["*", f"<{A}>"], 0)], ids=["60", "no time", "another"]
)
def test_a_star_stands_alone_and_with_zero_or_nothing_is_removed(
    phone: Phone, contacts: list[str], expires: int | None
) -> None:
    phone.register(f"<{A}>")
    assert phone.register(*contacts, expires=expires).status == 400
    assert bound(phone) == [A]


def test_a_time_is_neither_too_short_nor_longer_than_we_grant(phone: Phone) -> None:
    brief = phone.register(f"<{A}>", f"<{B}>;expires=1")
    assert (brief.status, brief.get("Min-Expires")) == (423, str(MIN_EXPIRY_S))
    assert bound(phone) == [], "all or nothing"
    assert phone.register(f"<{A}>", expires=999_999).expires_of(A) == 3600
    assert phone.register(f"<{B}>", expires=None).expires_of(B) == 120
    assert phone.register(f"<{C}>;expires=soon").expires_of(C) == 3600


def test_a_binding_ends_by_itself(lab: Lab, phone: Phone) -> None:
    contact = f"sip:dev1@192.0.2.1:{secrets.randbelow(50000) + 1024}"
    assert phone.register(f"<{contact}>", expires=MIN_EXPIRY_S).status == 200
    until(
        lambda: lab.history.registrations("dev1", 1).all(ContactUnbound, contact=contact, reason="expired") or None,
        "the end of the binding in the history",
    )
    assert bound(phone) == []


def test_a_request_older_than_the_binding_changes_nothing(phone: Phone) -> None:
    same = secrets.token_hex(8)
    for number, status in ((10, 200), (9, 500), (11, 200)):
        challenge = challenge_for(phone)
        answer = phone.tell(
            phone.request(
                "REGISTER", "sip:pbx.example",
                ("Authorization", answer_to(challenge)), ("Contact", f"<{A}>"), ("Expires", str(100 * number)),
                To=f"<{phone.aor}>", CSeq=f"{number} REGISTER", Call_ID=same,
            )
        )  # fmt: skip
        assert answer.status == status, number
    answer = phone.ask("REGISTER", "sip:pbx.example", To=f"<{phone.aor}>")
    assert 1090 < answer.expires_of(A) <= 1100


def test_a_phone_has_no_more_contacts_than_it_may(lab: Lab) -> None:
    with lab.phone("few", password="four") as phone:
        assert phone.register(f"<{A}>", f"<{B}>").status == 200
        assert phone.register(f"<{C}>").status == 403
        assert phone.register(f"<{A}>").contacts == sorted([A, B])
        assert phone.register(f"<{A}>;expires=0", f"<{C}>").contacts == sorted([B, C])


def test_a_path_is_given_back_and_kept(lab: Lab, phone: Phone) -> None:
    path = "<sip:edge@[2001:db8::7];lr;ob>"
    answer = phone.register(f"<{A}>", Path=path, Supported="path")
    assert answer.get_all("Path") == [path]

    def kept() -> ContactBound | None:
        return next((e for e in lab.history.registrations("dev1", 1).all(ContactBound, contact=A) if e.path), None)

    assert until(kept, "the binding with its path in the history").path == (path,)


# --- what is the same ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:x@[2001:db8::9:1]", "sip:x@[2001:DB8:0:0:0:0:9:01]"),
        ("sip:x@[::ffff:192.0.2.128]", "sip:x@[::ffff:c000:280]"),
        ("sip:%61lice@192.0.2.1", "sip:alice@192.0.2.1"),
        ("sip:x@PHONE.example;transport=UDP", "sip:x@phone.example;Transport=udp"),
        ("sip:x@192.0.2.1;a=1;b=2", "sip:x@192.0.2.1;b=2;a=1"),
        ("sip:x@192.0.2.1;ob", "sip:x@192.0.2.1"),
    ],
)
def test_two_spellings_of_a_contact_are_one_binding(phone: Phone, one: str, other: str) -> None:
    assert phone.register(f"<{one}>").contacts == [one]
    assert phone.register(f"<{other}>").contacts == [other]
    assert phone.register(f"<{one}>", expires=0).contacts == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:x@192.0.2.5", "sip:x@[::ffff:192.0.2.5]"),
        ("sip:x@192.0.2.5", "sip:x@192.0.2.5:5060"),
        ("sip:x@[2001:db8::5060]", "sip:x@[2001:db8::]:5060"),
        ("sip:x@192.0.2.5", "sip:x@192.0.2.5;transport=udp"),
        ("sip:x@192.0.2.5", "sip:X@192.0.2.5"),
    ],
)
def test_two_contacts_that_only_look_alike_are_two_bindings(phone: Phone, one: str, other: str) -> None:
    assert phone.register(f"<{one}>", f"<{other}>").contacts == sorted([one, other])
    assert phone.register(f"<{other}>", expires=0).contacts == [one]


# --- after a power failure -------------------------------------------------------------------------------------------

STRANGE = [
    "sip:dev1@[2001:db8::9:1]:5070",
    "sip:dev1@[2001:DB8:0:0:0:0:9:02]",
    "sip:%3A%2A%5B%5D%7B%7D%0D%0A%00@192.0.2.1",
    "sip:a:b@192.0.2.1",
    "sip:{tag}!~*'()&=+$,;?/@192.0.2.2".replace("{", "%7B").replace("}", "%7D"),
    "sip:dev1@192.0.2.4;x=%22;y=[::1]",
    "sip:dev1@192.0.2.5?X-Header=a%20b",
]


def test_every_character_of_a_contact_survives_a_power_failure(lab: Lab, phone: Phone) -> None:
    instance = '"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
    phone.register(*(f"<{contact}>;expires=3000" for contact in STRANGE))
    phone.register(f"<{A}>;+sip.instance={instance};reg-id=1")
    lab.pbx.kill()
    lab.pbx.start()
    answer = phone.ask("REGISTER", "sip:pbx.example", To=f"<{phone.aor}>")
    assert answer.contacts == sorted([*STRANGE, A])
    assert f"+sip.instance={instance}" in next(row for row in answer.get_all("Contact") if A in row)
    for contact in STRANGE:
        assert 2900 < answer.expires_of(contact) <= 3000
    assert phone.register(f"<{STRANGE[0].replace('2001:db8::9:1', '2001:db8:0::0009:1')}>;expires=0").contacts == (
        sorted([*STRANGE[1:], A])
    )


def test_a_phone_is_called_after_a_power_failure_without_registering_again(lab: Lab, sipp: Sipp) -> None:
    callees = [sipp.listen("callee_answers", family=Family.IP6), sipp.listen("callee_rings", transport="tcp")]
    lab.lead("dev2", *callees)
    lab.pbx.kill()
    lab.pbx.start()
    heard = sipp.call("caller_hangs_up", lab.pbx.address(), called="2").finish()
    for callee in callees:
        callee.finish()
    story = lab.history.call(call_id(heard))
    assert {(event.family, event.transport) for event in story.all(LegInvited)} == {("ip6", "udp"), ("ip4", "tcp")}
    assert story.one(CallEnded).disposition == "ANSWERED"
