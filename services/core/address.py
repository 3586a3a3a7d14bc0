"""Where addresses are read and written: the one parser behind every URI, Via, setting and log line.

An address has three spellings and each has its place (standards.md 1.1): bare (`2001:db8::1`: SDP, `received=`,
a `host` field of its own), bracketed (`[2001:db8::1]`: the host of a URI or Via) and bracketed with a port.
Inside the program there is one: the canonical text of RFC 5952, without brackets and without a zone, so that equal
addresses are equal strings. Reading follows RFC 5954 (RFC 3986's IPv6address and IPv4address), strictly: a form that
has two meanings is refused, never guessed.

The module is pure; the address family numbers are written out so that it needs no `socket`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import lru_cache

MAX_PORT = 65535
MAX_HOST_LENGTH = 255
"""Octets of a host name with its dots (RFC 1035 2.3.4)."""
MAX_LABEL_LENGTH = 63
_MAX_IP_LENGTH = 45
"""The longest text of an address: eight groups with an IPv4 tail."""
_CACHED_HOSTS = 4096

_IP6_CHARS = frozenset("0123456789abcdefABCDEF:.")
_DIGITS = frozenset("0123456789")
_HEX_DIGITS = frozenset("0123456789abcdef")
# RFC 3261 25.1 has no underscore in a host name; container networks do, and resolvers take it.
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


class AddressError(ValueError):
    """A text that is no address, host or port; the message says what is wrong and, where it helps, what to write."""


class Family(enum.Enum):
    """An address family; the value is its short name in settings and events."""

    IP4 = "ip4"
    IP6 = "ip6"

    # Members are single, so their identity will do: Enum's own hash is a call in Python.
    __hash__ = object.__hash__

    @property
    def sdp(self) -> str:
        """The addrtype of SDP's `c=` and `o=` lines (RFC 8866 5.7)."""
        return "IP6" if self is Family.IP6 else "IP4"

    @property
    def af(self) -> int:
        """`AF_INET` or `AF_INET6` as Linux numbers them."""
        return 10 if self is Family.IP6 else 2


# --- IP addresses ----------------------------------------------------------------------------------------------------


def parse_ip(text: str) -> str:
    """The canonical RFC 5952 text of an address: lower case, shortest, mapped addresses as `::ffff:192.0.2.1`.

    Raises AddressError for names, brackets, zones and every form RFC 3986 does not have (`127.1`, `010.0.0.1`).
    """
    if len(text) > _MAX_IP_LENGTH:
        raise AddressError("not an IP address: too long")
    return _parse_ip(text)


@lru_cache(_CACHED_HOSTS)
def _parse_ip(text: str) -> str:
    if ":" in text:
        return _print_ip6(_parse_ip6(text))
    _parse_ip4(text)
    return text


def is_ip(text: str) -> bool:
    """Whether `text` is an IP address by itself (no brackets, no port)."""
    try:
        parse_ip(text)
    except AddressError:
        return False
    return True


def family_of(ip: str) -> Family:
    """The family of a canonical address; a mapped address is IPv6. Does not look at names."""
    return Family.IP6 if ":" in ip else Family.IP4


def unmap(ip: str) -> str:
    """`192.0.2.1` for `::ffff:192.0.2.1`, anything else unchanged. `ip` is canonical.

    For access lists only: a mapped address is another name of the IPv4 address there, so that an IPv4 ban holds.
    In every other place they are two addresses (RFC 5954 4.2).
    """
    return ip[7:] if ip.startswith("::ffff:") and "." in ip else ip


def is_unspecified(ip: str) -> bool:
    """Whether a canonical address is a wildcard, `0.0.0.0` or `::` (mapped wildcard included)."""
    return ip in ("0.0.0.0", "::", "::ffff:0.0.0.0")


def is_loopback(ip: str) -> bool:
    """Whether a canonical address is `127.0.0.0/8` or `::1` (mapped loopback included)."""
    return ip == "::1" or unmap(ip).startswith("127.")


def is_link_local(ip: str) -> bool:
    """Whether a canonical address is `fe80::/10` or `169.254.0.0/16`: of no use without its interface."""
    return ip.startswith(("fe8", "fe9", "fea", "feb", "169.254.")) and (":" not in ip or ip.index(":") == 4)


