"""A network of our own: namespaces on one bridge, with IPv4 of 10/8 and global IPv6 of 2001:db8::/32 (RFC 3849).

    pbx   10.0.0.1  2001:db8::1
    dev1  10.0.0.2  2001:db8::2
    dev2            2001:db8::3     IPv6 only
    dev3  10.0.0.4                  IPv4 only
    dev4  10.0.0.5  2001:db8::5

The host pbx has a second address of each family, 10.0.0.100 and 2001:db8::100, that it never uses by itself.

Nothing outside is touched: the bridge is in a namespace too, and no host has a route out. Namespaces need root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.core.address import Family

SECOND_ADDRESS = {Family.IP4: "10.0.0.100", Family.IP6: "2001:db8::100"}
_PREFIX = "pbxtest"
_PLAN = (
    ("pbx", "10.0.0.1", "2001:db8::1"),
    ("dev1", "10.0.0.2", "2001:db8::2"),
    ("dev2", "", "2001:db8::3"),
    ("dev3", "10.0.0.4", ""),
    ("dev4", "10.0.0.5", "2001:db8::5"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A host of the network. Empty addresses: it hasn't that family."""

    name: str
    netns: str
    ip4: str
    ip6: str

    def inside(self, command: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.netns, *command]

    def address(self, family: Family) -> str:
        address = self.ip4 if family is Family.IP4 else self.ip6
        assert address, f"{self.name} has no {family.name}"
        return address


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The hosts on the bridge."""

    pbx: Namespace
    dev1: Namespace
    dev2: Namespace
    dev3: Namespace
    dev4: Namespace


@contextlib.contextmanager
def network_of_namespaces() -> Iterator[Network]:
    """Make the network, and remove it. Raises OSError where the machine doesn't let us."""
    _remove_abandoned()
    hosts = [
        Namespace(name=name, netns=f"{_PREFIX}-{os.getpid()}-{name}", ip4=ip4, ip6=ip6) for name, ip4, ip6 in _PLAN
    ]
    switch = f"{_PREFIX}-{os.getpid()}-switch"
    made: list[str] = []
    try:
        for netns in (switch, *(host.netns for host in hosts)):
            _ip(f"netns add {netns}")
            made.append(netns)
        _ip("link add br0 type bridge mcast_snooping 0", "link set br0 up", inside=switch)
        for number, host in enumerate(hosts):
            _plug_in(host, switch, f"port{number}")
        _ip(
            f"addr add {SECOND_ADDRESS[Family.IP4]}/24 dev eth0",
            # Deprecated (RFC 4862): no connection of its own starts from it.
            f"addr add {SECOND_ADDRESS[Family.IP6]}/64 dev eth0 nodad preferred_lft 0",
            inside=hosts[0].netns,
        )
        yield Network(**{host.name: host for host in hosts})
    finally:
        for netns in reversed(made):
            _ip(f"netns del {netns}")


def _plug_in(host: Namespace, switch: str, port: str) -> None:
    _ip(f"link add {port} type veth peer name eth0 netns {host.netns}", inside=switch)
    _ip(f"link set {port} master br0", f"link set {port} up", inside=switch)
    _ip(
        "link set lo up",
        *([f"addr add {host.ip4}/24 dev eth0"] if host.ip4 else []),
        # Duplicate address detection would keep the address unusable for a second.
        *([f"addr add {host.ip6}/64 dev eth0 nodad"] if host.ip6 else ["link set eth0 addrgenmode none"]),
        "link set eth0 up",
        inside=host.netns,
    )


def _ip(*lines: str, inside: str = "") -> None:
    """Commands of ip(8). Raises OSError with what it said."""
    command = ["ip", *(["-netns", inside] if inside else []), "-batch", "-"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {'; '.join(lines)}: {done.stderr.strip()}")


def _remove_abandoned() -> None:
    """Namespaces of a test run that was killed."""
    for path in Path("/run/netns").glob(f"{_PREFIX}-*-*"):
        if not Path("/proc", path.name.split("-")[1]).exists():
            _ip(f"netns del {path.name}")


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """The network for tests; where it can't be made they are skipped, and say why."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need the program ip (Debian: iproute2)")
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(network_of_namespaces())
        except OSError as error:
            pytest.skip(f"this machine lets us make no network namespaces: {error}")
        yield made
