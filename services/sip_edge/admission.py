"""Who is asking, and may they: the checks of RFC 3261 section 8.2 before a request means anything.

The order is the RFC's: authentication, method, Request-URI, Require, body. An unknown user and a wrong password look
the same and cost the same; what a stranger sends gets one small answer.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from services.core.address import is_ip, unmap
from services.core.config.sip import Peer, SipSettings
from services.core.sdp import SdpError, SessionDescription
from services.core.sip.digest import (
    Authenticated,
    DigestServer,
    Failed,
    Md5Secret,
    Missing,
    Password,
    Secret,
    Stale,
    algorithms_for,
)
from services.core.sip.flow import TLS, Flow
from services.core.sip.headers import STAR
from services.core.sip.message import Request, Response, make_response
from services.core.sip.transaction import stateless_tag
from services.sip_edge.guard import Guard

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER"
"""Methods served outside dialogs."""
ACCEPT = "application/sdp"
_ACCEPTING_SDP = frozenset({ACCEPT, "application/*", "*/*"})
_KNOWN_METHODS = frozenset(
    {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "INFO", "MESSAGE", "SUBSCRIBE",
     "NOTIFY", "REFER", "PUBLISH"}
)  # fmt: skip
_INVITE_EXTENSIONS = frozenset({"replaces"})
_SERVED = frozenset({"INVITE", "OPTIONS", "REGISTER"})


class Denied(enum.Enum):
    """Why a request was not served; the value is the label of `pbx_sip_rejected_total` and the like."""

    MISSING = "missing"
    FAILED = "failed"
    STALE = "stale"
    ACL = "acl"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Admitted:
    """The sender was recognised as a section of sip.conf."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Guest:
    """Nobody we know, and guests are allowed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer with this."""

    response: Response
    why: Denied
    detail: str = ""


