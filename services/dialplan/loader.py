"""Reading a dialplan from its file. The only part of the dialplan that touches a disk."""

from __future__ import annotations

import os

from services.core.config.conf import load_conf
from services.dialplan.checker import DialplanErrors
from services.dialplan.compiler import compile_program
from services.dialplan.program import Program


def load(path: str | os.PathLike[str]) -> Program:
    """The program of an extensions.conf and the files it includes.

    Raises DialplanErrors with every error of every line; what is only worth a look is on `Program.warnings`.
    """
    conf = load_conf(path)
    if not conf.problems:
        return compile_program(conf.sections)
    try:
        program = compile_program(conf.sections)
    except DialplanErrors as errors:
        raise DialplanErrors([*conf.problems, *errors.problems], errors.warnings) from None
    raise DialplanErrors(conf.problems, program.warnings)
