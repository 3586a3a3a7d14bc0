"""What the registrar speaks of: bindings, a REGISTER as facts, and the answers to one."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from services.core.address import Address
from services.core.events.catalogue import RegistrationEvent
from services.core.sip.headers import Star
from services.core.sip.uri import SipUri


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One contact of an address of record, as the last REGISTER for it said (RFC 3261 10.3)."""

    id: str
    """Names the binding inside its AOR while it lasts, through refreshes and respellings."""
    contact: str
    """The contact's URI byte for byte as received: what a call to the phone has as Request-URI."""
    path: tuple[str, ...] = ()
    """Path values, the route to the phone, topmost first (RFC 3327)."""
    call_id: str
    cseq: int
    expires_at: float
    """Unix seconds."""
    q: float = 1.0
    instance: str = ""
    """`+sip.instance` without its quotes; kept, not yet used (RFC 5626)."""
    reg_id: int = 0
    transport: str
    """`udp`, `tcp`, `tls`, `ws` or `wss`: how the REGISTER came."""
    source: str
    """The phone's address and port as we saw them, `[2001:db8::1]:5060`."""
    local: str
    """Our address and port it came to."""
    flow_id: int
    """The flow's number in the process that took the REGISTER; means nothing in another one."""
    scope_id: int = 0
    """Interface of a link-local source, for sending there; never on the wire."""
    family: str
    """`ip4` or `ip6`, of `source`."""
    user_agent: str = ""

    @property
    def remote(self) -> Address:
        """Where the REGISTER came from, with what a link-local address needs to be reached."""
        address = Address.parse(self.source)
        return replace(address, scope_id=self.scope_id) if self.scope_id else address


@dataclass(frozen=True, slots=True)
class Bindings:
    """All contacts of one AOR, oldest first; no two are equal by RFC 3261 19.1.4. The aggregate's state."""

    items: tuple[Binding, ...] = ()

    def live(self, now: float) -> tuple[Binding, ...]:
        """Those that have not expired."""
        return tuple([binding for binding in self.items if binding.expires_at > now])

    @property
    def next_expiry(self) -> float | None:
        """When the first of them ends; None when there is none."""
        return min([binding.expires_at for binding in self.items]) if self.items else None


NO_BINDINGS = Bindings()


class WhenFull(enum.Enum):
    """What happens to a contact too many."""

    REFUSE = "refuse"
    """403, as Asterisk's `remove_existing=no`: nobody can push a phone out by registering elsewhere."""
    REPLACE = "replace"
    """The contact that would end first makes room, as Asterisk's `remove_existing=yes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a registrar grants."""

    min_expires_s: int = 60
    """Shorter wishes get 423 with Min-Expires, except wishes of an hour and more (RFC 3261 10.3 step 7)."""
    max_expires_s: int = 3600
    """Longer wishes are granted this much."""
    default_expires_s: int = 3600
    """For a REGISTER that names no time."""
    max_contacts: int = 10
    """Contacts an AOR may have. 0: nobody registers here."""
    when_full: WhenFull = WhenFull.REFUSE


DEFAULT_RULES = Rules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One Contact value of a REGISTER."""

    text: str
    """The URI byte for byte."""
    uri: SipUri
    expires_s: int | None = None
    """Its own expires parameter; None without one."""
    q: float = 1.0
    instance: str = ""
    reg_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """The facts of one REGISTER. A command to the AOR's aggregate."""

    contacts: tuple[Contact, ...] | Star = ()
    """Empty: the phone asks what is bound."""
    expires_s: int | None = None
    """The Expires header; None without one."""
    call_id: str
    cseq: int
    path: tuple[str, ...] = ()
    transport: str
    source: str
    local: str
    flow_id: int
    scope_id: int = 0
    family: str
    user_agent: str = ""
    id: str
    """Unique to this request; the ids of the bindings it makes begin with it."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The request succeeds; these events make it so. None for a query, or when there was nothing to remove."""

    events: tuple[RegistrationEvent, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The request fails and changes nothing."""

    status: int
    reason: str
    result: str
    """As in `RegisterOutcome`."""
    headers: tuple[tuple[str, str], ...] = ()


Decision = Registered | Refused


@dataclass(frozen=True, slots=True)
class RegisterOutcome:
    """How a REGISTER ended: what the response says."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """To be added to the response: a Contact row per binding with the seconds it has left, Path, Date, Min-Expires."""
    result: str
    """Label of `pbx_registrations_total`: `bound`, `refreshed`, `removed`, `queried`; `too_brief`, `full`,
    `out_of_order`, `bad_star`, `store_error`."""
    bindings: tuple[Binding, ...] = ()
    """What is bound now; empty when refused."""
