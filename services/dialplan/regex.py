"""POSIX extended regular expressions in time linear in the text, for REGEX(), `:` and `=~`.

A dialplan's pattern may be built from what a caller sent, and Python's own engine can be kept busy for hours by
`(a+)+$`. This one follows all alternatives at once (Thompson's construction, one pass over the text), finds the
leftmost longest match as POSIX asks, and remembers what the first group matched.

    pattern -> parse (recursive descent, a small tree) -> instructions -> search

Supported: `. [] [^] [:class:] () | * + ? {m} {m,} {m,n} ^ $`, `\\` before any character, and GNU's `\\w \\W \\s \\S`.
Back-references are not.
"""

from __future__ import annotations

import functools
import string
from dataclasses import dataclass

MAX_PATTERN = 1024
MAX_INSTRUCTIONS = 2048
MAX_WORK = 200_000
"""Instructions times characters of text; a search beyond that is refused, not begun."""

_MAX_REPEAT = 255
_MAX_DEPTH = 40

_NAMED = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, range(32))) + "\x7f",
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": " \t\n\r\f\v",
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}
_WORD = string.ascii_letters + string.digits + "_"


class RegexError(ValueError):
    """A pattern that is wrong, or too large to be run."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where the match lies, and where the first group's does (None: it took no part)."""

    start: int
    end: int
    group: tuple[int, int] | None


# Tree nodes. Empty matches nothing at all; Group is only kept for the first group.


@dataclass(frozen=True, slots=True)
class _Set:
    chars: frozenset[str]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class _Edge:
    start: bool


@dataclass(frozen=True, slots=True)
class _Sequence:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    item: _Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class _Group:
    item: _Node


_Node = _Set | _Edge | _Sequence | _Choice | _Repeat | _Group

_ANY = _Set(frozenset(), negated=True)


# Instructions: one object each, `next` by position. Split prefers its first way.


@dataclass(slots=True)
class _Char:
    chars: frozenset[str]
    negated: bool


@dataclass(slots=True)
class _Split:
    first: int
    second: int


@dataclass(slots=True)
class _Save:
    slot: int


@dataclass(slots=True)
class _At:
    start: bool


@dataclass(slots=True)
class _Accept:
    pass


_Instruction = _Char | _Split | _Save | _At | _Accept

_Thread = tuple[int, int, int, int]
"""Next instruction, start of the match, start and end of the first group (-1: not reached)."""


class Regex:
    """A compiled pattern."""

    __slots__ = ("_program", "groups")

    def __init__(self, program: list[_Instruction], groups: int) -> None:
        self._program = program
        self.groups = groups
        """How many parenthesised groups the pattern has."""

    def search(self, text: str) -> Match | None:
        """The leftmost longest match. RegexError if text times pattern is more than MAX_WORK."""
        if len(text) * len(self._program) > MAX_WORK:
            raise RegexError("the text is too long for this pattern")
        sweep = _Sweep(self._program, len(text))
        threads: list[_Thread] = []
        for at in range(len(text) + 1):
            sweep.move_to(at)
            for thread in threads:
                sweep.follow(thread)
            if sweep.best is None:
                sweep.follow((0, at, -1, -1))
            if at == len(text) or (sweep.best is not None and not sweep.current):
                break
            threads = sweep.read(text[at])
        return sweep.best


class _Sweep:
    """One pass over a text: the threads that are alive before one character, most preferred first."""

    __slots__ = ("_at", "_end", "_program", "_seen", "best", "current")

    def __init__(self, program: list[_Instruction], end: int) -> None:
        self._program = program
        self._at = 0
        self._end = end
        self._seen: set[int] = set()
        self.current: list[_Thread] = []
        self.best: Match | None = None

    def move_to(self, at: int) -> None:
        self._at = at
        self._seen = set()
        self.current = []

    def read(self, char: str) -> list[_Thread]:
        """The threads that go on after `char`; none that began later than the best match."""
        going_on: list[_Thread] = []
        for pc, start, group_start, group_end in self.current:
            instruction = self._program[pc]
            if (
                isinstance(instruction, _Char)
                and (char in instruction.chars) != instruction.negated
                and (self.best is None or start <= self.best.start)
            ):
                going_on.append((pc + 1, start, group_start, group_end))
        return going_on

    def follow(self, thread: _Thread) -> None:
        """Follow a thread through everything that reads no character."""
        at = self._at
        stack = [thread]
        while stack:
            pc, start, group_start, group_end = stack.pop()
            if pc in self._seen:
                continue
            self._seen.add(pc)
            instruction = self._program[pc]
            if isinstance(instruction, _Char):
                self.current.append((pc, start, group_start, group_end))
            elif isinstance(instruction, _Split):
                stack.append((instruction.second, start, group_start, group_end))
                stack.append((instruction.first, start, group_start, group_end))
            elif isinstance(instruction, _Save):
                saved = (at, -1) if instruction.slot == 0 else (group_start, at)
                stack.append((pc + 1, start, *saved))
            elif isinstance(instruction, _At):
                if at == (0 if instruction.start else self._end):
                    stack.append((pc + 1, start, group_start, group_end))
            else:
                best = self.best
                if best is None or start < best.start or (start == best.start and at > best.end):
                    self.best = Match(start, at, (group_start, group_end) if group_end >= 0 else None)


