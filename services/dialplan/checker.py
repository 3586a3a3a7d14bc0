"""A look at each statement once all contexts are known: functions, expressions, options and where jumps lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.core.config.conf import Entry
from services.core.config.problems import ConfigError, Problem, nearest
from services.dialplan import expressions, templates
from services.dialplan.applications import APPLICATIONS, LIBRARY
from services.dialplan.arguments import call_parts, is_literal, split_raw
from services.dialplan.functions import FUNCTIONS
from services.dialplan.numbers import is_digits
from services.dialplan.patterns import plain
from services.dialplan.program import SPECIAL, Context, Extension, Statement
from services.dialplan.run import Application


class DialplanErrors(ConfigError):
    """A dialplan that cannot be used; `problems` has every reason and `warnings` everything else worth a look."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        super().__init__(problems)
        self.warnings: list[Problem] = list(warnings)


@dataclass(slots=True)
class Report:
    """The problems found so far."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, entry: Entry, message: str, remedy: str = "") -> None:
        """The dialplan cannot be used."""
        self.errors.append(entry.problem(message, remedy))

    def warning(self, entry: Entry, message: str, remedy: str = "") -> None:
        """It can, but somebody should look."""
        self.warnings.append(entry.problem(message, remedy))

    def find_application(self, entry: Entry, name: str) -> Application | None:
        """The application of that name; None after complaining that there is none."""
        app = LIBRARY.application(name)
        if app is None:
            close = nearest(name, (known.lower() for known in APPLICATIONS))
            remedy = f"did you mean {next(k for k in APPLICATIONS if k.lower() == close)}" if close else ""
            self.error(entry, f"the application {expressions.shorten(name, 30)} is not supported", remedy)
        return app


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Problems file by file and line by line; one line may have several, each said once."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line))


class Places:
    """Where jumps may lead: the extensions of each context and its includes, whatever the time and the caller."""

    def __init__(self, contexts: Mapping[str, Context]) -> None:
        self.contexts = contexts
        self._names: dict[str, dict[str, list[Extension]]] = {}
        self._patterns: dict[str, list[Extension]] = {}

    def matching(self, context: str, exten: str) -> list[Extension]:
        """Every extension that a call to `exten` could find."""
        self._index(context)
        dialled = plain(exten)
        found = self._names[context].get(dialled, [])
        if exten in SPECIAL:
            return found
        return found + [e for e in self._patterns[context] if e.pattern is not None and e.pattern.matches(dialled)]

    def patterns(self, context: str) -> list[Extension]:
        """Every pattern."""
        self._index(context)
        return self._patterns[context]

    def _index(self, context: str) -> None:
        if context in self._names:
            return
        names = self._names[context] = {}
        patterns = self._patterns[context] = []
        seen: set[str] = set()
        waiting = [context]
        while waiting:
            here = self.contexts.get(name := waiting.pop())
            if here is None or name in seen:
                continue
            seen.add(name)
            for known, extensions in here.exact.items():
                names.setdefault(known, []).extend(extensions)
            patterns.extend(here.patterns)
            waiting.extend(include.context for include in here.includes)


class Checker:
    """Looks at one statement with all contexts known; implements `run.Check` for its application."""

    def __init__(
        self,
        places: Places,
        context: str,
        extension: str,
        entry: Entry,
        report: Report,
    ) -> None:
        self._places = places
        self._context = context
        self._extension = extension
        self._entry = entry
        self._report = report

    def error(self, message: str, remedy: str = "") -> None:
        self._report.error(self._entry, message, remedy)

    def warning(self, message: str, remedy: str = "") -> None:
        self._report.warning(self._entry, message, remedy)

    def statement(self, statement: Statement) -> None:
        """Check everything about a statement that can be known before a call runs it."""
        self._functions(statement.template)
        app = APPLICATIONS[statement.app]
        if app.check is not None:
            app.check(self, statement.arguments)
        if app.name == "Set":
            self._written_function(statement.arguments)

    def _functions(self, template: templates.Template) -> None:
        for call in templates.calls_of(template):
            known = FUNCTIONS.get(call.name)
            if known is None or known.read is None:
                self._unknown_function(call.name)
            elif known.first is not None and (literal := call.arguments.literal) is not None:
                self._item(call.name, literal, known.first)
        for inside in templates.expressions_of(template):
            literal = inside.literal
            if literal is not None and (wrong := expressions.check(literal)):
                self.error(f"the expression $[{expressions.shorten(literal, 40)}] is wrong: {wrong}")

    def _unknown_function(self, name: str) -> None:
        same = name.strip().upper()
        close = same if same in FUNCTIONS else nearest(name, (known.lower() for known in FUNCTIONS)).upper()
        self.error(
            f"the function {expressions.shorten(name, 30)} is not supported", f"did you mean {close}" if close else ""
        )

    def _item(self, function: str, literal: str, known: frozenset[str]) -> None:
        item = literal.split(",", maxsplit=1)[0].strip()
        if item.lower() not in known:
            self.error(f"{function} has no {item!r}", f"known are {', '.join(sorted(known))}")

    def _written_function(self, raw: str) -> None:
        name = raw.partition("=")[0].strip()
        function, parenthesis, rest = name.partition("(")
        if not parenthesis or not is_literal(function):
            return
        known = FUNCTIONS.get(function.strip())
        if known is None:
            self._unknown_function(function)
        elif known.write is None:
            self.error(f"the function {function.strip()} can only be read")
        elif known.first is not None and is_literal(rest):
            self._item(function.strip(), rest.rpartition(")")[0], known.first)

    def application(self, raw: str) -> None:
        """Check `Name(arguments)` inside ExecIf."""
        parts = call_parts(raw.strip())
        if parts is None:
            self.error(f"{expressions.shorten(raw.strip(), 40)} has no closing )")
            return
        name, arguments = parts
        if not is_literal(name):
            return
        app = self._report.find_application(self._entry, name)
        if app is None:
            return
        if app.check is not None:
            app.check(self, arguments)
        if app.name == "Set":
            self._written_function(arguments)

    def target(self, raw: str) -> None:
        """Check `[[context,]exten,]priority` as far as it is literal."""
        parts = [part.strip() for part in split_raw(raw)]
        if len(parts) > 3:
            self.error(f"{raw.strip()!r} is not [[context,]exten,]priority")
            return
        context = parts[-3] if len(parts) == 3 and parts[-3] else self._context
        exten = parts[-2] if len(parts) > 1 and parts[-2] else None
        if not is_literal(context):
            return
        if context not in self._places.contexts:
            close = nearest(context, self._places.contexts)
            self.error(f"there is no context {context}", f"did you mean {close}" if close else "")
            return
        where = parts[-1]
        if (exten is not None and not is_literal(exten)) or not is_literal(where) or where[:1] in "+-":
            if not where and is_literal(where):
                self.error("the target has no priority", "[[context,]exten,]priority")
            return
        self._place(context, exten, where)

    def _place(self, context: str, exten: str | None, where: str) -> None:
        """A literal priority or label; `exten` None is the extension the statement stands in."""
        named = exten if exten is not None else self._extension
        found = self._places.matching(context, named)
        if exten is None and named.startswith("_"):
            found = found + self._places.patterns(context)
        if not found:
            self.error(f"there is no extension {named} in {context}")
        elif is_digits(where):
            if not any(int(where[:7]) in e.statements for e in found):
                self.error(f"there is no priority {where} of {named} in {context}")
        elif not any(where in e.labels for e in found):
            labels = sorted({label for e in found for label in e.labels})
            close = nearest(where, labels)
            self.error(f"there is no label {where} of {named} in {context}", f"did you mean {close}" if close else "")
