"""Values of header fields: Via, CSeq, Contact and their kind (RFC 3261 20 and 25.1).

Everything here takes the unfolded text of one header row, or one value of it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import lru_cache

from services.core.address import AddressError, HostPort, parse_ip, split_host_port, uri_host
from services.core.sip.errors import SipError
from services.core.sip.lexical import (
    TOKEN_CHARS,
    WS,
    Params,
    bad,
    drop_param,
    find_param,
    is_token,
    parse_number,
    parse_params,
    print_params,
    set_param,
    split_list,
)
from services.core.sip.uri import NameAddr

__all__ = [
    "CSEQ_LIMIT",
    "MAX_CSEQ",
    "STAR",
    "CSeq",
    "NameAddr",
    "Star",
    "Via",
    "parse_contacts",
    "parse_cseq",
    "parse_name_addrs",
    "parse_via",
    "salvage_via",
]

MAX_CSEQ = 2**31 - 1
"""The largest number we generate (RFC 3261 8.1.1.5)."""
CSEQ_LIMIT = 2**32
"""What no CSeq may reach (RFC 4475 3.1.2.4)."""
_CACHED_SENT_BY_LENGTH = 128
_TRANSPORTS = frozenset(("UDP", "TCP", "TLS", "WS", "WSS", "SCTP"))


class Star(enum.Enum):
    """The one value of `Contact: *`."""

    STAR = "*"


STAR = Star.STAR


# --- Via -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value (RFC 3261 20.42)."""

    transport: str
    """Upper case: UDP, TCP, TLS, WS, WSS."""
    host: str
    """sent-by: a lower-case name or a canonical address, no brackets."""
    port: int | None = None
    params: Params = ()

    @property
    def branch(self) -> str | None:
        """None for a client of RFC 2543, which has none."""
        return find_param(self.params, "branch") or None

    @property
    def received(self) -> str | None:
        """The canonical address, whether it came bare or bracketed (RFC 5118 4.5); None when absent or no address."""
        value = find_param(self.params, "received")
        if not value:
            return None
        try:
            return parse_ip(value[1:-1] if value.startswith("[") and value.endswith("]") else value)
        except AddressError:
            return None

    @property
    def rport(self) -> int | None:
        """The port a server filled in; None when absent or still empty (see `wants_rport`)."""
        value = find_param(self.params, "rport")
        if not value or len(value) > 5 or not (value.isascii() and value.isdigit()):
            return None
        port = int(value)
        return port if port <= 65535 else None

    @property
    def wants_rport(self) -> bool:
        """Whether the client asked for symmetric routing (RFC 3581), answered or not."""
        return find_param(self.params, "rport") is not None

    @property
    def sent_by(self) -> HostPort:
        return HostPort(self.host, self.port)

    def param(self, name: str) -> str | None:
        """The raw value of a parameter, "" when it has none, None when it is not there."""
        return find_param(self.params, name)

    def with_source(self, host: str, port: int) -> Via:
        """What a server makes of the top Via on receipt (RFC 3261 18.2.1, RFC 3581 4).

        `received` is set, replacing any, when sent-by is not the source address or rport was asked for, and removed
        otherwise; an rport parameter gets the source port.
        """
        params = self.params
        names = [name.lower() for name, _ in params]
        if "received" not in names and names.count("rport") == 1:  # what nearly everybody sends
            at = names.index("rport")
            params = (*params[:at], (params[at][0], str(port)), *params[at + 1 :], ("received", host))
        elif self.wants_rport:
            params = set_param(set_param(params, "rport", str(port)), "received", host)
        elif self.host != host:
            params = set_param(params, "received", host)
        else:
            params = drop_param(params, "received")
        return self if params == self.params else Via(self.transport, self.host, self.port, params)

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {uri_host(self.host)}{port}{print_params(self.params)}"


def parse_via(text: str) -> Via:
    """Read one Via value. White space may stand round the slashes and the colon. Raises SipError 400."""
    transport, sent_by, tail, semicolon = _cut_via(text)
    host, port = _parse_sent_by(sent_by)
    return Via(transport, host, port, parse_params(tail, "Via") if semicolon else ())