@functools.lru_cache(maxsize=256)
def compile_regex(pattern: str) -> Regex:
    """Compile a pattern; RegexError if it is wrong or too large."""
    if len(pattern) > MAX_PATTERN:
        raise RegexError(f"the pattern is longer than {MAX_PATTERN} characters")
    parser = _Parser(pattern)
    tree = parser.parse()
    emitter = _Emitter()
    emitter.emit(tree)
    emitter.add(_Accept())
    return Regex(emitter.program, parser.groups)


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0
        self.groups = 0

    def parse(self) -> _Node:
        tree = self._choice()
        if self._at < len(self._text):
            raise RegexError("a ) without a (")
        return tree

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _choice(self) -> _Node:
        items = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            items.append(self._sequence())
        return items[0] if len(items) == 1 else _Choice(tuple(items))

    def _sequence(self) -> _Node:
        items: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            items.append(self._repeated(self._atom()))
        return _Sequence(tuple(items))

    def _repeated(self, item: _Node) -> _Node:
        while (char := self._peek()) in ("*", "+", "?", "{") and char:
            if char == "{":
                bounds = self._bounds()
                if bounds is None:
                    break
                item = _Repeat(item, *bounds)
            else:
                self._at += 1
                item = _Repeat(item, 1 if char == "+" else 0, 1 if char == "?" else None)
        return item

    def _bounds(self) -> tuple[int, int | None] | None:
        """`{m}`, `{m,}` or `{m,n}`; None if the brace is an ordinary character."""
        close = self._text.find("}", self._at)
        least, comma, most = self._text[self._at + 1 : close].partition(",") if close > 0 else ("", "", "")
        if not (least.isascii() and least.isdigit()):
            return None
        if most and not (most.isascii() and most.isdigit()):
            raise RegexError("a repetition is not a number")
        self._at = close + 1
        low, high = int(least[:4]), int(most[:4]) if most else None
        if low > _MAX_REPEAT or (high or 0) > _MAX_REPEAT or (high is not None and high < low):
            raise RegexError(f"a repetition is not between 0 and {_MAX_REPEAT}, or runs backwards")
        return low, high if comma else low

    def _atom(self) -> _Node:
        char = self._peek()
        self._at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return self._set()
        if char == ".":
            return _ANY
        if char in "^$":
            return _Edge(start=char == "^")
        if char in "*+?":
            raise RegexError(f"nothing for the {char} to repeat")
        if char == "\\":
            return self._escape()
        return _Set(frozenset(char))

    def _escape(self) -> _Node:
        char = self._peek()
        self._at += 1
        if not char:
            raise RegexError("a backslash at the end")
        if char in "wW":
            return _Set(frozenset(_WORD), negated=char == "W")
        if char in "sS":
            return _Set(frozenset(_NAMED["space"]), negated=char == "S")
        if char in "123456789":
            raise RegexError("back-references are not supported")
        return _Set(frozenset(char))

    def _group(self) -> _Node:
        self.groups += 1
        first = self.groups == 1
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise RegexError(f"groups are more than {_MAX_DEPTH} deep")
        item = self._choice()
        self._depth -= 1
        if self._peek() != ")":
            raise RegexError("a ( without a )")
        self._at += 1
        return _Group(item) if first else item

    def _set(self) -> _Node:
        negated = self._peek() == "^"
        self._at += negated
        chars: set[str] = set()
        first = True
        while first or self._peek() != "]":
            first = False
            if self._text.startswith("[:", self._at):
                chars.update(self._named())
                continue
            low = self._member()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                high = self._member()
                if not 0 <= ord(high) - ord(low) <= 0xFF:
                    raise RegexError(f"the range {low}-{high} runs backwards or is too large")
                chars.update(map(chr, range(ord(low), ord(high) + 1)))
            else:
                chars.add(low)
        self._at += 1
        return _Set(frozenset(chars), negated)

    def _member(self) -> str:
        char = self._peek()
        if not char:
            raise RegexError("a [ without a ]")
        self._at += 1
        return char

    def _named(self) -> str:
        end = self._text.find(":]", self._at)
        name = self._text[self._at + 2 : end] if end > 0 else ""
        if name not in _NAMED:
            raise RegexError(f"there is no character class [:{name}:]")
        self._at = end + 2
        return _NAMED[name]


class _Emitter:
    def __init__(self) -> None:
        self.program: list[_Instruction] = []

    def add(self, instruction: _Instruction) -> None:
        if len(self.program) >= MAX_INSTRUCTIONS:
            raise RegexError("the pattern is too large")
        self.program.append(instruction)

    def emit(self, node: _Node) -> None:
        if isinstance(node, _Set):
            self.add(_Char(node.chars, node.negated))
        elif isinstance(node, _Edge):
            self.add(_At(node.start))
        elif isinstance(node, _Sequence):
            for item in node.items:
                self.emit(item)
        elif isinstance(node, _Choice):
            self._emit_choice(node)
        elif isinstance(node, _Repeat):
            self._emit_repeat(node)
        else:
            self.add(_Save(0))
            self.emit(node.item)
            self.add(_Save(1))

    def _emit_choice(self, node: _Choice) -> None:
        ends: list[_Split] = []
        for item in node.items[:-1]:
            split = _Split(len(self.program) + 1, 0)
            self.add(split)
            self.emit(item)
            jump = _Split(0, 0)
            self.add(jump)
            ends.append(jump)
            split.second = len(self.program)
        self.emit(node.items[-1])
        for jump in ends:
            jump.first = jump.second = len(self.program)

    def _emit_repeat(self, node: _Repeat) -> None:
        for _ in range(node.least):
            self.emit(node.item)
        if node.most is None:
            split = _Split(len(self.program) + 1, 0)
            start = len(self.program)
            self.add(split)
            self.emit(node.item)
            self.add(_Split(start, start))
            split.second = len(self.program)
            return
        splits: list[_Split] = []
        for _ in range(node.most - node.least):
            split = _Split(len(self.program) + 1, 0)
            self.add(split)
            splits.append(split)
            self.emit(node.item)
        for split in splits:
            split.second = len(self.program)
