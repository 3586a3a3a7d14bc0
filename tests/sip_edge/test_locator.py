"""How a registered contact is reached."""

from __future__ import annotations

import pytest

from services.core.address import Address
from services.core.sip.uri import SipUri
from services.sip_edge.locator import next_hop, transport_toward


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
    ],
)
def test_a_contact_is_reached_as_it_says_itself_unless_a_nat_hides_it(
    contact: str, source: str, registered_by: str, way: str
) -> None:
    uri, came_from = SipUri.parse(contact), Address.parse(source)
    hop = next_hop(uri, came_from)
    assert f"{transport_toward(uri, hop, registered_by)} {hop}" == way
