"""Calls between SIPps through a PBX that runs as users run it: how they begin, how they end, what is written down."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from services.core.address import Address, Family
from services.core.events.catalogue import (
    CallEnded,
    CallStarted,
    DialEnded,
    LegAnswered,
    LegInvited,
    LegProgressed,
    LegRenegotiated,
    LegRinging,
    LegsBridged,
)
from tests.interop.lab import Lab, call_id, ended, open_lab, statuses
from tests.support.processes import Programs, free_port
from tests.support.rawsip import Message
from tests.support.sipp import Sipp, sipp

__all__ = ["sipp"]

PHONES = """
[visitor](phone)
secret=four
context=lobby

[guarded](phone)
secret=five
deny=0.0.0.0/0
deny=::/0
permit=127.0.0.8/32

[gateway]
type=peer
host=127.0.0.9
insecure=port,invite
context=lobby

[carrier]
type=peer
host={carrier.host}
port={carrier.port}
"""
EXTENSIONS_CONF = """
[internal]
exten => 2,1,Dial(SIP/dev2,20)
exten => 21,1,Dial(SIP/dev2,1)
exten => 22,1,Dial(SIP/dev2,20)
 same => n,Hangup(${HANGUPCAUSE})
exten => 23,1,Dial(SIP/dev2&SIP/dev3,20)
exten => _9X.,1,Dial(SIP/carrier/${EXTEN:1},20)

[lobby]
exten => 100,1,Answer()
 same => n,Hangup()
