"""A REGISTER off the wire becomes the registrar's command, character by character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.address import Address
from services.core.sip.errors import SipError
from services.core.sip.flow import Flow
from services.core.sip.headers import Star
from services.registrar.model import Contact
from services.registrar.request import read_contact
from tests.registrar.facts import FLOW, read


def contacts(*rows: str) -> tuple[Contact, ...]:
    found = read(*rows).contacts
    assert not isinstance(found, Star)
    return found


def test_facts_of_the_message_and_of_its_flow_are_read() -> None:
    flow = Flow("tcp", Address("fe80::1", 5060), Address("fe80::2", 40000, 7), 11)
    command = read(
        "Contact: <sip:dev1@[fe80::2]>;expires=100", "Expires: 200", "Path: <sip:p1;lr>, <sip:p2;lr>",
        "User-Agent: phone/1", flow=flow,
    )  # fmt: skip
    assert (command.call_id, command.cseq, command.expires_s, command.id) == ("call-1", 1, 200, "id")
    assert command.path == ("<sip:p1;lr>", "<sip:p2;lr>")
    assert command.user_agent == "phone/1"
    assert (command.transport, command.source, command.local) == ("tcp", "[fe80::2]:40000", "[fe80::1]:5060")
    assert (command.flow_id, command.scope_id, command.family) == (11, 7, "ip6")


def test_ipv4_flow_is_ip4() -> None:
    command = read(flow=Flow("udp", Address("10.0.0.1", 5060), Address("10.0.0.2", 5062), 1))
    assert (command.family, command.source) == ("ip4", "10.0.0.2:5062")


def test_request_without_contact_asks() -> None:
    assert contacts() == ()


def test_star_is_the_star_alone() -> None:
    assert isinstance(read("Contact: *", "Expires: 0").contacts, Star)
    assert isinstance(read("m:  * ").contacts, Star)


@pytest.mark.parametrize(
    "rows",
    [
        ("Contact: *, <sip:a@b>",),
        ("Contact: *", "Contact: <sip:a@b>"),
        ("Contact: *", "Contact: *"),
        ("Contact: *;expires=0",),
        ("Contact: <*>",),
        ("Contact: <sip:a@2001:db8::1>",),
        ("Contact: <sip:a@[2001:db8::1>",),
        ("Contact: <sip:a@[fe80::1%25eth0]>",),
        ("Contact: <mailto:a@b>",),
        ("Contact: <>",),
        ("Contact: sip:a@b?x=y",),
        ('Contact: "open <sip:a@b>',),
        ("Contact: <sip:a@b",),
        ("Contact: <sip:a@b>, <sip:c@[::1]:99999>",),
    ],
)
def test_contact_that_cannot_be_read_is_400(rows: tuple[str, ...]) -> None:
    with pytest.raises(SipError) as caught:
        read(*rows)
    assert caught.value.status == 400


def test_rows_lists_and_compact_forms_are_one_list() -> None:
    found = contacts('Contact: "a, <b>" <sip:a@h>, sip:b@h', "m: <sip:c@h>")
    assert [contact.text for contact in found] == ["sip:a@h", "sip:b@h", "sip:c@h"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<sip:a@[2001:DB8::1]:5060;transport=tcp>;q=1", "sip:a@[2001:DB8::1]:5060;transport=tcp"),
        ('"a \\"b\\" <sip:x@y>" <sip:a%3Ab@h>', "sip:a%3Ab@h"),
        ("sip:a@h;transport=tcp", "sip:a@h"),
        ("Jürg <SIP:%C3%BC@H?Subject=x>", "SIP:%C3%BC@H?Subject=x"),
        ("<tel:+1-201-555-0123>", "tel:+1-201-555-0123"),
    ],
)
def test_text_of_the_uri_is_kept_byte_for_byte(value: str, text: str) -> None:
    assert read_contact(value).text == text
    (contact,) = contacts(f"Contact: {value}")
    assert contact.text == text


@pytest.mark.parametrize(
    ("param", "expires_s"),
    [("", None), (";expires=60", 60), (';EXPIRES="60"', 60), (";expires=x", 3600), (";expires", 3600),
     (";expires=٦٠", 3600), (";expires=+60", 3600), (";expires=99999999999", 2**32 - 1)],
)  # fmt: skip
def test_expires_of_a_contact(param: str, expires_s: int | None) -> None:
    assert read_contact(f"<sip:a@h>{param}").expires_s == expires_s


@pytest.mark.parametrize(
    ("q", "value"),
    [("0", 0.0), ("1", 1.0), ("0.5", 0.5), (".5", 0.5), ("0.123", 0.123), ("1.000", 1.0), ("1.5", 1.0), ("2", 1.0),
     ("0.1234", 1.0), ("nan", 1.0), ("1e-1", 1.0), ("-0.5", 1.0), ("0.٥", 1.0), ("0.", 0.0), (".", 1.0)],
)  # fmt: skip
def test_q_of_a_contact(q: str, value: float) -> None:
    assert read_contact(f"<sip:a@h>;q={q}").q == value


@pytest.mark.parametrize(("text", "reg_id"), [("1", 1), ("x", 0), ("99999999999", 0), ("2147483648", 0), ("٣", 0)])
def test_instance_and_reg_id_are_kept(text: str, reg_id: int) -> None:
    contact = read_contact(f'<sip:a@h>;reg-id={text};+SIP.instance="<urn:uuid:0:1>"')
    assert (contact.instance, contact.reg_id) == ("<urn:uuid:0:1>", reg_id)


@given(st.text())
def test_any_contact_is_read_or_is_a_sip_error(value: str) -> None:
    try:
        contact = read_contact(value)
    except SipError as error:
        assert error.status == 400
    else:
        assert contact.text in value
        assert 0 <= contact.q <= 1


def test_flow_of_the_tests_is_ipv6() -> None:
    assert read(flow=FLOW).family == "ip6"
