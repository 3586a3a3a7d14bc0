"""Who is at the far end of a leg, as the shell found out: values a call is given."""

from __future__ import annotations

from dataclasses import dataclass

from services.core.address import Family, HostPort
from services.core.sip.flow import Flow
from services.core.sip.message import Request
from services.core.sip.transaction import ServerKey


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingInvite:
    """An INVITE outside any dialog, authenticated, from a caller who may use `context`."""

    key: ServerKey
    request: Request
    flow: Flow
    advertised: HostPort
    """What our Via and Contact show toward the caller."""
    phone: str
    codecs: tuple[str, ...]
    context: str
    called: str
    caller_name: str
    caller_number: str
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One place where a dial string leads: a contact of a phone, or a trunk."""

    flow: Flow
    advertised: HostPort
    uri: str
    """Request-URI of the INVITE."""
    route_set: tuple[str, ...]
    phone: str
    channel: str
    codecs: tuple[str, ...]

    @property
    def family(self) -> Family:
        """The family of the path to it, and so of the media it is offered (no IPv6 signalling with IPv4 media)."""
        return self.flow.remote.family


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLocated:
    """A dial string leads nowhere: `cause` is Q.850, `reason` for the log."""

    cause: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFailed:
    """A media command failed; `reason` is the worker's."""

    reason: str
