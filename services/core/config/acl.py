"""`deny` and `permit`: who may use a phone's section, by source address."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from services.core.address import unmap
from services.core.config.table import BadValue

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class AclRule:
    """One `deny` or `permit` line."""

    allows: bool
    network: Network

    def covers(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether the rule says something about an address; never of the other family."""
        return address in self.network

    def __str__(self) -> str:
        return f"{'permit' if self.allows else 'deny'}={self.network}"


def permits(rules: Sequence[AclRule], ip_text: str) -> bool:
    """Whether an address may pass: the last rule that covers it decides, and no rule at all permits.

    An IPv4-mapped IPv6 address is only another spelling of the IPv4 address (a ban on that must hold).
    """
    if not rules:
        return True
    address = ipaddress.ip_address(unmap(ip_text))
    return next((rule.allows for rule in reversed(rules) if rule.covers(address)), True)


def network(text: str) -> Network:
    """`10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `2001:db8::/32`, or a single address; no brackets, no zone."""
    if "%" in text or "[" in text:
        raise BadValue(f"{text!r} is not a network", "write it without brackets and zone, as in 2001:db8::/32")
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadValue(f"{text!r} is not a network", "as in 10.0.0.0/8 or 2001:db8::/32") from None
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped and found.prefixlen >= 96:
        return ipaddress.IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    return found
