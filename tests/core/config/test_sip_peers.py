"""sip.conf [NAME]: phones and trunks."""

from __future__ import annotations

import pytest

from services.core.address import HostPort
from services.core.config import Peer
from tests.core.config.conftest import Load, Problems

PHONE = "[general]\n[alice]\ntype=friend\nhost=dynamic\nsecret=wonderland\n"


def alice(load: Load, more: str = "", general: str = "") -> Peer:
    return load(PHONE.replace("[general]\n", "[general]\n" + general) + more).sip.peers["alice"]


def test_a_phone_that_registers(load: Load) -> None:
    peer = alice(load, 'context=office\ncallerid="Alice Liddell" <100>\nmax_contacts=2\n')
    assert (peer.name, peer.type, peer.dynamic, peer.context) == ("alice", "friend", True, "office")
    assert (peer.callerid_name, peer.callerid_number) == ("Alice Liddell", "100")
    assert (peer.max_contacts, peer.auth_user, peer.origin) == (2, "alice", "sip.conf:2")
    assert not peer.open


def test_what_a_phone_does_not_say_general_says(load: Load) -> None:
    peer = alice(load, general="context=internal\nmax_contacts=3\ndisallow=all\nallow=alaw\n")
    assert (peer.context, peer.max_contacts, peer.codecs) == ("internal", 3, ("alaw",))


def test_a_phone_may_transfer_unless_it_is_said_otherwise(load: Load) -> None:
    assert alice(load).allow_transfer
    assert not alice(load, "allowtransfer=no\n").allow_transfer


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", None),
        ("2001:DB8::5060", "2001:db8::5060", None),
        ("2001:db8::1:5060", "2001:db8::1:5060", None),
        ("Trunk.Example.com", "trunk.example.com", None),
        ("192.0.2.1\nport=5070", "192.0.2.1", 5070),
    ],
)
def test_host_is_an_address_without_brackets_or_a_name(load: Load, written: str, host: str, port: int | None) -> None:
    peer = load(f"[trunk]\ntype=peer\nsecret=x\nhost={written}\n").sip.peers["trunk"]
    assert peer.host == HostPort(host, port)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[2001:db8::1]", "stands here without brackets (write host=2001:db8::1)"),
        ("[2001:db8::1]:5070", "stands here without brackets (write host=2001:db8::1 and port=5070)"),
        ("192.0.2.1:5070", "a host has no port here (write host=192.0.2.1 and port=5070)"),
        ("trunk.example.com:5070", "a host has no port here (write host=trunk.example.com and port=5070)"),
        ("192.0.2.300", "(as in 10.1.1.1, 2001:db8::1 or sip.example.com)"),
        ("", "(as in 10.1.1.1, 2001:db8::1 or sip.example.com)"),
        ("fe80::1%eth0", "(as in 10.1.1.1, 2001:db8::1 or sip.example.com)"),
    ],
)
def test_other_hosts_are_refused_with_what_to_write(problems: Problems, written: str, said: str) -> None:
    (problem,) = problems(f"[trunk]\ntype=peer\nsecret=x\nhost={written}\n")
    assert problem.startswith("sip.conf:4: host: ")
    assert problem.endswith(said)


def test_a_phone_needs_type_and_host(problems: Problems) -> None:
    assert problems(
        "[alice]\nsecret=x\n[bob]\nhost=dynamic\nsecret=x\n[carol]\ntype=freind\nhost=dynamic\nsecret=x\n"
    ) == [
        "sip.conf:1: [alice] has no type (add type=friend, peer or user)",
        "sip.conf:1: [alice] has no host (add host=dynamic if it registers)",
        "sip.conf:3: [bob] has no type (add type=friend, peer or user)",
        "sip.conf:7: type: 'freind' is not known (did you mean friend?)",
    ]


def test_a_user_needs_no_host(load: Load) -> None:
    assert load("[door]\ntype=user\nsecret=x\n").sip.peers["door"].dynamic


