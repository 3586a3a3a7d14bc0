"""A call that exists only as an Execution: what the edge does with the interpreter, without an edge."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgpack

from services.core.config.problems import Problem
from services.dialplan import (
    Action,
    AnswerCall,
    ApplicationRan,
    Begin,
    CallFacts,
    DeleteValue,
    DialplanErrors,
    Done,
    Effect,
    Environment,
    Execution,
    Fetch,
    Fetched,
    Finished,
    HungUp,
    Input,
    Log,
    Program,
    PutValue,
    load,
    start,
    step,
)
from services.dialplan.applications import LIBRARY
from services.dialplan.run import Run

NOON = 1717415100.0
"""Monday 3 June 2024, 11:45:00 UTC."""

CALLER = CallFacts(
    channel="SIP/alice-00000001",
    uniqueid="1717415100.1",
    linkedid="1717415100.1",
    caller_name="Alice",
    caller_number="101",
    dnid="100",
    phone="alice",
)


def compiled(text: str) -> Program:
    """The program of an extensions.conf with this text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "extensions.conf")
        path.write_text(text, encoding="utf-8")
        return load(path)


def complaints(text: str) -> list[Problem]:
    """The errors of a file; the test fails if there are none."""
    try:
        compiled(text)
    except DialplanErrors as errors:
        return errors.problems
    raise AssertionError("the dialplan was taken as it is")


def warnings(text: str) -> list[str]:
    """The warnings of a file that can be used."""
    return [str(problem) for problem in compiled(text).warnings]


class Call:
    """One call; each input passes its execution through msgpack, as a snapshot would."""

    def __init__(
        self,
        text: str | Program,
        exten: str = "100",
        context: str = "phones",
        *,
        facts: CallFacts = CALLER,
        now_s: float = NOON,
        timezone: str = "UTC",
        variables: Mapping[str, str] | None = None,
        stored: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self.program = text if isinstance(text, Program) else compiled(text)
        self.execution = start(self.program, context=context, exten=exten, variables=variables or {})
        self.facts = facts
        self.now_s = now_s
        self.timezone = timezone
        self.stored: dict[tuple[str, str], str] = dict(stored or {})
        self.effects: list[Effect] = []
        self.action: Action = Finished()
        self.fetches = 0

    def begin(self) -> Action:
        return self.give(Begin())

    def give(self, answer: Input) -> Action:
        """One input, with the values it turns out to need."""
        values: dict[tuple[str, str], str | None] = {}
        while True:
            env = Environment(now_s=self.now_s, timezone=self.timezone, call=self.facts, values=values)
            outcome = step(self.program, self.execution, answer, env)
            packed = msgpack.packb(outcome.execution.to_data())
            self.execution = Execution.from_data(msgpack.unpackb(packed))
            assert self.execution == outcome.execution
            self._perform(outcome.effects)
            if not isinstance(outcome.action, Fetch):
                self.action = outcome.action
                return outcome.action
            self.fetches += 1
            values = {key: self.stored.get(key) for key in outcome.action.keys}
            answer = Fetched()

    def answered(self) -> Action:
        """Begin, and answer the call as the dialplan asks to."""
        action = self.begin()
        assert action == AnswerCall()
        return self.give(Done())

    def hang_up(self) -> Action:
        return self.give(HungUp())

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        self.effects.extend(effects)
        for effect in effects:
            if isinstance(effect, PutValue):
                self.stored[(effect.space, effect.key)] = effect.value
            elif isinstance(effect, DeleteValue):
                self.stored.pop((effect.space, effect.key), None)

    def __getitem__(self, name: str) -> str:
        return self.execution.variables.get(name, "")

    @property
    def ran(self) -> list[str]:
        """The applications that were run, `NoOp(text)`."""
        return [f"{e.app}({e.data})" for e in self.effects if isinstance(e, ApplicationRan)]

    @property
    def places(self) -> list[str]:
        """The positions that were run, `100,1`."""
        return [f"{e.exten},{e.priority}" for e in self.effects if isinstance(e, ApplicationRan)]

    @property
    def logged(self) -> list[str]:
        return [e.text for e in self.effects if isinstance(e, Log)]


def bare_run(
    *,
    variables: Mapping[str, str] | None = None,
    facts: CallFacts = CALLER,
    now_s: float = NOON,
    values: Mapping[tuple[str, str], str | None] | None = None,
    text: str = "[phones]\nexten => 100,1,NoOp()\n",
) -> Run:
    """A Run outside of any step: the scope of a text or function under test."""
    program = compiled(text)
    execution = start(program, context="phones", exten="100", variables=variables or {})
    return Run(program, execution, Environment(now_s=now_s, call=facts, values=values or {}), LIBRARY)
