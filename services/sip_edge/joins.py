"""Calls that meet: who is meant by a Replaces header, and the way of a lent dialog between two calls of this edge.

REFER with Replaces    call 1 ─Join─► join() ─► call 2 ─JoinOver─► join_over() ─► call 1
INVITE with Replaces   Edge._invite ─► replace() ─► the call it names
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.core.sip.errors import SipError
from services.core.sip.message import make_response
from services.core.sip.replaces import Replaces
from services.core.sip.transaction import stateless_tag
from services.sip_edge.call.effects import Join, JoinOver
from services.sip_edge.call.party import IncomingInvite, Joined, JoinRequest, PhoneRules

if TYPE_CHECKING:
    from services.core.config.sip import SipSettings
    from services.sip_edge.edge import Edge
    from services.sip_edge.runner import CallRunner


def join(edge: Edge, asking: CallRunner, effect: Join) -> None:
    """Lend a dialog of `asking` to the call that has the dialog Replaces names. 481 when no other call here has it."""
    found = find(edge, effect.replaces)
    if found is None or found[0] is asking:
        asking.feed(lambda process: process.joined(effect.token, Joined(status=481)))
        return
    asked, replaced = found
    request = JoinRequest(
        from_call=asking.call_id,
        token=effect.token,
        linkedid=effect.linkedid,
        leg=effect.leg,
        path=effect.path,
        replaced=replaced,
        early_only=effect.replaces.early_only,
    )
    asked.feed(lambda process: process.lent(request))


def join_over(edge: Edge, asked: CallRunner, effect: JoinOver) -> None:
    """The asked call has taken the dialog in, so that requests in it are for that call; or it has not."""
    request, outcome = effect.request, effect.outcome
    if outcome.status == 200:
        edge.index_dialog(request.leg.sip_call_id, request.leg.local_tag, asked, outcome.leg)
    asking = edge.call(request.from_call)
    if asking is not None:
        asking.feed(lambda process: process.joined(request.token, outcome))


def replace(edge: Edge, invite: IncomingInvite) -> CallRunner | None:
    """Hand an INVITE with Replaces to the call it names; None when it was refused here (RFC 3891 section 3)."""
    request = invite.request
    rows = request.rows("Replaces")
    status, found = 0, None
    try:
        found = find(edge, Replaces.parse(rows[0]))
    except SipError:
        status = 400
    if len(rows) > 1:
        status = 400
    elif not status and found is None:
        status = 481
    elif not (invite.phone and edge.phone_rules(invite.phone).allow_transfer):
        status = status or 403
    if status or found is None:
        edge.respond(invite.key, make_response(request, status, to_tag=stateless_tag(request)))
        return None
    runner, leg = found
    early_only = Replaces.parse(rows[0]).early_only
    runner.feed(lambda process: process.replaced(invite, leg, early_only=early_only))
    return runner


def find(edge: Edge, replaces: Replaces) -> tuple[CallRunner, str] | None:
    """The call and leg of a dialog as its party names it: our tag is `to_tag`, the party's `from_tag`."""
    found = edge.leg_at(replaces.call_id, replaces.to_tag)
    if found is None:
        return None
    runner, name = found
    leg = runner.process.state.legs.get(name)
    return found if leg is not None and leg.remote_tag == replaces.from_tag else None


def phone_rules(settings: SipSettings, name: str) -> PhoneRules:
    """What sip.conf says of a phone, as a call wants to know it. A guest may not transfer."""
    peer = settings.peers.get(name)
    if peer is None:
        return PhoneRules(context=settings.context, allow_transfer=False)
    return PhoneRules(
        context=peer.context,
        allow_transfer=peer.allow_transfer,
        caller_name=peer.callerid_name,
        caller_number=peer.callerid_number,
    )
