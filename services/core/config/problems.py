"""What is wrong with a configuration, all of it at once.

    ConfigError          the configuration cannot be used
      .problems          every Problem found, in file order

A warning is a `Problem` too; it is returned beside the settings and never raised.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing the reader of a configuration file should change."""

    file: str
    """Path relative to the file that was asked for (`sip.conf`, `phones/alice.conf`), or `environment`."""
    line: int
    """1-based; 0 when the problem is the file as a whole."""
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """One line, `sip.conf:12: message (remedy)`."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message} ({self.remedy})" if self.remedy else f"{where}: {self.message}"


class ConfigError(Exception):
    """A configuration cannot be used; `problems` has every reason, and `str()` one line for each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, by file (in order of appearance) and line.

    A line of a template is read once for every section that inherits it, and is wrong only once.
    """
    once = list(dict.fromkeys(problems))
    files = {name: number for number, name in enumerate(dict.fromkeys(problem.file for problem in once))}
    return sorted(once, key=lambda problem: (files[problem.file], problem.line))


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word `word` was probably meant to be, or the empty string."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else ""
