"""Extension patterns: `_NXX`, `_0[1-9].`, `_*!`, and which of two is the more specific.

    X 0-9     Z 1-9     N 2-9     [1-35] a set, in which X, Z and N mean themselves and `\\` takes the next as it is
    .  one or more of anything    !  zero or more of anything, and no more digits are waited for
    -  and blanks are ignored, outside of sets

Order, most specific first: position by position the smaller set wins; of two sets of one size the one that comes
first as a sorted string (`[34]` before `[45]`); `.` after every set, `!` after `.`. Names without `_` come before
all patterns.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

_CLASSES = {"X": "0123456789", "Z": "123456789", "N": "23456789"}

_DOT_RANK = 0x10000
_BANG_RANK = 0x20000


class PatternError(ValueError):
    """A pattern that means nothing; `str()` says why, `remedy` what to write."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class More(enum.Enum):
    """What further digits could do to the digits collected so far."""

    IMPOSSIBLE = enum.auto()
    """No longer text of this beginning matches."""
    POSSIBLE = enum.auto()
    EARLY = enum.auto()
    """The text matches and the pattern ends in `!`: do not wait for more."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One compiled pattern. Two patterns are ordered by `rank`, a total order."""

    text: str
    """As written, `_` included."""
    positions: tuple[str, ...]
    """The characters allowed at each position, sorted."""
    wildcard: str = ""
    """`.`, `!` or nothing."""
    rank: tuple[object, ...] = field(default=(), compare=False)
    prefix: str = field(default="", compare=False)
    """The fixed characters it begins with: most texts fail there already."""

    def matches(self, digits: str) -> bool:
        """True if the whole text matches. `digits` carries no dashes (`plain`)."""
        if not digits.startswith(self.prefix):
            return False
        positions = self.positions
        if self.wildcard:
            if len(digits) < len(positions) + (self.wildcard == "."):
                return False
        elif len(digits) != len(positions):
            return False
        for at in range(len(self.prefix), len(positions)):  # noqa: SIM110 - a generator costs more than the search
            if digits[at] not in positions[at]:
                return False
        return True

    def more(self, digits: str) -> More:
        """Whether a longer text that begins with `digits` matches."""
        if not all(char in allowed for char, allowed in zip(digits, self.positions, strict=False)):
            return More.IMPOSSIBLE
        if len(digits) < len(self.positions):
            return More.POSSIBLE
        if self.wildcard == "!":
            return More.EARLY
        return More.POSSIBLE if self.wildcard else More.IMPOSSIBLE


def plain(exten: str) -> str:
    """The text that names and patterns are compared with: dashes dropped."""
    return exten.replace("-", "") if "-" in exten else exten


def compile_pattern(text: str) -> Pattern:
    """Compile `_...`; PatternError if it makes no sense."""
    positions: list[str] = []
    wildcard = ""
    at = 1
    while at < len(text):
        char = text[at]
        at += 1
        if char in "- \t":
            continue
        if char in ".!":
            wildcard = char
            break
        if char == "[":
            allowed, at = _read_set(text, at)
            positions.append(allowed)
        elif char == "]":
            raise PatternError(f"the pattern {text} has a ] without a [", "write [\\]] for the character itself")
        else:
            positions.append(_CLASSES.get(char.upper(), char))
    if text[at:].strip("- \t"):
        raise PatternError(
            f"in the pattern {text} nothing after {wildcard} is ever looked at", f"end the pattern at the {wildcard}"
        )
    if not positions and not wildcard:
        raise PatternError("the pattern is empty", "write a digit, a set or X, Z, N after the _")
    fixed = next((at for at, allowed in enumerate(positions) if len(allowed) > 1), len(positions))
    return Pattern(text, tuple(positions), wildcard, _rank(text, positions, wildcard), "".join(positions[:fixed]))


def _rank(text: str, positions: list[str], wildcard: str) -> tuple[object, ...]:
    ranks: list[tuple[int, str]] = [(len(allowed), allowed) for allowed in positions]
    if wildcard:
        ranks.append((_DOT_RANK if wildcard == "." else _BANG_RANK, ""))
    return (tuple(ranks), text)


def _read_set(text: str, start: int) -> tuple[str, int]:
    """The sorted characters of the set whose `[` stands before `start`, and the position after its `]`."""
    members: list[str] = []
    at = start
    while True:
        if at >= len(text):
            raise PatternError(f"the pattern {text} has a [ without a ]", "close the set with ]")
        if text[at] == "]":
            break
        first, at = _read_member(text, at)
        if text[at : at + 1] == "-" and at + 1 < len(text) and text[at + 1] != "]":
            last, at = _read_member(text, at + 1)
            if last < first:
                raise PatternError(f"the range {first}-{last} in the pattern {text} runs backwards", f"{last}-{first}")
            if ord(last) - ord(first) > 0xFF:
                raise PatternError(f"the range {first}-{last} in the pattern {text} is too large")
            members.extend(map(chr, range(ord(first), ord(last) + 1)))
        else:
            members.append(first)
    if not members:
        raise PatternError(f"the pattern {text} has an empty set []", "nothing can match it")
    return "".join(sorted(set(members))), at + 1


def _read_member(text: str, at: int) -> tuple[str, int]:
    if text[at] == "\\" and at + 1 < len(text):
        return text[at + 1], at + 2
    return text[at], at + 1