def test_a_phone_without_secret_is_open_and_loudly_warned_of(load: Load) -> None:
    settings = load("[general]\n[dev1]\ntype=friend\nhost=dynamic\n")
    assert settings.sip.peers["dev1"].open
    assert [str(warning) for warning in settings.warnings] == [
        "sip.conf:2: [dev1] has no secret: ANYBODY who reaches this machine can register and call as dev1 (add secret=)"
    ]


def test_an_empty_secret_is_no_way_to_open_a_phone(problems: Problems) -> None:
    assert problems("[dev1]\ntype=friend\nhost=dynamic\nsecret=\n") == [
        "sip.conf:4: secret: is empty (give a password, or remove the line to let anybody use this phone)"
    ]


def test_secrets_are_in_no_representation(load: Load) -> None:
    settings = load(PHONE + "[bob]\ntype=friend\nhost=dynamic\nmd5secret=0123456789ABCDEF0123456789abcdef\n")
    assert settings.sip.peers["bob"].md5secret == "0123456789abcdef" * 2
    for text in (repr(settings), str(settings), f"{settings.sip.peers}"):
        assert "wonderland" not in text
        assert "0123456789abcdef" not in text


def test_a_problem_with_a_secret_does_not_show_it(problems: Problems) -> None:
    (problem,) = problems("[a]\ntype=friend\nhost=dynamic\nmd5secret=hunter2\n")
    assert "hunter2" not in problem
    (problem,) = problems(PHONE + "md5secret=" + "a" * 32 + "\n")
    assert problem == "sip.conf:5: [alice] has both secret and md5secret (keep one of them)"


def test_a_secret_keeps_its_semicolons_hashes_and_equals_signs(load: Load) -> None:
    peer = load("[a]\ntype=friend\nhost=dynamic\nsecret= a\\;b#c=d \n").sip.peers["a"]
    assert peer.secret == "a;b#c=d"


@pytest.mark.parametrize(
    ("written", "name", "number"),
    [
        ('"Alice" <100>', "Alice", "100"),
        ("Alice Liddell <+49 30 1>", "Alice Liddell", "+49 30 1"),
        ("<100>", "", "100"),
        ("100", "", "100"),
        ("+1 (555) 010-2", "", "+15550102"),
        ("Alice", "Alice", ""),
        ('"A <b>" <100>', "A <b>", "100"),
    ],
)
def test_caller_ids(load: Load, written: str, name: str, number: str) -> None:
    peer = alice(load, f"callerid={written}\n")
    assert (peer.callerid_name, peer.callerid_number) == (name, number)


def test_a_caller_id_without_its_bracket_is_a_problem(problems: Problems) -> None:
    assert problems(PHONE + "callerid=Alice <100\n") == [
        "sip.conf:6: callerid: 'Alice <100' has no proper <number> (as in \"Alice Liddell\" <100>)"
    ]


def test_the_last_rule_that_covers_an_address_decides(load: Load) -> None:
    peer = alice(
        load,
        """deny=0.0.0.0/0.0.0.0
permit=10.0.0.0/255.0.0.0
deny=10.9.0.0/16
deny=::/0
permit=2001:db8::/32
permit=192.0.2.7
""",
    )
    allowed = {ip: peer.permits(ip) for ip in ("10.1.2.3", "10.9.0.1", "192.0.2.7", "192.0.2.8", "2001:db8::1", "::1")}
    assert allowed == {
        "10.1.2.3": True,
        "10.9.0.1": False,
        "192.0.2.7": True,
        "192.0.2.8": False,
        "2001:db8::1": True,
        "::1": False,
    }


def test_a_mapped_address_is_judged_as_the_ipv4_address_it_is(load: Load) -> None:
    peer = alice(load, "deny=10.0.0.0/8\ndeny=::ffff:192.0.2.0/120\n")
    assert not peer.permits("::ffff:10.0.0.1")
    assert not peer.permits("192.0.2.5")
    assert peer.permits("198.51.100.1")


