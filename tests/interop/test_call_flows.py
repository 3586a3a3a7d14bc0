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
    LegEnded,
    LegInvited,
    LegProgressed,
    LegRenegotiated,
    LegRinging,
    LegsBridged,
)
from tests.interop.history import History, Story
from tests.support.pbx import Pbx, start_pbx
from tests.support.processes import Programs, free_port
from tests.support.rawsip import Message, Peer, Phone
from tests.support.sipp import Run, Sipp, sipp

__all__ = ["sipp"]

SIP_CONF = """
[general]
context=internal
realm=pbx.example

[phone](!)
type=friend
host=dynamic

[dev1](phone)
secret=one
callerid="Fred" <1>

[dev2](phone)
secret=two

[dev3](phone)
secret=three

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
host=127.0.0.10
port={carrier_port}
"""
EXTENSIONS_CONF = """
[internal]
exten => 2,1,Dial(SIP/dev2,20)
exten => 21,1,Dial(SIP/dev2,1)
exten => 23,1,Dial(SIP/dev2&SIP/dev3,20)
exten => 3,1,Dial(SIP/dev3,20)
exten => _9X.,1,Dial(SIP/carrier/${EXTEN:1},20)

[lobby]
exten => 100,1,Answer()
 same => n,Hangup()
"""
FAMILIES = list(Family)
PASSWORDS = {"dev2": "two", "dev3": "three"}


@pytest.fixture(scope="module")
def carrier() -> Address:
    """Where sip.conf says the carrier is."""
    return Address("127.0.0.10", free_port())


@pytest.fixture(scope="module")
def pbx(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory, carrier: Address) -> Iterator[Pbx]:
    """One PBX for all tests here; each registers its phones anew."""
    sip = SIP_CONF.format(carrier_port=carrier.port)
    yield start_pbx(module_programs, tmp_path_factory.mktemp("pbx"), sip=sip, extensions=EXTENSIONS_CONF)


@pytest.fixture(scope="module")
def history(pbx: Pbx) -> History:
    return History(pbx.data)


def register(pbx: Pbx, name: str, run: Run) -> None:
    """From now on calls to a phone go to this SIPp and nowhere else."""
    with Peer(pbx.address(run.local.family)) as peer:
        phone = Phone(peer, name, PASSWORDS[name])
        assert phone.register("*", expires=0).status == 200
        assert phone.register(f"<{run.contact}>").contacts == [run.contact]


def unregister(pbx: Pbx, name: str) -> None:
    with Peer(pbx.address()) as peer:
        assert Phone(peer, name, PASSWORDS[name]).register("*", expires=0).status == 200


def call_id(messages: list[Message]) -> str:
    """Of the caller that got these."""
    return messages[0].get("Call-ID")


def statuses(messages: list[Message]) -> list[int]:
    return [message.status for message in messages]


def ended(story: Story, leg: str) -> tuple[int, int, str]:
    """Status, cause, and who ended a leg."""
    event = story.one(LegEnded, leg=leg)
    return event.status, event.cause, event.by


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
    pbx: Pbx, history: History, sipp: Sipp,
    caller_family: Family, callee_family: Family, caller_by: str, callee_by: str,
) -> None:  # fmt: skip
    callee = sipp.listen("callee_answers", family=callee_family, transport=callee_by)
    register(pbx, "dev2", callee)
    caller = sipp.call("caller_hangs_up", pbx.address(caller_family), called="2", transport=caller_by)

    heard = caller.finish()
    assert statuses(heard) == [401, 100, 180, 200, 200]
    assert session_family(heard[3]) == caller_family.sdp
    invite = callee.finish()[0]
    assert invite.uri == callee.contact
    assert session_family(invite) == callee_family.sdp
    assert '"Fred" <sip:1@' in invite.get("From")

    story = history.call(call_id(heard))
    started, invited = story.one(CallStarted), story.one(LegInvited)
    assert (started.family, started.transport, started.source) == (caller_family.value, caller_by, str(caller.local))
    assert (invited.family, invited.transport) == (callee_family.value, callee_by)
    assert story.one(LegsBridged) == LegsBridged(leg="a", peer="b1")
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="a")
    assert ended(story, "a") == (200, 16, "remote")
    assert ended(story, "b1") == (200, 16, "local")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_callee_that_hangs_up_ends_the_call(pbx: Pbx, history: History, sipp: Sipp, transport: str) -> None:
    callee = sipp.listen("callee_hangs_up", transport=transport)
    register(pbx, "dev2", callee)
    caller = sipp.call("caller_is_hung_up_on", pbx.address(), called="2", transport=transport)

    heard = caller.finish()
    callee.finish()
    assert heard[-1].start.startswith("BYE ")
    assert heard[-1].get("Reason") == "Q.850;cause=16"
    story = history.call(call_id(heard))
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="b1")
    assert (ended(story, "a"), ended(story, "b1")) == ((200, 16, "local"), (200, 16, "remote"))


