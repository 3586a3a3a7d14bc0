"""Who is at the far end of a leg, as the shell found out: values a call is given."""

from __future__ import annotations

from dataclasses import dataclass

from services.core.address import Family, HostPort
from services.core.sip.flow import Flow
from services.core.sip.message import Request
from services.core.sip.transaction import ServerKey
from services.sip_edge.call.state import LegState


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
class PhoneRules:
    """What sip.conf says of the phone or trunk behind a leg."""

    context: str = "default"
    allow_transfer: bool = True
    caller_name: str = ""
    caller_number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """A call asks another one to take in its party (REFER with Replaces)."""

    from_call: str
    token: int
    """Under which the asking call waits for `Joined`."""
    linkedid: str
    leg: LegState
    """The party, as the asking call knows it."""
    path: object
    """Its dialog (`Dialogs.lend`)."""
    replaced: str
    """The leg of the asked call whose place it shall take."""
    early_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What came of it: 200, or why not."""

    status: int
    call_id: str = ""
    """The call the party is in now."""
    leg: str = ""
    offered: bool = False
    """The party was shown other media than its old call's, successfully or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFailed:
    """A media command failed; `reason` is the worker's."""

    reason: str
