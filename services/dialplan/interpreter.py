"""The interpreter: `start` makes an Execution, `step` carries it to its next action. Pure; see api.py for the protocol.

    input -> the application that waits for it -> statements, one after the other -> an action
                                                  until one needs something from the call

A statement runs in four movements: find it (program.py), fill in its arguments (templates.py), note it as an effect,
start its application (applications/). When there is no further statement the call ends, with the cause that
DIALSTATUS calls for. A call that does `MAX_STEPS` pieces of work without once waiting for a caller, a callee or
the clock is ended: its dialplan runs in a circle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.dialplan.api import (
    Action,
    ApplicationRan,
    Begin,
    Continue,
    Dialled,
    Digit,
    Done,
    Elapsed,
    Environment,
    Execution,
    Fetch,
    Fetched,
    Finished,
    HangUp,
    HungUp,
    Input,
    Played,
    Refuse,
    Step,
    Waiting,
)
from services.dialplan.applications import APPLICATIONS, LIBRARY
from services.dialplan.applications.calls import CAUSE_OF_STATUS
from services.dialplan.applications.media import COLLECTING, invalid_extension
from services.dialplan.program import SPECIAL, Program, Statement
from services.dialplan.run import MAX_DIGITS_AHEAD, Application, Digits, Flow, NeedValues, Outcome, Run

MAX_STEPS: Final = 10_000
"""Statements, plus `_TURN_COST` for each action answered at once."""

_TURN_COST: Final = 10

_DIGITS: Final = frozenset("0123456789*#ABCD")


def start(program: Program, *, context: str, exten: str, variables: Mapping[str, str] | None = None) -> Execution:
    """The execution of a call that enters at `context`,`exten` (empty: `s`). Step it with Begin."""
    return Execution(version=program.version, context=context, exten=exten or "s", variables=dict(variables or {}))


def can_start(program: Program, *, context: str, exten: str, caller_number: str, env: Environment) -> bool:
    """True if a call may enter there; `step` refuses it with cause 1 otherwise."""
    exten = exten or "s"
    return exten not in SPECIAL and program.find(context, exten, 1, caller_number, env) is not None


def step(program: Program, execution: Execution, answer: Input, env: Environment) -> Step:
    """Take one input. Raises nothing, whatever the dialplan or the caller do."""
    if execution.finished:
        return Step(execution, (), Finished())
    run = Run(program, execution, env, LIBRARY)
    action = _take(run, answer)
    return Step(run.freeze(), tuple(run.effects), action)


def _take(run: Run, answer: Input) -> Action:
    if isinstance(answer, HungUp):
        return _hung_up(run, answer)
    if isinstance(answer, Digit):
        return _digit(run, answer)
    waiting = run.waiting
    if waiting is None:
        return _begin(run) if isinstance(answer, Begin) else Continue()
    if waiting.app == "fetch":
        if not isinstance(answer, Fetched):
            return Continue()
        run.waiting = None
        return _run(run, Flow.JUMP)
    return _resume(run, waiting, answer)


def _begin(run: Run) -> Action:
    if run.turn or run.hung_up:
        return Continue()
    if run.exten in SPECIAL or not run.exists(run.context, run.exten):
        run.log("info", f"there is no extension {run.exten} in {run.context}")
        return run.wait(Waiting(app="end", stage="refused"), HangUp(1))
    return _run(run, Flow.JUMP)


def _digit(run: Run, answer: Digit) -> Action:
    if answer.digit not in _DIGITS:
        return Continue()
    waiting = run.waiting
    app = _waiter(waiting)
    if waiting is None or app is None or waiting.stage == "answer" or app.digits is Digits.KEEP:
        if len(run.digits) < MAX_DIGITS_AHEAD:
            run.digits += answer.digit
        return Continue()
    return _resume(run, waiting, answer) if app.digits is Digits.TAKE else Continue()


def _waiter(waiting: Waiting | None) -> Application | None:
    if waiting is None:
        return None
    return COLLECTING if waiting.app == COLLECTING.name else APPLICATIONS.get(waiting.app)


def _resume(run: Run, waiting: Waiting, answer: Input) -> Action:
    """Give an input to the application that waits; run on if that was what it needed."""
    app = _waiter(waiting)
    if app is None:
        return Continue()
    if isinstance(answer, Done):
        for name, value in answer.variables.items():
            run.set_variable(name, value)
    if waiting.stage == "answer":
        if not isinstance(answer, Done):
            return Continue()
        run.answered = True
        outcome: Outcome = app.start(run, waiting.args)
    else:
        outcome = app.resume(run, waiting, answer)
    if isinstance(outcome, Continue):
        return outcome
    run.steps = 0 if _took_time(answer) else run.steps + _TURN_COST
    if isinstance(outcome, Flow):
        run.waiting = None
        return _run(run, outcome)
    return outcome


def _took_time(answer: Input) -> bool:
    match answer:
        case Digit() | Elapsed():
            return True
        case Played(failed=failed):
            return not failed
        case Dialled(dialed_time_s=rang, answered_time_s=talked):
            return rang + talked > 0
        case _:
            return False


def _run(run: Run, outcome: Flow) -> Action:
    """Run statements until one needs something from the call, or there is none left."""
    program, env = run.program, run.env
    while True:
        if outcome is Flow.NEXT:
            run.priority += 1
        run.steps += 1
        if run.steps > MAX_STEPS:
            run.steps = 0
            failed = run.fail(f"{MAX_STEPS} steps without waiting for anything: the dialplan runs in a circle")
            return _finish(run) if run.hung_up else failed
        statement = program.find(run.context, run.exten, run.priority, run.caller_number, env)
        if statement is None:
            ended = _fell_off(run)
            if isinstance(ended, Flow):
                outcome = ended
                continue
            return ended
        result = _statement(run, statement)
        if isinstance(result, Flow):
            outcome = result
            continue
        if run.hung_up and not isinstance(result, Fetch):
            if isinstance(result, HangUp):
                return _finish(run)
            run.warn(f"{statement.app} cannot do anything for a caller who has hung up")
            run.waiting = None
            outcome = Flow.NEXT
            continue
        return result


def _statement(run: Run, statement: Statement) -> Outcome:
    """Fill in the arguments and start the application."""
    arguments = statement.template.literal
    if arguments is None:
        mark = len(run.effects)
        run.asked.clear()
        try:
            arguments = statement.template.fill(run)
        except NeedValues:
            del run.effects[mark:]
            return run.wait(Waiting(app="fetch"), Fetch(tuple(run.asked)))
    run.effects.append(ApplicationRan(run.context, run.exten, run.priority, statement.app, arguments))
    return APPLICATIONS[statement.app].start(run, arguments)


def _fell_off(run: Run) -> Outcome:
    """There is no such priority: an extension that does not exist, or the end of one that does."""
    if run.hung_up:
        return _finish(run)
    if not run.exists(run.context, run.exten):
        return invalid_extension(run, run.context, run.exten)
    status = run.variables.get("DIALSTATUS", "")
    if run.answered and status in ("BUSY", "CONGESTION", "CHANUNAVAIL"):
        busy = status == "BUSY"
        return run.wait(Waiting(app="Busy" if busy else "Congestion"), Refuse(486 if busy else 503, 10.0))
    return run.hang_up(CAUSE_OF_STATUS.get(status, 16))


def _hung_up(run: Run, answer: HungUp) -> Action:
    if run.hung_up:
        return Continue()
    waiting = run.waiting
    app = _waiter(waiting)
    if waiting is not None and app is not None and app.hung_up is not None:
        app.hung_up(run, waiting, answer)
    run.hung_up = True
    run.waiting = None
    run.steps = 0
    run.facts["hangupcause"] = str(answer.cause)
    refused = waiting is not None and waiting.stage == "refused"
    if refused or not run.exists(run.context, "h"):
        return _finish(run)
    run.jump(run.context, "h")
    return _run(run, Flow.JUMP)


def _finish(run: Run) -> Action:
    run.finished = True
    run.waiting = None
    return Finished()
