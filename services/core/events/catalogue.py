"""Every fact the cluster records, as a past-tense value.

The catalogue is the public schema of the history (`docs/events.md` is generated from it), so fields are only
ever added, with a default; a change of meaning is a new `VERSION` and an upcaster. An event says nothing of when,
where or in which order it happened: that is the envelope's (`codec.py`).

Two kinds of stream exist: one per call, keyed by the call's id, in topic `pbx.calls`, and one per address of
record, keyed by the AOR, in topic `pbx.registrations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

CALLS_TOPIC = "pbx.calls"
REGISTRATIONS_TOPIC = "pbx.registrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact. Subclasses are the catalogue; `TOPIC` and `VERSION` are part of the stored schema."""

    TOPIC: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent(Event):
    """A fact of one call; the stream's key is the call id."""

    TOPIC: ClassVar[str] = CALLS_TOPIC


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationEvent(Event):
    """A fact of one address of record; the stream's key is the AOR."""

    TOPIC: ClassVar[str] = REGISTRATIONS_TOPIC


# --- calls -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(CallEvent):
    """A caller's INVITE was authenticated and accepted for routing. Leg `a` is the caller's dialog."""

    linkedid: str
    """Id of the first call of a family of linked calls; equal to the call id when there is no other."""
    caller_name: str
    caller_number: str
    caller_uri: str
    called: str
    """The extension dialled (the user part of the Request-URI)."""
    context: str
    """Dialplan context the call enters."""
    channel: str
    """Name in Asterisk's form, `SIP/dev1-00000001`."""
    phone: str
    """Section of sip.conf the caller was recognised as; empty for a guest."""
    family: str
    """`ip4` or `ip6`: the family of the caller's signalling."""
    transport: str
    source: str
    """Address and port the INVITE came from."""
    local: str
    """Address and port it came to."""
    flow_id: int
    sip_call_id: str
    local_uri: str
    remote_uri: str
    local_tag: str
    remote_tag: str
    remote_target: str
    route_set: tuple[str, ...] = ()
    remote_cseq: int
    sdp: bytes = b""
    """The caller's offer; empty when the INVITE had none (late offer)."""
    dialplan_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationStarted(CallEvent):
    """The dialplan reached a priority and runs its application."""

    context: str
    exten: str
    priority: int
    application: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegInvited(CallEvent):
    """An INVITE toward a callee is about to be sent. One leg is one dialog of ours."""

    leg: str
    target: str
    """What Dial was told, `SIP/dev2`."""
    phone: str
    channel: str
    uri: str
    """Request-URI: the callee's contact."""
    family: str
    transport: str
    destination: str
    """Address and port the INVITE goes to."""
    local: str
    flow_id: int
    sip_call_id: str
    local_uri: str
    remote_uri: str
    local_tag: str
    local_cseq: int
    route_set: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRinging(CallEvent):
    """A callee said 180 (or another provisional without a session)."""

    leg: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LegProgressed(CallEvent):
    """Early media of a leg is connected (183, or 180 with a session description)."""

    leg: str
    status: int
    sdp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswered(CallEvent):
    """A dialog is confirmed from our side: the callee's 2xx came, or (leg `a`) our 2xx to the caller goes out."""

    leg: str
    remote_tag: str
    remote_target: str
    route_set: tuple[str, ...] = ()
    sdp: bytes = b""
    """The session description of the far side that this answer settles; for leg `a`, the one we send."""
    application: str = ""
    """For leg `a`: the application that answered; empty when a callee's answer did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegsBridged(CallEvent):
    """Two legs hear each other."""

    leg: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegHeld(CallEvent):
    """A party put the other on hold (`sendonly`, `inactive`, `c=0.0.0.0`, `::`)."""

    leg: str
    direction: str
    """The direction attribute the party offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegResumed(CallEvent):
    """A party took the other off hold."""

    leg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRenegotiated(CallEvent):
    """A re-INVITE or UPDATE of a party was agreed by both sides; the new descriptions are in force."""

    leg: str
    """The party that asked."""
    offer: bytes
    answer: bytes
    local_cseq: int = 0
    """Our last sequence number in the leg's dialog, where it moved; 0 otherwise."""
    remote_cseq: int = 0
    """The party's, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRedirected(CallEvent):
    """A party's remote target changed (a new Contact in a re-INVITE, UPDATE or its answer)."""

    leg: str
    remote_target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTransferred(CallEvent):
    """A party handed the other one on to a new destination (REFER, RFC 3515). From here on the dialplan serves
    `party`, in the transferor's context; `leg` hears nobody until it hangs up, or gets the party back."""

    leg: str
    """The transferor."""
    party: str
    """Who was handed on."""
    target: str
    """The URI of Refer-To, without its headers."""
    context: str
    """Where the dialplan goes on for the party."""
    exten: str
    """The extension there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferEnded(CallEvent):
    """What a transferor was told in the end."""

    leg: str
    """The transferor."""
    status: int
    """200: somebody else has the party. Otherwise the transfer failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegJoined(CallEvent):
    """A dialog is about to take the place of a leg (Replaces, RFC 3891): a caller's new one, or one of another call.
    It talks once it is answered (`LegAnswered`) and `LegReplaced` follows."""

    leg: str
    """Its name here."""
    replaces: str
    """The leg whose place it takes."""
    linkedid: str
    """Of the family of calls this one belongs to from here on."""
    from_call: str = ""
    """The call it was in; empty for a new dialog."""
    phone: str
    channel: str
    family: str
    transport: str
    source: str
    """Address and port of the party's signalling."""
    local: str
    flow_id: int
    sip_call_id: str
    local_uri: str
    remote_uri: str
    local_tag: str
    remote_tag: str
    remote_target: str
    route_set: tuple[str, ...] = ()
    local_cseq: int = 0
    remote_cseq: int = 0
    sdp: bytes = b""
    """The party's description: its offer, or what is in force with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegReplaced(CallEvent):
    """A leg's place was taken by another: that one talks to the leg's peer, and is served in its stead."""

    leg: str
    """The leg that has to go."""
    by: str
    """The leg that has its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegMoved(CallEvent):
    """A leg's dialog goes on in another call; here it is over."""

    leg: str
    """Its name here."""
    to_call: str
    """The id of the other call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded(CallEvent):
    """A leg is over: refused, cancelled, or hung up."""

    leg: str
    status: int
    """SIP status that ended it; 200 for a BYE, 487 for our CANCEL, 408 for a timeout."""
    reason: str
    cause: int
    """Q.850 cause."""
    by: str
    """`remote`, or `local` when we ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialEnded(CallEvent):
    """An application Dial is over."""

    status: str
    """Asterisk's DIALSTATUS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitReceived(CallEvent):
    """A party pressed a key that an application was given."""

    leg: str
    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStarted(CallEvent):
    """A party hears prompts."""

    leg: str
    files: tuple[str, ...]
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaReported(CallEvent):
    """What the media worker counted for a leg, told when the leg's media ended. From the worker's side:
    `received` is what the party sent us."""

    leg: str
    family: str
    codec: str = ""
    packets_received: int
    packets_sent: int
    bytes_received: int
    bytes_sent: int
    packets_lost: int
    """Sequence numbers that never came, by RFC 3550 A.3."""
    jitter_ms: float
    """Interarrival jitter, RFC 3550 A.8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(CallEvent):
    """The call is over; nothing follows but `MediaReported`."""

    disposition: str
    """`ANSWERED`, `NO ANSWER`, `BUSY`, `FAILED` or `CONGESTION`, as Asterisk's CDR has it."""
    cause: int
    """Q.850 cause."""
    reason: str
    """In words: `hang-up`, `caller cancelled`, `RTP timeout`, `lost ACK`, `node lost` ..."""
    by: str
    """The leg that ended it, or empty when we did."""


