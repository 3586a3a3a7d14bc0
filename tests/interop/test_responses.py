"""What strangers and phones are told: one right answer to each request, and none where there must be none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.core.address import Family
from services.core.events.catalogue import CallEnded
from tests.interop.lab import Lab, open_lab
from tests.support.processes import Programs
from tests.support.rawsip import Message, Phone, compose

OURS = "sip:pbx.example"
EXTENSIONS_CONF = """
[internal]
exten => 100,1,Answer()
 same => n,Wait(30)
exten => 101,1,Wait(30)
"""


@pytest.fixture(scope="module")
def lab(module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield from open_lab(module_programs, tmp_path_factory.mktemp("pbx"), extensions=EXTENSIONS_CONF)


@pytest.fixture(params=["udp-ip4", "udp-ip6", "tcp-ip4", "tcp-ip6"])
def anyhow(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Phone]:
    """dev1 over each transport and family."""
    transport, family = request.param.split("-")
    with lab.phone("dev1", family=Family(family), transport=transport) as made:
        yield made


@pytest.fixture
def phone(lab: Lab) -> Iterator[Phone]:
    """dev1 over UDP."""
    with lab.phone("dev1") as made:
        yield made


def answers_before(phone: Phone, barrier: str) -> list[Message]:
    """What comes until the answer to an OPTIONS with this Call-ID: everything that was sent before it was handled."""
    phone.way.send(phone.request("OPTIONS", OURS, Call_ID=barrier))
    found: list[Message] = []
    while (message := phone.way.receive()).get("Call-ID") != barrier:
        found.append(message)
    assert message.status == 200
    return found


# --- what we can -----------------------------------------------------------------------------------------------------


def test_options_say_what_we_take(anyhow: Phone) -> None:
    answer = anyhow.tell(anyhow.request("OPTIONS", OURS, Accept="application/sdp"))
    assert answer.status == 200
    assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER"} <= set(answer.get("Allow").split(", "))
    assert answer.get("Accept") == "application/sdp"
    assert answer.get_all("Supported") == [""]


def test_an_answer_has_what_the_request_had(anyhow: Phone) -> None:
    vias = [anyhow.via(), "SIP/2.0/UDP [2001:db8::9]:5070;branch=z9hG4bKb", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKc"]
    rows = [("Via", via) for via in vias]
    answer = anyhow.tell(anyhow.request("OPTIONS", OURS, *rows, Via=None, CSeq="2147483647 OPTIONS"))
    assert answer.status == 200
    assert [via.split(";")[0] for via in answer.get_all("Via")] == [via.split(";")[0] for via in vias]
    assert f";rport={anyhow.way.local.port}" in answer.get("Via")
    assert f";received={anyhow.way.local.host}" in answer.get("Via"), "without brackets, also for IPv6"
    assert answer.get_all("Via")[1:] == vias[1:]
    assert answer.get("From") == f"<{anyhow.aor}>;tag={anyhow.tag}"
    assert answer.get("To").startswith(f"<{OURS}>;tag=")
    assert answer.get("CSeq") == "2147483647 OPTIONS"


def test_a_request_may_be_written_in_unusual_ways(phone: Phone) -> None:
    odd = (
        f"OPTIONS {OURS} SIP/2.0\r\n"
        f"v:{phone.via()}\r\n"
        f"f: \t<{phone.aor}>\r\n ;tag=x\r\n"
        f"tO  : {OURS}\r\n"
        "i:odd-one(@)\r\n"
        "cseq:\r\n  0009\r\n OPTIONS\r\n"
        "X-Unknown: \u00e9\u2028;;,,\r\n"
        "l:0\r\n\r\n"
    )
    phone.way.send(b"\r\n\r\n" + odd.encode())
    answer = phone.way.receive()
    assert (answer.status, answer.get("Call-ID")) == (200, "odd-one(@)")


# --- what we refuse --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["SUBSCRIBE", "MESSAGE", "REFER", "NOTIFY", "INFO", "UPDATE", "PRACK", "PUBLISH"])
def test_a_method_we_know_but_do_not_serve_is_405(phone: Phone, method: str) -> None:
    answer = phone.tell(phone.request(method, OURS))
    assert answer.status == 405
    assert "INVITE" in answer.get("Allow")


@pytest.mark.parametrize("method", ["FROBNICATE", "invite", "!%'*+`~"])
def test_a_method_nobody_knows_is_501(phone: Phone, method: str) -> None:
    assert phone.tell(phone.request(method, OURS)).status == 501


@pytest.mark.parametrize("method", ["OPTIONS", "INVITE", "REGISTER"])
@pytest.mark.parametrize("uri", ["http://pbx.example", "urn:service:sos", "nobodyKnowsThisScheme:totallyopaque"])
def test_an_address_of_another_world_is_416(phone: Phone, method: str, uri: str) -> None:
    assert phone.tell(phone.request(method, uri, To=f"<{OURS}>")).status == 416


@pytest.mark.parametrize(
    "uri",
    [
        "sip:100@2001:db8::1",
        "sip:100@[2001:db8::1",
        "sip:100@[::1]5060",
        "sip:100@[::1]:",
        "sip:100@[fe80::1%25eth0]",
        "sip:100@[1::2::3]",
        "sip:100@pbx.example:65536",
        "sip:100@",
        "<sip:100@pbx.example>",
    ],
)
def test_an_address_that_cannot_be_read_is_400(phone: Phone, uri: str) -> None:
    assert phone.tell(phone.request("INVITE", uri, To=f"<{OURS}>")).status == 400


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_an_extension_we_have_not_is_420(phone: Phone, method: str) -> None:
    uri = "sip:101@pbx.example" if method == "INVITE" else OURS
    answer = phone.ask(method, uri, Require="100rel, nothingSupportsThis", To=f"<{phone.aor}>")
    assert answer.status == 420
    assert answer.get("Unsupported") == "100rel, nothingSupportsThis"


def test_a_body_we_cannot_read_is_415(phone: Phone) -> None:
    answer = phone.ask("INVITE", "sip:100@pbx.example", body=b"<x/>", Content_Type="application/xml")
    assert (answer.status, answer.get("Accept")) == (415, "application/sdp")


@pytest.mark.parametrize("sdp", [b"hello", b"v=0\r\n", b"v=0\r\nm=audio x RTP/AVP 0\r\n"])
def test_a_session_that_is_none_is_refused_without_a_call(lab: Lab, phone: Phone, sdp: bytes) -> None:
    before = len(lab.history.calls())
    assert phone.ask("INVITE", "sip:100@pbx.example", body=sdp).status in (400, 488)
    assert len(lab.history.calls()) == before


def test_too_many_hops_are_483_but_options_may_be_asked_of_the_last(anyhow: Phone) -> None:
    assert anyhow.tell(anyhow.request("INVITE", "sip:100@pbx.example", Max_Forwards="0")).status == 483
    assert anyhow.tell(anyhow.request("REGISTER", OURS, Max_Forwards="0")).status == 483
    assert anyhow.tell(anyhow.request("OPTIONS", OURS, Max_Forwards="0")).status == 200
    assert anyhow.tell(anyhow.request("OPTIONS", OURS, Max_Forwards=None)).status == 200


def test_the_same_request_on_another_way_is_482(phone: Phone) -> None:
    for status in (200, 482):
        again = phone.request("OPTIONS", OURS, Call_ID="looped", CSeq="7 OPTIONS")
        assert phone.tell(again).status == status


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        ((b"SIP/2.0\r\n", b"SIP/7.0\r\n"), 505),
        ((b"SIP/2.0\r\n", b"HTTP/1.1\r\n"), 400),
        ((b"CSeq: ", b"CSeq: x"), 400),
        ((b"CSeq: ", b"CSeq: 4294967296 OPTIONS\r\nCSeq: "), 400),
        ((b" OPTIONS\r\n", b" INVITE\r\n"), 400),
        ((b"From: ", b"From: <\r\nFrom: "), 400),
        ((b"Content-Length: 0", b"Content-Length: 9"), 400),
        ((b"Content-Length: 0", b"Content-Length: -1"), 400),
        ((b"Content-Length: 0", b"Content-Length: \xd9\xa7"), 400),
        ((b"Max-Forwards: 70", b"Max-Forwards: 256"), 400),
        ((b"Max-Forwards: 70", b"X-Long: " + b"y" * 60_000), 200),
        ((b"Content-Length: 0", b"X: 1\r\n" * 300 + b"Content-Length: 0"), 513),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, tuple) else str(value),
)
def test_a_damaged_request_is_told_so_once(phone: Phone, damage: tuple[bytes, bytes], status: int) -> None:
    good = phone.request("OPTIONS", OURS)
    assert damage[0] in good
    phone.way.send(good.replace(damage[0], damage[1], 1))
    assert phone.way.receive().status == status
    assert answers_before(phone, "once") == []


# --- what belongs to nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["BYE", "INVITE", "OPTIONS", "UPDATE", "INFO"])
def test_a_request_in_a_dialog_we_have_not_is_481(anyhow: Phone, method: str) -> None:
    assert anyhow.tell(anyhow.request(method, OURS, To=f"<{OURS}>;tag=gone")).status == 481


def test_a_bye_without_a_dialog_is_481(anyhow: Phone) -> None:
    assert anyhow.tell(anyhow.request("BYE", OURS)).status == 481


def test_a_cancel_of_nothing_is_481_whatever_it_requires(anyhow: Phone) -> None:
    assert anyhow.tell(anyhow.request("CANCEL", "sip:100@pbx.example", Require="nothing")).status == 481


def test_an_acknowledgement_of_nothing_is_never_answered(phone: Phone) -> None:
    phone.way.send(phone.request("ACK", OURS))
    phone.way.send(phone.request("ACK", OURS, To=f"<{OURS}>;tag=gone"))
    phone.way.send(phone.request("ACK", "sip:[::1", Require="nothing"))
    phone.way.send(phone.request("ACK", OURS, CSeq="x ACK"))
    phone.way.send(phone.request("ACK", OURS, Max_Forwards="0"))
    assert answers_before(phone, "after-the-ACKs") == []


def test_a_response_to_nothing_is_dropped(lab: Lab, phone: Phone) -> None:
    """And not sent on to its second Via, as a proxy would."""
    dropped = lab.pbx.metric("pbx_sip_transactions_total")
    with lab.phone("dev2") as other:
        rows = [("Via", f"SIP/2.0/UDP {lab.pbx.address()};branch=z9hG4bKours"), ("Via", other.via())]
        rows += [("From", f"<{OURS}>;tag=1"), ("To", f"<{OURS}>;tag=2"), ("Call-ID", "stray"), ("CSeq", "1 INVITE")]
        for status in (180, 200, 401, 603):
            phone.way.send(compose(f"SIP/2.0 {status} Stray", rows))
        assert answers_before(phone, "after-the-responses") == []
        assert answers_before(other, "nothing-for-me") == []
    assert lab.pbx.metric("pbx_sip_transactions_total") >= dropped + 4


# --- inside a dialog -------------------------------------------------------------------------------------------------


def test_a_dialog_keeps_its_numbers_in_order_and_serves_what_it_can(lab: Lab, anyhow: Phone) -> None:
    anyhow.way.send(anyhow.invite("100"))
    told = anyhow.await_status(200)
    anyhow.way.send(anyhow.in_dialog("ACK", told))
    late = anyhow.in_dialog("OPTIONS", told)
    assert anyhow.tell(anyhow.in_dialog("OPTIONS", told)).status == 200
    assert anyhow.tell(late).status == 500
    refused = anyhow.tell(anyhow.in_dialog("SUBSCRIBE", told))
    assert (refused.status, "BYE" in refused.get("Allow")) == (405, True)
    assert anyhow.tell(anyhow.in_dialog("BYE", told)).status == 200
    story = lab.history.call(told.get("Call-ID"))
    assert story.one(CallEnded) == CallEnded(disposition="ANSWERED", cause=16, reason="hang-up", by="a")


def test_an_invite_is_answered_trying_with_its_timestamp_at_once(phone: Phone) -> None:
    invite = phone.invite("101", Timestamp="54.2")
    phone.way.send(invite)
    trying = phone.way.receive()
    assert (trying.status, trying.get("Timestamp")) == (100, "54.2")
    assert not trying.tag("To")
    assert phone.tell(phone.cancel(invite)).status == 200
    assert phone.tell(invite).status == 487


def test_a_cancel_ends_its_call_only_on_the_branch_it_names(phone: Phone) -> None:
    invite = phone.invite("101")
    phone.way.send(invite)
    cancel = phone.cancel(invite)
    branch = Message.read(invite).get("Via").partition("branch=")[2].partition(";")[0].encode()
    assert phone.tell(cancel.replace(branch, b"z9hG4bKanother")).status == 481
    assert phone.tell(cancel).status == 200
    assert phone.tell(invite).status == 487