def test_early_media_reaches_the_caller_and_stays_the_session_of_the_answer(
    pbx: Pbx, history: History, sipp: Sipp
) -> None:
    callee = sipp.listen("callee_plays_early_media", family=Family.IP6)
    register(pbx, "dev2", callee)
    caller = sipp.call("caller_hears_early_media", pbx.address(), called="2")

    heard = caller.finish()
    callee.finish()
    assert statuses(heard) == [401, 100, 183, 200, 200]
    assert heard[2].body == heard[3].body
    story = history.call(call_id(heard))
    assert story.one(LegProgressed).status == 183
    assert story.one(CallEnded).disposition == "ANSWERED"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"to-{family.value}")
def test_a_caller_may_leave_the_offer_to_us_and_answer_in_its_ack(
    pbx: Pbx, history: History, sipp: Sipp, family: Family
) -> None:
    callee = sipp.listen("callee_answers", family=family)
    register(pbx, "dev2", callee)
    caller = sipp.call("caller_offers_late", pbx.address(), called="2")

    heard = caller.finish()
    callee.finish()
    assert session_family(heard[-2]) == "IP4"
    story = history.call(call_id(heard))
    assert story.one(CallStarted).sdp == b""
    assert story.one(LegRenegotiated, leg="a").offer.startswith(b"v=0")
    assert story.one(CallEnded).disposition == "ANSWERED"


@pytest.mark.parametrize("winner", ["dev2", "dev3"])
def test_a_ring_group_is_bridged_to_who_answers_and_the_other_stops_ringing(
    pbx: Pbx, history: History, sipp: Sipp, winner: str
) -> None:
    loser = {"dev2": "dev3", "dev3": "dev2"}[winner]
    rings, answers = sipp.listen("callee_rings"), sipp.listen("callee_answers", family=Family.IP6)
    register(pbx, loser, rings)
    register(pbx, winner, answers)
    caller = sipp.call("caller_hangs_up", pbx.address(), called="23")

    heard = caller.finish()
    assert statuses(heard).count(180) == 1
    assert [message.start.split()[0] for message in rings.finish()] == ["INVITE", "CANCEL", "ACK"]
    answers.finish()
    story = history.call(call_id(heard))
    legs = {event.phone: event.leg for event in story.all(LegInvited)}
    assert story.one(LegsBridged) == LegsBridged(leg="a", peer=legs[winner])
    assert ended(story, legs[loser]) == (487, 16, "local")
    assert ended(story, legs[winner]) == (200, 16, "local")
    assert story.one(CallEnded).disposition == "ANSWERED"


def test_a_phone_with_two_contacts_rings_at_both(pbx: Pbx, history: History, sipp: Sipp) -> None:
    rings, answers = sipp.listen("callee_rings"), sipp.listen("callee_answers", transport="tcp")
    register(pbx, "dev2", rings)
    with Peer(pbx.address()) as peer:
        assert len(Phone(peer, "dev2", "two").register(f"<{answers.contact}>").contacts) == 2
    heard = sipp.call("caller_hangs_up", pbx.address(), called="2").finish()
    rings.finish()
    answers.finish()
    story = history.call(call_id(heard))
    assert {event.transport for event in story.all(LegInvited)} == {"udp", "tcp"}
    assert story.one(LegAnswered, leg="a").application == ""


# --- not answered ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "status", "cause", "dial_status", "disposition"),
    [
        ("486 Busy Here", 486, 17, "BUSY", "BUSY"),
        ("600 Busy Everywhere", 486, 17, "BUSY", "BUSY"),
        ("603 Decline", 603, 21, "BUSY", "BUSY"),
        ("480 Temporarily Unavailable", 480, 19, "NOANSWER", "NO ANSWER"),
        ("302 Moved Temporarily", 480, 31, "CHANUNAVAIL", "FAILED"),
        ("404 Not Found", 404, 1, "CHANUNAVAIL", "FAILED"),
        ("488 Not Acceptable Here", 488, 58, "CHANUNAVAIL", "FAILED"),
        ("500 Server Internal Error", 503, 41, "CONGESTION", "FAILED"),
        ("503 Service Unavailable", 503, 34, "CONGESTION", "CONGESTION"),
        ("606 Not Acceptable", 488, 58, "CHANUNAVAIL", "FAILED"),
    ],
)
def test_what_the_callee_says_comes_to_the_caller_in_its_meaning(
    pbx: Pbx, history: History, sipp: Sipp,
    refusal: str, status: int, cause: int, dial_status: str, disposition: str,
) -> None:  # fmt: skip
    callee = sipp.listen("callee_refuses", refusal=refusal)
    register(pbx, "dev2", callee)
    heard = sipp.call("caller_is_refused", pbx.address(), called="2", status=str(status)).finish()
    callee.finish()
    story = history.call(call_id(heard))
    assert ended(story, "b1") == (int(refusal[:3]), cause, "remote")
    assert story.one(DialEnded).status == dial_status
    end = story.one(CallEnded)
    assert (end.disposition, end.by) == (disposition, "")