"""
FAMILIES = list(Family)


@pytest.fixture(scope="module")
def carrier() -> Address:
    """Where sip.conf says the carrier is."""
    return Address("127.0.0.10", free_port())


@pytest.fixture(scope="module")
def lab(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory, carrier: Address) -> Iterator[Lab]:
    """One PBX for all tests here; each says which phones there are."""
    phones = PHONES.format(carrier=carrier)
    yield from open_lab(module_programs, tmp_path_factory.mktemp("pbx"), extensions=EXTENSIONS_CONF, phones=phones)


def session_family(message: Message) -> str:
    """IP4 or IP6: of the connection line, and of nothing else in the description."""
    description = message.body.decode()
    assert "[" not in description
    (family,) = set(re.findall(r"^[oc]=.*\bIN (\S+) ", description, re.MULTILINE))
    return str(family)


# --- answered --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller_by", "callee_by"),
    [("udp", "udp"), ("tcp", "tcp"), ("udp", "tcp"), ("tcp", "udp")],
)
@pytest.mark.parametrize("callee_family", FAMILIES, ids=lambda family: f"to-{family.value}")
@pytest.mark.parametrize("caller_family", FAMILIES, ids=lambda family: f"from-{family.value}")
def test_a_call_is_answered_and_each_leg_has_its_own_family_and_transport(
    lab: Lab, sipp: Sipp,
    caller_family: Family, callee_family: Family, caller_by: str, callee_by: str,
) -> None:  # fmt: skip
    callee = sipp.listen("callee_answers", family=callee_family, transport=callee_by)
    lab.lead("dev2", callee)
    caller = sipp.call("caller_hangs_up", lab.pbx.address(caller_family), called="2", transport=caller_by)

    heard = caller.finish()
    assert statuses(heard) == [401, 100, 180, 200, 200]
    assert session_family(heard[3]) == caller_family.sdp
    invite = callee.finish()[0]
    assert invite.uri == callee.contact
    assert session_family(invite) == callee_family.sdp
    assert '"Fred" <sip:1@' in invite.get("From")

    story = lab.history.call(call_id(heard))
    started, invited = story.one(CallStarted), story.one(LegInvited)
    assert (started.family, started.transport, started.source) == (caller_family.value, caller_by, str(caller.local))
    assert (invited.family, invited.transport) == (callee_family.value, callee_by)
    assert story.one(LegsBridged) == LegsBridged(leg="a", peer="b1")
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="a")
    assert ended(story, "a") == (200, 16, "remote")
    assert ended(story, "b1") == (200, 16, "local")


def test_the_record_of_a_call_names_both_legs_families_and_transports(lab: Lab, sipp: Sipp) -> None:
    callee = sipp.listen("callee_answers", family=Family.IP6, transport="tcp")
    lab.lead("dev2", callee)
    heard = sipp.call("caller_hangs_up", lab.pbx.address(), called="2").finish()
    callee.finish()
    lab.history.call(call_id(heard))
    record = lab.pbx.cdr(dst="2", b_transport="tcp", b_family="ip6", a_transport="udp", a_family="ip4")
    assert (record["disposition"], record["src"], record["dcontext"], record["lastapp"]) == (
        *("ANSWERED", "1", "internal", "Dial"),
    )


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_callee_that_hangs_up_ends_the_call(lab: Lab, sipp: Sipp, transport: str) -> None:
    callee = sipp.listen("callee_hangs_up", transport=transport)
    lab.lead("dev2", callee)
    caller = sipp.call("caller_is_hung_up_on", lab.pbx.address(), called="2", transport=transport)

    heard = caller.finish()
    callee.finish()
    assert heard[-1].start.startswith("BYE ")
    assert heard[-1].get("Reason") == "Q.850;cause=16"
    story = lab.history.call(call_id(heard))
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="b1")
    assert (ended(story, "a"), ended(story, "b1")) == ((200, 16, "local"), (200, 16, "remote"))


def test_early_media_reaches_the_caller_and_stays_the_session_of_the_answer(lab: Lab, sipp: Sipp) -> None:
    callee = sipp.listen("callee_plays_early_media", family=Family.IP6)
    lab.lead("dev2", callee)
    caller = sipp.call("caller_hears_early_media", lab.pbx.address(), called="2")

    heard = caller.finish()
    callee.finish()
    assert statuses(heard) == [401, 100, 183, 200, 200]
    assert heard[2].body == heard[3].body
    story = lab.history.call(call_id(heard))
    assert story.one(LegProgressed).status == 183
    assert story.one(CallEnded).disposition == "ANSWERED"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"to-{family.value}")
def test_a_caller_may_leave_the_offer_to_us_and_answer_in_its_ack(lab: Lab, sipp: Sipp, family: Family) -> None:
    callee = sipp.listen("callee_answers", family=family)
    lab.lead("dev2", callee)
    caller = sipp.call("caller_offers_late", lab.pbx.address(), called="2")

    heard = caller.finish()
    callee.finish()
    assert session_family(heard[-2]) == "IP4"
    story = lab.history.call(call_id(heard))
    assert story.one(CallStarted).sdp == b""
    assert story.one(LegRenegotiated, leg="a").offer.startswith(b"v=0")
    assert story.one(CallEnded).disposition == "ANSWERED"


@pytest.mark.parametrize("winner", ["dev2", "dev3"])
def test_a_ring_group_is_bridged_to_who_answers_and_the_other_stops_ringing(lab: Lab, sipp: Sipp, winner: str) -> None:
    loser = {"dev2": "dev3", "dev3": "dev2"}[winner]
    rings, answers = sipp.listen("callee_rings"), sipp.listen("callee_answers", family=Family.IP6)
    lab.lead(loser, rings)
    lab.lead(winner, answers)
    caller = sipp.call("caller_hangs_up", lab.pbx.address(), called="23")

    heard = caller.finish()
    assert statuses(heard).count(180) == 1
    assert [message.start.split()[0] for message in rings.finish()] == ["INVITE", "CANCEL", "ACK"]
    answers.finish()
    story = lab.history.call(call_id(heard))
    legs = {event.phone: event.leg for event in story.all(LegInvited)}
    assert story.one(LegsBridged) == LegsBridged(leg="a", peer=legs[winner])
    assert ended(story, legs[loser]) == (487, 16, "local")
    assert ended(story, legs[winner]) == (200, 16, "local")
    assert story.one(CallEnded).disposition == "ANSWERED"


def test_a_phone_with_two_contacts_rings_at_both(lab: Lab, sipp: Sipp) -> None:
    rings, answers = sipp.listen("callee_rings"), sipp.listen("callee_answers", transport="tcp")
    lab.lead("dev2", rings, answers)
    heard = sipp.call("caller_hangs_up", lab.pbx.address(), called="2").finish()
    rings.finish()
    answers.finish()
    story = lab.history.call(call_id(heard))
    assert {event.transport for event in story.all(LegInvited)} == {"udp", "tcp"}
    assert story.one(LegAnswered, leg="a").application == ""


# --- not answered ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "cause", "dial_status", "status", "disposition"),
    [
        ("486 Busy Here", 17, "BUSY", 486, "BUSY"),
        ("600 Busy Everywhere", 17, "BUSY", 486, "BUSY"),
        ("603 Decline", 21, "BUSY", 486, "BUSY"),
        ("480 Temporarily Unavailable", 19, "NOANSWER", 480, "NO ANSWER"),
        ("302 Moved Temporarily", 31, "CHANUNAVAIL", 480, "FAILED"),
        ("404 Not Found", 1, "CHANUNAVAIL", 480, "FAILED"),
        ("500 Server Internal Error", 41, "CONGESTION", 503, "CONGESTION"),
        ("503 Service Unavailable", 34, "CONGESTION", 503, "CONGESTION"),
    ],
)
def test_what_a_callee_says_comes_to_the_caller_as_the_dialplan_understands_it(
    lab: Lab, sipp: Sipp, refusal: str, cause: int, dial_status: str, status: int, disposition: str
) -> None:
    callee = sipp.listen("callee_refuses", refusal=refusal)
    lab.lead("dev2", callee)
    heard = sipp.call("caller_is_refused", lab.pbx.address(), called="2", status=str(status)).finish()
    callee.finish()
    story = lab.history.call(call_id(heard))
    assert ended(story, "b1") == (int(refusal[:3]), cause, "remote")
    assert story.one(DialEnded).status == dial_status
    end = story.one(CallEnded)
    assert (end.disposition, end.by) == (disposition, "")


@pytest.mark.parametrize(
    ("refusal", "status"),
    [("486 Busy Here", 486), ("603 Decline", 403), ("404 Not Found", 404), ("606 Not Acceptable", 488)],
)
def test_a_dialplan_may_hang_up_with_the_callees_own_cause(lab: Lab, sipp: Sipp, refusal: str, status: int) -> None:
    callee = sipp.listen("callee_refuses", refusal=refusal)
    lab.lead("dev2", callee)
    heard = sipp.call("caller_is_refused", lab.pbx.address(), called="22", status=str(status)).finish()
    callee.finish()
    story = lab.history.call(call_id(heard))
    assert story.one(CallEnded).cause == ended(story, "b1")[1]


def test_a_callee_that_does_not_answer_in_time_is_cancelled(lab: Lab, sipp: Sipp) -> None:
    callee = sipp.listen("callee_rings")
    lab.lead("dev2", callee)
    heard = sipp.call("caller_is_refused", lab.pbx.address(), called="21", status="480").finish()
    callee.finish()
    story = lab.history.call(call_id(heard))
    assert story.one(LegRinging).status == 180
    assert ended(story, "b1") == (487, 16, "local")
    assert story.one(DialEnded).status == "NOANSWER"
    assert story.one(CallEnded) == CallEnded(disposition="NO ANSWER", cause=19, reason="hang-up", by="")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.value)
def test_a_caller_that_gives_up_gets_487_and_the_callee_stops_ringing(
    lab: Lab, sipp: Sipp, family: Family, transport: str
) -> None:
    callee = sipp.listen("callee_rings", family=family, transport=transport)
    lab.lead("dev2", callee)
    heard = sipp.call("caller_cancels", lab.pbx.address(family), called="2", transport=transport).finish()
    callee.finish()
    assert statuses(heard)[-2:] == [200, 487]
    story = lab.history.call(call_id(heard))
    assert (ended(story, "a"), ended(story, "b1")) == ((487, 16, "remote"), (487, 16, "local"))
    assert story.one(CallEnded) == CallEnded(disposition="NO ANSWER", cause=16, reason="caller cancelled", by="a")


def test_a_phone_that_is_not_registered_cannot_be_reached(lab: Lab, sipp: Sipp) -> None:
    lab.lead("dev2")
    heard = sipp.call("caller_is_refused", lab.pbx.address(), called="2", status="480").finish()
    story = lab.history.call(call_id(heard))
    assert not story.all(LegInvited)
    assert story.one(DialEnded).status == "CHANUNAVAIL"
    assert story.one(CallEnded).cause == 20


@pytest.mark.parametrize(
    ("user", "password", "called"),
    [("dev1", "one", "555"), ("visitor", "four", "2")],
    ids=["an extension that is not there", "an extension of another context"],
)
def test_what_the_callers_context_has_not_is_not_found(
    lab: Lab, sipp: Sipp, user: str, password: str, called: str
) -> None:
    heard = sipp.call(
        "caller_is_refused", lab.pbx.address(), called=called, user=user, password=password, status="404"
    ).finish()
    story = lab.history.call(call_id(heard))
    assert story.one(CallStarted).phone == user
    end = story.one(CallEnded)
    assert (end.disposition, end.cause) == ("FAILED", 1)


# --- who may call ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "password"), [("nobody", "one"), ("dev1", "wrong")], ids=["a stranger", "a wrong password"]
)
def test_who_cannot_say_the_password_is_asked_again_and_there_is_no_call(
    lab: Lab, sipp: Sipp, user: str, password: str
) -> None:
    before = len(lab.history.calls())
    heard = sipp.call(
        "caller_is_refused", lab.pbx.address(), called="2", user=user, password=password, status="401"
    ).finish()
    assert statuses(heard) == [401, 401]
    assert len(lab.history.calls()) == before


def test_a_phone_calls_only_from_where_it_is_permitted(lab: Lab, sipp: Sipp) -> None:
    calls = {
        host: sipp.call(
            "caller_is_refused",
            lab.pbx.address(),
            called="555",
            user="guarded",
            password="five",
            host=host,
            status=status,
        )
        for host, status in (("127.0.0.7", "403"), ("127.0.0.8", "404"))
    }
    assert statuses(calls["127.0.0.7"].finish())[-1] == 403
    assert lab.history.call(call_id(calls["127.0.0.8"].finish())).one(CallStarted).phone == "guarded"
    assert "127.0.0.7" not in str(lab.history.calls())


def test_a_trunk_known_by_its_address_calls_without_a_password(lab: Lab, sipp: Sipp) -> None:
    caller = sipp.call("trunk_is_hung_up_on", lab.pbx.address(), called="100", user="4912345", host="127.0.0.9")
    story = lab.history.call(call_id(caller.finish()))
    started = story.one(CallStarted)
    assert (started.phone, started.context, started.caller_number) == ("gateway", "lobby", "4912345")
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="")


def test_a_trunk_with_an_address_is_called_there_with_the_number(lab: Lab, sipp: Sipp, carrier: Address) -> None:
    callee = sipp.listen("callee_answers", local=carrier)
    heard = sipp.call("caller_hangs_up", lab.pbx.address(), called="9123").finish()
    assert callee.finish()[0].uri == f"sip:123@{carrier}"
    invited = lab.history.call(call_id(heard)).one(LegInvited)
    assert (invited.phone, invited.destination) == ("carrier", str(carrier))
