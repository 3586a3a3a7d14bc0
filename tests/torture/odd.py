"""Our own bad and odd messages: a usual request each, with one thing about it that is not usual.

A `Case` says what becomes of it: the status that its sender sees (`486` is a good INVITE's), `ignored`, and for streams
`closed`, where those differ. The parser's own word follows from that unless `parser` gives it: it reads every header,
the edge those that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_IDENTITY = b"{id}"
"""Replaced in each message by something no other one has."""
_REFUSED_BY_THE_PARSER = frozenset({"400", "416", "505", "513"})
_TOLD_BY_THE_PARSER = {"ignored": "dropped"}

Rows = Mapping[str, str | None]

SDP = (
    "v=0\r\no=- 1 1 IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP6 2001:db8::7\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A message and what becomes of it."""

    group: str
    name: str
    template: bytes
    udp: str
    tcp: str
    parser: str

    def data(self, identity: str) -> bytes:
        """The message; `identity` has three digits, so that lengths stay what they are."""
        return self.template.replace(_IDENTITY, identity.encode())


def message(
    start: str,
    method: str,
    rows: Rows,
    *,
    extra: tuple[str, ...] = (),
    body: str | bytes = b"",
    length: str | None = "right",
    end: str = "\r\n",
) -> bytes:
    """A request whose rows are replaced, or left out, by name; `extra` are lines behind them, as they are."""
    octets = body.encode() if isinstance(body, str) else body
    fields: dict[str, str | None] = {
        "Via": "SIP/2.0/UDP phone.example.net;branch=z9hG4bK-odd-{id};rport",
        "Max-Forwards": "70",
        "From": "<sip:caller@example.net>;tag=odd{id}",
        "To": "<sip:user@example.com>",
        "Call-ID": "odd-{id}@phone.example.net",
        "CSeq": f"1 {method}",
    }
    if method == "INVITE":
        fields |= {"Contact": "<sip:caller@[2001:db8::7]>", "Content-Type": "application/sdp" if octets else None}
    fields |= {name.replace("_", "-"): value for name, value in rows.items()}
    if length is not None:
        fields["Content-Length"] = str(len(octets)) if length == "right" else length
    lines = [start, *(f"{name}: {value}" for name, value in fields.items() if value is not None), *extra, "", ""]
    return end.join(lines).encode("utf-8", "surrogateescape") + octets