# --- registrations ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactBound(RegistrationEvent):
    """A contact was added to an address of record (RFC 3261 section 10.3)."""

    contact: str
    """The Contact's URI, byte for byte as received."""
    binding: str
    """Id of the binding inside its AOR."""
    path: tuple[str, ...] = ()
    instance: str = ""
    reg_id: int = 0
    q: float = 1.0
    expires_at: float
    """Unix seconds."""
    sip_call_id: str
    cseq: int
    transport: str
    source: str
    """Address and port the REGISTER came from."""
    local: str
    flow_id: int
    scope_id: int = 0
    """Interface of a link-local source; 0 for any other."""
    family: str
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRefreshed(ContactBound):
    """A binding was renewed; its fields replace the old ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactUnbound(RegistrationEvent):
    """A contact left its address of record."""

    contact: str
    binding: str
    reason: str
    """`removed` (by the phone), `expired`, or `replaced`."""


CATALOGUE: tuple[type[Event], ...] = (
    CallStarted, ApplicationStarted, LegInvited, LegRinging, LegProgressed, LegAnswered, LegsBridged, LegHeld,
    LegResumed, LegRenegotiated, LegRedirected, CallTransferred, TransferEnded, LegJoined, LegReplaced, LegMoved,
    LegEnded, DialEnded, DigitReceived, PlaybackStarted, MediaReported, CallEnded,
    ContactBound, ContactRefreshed, ContactUnbound,
)  # fmt: skip
"""Every event there is, in the order in which a reader should meet them."""
