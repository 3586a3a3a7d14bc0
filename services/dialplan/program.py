"""A compiled dialplan: immutable, the same everywhere, and found again by its version.

    Program -> Context -> Extension -> Statement (one priority: an application and its arguments)

Its data form (`to_data`, `to_bytes`) holds the text of patterns, arguments and time ranges; what is compiled from
that text is made when the program is built. `version` is a hash of what the program does: two files that differ in
comments and line numbers only have the same version.

Searching follows Asterisk. In a context the exact names come first, then patterns, most specific first, then the
included contexts in order, each with its own includes before the next. A priority that the best match does not have
is looked for in the less specific ones. Names of special extensions (`h i t e T`) are matched by name only, so that
`_.` is no hangup handler.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgpack

from services.core.config.problems import Problem
from services.dialplan.clock import TimeRange, compile_time_range
from services.dialplan.patterns import More, Pattern, compile_pattern, plain
from services.dialplan.templates import Template, compile_template

SPECIAL: Final = frozenset({"h", "i", "t", "e", "T"})
"""Extensions the dialplan itself goes to; nobody can dial them."""

_SCHEMA: Final = 1


class Clock(Protocol):
    """What timed includes look at: the Environment."""

    @property
    def now_s(self) -> float: ...
    @property
    def timezone(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Statement:
    """One priority of one extension."""

    priority: int
    label: str
    app: str
    """Name of the application as this project spells it (`NoOp`)."""
    arguments: str
    """As written, before substitution."""
    file: str = ""
    line: int = 0
    template: Template = field(default=Template(()), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CallerMatch:
    """The part after the `/` of `exten => 100/_2XX,1,...`."""

    text: str
    pattern: Pattern | None

    def matches(self, number: str) -> bool:
        """True for a caller of that number; the empty text matches a caller without one."""
        return self.pattern.matches(plain(number)) if self.pattern else plain(number) == plain(self.text)


@dataclass(frozen=True, slots=True)
class Extension:
    """A name or pattern with its priorities."""

    text: str
    """As written: `100`, `_1XX`."""
    caller: CallerMatch | None
    statements: Mapping[int, Statement]
    pattern: Pattern | None = None
    labels: Mapping[str, int] = field(default_factory=dict)

    def takes(self, caller_number: str) -> bool:
        """True if a caller of that number may match."""
        return self.caller is None or self.caller.matches(caller_number)


@dataclass(frozen=True, slots=True)
class Include:
    """`include => context,times`."""

    context: str
    times: str = ""
    range: TimeRange | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """A `[context]`. `exact` and `by_first` are indexes over `extensions`."""

    name: str
    extensions: tuple[Extension, ...]
    """Exact names in order of appearance, then patterns, most specific first."""
    includes: tuple[Include, ...]
    exact: Mapping[str, tuple[Extension, ...]]
    """By name without dashes; those for certain callers first."""
    patterns: tuple[Extension, ...]
    by_first: Mapping[str, tuple[Extension, ...]]
    """Patterns that can match a text of that first character; `""` for any other character."""

    def candidates(self, exten: str) -> Iterator[Extension]:
        """Every extension of this context that matches, best first. `exten` carries no dashes."""
        yield from self.exact.get(exten, ())
        if self.patterns and exten not in SPECIAL:
            of_first = self.by_first.get(exten[:1])
            for extension in self.by_first[""] if of_first is None else of_first:
                if extension.pattern is not None and extension.pattern.matches(exten):
                    yield extension


class Program:
    """A whole dialplan. Build it with `compile_program` or `from_data`; never changed afterwards."""

    __slots__ = ("contexts", "globals", "shared", "shared_anything", "version", "warnings")

    contexts: Mapping[str, Context]
    globals: Mapping[str, str]
    """The [globals] section."""
    shared: frozenset[str]
    """Variables that the dialplan sets by GLOBAL(): their value is looked up in the store."""
    shared_anything: bool
    """GLOBAL() is set with a name that is only known while a call runs."""
    version: str
    warnings: tuple[Problem, ...]
    """What the administrator should look at; not part of the version nor of the data."""

    def __init__(
        self,
        contexts: tuple[Context, ...],
        global_variables: Mapping[str, str],
        shared: frozenset[str] = frozenset(),
        *,
        shared_anything: bool = False,
        warnings: tuple[Problem, ...] = (),
    ) -> None:
        self.contexts = {context.name: context for context in contexts}
        self.globals = dict(global_variables)
        self.shared = shared
        self.shared_anything = shared_anything
        self.warnings = warnings
        self.version = hashlib.sha256(self._pack(with_lines=False)).hexdigest()[:16]

    # --- searching ---------------------------------------------------------------------------------------------

    def reachable(self, context: str, clock: Clock) -> Iterator[Context]:
        """The context and everything it includes now, depth first, each once."""
        seen: set[str] = set()
        waiting = [context]
        while waiting:
            name = waiting.pop()
            here = self.contexts.get(name)
            if here is None or name in seen:
                continue
            seen.add(name)
            yield here
            for include in reversed(here.includes):
                if include.range is None or include.range.holds(clock.now_s, clock.timezone):
                    waiting.append(include.context)

    def matching(self, context: str, exten: str, caller: str, clock: Clock) -> Iterator[Extension]:
        """Every extension that matches, best first."""
        exten = plain(exten)
        for here in self.reachable(context, clock):
            for extension in here.candidates(exten):
                if extension.takes(caller):
                    yield extension

    def find(self, context: str, exten: str, priority: int, caller: str, clock: Clock) -> Statement | None:
        """The statement that runs at that position."""
        here = self.contexts.get(context)
        if here is not None:
            for extension in here.exact.get(plain(exten), ()):  # nearly every search ends here
                statement = extension.statements.get(priority)
                if statement is not None and extension.takes(caller):
                    return statement
        for extension in self.matching(context, exten, caller, clock):
            statement = extension.statements.get(priority)
            if statement is not None:
                return statement
        return None

    def find_label(self, context: str, exten: str, label: str, caller: str, clock: Clock) -> int | None:
        """The priority of a label."""
        for extension in self.matching(context, exten, caller, clock):
            priority = extension.labels.get(label)
            if priority is not None:
                return priority
        return None

    def can_be_longer(self, context: str, digits: str, caller: str, clock: Clock) -> bool:
        """True if more digits could make a longer match, so that it is worth waiting for them.

        The first extension that could take them decides: a pattern that ends in `!` and matches already says no.
        """
        digits = plain(digits)
        for here in self.reachable(context, clock):
            for known, extensions in here.exact.items():
                if len(known) > len(digits) and known.startswith(digits) and any(e.takes(caller) for e in extensions):
                    return True
            for extension in here.patterns:
                if extension.pattern is not None and extension.takes(caller):
                    verdict = extension.pattern.more(digits)
                    if verdict is not More.IMPOSSIBLE:
                        return verdict is More.POSSIBLE
        return False

    # --- data --------------------------------------------------------------------------------------------------

    def to_data(self) -> dict[str, Any]:
        """The program as maps, lists, strings and numbers."""
        return self._data(with_lines=True)

    def _data(self, *, with_lines: bool) -> dict[str, Any]:
        def statement(s: Statement) -> list[Any]:
            row: list[Any] = [s.priority, s.label, s.app, s.arguments]
            return [*row, s.file, s.line] if with_lines else row

        return {
            "schema": _SCHEMA,
            "globals": dict(self.globals),
            "shared": sorted(self.shared),
            "shared_anything": self.shared_anything,
            "contexts": [
                [
                    context.name,
                    [[include.context, include.times] for include in context.includes],
                    [
                        [
                            extension.text,
                            None if extension.caller is None else extension.caller.text,
                            [statement(s) for s in extension.statements.values()],
                        ]
                        for extension in context.extensions
                    ],
                ]
                for context in self.contexts.values()
            ],
        }

    def _pack(self, *, with_lines: bool) -> bytes:
        packed: bytes = msgpack.packb(self._data(with_lines=with_lines), unicode_errors="surrogatepass")
        return packed

    def to_bytes(self) -> bytes:
        """The program in msgpack."""
        return self._pack(with_lines=True)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Program:
        """The program `to_data` was called on, without its warnings. ValueError for a schema of the future."""
        if data["schema"] > _SCHEMA:
            raise ValueError(f"a dialplan of schema {data['schema']} needs a newer release; this one reads {_SCHEMA}")
        contexts = tuple(
            make_context(
                name,
                [
                    make_extension(
                        text, caller, [make_statement(*row[:4], file=row[4], line=row[5]) for row in statements]
                    )
                    for text, caller, statements in extensions
                ],
                [make_include(*row) for row in includes],
            )
            for name, includes, extensions in data["contexts"]
        )
        shared = frozenset(data["shared"])
        return cls(contexts, data["globals"], shared, shared_anything=data["shared_anything"])

    @classmethod
    def from_bytes(cls, packed: bytes) -> Program:
        """The program `to_bytes` was called on."""
        return cls.from_data(msgpack.unpackb(packed, unicode_errors="surrogatepass"))


# --- building: each raises PatternError, TemplateError or TimeRangeError for text that cannot be compiled ------------


def make_statement(priority: int, label: str, app: str, arguments: str, *, file: str = "", line: int = 0) -> Statement:
    """A statement with its arguments compiled."""
    return Statement(priority, label, app, arguments, file, line, compile_template(arguments))


def make_caller(text: str | None) -> CallerMatch | None:
    """The caller part of an extension; None for every caller."""
    if text is None:
        return None
    return CallerMatch(text, compile_pattern(text) if text.startswith("_") else None)


def make_extension(text: str, caller: str | None, statements: list[Statement]) -> Extension:
    """An extension, its priorities in ascending order."""
    ordered = sorted(statements, key=lambda statement: statement.priority)
    return Extension(
        text=text,
        caller=make_caller(caller),
        statements={statement.priority: statement for statement in ordered},
        pattern=compile_pattern(text) if text.startswith("_") else None,
        labels={statement.label: statement.priority for statement in reversed(ordered) if statement.label},
    )


def make_include(context: str, times: str = "") -> Include:
    """An include, its time range compiled."""
    return Include(context, times, compile_time_range(times) if times else None)


def make_context(name: str, extensions: list[Extension], includes: list[Include]) -> Context:
    """A context with its indexes."""
    exact: dict[str, list[Extension]] = {}
    for extension in extensions:
        if extension.pattern is None:
            exact.setdefault(plain(extension.text), []).append(extension)
    patterns = sorted(
        (extension for extension in extensions if extension.pattern is not None),
        key=lambda extension: (
            extension.pattern.rank if extension.pattern else (),
            extension.caller is None,
            extension.caller.text if extension.caller else "",
        ),
    )
    names = [extension for extension in extensions if extension.pattern is None]
    return Context(
        name=name,
        extensions=(*names, *patterns),
        includes=tuple(includes),
        exact={key: tuple(sorted(found, key=lambda e: e.caller is None)) for key, found in exact.items()},
        patterns=tuple(patterns),
        by_first=_by_first(patterns),
    )


def _by_first(patterns: list[Extension]) -> dict[str, tuple[Extension, ...]]:
    firsts = {
        char
        for extension in patterns
        if extension.pattern is not None and extension.pattern.positions
        for char in extension.pattern.positions[0]
    }

    def matching(char: str) -> tuple[Extension, ...]:
        return tuple(
            extension
            for extension in patterns
            if extension.pattern is not None
            and (not extension.pattern.positions or (char != "" and char in extension.pattern.positions[0]))
        )

    return {char: matching(char) for char in sorted(firsts | {""})}
