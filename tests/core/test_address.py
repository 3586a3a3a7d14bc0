"""Addresses: strict reading, RFC 5952 writing, brackets where they belong (standards.md 1.1 and 1.2)."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.address import (
    Address,
    AddressError,
    Family,
    HostPort,
    family_of,
    is_ip,
    is_link_local,
    is_loopback,
    is_unspecified,
    parse_host,
    parse_ip,
    parse_port,
    split_host_port,
    unmap,
    uri_host,
)

IP6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
# Few distinct groups, so that runs of zeros, ties and mapped prefixes are common.
SPARSE_IP6 = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0x2001]), min_size=8, max_size=8).map(
    lambda groups: ipaddress.IPv6Address(b"".join(group.to_bytes(2, "big") for group in groups))
)
IP4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
PORTS = st.integers(0, 65535)


@given(IP6 | SPARSE_IP6)
def test_any_spelling_of_an_ipv6_address_has_the_text_inet_ntop_gives_it(address: ipaddress.IPv6Address) -> None:
    expected = socket.inet_ntop(socket.AF_INET6, address.packed)
    if "." in expected and not expected.startswith("::ffff:"):
        # inet_ntop writes the long dead IPv4-compatible addresses in mixed form, too; RFC 5952 5 wants known prefixes.
        expected = str(address)
    for spelling in (address.exploded, address.exploded.upper(), address.compressed, expected):
        assert parse_ip(spelling) == expected


@given(IP4)
def test_an_ipv4_address_is_its_own_canonical_text(address: ipaddress.IPv4Address) -> None:
    assert parse_ip(str(address)) == str(address)
    assert parse_ip(f"::ffff:{address}") == f"::ffff:{address}"
    assert unmap(f"::ffff:{address}") == str(address)


@given(IP6 | SPARSE_IP6 | IP4)
def test_a_canonical_address_is_read_back_as_itself(address: ipaddress.IPv6Address | ipaddress.IPv4Address) -> None:
    text = parse_ip(str(address))
    assert parse_ip(text) == text
    assert parse_host(uri_host(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2001:DB8:0:0:0:0:9:01", "2001:db8::9:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("::ffff:c000:280", "::ffff:192.0.2.128"),
        ("2001:db8::192.0.2.1", "2001:db8::c000:201"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("::", "::"),
        ("0:0:0:0:0:0:0:1", "::1"),
    ],
)
def test_the_shortest_form_is_written(text: str, canonical: str) -> None:
    assert parse_ip(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "[::1]",
        "fe80::1%eth0",
        "fe80::1%25eth0",
        "1::2::3",
        "2001:db8:::1",
        ":::",
        ":",
        ":1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
        "::12345",
        "::g",
        "::+1",
        "::0x1",
        "::1_0",
        "::٧",
        ":: 1",
        "::1.2.3",
        "::1.2.3.4.5",
        "::256.0.0.1",
        "1.2.3.4::",
        "::1.2.3.4:5",
        "1:2:3:4:5:6:7:1.2.3.4",
        "127.1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "010.0.0.1",
        "1.2.3.04",
        "1.2.3.٧",
        "444.555.666.777",
        "1.2.3.4 ",
        "v1.fe80::a",
        "x" * 100,
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not is_ip(text)
    with pytest.raises(AddressError):
        parse_ip(text)


@given(st.text())
def test_any_text_is_read_or_refused_with_an_address_error(text: str) -> None:
    for parse in (parse_ip, parse_host, parse_port, split_host_port, HostPort.parse, Address.parse):
        try:
            parse(text)
        except AddressError:
            continue


@given(st.text(alphabet="0123456789abcdefF:.[]%", max_size=45))
def test_what_we_take_as_an_address_the_standard_library_takes_too(text: str) -> None:
    if is_ip(text):
        assert ipaddress.ip_address(text) == ipaddress.ip_address(parse_ip(text))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.com", "example.com", None),
        ("Example.COM:5060", "example.com", 5060),
        ("example.com.", "example.com.", None),
        ("pbx_1.internal:5060", "pbx_1.internal", 5060),
        ("3f2a9c", "3f2a9c", None),
        ("192.0.2.1", "192.0.2.1", None),
        ("192.0.2.1:05060", "192.0.2.1", 5060),
        ("[2001:DB8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:5060", "2001:db8::1", 5060),
        ("[2001:db8::1:5060]", "2001:db8::1:5060", None),
        ("[::ffff:192.0.2.1]:1", "::ffff:192.0.2.1", 1),
    ],
)
def test_host_and_port_are_told_apart(text: str, host: str, port: int | None) -> None:
    assert HostPort.parse(text) == HostPort(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5060",
        "example.com:",
        "example.com:port",
        "example.com:+5060",
        "example.com:5_060",
        "example.com:٥٠٦٠",
        "example.com:65536",
        "example.com:99999999999999999999",
        "[2001:db8::1]:",
        "[2001:db8::1]5060",
        "[2001:db8::1",
        "2001:db8::1]",
        "[]",
        "[192.0.2.1]",
        "[example.com]",
        "[v1.fe80::a]",
        "[fe80::1%25eth0]",
        "[::1]]",
        "444.555.666.777",
        "1.2.3",
        "0x7f000001",
        "a..b",
        "-a.example",
        "a-.example",
        "exa mple",
        "exämple",
        "\u212a.example",
        "a" * 64 + ".example",
        "a." * 130 + "a",
    ],
)
def test_malformed_hosts_and_ports_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        HostPort.parse(text)


def test_a_bare_ipv6_address_is_refused_with_both_things_it_may_mean() -> None:
    with pytest.raises(AddressError, match=r"write \[2001:db8::1\]:5060 for port 5060, or \[2001:db8::1:5060\]"):
        split_host_port("2001:db8::1:5060")
    with pytest.raises(AddressError, match=r"write \[2001:db8::abcd\] or \[2001:db8::abcd\]:port"):
        split_host_port("2001:db8::abcd")
    with pytest.raises(AddressError, match="needs brackets"):
        parse_host("2001:db8::1")


@given(IP6 | IP4, PORTS)
def test_an_address_is_printed_so_that_it_reads_back(
    ip: ipaddress.IPv6Address | ipaddress.IPv4Address, port: int
) -> None:
    address = Address(parse_ip(str(ip)), port)
    assert Address.parse(str(address)) == address
    assert HostPort.parse(str(address)) == HostPort(address.host, port)
    assert str(HostPort(address.host, None)) == uri_host(address.host)


def test_an_address_takes_the_four_forms_of_bindaddr() -> None:
    assert Address.parse("10.1.1.1", 5060) == Address("10.1.1.1", 5060)
    assert Address.parse("10.1.1.1:5070", 5060) == Address("10.1.1.1", 5070)
    assert Address.parse("[2001:db8::1]", 5060) == Address("2001:db8::1", 5060)
    assert Address.parse("[2001:db8::1]:5070", 5060) == Address("2001:db8::1", 5070)


@pytest.mark.parametrize("text", ["10.1.1.1", "pbx.example.com:5060", "2001:db8::1:5060", "[fe80::1%eth0]:5060"])
def test_an_address_without_port_a_name_or_a_bare_ipv6_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        Address.parse(text)


def test_a_scope_stays_with_the_address_and_is_never_printed() -> None:
    address = Address.from_sockaddr(("fe80::1%eth0", 5060, 0, 2))
    assert address == Address("fe80::1", 5060, 2)
    assert str(address) == "[fe80::1]:5060"
    assert address.sockaddr() == ("fe80::1", 5060, 0, 2)
    assert Address.from_sockaddr(("192.0.2.1", 5060)).sockaddr() == ("192.0.2.1", 5060)


def test_families_have_the_numbers_and_names_of_sockets_and_sdp() -> None:
    assert (Family.IP4.af, Family.IP6.af) == (socket.AF_INET, socket.AF_INET6)
    assert (Family.IP4.sdp, Family.IP6.sdp) == ("IP4", "IP6")
    assert Address("::1", 1).family is family_of("::ffff:192.0.2.1") is Family.IP6
    assert Address("127.0.0.1", 1).family is family_of("192.0.2.1") is Family.IP4


def test_mapped_addresses_are_an_alias_only_where_asked() -> None:
    assert unmap("::ffff:192.0.2.1") == "192.0.2.1"
    assert unmap("192.0.2.1") == "192.0.2.1"
    assert unmap("2001:db8::1") == "2001:db8::1"
    assert unmap("::ffff:0:1") == "::ffff:0:1"
    assert parse_ip("::ffff:192.0.2.1") != "192.0.2.1"


def test_wildcards_loopback_and_link_local_addresses_are_recognised() -> None:
    assert [is_unspecified(ip) for ip in ("0.0.0.0", "::", "::1", "192.0.2.1")] == [True, True, False, False]
    assert [is_loopback(ip) for ip in ("127.0.0.9", "::1", "::ffff:127.0.0.1", "1.127.0.1", "::")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [is_link_local(ip) for ip in ("fe80::1", "febf::1", "169.254.1.1", "fec0::1", "fe8::1", "16.9.2.54")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_host_holds_no_port() -> None:
    with pytest.raises(AddressError, match="not a host"):
        parse_host("example.com:5060")
