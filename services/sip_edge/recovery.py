"""Calls a node left behind when it died: their parties are told, their records are closed.

The snapshots say which calls were up. A call whose dialogs are known gets a BYE on every answered leg, so that no phone
is left talking to nobody, and ends in the history with a cause. Going on with such calls is the cluster's business.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from services.core.address import Address
from services.core.store.port import Version
from services.sip_edge.call.snapshot import unpack
from services.sip_edge.call.state import LegPhase, LegState
from services.sip_edge.transport import TransportError

if TYPE_CHECKING:
    from services.sip_edge.call.process import CallProcess
    from services.sip_edge.edge import Edge

log = logging.getLogger(__name__)


async def recover_calls(edge: Edge) -> int:
    """End every call found in the store; returns how many there were."""
    left = [(version, data) async for _, version, data in edge.store.scan("call")]
    for version, data in left:
        state, _ = unpack(data)
        process = edge.new_process(state.call_id)
        process.state = state
        for leg in state.legs.values():
            if leg.phase is not LegPhase.ENDED:
                await _restore(edge, process, leg)
        runner = edge.adopt(process, epoch=version.epoch + 1, version=Version(version.epoch, version.seq))
        runner.feed(lambda call: call.abandoned("node lost"))
    if left:
        log.warning("%d calls were up when this node stopped; they are ended", len(left))
    return len(left)


async def _restore(edge: Edge, process: CallProcess, leg: LegState) -> None:
    try:
        flow = await edge.transport.flow_to(leg.transport, Address.parse(leg.remote))
    except TransportError as error:
        log.warning("call %s: leg %s cannot be reached any more: %s", process.state.call_id, leg.leg, error)
        return
    process.dialogs.restore(leg.leg, flow, edge.transport.advertised(flow))
