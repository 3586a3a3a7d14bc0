"""One step in progress: the execution thawed, with the effects gathered so far.

A `Run` lives for one call of `step`. Applications and functions change it; `freeze` makes the next Execution.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from services.dialplan.api import (
    Action,
    AnswerCall,
    Continue,
    Effect,
    Environment,
    Execution,
    Frame,
    HangUp,
    HungUp,
    Input,
    Log,
    PutValue,
    Space,
    Waiting,
)
from services.dialplan.program import Program
from services.dialplan.templates import MAX_TEXT

MAX_VARIABLES: Final = 2000
MAX_DIGITS_AHEAD: Final = 64


class Flow(enum.Enum):
    """Where the interpreter goes after an application that needs nothing more from the call."""

    NEXT = enum.auto()
    """The next priority."""
    JUMP = enum.auto()
    """The position the application has set."""


Outcome = Flow | Action


class NeedValues(Exception):
    """A shared value is needed that is not there yet; `Run.asked` has the keys."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the dialplan (functions.py)."""

    read: Callable[[Run, str], str] | None = None
    write: Callable[[Run, str, str], None] | None = None
    first: frozenset[str] | None = None
    """What the first argument may be, if it is one of a list (checked when the dialplan is loaded)."""


class Digits(enum.Enum):
    """What an application does with digits pressed while its action is outstanding."""

    KEEP = enum.auto()
    """Typed ahead, for whatever asks next."""
    DROP = enum.auto()
    TAKE = enum.auto()
    """Given to `resume`."""


class Check(Protocol):
    """What an application may say about its arguments while the dialplan is loaded."""

    def error(self, message: str, remedy: str = "") -> None:
        """The dialplan cannot be used."""

    def warning(self, message: str, remedy: str = "") -> None:
        """It can, but the administrator should look."""

    def target(self, raw: str) -> None:
        """`[[context,]exten,]priority`: complain if it is literal and leads nowhere."""

    def application(self, raw: str) -> None:
        """Check `Name(arguments)` that another application may run."""


