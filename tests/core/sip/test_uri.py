"""URIs and name-addr: what is read is printed again, equality by RFC 3261 19.1.4 and RFC 5954."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.sip.errors import SipError
from services.core.sip.uri import NameAddr, SipUri, escape_user, normalise_escapes, unescape
from tests.core.sip.strategies import name_addrs, sip_uris


@given(sip_uris())
def test_a_uri_is_printed_so_that_it_reads_back(uri: SipUri) -> None:
    assert SipUri.parse(str(uri)) == uri
    assert uri.same_as(SipUri.parse(str(uri)))


@given(st.text(max_size=60) | st.text(max_size=60).map(lambda text: "sip:" + text))
def test_any_text_is_a_uri_or_a_sip_error(text: str) -> None:
    try:
        uri = SipUri.parse(text)
    except SipError as error:
        assert error.status in (400, 416)
    else:
        assert SipUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:example.com",
        "sip:alice@example.com",
        "sips:alice:secret@example.com:5061;transport=tcp;lr",
        "sip:alice@[2001:db8::1]:5060;maddr=[2001:db8::2]",
        "sip:[2001:db8::1:5070]",
        "sip:%61lice%40home;day=tuesday@example.com",
        "sip:atlanta.example;method=REGISTER?to=sip:bob%40b.example&priority=urgent",
        "sip:*72#@example.com",
        "sip:a:@example.com",
        "sip:a@example.com?X=",
        "sip:a@example.com;x=;y",
        "tel:+1-212-555-0101;phone-context=example.com",
        "tel:7042;phone-context=+1",
    ],
)
def test_a_uri_keeps_its_bytes(text: str) -> None:
    assert str(SipUri.parse(text)) == text


def test_the_parts_of_a_uri_are_told_apart() -> None:
    uri = SipUri.parse("SIPS:al;ice?:se$cret@[2001:DB8::1]:05061;Transport=TCP;lr?Subject=hi&To=x")
    assert uri == SipUri(
        scheme="sips",
        user="al;ice?",
        password="se$cret",
        host="2001:db8::1",
        port=5061,
        params=(("Transport", "TCP"), ("lr", None)),
        headers=(("Subject", "hi"), ("To", "x")),
    )
    assert str(uri) == "sips:al;ice?:se$cret@[2001:db8::1]:5061;Transport=TCP;lr?Subject=hi&To=x"
    assert str(uri.hostport) == "[2001:db8::1]:5061"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip",
        "sip:",
        ":a@b",
        "1sip:a@b",
        "alice@example.com",
        "<sip:a@b>",
        "sip:@example.com",
        "sip::pw@example.com",
        "sip:a:p/w@example.com",
        "sip:a:%4@example.com",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@example.com",
        "sip:a%@example.com",
        "sip:a%4@example.com",
        "sip:a%zz@example.com",
        "sip:a%4\u0661@example.com",
        "sip:ä@example.com",
        'sip:"a"@example.com',
        "sip:a{b}@example.com",
        "sip:a@example.com:",
        "sip:a@example.com:65536",
        "sip:a@example.com:5o60",
        "sip:a@example.com;",
        "sip:a@example.com;=x",
        "sip:a@example.com;a=b=c",
        "sip:a@example.com;a=%",
        "sip:a@example.com; lr",
        "sip:a@example.com?",
        "sip:a@example.com?subject",
        "sip:a@example.com?=x",
        "sip:a@example.com?x=%1",
        "sip:a@2001:db8::10",
        "sip:[]",
        "sip:[192.0.2.1]",
        "sip:[example.com]",
        "sip:[2001:db8::1::2]",
        "sip:[fe80::1%25eth0]",
        "sip:[2001:db8::1]:",
        "sip:444.555.666.777",
        "tel:",
        "tel:+",
        "tel:12+34",
        "tel:abcxyz",
        "tel:7042;",
    ],
)
def test_malformed_uris_are_refused_with_400(text: str) -> None:
    with pytest.raises(SipError) as caught:
        SipUri.parse(text)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "text", ["http://example.com/", "mailto:a@example.com", "urn:service:sos", "soap.beep://192.0.2.1"]
)
def test_other_schemes_are_refused_with_416(text: str) -> None:
    with pytest.raises(SipError) as caught:
        SipUri.parse(text)
    assert caught.value.status == 416


def test_a_refusal_never_carries_the_whole_of_a_long_uri() -> None:
    for text in ("sip:" + "x" * 60000, "sip:a@" + ":" * 60000, "sip:a@b;" + "y" * 60000 + "=%"):
        with pytest.raises(SipError) as caught:
            SipUri.parse(text)
        assert len(caught.value.reason) < 400
        assert caught.value.reason.isascii()


def test_parameters_are_found_in_any_case_and_any_escape() -> None:
    uri = SipUri.parse("sip:a@b;%6C%72;Transport=TCP;empty=;X=%41")
    assert uri.param("lr") == ""
    assert uri.has_param("LR")
    assert uri.param("transport") == "TCP"
    assert uri.param("empty") == ""
    assert uri.param("x") == "%41"
    assert uri.param("maddr") is None
    assert not uri.has_param("maddr")


def test_parameters_are_set_in_place_and_removed() -> None:
    uri = SipUri.parse("sip:a@b;transport=udp;lr;Transport=tcp")
    assert str(uri.with_param("TRANSPORT", "tls")) == "sip:a@b;transport=tls;lr"
    assert str(uri.with_param("ob")) == "sip:a@b;transport=udp;lr;Transport=tcp;ob"
    assert str(uri.without_param("transport")) == "sip:a@b;lr"
    assert str(uri.with_(host="::1", port=5060)) == "sip:a@[::1]:5060;transport=udp;lr;Transport=tcp"


# --- escapes ---


@given(st.text())
def test_any_user_survives_escaping(text: str) -> None:
    if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
        return
    assert unescape(escape_user(text)) == text


@given(st.binary(min_size=1, max_size=20))
def test_any_octets_survive_as_a_user(octets: bytes) -> None:
    text = octets.decode("utf-8", "surrogateescape")
    uri = SipUri.parse(f"sip:{escape_user(text)}@example.com")
    assert uri.user_unescaped == text
    assert uri.user_unescaped.encode("utf-8", "surrogateescape") == octets


def test_a_user_is_unescaped_once() -> None:
    assert SipUri.parse("sip:%2561@example.com").user_unescaped == "%61"
    assert SipUri.parse("sip:example.com").user_unescaped == ""
    assert normalise_escapes("%2561") == "%2561"


# --- equality ---

ALIKE = [
    ("sip:%61lice@atlanta.example;transport=TCP", "sip:alice@AtLanTa.EXAMPLE;Transport=tcp"),
    ("sip:carol@chicago.example", "sip:carol@chicago.example;newparam=5"),
    ("sip:carol@chicago.example;security=on", "sip:carol@chicago.example;newparam=5"),
    (
        "sip:biloxi.example;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.example",
        "sip:biloxi.example;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.example",
    ),
    (
        "sip:alice@atlanta.example?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.example?Priority=urgent&subject=project%20x",
    ),
    ("sip:a@[2001:db8::9:1]", "sip:a@[2001:DB8:0:0:0:0:9:01]"),
    ("sip:a@[::ffff:192.0.2.128]", "sip:a@[::ffff:c000:280]"),
    ("sip:a@b.example;maddr=[2001:db8::1]", "sip:a@b.example;maddr=[2001:DB8::0:1]"),
    ("sip:a@b.example;x=%61", "sip:a@b.example;X=A"),
    ("sip:a@b.example;lr", "sip:a@b.example"),
    ("sip:a@b.example.", "sip:a@b.example"),
    ("sip:a%2Cb@b.example", "sip:a%2cb@b.example"),
    ("tel:+1-212-555-0101", "tel:+1(212)5550101"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.example;Transport=udp", "sip:alice@AtLanTa.example;Transport=UDP"),
    ("sip:bob@biloxi.example", "sip:bob@biloxi.example:5060"),
    ("sip:bob@biloxi.example", "sip:bob@biloxi.example;transport=udp"),
    ("sip:bob@biloxi.example", "sip:bob@biloxi.example:6000;transport=tcp"),
    ("sip:carol@chicago.example", "sip:carol@chicago.example?Subject=next%20meeting"),
    ("sip:bob@phone21.boxes.example", "sip:bob@192.0.2.4"),
    ("sip:a@192.0.2.5", "sip:a@[::ffff:192.0.2.5]"),
    ("sip:a@b.example", "sips:a@b.example"),
    ("sip:a@b.example", "sip:b.example"),
    ("sip:a:x@b.example", "sip:a@b.example"),
    ("sip:a:x@b.example", "sip:a:y@b.example"),
    ("sip:a@b.example;maddr=192.0.2.1", "sip:a@b.example"),
    ("sip:a@b.example;user=phone", "sip:a@b.example"),
    ("sip:a@b.example;ttl=1", "sip:a@b.example"),
    ("sip:a@b.example;method=INVITE", "sip:a@b.example"),
    ("sip:a@b.example;x=1", "sip:a@b.example;x=2"),
    ("sip:a%3Bb@b.example", "sip:a;b@b.example"),
    ("sip:a@b.example?X=1", "sip:a@b.example?X=2"),
    ("tel:+12125550101", "tel:12125550101"),
    ("tel:7042;phone-context=a.example", "tel:7042;phone-context=b.example"),
    ("tel:7042", "sip:7042@b.example"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_equal_uris_are_equal_both_ways(one: str, other: str) -> None:
    assert SipUri.parse(one).same_as(SipUri.parse(other))
    assert SipUri.parse(other).same_as(SipUri.parse(one))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_uris_are_different_both_ways(one: str, other: str) -> None:
    assert not SipUri.parse(one).same_as(SipUri.parse(other))
    assert not SipUri.parse(other).same_as(SipUri.parse(one))


def test_equality_is_not_transitive() -> None:
    on, none, off = (SipUri.parse(f"sip:a@b.example{tail}") for tail in (";x=on", "", ";x=off"))
    assert on.same_as(none)
    assert none.same_as(off)
    assert not on.same_as(off)


@given(sip_uris(), sip_uris())
def test_equality_is_symmetric_and_implies_the_same_aor(one: SipUri, other: SipUri) -> None:
    assert one.same_as(other) == other.same_as(one)
    if one.same_as(other):
        assert one.aor() == other.aor()


# --- address of record ---


@pytest.mark.parametrize(
    ("text", "aor"),
    [
        ("sip:Alice@Example.COM;transport=tcp?x=y", "Alice@example.com"),
        ("sips:alice:pw@example.com:5061", "alice@example.com"),
        ("sip:%61lice@example.com.", "alice@example.com"),
        ("sip:dev1@[2001:DB8::1]:5060", "dev1@[2001:db8::1]"),
        ("sip:a%3ab@example.com", "a%3Ab@example.com"),
        ("sip:a%40b@example.com", "a%40b@example.com"),
        ("sip:%7Bx%7D%5B%5D%0D%0A%00@example.com", "%7Bx%7D%5B%5D%0D%0A%00@example.com"),
        ("sip:*@example.com", "*@example.com"),
        ("sip:9#@example.com", "9%23@example.com"),
        ("sip:example.com", "example.com"),
        ("tel:+1-212-555", "+1212555"),
    ],
)
def test_the_address_of_record_is_canonical(text: str, aor: str) -> None:
    assert SipUri.parse(text).aor() == aor


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=2, max_size=6, unique=True))
def test_different_users_never_share_an_address_of_record(users: list[bytes]) -> None:
    uris = [SipUri(user=escape_user(user.decode("utf-8", "surrogateescape")), host="example.com") for user in users]
    assert len({uri.aor() for uri in uris}) == len(users)
    for one, other in itertools.combinations(uris, 2):
        assert not one.same_as(other)


@given(st.binary(max_size=12))
def test_an_address_of_record_holds_nothing_that_breaks_a_key_or_a_line(user: bytes) -> None:
    aor = SipUri(user=escape_user(user.decode("utf-8", "surrogateescape")), host="::1").aor()
    assert aor.isascii()
    assert aor.isprintable()
    assert aor.count("@") == 1
    assert not set("{} ") & set(aor)


# --- name-addr ---


@given(name_addrs())
def test_a_name_addr_is_printed_so_that_it_reads_back(value: NameAddr) -> None:
    assert NameAddr.parse(str(value)) == value


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        ("<sip:a@b>", "", "sip:a@b", ()),
        ("sip:a@b", "", "sip:a@b", ()),
        ("sip:a@b;tag=1;x", "", "sip:a@b", (("tag", "1"), ("x", None))),
        ("sip:a@[2001:db8::1]:5060;tag=1", "", "sip:a@[2001:db8::1]:5060", (("tag", "1"),)),
        ("<sip:a@b;lr>;tag=1", "", "sip:a@b;lr", (("tag", "1"),)),
        ("caller<sip:a@b>", "caller", "sip:a@b", ()),
        ("Device  One\t<sip:a@b> ; tag = 1", "Device  One", "sip:a@b", (("tag", "1"),)),
        ("Bell, Alexander <sip:a@b>", "Bell, Alexander", "sip:a@b", ()),
        ('"A \\"B\\" \\\\ <C>;,"<sip:a@b>', 'A "B" \\ <C>;,', "sip:a@b", ()),
        ('"" <sip:a@b>', "", "sip:a@b", ()),
        ('"Zoë" <sip:a@b>;x="1;2,<>"', "Zoë", "sip:a@b", (("x", '"1;2,<>"'),)),
        ("<sip:a@b?Route=%3Csip:c%3E>", "", "sip:a@b?Route=%3Csip:c%3E", ()),
        ("<tel:+1212>;q=0.5", "", "tel:+1212", (("q", "0.5"),)),
    ],
)
def test_the_parts_of_a_name_addr_are_told_apart(
    text: str, display: str, uri: str, params: tuple[tuple[str, str | None], ...]
) -> None:
    value = NameAddr.parse(text)
    assert (value.display, str(value.uri), value.params) == (display, uri, params)
    assert NameAddr.parse(str(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "<>",
        "<sip:a@b",
        "sip:a@b>",
        '"open <sip:a@b>',
        '"a" sip:a@b',
        'a "b" <sip:a@b>',
        "< sip:a@b>",
        "<sip:a@b >",
        "<sip:a@b>x",
        "<sip:a@b>;",
        "<sip:a@b>;;;;",
        "<sip:a@b>;tag=",
        "<sip:a@b>;ta g=1",
        "<sip:a@b>;tag=a b",
        '<sip:a@b>;x="open',
        "sip:a@b;",
        "sip:a@b?Route=%3Csip:c%3E",
        "sip:a,b@b",
        "<http://example.com>",
        "isbn:2983792873",
        "bob",
    ],
)
def test_malformed_name_addrs_are_refused_with_400(text: str) -> None:
    with pytest.raises(SipError) as caught:
        NameAddr.parse(text, "To")
    assert caught.value.status == 400
    assert caught.value.where == "To"


def test_tags_are_read_set_and_removed() -> None:
    value = NameAddr.parse("<sip:a@b>;Tag=1;x")
    assert value.tag == "1"
    assert str(value.with_tag("2")) == "<sip:a@b>;Tag=2;x"
    assert str(value.with_tag(None)) == "<sip:a@b>;x"
    assert NameAddr.parse("<sip:a@b>").tag is None
    assert str(NameAddr.parse("<sip:a@b>").with_tag("3")) == "<sip:a@b>;tag=3"


def test_a_quoted_parameter_is_read_without_its_quotes_and_printed_with_them() -> None:
    value = NameAddr.parse('<sip:a@b>;+sip.instance="<urn:uuid:1-2>";reg-id=1')
    assert value.param("+sip.instance") == "<urn:uuid:1-2>"
    assert value.param("REG-ID") == "1"
    assert value.param("ob") is None
    assert str(value.with_param("expires", "60")) == '<sip:a@b>;+sip.instance="<urn:uuid:1-2>";reg-id=1;expires=60'
    assert str(value.without_param("+SIP.instance")) == "<sip:a@b>;reg-id=1"


def test_a_display_name_cannot_begin_a_new_line() -> None:
    value = NameAddr("x\r\nVia: evil", SipUri(user="a", host="b"))
    assert str(value) == '"x  Via: evil" <sip:a@b>'


def test_uris_that_were_made_and_not_read_are_compared_without_raising() -> None:
    made = SipUri(user="100%", host="b.example", params=(("maddr", "::"), ("x", "%zz")))
    assert made.aor() == "100%25@b.example"
    assert made.same_as(SipUri(user="100%25", host="b.example", params=(("maddr", "::"), ("X", "%ZZ"))))
    assert made.same_as(SipUri(user="100%25", host="b.example", params=(("maddr", "[::]"),)))
