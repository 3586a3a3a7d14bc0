"""extensions.conf to Program: every line understood or complained about, all complaints at once.

    sections of the file -> lines of contexts (_ContextBuilder) -> a look at each statement, now that all contexts are
    known (checker.py) -> Program, or DialplanErrors

What makes the dialplan do something else than it says is an error; what is only ignored, or can never be reached, is a
warning and stays on `Program.warnings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.core.config.conf import Entry, Section
from services.core.config.problems import nearest
from services.dialplan import expressions, templates
from services.dialplan.arguments import call_parts, end_of_substitution, is_literal
from services.dialplan.checker import Checker, DialplanErrors, Places, Report, in_order
from services.dialplan.clock import TimeRangeError, compile_time_range
from services.dialplan.numbers import is_digits
from services.dialplan.patterns import PatternError, compile_pattern, plain
from services.dialplan.program import (
    Context,
    Extension,
    Include,
    Program,
    Statement,
    make_context,
    make_extension,
    make_include,
    make_statement,
)
from services.dialplan.templates import TemplateError

MAX_PRIORITY: Final = 100_000

_GENERAL_IGNORED: Final = frozenset(
    {"static", "writeprotect", "clearglobalvars", "extenpatternmatchnew", "userscontext", "priorityjumping"}
)


@dataclass(slots=True)
class _ExtensionLines:
    """An extension while its lines are gathered."""

    text: str
    caller: str | None
    entry: Entry
    statements: dict[int, Statement] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    labels: dict[str, Entry] = field(default_factory=dict)
    last: int = 0


def compile_program(sections: Sequence[Section]) -> Program:
    """The program of a file's sections; DialplanErrors if it cannot be used."""
    report = Report()
    global_variables = _globals(sections, report)
    builders: dict[str, _ContextBuilder] = {}
    for section in sections:
        if section.name == "general":
            _general(section, report)
        elif section.name != "globals":
            builder = builders.setdefault(section.name, _ContextBuilder(section.name, global_variables, report))
            for entry in section.entries:
                builder.add(entry)
    contexts = {name: builder.build() for name, builder in builders.items()}
    places = Places(contexts)
    shared: set[str] = set()
    shared_anything = False
    for builder in builders.values():
        for extension in builder.extensions.values():
            for priority, statement in extension.statements.items():
                entry = extension.entries[priority]
                Checker(places, builder.name, extension.text, entry, report).statement(statement)
                names, anything = _globals_set(statement)
                shared.update(names)
                shared_anything = shared_anything or anything
        builder.check_includes(contexts)
    jumps = _Jumps(s for b in builders.values() for e in b.extensions.values() for s in e.statements.values())
    for builder in builders.values():
        builder.check_gaps(jumps)
    if report.errors:
        raise DialplanErrors(in_order(report.errors), in_order(report.warnings))
    return Program(
        tuple(contexts.values()),
        global_variables,
        frozenset(shared),
        shared_anything=shared_anything,
        warnings=tuple(in_order(report.warnings)),
    )


# --- [general] and [globals] -----------------------------------------------------------------------------------------


def _general(section: Section, report: Report) -> None:
    for entry in section.entries:
        if entry.name == "autofallthrough":
            if entry.value.lower() in ("no", "false", "off", "0", "n", "f"):
                report.warning(
                    entry, "autofallthrough=no is ignored: a call ends with its extension", "use WaitExten()"
                )
        elif entry.name not in _GENERAL_IGNORED:
            report.warning(entry, f"the setting {entry.key} is not known and is ignored")


def _globals(sections: Sequence[Section], report: Report) -> dict[str, str]:
    """The [globals], each value filled in with those above it."""
    found: dict[str, str] = {}
    for section in sections:
        for entry in section.entries if section.name == "globals" else ():
            value = _filled(entry, entry.value, found, report)
            if value is not None:
                found[entry.key] = value
    return found


