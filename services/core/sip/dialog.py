"""Dialogs: what two user agents remember between requests (RFC 3261 §12). A frozen value; nothing here does I/O.

    INVITE arrives, we answer      Dialog.uas(request, local_tag, ...)
    our INVITE is answered         Dialog.uac(request, response), one per To tag: forks are dialogs of their own
    a later answer of that fork    dialog.answered(response): early becomes confirmed, the route set is final
    a request of ours              dialog.next_request("BYE", via=...) -> (dialog with the CSeq used, request)
    the ACK of a 2xx               dialog.ack(cseq_number, via=...)
    a request of theirs            dialog.received(request) -> dialog with their CSeq and, perhaps, a new target

All fields are texts, numbers and tuples, so a dialog is stored as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from services.core.sip.errors import SipError
from services.core.sip.headers import STAR, NameAddr
from services.core.sip.message import Message, Request, Response
from services.core.sip.uri import SipUri

TARGET_REFRESH = frozenset(("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"))
"""Methods whose Contact replaces the remote target (RFC 3261 §12.2, RFC 3311, RFC 6665, RFC 3515)."""
UNSEQUENCED = frozenset(("ACK", "CANCEL"))
"""Methods that repeat the number of the request they belong to."""
NOT_IN_REQUEST_URI = ("method",)
"""URI parameters a Request-URI may not have (RFC 3261 §19.1.1)."""
MAX_FORWARDS = 70


class DialogId(NamedTuple):
    """Identity of a dialog as one side sees it (RFC 3261 §12). A tag is "" for a peer of RFC 2543."""

    call_id: str
    local_tag: str
    remote_tag: str


def dialog_of_request(request: Request) -> DialogId:
    """The dialog a request that we received claims: our tag is in To."""
    return DialogId(request.call_id, request.to_tag or "", request.from_tag or "")


def dialog_of_response(response: Response) -> DialogId:
    """The dialog a response that we received belongs to: our tag is in From."""
    return DialogId(response.call_id, response.from_tag or "", response.to_tag or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """One peer-to-peer relationship; RFC 3261 §12.1 names the fields."""

    call_id: str
    local_tag: str
    remote_tag: str
    local_uri: str
    """Our From or To value without its tag: display name and URI as they were sent."""
    remote_uri: str
    remote_target: str
    """The peer's Contact URI: where requests are meant to arrive."""
    route_set: tuple[str, ...] = ()
    """Values for Route, in order, byte for byte as they were recorded."""
    local_cseq: int = 0
    """Number of our last request; 0 before the first."""
    remote_cseq: int = 0
    """Number of the peer's last request; 0 before the first (RFC: empty)."""
    secure: bool = False
    """The dialog was made by a sips request over TLS."""
    early: bool = False
    """Made by a provisional response, and not confirmed yet."""

    @classmethod
    def uas(cls, request: Request, local_tag: str, *, secure: bool = False, early: bool = False) -> Dialog:
        """The dialog a request that we answer makes (RFC 3261 §12.1.1).

        Raises SipError 400 for parties, a Contact or a Record-Route that cannot be used.
        """
        return cls(
            call_id=request.call_id,
            local_tag=local_tag,
            remote_tag=request.from_tag or "",
            local_uri=_without_tag(request.to),
            remote_uri=_without_tag(request.from_),
            remote_target=_contact_uri(request),
            route_set=_recorded_route(request),
            remote_cseq=request.cseq.number,
            secure=secure,
            early=early,
        )

    @classmethod
    def uac(cls, request: Request, response: Response, *, secure: bool = False) -> Dialog:
        """The dialog a 101-299 to our request makes (RFC 3261 §12.1.2). Raises SipError for an unusable response.

        A provisional without a Contact, which early dialogs may meet, leaves the Request-URI as the target.
        """
        early = response.status < 200
        target = _contact_uri(response) if response.has("Contact") or not early else request.uri
        return cls(
            call_id=request.call_id,
            local_tag=request.from_tag or "",
            remote_tag=response.to_tag or "",
            local_uri=_without_tag(request.from_),
            remote_uri=_without_tag(request.to),
            remote_target=target,
            route_set=_recorded_route(response)[::-1],
            local_cseq=request.cseq.number,
            secure=secure,
            early=early,
        )

    @property
    def id(self) -> DialogId:
        return DialogId(self.call_id, self.local_tag, self.remote_tag)

    @property
    def next_hop(self) -> SipUri:
        """Where the next request of ours is sent to (RFC 3261 §8.1.2): the first route, else the target."""
        return NameAddr.parse(self.route_set[0], "Route").uri if self.route_set else SipUri.parse(self.remote_target)

    # --- our requests ------------------------------------------------------------------------------------------------

    def next_request(
        self,
        method: str,
        *,
        via: str,
        contact: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        max_forwards: int = MAX_FORWARDS,
    ) -> tuple[Dialog, Request]:
        """A request within the dialog and the dialog that has sent it (RFC 3261 §12.2.1.1).

        `via` is our whole Via value; `contact` a whole Contact value. Not for ACK and CANCEL.
        """
        number = self.local_cseq + 1
        extra = headers if contact is None else (("Contact", contact), *headers)
        request = self._request(method, number, via=via, headers=extra, body=body, max_forwards=max_forwards)
        return replace(self, local_cseq=number), request

    def ack(
        self,
        cseq: int,
        *,
        via: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        max_forwards: int = MAX_FORWARDS,
    ) -> Request:
        """The ACK of the 2xx to our INVITE with number `cseq` (RFC 3261 §13.2.2.4).

        Send it straight to the transport, with the same `via` again for each copy of the 2xx; credentials of the
        INVITE belong in `headers` (§22.1).
        """
        return self._request("ACK", cseq, via=via, headers=headers, body=body, max_forwards=max_forwards)

    def _request(
        self,
        method: str,
        number: int,
        *,
        via: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        max_forwards: int,
    ) -> Request:
        uri, routes = self._request_uri_and_routes()
        rows = [("Via", via), ("Max-Forwards", str(max_forwards))]
        rows += [("Route", route) for route in routes]
        rows += [
            ("From", _with_tag(self.local_uri, self.local_tag)),
            ("To", _with_tag(self.remote_uri, self.remote_tag)),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
        ]
        rows += headers
        return Request(method, uri, rows, body)

    def _request_uri_and_routes(self) -> tuple[str, tuple[str, ...]]:
        """Loose routing: the target, then every route. A strict router (no `lr`) first: it is the Request-URI, and the
        target travels as the last Route (RFC 3261 §12.2.1.1)."""
        if not self.route_set:
            return _as_request_uri(self.remote_target), ()
        first = NameAddr.parse(self.route_set[0], "Route").uri
        if first.has_param("lr"):
            return _as_request_uri(self.remote_target), self.route_set
        return _as_request_uri(str(first)), (*self.route_set[1:], f"<{self.remote_target}>")

    # --- what the peer sends -----------------------------------------------------------------------------------------

    def answered(self, response: Response) -> Dialog:
        """The dialog after a 101-299 to a target refresh request of ours (RFC 3261 §12.2.1.2, §13.2.2.4).

        A Contact becomes the target. The 2xx that confirms an early dialog also sets the route set anew.
        """
        target = _contact_uri(response) if response.has("Contact") else self.remote_target
        if not self.early or response.status >= 300:
            return self if target == self.remote_target else replace(self, remote_target=target)
        if response.status < 200:
            return replace(self, remote_target=target)
        route_set = _recorded_route(response)[::-1]
        return replace(self, remote_target=target, route_set=route_set, early=False)

    def confirmed(self) -> Dialog:
        """The dialog once a 2xx of ours was sent (UAS side)."""
        return replace(self, early=False) if self.early else self

    def received(self, request: Request) -> Dialog:
        """The dialog after a request of the peer (RFC 3261 §12.2.2).

        Raises SipError 500 when its CSeq is lower than one already seen, 400 for an unusable Contact. An ACK or a
        CANCEL changes nothing, whatever its number.
        """
        if request.method in UNSEQUENCED:
            return self
        number = request.cseq.number
        if number < self.remote_cseq:
            raise SipError(500, "CSeq out of order", "CSeq", request)
        target = self.remote_target
        if request.method in TARGET_REFRESH and request.has("Contact"):
            target = _contact_uri(request)
        return replace(self, remote_cseq=number, remote_target=target)


def _contact_uri(message: Message) -> str:
    """The URI of the one Contact a dialog needs (RFC 3261 §8.1.1.8, §12.1.1)."""
    contacts = message.contacts
    if contacts is STAR or not contacts:
        raise SipError(
            400, "Missing Contact header field", "Contact", message if isinstance(message, Request) else None
        )
    return str(contacts[0].uri)


def _recorded_route(message: Message) -> tuple[str, ...]:
    """The Record-Route values byte for byte; read once here, so that no later request of ours fails over them."""
    if not message.has("Record-Route"):
        return ()
    _ = message.record_routes
    return tuple(message.get_all("Record-Route"))


def _as_request_uri(uri: str) -> str:
    """A target without what a Request-URI may not carry: headers and `method` (RFC 3261 §19.1.1)."""
    if "?" not in uri and ";method" not in uri.lower():
        return uri
    parsed = SipUri.parse(uri).with_(headers=())
    for name in NOT_IN_REQUEST_URI:
        parsed = parsed.without_param(name)
    return str(parsed)


def _without_tag(party: NameAddr) -> str:
    return str(party.with_tag(None))


def _with_tag(party: str, tag: str) -> str:
    return f"{party};tag={tag}" if tag else party
