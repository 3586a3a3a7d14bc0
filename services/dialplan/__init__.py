"""The dialplan: Asterisk's extensions.conf, compiled to data and run by a pure interpreter.

    program = load("extensions.conf")                         DialplanErrors names every line that is wrong
    execution = start(program, context="phones", exten="2")
    outcome = step(program, execution, Begin(), environment)  keep outcome.execution, perform outcome.action

`api` holds the values that go back and forth between a call and the interpreter, and says who answers what.
docs/dialplan.md says what of the language is there.
"""

from services.dialplan.api import (
    Action,
    AnswerCall,
    ApplicationRan,
    Begin,
    CallerSet,
    CallFacts,
    ChannelSet,
    Continue,
    DeleteValue,
    Dial,
    Dialled,
    DialStatus,
    Digit,
    Done,
    Echo,
    Effect,
    Elapsed,
    Environment,
    Execution,
    Fetch,
    Fetched,
    Finished,
    Frame,
    HangUp,
    HungUp,
    Input,
    Log,
    Music,
    Pause,
    Play,
    Played,
    Progress,
    PutValue,
    Refuse,
    Ring,
    Space,
    Step,
    Waiting,
)
from services.dialplan.checker import DialplanErrors
from services.dialplan.compiler import compile_program
from services.dialplan.interpreter import can_start, start, step
from services.dialplan.loader import load
from services.dialplan.program import Program

__all__ = [
    "Action",
    "AnswerCall",
    "ApplicationRan",
    "Begin",
    "CallFacts",
    "CallerSet",
    "ChannelSet",
    "Continue",
    "DeleteValue",
    "Dial",
    "DialStatus",
    "Dialled",
    "DialplanErrors",
    "Digit",
    "Done",
    "Echo",
    "Effect",
    "Elapsed",
    "Environment",
    "Execution",
    "Fetch",
    "Fetched",
    "Finished",
    "Frame",
    "HangUp",
    "HungUp",
    "Input",
    "Log",
    "Music",
    "Pause",
    "Play",
    "Played",
    "Program",
    "Progress",
    "PutValue",
    "Refuse",
    "Ring",
    "Space",
    "Step",
    "Waiting",
    "can_start",
    "compile_program",
    "load",
    "start",
    "step",
]
