"""Local RTP ports: pairs of an even RTP port and the odd RTCP port above it (RFC 3550 section 11).

A pair that was in use rests before it is used again, so that no late packet reaches a new call. Ports that
somebody else holds are passed over and tried again after the same rest. Which pair comes first is random, as
neighbouring calls on guessable ports invite injection.
"""

import errno
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from services.core.address import Family
from services.core.kernel import receive_drops

RAN_OUT: Final = "Ran out of ports"
"""A part of the ng protocol: this very text moves a client to the next worker."""


class PortsError(Exception):
    """No port pair could be had; the text is fit for an ng `error-reason`."""


class PortPair:
    """Two bound, non-blocking UDP sockets on neighbouring ports of one local address."""

    __slots__ = ("family", "host", "port", "rtcp", "rtp")

    def __init__(self, family: Family, host: str, port: int, rtp: socket.socket, rtcp: socket.socket) -> None:
        self.family = family
        self.host = host
        """The address bound to, which may be a wildcard."""
        self.port = port
        """The RTP port; RTCP is the next one."""
        self.rtp = rtp
        self.rtcp = rtcp

    @property
    def drops(self) -> int:
        """RTP datagrams that came and that nobody will read. A system call, for which RTCP is too rare."""
        return receive_drops(self.rtp)


class PortPool:
    """The pairs of `port_min` .. `port_max` on every local address that is asked for."""

    def __init__(
        self,
        port_min: int,
        port_max: int,
        *,
        rest_s: float,
        clock: Callable[[], float],
        randomness: random.Random,
    ) -> None:
        self._first = port_min + port_min % 2
        self._count = (port_max + 1 - self._first) // 2
        if self._count < 1:
            raise PortsError(f"no even port with its neighbour between {port_min} and {port_max}")
        self._rest_s = rest_s
        self._clock = clock
        self._randomness = randomness
        self._hosts: dict[str, _HostPorts] = {}
        self.in_use = 0
        """Pairs handed out and not released, of all hosts."""

    def take(self, family: Family, host: str) -> PortPair:
        """Bind a free pair on `host`, an address or the wildcard of `family`.

        Raises PortsError with `RAN_OUT` when all are in use, resting or held by others (or the process
        may open no more sockets), and with another text when `host` cannot be bound at all.
        """
        ports = self._hosts.get(host)
        if ports is None:
            ports = self._hosts[host] = _HostPorts(self._first, self._count, self._randomness)
        now = self._clock()
        while True:
            port = ports.next_free(now)
            try:
                pair = _bind_pair(family, host, port)
            except OSError as error:
                ports.rest(port, now + self._rest_s)
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    continue
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise PortsError(RAN_OUT) from error
                raise PortsError(f"Cannot bind media address {host}: {error.strerror}") from error
            self.in_use += 1
            return pair

    def release(self, pair: PortPair) -> None:
        """Close the pair's sockets at once, and let its ports rest."""
        pair.rtp.close()
        pair.rtcp.close()
        self.in_use -= 1
        self._hosts[pair.host].rest(pair.port, self._clock() + self._rest_s)


class _HostPorts:
    """Free and resting even ports of one local address. Every operation is O(1): the rest is one length for all."""

    __slots__ = ("_free", "_resting")

    def __init__(self, first: int, count: int, randomness: random.Random) -> None:
        self._free = deque(range(first, first + 2 * count, 2))
        self._free.rotate(randomness.randrange(count))
        self._resting: deque[tuple[float, int]] = deque()

    def next_free(self, now: float) -> int:
        resting = self._resting
        while resting and resting[0][0] <= now:
            self._free.append(resting.popleft()[1])
        if not self._free:
            raise PortsError(RAN_OUT)
        return self._free.popleft()

    def rest(self, port: int, until: float) -> None:
        self._resting.append((until, port))


def _bind_pair(family: Family, host: str, port: int) -> PortPair:
    rtp = _bound(family, host, port)
    try:
        return PortPair(family, host, port, rtp, _bound(family, host, port + 1))
    except OSError:
        rtp.close()
        raise


def _bound(family: Family, host: str, port: int) -> socket.socket:
    bound = socket.socket(family.af, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family is Family.IP6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
