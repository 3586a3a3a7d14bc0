"""Notices from a worker to an edge: in order, at least once on the wire, once at the edge. Pure; `now` is passed in.

The sender sends one notice of a call at a time and the next when it is acknowledged, so that digits keep their order;
calls do not wait for each other. The receiver drops what it has seen, by worker instance, call and number.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar

from services.media.ng.message import Envelope, Message

RETRY_WAITS_S = (0.25, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0)
"""How long each copy of a notice waits for its acknowledgement; after the last, the notice is given up."""
MAX_QUEUED = 256
"""Notices waiting in one call; more are dropped, newest first (a flood of digits)."""
MAX_CALLS = 65536
"""Calls whose last number the receiver remembers, and whose edge the sender does."""

Peer = TypeVar("Peer")


@dataclass(slots=True)
class _Call(Generic[Peer]):
    peer: Peer
    queue: deque[Message] = field(default_factory=deque)
    cookie: bytes = b""
    """Of the notice in flight; empty when there is none."""
    datagram: bytes = b""
    attempt: int = 0
    ended: bool = False


class NoticeSender(Generic[Peer]):
    """Notices of many calls, each toward the peer that asked for them."""

    def __init__(self, instance: str) -> None:
        """`instance` tells this run of the worker from others; numbers start again in every run."""
        self._instance = instance
        self._calls: OrderedDict[str, _Call[Peer]] = OrderedDict()
        self._in_flight: dict[bytes, str] = {}
        self._timers: list[tuple[float, bytes]] = []
        self._count = 0
        self.given_up = 0
        """Notices dropped: not acknowledged in time, queued too many, or nobody asked for them."""

    def subscribe(self, call_id: str, peer: Peer) -> None:
        """From now on the notices of a call go to `peer`."""
        call = self._calls.get(call_id)
        if call is not None:
            call.peer = peer
            call.ended = False
            self._calls.move_to_end(call_id)
            return
        self._calls[call_id] = _Call(peer)
        if len(self._calls) > MAX_CALLS:
            self._forget(next(iter(self._calls)))

    def call_ended(self, call_id: str) -> None:
        """Forget a call once its last notice is through."""
        call = self._calls.get(call_id)
        if call is None:
            return
        call.ended = True
        if not call.cookie:
            self._forget(call_id)

    def send(self, call_id: str, message: Message, now: float) -> list[tuple[bytes, Peer]]:
        """Take a notice; the datagrams to send now."""
        call = self._calls.get(call_id)
        if call is None or len(call.queue) >= MAX_QUEUED:
            self.given_up += 1
            return []
        call.queue.append({**message, "instance": self._instance})
        return [] if call.cookie else self._next(call_id, call, now)

    def acknowledged(self, cookie: bytes, now: float) -> list[tuple[bytes, Peer]]:
        """An acknowledgement came; the datagrams to send now. Unknown cookies are ignored."""
        call_id = self._in_flight.pop(cookie, None)
        call = self._calls.get(call_id) if call_id is not None else None
        if call_id is None or call is None:
            return []
        return self._next(call_id, call, now)

    def next_timer(self) -> float | None:
        """When `handle_timers` wants to be called."""
        while self._timers and self._timers[0][1] not in self._in_flight:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def handle_timers(self, now: float) -> list[tuple[bytes, Peer]]:
        """Send again what is due at `now`, or give it up."""
        out: list[tuple[bytes, Peer]] = []
        while (due := self.next_timer()) is not None and due <= now:
            cookie = heappop(self._timers)[1]
            call_id = self._in_flight[cookie]
            call = self._calls[call_id]
            call.attempt += 1
            if call.attempt < len(RETRY_WAITS_S):
                heappush(self._timers, (now + RETRY_WAITS_S[call.attempt], cookie))
                out.append((call.datagram, call.peer))
            else:
                self.given_up += 1
                del self._in_flight[cookie]
                out += self._next(call_id, call, now)
        return out

    def _next(self, call_id: str, call: _Call[Peer], now: float) -> list[tuple[bytes, Peer]]:
        call.cookie = call.datagram = b""
        if not call.queue:
            if call.ended:
                self._forget(call_id)
            return []
        self._count += 1
        call.cookie = f"{self._instance}_{self._count}".encode()
        call.datagram = Envelope(call.cookie, call.queue.popleft()).encode()
        call.attempt = 0
        self._in_flight[call.cookie] = call_id
        heappush(self._timers, (now + RETRY_WAITS_S[0], call.cookie))
        return [(call.datagram, call.peer)]

    def _forget(self, call_id: str) -> None:
        call = self._calls.pop(call_id)
        self.given_up += len(call.queue) + bool(call.cookie)
        self._in_flight.pop(call.cookie, None)


class NoticeReceiver:
    """Tells new notices from copies."""

    def __init__(self, limit: int = MAX_CALLS) -> None:
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._limit = limit

    def is_new(self, message: Mapping[str, Any]) -> bool:
        """Whether a notice was not seen before. It may be asked again until `seen`."""
        key, seq = _identity(message)
        return seq > self._last.get(key, 0)

    def seen(self, message: Mapping[str, Any]) -> None:
        """The notice was delivered; copies of it are no longer new."""
        key, seq = _identity(message)
        self._last[key] = seq
        self._last.move_to_end(key)
        if len(self._last) > self._limit:
            self._last.popitem(last=False)


def _identity(message: Mapping[str, Any]) -> tuple[tuple[str, str], int]:
    seq = message.get("seq")
    return (str(message.get("instance")), str(message.get("call-id"))), seq if isinstance(seq, int) else 0