def _never(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    return Continue()


@dataclass(frozen=True, slots=True)
class Application:
    """An application of the dialplan (applications/)."""

    name: str
    start: Callable[[Run, str], Outcome]
    """Begin, with the arguments after substitution."""
    resume: Callable[[Run, Waiting, Input], Outcome] = _never
    """Go on after an input; Continue for one that does not concern it. Never gets HungUp."""
    digits: Digits = Digits.KEEP
    check: Callable[[Check, str], None] | None = None
    """Look at the arguments as written."""
    hung_up: Callable[[Run, Waiting, HungUp], None] | None = None
    """The caller hung up while the application was waiting."""


@dataclass(frozen=True, slots=True)
class Library:
    """What a program can use; handed to each Run, so that neither table needs to know the other."""

    functions: Mapping[str, Function]
    applications: Mapping[str, Application]

    def application(self, name: str) -> Application | None:
        """The application of that name, in whatever case it is written."""
        found = self.applications.get(name)
        if found is not None:
            return found
        name = name.lower()
        return next((app for known, app in self.applications.items() if known.lower() == name), None)


class Run:
    """The mutable working copy of an Execution."""

    __slots__ = (
        "_written",
        "answered",
        "asked",
        "context",
        "digit_timeout_s",
        "digits",
        "effects",
        "env",
        "exten",
        "facts",
        "finished",
        "frames",
        "hung_up",
        "library",
        "priority",
        "program",
        "response_timeout_s",
        "steps",
        "turn",
        "variables",
        "waiting",
    )

    def __init__(self, program: Program, execution: Execution, env: Environment, library: Library) -> None:
        self.program = program
        self.library = library
        self.env = env
        self.context = execution.context
        self.exten = execution.exten
        self.priority = execution.priority
        self.variables = dict(execution.variables)
        self.frames: list[Frame] = list(execution.frames)
        self.facts = dict(execution.facts)
        self.digits = execution.digits
        self.waiting = execution.waiting
        self.answered = execution.answered
        self.hung_up = execution.hung_up
        self.finished = execution.finished
        self.digit_timeout_s = execution.digit_timeout_s
        self.response_timeout_s = execution.response_timeout_s
        self.steps = execution.steps
        self.turn = execution.turn
        self.effects: list[Effect] = []
        self.asked: dict[tuple[Space, str], None] = {}
        """Shared values looked at by the statement that is being filled in, in order."""
        self._written: dict[tuple[Space, str], str | None] = {}
        """Shared values put or deleted in this step, which the store may not have yet."""

    def freeze(self) -> Execution:
        """The execution as it is now."""
        return Execution(
            version=self.program.version,
            context=self.context,
            exten=self.exten,
            priority=self.priority,
            variables=self.variables,
            frames=tuple(self.frames),
            facts=self.facts,
            digits=self.digits,
            waiting=self.waiting,
            answered=self.answered,
            hung_up=self.hung_up,
            finished=self.finished,
            digit_timeout_s=self.digit_timeout_s,
            response_timeout_s=self.response_timeout_s,
            steps=self.steps,
            turn=self.turn,
        )

    # --- telling the operator ------------------------------------------------------------------------------------

    def log(self, level: Literal["debug", "info", "warning", "error"], text: str) -> None:
        """Add a line to the log."""
        self.effects.append(Log(level, text))

    def warn(self, text: str) -> None:
        """A warning that names the place in the dialplan."""
        self.log("warning", f"{self.place()}: {text}")

    def place(self) -> str:
        """`context,exten,priority (file:line)`."""
        statement = self.program.find(self.context, self.exten, self.priority, self.caller_number, self.env)
        where = f" ({statement.file}:{statement.line})" if statement and statement.file else ""
        return f"{self.context},{self.exten},{self.priority}{where}"

    # --- variables -----------------------------------------------------------------------------------------------

    def variable(self, name: str) -> str:
        """The value of a variable: the call's, else the global one, else empty."""
        own = _OWN.get(name)
        if own is not None:
            return own(self)
        value = self.variables.get(name)
        return value if value is not None else self.global_variable(name, always_shared=False)

    def global_variable(self, name: str, *, always_shared: bool) -> str:
        """The value of a global variable.

        It is looked up in the store if the dialplan sets it anywhere (or `always_shared`), for another call may have
        done so; otherwise what the [globals] section says is all there is.
        """
        program = self.program
        if always_shared or program.shared_anything or name in program.shared:
            value = self.shared("global", name)
            if value is not None:
                return value
        return program.globals.get(name, "")

    def set_variable(self, name: str, value: str) -> None:
        """Set a variable of the call; `_NAME` and `__NAME` set NAME and note how far it is inherited."""
        plain = name.lstrip("_") if name[:1] == "_" else name
        if not plain:
            self.warn(f"{name!r} is not the name of a variable")
            return
        if len(self.variables) >= MAX_VARIABLES and plain not in self.variables:
            self.warn(f"{plain} is not set: a call has at most {MAX_VARIABLES} variables")
            return
        self.variables[plain] = value[:MAX_TEXT]
        if plain != name:
            self.facts[f"inherit.{plain}"] = "_" * min(2, len(name) - len(plain))

    def call(self, name: str, arguments: str) -> str | None:
        """The value of a function; None if there is none of that name that can be read."""
        function = self.library.functions.get(name)
        if function is None or function.read is None:
            return None
        return function.read(self, arguments)

    def shared(self, space: Space, key: str) -> str | None:
        """A shared value; raises NeedValues until the environment holds it."""
        where = (space, key)
        self.asked[where] = None
        if where in self._written:
            return self._written[where]
        if where not in self.env.values:
            raise NeedValues
        return self.env.values[where]

    def put(self, effect: Effect, space: Space, key: str, value: str | None) -> None:
        """Write a shared value; this step sees it at once."""
        self._written[(space, key)] = value
        self.effects.append(effect)

    def put_value(self, space: Space, key: str, value: str) -> None:
        """Store a shared value."""
        self.put(PutValue(space, key, value), space, key, value)

    # --- the caller ----------------------------------------------------------------------------------------------

    @property
    def caller_number(self) -> str:
        """CALLERID(num) as it is now."""
        number = self.facts.get("callerid.num")
        return self.env.call.caller_number if number is None else number

    @property
    def caller_name(self) -> str:
        """CALLERID(name) as it is now."""
        name = self.facts.get("callerid.name")
        return self.env.call.caller_name if name is None else name

    # --- flow ----------------------------------------------------------------------------------------------------

    def exists(self, context: str, exten: str, priority: int = 1) -> bool:
        """True if there is something to run at that position."""
        return self.program.find(context, exten, priority, self.caller_number, self.env) is not None

    def jump(self, context: str, exten: str, priority: int = 1) -> Flow:
        """Go on at that position."""
        self.context, self.exten, self.priority = context, exten, priority
        return Flow.JUMP

    def wait(self, waiting: Waiting, action: Action) -> Action:
        """Make `action` the outstanding one."""
        self.waiting = waiting
        self.turn += 1
        return action

    def keep_waiting(self, waiting: Waiting) -> Action:
        """Note what came in without replacing the outstanding action."""
        self.waiting = waiting
        return Continue()

    def answer_first(self, app: str, arguments: str) -> Action:
        """Answer the caller, then start the application again."""
        return self.wait(Waiting(app=app, stage="answer", args=arguments), AnswerCall())

    def hang_up(self, cause: int) -> Action:
        """End the caller's leg; only HungUp is awaited then."""
        return self.wait(Waiting(app="end"), HangUp(cause))

    def fail(self, text: str) -> Action:
        """Give up on the call because the dialplan leads nowhere: an error in the log, cause 41 to the caller."""
        self.log("error", f"{self.place()}: {text}")
        return self.hang_up(41)

    def next_digit(self) -> str:
        """Take the first digit typed ahead, or the empty string."""
        digit, self.digits = self.digits[:1], self.digits[1:]
        return digit


def _hangup_cause(run: Run) -> str:
    return run.facts.get("hangupcause") or str(run.env.call.hangup_cause)


_OWN: Final[dict[str, Callable[[Run], str]]] = {
    "EXTEN": lambda run: run.exten,
    "CONTEXT": lambda run: run.context,
    "PRIORITY": lambda run: str(run.priority),
    "CHANNEL": lambda run: run.env.call.channel,
    "UNIQUEID": lambda run: run.env.call.uniqueid,
    "LINKEDID": lambda run: run.env.call.linkedid,
    "HANGUPCAUSE": _hangup_cause,
    "EPOCH": lambda run: str(int(run.env.now_s)),
}
"""Variables that cannot be set; LINKEDID is ours, the others are Asterisk's."""
