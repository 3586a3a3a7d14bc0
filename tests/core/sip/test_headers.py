"""Via, CSeq and Contact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.sip.errors import SipError
from services.core.sip.headers import (
    MAX_CSEQ,
    STAR,
    CSeq,
    Star,
    Via,
    parse_contacts,
    parse_cseq,
    parse_name_addrs,
    parse_via,
    salvage_via,
)
from tests.core.sip.strategies import vias


@given(vias())
def test_a_via_is_printed_so_that_it_reads_back(via: Via) -> None:
    assert parse_via(str(via)) == via
    assert salvage_via(str(via)) == via


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("SIP/2.0/UDP host.example;branch=z9hG4bK1", "SIP/2.0/UDP host.example;branch=z9hG4bK1"),
        ("sip/2.0/udp HOST.example", "SIP/2.0/UDP host.example"),
        ("SIP / 2.0 / UDP   host.example ;  branch = z9hG4bK1", "SIP/2.0/UDP host.example;branch=z9hG4bK1"),
        ("SIP/2.0/TCP\thost.example:5060", "SIP/2.0/TCP host.example:5060"),
        ("SIP/2.0/UDP 192.0.2.1 : 5060;rport", "SIP/2.0/UDP 192.0.2.1:5060;rport"),
        ("SIP/2.0/UDP [2001:DB8::1] :\t5060", "SIP/2.0/UDP [2001:db8::1]:5060"),
        ("SIP/2.0/UDP [2001:db8::1:5060]", "SIP/2.0/UDP [2001:db8::1:5060]"),
        ("SIP/2.0/UDP [::ffff:192.0.2.2];x", "SIP/2.0/UDP [::ffff:192.0.2.2];x"),
        ('SIP/2.0/X-NEW a;b="c;d"', 'SIP/2.0/X-NEW a;b="c;d"'),
    ],
)
def test_the_many_spellings_of_a_via(text: str, printed: str) -> None:
    assert str(parse_via(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0 host",
        "HTTP/2.0/UDP host",
        "SIP/3.0/UDP host",
        "\u017fIP/2.0/UDP host",
        "SIP/2.0/U@P host",
        "SIP/2.0/UDP host;",
        "SIP/2.0/UDP host;;branch=1",
        "SIP/2.0/UDP host;branch=",
        "SIP/2.0/UDP host port",
        "SIP/2.0/UDP host:",
        "SIP/2.0/UDP host:65536",
        "SIP/2.0/UDP host:50 60",
        "SIP/2.0/UDP 2001:db8::9:1",
        "SIP/2.0/UDP 2001:db8::9 : 5060",
        "SIP/2.0/UDP [2001:db8::9]:",
        "SIP/2.0/UDP [fe80::1%eth0]",
        "SIP/2.0/UDP 444.555.666.777",
        "SIP/2.0/UDP ;branch=1",
    ],
)
def test_malformed_vias_are_refused(text: str) -> None:
    with pytest.raises(SipError) as caught:
        parse_via(text)
    assert (caught.value.status, caught.value.where) == (400, "Via")


def test_of_a_malformed_via_the_readable_part_is_kept_for_the_answer() -> None:
    via = salvage_via("SIP/2.0/UDP 192.0.2.15:5070;branch=z9hG4bK1;;rport")
    assert via == Via("UDP", "192.0.2.15", 5070, (("branch", "z9hG4bK1"),))
    assert via.param("BRANCH") == "z9hG4bK1"
    assert salvage_via("SIP/2.0/UDP [2001:db8::") is None


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("2001:db8::9:255", "2001:db8::9:255"),
        ("[2001:DB8::9:255]", "2001:db8::9:255"),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("host.example", None),
        ("[192.0.2.1]", "192.0.2.1"),
    ],
)
def test_received_is_read_bare_and_bracketed(value: str, canonical: str | None) -> None:
    via = parse_via(f"SIP/2.0/UDP host.example;received={value};branch=z9hG4bK1")
    assert via.received == canonical
    assert via.branch == "z9hG4bK1"
    assert str(via).endswith(f";received={value};branch=z9hG4bK1")


def test_rport_may_be_asked_for_answered_or_absent() -> None:
    asked, answered, absent, wrong = (
        parse_via("SIP/2.0/UDP a" + tail) for tail in (";rport", ";rport=5061", "", ";rport=70000")
    )
    assert (asked.wants_rport, asked.rport) == (True, None)
    assert (answered.wants_rport, answered.rport) == (True, 5061)
    assert (absent.wants_rport, absent.rport) == (False, None)
    assert wrong.rport is None


def test_a_client_of_rfc_2543_has_no_branch() -> None:
    assert parse_via("SIP/2.0/UDP host.example").branch is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SIP/2.0/UDP 192.0.2.1:5060;branch=b", "SIP/2.0/UDP 192.0.2.1:5060;branch=b"),
        (
            "SIP/2.0/UDP 192.0.2.1:5060;branch=b;rport",
            "SIP/2.0/UDP 192.0.2.1:5060;branch=b;rport=4444;received=192.0.2.1",
        ),
        ("SIP/2.0/UDP 10.0.0.1;branch=b", "SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.1"),
        ("SIP/2.0/UDP host.example;branch=b", "SIP/2.0/UDP host.example;branch=b;received=192.0.2.1"),
        ("SIP/2.0/UDP 10.0.0.1;received=10.9.9.9;branch=b", "SIP/2.0/UDP 10.0.0.1;received=192.0.2.1;branch=b"),
        ("SIP/2.0/UDP 192.0.2.1;received=10.9.9.9;branch=b", "SIP/2.0/UDP 192.0.2.1;branch=b"),
    ],
)
def test_the_source_of_a_request_is_noted_in_its_via(before: str, after: str) -> None:
    assert str(parse_via(before).with_source("192.0.2.1", 4444)) == after


def test_the_source_of_a_request_is_noted_without_brackets() -> None:
    via = parse_via("SIP/2.0/UDP [2001:DB8:0::1];rport").with_source("2001:db8::9", 5060)
    assert str(via) == "SIP/2.0/UDP [2001:db8::1];rport=5060;received=2001:db8::9"
    assert parse_via("SIP/2.0/UDP [2001:DB8:0::1]").with_source("2001:db8::1", 5060).received is None


# --- CSeq ---


@given(st.integers(0, MAX_CSEQ), st.sampled_from(["INVITE", "!odd-Method0%_*+`.'~"]))
def test_a_cseq_is_printed_so_that_it_reads_back(number: int, method: str) -> None:
    assert parse_cseq(str(CSeq(number, method))) == CSeq(number, method)


@pytest.mark.parametrize("text", ["0009 INVITE", "9   INVITE", "9\tINVITE", "9 \t INVITE"])
def test_white_space_and_zeros_in_a_cseq_do_not_count(text: str) -> None:
    assert parse_cseq(text) == CSeq(9, "INVITE")


@pytest.mark.parametrize(
    "text",
    ["", "1", "INVITE", "1 ", "x INVITE", "-1 INVITE", "+1 INVITE", "٧ INVITE", "1 INV@TE", "1 A B", "4294967296 ACK"],
)
def test_malformed_cseqs_are_refused(text: str) -> None:
    with pytest.raises(SipError) as caught:
        parse_cseq(text)
    assert (caught.value.status, caught.value.where) == (400, "CSeq")


# --- Contact and other lists ---


def test_contacts_of_all_rows_come_in_order() -> None:
    contacts = parse_contacts(['"A, B" <sip:a@[2001:db8::1]>;q=0.5, <sip:b@b.example>', "sip:c@c.example;expires=60"])
    assert not isinstance(contacts, Star)
    assert [str(contact.uri) for contact in contacts] == ["sip:a@[2001:db8::1]", "sip:b@b.example", "sip:c@c.example"]
    assert contacts[2].param("expires") == "60"
    assert parse_contacts([]) == []


def test_the_star_stands_alone() -> None:
    assert parse_contacts(["*"]) is STAR
    for rows in (["*, <sip:a@b>"], ["*", "*"], ["<sip:a@b>", "*"], ["*;x"]):
        with pytest.raises(SipError) as caught:
            parse_contacts(rows)
        assert (caught.value.status, caught.value.where) == (400, "Contact")


def test_route_lists_are_read_across_rows() -> None:
    routes = parse_name_addrs(["<sip:[2001:db8::1];lr>, <sip:p2.example;lr>", "<sip:p3.example>"], "Route")
    assert [route.uri.host for route in routes] == ["2001:db8::1", "p2.example", "p3.example"]
    assert [route.uri.has_param("lr") for route in routes] == [True, True, False]
