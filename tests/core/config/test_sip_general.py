"""sip.conf [general]: listeners, families, limits."""

from __future__ import annotations

import pytest

from services.core.config import ListenerSettings, Settings
from tests.core.config.conftest import Load, Problems


def listening(settings: Settings) -> list[str]:
    return [str(listener.address) for listener in settings.sip.listeners]


def listener_of(settings: Settings, family: str) -> ListenerSettings:
    return next(one for one in settings.sip.listeners if one.address.family.value == family)


def test_without_bindaddr_both_wildcards_are_listened_on(load: Load) -> None:
    settings = load("[general]\n")
    assert listening(settings) == ["[::]:5060", "0.0.0.0:5060"]
    assert all(listener.implied and listener.udp and listener.tcp for listener in settings.sip.listeners)
    assert listener_of(settings, "ip6").origin == "default of IPv6"


def test_a_file_without_general_has_all_defaults(load: Load) -> None:
    sip = load("").sip
    assert (sip.context, sip.realm, sip.allow, sip.domains) == ("default", "asterisk", ("ulaw", "alaw", "g722"), ())
    assert (sip.min_expiry_s, sip.default_expiry_s, sip.max_expiry_s) == (60, 120, 3600)
    assert not sip.allow_guest


def test_the_four_forms_of_bindaddr(load: Load) -> None:
    settings = load(
        """
        [general]
        bindaddr=10.1.1.1
        bindaddr=10.1.1.1:5062
        bindaddr=[2001:db8::1]
        bindaddr=[2001:DB8:0::1]:5062
        bindport=5070
        """
    )
    assert listening(settings) == ["10.1.1.1:5070", "10.1.1.1:5062", "[2001:db8::1]:5070", "[2001:db8::1]:5062"]
    assert [listener.origin for listener in settings.sip.listeners] == [f"sip.conf:{line}" for line in (3, 4, 5, 6)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::", "[::]:5060"),
        ("::1", "[::1]:5060"),
        ("2001:db8::1", "[2001:db8::1]:5060"),
        ("2001:db8:0:0:0:0:0:5060", "[2001:db8::5060]:5060"),
        ("2001:db8::a:b", "[2001:db8::a:b]:5060"),
        ("[2001:db8::1:5060]", "[2001:db8::1:5060]:5060"),
    ],
)
def test_a_bare_ipv6_address_is_taken_when_it_has_one_meaning(load: Load, written: str, meant: str) -> None:
    assert listening(load(f"[general]\nbindaddr={written}\nipv4=no\n")) == [meant]


def test_a_bare_ipv6_address_that_may_end_in_a_port_is_refused_with_both_readings(problems: Problems) -> None:
    assert problems("[general]\nbindaddr=2001:db8::1:5060\n") == [
        "sip.conf:2: bindaddr: 2001:db8::1:5060 could be the address 2001:db8::1:5060 or the address 2001:db8::1 with "
        "port 5060 (write [2001:db8::1:5060] or [2001:db8::1]:5060)"
    ]


@pytest.mark.parametrize(
    "written",
    [
        *(
            "",
            "localhost",
            "10.1.1",
            "10.1.1.1:",
            "10.1.1.1:65536",
            "[::1]:",
            "[::1]5060",
            "[10.1.1.1]",
            "[fe80::1%eth0]",
        ),
        *("2001:db8::1::5060", "10.1.1.1:+80", "10.1.1.1:٥٠", "10.1.1.1 5060", "[::1", "010.0.0.1"),
    ],
)
def test_other_forms_of_bindaddr_are_refused_in_one_line(problems: Problems, written: str) -> None:
    (problem,) = problems(f"[general]\nbindaddr={written}\n")
    assert problem.startswith("sip.conf:2: bindaddr: ")
    assert "\n" not in problem


def test_a_family_with_a_bindaddr_gets_no_wildcard_and_the_other_does(load: Load) -> None:
    settings = load("[general]\nbindaddr=[2001:db8::1]\n")
    assert listening(settings) == ["[2001:db8::1]:5060", "0.0.0.0:5060"]
    assert [listener.implied for listener in settings.sip.listeners] == [False, True]


def test_a_family_can_be_switched_off(load: Load) -> None:
    text = "[general]\nbindaddr=[2001:db8::1]\nbindaddr=10.0.0.1\n"
    assert listening(load(text + "ipv6=no\n")) == ["10.0.0.1:5060"]
    assert listening(load(text, env={"PBX_SIP_GENERAL_IPV4": "no"})) == ["[2001:db8::1]:5060"]


def test_both_families_or_both_transports_off_is_a_problem(problems: Problems) -> None:
    assert problems("[general]\nipv4=no\nipv6=no\nudpenable=no\ntcpenable=no\n") == [
        "sip.conf:2: both address families are switched off (leave one of ipv4 and ipv6 on)",
        "sip.conf:5: neither UDP nor TCP is enabled (set udpenable=yes or tcpenable=yes)",
    ]