def salvage_via(text: str) -> Via | None:
    """The Via of a request that is going to be refused: parameters up to the first bad one. None if beyond repair."""
    try:
        transport, sent_by, tail, _ = _cut_via(_in_our_version(text))
        host, port = _parse_sent_by(sent_by)
    except SipError:
        return None
    return Via(transport, host, port, _readable_params(tail) if tail else ())


def _in_our_version(text: str) -> str:
    """A Via of another version as one of ours: whoever speaks it is told 505 (RFC 4475 3.1.2.16)."""
    name, _, rest = text.partition("/")
    _, slash, rest = rest.partition("/")
    return f"SIP/2.0/{rest.lstrip(WS)}" if slash and name.strip(WS).upper() == "SIP" else text


def _readable_params(text: str) -> Params:
    try:
        return parse_params(text, "Via")
    except SipError:
        pass
    params: list[tuple[str, str | None]] = []
    for piece in text.split(";"):
        try:
            params += parse_params(piece, "Via")
        except SipError:
            break
    return tuple(params)


def _cut_via(text: str) -> tuple[str, str, str, str]:
    """transport, sent-by, parameters and the ';' before them (or "")."""
    if text.startswith("SIP/2.0/"):
        transport, _, rest = text[8:].partition(" ")
    else:
        transport, rest = _cut_protocol(text)
    if transport not in _TRANSPORTS and (not transport or not TOKEN_CHARS.issuperset(transport)):
        # White space round the slashes, or a tab behind the transport.
        transport, rest = _cut_protocol(text)
        if not is_token(transport):
            raise bad("Via", "transport")
    sent_by, semicolon, tail = rest.partition(";")
    return transport.upper(), sent_by.strip(WS), tail, semicolon


def _cut_protocol(text: str) -> tuple[str, str]:
    """Transport and the rest of a Via with white space in odd places."""
    name, _, rest = text.partition("/")
    version, _, rest = rest.partition("/")
    if name.strip(WS).lower() != "sip" or version.strip(WS) != "2.0":
        raise bad("Via", "protocol")
    transport, _, rest = rest.replace("\t", " ").lstrip(" ").partition(" ")
    return transport, rest


def _parse_sent_by(text: str) -> tuple[str, int | None]:
    return _cached_sent_by(text) if len(text) <= _CACHED_SENT_BY_LENGTH else _read_sent_by(text)


@lru_cache(1024)
def _cached_sent_by(text: str) -> tuple[str, int | None]:
    return _read_sent_by(text)


def _read_sent_by(text: str) -> tuple[str, int | None]:
    if " " in text or "\t" in text:
        # COLON = SWS ":" SWS; a blank anywhere else leaves two words, which no host is.
        host, colon, port = text.rpartition(":")
        if colon and not port.endswith("]"):
            text = f"{host.rstrip(WS)}:{port.lstrip(WS)}"
    try:
        return split_host_port(text)
    except AddressError as error:
        raise bad("Via", str(error).encode("ascii", "backslashreplace").decode()) from None


# --- CSeq ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CSeq:
    """A sequence number and the method it counts for."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def parse_cseq(text: str) -> CSeq:
    """Read a CSeq. Raises SipError 400 for numbers of 2^32 and more (RFC 4475 3.1.2.4)."""
    number, _, method = text.partition(" ")
    if not method or not TOKEN_CHARS.issuperset(method):
        number, _, method = text.replace("\t", " ").partition(" ")
        method = method.strip(" ")
        if not is_token(method):
            raise bad("CSeq", "method")
    return CSeq(parse_number(number.rstrip(WS), CSEQ_LIMIT - 1, "CSeq"), method)


# --- lists ------------------------------------------------------------------------------------------------------------


def parse_name_addrs(rows: list[str], where: str) -> list[NameAddr]:
    """The values of all rows of a list header such as Route. Raises SipError."""
    return [NameAddr.parse(value, where) for row in rows for value in split_list(row, where)]


def parse_contacts(rows: list[str]) -> list[NameAddr] | Star:
    """All Contact values, or STAR for `*`, which stands alone (RFC 3261 10.2.2). Raises SipError."""
    values = [value for row in rows for value in split_list(row, "Contact")]
    if values == ["*"]:
        return STAR
    return [NameAddr.parse(value, "Contact") for value in values]
