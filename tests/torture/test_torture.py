"""RFC 4475 and RFC 5118, every message of theirs: to the parser alone, and to a PBX over UDP and TCP."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from services.core.address import Family
from services.core.sip.framing import StreamFramer
from services.core.sip.message import Request, parse_message
from tests.core.sip.reading import verdict
from tests.support.inprocess import InProcessPbx
from tests.support.rawsip import Message, Phone
from tests.torture.edge import Udp, outcome_over_tcp, outcome_over_udp

FOLDER = Path(__file__).parent


class Row(NamedTuple):
    """One row of the table."""

    section: str
    file: str
    parser: str
    udp: str
    tcp: str

    @property
    def data(self) -> bytes:
        return (FOLDER / f"{self.file}.dat").read_bytes()

    @property
    def family(self) -> Family:
        """What speaks of IPv6 is sent over it."""
        return Family.IP6 if self.file.startswith("rfc5118") else Family.IP4


def table() -> list[Row]:
    lines = [line for line in (FOLDER / "outcomes.md").read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [Row(*row[:5]) for row in cells if row[0] != "section"]


ROWS = table()
EVERY_MESSAGE = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section} {row.file}")


def test_the_table_has_every_message_of_both_rfcs_and_every_file() -> None:
    assert Counter(row.file.partition("/")[0] for row in ROWS) == {"rfc4475": 49, "rfc5118": 12}
    files = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("rfc*/*.dat")}
    assert {row.file for row in ROWS} == files


def test_lines_end_in_crlf_and_lengths_are_right_but_where_they_are_the_matter() -> None:
    for row in ROWS:
        head, end, body = row.data.partition(b"\r\n\r\n")
        assert end, row.file
        assert head.count(b"\n") == head.count(b"\r\n") == head.count(b"\r"), row.file
        if row.section not in ("3.1.1.8", "3.1.2.2", "3.1.2.3", "3.3.9", "3.4.1"):
            assert StreamFramer().feed(row.data) == [row.data], row.file
            assert len(body) == int(head.lower().partition(b"content-length")[2].lstrip(b" :").split()[0]), row.file


@EVERY_MESSAGE
def test_the_parser_takes_or_refuses_it_as_the_table_says(row: Row) -> None:
    assert verdict(row.data) == row.parser


@EVERY_MESSAGE
def test_the_edge_answers_as_the_table_says(row: Row, transport: str, pbx: InProcessPbx) -> None:
    if transport == "udp":
        assert outcome_over_udp(pbx.address(row.family), row.data, row.udp) == row.udp
    else:
        assert outcome_over_tcp(pbx.address(row.family), row.data, row.tcp) == row.tcp
    assert pbx.edge.transport.stats["handler_errors"] == 0


# --- what some of them mean ------------------------------------------------------------------------------------------


def request(file: str) -> Request:
    message = parse_message((FOLDER / f"{file}.dat").read_bytes())
    assert isinstance(message, Request)
    return message


def answer(pbx: InProcessPbx, file: str) -> Message:
    """The answer to a file's message, sent under another name so that it is new."""
    way = Udp(pbx.address())
    try:
        data = (FOLDER / f"{file}.dat").read_bytes()
        name = file.partition("/")[2].encode()
        way.send(data.replace(b"z9hG4bK-" + name, b"z9hG4bK-again").replace(b"Call-ID: ", b"Call-ID: again."))
        return way.receive()
    finally:
        way.close()


def test_folds_and_blanks_change_no_value() -> None:
    message = request("rfc4475/wsinv")
    assert (message.cseq.number, message.max_forwards, len(message.body)) == (8, 70, 125)
    assert (message.from_.display, message.from_tag) == ('Q. \\"Odd" Ly', "f0ld3d")
    assert [str(via) for via in message.vias] == [
        "SIP/2.0/UDP ua.example.net:25060;branch=not-a-cookie",
        "SIP/2.0/TCP hop1.example.com;branch=z9hG4bKh1",
        "SIP/2.0/UDP 192.0.2.255;branch=z9hG4bKh2",
    ]
    assert message.get("Brand-New-Row") == "text that goes on and on; with, marks"


def test_a_digit_group_in_the_brackets_is_no_port() -> None:
    assert (request("rfc5118/port-ambiguous").request_uri.host, request("rfc5118/port-ambiguous").request_uri.port) == (
        "2001:db8::10:5070",
        None,
    )
    assert request("rfc5118/port-unambiguous").request_uri.port == 5070


@pytest.mark.parametrize("kind", ["with", "no"])
def test_received_is_the_same_address_with_brackets_and_without(kind: str) -> None:
    assert request(f"rfc5118/via-received-param-{kind}-delim").top_via.received == "2001:db8::9:255"


def test_vias_of_both_families_keep_their_order() -> None:
    assert [via.host for via in request("rfc5118/mult-ip-in-header").vias] == [
        "2001:db8::9:1",
        "192.0.2.1",
        "2001:db8::9:255",
    ]


def test_every_version_but_ours_is_told_so_with_the_via_it_can_find_its_way_by(pbx: InProcessPbx) -> None:
    refusal = answer(pbx, "rfc4475/badvers")
    assert refusal.status == 505
    assert ";branch=z9hG4bK-again" in refusal.get("Via")


def test_what_is_missing_in_a_request_is_missing_in_the_answer(pbx: InProcessPbx) -> None:
    refusal = answer(pbx, "rfc4475/insuf")
    assert (refusal.status, refusal.get_all("Call-ID"), refusal.get_all("From")) == (400, [], [])


def test_options_that_require_what_we_have_not_are_told_what_that_is(pbx: InProcessPbx) -> None:
    assert answer(pbx, "rfc4475/bext01").get("Unsupported") == "nobodyHasThis, norThat"


@pytest.mark.parametrize(
    ("name", "bound_as"),
    [
        ("cparam01", "<sip:+15550100@gw.example.net>"),
        ("cparam02", "<sip:+15550100@gw.example.net;odd>"),
        ("regescrt", "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"),
    ],
)
def test_a_contact_is_bound_with_what_is_its_own(pbx: InProcessPbx, name: str, bound_as: str) -> None:
    way = Udp(pbx.address())
    try:
        phone = Phone(way, name)
        phone.register(request(f"rfc4475/{name}").get("Contact") or "")
        bound = phone.tell(phone.request("REGISTER", "sip:pbx.example", To=f"<{phone.aor}>"))
        assert any(row.startswith(f"{bound_as};expires=") for row in bound.get_all("Contact")), bound
    finally:
        way.close()
