"""What a network does to calls: messages that are lost, doubled, or cross each other on their way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.core.events.catalogue import CallEnded, CallStarted, LegEnded, LegHeld, LegInvited, LegsBridged
from tests.interop.lab import Lab, call_id, ended, open_lab
from tests.support.processes import Programs
from tests.support.rawsip import Message, Phone, session
from tests.support.sipp import Sipp, sipp

__all__ = ["sipp"]

T1_S = 0.02
EXTENSIONS_CONF = """
[internal]
exten => 2,1,Dial(SIP/dev2,20)
exten => 100,1,Answer()
 same => n,Wait(30)
"""


@pytest.fixture(scope="module")
def lab(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A PBX in a hurry: what takes half a minute elsewhere takes a second or two."""
    yield from open_lab(
        module_programs,
        tmp_path_factory.mktemp("pbx"),
        extensions=EXTENSIONS_CONF,
        general=f"timert1={round(T1_S * 1000)}",
        rtp="rtptimeout=2\nrtpholdtimeout=2",
    )


@pytest.fixture
def caller(lab: Lab) -> Iterator[Phone]:
    with lab.phone("dev1") as phone:
        yield phone


@pytest.fixture
def callee(lab: Lab) -> Iterator[Phone]:
    """dev2, registered, and nobody else under that name."""
    with lab.phone("dev2") as phone:
        assert phone.register("*", expires=0).status == 200
        assert phone.register().contacts == [phone.contact]
        yield phone


def answer_call(caller: Phone, callee: Phone) -> tuple[Message, Message]:
    """A call that is up; returns what the callee was asked and what the caller was told."""
    caller.way.send(caller.invite("2"))
    asked = callee.await_request("INVITE")
    callee.way.send(callee.reply(asked, 200, body=session(callee.way.local)))
    callee.await_request("ACK")
    told = caller.await_status(200)
    caller.way.send(caller.in_dialog("ACK", told))
    return asked, told


def hang_up(caller: Phone, told: Message) -> None:
    assert caller.tell(caller.in_dialog("BYE", told)).status == 200


# --- lost ------------------------------------------------------------------------------------------------------------


def test_an_answer_that_nobody_acknowledges_is_repeated_and_then_the_call_is_ended(
    lab: Lab, sipp: Sipp, caller: Phone
) -> None:
    callee = sipp.listen("callee_answers")
    lab.lead("dev2", callee)
    caller.way.send(caller.invite("2"))
    heard = [caller.await_status(200)]
    while not heard[-1].start.startswith("BYE "):
        heard.append(caller.way.receive())
    caller.way.send(caller.reply(heard[-1], 200))
    # At 0, 1, 3, 7 ... times T1, for 64 times T1 (RFC 3261 section 13.3.1.4); T2 is far.
    assert {message.start for message in heard[:-1]} == {"SIP/2.0 200 OK"}
    assert 5 <= len(heard[:-1]) <= 7
    assert len({message.body for message in heard[:-1]}) == 1
    bye = callee.finish()[-1]
    assert (bye.start.split()[0], bye.get("Reason")) == ("BYE", "Q.850;cause=102")
    story = lab.history.call(call_id(heard))
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=102, reason="lost ACK", by="")


@pytest.mark.parametrize("called", ["2", "100"], ids=["between phones", "to an application"])
def test_a_call_whose_goodbye_was_lost_ends_when_the_media_is_silent(lab: Lab, sipp: Sipp, called: str) -> None:
    callee = sipp.listen("callee_answers")
    lab.lead("dev2", callee)
    heard = sipp.call("caller_is_hung_up_on", lab.pbx.address(), called=called).finish()
    assert heard[-1].get("Reason") == "Q.850;cause=102"
    if called == "2":
        callee.finish()
    story = lab.history.call(call_id(heard))
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=102, reason="RTP timeout", by="")


def test_a_callee_that_says_nothing_at_all_is_given_up(lab: Lab, caller: Phone, callee: Phone) -> None:
    answer = caller.tell(caller.invite("2"))
    assert answer.status == 480
    assert callee.await_request("INVITE").start == callee.await_request("INVITE").start, "the INVITE is repeated"
    story = lab.history.call(answer.get("Call-ID"))
    assert ended(story, "b1")[0] == 408
    assert story.one(CallEnded).disposition == "FAILED"


def test_a_callees_answer_that_comes_again_is_acknowledged_again(lab: Lab, caller: Phone, callee: Phone) -> None:
    asked, told = answer_call(caller, callee)
    callee.way.send(callee.reply(asked, 200, body=session(callee.way.local)))
    assert callee.way.receive().start.startswith("ACK ")
    hang_up(caller, told)
    assert lab.history.call(told.get("Call-ID")).one(LegsBridged) == LegsBridged(leg="a", peer="b1")


def test_a_lost_answer_to_a_bye_is_given_again(caller: Phone, callee: Phone) -> None:
    _, told = answer_call(caller, callee)
    bye = caller.in_dialog("BYE", told)
    assert [caller.tell(bye).status for _ in range(3)] == [200, 200, 200]


# --- doubled ---------------------------------------------------------------------------------------------------------


def test_an_invite_that_comes_three_times_is_one_call(lab: Lab, caller: Phone, callee: Phone) -> None:
    invite = caller.invite("2")
    for _ in range(3):
        caller.way.send(invite)
    asked = callee.await_request("INVITE")
    callee.way.send(callee.reply(asked, 486, "Busy Here"))
    answer = caller.tell(invite)
    assert answer.status == 486
    story = lab.history.call(answer.get("Call-ID"))
    assert len(story.all(CallStarted)) == len(story.all(LegInvited)) == 1


