"""The edge's side of ng over UDP: retransmissions, several workers, notices.

A request is sent up to four times within two seconds under one cookie; the worker executes it once. When nobody
answers, the worker gets no new calls for a while and an offer of a new call goes to the next one. A call that has a
worker stays with it: when that one is silent its state is lost, and `MediaUnreachable` says so.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import cast

from services.core.address import Address
from services.media.api import MediaUnreachable
from services.media.ng.errors import NgError
from services.media.ng.message import Encoding, Envelope, Message
from services.media.ng.notices import NoticeReceiver
from services.media.ng.pool import UNREACHABLE_S, WorkerPool
from services.media.ng.replies import OK, is_try_another, is_unknown_call

RETRY_WAITS_S = (0.25, 0.5, 1.0, 0.25)
"""How long each copy of a request waits for the reply: four copies, given up after two seconds."""
RECEIVE_BUFFER_BYTES = 1 << 20

_REFUSALS_THAT_COUNT = 2
"""ICMP refusals after which waiting is in vain. The first may be about a packet from before the worker started."""


class NgClient:
    """ng over UDP to one or several workers.

    `on_notify` gets every new `notify` dictionary, in order and once; it is acknowledged when `on_notify` returned.
    Use `command` as the transport of `services.media.api.NgMedia`, and its `notified` as `on_notify`.
    """

    def __init__(
        self,
        workers: Sequence[Address],
        *,
        on_notify: Callable[[Message], None] | None = None,
        retry_waits_s: Sequence[float] = RETRY_WAITS_S,
        unreachable_s: float = UNREACHABLE_S,
        encoding: Encoding = Encoding.BENCODE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened yet. `retry_waits_s` has one entry for each copy sent."""
        self.on_notify = on_notify
        self.pool = WorkerPool(workers, unreachable_s)
        self.retransmissions = 0
        """Copies of requests sent again."""
        self.strays = 0
        """Datagrams that were no reply to anything, and no notice."""
        self._waits = tuple(retry_waits_s)
        self._encoding = encoding
        self._clock = clock
        self._channels: list[_Channel | None] = [None] * len(self.pool.workers)
        self._prefix = secrets.token_hex(6)
        self._count = 0
        self._receiver = NoticeReceiver()

    async def command(self, message: Message) -> Message:
        """The reply to a message, whatever its `result`. Raises MediaUnreachable, and NgError for unsendable values.

        An offer of an unknown call is moved on from workers that are silent or full; when all are full, the last
        refusal is the reply. Other messages of an unknown call are tried until a worker knows it.
        """
        call_id = message.get("call-id")
        if not isinstance(call_id, str):
            return await self._first_answer(message, self.pool.order("", self._clock()))
        worker = self.pool.worker_of(call_id)
        if worker is None:
            reply = await self._placed(message, call_id)
        else:
            try:
                reply = await self._ask(worker, message)
            except MediaUnreachable:
                self.pool.release(call_id)
                raise
        if message.get("command") == "delete" and not message.get("to-tag") and reply.get("result") == OK:
            self.pool.release(call_id)
        return reply

    def worker_of(self, call_id: str) -> Address | None:
        """The worker that has the call, for an edge that must know it after a restart; None when there is none yet."""
        worker = self.pool.worker_of(call_id)
        return None if worker is None else self.pool.workers[worker]

    def pin(self, call_id: str, worker: Address) -> None:
        """The call is at this worker, says the call's state. Raises ValueError when it is none of our workers."""
        self.pool.pin(call_id, self.pool.workers.index(worker))

    async def ping(self, worker: int) -> float:
        """Seconds a worker took to answer `ping`. Raises MediaUnreachable."""
        started = self._clock()
        await self._ask(worker, {"command": "ping"})
        return self._clock() - started

    async def close(self) -> None:
        """Close the sockets; whoever still waits gets MediaUnreachable."""
        for channel in self._channels:
            if channel is not None:
                channel.close()
        self._channels = [None] * len(self._channels)

    # --- choosing ----------------------------------------------------------------------------------------------------

    async def _placed(self, message: Message, call_id: str) -> Message:
        """Find a worker for an offer, or the one that knows the call for anything else."""
        offering = message.get("command") == "offer"
        reply: Message | None = None
        for worker in self.pool.order(call_id, self._clock()):
            if reply is not None and self.pool.is_away(worker, self._clock()):
                break  # somebody answered, if only "full": the silent ones are not worth two seconds
            try:
                reply = await self._ask(worker, message)
            except MediaUnreachable:
                continue
            if is_try_another(reply) if offering else is_unknown_call(reply):
                continue
            if reply.get("result") == OK:
                self.pool.pin(call_id, worker)
            return reply
        if reply is None:
            raise MediaUnreachable("no media worker answers")
        return reply

    async def _first_answer(self, message: Message, order: Sequence[int]) -> Message:
        for worker in order:
            try:
                return await self._ask(worker, message)
            except MediaUnreachable:
                continue
        raise MediaUnreachable("no media worker answers")

    # --- one request -------------------------------------------------------------------------------------------------

    async def _ask(self, worker: int, message: Message) -> Message:
        channel = self._channels[worker] or await self._open(worker)
        self._count += 1
        cookie = f"{self._prefix}_{self._count}".encode()
        datagram = Envelope(cookie, message, self._encoding).encode()
        request = _Request(self, channel, cookie, datagram)
        try:
            reply = await request.reply
        except MediaUnreachable:
            self.pool.silent(worker, self._clock())
            raise MediaUnreachable(f"media worker {self.pool.workers[worker]} does not answer") from None
        finally:
            request.end()
        self.pool.answered(worker)
        return reply

    async def _open(self, worker: int) -> _Channel:
        address = self.pool.workers[worker]
        channel = _Channel(self)
        try:
            sock = socket.socket(address.family.af, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
                sock.connect(address.sockaddr())
                await asyncio.get_running_loop().create_datagram_endpoint(lambda: channel, sock=sock)
            except OSError:
                sock.close()
                raise
        except OSError as error:
            self.pool.silent(worker, self._clock())
            raise MediaUnreachable(f"media worker {address}: {error.strerror}") from error
        existing = self._channels[worker]
        if existing is not None:  # another request opened it meanwhile
            channel.close()
            return existing
        self._channels[worker] = channel
        return channel

    def _notified(self, channel: _Channel, envelope: Envelope) -> None:
        if self._receiver.is_new(envelope.message):
            if self.on_notify is not None:
                self.on_notify(envelope.message)
            self._receiver.seen(envelope.message)
        channel.send(Envelope(envelope.cookie, {"result": OK}, envelope.encoding).encode())


class _Request:
    """One request that waits for its reply; retransmits by one timer handle, without a task of its own."""

    __slots__ = ("_attempt", "_channel", "_client", "_cookie", "_datagram", "_refusals", "_timer", "reply")

    def __init__(self, client: NgClient, channel: _Channel, cookie: bytes, datagram: bytes) -> None:
        self.reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._client = client
        self._channel = channel
        self._cookie = cookie
        self._datagram = datagram
        self._attempt = 0
        self._refusals = 0
        channel.requests[cookie] = self
        self._timer = self._send()

    def _send(self) -> asyncio.TimerHandle:
        self._channel.send(self._datagram)
        return asyncio.get_running_loop().call_later(self._client._waits[self._attempt], self._waited)

    def _waited(self) -> None:
        self._attempt += 1
        if self._attempt >= len(self._client._waits) or self._refusals >= _REFUSALS_THAT_COUNT:
            self.fail()
        else:
            self._client.retransmissions += 1
            self._timer = self._send()

    def refused(self) -> None:
        """The worker's host says that nobody listens there."""
        self._refusals += 1

    def answered(self, message: Message) -> None:
        """The reply came."""
        if not self.reply.done():
            self.reply.set_result(message)

    def fail(self) -> None:
        """Nothing will come any more."""
        if not self.reply.done():
            self.reply.set_exception(MediaUnreachable())

    def end(self) -> None:
        """Stop waiting, whatever happened."""
        self._timer.cancel()
        self._channel.requests.pop(self._cookie, None)


class _Channel(asyncio.DatagramProtocol):
    """The connected socket to one worker."""

    def __init__(self, client: NgClient) -> None:
        self.requests: dict[bytes, _Request] = {}
        self._client = client
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # the selector loop's transport is no DatagramTransport by inheritance, uvloop's is
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            envelope = Envelope.decode(data)
        except NgError:
            self._client.strays += 1
            return
        request = self.requests.get(envelope.cookie)
        if request is not None and "result" in envelope.message:
            request.answered(envelope.message)
        elif envelope.message.get("command") == "notify":
            self._client._notified(self, envelope)
        else:
            self._client.strays += 1

    def error_received(self, exc: Exception) -> None:
        for request in self.requests.values():
            request.refused()

    def send(self, data: bytes) -> None:
        """Hand a datagram to the kernel; losses are the retransmission's business."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data)

    def close(self) -> None:
        """Close the socket and fail what waits."""
        if self._transport is not None:
            self._transport.close()
        for request in list(self.requests.values()):
            request.fail()
