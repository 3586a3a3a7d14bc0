"""Many sockets behind one reader of the loop."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from services.media.watch import BATCH, Watch


class Port:
    """A socket that counts what it was told to read."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(("127.0.0.1", 0))
        self.got: list[bytes] = []
        self.read = asyncio.Event()

    def take(self) -> None:
        self.got.append(self.socket.recv(100))
        self.read.set()

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.socket.getsockname())

    async def has_read(self) -> list[bytes]:
        await asyncio.wait_for(self.read.wait(), 2)
        self.read.clear()
        return self.got


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    watch = Watch(asyncio.get_running_loop())
    yield watch
    watch.close()


@pytest.fixture
async def ports() -> AsyncIterator[list[Port]]:
    made = [Port(), Port()]
    yield made
    for port in made:
        port.socket.close()


async def test_each_reader_hears_of_its_own_socket(watch: Watch, ports: list[Port]) -> None:
    for port in ports:
        watch.add(port.socket.fileno(), port.take)
    ports[1].send(b"two")
    assert await ports[1].has_read() == [b"two"]
    ports[0].send(b"one")
    assert await ports[0].has_read() == [b"one"]
    assert ports[1].got == [b"two"]


async def test_what_is_left_is_told_again(watch: Watch, ports: list[Port]) -> None:
    watch.add(ports[0].socket.fileno(), ports[0].take)
    ports[0].send(b"one")
    ports[0].send(b"two")
    while len(ports[0].got) < 2:
        await ports[0].has_read()
    assert ports[0].got == [b"one", b"two"]


async def test_another_reader_takes_the_place_of_the_first(watch: Watch, ports: list[Port]) -> None:
    watch.add(ports[0].socket.fileno(), ports[1].take)
    watch.add(ports[0].socket.fileno(), ports[0].take)
    ports[0].send(b"one")
    assert await ports[0].has_read() == [b"one"]


async def test_a_forgotten_socket_is_not_read_and_does_not_keep_the_loop_awake(watch: Watch, ports: list[Port]) -> None:
    watch.add(ports[0].socket.fileno(), ports[0].take)
    watch.add(ports[1].socket.fileno(), ports[1].take)
    watch.forget(ports[0].socket.fileno())
    ports[0].send(b"one")
    ports[1].send(b"two")
    await ports[1].has_read()
    assert ports[0].got == []
    assert not watch._epoll.poll(0)


async def test_a_reader_may_close_the_socket_of_another(watch: Watch, ports: list[Port]) -> None:
    first, second = ports

    def close_the_other(mine: Port, other: Port) -> None:
        mine.take()
        watch.forget(other.socket.fileno())
        other.socket.close()

    watch.add(first.socket.fileno(), lambda: close_the_other(first, second))
    watch.add(second.socket.fileno(), lambda: close_the_other(second, first))
    second.send(b"two")
    first.send(b"one")
    done, _ = await asyncio.wait(
        [asyncio.create_task(port.has_read()) for port in ports], return_when=asyncio.FIRST_COMPLETED
    )
    assert len(done) == 1


async def test_more_sockets_than_a_batch_are_all_served(watch: Watch) -> None:
    many = [Port() for _ in range(BATCH + 10)]
    for port in many:
        watch.add(port.socket.fileno(), port.take)
        port.send(b"x")
    for port in many:
        await port.has_read()
        port.socket.close()
