"""Who is not listened to: rates and bans, by the source of a message. Pure: every question brings its time.

    datagram ─► admit ─► parser ─► is_scanner ─► transactions ─► admission ─► succeeded | failed | unknown
                  │          └► malformed                             └► may_try (how often a user name is guessed)
                  └► dropped: banned, or more than the rate

A source is an IPv4 address, or the /64 of an IPv6 address, for whoever has one address of a /64 has them all; an
IPv4-mapped address is the IPv4 address. A link-local address stands for itself.

Datagrams can be forged, so a ban can be aimed at somebody. Three things keep that small: who has shown a right password
lately (`TRUST_S`) is banned only for ten times as much; bans end by themselves; and networks that must never be banned
can be named.

Memory is bounded: each table has a size, and what was entered first goes first. Times are Unix seconds.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from services.core.address import is_link_local, unmap
from services.core.config.guard import GuardSettings

MAX_SOURCES = 20_000
"""About 250 bytes each."""
MAX_BANS = 10_000
MAX_USERS = 20_000
TRUST_S = 7200.0
"""How long a right password speaks for its source: longer than a registration lasts."""
TRUST_FACTOR = 10
CREDIT = 50
"""Messages that a right password earns: more than a call has."""
FORGET_S = 86_400.0
"""How long after its end a ban makes the next one longer."""
_USER_LENGTH = 64
"""User names are told apart by so many characters: peers make them up."""
_SPARED = 8
"""How many trusted sources are passed over when room is needed."""
_KEPT_KEYS = 8192


class Drop(enum.Enum):
    """Why a message is dropped; the value is the label of `pbx_sip_rejected_total`."""

    BANNED = "banned"
    RATE = "rate"
    SCANNER = "scanner"


class Reason(enum.Enum):
    """Why a source is banned; the value is what the log says."""

    SCANNER = "scanner"
    FAILURES = "failures"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Ban:
    """One source that is not listened to."""

    source: str
    """An address, or an IPv6 network of /64."""
    reason: Reason
    since_s: float
    until_s: float
    count: int
    """Its how manieth ban in a row."""


class _Source:
    """What is known of one source."""

    __slots__ = ("at", "ban_until", "counted_since", "counts", "exempt", "strangers", "tokens", "trusted_until")

    def __init__(self, exempt: bool, tokens: float, now: float, ban_until: float) -> None:
        self.exempt = exempt
        self.tokens = tokens
        self.at = now
        """When the tokens were last counted."""
        self.ban_until = ban_until
        self.trusted_until = 0.0
        self.counted_since = now
        self.counts: dict[Reason, int] | None = None
        self.strangers: set[int] | None = None
        """Hashes of names it asked for and that nobody has; no more than lead to a ban."""


class _User:
    """How often a user name was guessed wrong."""

    __slots__ = ("at", "home", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.at = now
        self.home = ""
        """Source of the last right password."""


class Guard:
    """The rates and bans of one edge. `on_ban` hears of each ban once, when it begins."""

    def __init__(
        self,
        settings: GuardSettings,
        on_ban: Callable[[Ban], None] | None = None,
        *,
        max_sources: int = MAX_SOURCES,
        max_bans: int = MAX_BANS,
        max_users: int = MAX_USERS,
    ) -> None:
        self.settings = settings
        self.on_ban = on_ban
        self._max_sources = max_sources
        self._max_bans = max_bans
        self._max_users = max_users
        self._rate = float(settings.rate)
        self._burst = float(settings.burst)
        self._limits = {
            Reason.SCANNER: settings.max_scans,
            Reason.FAILURES: settings.max_failures,
            Reason.UNKNOWN: settings.max_unknown,
            Reason.MALFORMED: settings.max_malformed,
        }
        self._scanner = re.compile("|".join(map(re.escape, settings.scanners)), re.IGNORECASE)
        self._keys: dict[str, str] = {}
        self._sources: dict[str, _Source] = {}
        self._bans: dict[str, Ban] = {}
        """By source, the latest ban last; those that are over stay, for the length of the next one."""
        self._users: dict[str, _User] = {}

    # --- messages ----------------------------------------------------------------------------------------------------

    def admit(self, host: str, now: float) -> Drop | None:
        """Charge a source for one message, before it is read; None when it may be."""
        source = self._source(host, now)
        if source.exempt:
            return None
        if source.ban_until > now:
            return Drop.BANNED
        if not self._rate:
            return None
        tokens = _refilled(source.tokens, source.at, now, self._rate, self._burst)
        source.at = now
        if tokens < 1.0:
            source.tokens = tokens
            return Drop.RATE
        source.tokens = tokens - 1.0
        return None

    def is_scanner(self, host: str, user_agent: str | None, now: float) -> bool:
        """Whether a request outside of dialogs comes from a scanner by its own word: no answer then."""
        if not user_agent or self._scanner.search(user_agent) is None:
            return False
        source = self._source(host, now)
        if source.exempt:
            return False
        self._count(host, source, Reason.SCANNER, now)
        return True

    def malformed(self, host: str, now: float) -> None:
        """A message of a source could not be read."""
        source = self._source(host, now)
        if not source.exempt:
            self._count(host, source, Reason.MALFORMED, now)

    # --- passwords ---------------------------------------------------------------------------------------------------

    def may_try(self, host: str, name: str, now: float) -> bool:
        """Whether a password for this user is looked at. If not it must fail like a wrong one, at the same cost."""
        rate = self.settings.user_rate
        user = self._users.get(name[:_USER_LENGTH])
        if user is None or not rate or self._source(host, now).exempt:
            return True
        if user.home and user.home == self._key(host):
            return True
        return _refilled(user.tokens, user.at, now, rate / 60, float(rate)) >= 1.0

    def succeeded(self, host: str, name: str, now: float) -> None:
        """A right password, or an address that stands for one."""
        source = self._source(host, now)
        if source.exempt:
            return
        source.trusted_until = now + TRUST_S
        source.tokens = min(source.tokens + CREDIT, self._burst)
        self._user(name, now).home = self._key(host)

    def failed(self, host: str, name: str, now: float) -> None:
        """A wrong password, or one for a user that does not exist: nothing here tells the two apart."""
        source = self._source(host, now)
        if source.exempt:
            return
        user, rate = self._user(name, now), float(self.settings.user_rate)
        user.tokens = max(_refilled(user.tokens, user.at, now, rate / 60, rate) - 1.0, 0.0)
        user.at = now
        self._count(host, source, Reason.FAILURES, now)

    def unknown(self, host: str, name: str, now: float) -> None:
        """A source asked for somebody who does not exist. The same name again counts once."""
        source = self._source(host, now)
        if source.exempt or not self.settings.max_unknown or source.ban_until > now:
            return
        self._begin_count(source, now)
        if source.strangers is None:
            source.strangers = set()
        asked = hash(name)
        if asked not in source.strangers:
            # Never more than the limit: the name that reaches it leads to a ban, which empties the set.
            source.strangers.add(asked)
            self._count(host, source, Reason.UNKNOWN, now)

    # --- bans --------------------------------------------------------------------------------------------------------

    def bans(self, now: float) -> list[Ban]:
        """Those that hold, the oldest first."""
        return [ban for ban in self._bans.values() if ban.until_s > now]

    def lift(self, source: str, now: float) -> bool:
        """End a ban, and forget that it ever was; False when there is none. `source` is as in `Ban`, or an address."""
        key = source if "/" in source else self._key(source)
        ban = self._bans.pop(key, None)
        if (known := self._sources.get(key)) is not None:
            known.ban_until = 0.0
            self._forgive(known, now)
        return ban is not None and ban.until_s > now

    def _count(self, host: str, source: _Source, reason: Reason, now: float) -> None:
        limit = self._limits[reason]
        if not limit or source.ban_until > now:
            return
        self._begin_count(source, now)
        if source.counts is None:
            source.counts = {}
        count = source.counts[reason] = source.counts.get(reason, 0) + 1
        if count > (limit * TRUST_FACTOR if source.trusted_until > now else limit):
            self._ban(self._key(host), source, reason, now)

    def _begin_count(self, source: _Source, now: float) -> None:
        if now - source.counted_since > self.settings.find_time_s:
            self._forgive(source, now)

    def _forgive(self, source: _Source, now: float) -> None:
        source.counted_since = now
        source.counts = source.strangers = None

    def _ban(self, key: str, source: _Source, reason: Reason, now: float) -> None:
        before = self._bans.get(key)
        count = before.count + 1 if before is not None and now - before.until_s < FORGET_S else 1
        # The exponent is bounded, or a patient attacker would make us multiply numbers of any length.
        length_s = min(self.settings.ban_s * 2 ** min(count - 1, 32), self.settings.max_ban_s)
        ban = Ban(key, reason, now, now + length_s, count)
        self._forgive(source, now)
        source.ban_until = ban.until_s
        self._keep(ban)
        if self.on_ban is not None:
            self.on_ban(ban)

    def _keep(self, ban: Ban) -> None:
        self._bans.pop(ban.source, None)
        if len(self._bans) >= self._max_bans:
            oldest = next(iter(self._bans))
            del self._bans[oldest]
            if (known := self._sources.get(oldest)) is not None:
                known.ban_until = 0.0
        self._bans[ban.source] = ban

    # --- tables ------------------------------------------------------------------------------------------------------

    def _key(self, host: str) -> str:
        if ":" not in host:
            return host
        key = self._keys.get(host)
        if key is None:
            if len(self._keys) >= _KEPT_KEYS:
                self._keys.clear()
            # Who is allowed by an address or a network smaller than /64 does not take the others of it along.
            key = self._keys[host] = host if self._is_exempt(host) else source_of(host)
        return key

    def _source(self, host: str, now: float) -> _Source:
        key = host if ":" not in host else self._key(host)
        source = self._sources.get(key)
        return self._remember(key, host, now) if source is None else source

    def _remember(self, key: str, host: str, now: float) -> _Source:
        if len(self._sources) >= self._max_sources:
            self._make_room(now)
        ban = self._bans.get(key)
        source = _Source(self._is_exempt(host), self._burst, now, ban.until_s if ban is not None else 0.0)
        self._sources[key] = source
        return source

    def _make_room(self, now: float) -> None:
        """Forget the source that was entered first, or soon after it, rather than one with phones."""
        for _ in range(_SPARED):
            key = next(iter(self._sources))
            source = self._sources.pop(key)
            if source.trusted_until <= now:
                return
            self._sources[key] = source
        del self._sources[next(iter(self._sources))]

    def _is_exempt(self, host: str) -> bool:
        if not self.settings.enabled:
            return True
        address = ipaddress.ip_address(unmap(host))
        return any(address in network for network in self.settings.allow)

    def _user(self, name: str, now: float) -> _User:
        name = name[:_USER_LENGTH]
        user = self._users.get(name)
        if user is None:
            if len(self._users) >= self._max_users:
                del self._users[next(iter(self._users))]
            user = self._users[name] = _User(float(self.settings.user_rate), now)
        return user


def source_of(host: str) -> str:
    """What a canonical address counts as: an IPv4 address, an IPv6 network of /64, a link-local address itself."""
    host = unmap(host)
    if ":" not in host or is_link_local(host):
        return host
    return str(ipaddress.IPv6Network((host, 64), strict=False))


def _refilled(tokens: float, since: float, now: float, rate: float, most: float) -> float:
    return min(tokens + max(now - since, 0.0) * rate, most)