class Admission:
    """Recognises phones and trunks by their digest or their address."""

    def __init__(self, settings: SipSettings, digest: DigestServer, guard: Guard) -> None:
        self._settings = settings
        self._guard = guard
        self._digest = digest
        self._by_address = _peers_by_address(settings)

    def check_form(self, request: Request) -> Response | None:
        """What is wrong with the request whoever sent it, as a response; None when nothing is."""
        hops = request.max_forwards
        if hops == 0 and request.method != "OPTIONS":
            return self.answer(request, 483)
        if request.method not in _SERVED:
            if request.method not in _KNOWN_METHODS:
                return self.answer(request, 501, ("Allow", ALLOW))
            if request.method == "BYE":
                # Served, but in a dialog, and without a To tag it names none (RFC 3261 section 15.1.2).
                return self.answer(request, 481)
            return self.answer(request, 405, ("Allow", ALLOW))
        if request.request_uri.scheme not in ("sip", "sips"):
            return self.answer(request, 416)
        return None

    def check_security(self, request: Request, flow: Flow) -> Response | None:
        """A `sips:` request that came in the clear has been downgraded on its way, and a `sips:` Contact there could
        not be reached as it says (RFC 3261 section 26.2.2): refused, also before anybody shows a password."""
        if flow.secure:
            return None
        downgraded = request.request_uri.scheme == "sips"
        if not downgraded and any("sips:" in row.lower() for row in request.rows("Contact")):
            contacts = request.contacts
            downgraded = contacts is not STAR and any(contact.uri.scheme == "sips" for contact in contacts)
        return self.answer(request, 403, ("Warning", '399 pbx "sips: needs TLS"')) if downgraded else None

    def check_content(self, request: Request) -> Response | None:
        """What of the request we cannot serve: extensions and bodies (RFC 3261 section 8.2.2.3, 8.2.3)."""
        known = _INVITE_EXTENSIONS if request.method == "INVITE" else frozenset()
        required = [option for option in request.get_all("Require") if option.lower() not in known]
        if required:
            return self.answer(request, 420, ("Unsupported", ", ".join(required)))
        return self._check_invite(request) if request.method == "INVITE" else None

    def _check_invite(self, request: Request) -> Response | None:
        """What the dialog is made of, and an offer that can be read, if there is one. Raises SipError 400."""
        _ = request.to, request.record_routes
        if request.contacts is STAR or not request.contacts:
            return self.answer(request, 400)
        if not _accepts_sdp(request):
            # All that an answer could hold (RFC 3261 section 20.1, RFC 4475 section 3.3.15).
            return self.answer(request, 406)
        if not request.body:
            return None
        if (request.get("Content-Encoding") or "identity").lower() != "identity":
            return self.answer(request, 415, ("Accept-Encoding", "identity"))
        if request.content_type != ACCEPT:
            return self.answer(request, 415, ("Accept", ACCEPT))
        try:
            audible = SessionDescription.parse(request.body).audio is not None
        except SdpError as error:
            return self.answer(request, error.status)
        return None if audible else self.answer(request, 488)

    def registrant(self, request: Request, flow: Flow, now_s: float) -> Admitted | Refused:
        """The phone a REGISTER comes from."""
        claimed = request.to.uri.user_unescaped or ""
        return self._recognise(request, flow, now_s, claimed, must_register=True)

    def caller(self, request: Request, flow: Flow, now_s: float) -> Admitted | Guest | Refused:
        """The phone or trunk an INVITE comes from."""
        claimed = request.from_.uri.user_unescaped or ""
        peer = self._peer(claimed)
        if peer is None or peer.type == "peer":
            trunk = self._trunk_at(flow)
            if trunk is not None and (trunk.insecure_invite or trunk.open):
                self._guard.succeeded(flow.remote.host, trunk.name, now_s)
                return self._within_acl(request, flow, trunk)
        if peer is None and self._settings.allow_guest and not request.has("Authorization"):
            return Guest()
        return self._recognise(request, flow, now_s, claimed, must_register=False)

    def _trunk_at(self, flow: Flow) -> Peer | None:
        """The trunk at the far end of a flow. One over TLS is nobody else's address in the clear, and its port says
        nothing, for it connects from any."""
        host = unmap(flow.remote.host)
        if flow.transport == TLS and (host, TLS) in self._by_address:
            return self._by_address[host, TLS]
        return self._by_address.get((host, flow.remote.port)) or self._by_address.get((host, 0))

    def _recognise(
        self, request: Request, flow: Flow, now_s: float, claimed: str, *, must_register: bool
    ) -> Admitted | Refused:
        peer = self._peer(claimed)
        if peer is not None and peer.open and peer.dynamic:
            return self._within_acl(request, flow, peer)
        guard, source = self._guard, flow.remote.host

        def secret(user: str) -> Secret | None:
            # A password that is not looked at fails as that of an unknown user does: the same work, the same answer.
            return self._secret(user) if guard.may_try(source, user, now_s) else None

        result = self._digest.check(
            request.rows("Authorization"), request.method, secret, now_s, request_uri=request.uri
        )
        match result:
            case Missing():
                if peer is None:
                    guard.unknown(source, claimed, now_s)
                return Refused(self._challenge(request, now_s), Denied.MISSING)
            case Stale():
                return Refused(self._challenge(request, now_s, stale=True), Denied.STALE)
            case Failed(user=tried, fault=fault):
                guard.failed(source, tried, now_s)
                if self._peer(tried) is None:
                    guard.unknown(source, tried, now_s)
                return Refused(self._challenge(request, now_s), Denied.FAILED, fault.value)
            case Authenticated(user=user):
                known = self._settings.peers[user]
                guard.succeeded(source, user, now_s)
                if must_register and user != claimed:
                    # A phone may only register its own address of record (RFC 3261 section 10.3 step 3).
                    return Refused(self.answer(request, 403), Denied.FAILED, "other AOR")
                return self._within_acl(request, flow, known)

    def _within_acl(self, request: Request, flow: Flow, peer: Peer) -> Admitted | Refused:
        if peer.permits(flow.remote.host):
            return Admitted(peer)
        return Refused(self.answer(request, 403), Denied.ACL, peer.name)

    def _peer(self, name: str) -> Peer | None:
        return self._settings.peers.get(name)

    def _secret(self, user: str) -> Secret | None:
        peer = self._settings.peers.get(user)
        if peer is None:
            return None
        if peer.md5secret is not None:
            return Md5Secret(peer.md5secret)
        return Password(peer.secret) if peer.secret is not None else None

    def _challenge(self, request: Request, now_s: float, *, stale: bool = False) -> Response:
        offered = algorithms_for(request.get("User-Agent") or "")
        values = self._digest.challenge(now_s, stale, offered)
        return self.answer(request, 401, *(("WWW-Authenticate", value) for value in values))

    def answer(self, request: Request, status: int, *headers: tuple[str, str]) -> Response:
        """A response of ours outside any dialog."""
        return make_response(request, status, to_tag=stateless_tag(request), headers=headers)


def _accepts_sdp(request: Request) -> bool:
    """Whether a session description may be sent back; without an Accept that goes without saying."""
    if not request.has("Accept"):
        return True
    types = {value.partition(";")[0].replace(" ", "").replace("\t", "").lower() for value in request.get_all("Accept")}
    return not types.isdisjoint(_ACCEPTING_SDP)


def _peers_by_address(settings: SipSettings) -> dict[tuple[str, int | str], Peer]:
    """Trunks by source address: with their port, with port 0 where any port will do (`insecure=port`), and with `tls`
    those reached over TLS, which call over TLS."""
    found: dict[tuple[str, int | str], Peer] = {}
    for peer in settings.peers.values():
        if peer.host is not None and is_ip(peer.host.host):
            if peer.transport == TLS:
                found[peer.host.host, TLS] = peer
                continue
            found[peer.host.host, 0 if peer.insecure_port else peer.host.port or 5060] = peer
    return found
