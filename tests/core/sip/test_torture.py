"""Good and bad messages of the kinds RFC 4475 lists, written by ourselves; the number names the RFC's section.

Where the RFC leaves a choice (400 or accept) the table says which we made. What needs a user agent to refuse (405, 415,
420, 501...) is accepted here: the grammar has nothing against it.
"""

from __future__ import annotations

import pytest

from services.core.sip.errors import SipError
from services.core.sip.message import Request, Response, parse_message
from tests.core.sip.reading import ACCEPTED, DROPPED, verdict

# Rows of a usual request; a case replaces or removes some of them by name, or adds new ones.
_ROWS: dict[str, str | None] = {
    "start": "INVITE sip:user@example.com SIP/2.0",
    "Via": "Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bK-t-1",
    "From": "From: <sip:caller@example.net>;tag=f1",
    "To": "To: <sip:user@example.com>",
    "Call-ID": "Call-ID: torture.1@host5.example.net",
    "CSeq": "CSeq: 8 INVITE",
    "Contact": "Contact: <sip:caller@host5.example.net>",
    "Max-Forwards": "Max-Forwards: 70",
    "Content-Length": "Content-Length: 0",
}


def message(body: bytes = b"", **changes: str | None) -> bytes:
    """`from_` stands for From, `call_id` for Call-ID; other names are additions and mean nothing by themselves."""
    return built(changes, body)


def response(start: str, **changes: str | None) -> bytes:
    return built({"start": start, "max_forwards": None, **changes})


def register(**changes: str | None) -> bytes:
    return built({"start": "REGISTER sip:example.com SIP/2.0", "cseq": "CSeq: 8 REGISTER", **changes})


def built(changes: dict[str, str | None], body: bytes = b"") -> bytes:
    rows = {name.replace("-", "_").lower(): row for name, row in _ROWS.items()}
    rows |= {name.removesuffix("_"): row for name, row in changes.items()}
    return ("\r\n".join([row for row in rows.values() if row is not None]) + "\r\n\r\n").encode() + body


CRAZY_URI = "sip:1_un.usual~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d.(it's)@example.com"

