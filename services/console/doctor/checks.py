"""What the doctor examines, and how it says what it found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from services.console.doctor.agent import AgentCall, CallFailed, UserAgent
from services.core.address import Address, Family, is_unspecified
from services.core.config.sip import ListenerSettings
from services.core.sip.flow import WS, WSS
from services.sip_edge import probes
from services.sip_edge.transport import TransportError

CALLER_HZ = 1000
CALLEE_HZ = 440
_LOOPBACK = {Family.IP4: "127.0.0.1", Family.IP6: "::1"}
_ANSWER_S = 8.0
_HEAR_S = 4.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One step of an examination."""

    ok: bool
    what: str
    remedy: str = ""


@dataclass(slots=True)
class Examination:
    """A test call over one listener and transport."""

    address: Address
    transport: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)


def targets(listeners: Iterable[ListenerSettings]) -> list[tuple[Address, str]]:
    """Every address and transport to call through; a wildcard is tried on the loopback address.

    WebSockets are left out: they are opened by browsers.
    """
    found = []
    for listener in listeners:
        address = listener.address
        if is_unspecified(address.host):
            address = Address(_LOOPBACK[address.family], address.port)
        found += [(address, name) for name in listener.transports if name not in (WS, WSS)]
    return found


async def examine(where: Iterable[tuple[Address, str]], key: bytes) -> AsyncIterator[Examination]:
    """Place a test call over each listener, one after the other."""
    for address, transport in where:
        examination = Examination(address, transport)
        await _examine(examination, probes.password(key))
        yield examination


async def _examine(examination: Examination, password: str) -> None:
    server, name = examination.address, examination.transport
    caller, callee = (
        UserAgent(user=user, password=password, local=server.host, server=server, transport=name, tone_hz=tone)
        for user, tone in ((probes.CALLER, CALLER_HZ), (probes.CALLEE, CALLEE_HZ))
    )
    try:
        await _register_and_call(examination, caller, callee)
    except TransportError as error:
        _note(examination, False, str(error), "is the PBX running with this configuration?")
    except CallFailed as error:
        _note(examination, False, f"the PBX said {error}", _remedy_for(error.status))
    except TimeoutError:
        _note(examination, False, "no answer from the PBX", "is it running? does a firewall drop the packets?")
    finally:
        await caller.close()
        await callee.close()


async def _register_and_call(examination: Examination, caller: UserAgent, callee: UserAgent) -> None:
    await caller.start()
    await callee.start()
    began = time.monotonic()
    async with asyncio.timeout(_ANSWER_S):
        await callee.register()
    _note(examination, True, f"registered in {_ms(began)} ms")
    try:
        began = time.monotonic()
        call = await caller.call(probes.EXTENSION, timeout_s=_ANSWER_S)
        other = await asyncio.wait_for(callee.incoming.get(), 1.0)
        _note(examination, True, f"call answered in {_ms(began)} ms")
        await _listen(examination, call, other)
        began = time.monotonic()
        await call.hang_up()
        async with asyncio.timeout(2.0):
            await other.ended.wait()
        _note(examination, True, f"hung up in {_ms(began)} ms")
        await other.audio.close()
    finally:
        await callee.register(expires_s=0)


async def _listen(examination: Examination, call: AgentCall, other: AgentCall) -> None:
    """Does each side hear the other's tone?"""
    to_callee, to_caller = await asyncio.gather(
        other.audio.hears(CALLER_HZ, seconds=0.4, timeout_s=_HEAR_S),
        call.audio.hears(CALLEE_HZ, seconds=0.4, timeout_s=_HEAR_S),
    )
    for heard, direction, audio in (
        (to_callee, "caller to callee", other.audio),
        (to_caller, "callee to caller", call.audio),
    ):
        if heard:
            _note(examination, True, f"{direction}: tone heard, from {', '.join(sorted(audio.sources))}")
        else:
            _note(
                examination,
                False,
                f"{direction}: {audio.packets_received} packets came, no tone",
                "check rtp.conf: bindaddr, externaddr and the firewall for rtpstart to rtpend (UDP)",
            )


def _note(examination: Examination, ok: bool, what: str, remedy: str = "") -> None:
    examination.findings.append(Finding(ok, what, remedy))


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _remedy_for(status: int) -> str:
    if status in (401, 403):
        return "the key in the data directory is not the running PBX's: give doctor the same --data"
    if status == 408:
        return "is it running? does a firewall drop the packets?"
    if status == 503:
        return "it is full or about to stop; pbx calls shows what is going on"
    return "see the log of the PBX"
