"""Port pairs: neighbours, taken ones passed over, used ones resting."""

import random
import socket
from collections.abc import Iterator

import pytest

from services.core.address import Family
from services.media.ports import RAN_OUT, PortPair, PortPool, PortsError

from .support import LOOPBACK, ManualClock

REST_S = 10.0
FIRST, LAST = 41000, 41009
HOST = LOOPBACK[Family.IP4]


class Pool:
    """Five pairs on each loopback, and what was taken of them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ports = PortPool(FIRST, LAST, rest_s=REST_S, clock=self.clock, randomness=random.Random(1))
        self.taken: list[PortPair] = []

    def take(self, family: Family = Family.IP4) -> PortPair:
        pair = self.ports.take(family, LOOPBACK[family])
        self.taken.append(pair)
        return pair

    def release(self, pair: PortPair) -> None:
        self.taken.remove(pair)
        self.ports.release(pair)


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    for pair in list(made.taken):
        made.release(pair)


def test_a_pair_is_an_even_port_and_the_next(pool: Pool) -> None:
    for _ in range(5):
        pair = pool.take()
        assert pair.port % 2 == 0
        assert FIRST <= pair.port < LAST
        assert pair.rtp.getsockname() == (HOST, pair.port)
        assert pair.rtcp.getsockname() == (HOST, pair.port + 1)


def test_when_all_are_in_use_it_says_so_in_the_words_of_the_protocol(pool: Pool) -> None:
    for _ in range(5):
        pool.take()
    with pytest.raises(PortsError, match=f"^{RAN_OUT}$"):
        pool.take()
    assert pool.ports.in_use == 5


def test_the_families_have_their_ports_each(pool: Pool) -> None:
    fours = {pool.take(Family.IP4).port for _ in range(5)}
    sixes = {pool.take(Family.IP6).port for _ in range(5)}
    assert fours == sixes == set(range(FIRST, LAST, 2))


def test_an_ipv6_port_takes_no_ipv4(pool: Pool) -> None:
    pair = pool.ports.take(Family.IP6, "::")
    try:
        assert pair.rtp.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert not pair.rtp.getblocking()
    finally:
        pool.ports.release(pair)


def test_a_used_pair_rests_before_it_is_used_again(pool: Pool) -> None:
    pairs = [pool.take() for _ in range(5)]
    port = pairs[2].port
    pool.release(pairs[2])
    pool.clock.now += REST_S - 0.1
    with pytest.raises(PortsError):
        pool.take()
    pool.clock.now += 0.1
    assert pool.take().port == port


def test_a_released_pair_is_closed_at_once(pool: Pool) -> None:
    pair = pool.take()
    pool.release(pair)
    assert pair.rtp.fileno() == pair.rtcp.fileno() == -1


@pytest.mark.parametrize("offset", [0, 1])
def test_ports_that_others_hold_are_passed_over(pool: Pool, offset: int) -> None:
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held.bind((HOST, 41004 + offset))
    try:
        assert {pool.take().port for _ in range(4)} == {41000, 41002, 41006, 41008}
        with pytest.raises(PortsError, match=RAN_OUT):
            pool.take()
    finally:
        held.close()
    pool.clock.now += REST_S
    assert pool.take().port == 41004


def test_an_address_that_is_not_ours_is_named() -> None:
    pool = Pool()
    with pytest.raises(PortsError, match=r"Cannot bind media address 192\.0\.2\.1"):
        pool.ports.take(Family.IP4, "192.0.2.1")
    assert pool.ports.in_use == 0


def test_the_first_pair_is_a_matter_of_chance() -> None:
    firsts = set()
    for seed in range(8):
        ports = PortPool(FIRST, LAST, rest_s=0, clock=ManualClock(), randomness=random.Random(seed))
        pair = ports.take(Family.IP4, HOST)
        firsts.add(pair.port)
        ports.release(pair)
    assert len(firsts) > 1


@pytest.mark.parametrize(("low", "high", "pairs"), [(41001, 41004, 1), (41000, 41002, 1), (41000, 41003, 2)])
def test_a_range_has_whole_pairs_only(low: int, high: int, pairs: int) -> None:
    ports = PortPool(low, high, rest_s=0, clock=ManualClock(), randomness=random.Random(1))
    taken = [ports.take(Family.IP4, HOST) for _ in range(pairs)]
    try:
        assert all(low <= pair.port and pair.port + 1 <= high for pair in taken)
        with pytest.raises(PortsError):
            ports.take(Family.IP4, HOST)
    finally:
        for pair in taken:
            ports.release(pair)


def test_a_range_without_a_pair_is_refused() -> None:
    with pytest.raises(PortsError):
        PortPool(41001, 41002, rest_s=0, clock=ManualClock(), randomness=random.Random(1))
