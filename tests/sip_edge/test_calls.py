"""Calls over real sockets between two of our own agents: every family, both transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.console.doctor.agent import CallFailed, UserAgent
from services.core.address import Family
from services.core.events.catalogue import CallEnded, MediaReported
from tests.support.inprocess import InProcessPbx, in_process_pbx, write_config

BOTH = (Family.IP4, Family.IP6)


@pytest.fixture
async def pbx(tmp_path: Path) -> AsyncIterator[InProcessPbx]:
    async with in_process_pbx(write_config(tmp_path)) as running:
        yield running


async def _phone(agents: list[UserAgent], agent: UserAgent) -> UserAgent:
    agents.append(agent)
    await agent.start()
    await agent.register()
    return agent


@pytest.fixture
async def agents() -> AsyncIterator[list[UserAgent]]:
    made: list[UserAgent] = []
    yield made
    for agent in made:
        await agent.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("caller_family", BOTH)
@pytest.mark.parametrize("callee_family", BOTH)
async def test_both_parties_hear_each_other(
    pbx: InProcessPbx, agents: list[UserAgent], caller_family: Family, callee_family: Family, transport: str
) -> None:
    caller = await _phone(agents, pbx.agent("dev1", "one", family=caller_family, transport=transport, tone_hz=1000))
    callee = await _phone(agents, pbx.agent("dev2", "two", family=callee_family, transport=transport, tone_hz=440))
    call = await caller.call("2")
    other = await asyncio.wait_for(callee.incoming.get(), 2)
    assert 180 in call.early
    heard = await asyncio.gather(
        other.audio.hears(1000, seconds=0.4, timeout_s=4), call.audio.hears(440, seconds=0.4, timeout_s=4)
    )
    assert all(heard)
    await call.hang_up()
    await asyncio.wait_for(other.ended.wait(), 2)
    await other.audio.close()
    await asyncio.wait_for(pbx.edge.drain(5), 6)
    (ended,) = pbx.facts(CallEnded)
    assert isinstance(ended, CallEnded)
    assert ended.disposition == "ANSWERED"
    reports = [fact for fact in pbx.facts(MediaReported) if isinstance(fact, MediaReported)]
    assert {report.leg: report.family for report in reports} == {"a": caller_family.value, "b1": callee_family.value}
    assert all(report.packets_received > 10 and report.packets_lost == 0 for report in reports)


async def test_a_wrong_password_is_refused(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    agent = pbx.agent("dev1", "wrong")
    agents.append(agent)
    await agent.start()
    with pytest.raises(CallFailed, match="401"):
        await agent.register()


async def test_busy_reaches_the_caller(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    caller = await _phone(agents, pbx.agent("dev1", "one"))
    callee = await _phone(agents, pbx.agent("dev2", "two"))
    callee.answer_status = 486
    with pytest.raises(CallFailed, match="486"):
        await caller.call("2")


async def test_read_takes_digits_from_the_media(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    caller = await _phone(agents, pbx.agent("dev1", "one"))
    call = await caller.call("200")
    for digit in "1234":
        call.audio.send_digit(digit)
    await asyncio.wait_for(call.ended.wait(), 5)
    assert await pbx.store.get_value("db", "pins/last") == "1234"


async def test_echo_returns_the_callers_own_voice(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    caller = await _phone(agents, pbx.agent("dev1", "one", tone_hz=700))
    call = await caller.call("600")
    assert await call.audio.hears(700, seconds=0.4, timeout_s=4)
    await call.hang_up()


async def test_a_phone_outside_its_access_list_is_refused(pbx: InProcessPbx, agents: list[UserAgent]) -> None:
    agent = pbx.agent("guarded", "four")
    agents.append(agent)
    await agent.start()
    with pytest.raises(CallFailed, match="403"):
        await agent.register()


async def test_a_call_that_was_up_when_the_node_died_is_ended_at_the_next_start(
    tmp_path: Path, agents: list[UserAgent]
) -> None:
    folder = write_config(tmp_path)
    async with in_process_pbx(folder) as first:
        caller = await _phone(agents, first.agent("dev1", "one"))
        callee = await _phone(agents, first.agent("dev2", "two"))
        call = await caller.call("2")
        other = await asyncio.wait_for(callee.incoming.get(), 2)
        port = first.address().port
    sip = (folder / "sip.conf").read_text().replace("bindaddr=127.0.0.1:0", f"bindaddr=127.0.0.1:{port}")
    (folder / "sip.conf").write_text(sip)
    async with in_process_pbx(folder) as second:
        await asyncio.wait_for(call.ended.wait(), 3)
        await asyncio.wait_for(other.ended.wait(), 3)
        (ended,) = second.facts(CallEnded)
        assert isinstance(ended, CallEnded)
        assert ended.reason == "node lost"
        bindings = await second.registrar.lookup("dev2")
        assert len(bindings) == 1
    await call.audio.close()
    await other.audio.close()
