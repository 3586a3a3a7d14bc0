"""The rules of RFC 3261 10.3, for one address of record: which events a REGISTER makes, and what they lead to.

A REGISTER is taken whole or not at all. Two contacts are the same binding when their URIs are equal by RFC 3261 19.1.4
with addresses by value (RFC 5954 4.2). That equality is not transitive (`;x=on` equals none, none equals `;x=off`), so
no canonical text can name a binding. A contact that equals several bindings takes the place of all of them, and so no
two bindings of an AOR are ever equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import assert_never

from services.core.events.catalogue import ContactBound, ContactRefreshed, ContactUnbound, RegistrationEvent
from services.core.sip.errors import SipError
from services.core.sip.headers import Star
from services.core.sip.uri import SipUri
from services.registrar.model import (
    Binding,
    Bindings,
    Contact,
    Decision,
    Refused,
    Register,
    Registered,
    Rules,
    WhenFull,
)

HOUR_S = 3600
REMOVED, EXPIRED, REPLACED = "removed", "expired", "replaced"

OUT_OF_ORDER = Refused(500, "CSeq Out Of Order", "out_of_order")
"""RFC 3261 10.3: an update that cannot be made fails the request with a 500."""
BAD_STAR = Refused(400, "Contact: * Needs Expires: 0", "bad_star")
FULL = Refused(403, "Too Many Contacts", "full")


def decide(state: Bindings, command: Register, now: float, rules: Rules) -> Decision:
    """What becomes of a REGISTER that arrives at `now` (Unix seconds). Never raises."""
    live = state.live(now)
    if isinstance(command.contacts, Star):
        return _remove_all(state, live, command, now)
    if not command.contacts:
        return Registered(())
    if len(command.contacts) > rules.max_contacts + len(live):
        # More than can be removed and bound together. Also bounds the work below.
        return FULL
    table = _Table(live, command)
    for index, contact in enumerate(command.contacts):
        granted_s = granted(_wish(contact, command, rules), rules)
        if granted_s is None:
            return Refused(423, "Interval Too Brief", "too_brief", (("Min-Expires", str(rules.min_expires_s)),))
        if not table.apply(contact, index, now + granted_s if granted_s else None):
            return OUT_OF_ORDER
    if not table.fit(rules):
        return FULL
    return Registered((*expired(state, now), *table.events()))


def evolve(state: Bindings, event: RegistrationEvent) -> Bindings:
    """The state after an event. Never fails: what happened has happened."""
    if isinstance(event, ContactBound):  # and ContactRefreshed, which is one
        binding = _binding_of(event)
        if any(item.id == binding.id for item in state.items):
            return Bindings(tuple([binding if item.id == binding.id else item for item in state.items]))
        return Bindings((*state.items, binding))
    if isinstance(event, ContactUnbound):
        return Bindings(tuple([item for item in state.items if item.id != event.binding]))
    return state


def fold(state: Bindings, events: Iterable[RegistrationEvent]) -> Bindings:
    """The state after all of the events."""
    return reduce(evolve, events, state)


def expired(state: Bindings, now: float) -> tuple[ContactUnbound, ...]:
    """The events that are due because time has passed."""
    return tuple([_unbound(binding, EXPIRED) for binding in state.items if binding.expires_at <= now])


def granted(wish_s: int, rules: Rules) -> int | None:
    """Seconds given for seconds asked: 0 stays 0, None when it is too brief (RFC 3261 10.3 step 7)."""
    if 0 < wish_s < min(rules.min_expires_s, HOUR_S):
        return None
    return min(wish_s, rules.max_expires_s)


def _wish(contact: Contact, command: Register, rules: Rules) -> int:
    """The parameter goes before the header (RFC 3261 10.2.1.1)."""
    if contact.expires_s is not None:
        return contact.expires_s
    return rules.default_expires_s if command.expires_s is None else command.expires_s


def _remove_all(state: Bindings, live: tuple[Binding, ...], command: Register, now: float) -> Decision:
    """`Contact: *` (RFC 3261 10.3 step 6)."""
    if command.expires_s != 0:
        return BAD_STAR
    if any(_is_out_of_order(binding, command) for binding in live):
        return OUT_OF_ORDER
    return Registered((*expired(state, now), *[_unbound(binding, REMOVED) for binding in live]))


def _is_out_of_order(binding: Binding, command: Register) -> bool:
    """Whether the request is older than the binding, or the same again (RFC 3261 10.3 step 7)."""
    return binding.call_id == command.call_id and command.cseq <= binding.cseq


class _Table:
    """The bindings while a request is gone through, contact by contact; thrown away when the request fails."""

    def __init__(self, live: tuple[Binding, ...], command: Register) -> None:
        self._command = command
        self._before = live
        self._now = {binding.id: binding for binding in live}
        self._touched: set[str] = set()
        self._why: dict[str, str] = {}

    def apply(self, contact: Contact, index: int, expires_at: float | None) -> bool:
        """Bind a contact until `expires_at`, or remove it. False when the request is out of order."""
        same = self._equal_to(contact)
        if any(binding.id not in self._touched and _is_out_of_order(binding, self._command) for binding in same):
            return False
        if expires_at is None:
            for binding in same:
                self._drop(binding, REMOVED)
            return True
        for binding in same[1:]:
            self._drop(binding, REPLACED)
        key = same[0].id if same else f"{self._command.id}.{index}"
        self._now[key] = _bind(key, contact, self._command, expires_at)
        self._touched.add(key)
        return True

    def fit(self, rules: Rules) -> bool:
        """Whether there is room for what was added, made where the rules say so. A refresh always has room."""
        excess = len(self._now) - rules.max_contacts
        if excess <= 0 or self._touched <= {binding.id for binding in self._before}:
            return True
        match rules.when_full:
            case WhenFull.REFUSE:
                return False
            case WhenFull.REPLACE:
                others = [binding for key, binding in self._now.items() if key not in self._touched]
                if len(others) < excess:
                    return False
                for binding in sorted(others, key=lambda binding: binding.expires_at)[:excess]:
                    self._drop(binding, REPLACED)
                return True
        assert_never(rules.when_full)

    def events(self) -> list[RegistrationEvent]:
        """What the request changes; removals first, so that no limit is passed on the way."""
        found: list[RegistrationEvent] = [
            _unbound(binding, self._why[binding.id]) for binding in self._before if binding.id not in self._now
        ]
        known = {binding.id for binding in self._before}
        for key, binding in self._now.items():
            if key in self._touched:
                found.append(_event_of(binding, ContactRefreshed if key in known else ContactBound))
        return found

    def _equal_to(self, contact: Contact) -> list[Binding]:
        """Every binding the contact is equal to. The same text is equal to nothing but itself, see above."""
        exact = [binding for binding in self._now.values() if binding.contact == contact.text]
        return exact or [binding for binding in self._now.values() if _is_same(binding, contact.uri)]

    def _drop(self, binding: Binding, why: str) -> None:
        del self._now[binding.id]
        self._touched.discard(binding.id)
        self._why[binding.id] = why


def _is_same(binding: Binding, uri: SipUri) -> bool:
    try:
        return SipUri.parse(binding.contact).same_as(uri)
    except SipError:
        return False  # bound by a version of ours that read more than this one


# --- bindings and events ---------------------------------------------------------------------------------------------


def _bind(key: str, contact: Contact, command: Register, expires_at: float) -> Binding:
    return Binding(
        id=key,
        contact=contact.text,
        path=command.path,
        call_id=command.call_id,
        cseq=command.cseq,
        expires_at=expires_at,
        q=contact.q,
        instance=contact.instance,
        reg_id=contact.reg_id,
        transport=command.transport,
        source=command.source,
        local=command.local,
        flow_id=command.flow_id,
        scope_id=command.scope_id,
        family=command.family,
        user_agent=command.user_agent,
    )


def _event_of(binding: Binding, kind: type[ContactBound]) -> ContactBound:
    return kind(
        contact=binding.contact,
        binding=binding.id,
        path=binding.path,
        instance=binding.instance,
        reg_id=binding.reg_id,
        q=binding.q,
        expires_at=binding.expires_at,
        sip_call_id=binding.call_id,
        cseq=binding.cseq,
        transport=binding.transport,
        source=binding.source,
        local=binding.local,
        flow_id=binding.flow_id,
        scope_id=binding.scope_id,
        family=binding.family,
        user_agent=binding.user_agent,
    )


def _binding_of(event: ContactBound) -> Binding:
    return Binding(
        id=event.binding,
        contact=event.contact,
        path=event.path,
        call_id=event.sip_call_id,
        cseq=event.cseq,
        expires_at=event.expires_at,
        q=event.q,
        instance=event.instance,
        reg_id=event.reg_id,
        transport=event.transport,
        source=event.source,
        local=event.local,
        flow_id=event.flow_id,
        scope_id=event.scope_id,
        family=event.family,
        user_agent=event.user_agent,
    )


def _unbound(binding: Binding, reason: str) -> ContactUnbound:
    return ContactUnbound(contact=binding.contact, binding=binding.id, reason=reason)