GOOD = {
    "3.1.1.1 folds, blanks, compact forms, odd case": (
        b"INVITE sip:v@example.com;p=1 SIP/2.0\r\nTO :\r\n sip:v@example.com ;   tag    = 19n\r\n"
        b'from   : "J A \\\\\\""       <sip:j@example.com>\r\n  ;\r\n  tag = 98asj8\r\n'
        b"MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaks@192.0.2.1\r\nContent-Length   : 3\r\ncseq: 0009\r\n  INVITE\r\n"
        b"Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390s\r\ns :\r\nNewFangled:   a value\r\n folded more\r\n"
        b"Odd: ;;,,;;,;\r\nRoute:\r\n <sip:s.example.com;lr;u=v;n>\r\n"
        b"v:  SIP  / 2.0  / TCP     sp.example.com   ;\r\n  branch  =   z9hG4bK9  ,\r\n SIP  /    2.0   / UDP "
        b" 192.168.255.1   ; branch=\r\n z9hG4bK3\r\n"
        b'm:"Quoted \\"\\"" <sip:j@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\r\nv=0'
    ),
    "3.1.1.2 every token character": message(
        start=f"!odd-Method0123456789_*+`.%indeed'~ {CRAZY_URI} SIP/2.0",
        via="Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~",
        to='To: "B\x07E:\\\x03 \\" Norw\u00e8ge \\\x01" <sip:1_un.usual@example.com>',
        from_="From: token1~` token2'+_ token3*%!.- <sip:m@example.com>;f''n*=\"re\\\"al'\"",
        cseq="CSeq: 139122385 !odd-Method0123456789_*+`.%indeed'~",
        extension="extensionHeader-!.%*+_`'~: \ufeff\u5927\u505c\u96fb",
    ),
    "3.1.1.3 escapes in users and parameters": message(
        start="INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
        contact="Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>",
    ),
    "3.1.1.4 escaped nulls": register(
        to="To: sip:null-%00-null@example.com",
        contact="Contact: <sip:%00@host5.example.com>, <sip:%00%00@host5.example.com>",
    ),
    "3.1.1.5 percent signs that are no escapes": message(
        start="RE%47IST%45R sip:r.example.com SIP/2.0",
        cseq="CSeq: 8 RE%47IST%45R",
        to='To: "%Z%45" <sip:r@example.com>',
    ),
    "3.1.1.6 no blank before the bracket": message(from_="From: caller<sip:caller@example.com>;tag=323"),
    "3.1.1.7 long values": message(
        to=f'To: "I have a user name of {"extreme " * 300}" <sip:user@example.com:6000;u{"0" * 500}=v{"1" * 500}>',
        long=f"Unknown-{'Long' * 200}: {'x' * 5000}; q={'long' * 100}",
        via="Via: " + ", ".join([f"SIP/2.0/TCP sip{n}.example.com" for n in range(100)]),
    ),
    "3.1.1.8 two requests in one datagram": register() + message(),
    "3.1.1.9 semicolons in the user": message(start="INVITE sip:user;par=u%40example.net@example.com SIP/2.0"),
    "3.1.1.10 every transport": message(
        via="Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bK1, SIP/2.0/SCTP t2.example.com, SIP/2.0/TLS t3.example.com, "
        "SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bK4, SIP/2.0/TCP t5.example.com"
    ),
    "3.1.1.11 a body of octets": message(b"\0--\r\n\r\n--\xff", content_length="Content-Length: 10"),
    "3.1.1.12 a reason that is no ASCII": response("SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e \u0441\u0442\u043e"),
    "3.1.1.13 no reason": response("SIP/2.0 100 "),
    "3.1.2.11 headers in the Request-URI, which nobody honours": message(
        start="INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0"
    ),
    "3.1.2.12 a date in another zone": message(date="Date: Fri, 01 Jan 2010 16:00:00 EST"),
    "3.1.2.15 a display name of no tokens": message(to="To: Bell, Alexander <sip:a@example.com>;tag=43"),
    "3.2.1 a branch that is the cookie alone": message(via="Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"),
    "3.3.5 an unknown extension": message(require="Require: nothingSupportsThis, nothingSupportsThisEither"),
    "3.3.6 an unknown body": message(content_type="Content-Type: application/unknownformat"),
    "3.3.7 an unknown authorization scheme": register(a="Authorization: NoOneKnowsThisScheme opaque-data=here"),
    "3.3.10 a Via that is not ours in a response": response(
        "SIP/2.0 200 OK", via="Via: SIP/2.0/UDP 192.0.2.198, SIP/2.0/UDP a"
    ),
    "3.3.11 no more forwards": message(max_forwards="Max-Forwards: 0"),
    "3.3.12 a Contact parameter in the URI": register(
        contact="Contact: <sip:+19725552222@gw1.example.net;unknownparam>"
    ),
    "3.3.13 a Contact parameter of the header": register(
        contact="Contact: sip:+19725552222@gw1.example.net;unknownparam"
    ),
    "3.3.14 an escaped Route in a Contact": register(
        contact="Contact: <sip:user@example.com?Route=%3Csip:s.example.com%3E>"
    ),
    "3.3.15 nothing acceptable": message(accept="Accept: text/nobodyKnowsThis"),
    "3.4.1 a client of RFC 2543": message(
        start="INVITE sip:UserB@example.com SIP/2.0",
        via="Via: SIP/2.0/UDP iftgw.example.com",
        max_forwards=None,
        from_="From: <sip:caller@example.net>",
        route="Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>",
    ),
}