class Table:
    """Collects the cases of one group."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.cases: list[Case] = []

    def add(self, name: str, template: bytes, udp: str, tcp: str | None = None, parser: str | None = None) -> None:
        if parser is None:
            parser = udp if udp in _REFUSED_BY_THE_PARSER else _TOLD_BY_THE_PARSER.get(udp, "accepted")
        self.cases.append(Case(group=self.group, name=name, template=template, udp=udp, tcp=tcp or udp, parser=parser))

    def options(
        self,
        name: str,
        udp: str,
        tcp: str | None = None,
        parser: str | None = None,
        *,
        start: str = "OPTIONS sip:user@example.com SIP/2.0",
        method: str = "OPTIONS",
        extra: tuple[str, ...] = (),
        body: str | bytes = b"",
        length: str | None = "right",
        end: str = "\r\n",
        **rows: str | None,
    ) -> None:
        """An OPTIONS, which is answered 200 unless something is wrong."""
        template = message(start, method, rows, extra=extra, body=body, length=length, end=end)
        self.add(name, template, udp, tcp, parser)

    def invite(
        self,
        name: str,
        udp: str,
        parser: str | None = None,
        *,
        start: str = "INVITE sip:user@example.com SIP/2.0",
        extra: tuple[str, ...] = (),
        body: str | bytes = SDP,
        **rows: str | None,
    ) -> None:
        """An INVITE, which is answered 486 unless something is wrong."""
        self.add(name, message(start, "INVITE", rows, extra=extra, body=body), udp, None, parser)

    def register(
        self,
        name: str,
        udp: str,
        parser: str | None = None,
        *,
        start: str = "REGISTER sip:example.com SIP/2.0",
        extra: tuple[str, ...] = (),
        **rows: str | None,
    ) -> None:
        """A REGISTER of a phone without password, which is answered 200 unless something is wrong."""
        self.add(name, message(start, "REGISTER", rows, extra=extra), udp, None, parser)


# --- hosts and ports -------------------------------------------------------------------------------------------------

GOOD_HOSTS = (
    "[2001:db8::1]",
    "[::1]",
    "[::]",
    "[2001:DB8:0:0:0:0:0:1]",
    "[1:2:3:4:5:6:7::]",
    "[::2:3:4:5:6:7:8]",
    "[::ffff:192.0.2.1]",
    "[::FFFF:C000:0201]",
    "[64:ff9b::192.0.2.33]",
    "[1:2:3:4:5:6:192.0.2.1]",
    "[fe80::1]",
    "[ff02::1]",
    "192.0.2.1",
    "0.0.0.0",
    "host.example.com.",
    "net_work.example",
    "xn--bcher-kva.example",
    "9to5.example",
    "EXAMPLE.Com",
)
BAD_HOSTS = (
    "",
    "[]",
    "[:]",
    "[::1",
    "::1]",
    "2001:db8::1",
    "[[::1]]",
    "[1::2::3]",
    "[:::]",
    "[1:2:3:4:5:6:7:8:9]",
    "[1:2:3:4:5:6:7]",
    "[1:2:3:4:5:6:7:8::]",
    "[12345::]",
    "[::g]",
    "[192.0.2.1]",
    "[example.com]",
    "[v1.fe80]",
    "[::192.0.2]",
    "[::192.0.2.256]",
    "[::192.0.02.1]",
    "[192.0.2.1::]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[fe80::1%1]",
    "[::1]x",
    "[::1 ]",
    "[٢٠٠١::1]",
    "444.555.666.777",
    "192.0.2.01",
    "127.1",
    "2130706433",
    "1.2.3.4.5",
    "0x7f000001",
    "-a.example",
    "a-.example",
    "a..example",
    ".example",
    "ex%61mple.com",
    "exämple.com",
    "１９２.0.2.1",
    "example\u2024com",
    f"{'a' * 64}.example",
    ".".join(["abcdefg"] * 40),
)
GOOD_PORTS = ("5060", "05060", "1", "65535", "0" * 500 + "5060")
BAD_PORTS = ("", "65536", "99999999999999999999", "-1", "+5060", "5_060", "5060a", "0x13C4", "٥٠٦٠", "5060:5061", "²")


def hosts() -> Iterator[Case]:
    table = Table("host")
    for host in GOOD_HOSTS:
        table.options(f"{host} in the Request-URI", "200", start=f"OPTIONS sip:user@{host} SIP/2.0")
        table.options(f"{host} in the Via", "200", Via=f"SIP/2.0/UDP {host};branch=z9hG4bK{{id}};rport")
    for host in BAD_HOSTS:
        table.options(f"{host[:40]!r} in the Request-URI", "400", start=f"OPTIONS sip:user@{host} SIP/2.0")
        # Nobody knows where to answer: the top Via is all there is to say it.
        via = f"SIP/2.0/UDP {host};branch=z9hG4bK{{id}};rport"
        table.options(f"{host[:40]!r} in the Via", "ignored", Via=via)
    for port in GOOD_PORTS:
        for host in ("[2001:db8::1]", "192.0.2.1", "example.com"):
            table.options(f"{host}:{port[-8:]}", "200", start=f"OPTIONS sip:user@{host}:{port} SIP/2.0")
    for port in BAD_PORTS:
        for host in ("[2001:db8::1]", "192.0.2.1", "example.com"):
            table.options(f"{host}:{port}", "400", start=f"OPTIONS sip:user@{host}:{port} SIP/2.0")
    table.options("a port nobody can tell from the address", "400", start="OPTIONS sip:2001:db8::1:5060 SIP/2.0")
    return iter(table.cases)


# --- URIs ------------------------------------------------------------------------------------------------------------

GOOD_URIS = (
    "sip:example.com",
    "SIP:user@example.com",
    "sip:user:secret@example.com",
    "sip:user:@example.com",
    "sip:%00@example.com",
    "sip:%0D%0AX-Injected:%20yes@example.com",
    "sip:%0d%0a%0d%0a@example.com",
    "sip:%2525%E2%80%A8@example.com",
    "sip:%ff%fe@example.com",
    "sip:a;b=c,d?e/f&g=$h+i@example.com",
    "sip:*43#@example.com",
    "sip:(x)!~'-_.@example.com",
    "sip:user@example.com;transport=tcp;lr;maddr=[2001:db8::1];ttl=255;x=%41",
    "sip:user@example.com;a=[::1]/b:c&d+e$",
    "sip:user@example.com?Subject=x&body=%0D%0A",
    "sip:user@example.com;method=INVITE?X-Injected=yes",
    f"sip:{'u' * 8000}@example.com",
    f"sip:user@example.com{';p=1' * 2000}",
)
BAD_URIS = (
    "sip:",
    "sip:@example.com",
    "sip::secret@example.com",
    "sip:a@b@example.com",
    "sip:%@example.com",
    "sip:%4@example.com",
    "sip:%zz@example.com",
    "sip:%١٢@example.com",
    "sip:üser@example.com",
    'sip:"user"@example.com',
    "sip:{user}@example.com",
    "sip:us|er@example.com",
    "sip:us\\er@example.com",
    "sip:us^er@example.com",
    "sip:us<er@example.com",
    "sip:[user]@example.com",
    "sip:user@example.com;",
    "sip:user@example.com;;lr",
    "sip:user@example.com;=x",
    "sip:user@example.com;a=%",
    "sip:user@example.com;a=b=c",
    'sip:user@example.com;a="b"',
    "sip:user@example.com?",
    "sip:user@example.com?a",
    "sip:user@example.com?=b",
    "sip:user@example.com?a=%9",
    "sip:user@example.com?a=b&",
    "sip:user@example.com?a=b&&c=d",
    "user@example.com",
    ":user@example.com",
    "5ip:user@example.com",
    "tel:",
    "tel:+",
    "tel:abc-xyz",
    "tel:+1;=",
)
OTHER_SCHEMES = (
    "tel:+15550100",
    "tel:110;phone-context=example.com",
    "http://example.com",
    "urn:service:sos",
    "im:a@b",
)


def uris() -> Iterator[Case]:
    table = Table("URI")
    for uri in GOOD_URIS:
        table.options(f"{uri[:60]}", "200", start=f"OPTIONS {uri} SIP/2.0")
    # Readable, but over plain UDP or TCP somebody has downgraded it (RFC 3261 section 26.2.2).
    sips = "OPTIONS sips:user@example.com SIP/2.0"
    table.options("sips in the clear", "403", None, "accepted", start=sips)
    for uri in BAD_URIS:
        table.options(f"{uri[:60]}", "400", start=f"OPTIONS {uri} SIP/2.0")
        table.invite(f"From <{uri[:60]}>", "400", From=f"<{uri}>;tag=odd{{id}}")
    for uri in OTHER_SCHEMES:
        known = uri.startswith("tel:")
        table.options(f"{uri}", "416", None, "accepted" if known else None, start=f"OPTIONS {uri} SIP/2.0")
    table.invite("From <tel:+15550100>", "486", From="<tel:+15550100>;tag=odd{id}")
    table.invite("From <http://example.com>, which is no Request-URI", "400", From="<http://example.com>;tag=odd{id}")
    return iter(table.cases)


# --- lines -----------------------------------------------------------------------------------------------------------


def lines() -> Iterator[Case]:
    table = Table("line")
    table.options(
        "a fold in every place",
        "200",
        CSeq="1\r\n OPTIONS",
        To="\r\n\t<sip:user@example.com>\r\n ",
        Max_Forwards="\r\n 70",
    )
    table.options(
        "a fold between the words of a Via",
        "200",
        Via="SIP/2.0/UDP\r\n phone.example.net\r\n ;branch=z9hG4bK{id}\r\n ;rport",
    )
    table.options("a fold behind an unknown header", "200", extra=("X-Odd:", " ", "\t", " a"))
    table.options("a fold of the start line", "400", start="OPTIONS\r\n sip:user@example.com SIP/2.0")
    table.options("a fold before the first header", "400", start="OPTIONS sip:user@example.com SIP/2.0\r\n folded")
    table.options("line feeds alone", "200", end="\n")
    table.options("a carriage return of its own", "400", extra=("Subject: a\rX-Injected: yes",))
    table.options("a carriage return too many", "400", extra=("Subject: a\r",))
    table.options("a header without a name", "400", extra=(": nothing",))
    table.options("a header without a colon", "400", extra=("Subject",))
    table.options("a header name with a blank in it", "400", extra=("Sub ject: a",))
    table.options("a header name with a null in it", "400", extra=("Sub\0ject: a",))
    table.options("a header name that is no ASCII", "400", extra=("Sübject: a",))
    table.options("a header name in brackets", "400", extra=("<Subject>: a",))
    table.options("blanks before the colon", "200", extra=("Subject \t : a",))
    table.options("a null in a header nobody reads", "200", extra=("X-Odd: a\0b",))
    for name, mark in (("U+2028", "\u2028"), ("U+0085", "\x85"), ("FS", "\x1c"), ("VT", "\v"), ("FF", "\f")):
        table.options(f"{name}, which ends no line", "200", extra=(f"Subject: a{mark}X-Injected: yes",))
        table.options(f"{name} is no blank", "400", CSeq=f"1{mark}OPTIONS")
    table.options("octets that are no UTF-8", "200", extra=("Subject: \udcff\udcfe",))
    table.options("UTF-8 that is too long", "200", extra=("Subject: \udcc0\udcaf",))
    table.options("no empty line at the end", "400", "200", "400")
    head = table.cases.pop().template
    table.add("no empty line at the end", head.removesuffix(b"\r\n"), "400", "waits")
    table.add("empty lines before", b"\r\n\r\n\r\n" + head, "200")
    table.add("a blank before", b" " + head, "ignored", None, "dropped")
    table.add("a byte order mark before", b"\xef\xbb\xbf" + head, "ignored", None, "dropped")
    table.add("no header at all", b"OPTIONS sip:user@example.com SIP/2.0\r\n\r\n", "ignored", "closed")
    table.add("the start line and no more", b"OPTIONS sip:user@example.com SIP/2.0", "ignored", "waits")
    table.add("nothing but blanks", b" \t \r\n\r\n", "ignored", "closed")
    table.add("a word", b"hello\r\n\r\n", "ignored", "closed")
    table.add("another protocol", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "ignored", "closed")
    table.add("nulls", b"\0" * 40 + b"\r\n\r\n", "ignored", "closed")
    table.add("noise", bytes(range(128, 256)) * 4 + b"\r\n\r\n", "ignored", "closed")
    return iter(table.cases)


# --- start lines -----------------------------------------------------------------------------------------------------


def starts() -> Iterator[Case]:
    table = Table("start line")
    uri = "sip:user@example.com"
    for method in ("options", "OPTIONSS", "OPTION%53", "M-SEARCH", "!", "A" * 500):
        table.options(f"the method {method[:20]}", "501", start=f"{method} {uri} SIP/2.0", method=method)
    for method in ("SUBSCRIBE", "PUBLISH", "PRACK", "UPDATE"):
        table.options(f"{method} outside of a dialog", "405", start=f"{method} {uri} SIP/2.0", method=method)
    table.options("BYE outside of a dialog", "481", start=f"BYE {uri} SIP/2.0", method="BYE")
    table.options("CANCEL of nothing", "481", start=f"CANCEL {uri} SIP/2.0", method="CANCEL")
    table.options("ACK of nothing", "ignored", None, "accepted", start=f"ACK {uri} SIP/2.0", method="ACK")
    table.options("a broken ACK", "ignored", start=f"ACK {uri} SIP/2.0", method="ACK", To="<")
    table.options("ACK of another version", "ignored", start=f"ACK {uri} SIP/3.0", method="ACK")
    for method in ("OPTÏONS", "OPT(IONS", '"OPTIONS"', "OPTIONS\0", ""):
        table.options(f"the method {method!r}", "ignored", start=f"{method} {uri} SIP/2.0")
    for version, status in (
        *(("sip/2.0", "200"), ("Sip/2.0", "200"), ("SIP/1.0", "505"), ("SIP/3.0", "505"), ("SIP/2.1", "505")),
        *(("SIP/2.00", "505"), ("SIP/22.0", "505"), ("SIP/999999999999.0", "505"), ("SIP/2", "400"), ("SIP/", "400")),
        *(("SIP/2.", "400"), ("SIP", "400"), ("HTTP/1.1", "400"), ("SIP/2.0.0", "400"), ("SIP/-2.0", "400")),
        *(("SIP/٢.٠", "400"), ("SIPS/2.0", "400")),
    ):
        table.options(f"the version {version}", status, start=f"OPTIONS {uri} {version}")
    table.options("no version", "400", start=f"OPTIONS {uri}")
    table.options("no Request-URI", "400", start="OPTIONS SIP/2.0")
    table.options("two versions", "400", start=f"OPTIONS {uri} SIP/2.0 SIP/2.0")
    table.options("a tab for a blank", "ignored", start=f"OPTIONS\t{uri}\tSIP/2.0")
    table.options("a status line with a method", "ignored", start="SIP/2.0 OPTIONS sip:user@example.com")
    for status in ("099", "700", "20", "2000", "٢٠٠", "+20", "2 0", "abc", ""):
        table.options(f"the status {status!r}", "ignored", start=f"SIP/2.0 {status} OK")
    table.options("a response nobody waits for", "ignored", None, "accepted", start="SIP/2.0 200 OK")
    return iter(table.cases)


# --- header fields ---------------------------------------------------------------------------------------------------


def sequence_numbers() -> Iterator[Case]:
    table = Table("CSeq")
    for value in ("0", "1", "0001", "2147483647", "2147483648", "4294967295", "0" * 3000 + "7"):
        table.options(f"{value[-12:]}", "200", CSeq=f"{value} OPTIONS")
    for value in ("1\t OPTIONS", "1   OPTIONS", "1 OPTIONS  "):
        table.options(f"{value!r}", "200", CSeq=value)
    for value in (
        *("4294967296 OPTIONS", "-1 OPTIONS", "+1 OPTIONS", "1_0 OPTIONS", "٧ OPTIONS", "1.0 OPTIONS", "0x1 OPTIONS"),
        *("1e1 OPTIONS", "1", "OPTIONS", "OPTIONS 1", "1OPTIONS", "1 options", "1 INVITE", "1 OPTIONS x", "1 OPT,IONS"),
        *(f"{'9' * 5000} OPTIONS", "1\u00a0OPTIONS", "² OPTIONS", "1, OPTIONS", "1 OPTIONS;a=b", '"1" OPTIONS'),
    ):
        table.options(f"{value[:30]!r}", "400", CSeq=value)
    for value in ("", " "):
        table.options(f"{value!r}", "400", CSeq=value)
    return iter(table.cases)


def lengths() -> Iterator[Case]:
    table = Table("Content-Length")
    body = "0123456789"
    table.options("none", "200", "400 closed", length=None, body=body)
    for value in ("10", " 10 ", "0010", "0" * 400 + "10"):
        table.options(f"{value[-8:]!r}", "200", length=value, body=body)
    for value in ("", "-10", "+10", "1_0", "0xA", "10;a", "10, 10", "10.0", "1 0", "١٠", "ten", "10\0", "²"):
        table.options(f"{value!r}", "400", "400 closed", length=value, body=body)
    for value in ("65536", "4294967306", "99999999999999999999", "9" * 5000):
        table.options(f"{value[:22]}", "400", "513 closed", length=value, body=body)
    table.options("11 of 10", "400", "waits", length="11", body=body)
    table.options("two rows that agree", "400", "400 closed", length="10", body=body, extra=("Content-Length: 10",))
    table.options("long and compact", "400", "400 closed", length="10", body=body, extra=("l: 10",))
    table.options("compact alone", "200", length=None, body=body, extra=("l: 10",))
    table.options("in odd case, folded", "200", length=None, body=body, extra=("cOnTeNt-LeNgTh \t:\r\n 10",))
    table.options(
        "one that is the value of another header",
        "200",
        "400 closed",
        length=None,
        body=body,
        extra=("X-Odd: Content-Length: 10",),
    )
    table.options("one that is in the body", "200", "400 closed", length=None, body="Content-Length: 21\r\n\r\n")
    return iter(table.cases)


def repeated() -> Iterator[Case]:
    table = Table("repeated")
    for row in (
        *("From: <sip:other@example.net>;tag=2", "f: <sip:caller@example.net>;tag=2", "To: <sip:other@example.com>"),
        *("t: <sip:user@example.com>", "Call-ID: other", "i: other", "CSeq: 1 OPTIONS", "cseq: 2 OPTIONS"),
        *("Max-Forwards: 70", "MAX-FORWARDS: 5"),
    ):
        table.options(row, "400", extra=(row,))
    for row in (
        "Subject: a",
        "User-Agent: b",
        "Date: c",
        "Expires: 1",
        "Content-Type: text/plain",
        "Event: d",
        "Contact: <sip:e>",
    ):
        table.options(f"{row} twice", "200", extra=(row, row))
    return iter(table.cases)


def vias() -> Iterator[Case]:
    table = Table("Via")
    host = "phone.example.net"
    end = ";branch=z9hG4bKv{id};rport"
    for name, via in (
        ("lower case", f"sip/2.0/udp {host}{end}"),
        ("blanks round everything", f"SIP / 2.0 / UDP   {host} : 5060 ; branch = z9hG4bKv{{id}} ; rport"),
        ("blanks round the colon of a reference", f"SIP/2.0/UDP [2001:db8::7] : 5060{end}"),
        ("a tab behind the transport", f"SIP/2.0/UDP\t{host}{end}"),
        ("an unknown transport", f"SIP/2.0/CARRIER-PIGEON {host}{end}"),
        ("received as a reference", f"SIP/2.0/UDP {host};received=[2001:db8::1]{end}"),
        ("received as an address", f"SIP/2.0/UDP {host};received=2001:db8::1{end}"),
        ("received that is no address", f"SIP/2.0/UDP {host};received=somewhere{end}"),
        ("received with a zone", f"SIP/2.0/UDP {host};received=fe80::1%eth0{end}"),
        ("maddr of a group", f"SIP/2.0/UDP {host};maddr=[ff02::1];ttl=1{end}"),
        ("maddr of somebody else", f"SIP/2.0/UDP {host};maddr=192.0.2.1{end}"),
        ("rport with a value", f"SIP/2.0/UDP {host};branch=z9hG4bKv{{id}};rport=1"),
        ("rport that is no number", f"SIP/2.0/UDP {host};branch=z9hG4bKv{{id}};rport=٧"),
        ("two branches", f"SIP/2.0/UDP {host}{end};branch=z9hG4bKother"),
        ("a branch without value", f"SIP/2.0/UDP {host};branch;rport"),
        ("a branch without cookie", f"SIP/2.0/UDP {host};branch=odd{{id}};rport"),
        ("a long branch", f"SIP/2.0/UDP {host};branch=z9hG4bKv{{id}}{'x' * 3000};rport"),
        ("a quoted parameter with separators", f'SIP/2.0/UDP {host};a=",;\\""{end}'),
        ("an unknown parameter in UTF-8", f'SIP/2.0/UDP {host};a="ü"{end}'),
        ("hundred more in the row", f"SIP/2.0/UDP {host}{end}" + ", SIP/2.0/TCP [2001:db8::1]:5060" * 100),
        ("empty elements behind it", f"SIP/2.0/UDP {host}{end}, , ,"),
    ):
        table.options(name, "200", Via=via)
    for name, via in (
        ("a parameter without name", f"SIP/2.0/UDP {host}{end};=x"),
        ("a parameter without value", f"SIP/2.0/UDP {host}{end};a="),
        ("an empty parameter", f"SIP/2.0/UDP {host}{end};"),
        ("a quote without end", f'SIP/2.0/UDP {host}{end};a="'),
        ("a parameter name with a slash", f"SIP/2.0/UDP {host}{end};a/b=c"),
        ("another version", f"SIP/3.0/UDP {host}{end}"),
    ):
        table.options(name, "400", Via=via)
    for name, via in (
        ("no transport", f"SIP/2.0 {host}{end}"),
        ("a transport that is no token", f"SIP/2.0/U(DP {host}{end}"),
        ("no host", f"SIP/2.0/UDP {end}"),
        ("another protocol", f"HTTP/2.0/UDP {host}{end}"),
        ("a host in angle brackets", f"SIP/2.0/UDP <{host}>{end}"),
        ("two hosts", f"SIP/2.0/UDP {host} {host}{end}"),
        ("nothing", ""),
    ):
        table.options(name, "ignored", Via=via)
    table.options("none at all", "ignored", Via=None)
    table.options("a broken one below, which is not ours to read", "200", None, "400", extra=("Via: broken",))
    return iter(table.cases)


def parties() -> Iterator[Case]:
    table = Table("From, To, Contact")
    for name, value in (
        ("no tag", "<sip:caller@example.net>"),
        ("no brackets", "sip:caller@example.net;tag=odd{id}"),
        ("an empty display name", '"" <sip:caller@example.net>;tag=odd{id}'),
        ("marks in a display name", '"<sip:evil@x>;tag=1, \\"" <sip:caller@example.net>;tag=odd{id}'),
        ("a display name in UTF-8", '"Jürgen 你好" <sip:caller@example.net>;tag=odd{id}'),
        ("a long display name", f'"{"n" * 10_000}" <sip:caller@example.net>;tag=odd{{id}}'),
        ("a long tag", f"<sip:caller@example.net>;tag=odd{{id}}{'t' * 5000}"),
        ("two tags", "<sip:caller@example.net>;tag=odd{id};tag=other"),
        ("five hundred parameters", f"<sip:caller@example.net>;tag=odd{{id}}{';p=v' * 500}"),
        ("a reference for a host", "<sip:caller@[2001:db8::7]:5060>;tag=odd{id}"),
        ("a comma in the user, in brackets", "<sip:a,b@example.net>;tag=odd{id}"),
        ("escaped line ends in the user", "<sip:a%0d%0aX-Injected:%20yes@example.net>;tag=odd{id}"),
        ("a backslash at the end of a quote", '"a\\\\" <sip:caller@example.net>;tag=odd{id}'),
    ):
        table.invite(f"From with {name}", "486", From=value)
    for name, value in (
        ("nothing", ""),
        ("no URI", '"Name";tag=odd{id}'),
        ("empty brackets", "<>;tag=odd{id}"),
        ("a bracket without end", "<sip:caller@example.net;tag=odd{id}"),
        ("brackets in brackets", "<<sip:caller@example.net>>;tag=odd{id}"),
        ("a quote without end", '"Name <sip:caller@example.net>;tag=odd{id}'),
        ("a quote that a backslash keeps open", '"Name\\" <sip:caller@example.net>;tag=odd{id}'),
        ("words behind the URI", "<sip:caller@example.net> odd;tag=odd{id}"),
        ("a star", "*"),
        ("two addresses", "<sip:a@example.net>;tag=1, <sip:b@example.net>"),
        ("a comma in the user, without brackets", "sip:a,b@example.net;tag=odd{id}"),
        ("a question mark without brackets", "sip:a@example.net?b=c;tag=odd{id}"),
        ("an empty tag", "<sip:caller@example.net>;tag="),
        ("a tag of two words", "<sip:caller@example.net>;tag=a b"),
        ("a semicolon and no more", "<sip:caller@example.net>;"),
        ("a bare IPv6 address", "<sip:caller@2001:db8::7>;tag=odd{id}"),
        ("a zone", "<sip:caller@[fe80::1%25eth0]>;tag=odd{id}"),
        ("an address that is none", "<sip:caller@[2001:db8::7::1]>;tag=odd{id}"),
    ):
        table.invite(f"From with {name}", "400", From=value)
    for value in ("<sip:user@2001:db8::1>", "<sip:>", "<isbn:1>", "<sip:user@[fe80::1%25eth0]>"):
        table.invite(f"To of {value}", "400", To=value)
    table.options("a To that names another dialog", "481", To="<sip:user@example.com>;tag=other")
    table.options("a To with a reference", "200", To="<sip:user@[2001:db8::1]>")
    table.options("a To of another scheme, which is not ours to read", "200", None, "400", To="<isbn:1>")
    table.options("a Call-ID with a bare IPv6 address", "200", Call_ID="odd-{id}@2001:db8::7")
    table.options("a Call-ID with a reference", "200", Call_ID="odd-{id}@[2001:db8::7]")
    table.options("a Call-ID of marks", "200", Call_ID='{id}<>()[]{}?/\\":%')
    table.options("a long Call-ID", "200", Call_ID="odd{id}" + "c" * 10_000)
    table.options("a Call-ID of two words", "400", Call_ID="odd {id}")
    table.options("an empty Call-ID", "400", Call_ID="")
    for name in ("From", "To", "Call-ID", "CSeq"):
        # Without a CSeq no client could tell what the answer belongs to.
        template = message("OPTIONS sip:user@example.com SIP/2.0", "OPTIONS", {name: None})
        table.add(f"no {name}", template, "ignored" if name == "CSeq" else "400")
    table.invite("no Contact", "400", "accepted", Contact=None)
    table.invite("a star for a Contact", "400", "accepted", Contact="*")
    table.invite("a Contact that is none", "400", Contact="<sip:>")
    table.invite("a Contact with a zone", "400", Contact="<sip:caller@[fe80::1%25eth0]>")
    table.invite("a bare IPv6 Contact", "400", Contact="<sip:caller@2001:db8::7>")
    table.invite("a mapped Contact", "486", Contact="<sip:caller@[::ffff:192.0.2.7]>")
    table.invite("two Contacts", "486", extra=("Contact: <sip:other@192.0.2.7>",))
    return iter(table.cases)


def numbers() -> Iterator[Case]:
    table = Table("Max-Forwards")
    for value, status in (("70", "200"), ("0", "200"), ("255", "200"), ("00070", "200"), ("0" * 3000, "200")):
        table.options(f"{value[-8:]!r}", status, Max_Forwards=value)
    for value in ("256", "-1", "+70", "7_0", "٧", "seventy", "7.0", "70;a", "70, 70", "0x46", "9" * 5000, "²"):
        table.options(f"{value[:12]!r}", "400", Max_Forwards=value)
    table.options("empty", "400", Max_Forwards="")
    table.options("none", "200", Max_Forwards=None)
    table.invite("0 in an INVITE", "483", Max_Forwards="0")
    return iter(table.cases)


def compact() -> Iterator[Case]:
    table = Table("compact")
    rows = (
        "v: SIP/2.0/UDP phone.example.net;branch=z9hG4bKc{id};rport",
        "f: <sip:caller@example.net>;tag=odd{id}",
        "t: <sip:user@example.com>",
        "i: odd-{id}-c",
        "m: <sip:caller@[2001:db8::7]>",
    )
    gone: Rows = dict.fromkeys(("Via", "From", "To", "Call_ID", "Contact"), None)
    other = ("k: timer", "s: x", "o: dialog", "u: dialog", "r: <sip:a@b>", "b: <sip:a@b>", "x: 90", "e: identity")
    start = "INVITE sip:user@example.com SIP/2.0"
    table.add("every form", message(start, "INVITE", gone, extra=rows + other, body=SDP), "486")
    upper = tuple(row[0].upper() + row[1:] for row in rows)
    table.add("every form in upper case", message(start, "INVITE", gone, extra=upper, body=SDP), "486")
    table.options("one that nobody has defined", "200", extra=("q: 1", "z: 2"))
    return iter(table.cases)


def routes() -> Iterator[Case]:
    table = Table("Route")
    for name, rows in (
        ("a loose route", ("Route: <sip:[2001:db8::1];lr>",)),
        ("a strict route", ("Route: <sip:proxy.example.com>",)),
        ("a route without brackets", ("Route: sip:proxy.example.com;lr",)),
        ("a route with headers, which nobody honours", ("Route: <sip:proxy.example.com;lr?X-Injected=yes>",)),
        ("two hundred routes", ("Route: " + ", ".join(["<sip:p.example.com;lr>"] * 200),)),
        ("a row for each of two hundred", ("Route: <sip:p.example.com;lr>",) * 200),
        (
            "record-routes of both families",
            ("Record-Route: <sip:[2001:db8::1];lr>", "Record-Route: <sip:192.0.2.1;lr>"),
        ),
        ("a comma in a route", ("Route: <sip:a,b@example.com;lr>",)),
        ("empty elements", ("Route: , ,<sip:a@example.com;lr>,",)),
        ("an empty row", ("Route:",)),
    ):
        table.invite(name, "486", extra=rows)
    for name, row in (
        ("a route that is none", "Route: <sip:>"),
        ("a route with a bare IPv6 address", "Route: <sip:2001:db8::1;lr>"),
        ("a route without end", "Route: <sip:a@example.com"),
        ("a star for a route", "Route: *"),
    ):
        # A user agent that is the end of the way does not read them.
        table.invite(name, "486", "400", extra=(row,))
    for name, row in (
        ("a record-route that is none", "Record-Route: <sip:>"),
        ("a record-route with a bare IPv6 address", "Record-Route: <sip:2001:db8::1;lr>"),
        ("a record-route without end", "Record-Route: <sip:a@example.com"),
        ("a record-route of another scheme", "Record-Route: <http://example.com>"),
    ):
        table.invite(name, "400", extra=(row,))
    return iter(table.cases)


def extensions() -> Iterator[Case]:
    table = Table("extensions and bodies")
    for start, method in (("OPTIONS", "OPTIONS"), ("INVITE", "INVITE")):
        body, good = (SDP, "486") if method == "INVITE" else ("", "200")
        line = f"{start} sip:user@example.com SIP/2.0"
        contact = {"Contact": "<sip:caller@[2001:db8::7]>"}
        for value, status in (
            ("unheard-of", "420"),
            ("a, b,c", "420"),
            ("", good),
            (", ,", good),
            ("sdp-anat", "420"),
            ("100rel", "420"),
        ):
            template = message(line, method, {**contact, "Require": value}, body=body)
            table.add(f"{method} with Require: {value}", template, status)
        template = message(line, method, {**contact, "Proxy-Require": "unheard-of"}, body=body)
        table.add(f"{method} with Proxy-Require, which is for proxies", template, good)
    for value, status in (
        *(("*/*", "486"), ("application/*;q=0.1", "486"), ("text/plain, application/SDP", "486")),
        *(("application / sdp", "486"), ("text/plain", "406"), ("", "406")),
    ):
        table.invite(f"Accept: {value}", status, Accept=value)
    for value, status in (
        *(("application/SDP", "486"), ("application/sdp;charset=utf-8", "486"), ("application / sdp", "486")),
        *(("text/plain", "415"), ("application/sdpx", "415"), ("multipart/mixed", "415"), ("", "415")),
    ):
        table.invite(f"Content-Type: {value}", status, Content_Type=value)
    table.invite("a body of no type", "415", Content_Type=None)
    table.invite("a packed body", "415", Content_Encoding="gzip", body=b"\x1f\x8b\x08\0\0")
    table.invite("a body as it is", "486", Content_Encoding="identity")
    table.options("a body nobody asked for", "200", body=b"\0\xff" * 2000, Content_Type="application/octet-stream")
    return iter(table.cases)


def sizes() -> Iterator[Case]:
    table = Table("size")
    table.options("250 headers", "200", extra=tuple(f"X-{n}: {n}" for n in range(243)))
    table.options("300 headers", "513", extra=tuple(f"X-{n}: {n}" for n in range(300)))
    table.options("300 folds", "200", extra=("X-Odd: a", *([" b"] * 300)))
    table.options("a long header", "200", extra=("X-Odd: " + "x" * 40_000,))
    table.options("a long name", "200", extra=("X" * 20_000 + ": x",))
    table.options("a list of commas", "200", extra=("Supported: " + "," * 30_000,))
    table.options("a long body", "200", body=b"x" * 50_000)
    return iter(table.cases)


# --- sessions --------------------------------------------------------------------------------------------------------


def sessions() -> Iterator[Case]:
    table = Table("SDP")

    def changed(old: str, new: str) -> str:
        assert old in SDP
        return SDP.replace(old, new)

    c = "c=IN IP6 2001:db8::7"
    m = "m=audio 40000 RTP/AVP 0 8"
    for name, body in (
        ("line feeds alone", SDP.replace("\r\n", "\n")),
        ("no line end at the end", SDP.removesuffix("\r\n")),
        ("no s= and no t=", changed("s=-\r\n", "").replace("t=0 0\r\n", "")),
        ("a connection at the media", changed(f"{c}\r\n", "").replace(m, f"{m}\r\n{c}")),
        ("a session of one family and media of the other", changed(m, f"{m}\r\nc=IN IP4 192.0.2.7")),
        ("a mapped address", changed(c, "c=IN IP6 ::ffff:192.0.2.7")),
        ("an IPv4 hold", changed(c, "c=IN IP4 0.0.0.0")),
        ("an IPv6 hold", changed(c, "c=IN IP6 ::")),
        ("a name", changed(c, "c=IN IP6 phone.example.net")),
        ("a name nobody has", changed(c, "c=IN IP6 x.invalid")),
        ("an attribute nobody knows", SDP + "a=x-odd:[::1]\r\n"),
        ("where reports go", SDP + "a=rtcp:40001 IN IP6 2001:db8::8\r\n"),
        (
            "candidates of both families",
            SDP + "a=candidate:1 1 UDP 1 2001:db8::7 4 typ host\r\na=candidate:2 1 UDP 1 192.0.2.7 4 typ host\r\n",
        ),
        ("a broken candidate", SDP + "a=candidate:odd\r\n"),
        (
            "an ANAT group",
            changed("t=0 0\r\n", "t=0 0\r\na=group:ANAT 1 2\r\n")
            + "a=mid:1\r\nm=audio 40002 RTP/AVP 0\r\nc=IN IP4 192.0.2.7\r\na=mid:2\r\n",
        ),
        ("video beside it", SDP + "m=video 40002 RTP/AVP 99\r\n"),
        ("unknown lines", changed("t=0 0\r\n", "t=0 0\r\nz=1\r\nk=clear:x\r\ny=odd\r\n")),
    ):
        table.invite(name, "486", body=body)
    table.invite("none: the offer is ours to make", "486", body="")
    for name, body in (
        ("a connection of two words", changed(c, "c=IN IP6")),
        ("no connection at all", changed(f"{c}\r\n", "")),
        ("a port beyond 65535", changed(" 40000 ", " 65536 ")),
        ("a port in other digits", changed(" 40000 ", " ٤٠٠٠٠ ")),
        ("a port with a sign", changed(" 40000 ", " +40000 ")),
        ("no port", changed(" 40000 ", " ")),
        ("no formats", changed(" RTP/AVP 0 8", " RTP/AVP")),
        ("another version", changed("v=0", "v=1")),
        ("no version", changed("v=0\r\n", "")),
        ("no origin", changed("o=- 1 1 IN IP6 2001:db8::7\r\n", "")),
        ("a line that is none", changed("s=-", "odd")),
        ("a null", changed("s=-", "s=\0")),
        ("a carriage return of its own", changed("s=-", "s=a\rm=audio 1 RTP/AVP 0")),
        ("two thousand lines", SDP + "a=x\r\n" * 2000),
        ("hundred media lines", SDP + "m=audio 40000 RTP/AVP 0\r\n" * 100),
        ("octets", bytes(range(256)).decode("latin-1")),
    ):
        table.invite(name, "400", "accepted", body=body)
    for name, body in (
        ("brackets", changed(c, "c=IN IP6 [2001:db8::7]")),
        ("a zone", changed(c, "c=IN IP6 fe80::1%eth0")),
        ("an IPv4 address called IPv6", changed(c, "c=IN IP6 192.0.2.7")),
        ("an IPv6 address called IPv4", changed(c, "c=IN IP4 2001:db8::7")),
        ("a type nobody has", changed(c, "c=IN IP5 2001:db8::7")),
        ("an address that is none", changed(c, "c=IN IP4 1.2.3.256")),
        ("brackets in the origin", changed("o=- 1 1 IN IP6 2001:db8::7", "o=- 1 1 IN IP6 [2001:db8::7]")),
        ("brackets where reports go", SDP + "a=rtcp:40001 IN IP6 [2001:db8::7]\r\n"),
        ("port 0", changed(" 40000 ", " 0 ")),
        ("no media", SDP.partition("m=")[0]),
        ("video alone", changed("m=audio", "m=video")),
    ):
        table.invite(name, "488", body=body)
    return iter(table.cases)


# --- registrations ---------------------------------------------------------------------------------------------------


def registrations() -> Iterator[Case]:
    table = Table("REGISTER")
    for name, rows in (
        ("no Contact", {}),
        ("a reference", {"Contact": "<sip:user@[2001:db8::7]:5070>"}),
        ("a mapped reference", {"Contact": "<sip:user@[::ffff:192.0.2.7]>"}),
        ("an instance", {"Contact": '<sip:user@[2001:db8::8]>;+sip.instance="<urn:uuid:0-1>";reg-id=1'}),
        ("q of three digits", {"Contact": "<sip:user@[2001:db8::9]>;q=0.333"}),
        ("expires that is no number", {"Contact": "<sip:user@[2001:db8::a]>;expires=soon"}),
        ("expires in other digits", {"Contact": "<sip:user@[2001:db8::a]>;expires=٧"}),
        ("expires of an age", {"Contact": f"<sip:user@[2001:db8::a]>;expires={'9' * 5000}"}),
        ("a header Expires that is no number", {"Contact": "<sip:user@[2001:db8::a]>", "Expires": "-1"}),
        ("a removal of nothing", {"Contact": "<sip:nobody@[2001:db8::b]>;expires=0"}),
        ("a contact of marks", {"Contact": "<sip:*{id}%00%3A%0D%0A:x@[2001:db8::c];a=%7B%7D?b=c>;expires=60"}),
        ("a star with Expires 0", {"Contact": "*", "Expires": "0"}),
    ):
        table.add(name, message("REGISTER sip:example.com SIP/2.0", "REGISTER", rows), "200")
    for name, rows, parser in (
        ("a star with no Expires", {"Contact": "*"}, "accepted"),
        ("a star with Expires 1", {"Contact": "*", "Expires": "1"}, "accepted"),
        ("a star beside a contact", {"Contact": "*, <sip:user@[2001:db8::7]>", "Expires": "0"}, None),
        ("a contact of another scheme", {"Contact": "<http://example.com>"}, None),
        ("a contact with a zone", {"Contact": "<sip:user@[fe80::1%25eth0]>"}, None),
        ("a bare IPv6 contact", {"Contact": "<sip:user@2001:db8::7>"}, None),
        ("a contact with an empty parameter", {"Contact": "<sip:user@[2001:db8::7]>;;q=1"}, None),
    ):
        table.add(name, message("REGISTER sip:example.com SIP/2.0", "REGISTER", rows), "400", None, parser)
    table.register("a user in the Request-URI", "400", "accepted", start="REGISTER sip:user@example.com SIP/2.0")
    table.register("a To with nobody in it", "401", To="<sip:example.com>;x={id}")
    table.register("a user nobody knows", "401", To="<sip:stranger@example.com>;x={id}")
    table.register("a user of marks", "401", To="<sip:%7B%3A%2A%00%0D%0A%7D@example.com>;x={id}")
    for name, value in (
        ("no parameters", "Digest"),
        ("a name without value", "Digest username="),
        ("an open quote", 'Digest username="secretive'),
        ("other digits", 'Digest username="secretive", nc=٠٠٠٠٠٠٠١, qop=auth, nonce="a", response="b"'),
        ("a long nonce", f'Digest username="secretive", nonce="{"n" * 20_000}", response="r"'),
        ("Basic", "Basic c2VjcmV0aXZlOm9uZQ=="),
        ("octets", "Digest \udcff\udcfe=\x01"),
        ("nothing", ""),
    ):
        table.register(f"Authorization of {name}", "401", To="<sip:secretive@example.com>;x={id}", Authorization=value)
    table.register(
        "fifty Authorizations", "401", To="<sip:secretive@example.com>", extra=("Authorization: Digest a=b",) * 50
    )
    return iter(table.cases)


CASES: tuple[Case, ...] = (
    *hosts(), *uris(), *lines(), *starts(), *sequence_numbers(), *lengths(), *repeated(), *vias(), *parties(),
    *numbers(), *compact(), *routes(), *extensions(), *sizes(), *sessions(), *registrations(),
)  # fmt: skip
