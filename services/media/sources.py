"""The local address that packets to somebody would leave from: what a session description must show."""

import socket
from collections.abc import Callable, Mapping
from typing import Final

from services.core.address import Family, is_unspecified, parse_ip

KEPT_S: Final = 10.0
"""How long the kernel's answer is believed; routes change seldom."""
MAX_KEPT: Final = 4096
_ANYWHERE: Final = {Family.IP4: "192.0.2.1", Family.IP6: "2001:db8::1"}
"""Documentation addresses: nothing is sent, only the route is asked for."""
_LOOPBACK: Final = {Family.IP4: "127.0.0.1", Family.IP6: "::1"}


class SourceAddresses:
    """Per family: where ports are bound, and which address is shown for them."""

    def __init__(
        self, bind: Mapping[Family, str], advertised: Mapping[Family, str], clock: Callable[[], float]
    ) -> None:
        """`bind` has an address or the wildcard for each family that is on; `advertised` overrides what is shown."""
        self._bind = bind
        self._advertised = advertised
        self._clock = clock
        self._kept: dict[tuple[Family, str | None], tuple[float, str]] = {}

    def bound(self, family: Family) -> str | None:
        """Where to bind; None when the family is off."""
        return self._bind.get(family)

    def shown(self, family: Family, toward: str | None) -> str:
        """The concrete address to show a peer at `toward` (an IP of `family`, or None when it is not known)."""
        advertised = self._advertised.get(family)
        if advertised is not None:
            return advertised
        bound = self._bind[family]
        if not is_unspecified(bound):
            return bound
        key = (family, toward)
        now = self._clock()
        known = self._kept.get(key)
        if known is None or known[0] < now:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            known = self._kept[key] = (now + KEPT_S, _kernel_choice(family, toward))
        return known[1]


def _kernel_choice(family: Family, toward: str | None) -> str:
    """Ask the kernel by connecting a UDP socket, which sends nothing."""
    for destination in (toward, _ANYWHERE[family]):
        if destination is None:
            continue
        with socket.socket(family.af, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((destination, 9))
            except OSError:  # no route there: the default route's address is the best guess
                continue
            source: str = probe.getsockname()[0]
            return parse_ip(source.partition("%")[0])
    return _LOOPBACK[family]
