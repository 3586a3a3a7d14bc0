"""Registrations: which contacts an address of record has."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.console.projections.view import Row, View
from services.core.events.catalogue import REGISTRATIONS_TOPIC, ContactBound, ContactUnbound
from services.core.events.envelope import Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactNow:
    """A contact that is bound, as far as the history says; it may be past its expiry and not ended yet."""

    binding: str
    contact: str
    since: float
    expires_at: float
    q: float
    transport: str
    family: str
    source: str
    user_agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressNow:
    """An address of record with its contacts, the first bound first."""

    contacts: tuple[ContactNow, ...] = ()


def fold(state: AddressNow | None, envelope: Envelope) -> AddressNow | None:
    """The address after an event; a refreshed contact (`ContactRefreshed` is a `ContactBound`) keeps its place."""
    state = state or AddressNow()
    match envelope.event:
        case ContactBound() as event:
            contacts = _bound(state.contacts, event, envelope.time)
        case ContactUnbound(binding=binding):
            contacts = tuple(one for one in state.contacts if one.binding != binding)
        case _:
            contacts = state.contacts
    return replace(state, contacts=contacts) if contacts else None


def _bound(contacts: tuple[ContactNow, ...], event: ContactBound, time: float) -> tuple[ContactNow, ...]:
    since = next((one.since for one in contacts if one.binding == event.binding), time)
    bound = ContactNow(
        binding=event.binding,
        contact=event.contact,
        since=since,
        expires_at=event.expires_at,
        q=event.q,
        transport=event.transport,
        family=event.family,
        source=event.source,
        user_agent=event.user_agent,
    )
    if any(one.binding == event.binding for one in contacts):
        return tuple(bound if one.binding == event.binding else one for one in contacts)
    return (*contacts, bound)


def rows(key: str, state: AddressNow) -> list[Row]:
    """One row a contact."""
    return [
        {
            "aor": key,
            "contact": one.contact,
            "source": one.source,
            "family": one.family,
            "transport": one.transport,
            "q": one.q,
            "since": one.since,
            "expires_at": one.expires_at,
            "user_agent": one.user_agent,
        }
        for one in state.contacts
    ]


REGISTRATIONS = View(
    # All at one place: they come in the order of their keys.
    name="registrations",
    topic=REGISTRATIONS_TOPIC,
    state=AddressNow,
    fold=fold,
    place=lambda state: 0.0,
    rows=rows,
)
