"""SIP over TCP: octets that come in any pieces, and connections that come and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.core.address import Family
from services.core.events.catalogue import CallEnded, LegInvited
from tests.interop.lab import Lab, open_lab
from tests.support.processes import Programs
from tests.support.rawsip import Door, Message, Phone, Stream, session
from tests.support.sipp import Sipp, sipp

__all__ = ["sipp"]

OURS = "sip:pbx.example"
EXTENSIONS_CONF = """
[internal]
exten => 2,1,Dial(SIP/dev2,20)
exten => 100,1,Answer()
 same => n,Wait(30)
"""
FAMILIES = pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)


@pytest.fixture(scope="module")
def lab(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield from open_lab(module_programs, tmp_path_factory.mktemp("pbx"), extensions=EXTENSIONS_CONF)


@pytest.fixture
def stream(lab: Lab) -> Iterator[Stream]:
    with Stream(lab.pbx.address()) as made:
        yield made


@pytest.fixture
def phone(lab: Lab, stream: Stream) -> Phone:
    """dev1 on a connection of its own."""
    return lab.phone_on(stream, "dev1")


def hang_up(caller: Phone, told: Message) -> None:
    assert caller.tell(caller.in_dialog("BYE", told)).status == 200


# --- pieces ----------------------------------------------------------------------------------------------------------


@FAMILIES
def test_a_call_in_single_octets_is_a_call(lab: Lab, family: Family) -> None:
    with lab.phone("dev1", family=family, transport="tcp") as phone:
        for octet in phone.invite("100"):
            phone.way.send(bytes([octet]))
        told = phone.await_status(200)
        assert told.contact.endswith(";transport=tcp")
        assert b"c=IN " + family.sdp.encode() in told.body
        phone.way.send(phone.in_dialog("ACK", told))
        hang_up(phone, told)
        assert lab.history.call(told.get("Call-ID")).one(CallEnded).disposition == "ANSWERED"


@pytest.mark.parametrize("size", [2, 3, 7, 61, 1000])
def test_messages_cut_anywhere_are_answered_one_by_one(phone: Phone, size: int) -> None:
    data = b"".join(phone.request("OPTIONS", OURS, CSeq=f"{n} OPTIONS", body=b"\r\n\r\n" * n) for n in range(1, 9))
    for start in range(0, len(data), size):
        phone.way.send(data[start : start + size])
    assert [phone.way.receive().get("CSeq") for _ in range(8)] == [f"{n} OPTIONS" for n in range(1, 9)]


def test_two_hundred_messages_in_one_segment_are_all_answered_in_order(phone: Phone) -> None:
    phone.way.send(b"".join(phone.request("OPTIONS", OURS, CSeq=f"{n} OPTIONS") for n in range(200)))
    answers = [phone.way.receive() for _ in range(200)]
    assert [answer.get("CSeq") for answer in answers] == [f"{n} OPTIONS" for n in range(200)]
    assert {answer.status for answer in answers} == {200}


def test_keep_alives_between_messages_are_answered_and_disturb_nothing(stream: Stream, phone: Phone) -> None:
    stream.send(b"\r\n\r\n")
    assert stream.receive_bytes() == b"\r\n"
    stream.send(b"\r\n" + phone.request("OPTIONS", OURS) + b"\r\n\r\n" + phone.request("OPTIONS", OURS))
    assert [stream.receive().status, stream.receive().status] == [200, 200]


def test_many_calls_share_a_connection(lab: Lab, sipp: Sipp) -> None:
    caller = sipp.call("caller_hangs_up", lab.pbx.address(), called="100", transport="tcp", calls=20)
    heard = caller.finish()
    call_ids = {message.get("Call-ID") for message in heard}
    assert len(call_ids) == 20
    assert {lab.history.call(one).one(CallEnded).disposition for one in call_ids} == {"ANSWERED"}


# --- what cannot be framed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "status"),
    [("", 400), ("Content-Length: x\r\n", 400), ("Content-Length: 0\r\nl: 0\r\n", 400), ("l: 99999999\r\n", 513)],
    ids=["none", "not a number", "twice", "too much"],
)
def test_a_message_without_a_usable_length_is_answered_and_ends_the_connection(
    stream: Stream, phone: Phone, length: str, status: int
) -> None:
    good, bad = phone.request("OPTIONS", OURS), phone.request("OPTIONS", OURS)
    stream.send(good + bad.replace(b"Content-Length: 0\r\n", length.encode()) + phone.request("OPTIONS", OURS))
    assert [stream.receive().status, stream.receive().status] == [200, status]
    assert stream.is_closed_by_peer()


def test_a_bad_message_of_a_good_length_leaves_the_connection_open(stream: Stream, phone: Phone) -> None:
    bad = phone.request("OPTIONS", OURS).replace(b"CSeq: ", b"CSeq: x")
    stream.send(bad + phone.request("OPTIONS", OURS))
    assert [stream.receive().status, stream.receive().status] == [400, 200]


def test_what_is_no_sip_at_all_ends_the_connection(stream: Stream) -> None:
    stream.send(b"GET / HTTP/1.1\r\nHost: pbx.example\r\n\r\n")
    assert stream.is_closed_by_peer()


def test_a_head_without_end_is_cut_off(stream: Stream) -> None:
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(10_000):
            stream.send(b"X: " + b"y" * 4096 + b"\r\n")


# --- connections -----------------------------------------------------------------------------------------------------


@FAMILIES
def test_a_phone_is_called_on_the_connection_it_registered_on(lab: Lab, family: Family) -> None:
    """Its contact is a port where nobody listens, as behind a NAT."""
    with (
        lab.phone("dev2", family=family, transport="tcp") as callee,
        lab.phone("dev1", family=Family.IP4) as caller,
    ):
        assert callee.register("*", expires=0).status == 200
        assert callee.register().contacts == [callee.contact]
        caller.way.send(caller.invite("2"))
        asked = callee.await_request("INVITE")
        assert asked.get("Via").startswith("SIP/2.0/TCP ")
        callee.way.send(callee.reply(asked, 200, body=session(callee.way.local)))
        assert callee.way.receive().start.startswith("ACK ")
        told = caller.await_status(200)
        caller.way.send(caller.in_dialog("ACK", told))
        assert callee.tell(callee.back_in_dialog("BYE", asked)).status == 200
        caller.way.send(caller.reply(caller.await_request("BYE"), 200))
        invited = lab.history.call(told.get("Call-ID")).one(LegInvited)
        assert (invited.transport, invited.destination) == ("tcp", str(callee.way.local))


@FAMILIES
def test_a_phone_whose_connection_is_gone_is_called_at_its_contact(lab: Lab, sipp: Sipp, family: Family) -> None:
    callee = sipp.listen("callee_answers", family=family, transport="tcp")
    with lab.phone("dev2", family=family, transport="tcp") as phone:
        assert phone.register("*", expires=0).status == 200
        assert phone.register(f"<{callee.contact}>").contacts == [callee.contact]
    heard = sipp.call("caller_hangs_up", lab.pbx.address(), called="2").finish()
    callee.finish()
    invited = lab.history.call(heard[0].get("Call-ID")).one(LegInvited)
    assert (invited.transport, invited.destination) == ("tcp", str(callee.local))


def test_an_answer_finds_its_caller_though_the_connection_is_gone(lab: Lab) -> None:
    """It goes to the port of the Via, as RFC 3261 section 18.2.2 wants."""
    with Door("127.0.0.1") as door, lab.phone("dev2") as callee:
        assert callee.register("*", expires=0).status == 200
        assert callee.register().status == 200
        with lab.phone("dev1", transport="tcp") as caller:
            invite = caller.invite("2", Contact=f"<sip:dev1@{door.local};transport=tcp>")
            caller.way.send(invite.replace(f"TCP {caller.way.local}".encode(), f"TCP {door.local}".encode()))
            asked = callee.await_request("INVITE")
        callee.way.send(callee.reply(asked, 200, body=session(callee.way.local)))
        callee.await_request("ACK")
        with door.accept() as anew:
            caller = lab.phone_on(anew, "dev1")
            told = caller.await_status(200)
            caller.way.send(caller.in_dialog("ACK", told))
            assert callee.tell(callee.back_in_dialog("BYE", asked)).status == 200
            bye = caller.await_request("BYE")
            caller.way.send(caller.reply(bye, 200))
        assert lab.history.call(told.get("Call-ID")).one(CallEnded).by == "b1"


def test_a_request_in_a_call_finds_its_party_though_the_connection_is_gone(lab: Lab) -> None:
    """It goes to the party's contact."""
    with Door("::1") as door, lab.phone("dev1") as caller:
        with lab.phone("dev2", family=Family.IP6, transport="tcp") as callee:
            assert callee.register("*", expires=0).status == 200
            assert callee.register().status == 200
            caller.way.send(caller.invite("2"))
            asked = callee.await_request("INVITE")
            answer = callee.reply(asked, 200, body=session(callee.way.local))
            callee.way.send(answer.replace(callee.contact.encode(), f"sip:dev2@{door.local};transport=tcp".encode()))
            assert callee.way.receive().start.startswith("ACK ")
        told = caller.await_status(200)
        caller.way.send(caller.in_dialog("ACK", told))
        hang_up(caller, told)
        with door.accept() as anew:
            callee = lab.phone_on(anew, "dev2")
            bye = callee.await_request("BYE")
            assert bye.get("Call-ID") == asked.get("Call-ID")
            callee.way.send(callee.reply(bye, 200))
        assert lab.history.call(told.get("Call-ID")).one(CallEnded).by == "a"