def _parse_ip4(text: str) -> int:
    """The 32 bits of a dotted quad. No leading zeros: some readers take `010` for eight (RFC 3986 dec-octet)."""
    octets = text.split(".")
    if len(octets) != 4:
        raise AddressError(f"not an IP address: {text!r}")
    value = 0
    for octet in octets:
        if not octet or len(octet) > 3 or not _DIGITS.issuperset(octet) or (octet[0] == "0" and octet != "0"):
            raise AddressError(f"not an IPv4 address: {text!r}")
        number = int(octet)
        if number > 255:
            raise AddressError(f"not an IPv4 address: {text!r}, {number} is more than 255")
        value = value << 8 | number
    return value


def _parse_ip6(text: str) -> list[int]:
    """The eight groups of an IPv6 address."""
    if not _IP6_CHARS.issuperset(text):
        if "%" in text:
            raise AddressError(f"an address with a zone is not taken here: {text!r} (RFC 9844)")
        raise AddressError(f"not an IPv6 address: {text!r}")
    head, gap, tail = text.partition("::")
    left = _groups(head, text, last=not gap)
    if not gap:
        if len(left) != 8:
            raise AddressError(f"not an IPv6 address: {text!r} has {len(left)} groups, not 8")
        return left
    right = _groups(tail, text, last=True)
    missing = 8 - len(left) - len(right)
    if missing < 1:
        raise AddressError(f"not an IPv6 address: {text!r} has too many groups")
    return left + [0] * missing + right


def _groups(part: str, text: str, *, last: bool) -> list[int]:
    """The groups of one side of `::`; only the `last` side may end in a dotted quad."""
    if not part:
        return []
    groups = part.split(":")
    values: list[int] = []
    if "." in groups[-1] and last:
        quad = _parse_ip4(groups.pop())
        values = [quad >> 16, quad & 0xFFFF]
    for group in groups:
        if not group or len(group) > 4 or "." in group:
            raise AddressError(f"not an IPv6 address: {text!r}")
    return [int(group, 16) for group in groups] + values


def _print_ip6(groups: list[int]) -> str:
    """RFC 5952 4 and 5: the longest run of zeros shortened (the first of equals, never a single group)."""
    if groups[:6] == [0, 0, 0, 0, 0, 0xFFFF]:
        high, low = groups[6:]
        return f"::ffff:{high >> 8}.{high & 255}.{low >> 8}.{low & 255}"
    best_start, best_length, start = 0, 1, 0
    while start < 8:
        end = start
        while end < 8 and groups[end] == 0:
            end += 1
        if end - start > best_length:
            best_start, best_length = start, end - start
        start = end + 1
    if best_length == 1:
        return ":".join([f"{group:x}" for group in groups])
    left = ":".join([f"{group:x}" for group in groups[:best_start]])
    right = ":".join([f"{group:x}" for group in groups[best_start + best_length :]])
    return f"{left}::{right}"


# --- hosts and ports -------------------------------------------------------------------------------------------------


def parse_host(text: str) -> str:
    """The canonical form of a URI's or Via's host: a lower-case name or an address without its brackets.

    An IPv6 address must wear brackets here (RFC 3261 25.1, RFC 5118 4.2). Raises AddressError.
    """
    if len(text) > MAX_HOST_LENGTH:
        raise AddressError("not a host: too long")
    return _parse_host(text)


@lru_cache(_CACHED_HOSTS)
def _parse_host(text: str) -> str:
    if text.startswith("["):
        inner = text[1:-1]
        if not text.endswith("]") or ":" not in inner:
            raise AddressError(f"not an IPv6 address in brackets: {text!r}")
        return parse_ip(inner)
    if ":" in text:
        if is_ip(text):
            raise AddressError(f"an IPv6 address needs brackets here: write [{text}] for {text!r}")
        raise AddressError(f"not a host: {text!r}")
    return _parse_name_or_ip4(text)


