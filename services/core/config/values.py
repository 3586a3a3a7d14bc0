"""Readers of setting values: from text to a value, or `BadValue` with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.core.address import (
    Address,
    AddressError,
    Family,
    HostPort,
    family_of,
    is_ip,
    parse_host,
    parse_ip,
    split_host_port,
)
from services.core.config.problems import nearest
from services.core.config.table import BadValue

WILDCARDS = {Family.IP4: "0.0.0.0", Family.IP6: "::"}

_YES = frozenset({"yes", "true", "y", "t", "1", "on"})
_NO = frozenset({"no", "false", "n", "f", "0", "off"})


def yes_no(text: str) -> bool:
    """Asterisk's booleans: yes/true/y/t/1/on and their opposites. Anything else is refused, not taken for a no."""
    word = text.lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise BadValue(f"{text!r} is neither yes nor no", "write yes or no")


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number between two bounds, both included."""

    def read(text: str) -> int:
        # int() alone would also take '+7', '7_0' and the digits of other scripts.
        if not (text.isascii() and text.isdigit() and len(text) <= 10):
            raise BadValue(f"{text!r} is not a whole number", f"{low} to {high}")
        value = int(text)
        if not low <= value <= high:
            raise BadValue(f"{value} is out of range", f"{low} to {high}")
        return value

    return read


def timezone(text: str) -> str:
    """A time zone by its IANA name."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadValue(f"{text!r} is no time zone", "write one as in Europe/Berlin, or UTC") from None
    return text


def one_of(*words: str) -> Callable[[str], str]:
    """One of some words, in any case."""

    def read(text: str) -> str:
        word = text.lower()
        if word in words:
            return word
        near = nearest(word, words)
        raise BadValue(f"{text!r} is not known", f"did you mean {near}?" if near else f"one of {', '.join(words)}")

    return read


def plain(text: str) -> str:
    """Any text but none at all."""
    if not text:
        raise BadValue("has no value")
    return text


def word(text: str) -> str:
    """One word: a context, a domain, a user name."""
    if not text or not text.isprintable() or any(character in text for character in ' ,"<>'):
        raise BadValue(f"{text!r} is not a single word")
    return text


def port(text: str) -> int:
    """A port to connect to."""
    return number(1, 65535)(text)


def ip(text: str) -> str:
    """An address without brackets; brackets around an IPv6 address are forgiven where no port can follow."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return parse_ip(bare)
    except AddressError:
        raise BadValue(f"{text!r} is not an IP address", "as in 10.1.1.1 or 2001:db8::1") from None


def ip_of(family: Family) -> Callable[[str], str]:
    """An address of one family, without brackets."""

    def read(text: str) -> str:
        address = ip(text)
        if family_of(address) is not family:
            raise BadValue(f"{text!r} is not an {family_name(family)} address", _OTHER[family])
        return address

    return read


def family_name(family: Family) -> str:
    """`IPv4` or `IPv6`, for people."""
    return "IPv6" if family is Family.IP6 else "IPv4"


_OTHER = {Family.IP4: "an IPv6 address belongs in externaddr6", Family.IP6: "an IPv4 address belongs in externaddr"}


def host(text: str) -> str:
    """An address without brackets, canonical, or a name; no port."""
    if is_ip(text):
        return parse_ip(text)
    if "[" in text or "]" in text:
        inside = text.partition("[")[2].partition("]")[0]
        after = text.rpartition("]")[2]
        remedy = f"write host={inside}" if inside else "write the address alone"
        raise BadValue(
            f"{text!r}: an address stands here without brackets",
            remedy + (f" and port={after[1:]}" if after.startswith(":") else ""),
        )
    name, colon, after = text.rpartition(":")
    if colon and after.isdigit() and ":" not in name:
        raise BadValue(f"{text!r}: a host has no port here", f"write host={name} and port={after}")
    try:
        return parse_host(text)
    except AddressError as error:
        raise BadValue(str(error), "as in 10.1.1.1, 2001:db8::1 or sip.example.com") from None


@dataclass(frozen=True, slots=True)
class Bind:
    """A `bindaddr` line."""

    host: str
    """Canonical."""
    port: int | None
    """None: `bindport`."""
    advertised: HostPort | None = None

    @property
    def family(self) -> Family:
        return family_of(self.host)


def bind(text: str) -> Bind:
    """`10.1.1.1`, `10.1.1.1:5060`, `[2001:db8::1]`, `[2001:db8::1]:5060`, `2001:db8::1`; then `advertise=HOST[:PORT]`.

    A bare IPv6 address is taken when nothing after its last colon can be meant as a port.
    """
    words = text.split()
    if not words:
        raise BadValue("has no value")
    advertised = None
    for option in words[1:]:
        name, equals, value = option.partition("=")
        if name.lower() != "advertise" or not equals:
            raise BadValue(f"{option!r} is not understood", "only advertise=HOST[:PORT] may follow the address")
        advertised = host_port(value)
    address, given_port = _bind_address(words[0])
    if advertised and is_ip(advertised.host) and family_of(advertised.host) != family_of(address):
        raise BadValue(f"{words[0]} cannot advertise {advertised.host}, an address of the other family")
    return Bind(address, given_port, advertised)


def _bind_address(text: str) -> tuple[str, int | None]:
    if is_ip(text):
        front, colon, last = text.rpartition(":")
        if colon and last.isascii() and last.isdigit() and is_ip(front):
            raise BadValue(
                f"{text} could be the address {text} or the address {front} with port {last}",
                f"write [{text}] or [{front}]:{last}",
            )
        return parse_ip(text), None
    try:
        address, given = split_host_port(text)
    except AddressError as error:
        raise BadValue(str(error), _BIND_FORMS) from None
    if not is_ip(address):
        raise BadValue(f"{text!r} is a name, not an address", _BIND_FORMS)
    return address, given


_BIND_FORMS = "as in 10.1.1.1, 10.1.1.1:5060, [2001:db8::1] or [2001:db8::1]:5060"


def socket_address(text: str) -> Address:
    """An address to listen on, with its port: `127.0.0.1:9600`, `[::1]:9600`."""
    found = bind(text)
    if found.port is None or found.advertised:
        raise BadValue(f"{text!r} is not an address and a port", "as in 127.0.0.1:9600 or [::1]:9600")
    return Address(found.host, found.port)


def host_port(text: str) -> HostPort:
    """`sip.example.com`, `203.0.113.7:5060`, `[2001:db8::7]:5060`, `2001:db8::7`."""
    if is_ip(text):
        return HostPort(*_bind_address(text))
    try:
        return HostPort.parse(text)
    except AddressError as error:
        raise BadValue(str(error), "as in sip.example.com or [2001:db8::7]:5060") from None


def advertised(family: Family) -> Callable[[str], HostPort]:
    """A name, or an address of one family, with or without a port."""

    def read(text: str) -> HostPort:
        found = host_port(text)
        if is_ip(found.host) and family_of(found.host) is not family:
            raise BadValue(f"{text!r} is not an {family_name(family)} address", _OTHER[family])
        return found

    return read


@dataclass(frozen=True, slots=True)
class MaybeAddress:
    """An address to listen on, or the wish not to."""

    address: Address | None


def socket_address_or_none(text: str) -> MaybeAddress:
    """As `socket_address`; `none` switches off."""
    return MaybeAddress(None if text.lower() in ("none", "no", "off") else socket_address(text))