def test_a_list_that_closes_only_one_family_is_warned_of(load: Load) -> None:
    settings = load(PHONE + "deny=0.0.0.0/0\npermit=10.0.0.0/8\n")
    assert [str(warning) for warning in settings.warnings] == [
        "sip.conf:6: deny=0.0.0.0/0 says nothing of IPv6, from where [alice] is open (add deny=::/0)"
    ]


def test_networks_that_are_none_are_refused(problems: Problems) -> None:
    without = "(write it without brackets and zone, as in 2001:db8::/32)"
    assert problems(PHONE + "deny=10.0.0.0/33\npermit=[2001:db8::]/32\npermit=fe80::1%eth0\n") == [
        "sip.conf:6: deny: '10.0.0.0/33' is not a network (as in 10.0.0.0/8 or 2001:db8::/32)",
        f"sip.conf:7: permit: '[2001:db8::]/32' is not a network {without}",
        f"sip.conf:8: permit: 'fe80::1%eth0' is not a network {without}",
    ]


def test_insecure_is_for_trunks_with_an_address(load: Load) -> None:
    trunk = load("[trunk]\ntype=peer\nhost=192.0.2.1\ninsecure=port,invite\n").sip.peers["trunk"]
    assert (trunk.insecure_invite, trunk.insecure_port) == (True, True)
    settings = load(PHONE + "insecure=invite\n")
    assert not settings.sip.peers["alice"].insecure_invite
    assert [str(warning) for warning in settings.warnings] == [
        "sip.conf:6: insecure has no effect with host=dynamic: a phone shows its password (give host=ADDRESS)"
    ]


def test_codecs_of_a_phone_start_from_the_general_ones(load: Load, problems: Problems) -> None:
    assert alice(load, "disallow=g722\n").codecs == ("ulaw", "alaw")
    assert alice(load, "disallow=all\nallow=alaw\n").codecs == ("alaw",)
    assert problems(PHONE + "disallow=all\nallow=ullaw\n") == [
        "sip.conf:6: [alice] is left without any codec (add allow=ulaw)",
        "sip.conf:7: allow: 'ullaw' is not a codec (did you mean ulaw?)",
    ]


def test_names_that_could_not_be_dialled_are_refused(problems: Problems) -> None:
    (problem,) = problems("[a/b]\ntype=friend\nhost=dynamic\nsecret=x\n")
    assert problem == "sip.conf:1: [a/b] cannot be dialled or register (use letters, digits, - _ . + only)"


def test_a_section_twice_is_a_problem_and_an_addition_is_none(load: Load, problems: Problems) -> None:
    assert problems(PHONE + "[alice]\ntype=peer\n") == [
        "sip.conf:6: [alice] is already at sip.conf:2 (join them, or write [alice](+))"
    ]
    assert load(PHONE + "[alice](+)\ncontext=x\n").sip.peers["alice"].context == "x"


def test_a_problem_in_a_template_is_reported_once(problems: Problems) -> None:
    (problem,) = problems("[p](!)\ntype=friend\nhost=dynamic\nsecret=x\nallow=foo\n[a](p)\n[b](p)\n")
    assert problem.startswith("sip.conf:5: allow: 'foo' is not a codec (known are all, ulaw, alaw, g722, ")


def test_video_is_understood_and_warned_of(load: Load) -> None:
    settings = load("[general]\nallow=h264\n")
    assert settings.sip.allow == ("ulaw", "alaw", "g722")
    assert [str(warning) for warning in settings.warnings] == [
        "sip.conf:2: allow=h264 has no effect: video is not supported yet"
    ]


def test_the_configuration_of_the_talk_loads_as_printed(load: Load) -> None:
    settings = load(
        """
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
    )
    assert [str(listener.address) for listener in settings.sip.listeners] == ["[2001:db8::1]:5060", "0.0.0.0:5060"]
    assert {name: (peer.codecs, peer.context) for name, peer in settings.sip.peers.items()} == {
        "dev1": (("ulaw",), "internal"),
        "dev2": (("ulaw",), "internal"),
    }
    assert len(settings.warnings) == 2
