"""The dialogs of a call's legs: building requests in them, checking what comes in (RFC 3261 section 12)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.core.address import HostPort
from services.core.events.catalogue import LegRedirected, LegRenegotiated
from services.core.sdp import next_version
from services.core.sip.dialog import Dialog
from services.core.sip.errors import SipError
from services.core.sip.flow import UDP, WS, WSS, Flow
from services.core.sip.message import Request, Response
from services.core.sip.transaction import BRANCH_COOKIE
from services.core.sip.uri import NameAddr, SipUri, escape_user
from services.sip_edge.call.party import Destination, IncomingInvite
from services.sip_edge.call.state import CALLER, LegPhase

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, INFO, MESSAGE"
"""Methods served inside a dialog."""

SDP = "application/sdp"
_MAX_FORWARDS = 70


@dataclass(slots=True)
class _Path:
    """How a leg is reached and what it is shown of us."""

    flow: Flow
    advertised: HostPort
    invite: Request | None = None
    """The INVITE of ours that made the dialog; its CSeq is the one of the ACK."""
    dialog: Dialog | None = None
    described: bytes | None = None
    """The session description the leg was last shown."""
    over: bool = False
    """Its party hung up, or was hung up."""
    secure: bool = False
    """Made by a `sips:` request: our Contact is `sips:` too (RFC 3261 section 12.1.1)."""


class Dialogs:
    """One dialog a leg."""

    def __init__(self, call: CallProcess) -> None:
        self._call = call
        self._paths: dict[str, _Path] = {}

    # --- making dialogs ----------------------------------------------------------------------------------------

    def caller(self, invite: IncomingInvite, local_tag: str, *, leg: str = CALLER) -> Dialog:
        """The dialog of an INVITE to us, ours to confirm (RFC 3261 section 12.1.1)."""
        dialog = Dialog.uas(invite.request, local_tag)
        secure = _is_sips(invite.request.uri) or _is_sips(dialog.remote_target)
        self._paths[leg] = _Path(invite.flow, invite.advertised, dialog=dialog, secure=secure)
        return dialog

    def invite(
        self, leg: str, destination: Destination, *, name: str, number: str, sdp: bytes, max_forwards: int | None
    ) -> Request:
        """The INVITE toward a callee."""
        path = _Path(destination.flow, destination.advertised, secure=_is_sips(destination.uri))
        self._paths[leg] = path
        call = self._call
        caller = SipUri(
            scheme="sip", user=escape_user(number) or "anonymous", host=path.advertised.host, port=path.advertised.port
        )
        local = NameAddr(display=name, uri=caller, params=(("tag", call.surroundings.new_tag()),))
        hops = _MAX_FORWARDS if max_forwards is None else max_forwards - 1
        headers = [
            ("Via", self._via(path)),
            ("Max-Forwards", str(hops)),
            *(("Route", route) for route in destination.route_set),
            ("From", str(local)),
            ("To", f"<{destination.uri}>"),
            ("Call-ID", call.surroundings.new_sip_call_id()),
            ("CSeq", "1 INVITE"),
            ("Contact", self.contact(leg)),
            *self.capabilities(),
        ]
        path.invite = Request("INVITE", destination.uri, headers)
        self.describe(leg, path.invite, sdp)
        return path.invite

    def confirmed(self, leg: str, response: Response) -> Dialog:
        """The dialog a callee's 2xx makes (RFC 3261 section 12.1.2). SipError when the response lacks a part of it."""
        path = self._paths[leg]
        assert path.invite is not None
        path.dialog = Dialog.uac(path.invite, response)
        return path.dialog

    def hang_up_fork(self, leg: str, response: Response) -> tuple[Request, Request]:
        """ACK and BYE for a 2xx of another fork of the leg's INVITE (RFC 3261 section 13.2.2.4)."""
        path = self._paths[leg]
        assert path.invite is not None
        fork = Dialog.uac(path.invite, response)
        ack = fork.ack(path.invite.cseq.number, via=self._via(path))
        return ack, fork.next_request("BYE", via=self._via(path))[1]

    def restore(self, leg: str, flow: Flow, advertised: HostPort) -> None:
        """A dialog read back from the history: this process did not make it."""
        state = self._call.state.leg(leg)
        dialog = Dialog(
            call_id=state.sip_call_id,
            local_tag=state.local_tag,
            remote_tag=state.remote_tag,
            local_uri=state.local_uri,
            remote_uri=state.remote_uri,
            remote_target=state.remote_target,
            route_set=state.route_set,
            local_cseq=state.local_cseq,
            remote_cseq=state.remote_cseq,
        )
        self._paths[leg] = _Path(flow, advertised, dialog=dialog, secure=_is_sips(state.remote_target))

    def known(self, leg: str) -> bool:
        """Can the leg be reached?"""
        return leg in self._paths

    def lend(self, leg: str) -> object:
        """The leg's dialog, for another call to send a request in (`borrow`). Both see its numbers go up."""
        return self._paths[leg]

    def borrow(self, leg: str, path: object) -> None:
        """Take another call's dialog as that of `leg`."""
        assert isinstance(path, _Path)
        self._paths[leg] = path

    def leg_over(self, leg: str) -> None:
        if leg in self._paths:
            self._paths[leg].over = True

    def is_over(self, leg: str) -> bool:
        """Did the party of the dialog leave, in whichever call it is?"""
        return self._paths[leg].over

    def is_secure(self, leg: str) -> bool:
        """Whether `sips:` asked for TLS on every hop of the leg."""
        return leg in self._paths and self._paths[leg].secure

    # --- inside a dialog ---------------------------------------------------------------------------------------

    def received(self, leg: str, request: Request, flow: Flow) -> None:
        """Take note of a request of the party. SipError 500 for a CSeq that goes back (RFC 3261 section 12.2.2)."""
        path = self._paths[leg]
        if path.dialog is None:
            raise SipError(481, "Dialog not established", "To", request)
        self._move(leg, path, path.dialog.received(request))
        if flow.transport == path.flow.transport:
            path.flow = flow

    def refreshed(self, leg: str, response: Response) -> None:
        """A 2xx to our re-INVITE may move the party's remote target (RFC 3261 section 12.2.1.2).

        With a Contact that cannot be read the target stays.
        """
        path = self._paths[leg]
        with contextlib.suppress(SipError):
            self._move(leg, path, self._established(path).answered(response))

    def _move(self, leg: str, path: _Path, dialog: Dialog) -> None:
        before, path.dialog = path.dialog, dialog
        moved = before is not None and before.remote_target != dialog.remote_target
        if moved and self._call.state.leg(leg).phase is LegPhase.ANSWERED:
            self._call.emit(LegRedirected(leg=leg, remote_target=dialog.remote_target))

    def next_request(self, leg: str, method: str, *, sdp: bytes = b"") -> Request:
        """The next request in a confirmed dialog, our Via on top."""
        path = self._paths[leg]
        headers = [*self.capabilities()] if method == "INVITE" else []
        contact = self.contact(leg) if method == "INVITE" else None
        dialog, request = self._established(path).next_request(
            method, via=self._via(path), contact=contact, headers=headers
        )
        path.dialog = dialog
        self.describe(leg, request, sdp)
        return request

    def ack(self, leg: str, invite_cseq: int, *, sdp: bytes = b"") -> Request:
        """The ACK of a 2xx: a request of its own with the INVITE's number (RFC 3261 section 13.2.2.4)."""
        path = self._paths[leg]
        request = self._established(path).ack(invite_cseq, via=self._via(path))
        self.describe(leg, request, sdp)
        return request

    def _established(self, path: _Path) -> Dialog:
        assert path.dialog is not None, "requests are sent in dialogs"
        return path.dialog

    def remember_description(self, leg: str, sdp: bytes) -> None:
        """The party's answer to an offer of ours is in force."""
        self._call.emit(LegRenegotiated(leg=leg, offer=sdp, answer=b"", **self.numbers(leg)))

    def describe(self, leg: str, message: Request | Response, sdp: bytes) -> None:
        """Put a description into a message to a leg, if there is one.

        Whoever is behind it, toward one party we are one origin whose version counts (RFC 3264 section 8).
        """
        if sdp:
            path = self._paths[leg]
            path.described = next_version(path.described, sdp)
            message.set_body(path.described, SDP)

    def described(self, leg: str) -> bytes:
        """The description the leg was last shown; empty when there was none."""
        return self._paths[leg].described or b""

    def numbers(self, leg: str) -> dict[str, int]:
        """Where the dialog's sequence numbers stand, for the history."""
        dialog = self._paths[leg].dialog
        if dialog is None:
            return {}
        return {"local_cseq": dialog.local_cseq, "remote_cseq": dialog.remote_cseq}

    # --- what a leg sees of us ---------------------------------------------------------------------------------

    def flow(self, leg: str) -> Flow:
        return self._paths[leg].flow

    def contact(self, leg: str) -> str:
        """Our Contact toward a leg. The user part names the call and the leg, whichever edge it comes back to."""
        path = self._paths[leg]
        scheme, transport = ("sips", "") if path.secure else ("sip", f";transport={path.flow.transport}")
        if path.flow.transport in (WS, WSS):
            # The one word for both; the scheme says whether it is over TLS (RFC 7118 section 5.4).
            transport = ";transport=ws"
        elif path.flow.transport == UDP:
            transport = ""
        return f"<{scheme}:{self._call.state.call_id}-{leg}@{path.advertised}{transport}>"

    def capabilities(self) -> list[tuple[str, str]]:
        return [("Allow", ALLOW), ("Supported", "replaces, norefersub"), ("User-Agent", self._call.settings.user_agent)]

    def _via(self, path: _Path) -> str:
        branch = self._call.surroundings.new_tag()
        return f"SIP/2.0/{path.flow.transport.upper()} {path.advertised};branch={BRANCH_COOKIE}{branch};rport"


def _is_sips(uri: str) -> bool:
    return uri[:5].lower() == "sips:"
