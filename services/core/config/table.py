"""Settings declared once: name, form, default and meaning; the documentation is made from the same declarations.

A `Setting` says how its text is read; a `Table` is the settings of one section; `Values` are one section's answers,
taken from the file, unless the environment has `PBX_<FILE>_<SECTION>_<KEY>`. Reading never raises: what is wrong
goes to the `Findings`, and the default stands in, so that one run finds every problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from services.core.config.conf import Entry, Section
from services.core.config.problems import Problem, nearest

T = TypeVar("T")


class BadValue(ValueError):
    """A value that a setting cannot take; the message completes `sip.conf:3: bindport: ...`."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """One setting, as its reader and as its documentation."""

    name: str
    read: Callable[[str], T]
    """From the text of a value; raises BadValue."""
    form: str
    """What may be written, in words: `yes or no`, `seconds, 1 to 3600`."""
    default: str | None = None
    """As it would be written; None when there is none."""
    doc: str
    aliases: tuple[str, ...] = ()
    repeated: bool = False
    """May stand on several lines, all of which count; the environment gives them with commas between."""
    secret: bool = False
    """The value is never shown."""


AnySetting = Setting[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The settings of a section."""

    file: str
    """Without `.conf`."""
    section: str
    """As documented: `general`, or `NAME` for the sections of phones."""
    intro: str
    settings: tuple[AnySetting, ...]
    without_effect: Mapping[str, str] = field(default_factory=dict)
    """Names of Asterisk's that may stay in the file, with the reason why they change nothing; a warning each."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Names of Asterisk's that must not be passed over, with what to do instead; an error each."""

    def names(self) -> dict[str, AnySetting]:
        """Every accepted spelling with its setting."""
        return {name: setting for setting in self.settings for name in (setting.name, *setting.aliases)}

    def variable(self, section: str, name: str) -> str:
        """The environment variable that overrides a setting: `PBX_SIP_GENERAL_BINDPORT`."""
        return "_".join(("PBX", _shouted(self.file), _shouted(section), _shouted(name)))


@dataclass(slots=True)
class Findings:
    """What reading a configuration brought to light besides its values."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    variables: set[str] = field(default_factory=set)
    """Environment variables that would have been heeded."""
    prefixes: set[str] = field(default_factory=set)
    """How the variables of the sections begin that were read."""

    def check_environment(self, env: Mapping[str, str]) -> None:
        """A misspelt override would otherwise be the one setting that fails in silence."""
        for variable in env:
            if variable not in self.variables and variable.startswith(tuple(self.prefixes)):
                near = nearest(variable, (name.lower() for name in self.variables)).upper()
                remedy = f"did you mean {near}?" if near else "see docs/configuration.md"
                self.warnings.append(Problem(variable, 0, "this variable overrides nothing", remedy))


class Values:
    """The settings of one section, read by their table."""

    def __init__(
        self, table: Table, name: str, section: Section | None, env: Mapping[str, str], findings: Findings
    ) -> None:
        self.name = name
        self.findings = findings
        self._known = table.names()
        self._entries = self._collect(table, section, env)
        self._check_names(table)
        findings.variables.update(table.variable(name, setting.name) for setting in table.settings)
        findings.prefixes.add(table.variable(name, ""))

    def get(self, setting: Setting[T]) -> T:
        """The value, or the setting's default."""
        value = self.optional(setting)
        if value is not None:
            return value
        assert setting.default is not None, f"{setting.name} has no default"
        return setting.read(setting.default)

    def optional(self, setting: Setting[T]) -> T | None:
        """The value, or None when it is not set or not usable."""
        entry = self.entry(setting)
        return None if entry is None else self._read(setting, entry)

    def each(self, setting: Setting[T]) -> list[tuple[Entry, T]]:
        """Every usable value of a repeated setting, in order, with where it stands."""
        found = []
        for entry in self.entries(setting):
            value = self._read(setting, entry)
            if value is not None:
                found.append((entry, value))
        return found

    def entry(self, setting: AnySetting) -> Entry | None:
        """Where the setting was last given."""
        found = self.entries(setting)
        return found[-1] if found else None

    def entries(self, *settings: AnySetting) -> list[Entry]:
        """Every line of these settings, in the order in which they stand."""
        wanted = {setting.name for setting in settings}
        return [entry for entry in self._entries if self._known[entry.name].name in wanted]

    def fail(self, entry: Entry, message: str, remedy: str = "") -> None:
        """Record a problem of a line."""
        self.findings.problems.append(entry.problem(message, remedy))

    def warn(self, entry: Entry, message: str, remedy: str = "") -> None:
        """Record a warning about a line."""
        self.findings.warnings.append(entry.problem(message, remedy))

    def _read(self, setting: Setting[T], entry: Entry) -> T | None:
        try:
            return setting.read(entry.value)
        except BadValue as bad:
            self.fail(entry, f"{entry.key}: {bad.message}", bad.remedy)
            return None

    def _collect(self, table: Table, section: Section | None, env: Mapping[str, str]) -> list[Entry]:
        written = list(section.entries) if section else []
        given: list[Entry] = []
        overridden: set[str] = set()
        for setting in table.settings:
            variable = table.variable(self.name, setting.name)
            if variable in env:
                overridden.add(setting.name)
                given += _from_environment(setting, variable, env[variable])
        known = self._known
        return [e for e in written if e.name not in known or known[e.name].name not in overridden] + given

    def _check_names(self, table: Table) -> None:
        recognised = []
        for entry in self._entries:
            name = entry.name
            if name in self._known:
                recognised.append(entry)
            elif name in table.refused and entry.value.lower() != "no":
                self.fail(entry, f"{entry.key} is not supported", table.refused[name])
            elif name in table.refused:
                continue
            elif name in table.without_effect:
                self.warn(entry, f"{entry.key} has no effect: {table.without_effect[name]}")
            else:
                near = nearest(name, self._known)
                remedy = f"did you mean {near}?" if near else "see docs/configuration.md"
                self.fail(entry, f"{entry.key} is not a setting of [{self.name}]", remedy)
        self._entries = recognised


def _from_environment(setting: AnySetting, variable: str, text: str) -> list[Entry]:
    if not setting.repeated:
        return [Entry(setting.name, text.strip(), variable, 0)]
    return [Entry(setting.name, item.strip(), variable, 0) for item in text.split(",") if item.strip()]


def _shouted(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def by_name(sections: Sequence[Section]) -> dict[str, list[Section]]:
    """Sections grouped by name, in order of appearance."""
    groups: dict[str, list[Section]] = {}
    for section in sections:
        groups.setdefault(section.name, []).append(section)
    return groups
