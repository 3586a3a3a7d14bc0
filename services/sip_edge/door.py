"""The guard at work: asked before a message is read, heard in the log. And whether new calls are taken at all."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable

from services.core.address import Address
from services.core.events.catalogue import CallEnded, Event
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response
from services.sip_edge.call.causes import UNALLOCATED
from services.sip_edge.call.state import CALLER, CallState
from services.sip_edge.guard import Ban, Drop, Guard
from services.sip_edge.overload import LagGate

log = logging.getLogger(__name__)


class Door:
    """What stands between the sockets and the edge."""

    def __init__(self, guard: Guard, unix_s: Callable[[], float], on_drop: Callable[[str], None]) -> None:
        """`on_drop` hears why a message was dropped."""
        self.guard = guard
        self._gate = LagGate(guard.settings.max_lag_s, guard.settings.lag_time_s)
        self._unix_s = unix_s
        self._on_drop = on_drop
        guard.on_ban = _say

    @property
    def closed(self) -> bool:
        """Whether new calls are refused because the process is late."""
        return self._gate.closed

    @property
    def banned_sources(self) -> int:
        return len(self.guard.bans(self._unix_s()))

    def note_lag(self, lag_s: float, now: float) -> None:
        """The loop was so late just now (a watcher of `LoopLag`)."""
        before = self._gate.closed
        self._gate.note(lag_s, now)
        if self._gate.closed and not before:
            log.warning("overloaded: new calls are refused", extra={"lag_ms": round(1000 * lag_s)})
        elif before and not self._gate.closed:
            log.info("new calls are taken again")

    def lets_in(self, flow: Flow) -> bool:
        """Whether the sender is listened to; asked once for each message, before it is read."""
        drop = self.guard.admit(flow.remote.host, self._unix_s())
        if drop is not None:
            self._on_drop(drop.value)
        return drop is None

    def lets_through(self, message: Request | Response, flow: Flow) -> bool:
        """Whether a message that was read gets further: a scanner's does not, and gets no answer."""
        if not isinstance(message, Request) or message.to_tag:
            return True
        if not self.guard.is_scanner(flow.remote.host, message.get("User-Agent"), self._unix_s()):
            return True
        self._on_drop(Drop.SCANNER.value)
        return False

    def malformed(self, flow: Flow) -> None:
        """A message could not be read."""
        self.guard.malformed(flow.remote.host, self._unix_s())

    def look_at_guests(self, state: CallState, events: tuple[Event, ...]) -> None:
        """Guests who call extensions that do not exist, one after the other, are looking for one that does."""
        for event in events:
            if isinstance(event, CallEnded) and event.cause == UNALLOCATED:
                caller = state.leg(CALLER)
                if not caller.phone:
                    host = Address.parse(caller.remote).host
                    self.guard.unknown(host, f"called {caller.local_uri}", self._unix_s())


def _say(ban: Ban) -> None:
    """One line for each ban, in words and fields that stay as they are: fail2ban and the like read them."""
    until = datetime.datetime.fromtimestamp(ban.until_s, datetime.UTC).isoformat(timespec="seconds")
    fields = {"address": ban.source, "reason": ban.reason.value, "until": until, "count": ban.count}
    log.warning("banned", extra=fields)
