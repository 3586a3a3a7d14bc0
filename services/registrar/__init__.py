"""Which contacts an address of record has (RFC 3261 10.3): rules as a pure aggregate, service over the store."""

from services.registrar.api import (
    DEFAULT_RULES,
    Binding,
    Bindings,
    Contact,
    Register,
    RegisterOutcome,
    Registrar,
    Rules,
    WhenFull,
    read_register,
)

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