def test_a_callee_that_does_not_answer_in_time_is_cancelled(pbx: Pbx, history: History, sipp: Sipp) -> None:
    callee = sipp.listen("callee_rings")
    register(pbx, "dev2", callee)
    heard = sipp.call("caller_is_refused", pbx.address(), called="21", status="480").finish()
    callee.finish()
    story = history.call(call_id(heard))
    assert story.one(LegRinging).status == 180
    assert ended(story, "b1") == (487, 16, "local")
    assert story.one(DialEnded).status == "NOANSWER"
    assert story.one(CallEnded) == CallEnded(disposition="NO ANSWER", cause=19, reason="hang-up", by="")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.value)
def test_a_caller_that_gives_up_gets_487_and_the_callee_stops_ringing(
    pbx: Pbx, history: History, sipp: Sipp, family: Family, transport: str
) -> None:
    callee = sipp.listen("callee_rings", family=family, transport=transport)
    register(pbx, "dev2", callee)
    heard = sipp.call("caller_cancels", pbx.address(family), called="2", transport=transport).finish()
    callee.finish()
    assert statuses(heard)[-2:] == [200, 487]
    story = history.call(call_id(heard))
    assert (ended(story, "a"), ended(story, "b1")) == ((487, 16, "remote"), (487, 16, "local"))
    assert story.one(CallEnded) == CallEnded(disposition="NO ANSWER", cause=16, reason="caller cancelled", by="a")


def test_a_phone_that_is_not_registered_cannot_be_reached(pbx: Pbx, history: History, sipp: Sipp) -> None:
    unregister(pbx, "dev2")
    heard = sipp.call("caller_is_refused", pbx.address(), called="2", status="480").finish()
    story = history.call(call_id(heard))
    assert not story.all(LegInvited)
    assert story.one(DialEnded).status == "CHANUNAVAIL"
    assert story.one(CallEnded).cause == 20


@pytest.mark.parametrize(
    ("user", "password", "called"),
    [("dev1", "one", "999"), ("visitor", "four", "2")],
    ids=["an extension that is not there", "an extension of another context"],
)
def test_what_the_callers_context_has_not_is_not_found(
    pbx: Pbx, history: History, sipp: Sipp, user: str, password: str, called: str
) -> None:
    heard = sipp.call(
        "caller_is_refused", pbx.address(), called=called, user=user, password=password, status="404"
    ).finish()
    story = history.call(call_id(heard))
    assert story.one(CallStarted).phone == user
    end = story.one(CallEnded)
    assert (end.disposition, end.cause) == ("FAILED", 1)


# --- who may call ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "password"), [("nobody", "one"), ("dev1", "wrong")], ids=["a stranger", "a wrong password"]
)
def test_who_cannot_say_the_password_is_asked_again_and_there_is_no_call(
    pbx: Pbx, history: History, sipp: Sipp, user: str, password: str
) -> None:
    before = len(history.calls())
    heard = sipp.call(
        "caller_is_refused", pbx.address(), called="2", user=user, password=password, status="401"
    ).finish()
    assert statuses(heard) == [401, 401]
    assert len(history.calls()) == before


def test_a_phone_calls_only_from_where_it_is_permitted(pbx: Pbx, history: History, sipp: Sipp) -> None:
    calls = {
        host: sipp.call(
            "caller_is_refused", pbx.address(), called="999", user="guarded", password="five", host=host, status=status
        )
        for host, status in (("127.0.0.7", "403"), ("127.0.0.8", "404"))
    }
    assert statuses(calls["127.0.0.7"].finish())[-1] == 403
    assert history.call(call_id(calls["127.0.0.8"].finish())).one(CallStarted).phone == "guarded"
    assert "127.0.0.7" not in str(history.calls())


def test_a_trunk_known_by_its_address_calls_without_a_password(pbx: Pbx, history: History, sipp: Sipp) -> None:
    caller = sipp.call("trunk_is_hung_up_on", pbx.address(), called="100", user="4912345", host="127.0.0.9")
    story = history.call(call_id(caller.finish()))
    started = story.one(CallStarted)
    assert (started.phone, started.context, started.caller_number) == ("gateway", "lobby", "4912345")
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="")


def test_a_trunk_with_an_address_is_called_there_with_the_number(
    pbx: Pbx, history: History, sipp: Sipp, carrier: Address
) -> None:
    callee = sipp.listen("callee_answers", local=carrier)
    heard = sipp.call("caller_hangs_up", pbx.address(), called="9123").finish()
    assert callee.finish()[0].uri == f"sip:123@{carrier}"
    invited = history.call(call_id(heard)).one(LegInvited)
    assert (invited.phone, invited.destination) == ("carrier", str(carrier))
