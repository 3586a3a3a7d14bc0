"""Whose certificate it is: RFC 5922 section 7, on what OpenSSL says of a certificate."""

from __future__ import annotations

from typing import Any

import pytest

from services.sip_edge.transport.identity import identities, speaks_for

SUBJECT = ((("countryName", "XX"),), (("commonName", "cn.example.com"),))


def certificate(*names: tuple[str, str]) -> dict[str, Any]:
    return {"subject": SUBJECT, "subjectAltName": names} if names else {"subject": SUBJECT}


def test_section_7_1_sip_uris_come_before_dns_names() -> None:
    both = certificate(("DNS", "dns.example.com"), ("URI", "sip:SIP.example.com"))
    assert identities(both) == ("sip.example.com",)
    assert identities(certificate(("DNS", "DNS.example.com"))) == ("dns.example.com",)


@pytest.mark.parametrize("uri", ["sip:alice@example.com", "https://example.com", "im:example.com", "sips:example.com"])
def test_section_7_1_uris_of_users_and_of_other_schemes_name_no_domain(uri: str) -> None:
    assert identities(certificate(("URI", uri), ("DNS", "dns.example.com"))) == ("dns.example.com",)


def test_section_7_1_the_common_name_counts_only_without_any_alternative() -> None:
    assert identities(certificate()) == ("cn.example.com",)
    assert identities(certificate(("URI", "https://example.com"))) == ()
    assert identities({}) == ()


@pytest.mark.parametrize(
    ("name", "host", "same"),
    [
        ("sip.example.com", "sip.example.com", True),
        ("sip.example.com", "SIP.Example.com.", True),
        ("sip.example.com", "example.com", False),
        ("example.com", "sip.example.com", False),
        ("*.example.com", "sip.example.com", False),
    ],
)
def test_section_7_2_whole_names_are_compared_and_wildcards_stand_for_nothing(name: str, host: str, same: bool) -> None:
    assert speaks_for(certificate(("DNS", name)), host) is same
    assert speaks_for(certificate(("URI", f"sip:{name}")), host) is same


def test_addresses_are_compared_by_value() -> None:
    found = certificate(("IP Address", "192.0.2.1"), ("IP Address", "2001:DB8:0:0:0:0:0:1\n"))
    assert speaks_for(found, "192.0.2.1")
    assert speaks_for(found, "2001:db8::1")
    assert not speaks_for(found, "2001:db8::2")
    assert not speaks_for(certificate(("DNS", "192.0.2.1")), "192.0.2.10")