class _GlobalsOnly:
    """The scope of texts that are filled in while the dialplan is loaded."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables
        self.complaints: list[str] = []

    def variable(self, name: str) -> str:
        return self._variables.get(name, "")

    def call(self, name: str, arguments: str) -> str | None:
        self.complaints.append(f"the function {name} needs a call, and none is there when the dialplan is loaded")
        return ""

    def warn(self, text: str) -> None:
        self.complaints.append(text)


def _filled(entry: Entry, text: str, variables: dict[str, str], report: Report) -> str | None:
    scope = _GlobalsOnly(variables)
    try:
        value = templates.compile_template(text).fill(scope)
    except TemplateError as error:
        report.error(entry, str(error), error.remedy)
        return None
    for complaint in scope.complaints:
        report.error(entry, complaint)
    return value


def _globals_set(statement: Statement) -> tuple[set[str], bool]:
    """Names of global variables the statement sets, and whether it sets any whose name is not known yet."""
    names: set[str] = set()
    anything = False
    text = statement.arguments
    if statement.app not in ("Set", "ExecIf"):
        return names, anything
    at = 0
    while (at := text.find("GLOBAL(", at)) >= 0:
        name = text[at + 7 :].partition(")")[0].strip()
        if text[max(0, at - 2) : at] != "${":
            if is_literal(name):
                names.add(name)
            else:
                anything = True
        at += 7
    return names, anything


# --- contexts --------------------------------------------------------------------------------------------------------


class _ContextBuilder:
    """Gathers the lines of one context, over all sections of its name."""

    def __init__(self, name: str, global_variables: dict[str, str], report: Report) -> None:
        self.name = name
        self.extensions: dict[tuple[str, str | None], _ExtensionLines] = {}
        self._globals = global_variables
        self._report = report
        self._includes: list[tuple[Include, Entry]] = []
        self._current: _ExtensionLines | None = None

    def add(self, entry: Entry) -> None:
        """Take one line."""
        if entry.name == "exten":
            self._exten(entry)
        elif entry.name == "same":
            if self._current is None:
                self._report.error(entry, "same => without an exten => above it", "begin the extension with exten =>")
            else:
                self._priority(entry, self._current, entry.value)
        elif entry.name == "include":
            self._include(entry)
        elif entry.name == "ignorepat":
            self._report.warning(entry, "ignorepat is ignored: a SIP phone makes its own dial tone")
        elif entry.name in ("switch", "lswitch", "eswitch"):
            self._report.error(entry, f"{entry.key} is not supported", "include a context of this dialplan instead")
        else:
            close = nearest(entry.key, ("exten", "same", "include"))
            self._report.error(
                entry,
                f"{entry.key} is not a line of a context",
                f"did you mean {close} =>" if close else "exten =>, same => and include => are",
            )

    def build(self) -> Context:
        """The context; what could not be compiled has been reported and is left out."""
        extensions: list[Extension] = []
        for lines in self.extensions.values():
            try:
                extension = make_extension(lines.text, lines.caller, list(lines.statements.values()))
            except PatternError as error:
                self._report.error(lines.entry, str(error), error.remedy)
                continue
            if extension.statements:  # else there is nothing but a hint, or lines that could not be read
                extensions.append(extension)
        return make_context(self.name, extensions, [include for include, _ in self._includes])

    def check_includes(self, contexts: dict[str, Context]) -> None:
        """Complain about contexts that do not exist."""
        for include, entry in self._includes:
            if include.context not in contexts:
                close = nearest(include.context, contexts)
                remedy = f"did you mean {close}" if close else f"add a section [{include.context}]"
                self._report.error(entry, f"there is no context {include.context}", remedy)

    def _include(self, entry: Entry) -> None:
        separator = "," if "," in entry.value else "|"
        context, _, times = entry.value.partition(separator)
        try:
            if times:
                compile_time_range(times.strip())
        except TimeRangeError as error:
            self._report.error(entry, str(error), "include => context,9:00-17:00,mon-fri,*,*")
            return
        if not context.strip():
            self._report.error(entry, "include => names no context")
        elif any(known.context == context.strip() and known.times == times.strip() for known, _ in self._includes):
            self._report.warning(entry, f"{context.strip()} is included already")
        else:
            self._includes.append((make_include(context.strip(), times.strip()), entry))

    def _exten(self, entry: Entry) -> None:
        written, comma, rest = _cut_outside_sets(entry.value, ",")
        if not comma:
            self._report.error(entry, "an extension needs a priority", "exten => EXTENSION,1,Application(arguments)")
            return
        text = _filled(entry, written.strip(), self._globals, self._report)
        if text is None:
            return
        name, slash, caller = _cut_outside_sets(text, "/")
        name, caller = name.strip(), caller.strip()
        if not name:
            self._report.error(entry, "the extension has no name", "exten => EXTENSION,1,Application(arguments)")
            return
        self._current = self._extension(entry, name, caller if slash else None)
        self._priority(entry, self._current, rest)

    def _extension(self, entry: Entry, name: str, caller: str | None) -> _ExtensionLines:
        key = (name if name.startswith("_") else plain(name), caller)
        lines = self.extensions.get(key)
        if lines is None:
            lines = self.extensions[key] = _ExtensionLines(name, caller, entry)
            self._check_name(entry, name)
            if caller is not None and caller.startswith("_"):
                self._check_name(entry, caller)
        return lines

    def _check_name(self, entry: Entry, name: str) -> None:
        if not name.startswith("_"):
            return
        try:
            pattern = compile_pattern(name)
        except PatternError:
            return  # reported when the context is built
        letters = [char for char in name[1:] if char in "xzn"]
        if letters and any(char.isalpha() and char not in "xznXZN" for char in name[1:]) and "[" not in name:
            self._report.warning(
                entry,
                f"in the pattern {name} the letter {letters[0]} stands for digits",
                f"write [{letters[0]}] for the letter itself",
            )
        if not pattern.positions and pattern.wildcard:
            self._report.warning(entry, f"{name} matches whatever is dialled, letters and all", "_X. matches numbers")

    def _priority(self, entry: Entry, lines: _ExtensionLines, text: str) -> None:
        """`PRIORITY[(label)],Application(arguments)`."""
        where, _, call = text.partition(",")
        where = where.strip()
        if where == "hint":
            self._report.warning(entry, f"the hint of {lines.text} is ignored: there are no subscriptions yet")
            return
        number, label = self._number(entry, lines, where)
        statement = self._statement(entry, number or 1, label, call)
        if number is None or statement is None:
            return
        if number in lines.statements:
            self._report.error(
                entry,
                f"{lines.text} has a priority {number} already, at {lines.entries[number].where}",
                "number the priorities with n",
            )
            return
        if label and label in lines.labels:
            self._report.error(
                entry, f"{lines.text} has a label {label} already, at {lines.labels[label].where}", "rename one of them"
            )
        elif label:
            lines.labels[label] = entry
        lines.statements[number] = statement
        lines.entries[number] = entry

    def _number(self, entry: Entry, lines: _ExtensionLines, where: str) -> tuple[int | None, str]:
        """The priority and label of `1`, `n`, `n(label)`, `n+2(label)`, `s`; None for one that cannot be read."""
        word, parenthesis, label = where.partition("(")
        label, closed, rest = label.partition(")")
        word, label = word.strip(), label.strip()
        if parenthesis and (not closed or not label):
            self._report.error(entry, f"the priority {where} has a ( without a label and a )", "n(label)")
        base, plus, more = (word + rest).replace(" ", "").partition("+")
        number: int | None = None
        if base in ("n", "next", "s", "same"):
            if not lines.last:
                self._report.error(entry, f"the first priority of {lines.text} is {base}", "begin with 1")
                lines.last = 1
                return None, label
            number = lines.last + (base[0] == "n")
        elif is_digits(base) and len(base) <= 6:
            number = int(base)
        if number is not None and plus:
            number = number + int(more) if is_digits(more) and len(more) <= 6 else None
        if number is None or not 0 < number <= MAX_PRIORITY:
            self._report.error(
                entry,
                f"{where!r} is not a priority",
                "a number, n, n(label) or hint, for example exten => 100,1,Answer()",
            )
            return None, label
        lines.last = number
        return number, label

    def _statement(self, entry: Entry, number: int, label: str, call: str) -> Statement | None:
        call = call.strip()
        parts = call_parts(call)
        if parts is None:
            self._report.error(entry, f"{expressions.shorten(call, 40)} has no closing )", "add it")
            return None
        name, arguments = parts
        if not name:
            self._report.error(entry, "there is no application after the priority", "for example Answer()")
            return None
        trailing = call[call.rfind(")") + 1 :].strip() if "(" in call else ""
        if trailing:
            self._report.warning(entry, f"{trailing!r} after the application is ignored")
        app = self._report.find_application(entry, name)
        known = app.name if app else "NoOp"
        try:
            return make_statement(number, label, known, arguments, file=entry.file, line=entry.line)
        except TemplateError as error:
            self._report.error(entry, str(error), error.remedy)
            return None

    def check_gaps(self, jumps: _Jumps) -> None:
        """Complain about priorities that nothing leads to: none before them, no label, no jump."""
        for lines in self.extensions.values():
            for number, statement in sorted(lines.statements.items()):
                if number > 1 and number - 1 not in lines.statements and not statement.label and number not in jumps:
                    self._report.warning(
                        lines.entries[number],
                        f"priority {number} of {lines.text} is never reached: there is no priority {number - 1}",
                        "number the priorities with n",
                    )


class _Jumps:
    """The priorities that any jump of the dialplan could lead to by number."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        self._numbers: set[int] = set()
        self._anywhere = False
        for statement in statements:
            if statement.app in _JUMPING:
                target = (
                    statement.arguments if statement.app in ("Goto", "Gosub") else statement.arguments.partition("?")[2]
                )
                self._anywhere = self._anywhere or not is_literal(target)
                words = "".join(char if char.isalnum() else " " for char in target).split()
                self._numbers.update(int(word) for word in words if is_digits(word) and len(word) <= 6)

    def __contains__(self, priority: int) -> bool:
        return self._anywhere or priority in self._numbers


_JUMPING: Final = frozenset({"Goto", "GotoIf", "GotoIfTime", "Gosub", "GosubIf", "ExecIf"})


def _cut_outside_sets(text: str, separator: str) -> tuple[str, str, str]:
    """Cut at the first separator outside `[...]`, `${...}` and `$[...]`."""
    at, inside = 0, False
    while at < len(text):
        char = text[at]
        if char == "$" and text[at + 1 : at + 2] in ("{", "["):
            at = end_of_substitution(text, at)
            continue
        if char == "\\":
            at += 1
        elif char in "[]":
            inside = char == "["
        elif char == separator and not inside:
            return text[:at], separator, text[at + 1 :]
        at += 1
    return text, "", ""
