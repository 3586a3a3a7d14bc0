"""Octets of every kind at a PBX that works: it lives, stays small, serves the others, and answers once at most."""

from __future__ import annotations

import contextlib
import random
import secrets
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.core.address import Family
from services.core.events.catalogue import CallEnded
from tests.interop.lab import Lab, open_lab
from tests.interop.mutation import mutated
from tests.support.processes import Programs, until
from tests.support.rawsip import Message, Peer, Phone, Stream, challenge_of, compose, session
from tests.support.rawsip import authorization as digest
from tests.support.sipp import Sipp, sipp

__all__ = ["sipp"]

OURS = "sip:pbx.example"
SEED = 20261122
MAX_CALLS, MAX_CONNECTIONS, MAX_TRANSACTIONS = 150, 40, 100
PROMPT_S = 0.05
ROOM_MIB = 12
"""What a PBX may grow by: caches fill up to their bounds, and the allocator keeps some room."""
EXTENSIONS_CONF = """
[internal]
exten => 2,1,Dial(SIP/dev2,20)
exten => 100,1,Answer()
 same => n,Wait(30)
exten => 101,1,Wait(30)
exten => 700,1,Busy()
exten => _X!,1,Hangup()
"""


@pytest.fixture(scope="module")
def lab(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A PBX with little room, that forgets soon."""
    limits = f"maxcalls={MAX_CALLS}\nmaxconnections={MAX_CONNECTIONS}\nmaxtransactions={MAX_TRANSACTIONS}\ntimert1=20"
    yield from open_lab(module_programs, tmp_path_factory.mktemp("pbx"), extensions=EXTENSIONS_CONF, general=limits)


@pytest.fixture
def probe(lab: Lab) -> Iterator[Phone]:
    """Somebody decent, on a socket of its own."""
    with lab.phone("dev1") as phone:
        yield phone


def kinds(lab: Lab) -> dict[str, float]:
    """What the sockets counted."""
    return lab.samples("pbx_sip_transport_total", "kind")


def unreadable(lab: Lab) -> float:
    """How many messages could not be read."""
    return sum(lab.samples("pbx_sip_parse_errors_total", "reason").values())


def latency_s(phone: Phone) -> float:
    """How long an OPTIONS takes."""
    begun = time.perf_counter()
    assert phone.tell(phone.request("OPTIONS", OURS)).status == 200
    return time.perf_counter() - begun


def usual_latency_s(phone: Phone) -> float:
    """How long an OPTIONS takes in the middle of nine: what a busy machine does once says nothing."""
    return statistics.median(latency_s(phone) for _ in range(9))


def memory_mib(lab: Lab) -> float:
    """What the process has in memory."""
    lines = Path(f"/proc/{lab.pbx.program.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def good_messages(phone: Phone) -> list[bytes]:
    """One of every kind, new at every call."""
    invite = phone.request("INVITE", "sip:100@pbx.example", body=session(phone.way.local))
    rows = [("Via", phone.via()), ("From", f"<{OURS}>;tag=1"), ("To", f"<{OURS}>;tag=2")]
    rows += [("Call-ID", secrets.token_hex(8)), ("CSeq", "1 INVITE")]
    credentials = 'Digest username="dev1", realm="pbx.example", nonce="x", uri="sip:pbx.example", response="y"'
    return [
        invite,
        phone.cancel(invite),
        phone.request("ACK", "sip:100@pbx.example", To=f"<{OURS}>;tag=x"),
        phone.request("BYE", "sip:100@pbx.example", To=f"<{OURS}>;tag=x"),
        phone.request("OPTIONS", "sip:[::1]:5060;transport=udp", Via=phone.via() + ", SIP/2.0/TCP [2001:db8::1]"),
        phone.request(
            "REGISTER", OURS, ("Authorization", credentials), Contact=f'"x" <{phone.contact}>;q=0.5, <sip:a>'
        ),
        phone.request("SUBSCRIBE", OURS, Event="presence", Expires="60", Route="<sip:[::1];lr>"),
        compose("SIP/2.0 200 OK", [*rows, ("Contact", "<sip:x@[::1]>")], session(phone.way.local)),
        compose("SIP/2.0 401 Unauthorized", [*rows, ("WWW-Authenticate", 'Digest realm="x", nonce="y"')]),
    ]


def replies(phone: Phone, barrier: str) -> list[Message]:
    """What came until now."""
    phone.way.send(phone.request("OPTIONS", OURS, Call_ID=barrier))
    found: list[Message] = []
    while (message := phone.way.receive()).get("Call-ID") != barrier:
        found.append(message)
    return found


# --- datagrams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
def test_a_bad_datagram_is_answered_once_at_most(lab: Lab, family: Family) -> None:
    rng = random.Random(SEED)
    before = unreadable(lab)
    answered = 0
    with lab.phone("dev1", family=family) as phone:
        for number in range(1500):
            bad = mutated(rng, rng.choice(good_messages(phone)))
            phone.way.send(bad)
            got = replies(phone, f"barrier-{number}")
            assert len(got) <= 1, f"{bad!r} was answered {[message.start for message in got]}"
            answered += len(got)
    assert answered > 300
    assert unreadable(lab) > before + 300


def test_thousands_of_bad_datagrams_neither_grow_the_process_nor_keep_others_waiting(lab: Lab, probe: Phone) -> None:
    rng = random.Random(SEED + 1)
    waits: list[float] = []
    sizes: list[float] = []
    with lab.phone("dev1", family=Family.IP6) as phone, Peer(lab.pbx.address()) as noise:
        for _ in range(6):
            for _ in range(20):
                for bad in good_messages(phone):
                    phone.way.send(mutated(rng, bad))
                    noise.send(mutated(rng, bad))
                    noise.send(rng.randbytes(rng.randrange(1400)))
                waits.append(latency_s(probe))
            sizes.append(memory_mib(lab))
    assert statistics.median(waits) < PROMPT_S
    assert max(sizes[2:]) - sizes[1] < ROOM_MIB, sizes


@pytest.mark.parametrize("size", [0, 1, 65_507], ids=lambda size: f"{size} octets")
def test_a_datagram_of_any_size_is_taken(lab: Lab, probe: Phone, size: int) -> None:
    with lab.phone("dev1") as phone:
        head = phone.request("OPTIONS", OURS, Content_Length=None)[:-4]
        phone.way.send((head + b"\r\nX: " + b"x" * size)[:size])
        assert len(replies(phone, f"size-{size}")) <= 1
    assert usual_latency_s(probe) < PROMPT_S


def test_ten_thousand_header_fields_cost_one_answer_and_little_time(lab: Lab, probe: Phone) -> None:
    with lab.phone("dev1") as phone:
        many = phone.request("OPTIONS", OURS).replace(b"Content-Length", b"x:\r\n" * 10_000 + b"Content-Length")
        phone.way.send(many)
        assert phone.way.receive().status == 513
        assert usual_latency_s(probe) < PROMPT_S
        deep = phone.request("OPTIONS", OURS, Via=", ".join([phone.via(), *["SIP/2.0/UDP h"] * 3000]))
        phone.way.send(deep)
        assert len(replies(phone, "deep")) <= 1
        assert usual_latency_s(probe) < PROMPT_S


# --- from those who know the password --------------------------------------------------------------------------------


class Credentials:
    """Answers to one challenge, one after the other."""

    def __init__(self, phone: Phone) -> None:
        refusal = phone.tell(phone.request("REGISTER", OURS, To=f"<{phone.aor}>"))
        self._phone, self._challenge, self._count = phone, challenge_of(refusal, "MD5"), 0

    def row(self, method: str, uri: str) -> tuple[str, str]:
        self._count += 1
        user, password = self._phone.user, self._phone.password
        return "Authorization", digest(
            self._challenge, method=method, uri=uri, user=user, password=password, nc=self._count
        )


def test_bad_sessions_of_a_phone_are_calls_that_end_or_none(lab: Lab, probe: Phone) -> None:
    rng = random.Random(SEED + 2)
    uri = "sip:100@pbx.example"
    with lab.phone("dev1") as phone:
        credentials = Credentials(phone)
        for _ in range(300):
            bad = mutated(rng, session(phone.way.local))
            invite = phone.request("INVITE", uri, credentials.row("INVITE", uri), body=bad)
            answer = phone.tell(invite)
            assert answer.status in (200, 400, 415, 488, 513), answer
            if answer.status == 200:
                phone.way.send(phone.in_dialog("ACK", answer))
                assert phone.tell(phone.in_dialog("INVITE", answer, body=mutated(rng, bad))).status in (200, 400, 488)
                phone.way.send(phone.in_dialog("ACK", answer))
                assert phone.tell(phone.in_dialog("BYE", answer)).status == 200
    assert usual_latency_s(probe) < PROMPT_S
    until(lambda: lab.pbx.metric("pbx_calls_active") == 0 or None, "the end of all calls")


def test_bad_contacts_of_a_phone_are_bindings_or_none(lab: Lab, probe: Phone) -> None:
    rng = random.Random(SEED + 3)
    good = b'"A" <sip:dev3@[2001:db8::9]:5070;transport=udp?X=y>;q=0.7;expires=60;+sip.instance="<urn:uuid:1>";reg-id=1'
    with lab.phone("dev3") as phone:
        credentials = Credentials(phone)
        for _ in range(300):
            contact = mutated(rng, good).replace(b"\r", b" ").replace(b"\n", b" ").decode("utf-8", "surrogateescape")
            row = credentials.row("REGISTER", OURS)
            answer = phone.tell(phone.request("REGISTER", OURS, row, To=f"<{phone.aor}>", Contact=contact))
            assert answer.status in (200, 400, 403, 416, 423), answer
            if answer.status == 200 and answer.contacts:
                row = credentials.row("REGISTER", OURS)
                gone = phone.request("REGISTER", OURS, row, To=f"<{phone.aor}>", Contact="*", Expires="0")
                assert phone.tell(gone).contacts == []
    assert usual_latency_s(probe) < PROMPT_S


def test_bad_messages_inside_calls_end_those_calls_at_most(lab: Lab, probe: Phone) -> None:
    """Every answer of the callee, and every request of both, comes in a damaged copy before the good one."""
    rng = random.Random(SEED + 5)
    uri = "sip:2@pbx.example"
    with lab.phone("dev1") as caller, lab.phone("dev2") as callee:
        assert callee.register("*", expires=0).contacts == []
        assert callee.register().contacts == [callee.contact]
        credentials = Credentials(caller)

        def send(phone: Phone, good: bytes) -> None:
            bad = mutated(rng, good)
            # With another number what is good would come out of order.
            if b"CSeq: " + Message.read(good).get("CSeq").encode() + b"\r\n" in bad:
                phone.way.send(bad)
            phone.way.send(good)

        for number in range(120):
            offer, answer = session(caller.way.local), session(callee.way.local)
            invite = caller.request("INVITE", uri, credentials.row("INVITE", uri), body=offer)
            sent = Message.read(invite)
            caller.way.send(invite)
            asked = callee.await_request("INVITE")
            send(callee, callee.reply(asked, rng.choice((180, 183)), body=answer))
            send(callee, callee.reply(asked, rng.choice((200, 200, 486)), body=answer))
            told = caller.final(sent.get("Call-ID"), sent.get("CSeq"))
            if told.status == 200:
                send(caller, caller.in_dialog("ACK", told))
                send(callee, callee.back_in_dialog("OPTIONS", asked, 10))
                send(callee, callee.back_in_dialog("INVITE", asked, 11, body=answer))
                send(caller, caller.in_dialog("BYE", told))
            else:
                caller.way.send(caller.ack_refusal(sent, told))
            for phone in (callee, caller):
                for message in replies(phone, f"{phone.user}-{number}"):
                    if not message.status and message.method in ("BYE", "INVITE"):
                        phone.way.send(phone.reply(message, 200 if message.method == "BYE" else 488))
    assert usual_latency_s(probe) < PROMPT_S
    until(lambda: lab.pbx.metric("pbx_calls_active") == 0 or None, "the end of all calls")


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
def test_bad_streams_end_and_nobody_else_notices(lab: Lab, probe: Phone, family: Family) -> None:
    rng = random.Random(SEED + 4)
    waits: list[float] = []
    before = unreadable(lab)
    for _ in range(150):
        with lab.phone("dev1", family=family, transport="tcp") as phone, contextlib.suppress(OSError):
            for good in good_messages(phone):
                phone.way.send(mutated(rng, good))
            phone.way.send(rng.randbytes(5000))
            waits.append(latency_s(probe))
    assert statistics.median(waits) < PROMPT_S
    assert unreadable(lab) > before + 50
    until(lambda: lab.pbx.metric("pbx_sip_connections") == 0 or None, "the end of all connections")


def test_half_open_connections_are_few_and_harm_nobody(lab: Lab, probe: Phone) -> None:
    refused = kinds(lab)["tcp_refused"]
    with contextlib.ExitStack() as stack:
        for number in range(MAX_CONNECTIONS):
            stream = stack.enter_context(Stream(lab.pbx.address()))
            stream.send(b"OPTIONS sip:pbx.example SIP/2.0\r\nVia: "[:number])
        until(lambda: lab.pbx.metric("pbx_sip_connections") == MAX_CONNECTIONS or None, "all connections")
        one_more = stack.enter_context(Stream(lab.pbx.address()))
        assert one_more.is_closed_by_peer()
        assert usual_latency_s(probe) < PROMPT_S
        other_family = stack.enter_context(Stream(lab.pbx.address(Family.IP6)))
        assert lab.phone_on(other_family, "dev1").ask("OPTIONS", OURS).status == 200
    assert kinds(lab)["tcp_refused"] == refused + 1
    until(lambda: lab.pbx.metric("pbx_sip_connections") == 0 or None, "the end of all connections")
    with lab.phone("dev1", transport="tcp") as phone:
        assert phone.tell(phone.request("OPTIONS", OURS)).status == 200


def test_peers_that_do_not_read_keep_nobody_waiting_and_hold_little(lab: Lab, probe: Phone) -> None:
    waits: list[float] = []
    sizes: list[float] = []
    for _ in range(6):
        with lab.phone("dev1", transport="tcp") as deaf, contextlib.suppress(TimeoutError, OSError):
            assert isinstance(deaf.way, Stream)
            for number in range(60):
                # Long answers fill the buffers of both kernels soon.
                long = [deaf.request("OPTIONS", OURS, Call_ID=f"{number}.{n}" + "x" * 20_000) for n in range(10)]
                deaf.way.send(b"".join(long), timeout_s=1.0)
                waits.append(latency_s(probe))
        sizes.append(memory_mib(lab))
    assert statistics.median(waits) < PROMPT_S
    assert max(sizes[3:]) - sizes[2] < ROOM_MIB, sizes
    assert kinds(lab)["tcp_send_full"] > 0


# --- limits ----------------------------------------------------------------------------------------------------------


def begin(phone: Phone, called: str) -> tuple[bytes, Message]:
    """Send an INVITE that is let through; returns it and the first response that is no 100 to it, or the 100."""
    invite = phone.invite(called)
    phone.way.send(invite)
    sent = Message.read(invite)
    while True:
        message = phone.way.receive()
        if (message.get("Call-ID"), message.get("CSeq")) == (sent.get("Call-ID"), sent.get("CSeq")):
            return invite, message


def test_transactions_are_bounded_and_those_begun_can_be_ended(lab: Lab) -> None:
    with lab.phone("dev1") as phone, lab.phone("dev1") as other:
        waiting: list[bytes] = []
        while True:
            options = other.tell(other.request("OPTIONS", OURS))
            if options.status != 200:
                break
            invite, message = begin(phone, "101")
            if message.status == 100:
                waiting.append(invite)
        assert (options.status, options.get("Retry-After")) == (503, "5")
        assert MAX_TRANSACTIONS - 5 <= len(waiting) <= MAX_TRANSACTIONS
        for invite in waiting:
            assert phone.tell(phone.cancel(invite)).status == 200
            assert phone.tell(invite).status == 487
        assert other.tell(other.request("OPTIONS", OURS)).status == 200


def test_calls_are_bounded_and_room_is_made_by_those_that_end(lab: Lab) -> None:
    calls: list[Message] = []
    with lab.phone("dev1") as phone:
        credentials = Credentials(phone)

        def call() -> Message:
            uri = "sip:100@pbx.example"
            offer = session(phone.way.local)
            return phone.tell(phone.request("INVITE", uri, credentials.row("INVITE", uri), body=offer))

        while (answer := call()).status == 200:
            phone.way.send(phone.in_dialog("ACK", answer))
            calls.append(answer)
        assert (answer.status, answer.get("Retry-After")) == (503, "5")
        assert len(calls) == MAX_CALLS == lab.pbx.metric("pbx_calls_active")
        assert phone.tell(phone.request("OPTIONS", OURS)).status == 200
        assert phone.tell(phone.in_dialog("BYE", calls.pop())).status == 200
        until(lambda: lab.pbx.metric("pbx_calls_active") < MAX_CALLS or None, "the end of the call")
        answer = call()
        assert answer.status == 200
        phone.way.send(phone.in_dialog("ACK", answer))
        for begun in (answer, *calls):
            assert phone.tell(phone.in_dialog("BYE", begun)).status == 200
        assert lab.history.call(answer.get("Call-ID")).one(CallEnded).disposition == "ANSWERED"


def test_after_all_that_phones_still_call_each_other(lab: Lab, sipp: Sipp) -> None:
    callee = sipp.listen("callee_answers", family=Family.IP6)
    lab.lead("dev2", callee)
    heard = sipp.call("caller_hangs_up", lab.pbx.address(), called="2").finish()
    callee.finish()
    assert lab.history.call(heard[0].get("Call-ID")).one(CallEnded).disposition == "ANSWERED"
