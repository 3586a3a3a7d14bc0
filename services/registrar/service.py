"""The registrar over a store: load, decide, commit, and again when somebody else was faster."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from weakref import WeakValueDictionary

from services.core.events.catalogue import ContactRefreshed, ContactUnbound, RegistrationEvent
from services.core.events.codec import CodecError, codec_of
from services.core.sip.headers import Star
from services.core.sip.lexical import quote
from services.core.store.port import Change, Conflict, Store, StoreError, Version
from services.registrar.aggregate import decide, expired, fold
from services.registrar.expiry import Expiries
from services.registrar.model import (
    DEFAULT_RULES,
    NO_BINDINGS,
    Binding,
    Bindings,
    Refused,
    Register,
    Registered,
    RegisterOutcome,
    Rules,
)

KIND = "registration"
EPOCH = 1
"""Nobody owns an AOR: writers take turns by the sequence number alone."""
MAX_ATTEMPTS = 10
MAX_CACHED = 50_000
"""AORs whose bindings are kept decoded. A phone with one contact takes about 2 KB."""
_EXPIRE_AT_ONCE = 256
_NOTHING = Version(0, 0)
_STORE_AWAY = Refused(500, "Server Internal Error", "store_error", (("Retry-After", "5"),))

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """Bindings as they were at a version."""

    version: Version
    bindings: Bindings


_UNKNOWN = _Known(_NOTHING, NO_BINDINGS)


class Registrar:
    """Takes REGISTERs, finds the contacts of an AOR and ends what was not refreshed.

    Any number of registrars, in any number of processes, may share a store. What this one remembers of an AOR is only
    ever used with the version it belongs to: a write says which version it was decided upon, and everything else asks
    the store first.

    An AOR is any text the caller has made canonical; it is a key and nothing else.
    """

    def __init__(self, store: Store, clock: Callable[[], float], rules: Rules = DEFAULT_RULES) -> None:
        """`clock` gives Unix seconds; expiry times are compared with it, and processes share them."""
        self._store = store
        self._clock = clock
        self.rules = rules
        self.results: Counter[str] = Counter()
        """For `pbx_registrations_total{result}`: answers by `RegisterOutcome.result`, and `expired` contacts."""
        self._codec = codec_of(Bindings)
        self._known: dict[str, _Known] = {}
        self._expiries = Expiries()
        # Within one process they wait for each other: of twenty that race for a version, ten would lose every time.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- REGISTER ---

    async def register(self, aor: str, command: Register, rules: Rules | None = None) -> RegisterOutcome:
        """Carry out a REGISTER for `aor`; what is in the outcome is committed. Raises nothing the store may raise.

        `rules` are this phone's own, the registrar's unless given.
        """
        rules = rules or self.rules
        now = self._clock()
        try:
            turn = self._turns.get(aor)
            if turn is None:
                turn = self._turns[aor] = asyncio.Lock()
            async with turn:
                outcome = await self._register(aor, command, now, rules)
        except StoreError as error:
            log.error("a registration of %r could not be kept: %s", aor, error)
            outcome = _refusal(_STORE_AWAY)
        self.results[outcome.result] += 1
        return outcome

    async def _register(self, aor: str, command: Register, now: float, rules: Rules) -> RegisterOutcome:
        known = self._known.get(aor)
        remembered = known is not None
        for _ in range(MAX_ATTEMPTS):
            if known is None:
                known, remembered = await self._load(aor), False
            decision = decide(known.bindings, command, now, rules)
            if isinstance(decision, Registered) and decision.events:
                committed = await self._commit(aor, known, decision.events, now)
                if committed is not None:
                    return _success(command, decision.events, committed.bindings.live(now), now)
                known = None
            elif remembered:
                known = None  # nothing would be written, so nothing would tell that what we remember is old
            elif isinstance(decision, Refused):
                return _refusal(decision)
            else:
                return _success(command, (), known.bindings.live(now), now)
        raise StoreError(f"{MAX_ATTEMPTS} conflicts in a row")

    # --- lookup ---

    async def lookup(self, aor: str) -> list[Binding]:
        """The contacts a call to `aor` goes to, highest q first, of equal ones the newest. Raises StoreError."""
        live = (await self._load(aor)).bindings.live(self._clock())
        found = list(reversed(live))
        found.sort(key=lambda binding: binding.q, reverse=True)
        return found

    # --- expiry ---

    async def start(self) -> int:
        """Read every AOR in the store, to know what will expire. Returns how many there are. Raises StoreError.

        May be called again: a registrar that did not take a REGISTER itself learns of it only here and by `lookup`.
        """
        count = 0
        async for aor, version, snapshot in self._store.scan(KIND):
            known = self._known.get(aor)
            if known is None or known.version < version:
                self._remember(aor, _Known(version, self._decode(aor, snapshot)))
            count += 1
        return count

    async def expire_due(self) -> int:
        """End the bindings whose time is over and say so in the log of events. Returns how many. Raises StoreError.

        Costs nothing when none is due. A binding that was refreshed elsewhere meanwhile stays.
        """
        now = self._clock()
        count = 0
        while due := self._expiries.pop_due(now, _EXPIRE_AT_ONCE):
            try:
                count += await self._expire(due, now)
            except StoreError:
                for aor in due:
                    self._expiries.arm(aor, now)
                raise
        return count

    @property
    def next_expiry(self) -> float | None:
        """Unix seconds at which `expire_due` may have something to do."""
        return self._expiries.next

    async def _expire(self, aors: list[str], now: float) -> int:
        changes: list[Change] = []
        after: list[Bindings] = []
        count = 0
        for aor in aors:
            known = await self._load(aor)
            events = expired(known.bindings, now)
            if events:
                bindings = fold(known.bindings, events)
                changes.append(self._change(aor, known, bindings, events, now))
                after.append(bindings)
            else:
                self._expiries.watch(aor, known.bindings)
        for change, bindings, result in zip(changes, after, await self._commit_all(changes), strict=True):
            if isinstance(result, Conflict):
                self._known.pop(change.key, None)
                self._expiries.arm(change.key, now)
            else:
                count += len(change.events)
                self._remember(change.key, _Known(result, bindings))
        self.results["expired"] += count
        return count

    async def _commit_all(self, changes: list[Change]) -> list[Version | Conflict]:
        return await self._store.commit(changes) if changes else []

    # --- metrics ---

    @property
    def bindings_by_family(self) -> dict[str, int]:
        """For `pbx_bindings{family}`: what is bound as far as this process knows, expired or not until it is ended."""
        return self._expiries.families

    # --- the store ---

    async def _commit(
        self, aor: str, known: _Known, events: tuple[RegistrationEvent, ...], now: float
    ) -> _Known | None:
        """Keep the events; None when somebody else changed the AOR meanwhile."""
        bindings = fold(known.bindings, events)
        (result,) = await self._store.commit([self._change(aor, known, bindings, events, now)])
        if isinstance(result, Conflict):
            self._known.pop(aor, None)
            return None
        committed = _Known(result, bindings)
        self._remember(aor, committed)
        return committed

    def _change(
        self, aor: str, known: _Known, bindings: Bindings, events: tuple[RegistrationEvent, ...], now: float
    ) -> Change:
        snapshot = self._codec.pack(bindings) if bindings.items else None
        epoch = max(EPOCH, known.version.epoch)
        return Change(
            kind=KIND, key=aor, expected=known.version, epoch=epoch, events=events, snapshot=snapshot, time=now
        )

    async def _load(self, aor: str) -> _Known:
        """The AOR as the store has it now. Decodes only what we do not know at that version."""
        loaded = await self._store.load(KIND, aor)
        if loaded is None:
            self._remember(aor, _UNKNOWN)
            return _UNKNOWN
        version, snapshot = loaded
        known = self._known.get(aor)
        if known is None or known.version != version:
            known = _Known(version, self._decode(aor, snapshot))
            self._remember(aor, known)
        return known

    def _decode(self, aor: str, snapshot: bytes) -> Bindings:
        try:
            return self._codec.unpack(snapshot)
        except CodecError as error:
            # The phone will register again and overwrite it; refusing it for good would help nobody.
            log.error("the bindings of %r cannot be read and are left out: %s", aor, error)
            return NO_BINDINGS

    def _remember(self, aor: str, known: _Known) -> None:
        self._expiries.watch(aor, known.bindings)
        if not known.bindings.items:
            self._known.pop(aor, None)
            return
        if len(self._known) >= MAX_CACHED and aor not in self._known:
            del self._known[next(iter(self._known))]
        self._known[aor] = known


# --- answers ---------------------------------------------------------------------------------------------------------


def _refusal(refused: Refused) -> RegisterOutcome:
    return RegisterOutcome(refused.status, refused.reason, refused.headers, refused.result)


def _success(
    command: Register, events: tuple[RegistrationEvent, ...], live: tuple[Binding, ...], now: float
) -> RegisterOutcome:
    """RFC 3261 10.3 step 8; Path by RFC 3327 5.3."""
    headers = [("Contact", contact_value(binding, now)) for binding in live]
    if command.contacts:
        headers += [("Path", value) for value in command.path]
    headers.append(("Date", _date(int(now))))
    return RegisterOutcome(200, "OK", tuple(headers), _result(command, events), live)


@lru_cache(2)
def _date(second: int) -> str:
    """As Date wants it (RFC 3261 20.17); many REGISTERs come within one second."""
    return formatdate(second, usegmt=True)


def _result(command: Register, events: tuple[RegistrationEvent, ...]) -> str:
    if isinstance(command.contacts, Star):
        return "removed"
    if not command.contacts:
        return "queried"
    last = events[-1] if events else None
    if last is None or isinstance(last, ContactUnbound):
        return "removed"
    return "refreshed" if isinstance(last, ContactRefreshed) else "bound"


def contact_value(binding: Binding, now: float) -> str:
    """A binding as a Contact value of the response, with the seconds it has left."""
    value = f"<{binding.contact}>;expires={max(1, round(binding.expires_at - now))}"
    if binding.q != 1.0:
        value += f";q={binding.q:g}"
    if binding.instance:
        value += f";+sip.instance={quote(binding.instance)}"
    if binding.reg_id:
        value += f";reg-id={binding.reg_id}"
    return value
