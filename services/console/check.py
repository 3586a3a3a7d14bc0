"""`pbx check`: everything that would stop a start, without starting."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from services.core.config import ConfigError, Problem, load_settings
from services.core.daemon import EXIT_CONFIG, complain
from services.dialplan import load

EXTENSIONS = "extensions.conf"


def check_configuration(directory: Path) -> int:
    """Print every problem and warning of a configuration directory, a line each; the exit code."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    try:
        settings = load_settings(directory, os.environ)
        warnings += settings.warnings
    except ConfigError as error:
        problems += error.problems
    try:
        warnings += load(directory / EXTENSIONS).warnings
    except ConfigError as error:
        problems += error.problems
    for problem in problems:
        complain(str(problem))
    for warning in warnings:
        complain(f"warning: {warning}")
    if problems:
        return EXIT_CONFIG
    print(f"{directory}: fine")
    return 0


def dialplan_problems(directory: Path) -> Sequence[Problem]:
    """What is wrong with extensions.conf."""
    try:
        load(directory / EXTENSIONS)
    except ConfigError as error:
        return error.problems
    return ()