BAD = {
    "3.1.2.1 separators with nothing between": (
        message(via="Via: SIP/2.0/UDP 192.0.2.15;;,;,,", contact='Contact: "Joe" <sip:joe@example.org>;;;;'),
        "400",
    ),
    "3.1.2.1 separators in the Contact alone": (message(contact='Contact: "Joe" <sip:joe@example.org>;;;;'), "400"),
    "3.1.2.2 less body than was said": (message(content_length="Content-Length: 9999"), "400"),
    "3.1.2.3 a negative length": (message(content_length="Content-Length: -999"), "400"),
    "3.1.2.4 a sequence number beyond 32 bits": (register(cseq="CSeq: 36893488147419103232 REGISTER"), "400"),
    "3.1.2.4 too many forwards": (register(max_forwards="Max-Forwards: 300"), "400"),
    "3.1.2.5 a response with a number beyond 32 bits": (
        response("SIP/2.0 503 Service Unavailable", cseq="CSeq: 9292394834772304023312 OPTIONS"),
        DROPPED,
    ),
    "3.1.2.6 an open quote": (message(to='To: "Mr. J. User <sip:j.user@example.com>'), "400"),
    "3.1.2.7 a Request-URI in brackets": (message(start="INVITE <sip:user@example.com> SIP/2.0"), "400"),
    "3.1.2.8 a blank in the Request-URI": (message(start="INVITE sip:user@example.com; lr SIP/2.0"), "400"),
    "3.1.2.9 two blanks in the start line": (message(start="INVITE  sip:user@example.com  SIP/2.0"), "400"),
    "3.1.2.10 a blank at the end of the start line": (message(start="INVITE sip:user@example.com SIP/2.0  "), "400"),
    "3.1.2.13 an unbracketed Contact with headers": (
        register(contact="Contact: sip:user@example.com?Route=%3Csip:s.example.com%3E"),
        "400",
    ),
    "3.1.2.14 blanks inside the brackets": (message(to='To: "Watson, Thomas" < sip:t.watson@example.org >'), "400"),
    "3.1.2.16 another version": (message(start="OPTIONS sip:t@example.org SIP/7.0", cseq="CSeq: 8 OPTIONS"), "505"),
    "3.1.2.17 a CSeq of another method": (message(cseq="CSeq: 8 OPTIONS"), "400"),
    "3.1.2.18 an unknown method with a CSeq of a known one": (
        message(start="NEWMETHOD sip:u@example.com SIP/2.0"),
        "400",
    ),
    "3.1.2.19 a status beyond three digits": (response("SIP/2.0 4294967301 better not break the receiver"), DROPPED),
    "3.3.1 no Call-ID, From or To": (message(call_id=None, from_=None, to=None), "400"),
    "3.3.2 an unknown scheme": (message(start="INVITE nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"), "416"),
    "3.3.3 a scheme of something else": (message(start="INVITE soap.beep://192.0.2.103:3002 SIP/2.0"), "416"),
    "3.3.4 unknown schemes in To, From and Contact": (
        register(to="To: isbn:2983792873", contact="Contact: <name:John_Smith>"),
        "400",
    ),
    "3.3.8 two of what may be there once": (
        message(a="Call-ID: 2", b="To: <sip:other@example.com>", c="CSeq: 9 INVITE", d="Max-Forwards: 5"),
        "400",
    ),
    "3.3.9 two lengths": (message(a="Content-Length: 8"), "400"),
    "a header without a name": (message(a=": no name"), "400"),
    "a header without a colon": (message(a="no colon"), "400"),
    "a header name that is no token": (message(a="na(me: x"), "400"),
    "a carriage return of its own": (message(a="Subject: a\rVia: SIP/2.0/UDP evil"), "400"),
    "a star among Contacts": (register(contact="Contact: *, <sip:a@example.com>"), "400"),
    "a Route that is none": (message(a="Route: <sip:>"), "400"),
    "a From without URI": (message(from_='From: "A";tag=1'), "400"),
    "a method that is no token": (message(start="INV,ITE sip:user@example.com SIP/2.0"), DROPPED),
    "no way back": (message(via=None), DROPPED),
    "a malformed ACK": (message(start="ACK sip:user@example.com SIP/2.0"), DROPPED),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
def test_good_messages_are_accepted_and_survive_being_written(data: bytes) -> None:
    try:
        parsed = parse_message(data)
    except SipError as error:
        raise AssertionError(str(error)) from error
    assert verdict(data) == ACCEPTED
    assert parse_message(parsed.to_bytes()) == parsed


@pytest.mark.parametrize(("data", "expected"), BAD.values(), ids=BAD.keys())
def test_bad_messages_get_their_status(data: bytes, expected: str) -> None:
    assert verdict(data) == expected


def test_the_tortuous_invite_means_what_it_says() -> None:
    message = parse_message(next(iter(GOOD.values())))
    assert isinstance(message, Request)
    assert (message.cseq.number, message.max_forwards, message.body) == (9, 68, b"v=0")
    assert (message.from_.display, message.from_tag, message.to_tag) == ('J A \\"', "98asj8", "19n")
    assert [str(via) for via in message.vias] == [
        "SIP/2.0/UDP 192.0.2.2;branch=390s",
        "SIP/2.0/TCP sp.example.com;branch=z9hG4bK9",
        "SIP/2.0/UDP 192.168.255.1;branch=z9hG4bK3",
    ]
    assert message.get("Newfangled") == "a value folded more"
    assert message.contacts[0].param("q") == "0.33"  # type: ignore[index]


def test_escapes_mean_what_they_say() -> None:
    message = parse_message(GOOD["3.1.1.3 escapes in users and parameters"])
    assert isinstance(message, Request)
    assert message.request_uri.user_unescaped == "sips:user@example.com"
    contact = message.contacts[0].uri  # type: ignore[index]
    assert (contact.user_unescaped, contact.has_param("lr"), contact.param("name")) == (
        "caller",
        True,
        "v%61lue%25%34%31",
    )


def test_a_reason_in_any_script_is_kept() -> None:
    message = parse_message(GOOD["3.1.1.12 a reason that is no ASCII"])
    assert isinstance(message, Response)
    assert message.reason.endswith("\u0441\u0442\u043e")
