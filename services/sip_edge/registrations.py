"""REGISTER at the edge: who it is, whether for us, then the registrar's rules (RFC 3261 section 10.3)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from services.core.address import is_ip
from services.core.config.sip import Peer, SipSettings
from services.core.sip.flow import Flow
from services.core.sip.message import Request, make_response
from services.core.sip.transaction import ServerKey
from services.registrar import Register, Registrar, Rules, read_register
from services.sip_edge.admission import Admission, Refused
from services.sip_edge.randomness import Randomness

if TYPE_CHECKING:
    from services.sip_edge.edge import Edge


class Registrations:
    """Takes REGISTERs for the phones of sip.conf. The address of record of a phone is its section's name."""

    def __init__(self, edge: Edge, admission: Admission, randomness: Randomness) -> None:
        self._edge = edge
        self._settings: SipSettings = edge.settings
        self._registrar: Registrar = edge.registrar
        self._admission = admission
        self._randomness = randomness
        self._rules: dict[int, Rules] = {}

    def register(self, key: ServerKey, request: Request, flow: Flow) -> None:
        """Answer a REGISTER, now or when its binding is kept."""
        edge = self._edge
        who = self._admission.registrant(request, flow, edge.unix_s())
        if isinstance(who, Refused):
            edge.deny(key, request, who)
            return
        if request.request_uri.user is not None:
            # A registrar has no users of its own (RFC 3261 section 10.2).
            edge.respond(key, self._admission.answer(request, 400))
            return
        refusal = self._admission.check_content(request)
        if refusal is not None:
            edge.respond(key, refusal)
        elif not self._is_ours(request.to.uri.host) or who.peer.type == "peer":
            edge.respond(key, self._admission.answer(request, 404))
        elif not who.peer.dynamic:
            # Its address is in sip.conf; what registers under its name is somebody else.
            edge.respond(key, self._admission.answer(request, 403))
        else:
            # Read here, where a Contact that cannot be read is answered 400.
            command = read_register(request, flow, self._randomness.octets(6).hex())
            edge.spawn(self._register(key, request, command, who.peer))

    def _is_ours(self, host: str) -> bool:
        """Do we keep bindings for this domain? Any address counts as one of ours, as phones are given one."""
        domains = self._settings.domains
        return not domains or is_ip(host) or host.lower() in domains or host.lower() == self._settings.realm.lower()

    async def _register(self, key: ServerKey, request: Request, command: Register, peer: Peer) -> None:
        outcome = await self._registrar.register(peer.name, command, self._rules_of(peer))
        self._edge.observer.registered(peer.name, outcome.result)
        response = make_response(
            request, outcome.status, outcome.reason, to_tag=self._randomness.tag(), headers=outcome.headers
        )
        self._edge.respond(key, response)

    def _rules_of(self, peer: Peer) -> Rules:
        """The phone's own limit within the registrar's rules."""
        rules = self._rules.get(peer.max_contacts)
        if rules is None:
            rules = dataclasses.replace(self._registrar.rules, max_contacts=peer.max_contacts)
            self._rules[peer.max_contacts] = rules
        return rules
