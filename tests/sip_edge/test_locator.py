"""How a registered contact is reached."""

from __future__ import annotations

import pytest

from services.core.address import Address
from services.core.sip.flow import Flow
from services.core.sip.message import Request
from services.core.sip.uri import SipUri
from services.sip_edge.locator import next_hop, reopen_at, transport_toward


@pytest.mark.parametrize(
    ("contact", "source", "registered_by", "way"),
    [
        ("sip:a@192.0.2.9:5070", "192.0.2.9:41000", "udp", "udp 192.0.2.9:5070"),
        ("sip:a@192.0.2.9:5070", "192.0.2.9:41000", "tcp", "tcp 192.0.2.9:5070"),
        ("sip:a@192.0.2.9:5070;transport=TCP", "192.0.2.9:41000", "udp", "tcp 192.0.2.9:5070"),
        ("sip:a@[2001:db8::9]:5070;transport=udp", "[2001:db8::9]:41000", "tcp", "udp [2001:db8::9]:5070"),
        ("sip:a@192.0.2.9:5070;transport=sctp", "192.0.2.9:41000", "udp", "udp 192.0.2.9:5070"),
        ("sip:a@10.0.0.9:5070;transport=tcp", "192.0.2.9:41000", "udp", "udp 192.0.2.9:41000"),
        ("sip:a@df7jal23.invalid;transport=tcp", "192.0.2.9:41000", "udp", "udp 192.0.2.9:41000"),
        ("sip:a@[fd00::9];transport=tcp", "192.0.2.9:41000", "udp", "tcp [fd00::9]:5060"),
        ("sip:a@192.0.2.9;transport=tls", "192.0.2.9:41000", "udp", "tls 192.0.2.9:5061"),
        ("sips:a@192.0.2.9", "192.0.2.9:41000", "tcp", "tls 192.0.2.9:5061"),
        ("sip:a@192.0.2.9:5070;transport=udp", "192.0.2.9:41000", "tls", "tls 192.0.2.9:5070"),
        ("sip:a@df7jal23.invalid;transport=ws", "192.0.2.9:41000", "wss", "wss 192.0.2.9:41000"),
    ],
)
def test_a_contact_is_reached_as_it_says_itself_unless_a_nat_hides_it(
    contact: str, source: str, registered_by: str, way: str
) -> None:
    uri, came_from = SipUri.parse(contact), Address.parse(source)
    hop = next_hop(uri, came_from)
    assert f"{transport_toward(uri, hop, registered_by)} {hop}" == way


@pytest.mark.parametrize(
    ("uri", "routes", "at"),
    [
        ("sip:a@192.0.2.9:5070;transport=tcp", [], "192.0.2.9:5070"),
        ("sip:a@192.0.2.9", [], "192.0.2.9:5060"),
        ("sip:a@198.51.100.1", ["<sip:192.0.2.9:5080;lr>", "<sip:p2.example;lr>"], "192.0.2.9:5080"),
        ("sip:192.0.2.9:5090", ["<sip:p2.example>"], "192.0.2.9:5090"),
        ("sip:a@df7jal23.invalid", [], "192.0.2.9:41000"),
        ("sip:a@[", [], None),
    ],
)
def test_a_request_whose_connection_is_gone_connects_where_it_goes_by_itself(
    uri: str, routes: list[str], at: str | None
) -> None:
    request = Request("BYE", uri, [("Route", route) for route in routes])
    ends = Address.parse("192.0.2.1:5060"), Address.parse("192.0.2.9:41000")
    assert reopen_at(request, Flow("tcp", *ends, 1)) == (None if at is None else Address.parse(at))
    assert reopen_at(request, Flow("udp", *ends, 1)) is None
    assert reopen_at(request, Flow("wss", *ends, 1)) is None
    assert reopen_at(request, Flow("tls", *ends, 1)) is None, "a phone's connection is its own to open"
    trunk = Flow("tls", *ends, 1, "trunk.example")
    assert (reopen_at(request, trunk) is None) is (at is None)
