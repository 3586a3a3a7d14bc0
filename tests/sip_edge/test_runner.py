"""What a call commits, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from services.console.doctor.agent import UserAgent
from services.core.store.port import Change, Conflict, Version
from services.sip_edge.call.process import CallProcess
from services.sip_edge.edge import Edge
from tests.support.inprocess import InProcessPbx, in_process_pbx, write_config


@pytest.fixture
async def pbx(tmp_path: Path) -> AsyncIterator[InProcessPbx]:
    async with in_process_pbx(write_config(tmp_path)) as running:
        yield running


@pytest.fixture
async def phones(pbx: InProcessPbx) -> AsyncIterator[tuple[UserAgent, UserAgent]]:
    caller, callee = pbx.agent("dev1", "one"), pbx.agent("dev2", "two")
    for agent in (caller, callee):
        await agent.start()
        await agent.register()
    yield caller, callee
    for agent in (caller, callee):
        await agent.close()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def _one_call(pbx: InProcessPbx, phones: tuple[UserAgent, UserAgent]) -> None:
    caller, callee = phones
    call = await caller.call("2")
    other = await asyncio.wait_for(callee.incoming.get(), 2)
    await call.hang_up()
    await asyncio.wait_for(other.ended.wait(), 2)
    await other.audio.close()
    await asyncio.wait_for(pbx.edge.drain(5), 6)


def _names(changes: Sequence[Change]) -> list[str]:
    return [type(event).__name__ for change in changes for event in change.events]


async def test_both_answers_are_one_commit_and_the_whole_end_is_another(
    pbx: InProcessPbx, phones: tuple[UserAgent, UserAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[list[str]] = []
    submit = pbx.store.submit

    def noted(changes: Sequence[Change]) -> asyncio.Future[list[Version | Conflict]]:
        commits.append(_names(changes))
        return submit(changes)

    monkeypatch.setattr(pbx.store, "submit", noted)
    await _one_call(pbx, phones)
    answered = [names for names in commits if "LegAnswered" in names]
    assert [names.count("LegAnswered") for names in answered] == [2]
    assert "LegsBridged" in answered[0]
    ended = [names for names in commits if {"LegEnded", "CallEnded"} & set(names)]
    assert [(names.count("LegEnded"), names.count("CallEnded")) for names in ended] == [(2, 1)]


async def test_a_call_that_is_over_leaves_no_garbage(
    pbx: InProcessPbx, phones: tuple[UserAgent, UserAgent], monkeypatch: pytest.MonkeyPatch, no_collector: None
) -> None:
    made: list[weakref.ref[CallProcess]] = []
    new_process = Edge.new_process

    def noted(edge: Edge, call_id: str) -> CallProcess:
        process = new_process(edge, call_id)
        made.append(weakref.ref(process))
        return process

    monkeypatch.setattr(Edge, "new_process", noted)
    await _one_call(pbx, phones)
    assert [reference() for reference in made] == [None]
