"""Reader of Asterisk's configuration format: sections of `key=value` lines that remember where they stood.

    [general]                  a section
    context = internal         key = value
    exten => 100,1,Answer()    key => value; kept apart by `Entry.arrow`
    ; comment                  to the end of the line; \\; is a semicolon of the value
    ;-- comment --;            over any number of lines, may be nested; ;--- is an ordinary comment
    [phone](!)                 a template: only there to be inherited from
    [alice](phone,office)      starts with copies of the entries of both, in that order
    [alice](+)                 further entries of the section [alice] that is already there
    #include "phones/*.conf"   the lines of other files, relative to this one; #tryinclude may find none

The lines of an included file belong to the section in which the #include stands until they open one of their own;
after the #include, the including file goes on in the section it was in. A section may appear twice: both are
returned, for the dialplan merges contexts of one name, while sip.conf refuses it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.core.config.problems import ConfigError, Problem

MAX_INCLUDE_DEPTH = 32
"""Files inside files; a loop is found sooner, by its path."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key=value` line."""

    key: str
    """As written; compare it without regard to case (`name`)."""
    value: str
    """Comment and surrounding blanks taken off, `\\;` turned into `;`."""
    file: str
    line: int
    arrow: bool = False
    """Written with `=>`."""

    @property
    def name(self) -> str:
        """The key in lower case."""
        return self.key.lower()

    @property
    def where(self) -> str:
        """`sip.conf:12`; the name of the variable for a value that the environment gave."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def problem(self, message: str, remedy: str = "") -> Problem:
        """A problem of this line."""
        return Problem(self.file, self.line, message, remedy)


@dataclass(frozen=True, slots=True)
class Section:
    """A `[name]` with its entries, inherited ones first. Templates are not among the sections that are returned."""

    name: str
    entries: tuple[Entry, ...]
    file: str
    line: int

    @property
    def where(self) -> str:
        """`sip.conf:12`, the line of the header."""
        return f"{self.file}:{self.line}"

    def get(self, name: str) -> Entry | None:
        """The last entry of that name (lower case), as a later line replaces an earlier one."""
        return next((entry for entry in reversed(self.entries) if entry.name == name), None)

    def get_all(self, name: str) -> tuple[Entry, ...]:
        """Every entry of that name (lower case), in order."""
        return tuple(entry for entry in self.entries if entry.name == name)

    def problem(self, message: str, remedy: str = "") -> Problem:
        """A problem of the section as a whole."""
        return Problem(self.file, self.line, message, remedy)


@dataclass(frozen=True, slots=True)
class Conf:
    """All that could be read of a file and what it includes, and what could not."""

    sections: tuple[Section, ...]
    problems: tuple[Problem, ...]


def read_conf(path: str | os.PathLike[str]) -> list[Section]:
    """The sections of a file, in order, templates applied and left out.

    Raises ConfigError with every line that could not be understood.
    """
    conf = load_conf(path)
    if conf.problems:
        raise ConfigError(conf.problems)
    return list(conf.sections)


def load_conf(path: str | os.PathLike[str]) -> Conf:
    """As `read_conf`, but problems are returned beside the sections, so that a caller can add its own. Never raises."""
    reader = _Reader(Path(path).absolute().parent)
    reader.read_file(Path(path).absolute(), None, None)
    return reader.result()


@dataclass(slots=True)
class _OpenSection:
    name: str
    file: str
    line: int
    template: bool
    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    line: int


class _Reader:
    """Reads one file and its includes into a list of open sections."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sections: list[_OpenSection] = []
        self._problems: list[Problem] = []
        self._open_files: list[Path] = []

    def result(self) -> Conf:
        sections = tuple(
            Section(section.name, tuple(section.entries), section.file, section.line)
            for section in self._sections
            if not section.template
        )
        return Conf(sections, tuple(self._problems))

    def read_file(self, path: Path, section: _OpenSection | None, asked: _Place | None) -> None:
        name = self._display(path)
        lines = self._lines_of(path, name, asked)
        self._open_files.append(path.resolve())
        stripper = _CommentStripper()
        for number, raw in enumerate(lines, start=1):
            text = stripper.strip(raw, number).strip(" \t\r\f\v")
            if text:
                section = self._read_line(text, _Place(name, number), path, section)
        if stripper.opened_at:
            self._fail(_Place(name, stripper.opened_at), "this ;-- comment has no end", "end it with --;")
        self._open_files.pop()

    def _lines_of(self, path: Path, name: str, asked: _Place | None) -> Sequence[str]:
        try:
            raw = path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            if asked is None:
                self._problems.append(Problem(name, 0, f"cannot be read: {reason}"))
            else:
                self._fail(asked, f"{name} cannot be read: {reason}")
            return ()
        # Only LF ends a line: str.splitlines() would also cut at U+2028 and friends inside a value.
        lines = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        decoded = []
        for number, line in enumerate(lines, start=1):
            try:
                decoded.append(line.decode("utf-8"))
            except UnicodeDecodeError:
                self._fail(_Place(name, number), "is not UTF-8 text", "save the file as UTF-8")
                decoded.append("")
        return decoded

    def _display(self, path: Path) -> str:
        try:
            return str(path.relative_to(self._root))
        except ValueError:
            return os.path.relpath(path, self._root)

    def _fail(self, place: _Place, message: str, remedy: str = "") -> None:
        self._problems.append(Problem(place.file, place.line, message, remedy))

    def _read_line(self, text: str, place: _Place, path: Path, section: _OpenSection | None) -> _OpenSection | None:
        """Take one line without comments; the section the next line belongs to is returned."""
        if text.startswith("["):
            return self._open_section(text, place) or section
        if text.startswith("#"):
            self._directive(text, place, path, section)
            return section
        entry = self._entry(text, place)
        if entry is None:
            return section
        if section is None:
            self._fail(place, f"{entry.key!r} stands before any section", "put it below a line such as [general]")
        else:
            section.entries.append(entry)
        return section

    def _entry(self, text: str, place: _Place) -> Entry | None:
        key, equals, value = text.partition("=")
        key = key.rstrip()
        if not equals:
            self._fail(place, f"{_shorten(text)!r} is not a setting", "write key = value, or start a comment with ;")
            return None
        if not key:
            self._fail(place, "there is no name before the =")
            return None
        if key.endswith("+"):
            self._fail(place, f"{key}= (append) is not supported", "write the whole value")
            return None
        arrow = value.startswith(">")
        return Entry(key, (value[1:] if arrow else value).strip(), place.file, place.line, arrow)

    def _open_section(self, text: str, place: _Place) -> _OpenSection | None:
        name, bracket, rest = text[1:].partition("]")
        name, rest = name.strip(), rest.strip()
        if not bracket:
            self._fail(place, f"{_shorten(text)!r} has no closing ]")
            return None
        if not name:
            self._fail(place, "a section needs a name between [ and ]")
            return None
        options: list[str] = []
        if rest:
            if not (rest.startswith("(") and rest.endswith(")")):
                self._fail(place, f"{_shorten(rest)!r} after [{name}] is not understood", "expected (template,...)")
                return None
            options = [option.strip() for option in rest[1:-1].split(",") if option.strip()]
        section = self._section_to_fill(name, options, place)
        for base in options:
            if base not in ("!", "+"):
                self._inherit(section, base, place)
        if "+" not in options:
            self._sections.append(section)
        return section

    def _section_to_fill(self, name: str, options: Sequence[str], place: _Place) -> _OpenSection:
        if "+" not in options:
            return _OpenSection(name, place.file, place.line, template="!" in options)
        section = self._find(name)
        if section is None:
            self._fail(place, f"[{name}](+) adds to a section that is not there yet", f"write [{name}]")
            return _OpenSection(name, place.file, place.line, template=True)
        return section

    def _find(self, name: str) -> _OpenSection | None:
        return next((section for section in reversed(self._sections) if section.name == name), None)

    def _inherit(self, section: _OpenSection, base: str, place: _Place) -> None:
        template = self._find(base)
        if template is None:
            self._fail(
                place,
                f"[{section.name}] inherits from [{base}], which is not defined above it",
                f"define [{base}](!) before this line",
            )
            return
        section.entries.extend(template.entries)

    def _directive(self, text: str, place: _Place, path: Path, section: _OpenSection | None) -> None:
        word, *rest = text.split(None, 1)
        if word not in ("#include", "#tryinclude"):
            self._fail(place, f"{word} is not supported", "known are #include and #tryinclude")
            return
        pattern = _unquote(rest[0]) if rest else ""
        if not pattern:
            self._fail(place, f"{word} needs the name of a file")
            return
        found = _matches(path.parent, pattern)
        if not found and word == "#include":
            self._fail(place, f'no file matches "{pattern}"', f"looked in {path.parent}; #tryinclude may find none")
        for file in found:
            if file.resolve() in self._open_files:
                self._fail(place, f"{self._display(file)} includes itself")
            elif len(self._open_files) >= MAX_INCLUDE_DEPTH:
                self._fail(place, f"files are included more than {MAX_INCLUDE_DEPTH} deep")
            else:
                self.read_file(file, section, place)


