"""The fields of a session description that have a meaning here: origin, connection, direction, RTCP port.

An IPv6 address in SDP never wears brackets and never names a zone (RFC 8866 section 9, RFC 9844); a description that
does either, or whose address is not of the type it announces, is refused rather than repaired.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from services.core.address import Family, parse_ip
from services.core.sdp.errors import SdpError

MAX_VERSION = 2**64 - 1
"""The largest session id or version: RFC 8866 5.2 recommends NTP timestamps, which have 64 bits."""

_NULL_ADDRESSES = frozenset({"0.0.0.0", "::", "::ffff:0.0.0.0"})
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
_FAMILIES: Mapping[str, Family] = MappingProxyType({"IP4": Family.IP4, "IP6": Family.IP6})


def number(text: str, maximum: int, where: str) -> int:
    """A decimal number of ASCII digits up to `maximum`. Raises SdpError(400)."""
    if not text.isdigit() or not text.isascii() or len(text) > 20:
        raise SdpError(400, "not a number", where)
    value = int(text)
    if value > maximum:
        raise SdpError(400, "number out of range", where)
    return value


class Direction(enum.Enum):
    """Who sends, seen from the party whose description it is (RFC 8866 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Whether the party says it sends."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """Whether the party wants to receive."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def mirrored(self) -> Direction:
        """The widest answer to this offer (RFC 3264 6.1)."""
        return _MIRRORED[self]

    def within(self, limit: Direction) -> Direction:
        """What is left of this direction when nothing beyond `limit` may flow."""
        return direction_of(self.sends and limit.sends, self.receives and limit.receives)


_MIRRORED: Mapping[Direction, Direction] = MappingProxyType(
    {
        Direction.SENDRECV: Direction.SENDRECV,
        Direction.SENDONLY: Direction.RECVONLY,
        Direction.RECVONLY: Direction.SENDONLY,
        Direction.INACTIVE: Direction.INACTIVE,
    }
)
_DIRECTIONS: Mapping[tuple[bool, bool], Direction] = MappingProxyType(
    {
        (True, True): Direction.SENDRECV,
        (True, False): Direction.SENDONLY,
        (False, True): Direction.RECVONLY,
        (False, False): Direction.INACTIVE,
    }
)


def direction_of(sends: bool, receives: bool) -> Direction:
    """The direction that says so."""
    return _DIRECTIONS[sends, receives]


@dataclass(frozen=True, slots=True)
class Connection:
    """Where media is to be sent: the value of a `c=` line (RFC 8866 5.7)."""

    family: Family
    address: str
    """Canonical IP address without brackets, or a name in lower case."""
    suffix: str = ""
    """TTL and count of a multicast address, with their slashes."""

    @classmethod
    def parse(cls, value: str, where: str = "c=") -> Connection:
        """Read `IN IP6 2001:db8::1`. Raises SdpError(400) for bad form, SdpError(488) for an unacceptable address."""
        fields = value.split(" ") if "  " not in value else [field for field in value.split(" ") if field]
        if len(fields) > 3 and not fields[3]:
            del fields[3:]
        if len(fields) != 3:
            raise SdpError(400, "needs network type, address type and address", where)
        family = family_of_addrtype(fields[0], fields[1], where)
        address, slash, rest = fields[2].partition("/")
        connection = cls(family, read_host(address, family, where), slash + rest)
        if slash and (connection.is_name or not connection.is_multicast):
            raise SdpError(400, "only a multicast address has a suffix", where)
        return connection

    @property
    def is_name(self) -> bool:
        """Whether it is a domain name; nothing is ever sent to one."""
        return ":" not in self.address and not self.address.rpartition(".")[2].isdigit()

    @property
    def is_null(self) -> bool:
        """Whether nothing is to be sent there: `0.0.0.0`, `::`, a `.invalid` name (RFC 3264 8.4, RFC 6157 4.1)."""
        return self.address in _NULL_ADDRESSES or self.address.endswith(".invalid") or self.address == "invalid"

    @property
    def is_multicast(self) -> bool:
        """Whether it is a multicast group, to which a PBX never sends."""
        if self.family is Family.IP6:
            return self.address.startswith("ff") and ":" in self.address[:5]
        return not self.is_name and 224 <= int(self.address.partition(".")[0]) <= 239

    def __str__(self) -> str:
        return f"IN {self.family.sdp} {self.address}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The value of the `o=` line: who made the description, and its version (RFC 8866 5.2)."""

    username: str
    session_id: str
    version: int
    family: Family
    address: str

    @classmethod
    def parse(cls, value: str) -> Origin:
        """Read `- 1 1 IN IP4 192.0.2.1`. Raises SdpError.

        User names with spaces occur, against the grammar; they are kept.
        """
        fields = value.rstrip(" ").rsplit(" ", 5)
        if len(fields) != 6:
            raise SdpError(400, "needs six fields", "o=")
        username, session_id, version, nettype, addrtype, address = fields
        family = family_of_addrtype(nettype, addrtype, "o=")
        number(session_id, MAX_VERSION, "o=")
        return cls(
            username,
            session_id,
            number(version, MAX_VERSION, "o="),
            family,
            read_host(address, family, "o="),
        )

    def at(self, connection: Connection) -> Origin:
        """The same session and version, said from another address."""
        return replace(self, family=connection.family, address=connection.address)

    def bumped(self) -> Origin:
        """The next version of the same session; after the last one of 64 bits, the first."""
        return replace(self, version=self.version + 1 if self.version < MAX_VERSION else 1)

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} IN {self.family.sdp} {self.address}"


@dataclass(frozen=True, slots=True)
class Rtcp:
    """The value of `a=rtcp` (RFC 3605)."""

    port: int
    connection: Connection | None = None

    @classmethod
    def parse(cls, value: str) -> Rtcp:
        """Read `53020` or `53020 IN IP6 2001:db8::1`. Raises SdpError."""
        port, _, rest = value.strip(" ").partition(" ")
        return cls(number(port, 65535, "a=rtcp"), Connection.parse(rest, "a=rtcp") if rest else None)


def family_of_addrtype(nettype: str, addrtype: str, where: str) -> Family:
    """The family of `IN IP4` or `IN IP6`. Raises SdpError(488) for any other network."""
    family = _FAMILIES.get(addrtype) or _FAMILIES.get(addrtype.upper())
    if family is None or nettype.upper() != "IN":
        raise SdpError(488, "only IN IP4 and IN IP6 are known", where)
    return family


def read_host(text: str, family: Family, where: str) -> str:
    """The canonical address, or the name in lower case. Raises SdpError(488) for one that is not of `family`."""
    if not text:
        raise SdpError(400, "address missing", where)
    if ":" in text or text[0] == "[" or text.rpartition(".")[2].isdigit():
        return _read_ip(text, family, where)
    if len(text) > 255 or not _NAME_CHARACTERS.issuperset(text):
        raise SdpError(488, "neither an IP address nor a name", where)
    return text.lower()


def _read_ip(text: str, family: Family, where: str) -> str:
    if "[" in text or "]" in text:
        raise SdpError(488, "an IPv6 address has no brackets in SDP", where)
    if "%" in text:
        raise SdpError(488, "an address has no zone in SDP", where)
    if (":" in text) is not (family is Family.IP6):
        raise SdpError(488, "the address is not of the announced type", where)
    try:
        return parse_ip(text)
    except ValueError:
        raise SdpError(488, "not an IP address", where) from None
