"""sip.conf [general]: listeners over TLS and WebSocket, and their certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.core.config import Settings
from tests.core.config.conftest import Load, Problems


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A file that may be named as a certificate or a key: what is in it shows only when the edge starts."""
    file = tmp_path / "pbx.pem"
    file.write_text("")
    return file


def spoken(settings: Settings) -> list[str]:
    return [f"{listener.address} {'+'.join(listener.transports)}" for listener in settings.sip.listeners]


def test_tls_listens_beside_udp_and_tcp_on_both_wildcards(load: Load, pem: Path) -> None:
    settings = load("[general]\ntlsenable=yes\ntlscertfile=pbx.pem\n")
    assert spoken(settings) == ["[::]:5060 udp+tcp", "0.0.0.0:5060 udp+tcp", "[::]:5061 tls", "0.0.0.0:5061 tls"]
    assert settings.sip.listeners[-1].origin == "sip.conf:2"
    (certificate,) = settings.sip.tls.certificates
    assert (certificate.certificate, certificate.key, certificate.origin) == (pem, None, "sip.conf:3")


def test_tlsbindaddr_and_the_websocket_addresses_have_the_forms_of_bindaddr(load: Load, pem: Path) -> None:
    settings = load(
        """
        [general]
        bindaddr=10.0.0.1
        ipv6=no
        tlsenable=yes
        tlscertfile=pbx.pem
        tlsbindaddr=10.0.0.1
        tlsbindaddr=10.0.0.1:5071 advertise=sip.example.com
        tlsbindaddr=[2001:db8::1]
        ws_bindaddr=10.0.0.1
        wss_bindaddr=10.0.0.1
        externaddr=203.0.113.1:6060
        """
    )
    assert spoken(settings) == [
        "10.0.0.1:5060 udp+tcp",
        "10.0.0.1:5061 tls",
        "10.0.0.1:5071 tls",
        "10.0.0.1:8088 ws",
        "10.0.0.1:8089 wss",
    ]
    shown = [str(listener.advertised) for listener in settings.sip.listeners]
    assert shown == ["203.0.113.1:6060", "203.0.113.1", "sip.example.com", "203.0.113.1", "203.0.113.1"]


def test_several_certificates_have_their_keys_in_the_same_order(load: Load, pem: Path) -> None:
    (pem.parent / "b.crt").write_text("")
    (pem.parent / "b.key").write_text("")
    text = "[general]\ntlsenable=yes\ntlscertfile=pbx.pem\ntlscertfile=b.crt\ntlsprivatekey=pbx.pem\n"
    settings = load(text + "tlsprivatekey=b.key\n")
    files = [(one.certificate.name, one.key and one.key.name) for one in settings.sip.tls.certificates]
    assert files == [("pbx.pem", "pbx.pem"), ("b.crt", "b.key")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tlsenable=yes", "2: tlsenable needs a certificate (add tlscertfile=)"),
        ("wss_bindaddr=::1", "2: wss_bindaddr needs a certificate (add tlscertfile=)"),
        (
            "tlscertfile=pbx.pem\ntlsprivatekey=pbx.pem\ntlsprivatekey=pbx.pem",
            "4: 1 lines of tlscertfile and 2 of tlsprivatekey do not go together (give each certificate its key, in "
            "the same order)",
        ),
        (
            "tlscertfile=.\ntlsprivatekey=pbx.pem",
            "3: . is a directory, whose keys are in it (remove tlsprivatekey)",
        ),
        (
            "tlsverifyclient=yes",
            "2: certificates of clients need an authority to be checked by (add tlscafile=)",
        ),
        (
            "ws_bindaddr=127.0.0.1:5060\nbindaddr=127.0.0.1",
            "2: ws_bindaddr: 127.0.0.1:5060 is already listened on by 127.0.0.1:5060 of sip.conf:3",
        ),
        (
            "[trunk]\ntype=peer\nhost=sip.example.com\ntransport=tls",
            "2: [trunk] is reached over TLS, which is off (add tlsenable=yes)",
        ),
        ("ws_path=ws", "2: ws_path: 'ws' is no path (as in /ws)"),
        (
            "ws_origin=phone.example.com",
            "2: ws_origin: 'phone.example.com' is no origin (as in https://phone.example.com, without a path, or *)",
        ),
    ],
)
@pytest.mark.usefixtures("pem")
def test_what_cannot_work_is_found_before_it_starts(problems: Problems, text: str, problem: str) -> None:
    assert problems(f"[general]\n{text}\n") == [f"sip.conf:{problem}"]


def test_a_file_that_is_not_there_is_named(problems: Problems, tmp_path: Path) -> None:
    assert problems("[general]\ntlsenable=yes\ntlscertfile=lost.pem\ntlscafile=/nowhere/ca.pem\n") == [
        f"sip.conf:3: tlscertfile: {tmp_path}/lost.pem does not exist",
        "sip.conf:4: tlscafile: /nowhere/ca.pem does not exist",
    ]


@pytest.mark.usefixtures("pem")
def test_verification_is_strict_toward_trunks_and_off_toward_phones_unless_said_otherwise(load: Load) -> None:
    tls = load("[general]\n").sip.tls
    assert (tls.verify_client, tls.verify_server, tls.ca_file) == ("no", True, None)
    tls = load("[general]\ntlsverifyclient=optional\ntlscafile=pbx.pem\ntlsdontverifyserver=yes\n").sip.tls
    assert (tls.verify_client, tls.verify_server) == ("optional", False)


def test_tlsbindaddr_without_tlsenable_is_warned_of(load: Load) -> None:
    settings = load("[general]\ntlsbindaddr=10.0.0.1\n")
    assert [str(one) for one in settings.warnings] == ["sip.conf:2: tlsbindaddr has no effect (add tlsenable=yes)"]
    assert spoken(settings) == ["[::]:5060 udp+tcp", "0.0.0.0:5060 udp+tcp"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("*", "*"),
        ("https://Phone.Example.com", "https://phone.example.com"),
        ("https://phone.example.com:443", "https://phone.example.com"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
    ],
)
def test_origins_are_kept_as_browsers_send_them(load: Load, written: str, meant: str) -> None:
    assert load(f"[general]\nws_origin={written}\n").sip.websocket.origins == (meant,)
