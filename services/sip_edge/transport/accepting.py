"""Taking connections over TLS: accept, handshake, and only then a connection.

asyncio's own server says nothing of handshakes that fail, and does not count those under way. Here each has its bound
in time, all together count against the listener's connections, and a failure costs a counter.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from services.sip_edge.transport.limits import CLOSING_GRACE_S

if TYPE_CHECKING:
    from services.sip_edge.transport.streams import Streams

_BREATHER_S = 1.0
"""How long nothing is accepted after the kernel refused, for want of descriptors."""


class SecureListener:
    """One listening socket for TLS. Owns it from construction to `close`."""

    def __init__(self, streams: Streams, sock: socket.socket, listener: int, kind: str) -> None:
        self._streams = streams
        self._sock = sock
        self._listener = listener
        self._kind = kind
        self._handshakes: set[asyncio.Task[None]] = set()
        self._breather: asyncio.TimerHandle | None = None
        streams.loop.add_reader(sock.fileno(), self._accept)

    async def close(self) -> None:
        """Stop listening and give up the handshakes under way."""
        if self._breather is not None:
            self._breather.cancel()
        self._streams.loop.remove_reader(self._sock.fileno())
        self._sock.close()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _accept(self) -> None:
        """Take what has arrived, a batch at most: the rest wakes us again after the others had their turn."""
        streams = self._streams
        for _ in range(streams.limits.receive_batch):
            try:
                sock, _peer = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                self._breathe()
                return
            if streams.is_full(self._listener, len(self._handshakes)):
                streams.stats[f"{self._kind}_refused"] += 1
                sock.close()
                continue
            sock.setblocking(False)
            task = streams.loop.create_task(self._handshake(sock))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _breathe(self) -> None:
        """The peers in the queue stay there; accepting at once again would only turn the loop."""
        self._streams.loop.remove_reader(self._sock.fileno())
        self._breather = self._streams.loop.call_later(_BREATHER_S, self._resume)

    def _resume(self) -> None:
        self._streams.loop.add_reader(self._sock.fileno(), self._accept)

    async def _handshake(self, sock: socket.socket) -> None:
        streams = self._streams
        context = streams.tls.server
        if context is None:
            # We have no certificate: the port is ours only so that a connection we open has somewhere to come from.
            sock.close()
            streams.stats[f"{self._kind}_refused"] += 1
            return
        try:
            await streams.loop.connect_accepted_socket(
                lambda: streams.new(self._listener, self._kind),
                sock,
                ssl=context,
                ssl_handshake_timeout=streams.limits.handshake_s,
                ssl_shutdown_timeout=CLOSING_GRACE_S,
            )
        except OSError:
            # ssl.SSLError and the handshake's timeout are of that kind.
            streams.stats[f"{self._kind}_handshake_failed"] += 1
