"""Changing a session that is up: hold, resume, refused and late offers, from either side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.core.address import Family
from services.core.events.catalogue import CallEnded, LegHeld, LegRenegotiated, LegResumed
from tests.interop.lab import Lab, call_id, open_lab
from tests.support.processes import Programs
from tests.support.rawsip import Message
from tests.support.sipp import Sipp, sipp

__all__ = ["sipp"]

EXTENSIONS_CONF = """
[internal]
exten => 2,1,Dial(SIP/dev2,20)
exten => 600,1,Answer()
 same => n,Echo()
"""
HOLDS = [
    # how one side says it, what the other is told, what that one says to it, what the first is told, the fact
    ("sendonly", "[media_ip]", "sendonly", "recvonly", "recvonly", "sendonly"),
    ("inactive", "[media_ip]", "inactive", "inactive", "inactive", "inactive"),
    ("sendrecv", "{null}", "sendonly", "recvonly", "recvonly", "sendonly"),
]
IDS = ["sendonly", "inactive", "null address"]
NULL_ADDRESS = {Family.IP4: "0.0.0.0", Family.IP6: "::"}


@pytest.fixture(scope="module")
def lab(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder: Path = tmp_path_factory.mktemp("pbx")
    yield from open_lab(module_programs, folder, extensions=EXTENSIONS_CONF)


def sessions(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message.body]


def direction(message: Message) -> str:
    found = re.search(rb"^a=(sendrecv|sendonly|recvonly|inactive)\r$", message.body, re.MULTILINE)
    return found[1].decode() if found else "sendrecv"


def port(message: Message) -> int:
    found = re.search(rb"^m=audio (\d+) ", message.body, re.MULTILINE)
    assert found
    return int(found[1])


def origin(message: Message) -> tuple[str, int]:
    """Session id and version."""
    found = re.search(rb"^o=\S+ (\S+) (\d+) ", message.body, re.MULTILINE)
    assert found
    return found[1].decode(), int(found[2])


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
@pytest.mark.parametrize(("said", "connection", "told", "answered", "heard", "fact"), HOLDS, ids=IDS)
@pytest.mark.parametrize("holder", ["a", "b1"], ids=["the caller", "the callee"])
def test_a_party_holds_the_other_and_takes_it_off(
    lab: Lab, sipp: Sipp, family: Family, holder: str,
    said: str, connection: str, told: str, answered: str, heard: str, fact: str,
) -> None:  # fmt: skip
    where, shown = lab.pbx.address(family), connection.format(null=NULL_ADDRESS[family])
    if holder == "a":
        callee = sipp.listen("callee_is_held", family=family, held_direction=answered)
        lab.lead("dev2", callee)
        caller = sipp.call("caller_holds_and_resumes", where, called="2", hold_direction=said, hold_connection=shown)
    else:
        callee = sipp.listen("callee_holds_and_resumes", family=family, hold_direction=said, hold_connection=shown)
        lab.lead("dev2", callee)
        caller = sipp.call("caller_is_held", where, called="2", held_direction=answered)
    at_caller, at_callee = caller.finish(), callee.finish()
    by_holder, by_held = (at_caller, at_callee) if holder == "a" else (at_callee, at_caller)

    assert [direction(message) for message in sessions(by_held)] == ["sendrecv", told, "sendrecv"]
    assert [direction(message) for message in sessions(by_holder)] == ["sendrecv", heard, "sendrecv"]
    for messages in (sessions(by_held), sessions(by_holder)):
        assert len({port(message) for message in messages}) == 1, "the worker's port stays while the party lives"
        ids, versions = zip(*[origin(message) for message in messages], strict=True)
        assert len(set(ids)) == 1
        assert versions[1] == versions[0] + 1 and versions[2] == versions[1] + 1
    story = lab.history.call(call_id(at_caller))
    assert story.one(LegHeld) == LegHeld(leg=holder, direction=fact)
    assert story.one(LegResumed) == LegResumed(leg=holder)
    assert story.one(CallEnded).disposition == "ANSWERED"


def test_hold_bridges_families(lab: Lab, sipp: Sipp) -> None:
    callee = sipp.listen("callee_is_held", family=Family.IP6, held_direction="inactive")
    lab.lead("dev2", callee)
    caller = sipp.call(
        "caller_holds_and_resumes",
        lab.pbx.address(Family.IP4),
        called="2",
        hold_direction="sendrecv",
        hold_connection="0.0.0.0",
    )
    caller.finish()
    for message in sessions(callee.finish()):
        assert b"IN IP6 ::1" in message.body
        assert b"IP4" not in message.body


def test_a_session_may_be_asked_for_anew_without_an_offer(lab: Lab, sipp: Sipp) -> None:
    callee = sipp.listen("callee_is_asked_for_an_offer", held_direction="sendrecv")
    lab.lead("dev2", callee)
    caller = sipp.call("caller_asks_for_an_offer", lab.pbx.address(), called="2", held_direction="sendrecv")
    at_caller, at_callee = caller.finish(), callee.finish()
    reinvite, acknowledgement = at_callee[2], at_callee[3]
    assert (reinvite.start.split()[0], reinvite.body) == ("INVITE", b"")
    assert (acknowledgement.start.split()[0], port(acknowledgement)) == ("ACK", port(at_callee[0]))
    story = lab.history.call(call_id(at_caller))
    agreed = story.one(LegRenegotiated)
    assert agreed.leg == "a"
    assert agreed.offer.startswith(b"v=0") and agreed.answer.startswith(b"v=0")
    assert story.one(CallEnded).disposition == "ANSWERED"


@pytest.mark.parametrize("status", [488, 491])
def test_a_refused_change_leaves_the_call_as_it_was(lab: Lab, sipp: Sipp, status: int) -> None:
    callee = sipp.listen("callee_declines_changes", refusal=f"{status} Not Now")
    lab.lead("dev2", callee)
    heard = sipp.call(
        "caller_offers_in_vain",
        lab.pbx.address(),
        called="2",
        status=str(status),
        hold_direction="sendonly",
        hold_connection="[media_ip]",
    ).finish()
    callee.finish()
    story = lab.history.call(call_id(heard))
    assert not story.all(LegRenegotiated) and not story.all(LegHeld)
    assert story.one(CallEnded).disposition == "ANSWERED"


def test_a_party_may_hold_an_application(lab: Lab, sipp: Sipp) -> None:
    heard = sipp.call(
        "caller_holds_and_resumes",
        lab.pbx.address(),
        called="600",
        hold_direction="sendonly",
        hold_connection="[media_ip]",
    ).finish()
    assert [direction(message) for message in sessions(heard)] == ["sendrecv", "recvonly", "sendrecv"]
    story = lab.history.call(call_id(heard))
    assert story.one(LegHeld) == LegHeld(leg="a", direction="sendonly")
    assert story.one(LegResumed).leg == "a"
