"""Transfers, INFO and MESSAGE over real sockets between our own agents: who is left hears whom it was handed on to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.console.doctor.agent import AgentCall, CallFailed, UserAgent
from services.console.projections import cdr
from services.console.projections.view import Row
from services.core.address import Family
from services.core.events.catalogue import CallEnded, CallStarted, LegJoined
from services.core.events.envelope import seal, unseal
from tests.support.inprocess import InProcessPbx, in_process_pbx, write_config

EXTENSIONS = "[internal]\nexten => _[1-3],1,Dial(SIP/dev${EXTEN},20)\n"
BOTH = (Family.IP4, Family.IP6)


@pytest.fixture
async def pbx(tmp_path: Path) -> AsyncIterator[InProcessPbx]:
    async with in_process_pbx(write_config(tmp_path, extensions=EXTENSIONS)) as running:
        yield running


@pytest.fixture
async def agents() -> AsyncIterator[list[UserAgent]]:
    made: list[UserAgent] = []
    yield made
    for agent in made:
        await agent.close()


async def phone(agents: list[UserAgent], agent: UserAgent) -> UserAgent:
    agents.append(agent)
    await agent.start()
    await agent.register()
    return agent


async def three(pbx: InProcessPbx, agents: list[UserAgent], family: Family) -> tuple[UserAgent, UserAgent, UserAgent]:
    """dev1 of IPv4, dev2 of `family`, dev3 of IPv4; each with a tone of its own."""
    dev1 = await phone(agents, pbx.agent("dev1", "one", tone_hz=1000))
    dev2 = await phone(agents, pbx.agent("dev2", "two", family=family, tone_hz=440))
    dev3 = await phone(agents, pbx.agent("dev3", "three", tone_hz=700))
    return dev1, dev2, dev3


async def taken(agent: UserAgent) -> AgentCall:
    return await asyncio.wait_for(agent.incoming.get(), 2)


async def told(call: AgentCall) -> str:
    """The last a transferor is told."""
    while True:
        notified = await asyncio.wait_for(call.told.get(), 3)
        if (notified.get("Subscription-State") or "").startswith("terminated"):
            return notified.body.decode().strip()


async def talk(one: AgentCall, one_hz: int, other: AgentCall, other_hz: int) -> bool:
    heard = await asyncio.gather(
        one.audio.hears(other_hz, seconds=0.4, timeout_s=4), other.audio.hears(one_hz, seconds=0.4, timeout_s=4)
    )
    return all(heard)


def records(pbx: InProcessPbx) -> list[Row]:
    """The call detail records of what happened."""
    states: dict[str, cdr.CallRecord | None] = {}
    for seq, (key, event) in enumerate(pbx.recorder.facts):
        envelope = unseal(seal(event, key=key, epoch=1, seq=seq, time=1_700_000_000.0 + seq).value)
        states[key] = cdr.fold(states.get(key), envelope)
    return [row for key, state in states.items() if state is not None for row in cdr.rows(key, state)]


@pytest.mark.parametrize("family", BOTH)
async def test_a_blind_transfer_connects_who_is_left(
    pbx: InProcessPbx, agents: list[UserAgent], family: Family
) -> None:
    dev1, dev2, dev3 = await three(pbx, agents, family)
    call = await dev1.call("2")
    party = await taken(dev2)
    response = await call.refer("sip:3@pbx.example")
    assert response.status == 202
    target = await taken(dev3)
    assert await told(call) == "SIP/2.0 200 OK"
    await asyncio.wait_for(call.ended.wait(), 2)
    assert await talk(party, 440, target, 700)
    await party.hang_up()
    await asyncio.wait_for(target.ended.wait(), 2)
    await asyncio.wait_for(pbx.edge.drain(5), 6)
    (record,) = records(pbx)
    assert (record["dst"], record["disposition"]) == ("3", "ANSWERED")
    assert str(record["dstchannel"]).startswith("SIP/dev3")
    await target.audio.close()
    await call.audio.close()


async def test_a_transfer_to_a_busy_phone_comes_back(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    dev1, dev2, dev3 = await three(pbx, agents, Family.IP4)
    dev3.answer_status = 486
    call = await dev1.call("2")
    party = await taken(dev2)
    await call.refer("sip:3@pbx.example")
    assert await told(call) == "SIP/2.0 486 Busy Here"
    assert await talk(call, 1000, party, 440)
    await call.hang_up()
    await asyncio.wait_for(party.ended.wait(), 2)
    await party.audio.close()


@pytest.mark.parametrize("family", BOTH)
async def test_an_attended_transfer_joins_two_calls(pbx: InProcessPbx, agents: list[UserAgent], family: Family) -> None:
    dev1, dev2, dev3 = await three(pbx, agents, family)
    first = await dev1.call("2")
    party = await taken(dev2)
    second = await dev1.call("3")
    target = await taken(dev3)
    response = await first.refer(f"sip:3@pbx.example?Replaces={second.replaces}")
    assert response.status == 202
    assert await told(first) == "SIP/2.0 200 OK"
    await asyncio.wait_for(asyncio.gather(first.ended.wait(), second.ended.wait()), 2)
    assert await talk(party, 440, target, 700)
    assert pbx.edge.calls_active == 1
    await target.hang_up()
    await asyncio.wait_for(party.ended.wait(), 2)
    await asyncio.wait_for(pbx.edge.drain(5), 6)
    started = [fact for fact in pbx.facts(CallStarted) if isinstance(fact, CallStarted)]
    assert len(pbx.facts(CallEnded)) == 2
    assert {record["linkedid"] for record in records(pbx)} == {started[0].linkedid}
    assert len(pbx.facts(LegJoined)) == 1
    for call in (first, second, party):
        await call.audio.close()


async def test_an_invite_with_replaces_takes_over_a_call(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    dev1, dev2, dev3 = await three(pbx, agents, Family.IP4)
    call = await dev1.call("2")
    party = await taken(dev2)
    replaces = call.replaces.replace("%3B", ";").replace("%3D", "=")
    newcomer = await dev3.call("2", headers=(("Replaces", replaces), ("Require", "replaces")))
    await asyncio.wait_for(call.ended.wait(), 2)
    assert await talk(newcomer, 700, party, 440)
    await newcomer.hang_up()
    await asyncio.wait_for(party.ended.wait(), 2)
    await party.audio.close()
    await call.audio.close()


@pytest.mark.parametrize(
    ("replaces", "status"),
    [
        (("nobody@x;to-tag=1;from-tag=2",), 481),
        (("nobody@x;to-tag=1",), 400),
        (("a;to-tag=1;from-tag=2", "b;to-tag=1;from-tag=2"), 400),
    ],
)
async def test_a_replaces_header_that_names_no_dialog_is_refused(
    pbx: InProcessPbx, agents: list[UserAgent], replaces: tuple[str, ...], status: int
) -> None:
    agent = await phone(agents, pbx.agent("dev1", "one"))
    with pytest.raises(CallFailed, match=str(status)):
        await agent.call("2", headers=tuple(("Replaces", value) for value in replaces))


async def test_digits_of_info_and_messages_reach_the_other_party(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    dev1 = await phone(agents, pbx.agent("dev1", "one"))
    dev2 = await phone(agents, pbx.agent("dev2", "two", family=Family.IP6, transport="tcp"))
    call = await dev1.call("2")
    party = await taken(dev2)
    pressed = await call.request("INFO", sdp=b"Signal=5\r\nDuration=160\r\n", kind="application/dtmf-relay")
    said = await call.request("MESSAGE", sdp="gr\u00fc\u00df dich".encode(), kind="text/plain;charset=utf-8")
    assert (pressed.status, said.status) == (200, 200)
    digit, message = [await asyncio.wait_for(party.told.get(), 2) for _ in range(2)]
    assert (digit.method, digit.body) == ("INFO", b"Signal=5\r\nDuration=160\r\n")
    assert (message.method, message.body.decode()) == ("MESSAGE", "gr\u00fc\u00df dich")
    await call.hang_up()
    await asyncio.wait_for(party.ended.wait(), 2)
    await party.audio.close()