def test_an_address_twice_and_an_address_under_its_wildcard_are_found(problems: Problems) -> None:
    assert problems("[general]\nbindaddr=10.0.0.1\nbindaddr=10.0.0.1:5060\nbindaddr=0.0.0.0\nbindaddr=::\n") == [
        "sip.conf:3: bindaddr: 10.0.0.1:5060 is already listened on by 10.0.0.1:5060 of sip.conf:2",
        "sip.conf:4: bindaddr: 0.0.0.0:5060 is already listened on by 10.0.0.1:5060 of sip.conf:2",
    ]


def test_port_zero_may_stand_any_number_of_times(load: Load) -> None:
    assert listening(load("[general]\nbindaddr=127.0.0.1:0\nbindaddr=127.0.0.1:0\nipv6=no\n")) == ["127.0.0.1:0"] * 2


def test_each_family_and_each_listener_has_its_advertised_address(load: Load) -> None:
    settings = load(
        """
        [general]
        bindaddr=10.0.0.1
        bindaddr=10.0.0.2 advertise=sip.example.com:5080
        externip=203.0.113.7
        externaddr6=[2001:db8::7]:5066
        """
    )
    assert [(str(one.address), str(one.advertised)) for one in settings.sip.listeners] == [
        ("10.0.0.1:5060", "203.0.113.7"),
        ("10.0.0.2:5060", "sip.example.com:5080"),
        ("[::]:5060", "[2001:db8::7]:5066"),
    ]


def test_an_advertised_address_has_the_family_of_its_listener(problems: Problems) -> None:
    assert problems("[general]\nbindaddr=10.0.0.1 advertise=[::1]\nexternaddr=2001:db8::7\nbindaddr=::1 as=x\n") == [
        "sip.conf:2: bindaddr: 10.0.0.1 cannot advertise ::1, an address of the other family",
        "sip.conf:3: externaddr: '2001:db8::7' is not an IPv4 address (an IPv6 address belongs in externaddr6)",
        "sip.conf:4: bindaddr: 'as=x' is not understood (only advertise=HOST[:PORT] may follow the address)",
    ]


def test_transports_can_be_switched_off_one_by_one(load: Load) -> None:
    settings = load("[general]\ntcpenable=off\n")
    assert {(listener.udp, listener.tcp) for listener in settings.sip.listeners} == {(True, False)}


def test_limits_and_expiry_are_checked_against_their_ranges(problems: Problems) -> None:
    assert problems("[general]\nminexpiry=0\nmaxcalls=+7\nmaxtransactions=7_000\nudpenable=maybe\nbindport=٧\n") == [
        "sip.conf:2: minexpiry: 0 is out of range (1 to 86400)",
        "sip.conf:3: maxcalls: '+7' is not a whole number (1 to 1000000)",
        "sip.conf:4: maxtransactions: '7_000' is not a whole number (100 to 1000000)",
        "sip.conf:5: udpenable: 'maybe' is neither yes nor no (write yes or no)",
        "sip.conf:6: bindport: '٧' is not a whole number (0 to 65535)",
    ]


def test_the_three_expiry_times_must_rise(problems: Problems) -> None:
    assert problems("[general]\nminexpiry=300\n") == [
        "sip.conf:2: 300 (minexpiry), 120 (defaultexpiry), 3600 (maxexpiry) must rise"
    ]


def test_the_general_codec_list_is_edited_line_by_line(load: Load) -> None:
    assert load("[general]\nallow=ulaw\n").sip.allow == ("ulaw", "alaw", "g722")
    assert load("[general]\ndisallow=all\nallow=alaw,opus\nallow=ulaw\n").sip.allow == ("alaw", "opus", "ulaw")
    assert load("[general]\ndisallow=alaw\n").sip.allow == ("ulaw", "g722")
    assert load("[general]\nallow=!all,g722\n").sip.allow == ("g722",)
    assert load("[general]\nallow=all\ndisallow=all\nallow=ulaw:20\n").sip.allow == ("ulaw",)


def test_several_domains_count(load: Load) -> None:
    assert load("[general]\ndomain=example.com\ndomain=pbx.example\n").sip.domains == ("example.com", "pbx.example")


def test_an_unknown_setting_names_its_nearest_neighbour(problems: Problems) -> None:
    assert problems("[general]\nbindadr=10.0.0.1\n\nfrobnicate=1\n") == [
        "sip.conf:2: bindadr is not a setting of [general] (did you mean bindaddr?)",
        "sip.conf:4: frobnicate is not a setting of [general] (see docs/configuration.md)",
    ]


def test_settings_of_asterisk_without_effect_are_warned_of_and_dangerous_ones_refused(
    load: Load, problems: Problems
) -> None:
    settings = load("[general]\nqualify=yes\nnat=force_rport\ntlsenable=no\n")
    assert [str(warning) for warning in settings.warnings] == [
        "sip.conf:2: qualify has no effect: not supported yet",
        "sip.conf:3: nat has no effect: answers always follow the source address (RFC 3581) and media always latches",
    ]
    assert problems("[general]\nencryption=yes\n") == [
        "sip.conf:2: encryption is not supported (SRTP comes later; remove the line to go on without encryption)"
    ]