class _CommentStripper:
    """Takes comments off the lines of one file; block comments carry over from line to line."""

    __slots__ = ("_depth", "opened_at")

    def __init__(self) -> None:
        self._depth = 0
        self.opened_at = 0
        """Line of the block comment that is open, or 0."""

    def strip(self, line: str, number: int) -> str:
        if not self._depth and ";" not in line:
            return line
        kept: list[str] = []
        at = 0
        while True:
            found = line.find(";", at)
            if self._depth:
                if found < 0:
                    break
                at = self._inside_block(line, at, found)
            elif found < 0:
                kept.append(line[at:])
                break
            elif found > at and line[found - 1] == "\\":
                kept += (line[at : found - 1], ";")
                at = found + 1
            else:
                kept.append(line[at:found])
                if not _opens_block(line, found):
                    break
                self._depth, self.opened_at, at = 1, number, found + 3
        return "".join(kept)

    def _inside_block(self, line: str, start: int, found: int) -> int:
        """Pass the semicolon at `found`; the text from `start` on was not looked at yet."""
        if found - 2 >= start and line[found - 2 : found] == "--":
            self._depth -= 1
            if not self._depth:
                self.opened_at = 0
        elif _opens_block(line, found):
            self._depth += 1
            return found + 3
        return found + 1


def _opens_block(line: str, at: int) -> bool:
    """`;--` opens a block comment, but `;---` is a line drawn across the page."""
    return line.startswith(";--", at) and not line.startswith(";---", at)


def _unquote(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and (text[0], text[-1]) in {('"', '"'), ("<", ">")}:
        return text[1:-1].strip()
    return text


def _matches(folder: Path, pattern: str) -> list[Path]:
    path = folder / pattern
    if glob.has_magic(pattern):
        return [Path(found) for found in sorted(glob.glob(str(path))) if os.path.isfile(found)]
    return [path] if path.is_file() else []


def _shorten(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
