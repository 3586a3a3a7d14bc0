"""Which sockets have something to read: one descriptor of the event loop for all media sockets of a worker.

A call has four sockets. Each as a reader of its own costs uvloop five `epoll_ctl` and a handle; here it costs one.
"""

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import Final

BATCH: Final = 256
"""Sockets served at a time; then the loop's other readers have their turn."""


class Watch:
    """Readers by descriptor. `close` it when every socket is forgotten."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def add(self, descriptor: int, reader: Callable[[], None]) -> None:
        """Call `reader` whenever there is something to read, or read with another reader from now on."""
        if descriptor not in self._readers:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = reader

    def forget(self, descriptor: int) -> None:
        """The socket is about to be closed, by which the kernel forgets it too."""
        self._readers.pop(descriptor, None)

    def close(self) -> None:
        """Stop; harmless when stopped."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        readers = self._readers
        for descriptor, _ in self._epoll.poll(0, BATCH):
            # A reader may have closed another one's socket meanwhile.
            reader = readers.get(descriptor)
            if reader is not None:
                reader()
            else:
                self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        """Forgotten and yet open: nobody would ever read it, and we would never sleep again."""
        with contextlib.suppress(OSError):
            self._epoll.unregister(descriptor)
