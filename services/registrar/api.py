"""What other services use of the registrar.

command = read_register(request, flow, request_id)       # SipError 400: answer it
outcome = await registrar.register(aor, command)         # status, reason, headers; kept when this returns
contacts = await registrar.lookup(aor)                   # where a call to the AOR goes
"""

from __future__ import annotations

from services.registrar.model import (
    DEFAULT_RULES,
    Binding,
    Bindings,
    Contact,
    Register,
    RegisterOutcome,
    Rules,
    WhenFull,
)
from services.registrar.request import read_register
from services.registrar.service import Registrar

__all__ = [
    "DEFAULT_RULES",
    "Binding",
    "Bindings",
    "Contact",
    "Register",
    "RegisterOutcome",
    "Registrar",
    "Rules",
    "WhenFull",
    "read_register",
]