def test_an_invite_on_two_ways_at_once_is_one_call(lab: Lab, caller: Phone, callee: Phone) -> None:
    invite = caller.invite("2")
    caller.way.send(invite)
    asked = callee.await_request("INVITE")
    (branch,) = (part for part in Message.read(invite).get("Via").split(";") if part.startswith("branch="))
    merged = caller.tell(invite.replace(branch.encode(), b"branch=z9hG4bKtheOtherWay"))
    assert merged.status == 482
    callee.way.send(callee.reply(asked, 486, "Busy Here"))
    assert caller.tell(invite).status == 486
    assert len(lab.history.call(merged.get("Call-ID")).all(LegInvited)) == 1


def test_the_second_of_two_answers_of_a_fork_is_hung_up(lab: Lab, caller: Phone, callee: Phone) -> None:
    caller.way.send(caller.invite("2"))
    asked = callee.await_request("INVITE")
    for tag in ("first", "second"):
        callee.way.send(callee.reply(asked, 200, body=session(callee.way.local), to_tag=tag))
    got = [callee.way.receive() for _ in range(3)]
    for message in got:
        if message.start.startswith("BYE "):
            callee.way.send(callee.reply(message, 200))
    assert sorted((message.start.split()[0], message.tag("To")) for message in got) == [
        ("ACK", "first"),
        ("ACK", "second"),
        ("BYE", "second"),
    ]
    told = caller.await_status(200)
    caller.way.send(caller.in_dialog("ACK", told))
    hang_up(caller, told)
    assert callee.await_request("BYE").tag("To") == "first"
    assert lab.history.call(told.get("Call-ID")).one(CallEnded).disposition == "ANSWERED"


# --- crossing --------------------------------------------------------------------------------------------------------


def test_an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up(lab: Lab, caller: Phone, callee: Phone) -> None:
    invite = caller.invite("2")
    caller.way.send(invite)
    asked = callee.await_request("INVITE")
    callee.way.send(callee.reply(asked, 180))
    caller.await_status(180)
    caller.way.send(caller.cancel(invite))
    cancel = callee.await_request("CANCEL")
    callee.way.send(callee.reply(asked, 200, body=session(callee.way.local)))
    callee.way.send(callee.reply(cancel, 200))
    callee.await_request("ACK")
    callee.way.send(callee.reply(callee.await_request("BYE"), 200))
    answer = caller.tell(invite)
    assert answer.status == 487
    story = lab.history.call(answer.get("Call-ID"))
    assert story.one(CallEnded) == CallEnded(disposition="NO ANSWER", cause=16, reason="caller cancelled", by="a")
    assert {event.by for event in story.all(LegEnded, leg="b1")} == {"local"}


def test_nobody_is_hung_up_on_before_the_acknowledgement(lab: Lab, caller: Phone, callee: Phone) -> None:
    caller.way.send(caller.invite("2"))
    asked = callee.await_request("INVITE")
    callee.way.send(callee.reply(asked, 200, body=session(callee.way.local)))
    callee.await_request("ACK")
    told = caller.await_status(200)
    assert callee.tell(callee.back_in_dialog("BYE", asked)).status == 200
    # What comes now are copies of the 200; the BYE waits for the ACK (RFC 3261 section 15).
    assert caller.way.receive().status == 200
    caller.way.send(caller.in_dialog("ACK", told))
    bye = caller.await_request("BYE")
    caller.way.send(caller.reply(bye, 200))
    assert lab.history.call(told.get("Call-ID")).one(CallEnded).by == "b1"


def test_a_cancel_after_the_answer_ends_nothing(lab: Lab, caller: Phone, callee: Phone) -> None:
    invite = caller.invite("2")
    caller.way.send(invite)
    asked = callee.await_request("INVITE")
    callee.way.send(callee.reply(asked, 200, body=session(callee.way.local)))
    callee.await_request("ACK")
    told = caller.await_status(200)
    assert caller.tell(caller.cancel(invite)).status == 200
    caller.way.send(caller.in_dialog("ACK", told))
    hang_up(caller, told)
    assert lab.history.call(told.get("Call-ID")).one(CallEnded).reason == "hang-up"


def test_two_changes_that_cross_are_both_put_off(lab: Lab, caller: Phone, callee: Phone) -> None:
    asked, told = answer_call(caller, callee)
    caller.way.send(caller.in_dialog("INVITE", told, body=session(caller.way.local, version=2)))
    callee.await_request("INVITE")
    glare = callee.tell(callee.back_in_dialog("INVITE", asked))
    assert glare.status == 491
    hang_up(caller, told)
    assert lab.history.call(told.get("Call-ID")).one(CallEnded).disposition == "ANSWERED"


def test_a_call_that_both_have_put_on_hold_and_forgotten_ends(lab: Lab, caller: Phone, callee: Phone) -> None:
    asked, told = answer_call(caller, callee)
    on_hold = {phone.user: session(phone.way.local, direction="inactive", version=2) for phone in (caller, callee)}
    for holder, held in ((caller, callee), (callee, caller)):
        request = (
            caller.in_dialog("INVITE", told, body=on_hold["dev1"])
            if holder is caller
            else callee.back_in_dialog("INVITE", asked, body=on_hold["dev2"])
        )
        holder.way.send(request)
        asked_anew = held.await_request("INVITE")
        held.way.send(held.reply(asked_anew, 200, body=on_hold[held.user]))
        held.await_request("ACK")
        agreed = holder.await_status(200)
        holder.way.send(holder.ack_in_dialog(Message.read(request), agreed))
    for phone in (caller, callee):
        phone.way.send(phone.reply(phone.await_request("BYE"), 200))
    story = lab.history.call(told.get("Call-ID"))
    assert {event.leg for event in story.all(LegHeld)} == {"a", "b1"}
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=102, reason="RTP timeout", by="")