def _parse_name_or_ip4(text: str) -> str:
    name = text.lower()
    # The Kelvin sign is no 'k', though lower() says so: hence isascii() of what came.
    if not name or not text.isascii() or not _NAME_CHARS.issuperset(name):
        raise AddressError(f"not a host: {text!r}")
    labels = name.removesuffix(".").split(".")
    last = labels[-1]
    if _DIGITS.issuperset(last):
        # RFC 3261 25.1: the last label starts with a letter, so this can only be an IPv4 address.
        _parse_ip4(name)
        return name
    if last.startswith("0x") and _HEX_DIGITS.issuperset(last[2:]):
        raise AddressError(f"not a host: {text!r} would be read as a number by some resolvers")
    for label in labels:
        if not label or len(label) > MAX_LABEL_LENGTH or label[0] == "-" or label[-1] == "-":
            raise AddressError(f"not a host name: {text!r}")
    return name


def parse_port(text: str) -> int:
    """A port of ASCII digits, 0 to 65535; leading zeros are allowed (RFC 3261 25.1 `1*DIGIT`). Raises AddressError."""
    if not text or not _DIGITS.issuperset(text):
        raise AddressError(f"not a port: {text[:20]!r}")
    port = int(text.lstrip("0")[:6] or "0")
    if port > MAX_PORT:
        raise AddressError(f"not a port: {text[:20]!r} is more than {MAX_PORT}")
    return port


def split_host_port(text: str) -> tuple[str, int | None]:
    """Canonical host and port of `name`, `name:port`, `192.0.2.1:port`, `[v6]` and `[v6]:port`.

    A bare IPv6 address is refused even where no port follows: `2001:db8::1:5060` is itself an address, so nobody can
    tell what was meant (RFC 5118 4.2, 4.3). Raises AddressError.
    """
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        colon, port = rest[:1], rest[1:]
        if colon not in ("", ":"):
            raise AddressError(f"expected a port or nothing after the address in {text[:80]!r}")
    else:
        host, colon, port = text.partition(":")
        if ":" in port:
            raise _bare_ip6(text)
    return parse_host(host), parse_port(port) if colon else None


def _bare_ip6(text: str) -> AddressError:
    """Why `2001:db8::1:5060` is refused, with both things it could have meant when there are two."""
    if is_ip(text):
        host, _, port = text.rpartition(":")
        if is_ip(host) and port.isdecimal() and int(port) <= MAX_PORT:
            return AddressError(
                f"{text!r} is an IPv6 address without brackets, and it is unclear where the port begins: "
                f"write [{host}]:{port} for port {port}, or [{text}] for the whole address"
            )
        return AddressError(f"{text!r} is an IPv6 address without brackets: write [{text}] or [{text}]:port")
    return AddressError(
        f"more than one ':' outside brackets in {text[:80]!r}: IPv6 addresses are written [address]:port"
    )


def uri_host(host: str) -> str:
    """`host` as a URI, Via or log line shows it: IPv6 addresses in brackets, anything else unchanged."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address with a port; never a name."""

    host: str
    """Canonical text, no brackets, no zone."""
    port: int
    scope_id: int = 0
    """The interface of a link-local address as the kernel numbers it. Kept with the flow, never on the wire."""

    @property
    def family(self) -> Family:
        return Family.IP6 if ":" in self.host else Family.IP4

    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """What the socket calls take for this family."""
        if ":" in self.host:
            return (self.host, self.port, 0, self.scope_id)
        return (self.host, self.port)

    @classmethod
    def from_sockaddr(cls, sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> Address:
        """The address of a socket call's tuple. The zone in a host text goes; the scope number stays."""
        host = sockaddr[0]
        if len(sockaddr) == 2:
            return cls(host, sockaddr[1])
        return cls(parse_ip(host.partition("%")[0]), sockaddr[1], sockaddr[3])

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Address:
        """Read `192.0.2.1:port`, `192.0.2.1`, `[v6]:port` or `[v6]`; the forms without port need `default_port`.

        Raises AddressError, with the remedy for a bare IPv6 address.
        """
        host, port = split_host_port(text)
        if not is_ip(host):
            raise AddressError(f"{text!r} is a name, not an IP address")
        if port is None:
            port = default_port
        if port is None:
            raise AddressError(f"{text!r} has no port")
        return cls(host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HostPort:
    """What a URI or Via names: a host, which may be a name, and perhaps a port."""

    host: str
    """A lower-case name or a canonical address, no brackets."""
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Read `host` or `host:port`, IPv6 in brackets. Raises AddressError."""
        return cls(*split_host_port(text))

    def __str__(self) -> str:
        host = uri_host(self.host)
        return host if self.port is None else f"{host}:{self.port}"
