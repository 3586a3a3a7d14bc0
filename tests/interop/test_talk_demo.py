"""The demos of "Porting and Running Asterisk to IPv6" (APRICOT 2007): hello-world, and two phones, over IPv6.

With the configuration of its slides, in a network of 2001:db8::/32; the phones are baresip instead of kphone.
"""

from __future__ import annotations

import pytest

from services.core.address import Family
from tests.support.audio import likeness, prompt
from tests.support.netns import Network
from tests.support.pbx import Pbx, start_pbx
from tests.support.peer import Phone
from tests.support.processes import Programs

SIP_CONF = """\
[general]
context=internal
bindaddr=[2001:db8::1]
allow=ulaw

[dev1]
type=friend
host=dynamic
context=internal
disallow=all
allow=ulaw

[dev2]
type=friend
host=dynamic
context=internal
disallow=all
allow=ulaw
"""
"""As on the slide."""

EXTENSIONS_CONF = """\
[internal]
exten => 2,1,Answer()
exten => 2,2,Playback(hello-world)
exten => 2,3,Hangup()

exten => 11,1,Dial(SIP/dev1)
exten => 12,1,Dial(SIP/dev2)
"""


@pytest.fixture(scope="module")
def pbx(network: Network, module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Pbx:
    folder = tmp_path_factory.mktemp("talk")
    return start_pbx(module_programs, folder, sip=SIP_CONF, extensions=EXTENSIONS_CONF, host=network.pbx)


@pytest.fixture(scope="module")
def dev1(pbx: Pbx, network: Network, module_programs: Programs) -> Phone:
    phone = Phone(module_programs, network.dev1.ip6, host=network.dev1)
    phone.account(pbx.address(Family.IP6), "dev1")
    return phone


@pytest.fixture(scope="module")
def dev2(pbx: Pbx, network: Network, module_programs: Programs) -> Phone:
    phone = Phone(module_programs, network.dev2.ip6, host=network.dev2)
    phone.account(pbx.address(Family.IP6), "dev2")
    return phone


def test_two_phones_without_passwords_register_over_ipv6(pbx: Pbx, dev1: Phone, dev2: Phone) -> None:
    found = {row["aor"].partition("@")[0]: row for row in pbx.rows("registrations", "--json")}
    assert sorted(found) == ["dev1", "dev2"]
    assert found["dev1"]["contact"].startswith("sip:dev1@[2001:db8::2]:")
    assert found["dev2"]["contact"].startswith("sip:dev2@[2001:db8::3]:")


def test_dev1_dials_2_and_hears_hello_world(pbx: Pbx, dev1: Phone) -> None:
    call = dev1.dial("2")
    call.established()
    call.closed()
    assert likeness(call.recording(), prompt("hello-world")) > 0.9
    assert call.stats()["mos"] > 4
    record = pbx.cdr(dst="2")
    assert (record["src"], record["lastapp"], record["disposition"]) == ("dev1", "Hangup", "ANSWERED")
    assert record["a_family"] == "ip6"
    assert record["billsec"] >= 1


def test_the_answer_is_the_one_of_the_slide_with_its_brackets_right(dev1: Phone) -> None:
    call = dev1.dial("2")
    call.closed()
    answer = next(traced for traced in reversed(dev1.trace(out=False)) if traced.sdp)
    assert answer.start == "SIP/2.0 200 OK"
    assert answer.header("Via").startswith("SIP/2.0/UDP [2001:db8::2]:")
    assert ";received=2001:db8::2" in answer.header("Via")
    assert "@[2001:db8::1]" in answer.header("Contact")
    assert "c=IN IP6 2001:db8::1\r\n" in answer.sdp
    assert "m=audio " in answer.sdp
    assert "a=rtpmap:0 PCMU/8000" in answer.sdp
    assert "[" not in answer.sdp


@pytest.mark.parametrize(("number", "ringing"), [("12", "dev2"), ("11", "dev1")])
def test_they_call_each_other_by_extension(pbx: Pbx, dev1: Phone, dev2: Phone, number: str, ringing: str) -> None:
    caller, callee = (dev1, dev2) if ringing == "dev2" else (dev2, dev1)
    call = caller.dial(number, hz=1000)
    other = callee.incoming()
    call.event("ringing")
    other.play(440)
    other.take()
    call.established()
    call.hears(440)
    other.hears(1000)
    call.hangup()
    other.closed()
    record = pbx.cdr(dst=number)
    assert (record["disposition"], record["lastdata"]) == ("ANSWERED", f"SIP/{ringing}")
    assert (record["a_family"], record["b_family"]) == ("ip6", "ip6")
    assert pbx.rows("calls", "--json") == []


def test_the_history_tells_the_call_as_it_happened(pbx: Pbx, dev1: Phone, dev2: Phone) -> None:
    call = dev1.dial("12")
    other = dev2.incoming()
    other.reject()
    call.closed()
    events = pbx.events(pbx.cdr(dst="12", disposition="BUSY")["uniqueid"])
    told = {event["type"]: event["data"] for event in events}
    assert [event["type"] for event in events] == [
        "CallStarted",
        "ApplicationStarted",
        "LegInvited",
        "LegRinging",
        "LegEnded",
        "DialEnded",
        "LegEnded",
        "CallEnded",
    ]
    assert told["CallStarted"]["source"].startswith("[2001:db8::2]:")
    assert told["CallStarted"]["local"] == "[2001:db8::1]:5060"
    assert told["LegInvited"]["destination"].startswith("[2001:db8::3]:")
    assert told["LegInvited"]["uri"].startswith("sip:dev2@[2001:db8::3]:")
    assert told["DialEnded"]["status"] == "BUSY"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
