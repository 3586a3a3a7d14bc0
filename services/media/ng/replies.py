"""Replies whose wording is part of the protocol: clients decide by the exact text (Kamailio, OpenSIPS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.media.ng.message import Message

OK = "ok"
PONG = "pong"
ERROR = "error"
LOAD_LIMIT = "load limit"
"""The `result` that sends a client to the next worker, with a `message`."""

UNKNOWN_CALL = "Unknown call-id"
UNKNOWN_COMMAND = "Unrecognized command"
NO_COMMAND = 'Dictionary contains no key "command"'
OUT_OF_PORTS = "Ran out of ports"
SESSION_LIMIT = "Parallel session limit reached"
INTERNAL_ERROR = "Internal error"

TRY_ANOTHER = frozenset(
    {
        OUT_OF_PORTS,
        SESSION_LIMIT,
        "CPU usage limit exceeded",
        "Load limit exceeded",
        "Bandwidth limit exceeded",
    }
)
"""Values of `error-reason` that say "not here", not "not at all": a client asks the next worker."""

NO_SUCH_CALL_WARNING = "Call-ID not found or tags didn't match"
"""`warning` of a good reply to `delete` that deleted nothing."""


def error(reason: str) -> Message:
    """A refusal."""
    return {"result": ERROR, "error-reason": reason}


def load_limit(message: str = SESSION_LIMIT) -> Message:
    """A refusal of new sessions that moves clients to the next worker."""
    return {"result": LOAD_LIMIT, "message": message}


def is_try_another(reply: Mapping[str, Any]) -> bool:
    """Whether the worker is full rather than the request wrong."""
    result = reply.get("result")
    return result == LOAD_LIMIT or (result == ERROR and reply.get("error-reason") in TRY_ANOTHER)


def is_unknown_call(reply: Mapping[str, Any]) -> bool:
    """Whether the worker does not have the call."""
    return reply.get("error-reason") == UNKNOWN_CALL or reply.get("warning") == NO_SUCH_CALL_WARNING
