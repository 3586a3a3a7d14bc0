"""The two phones of `pbx doctor`, known to every running edge and to nobody outside its data directory.

Their password follows from a key file there, so a test call on the same machine can be placed and no phone of the
user's rings. They live in a context of their own, from where nothing but each other can be reached.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from functools import cache
from importlib.resources import as_file, files

from services.core.config.sip import Peer, SipSettings
from services.dialplan import Program, load

KEY_FILE = "doctor.key"
"""In the data directory, readable by its owner alone."""
CONTEXT = "_doctor"
CALLER = "_doctor-caller"
CALLEE = "_doctor-callee"
EXTENSION = "callee"
_CODECS = ("ulaw", "alaw")


def password(key: bytes) -> str:
    """The password of both, for the node whose key this is."""
    return hmac.new(key, b"doctor", hashlib.sha256).hexdigest()[:32]


def with_probes(settings: SipSettings, key: bytes) -> SipSettings:
    """The settings, with the two phones as if they stood in sip.conf."""
    secret = password(key)
    probes = {
        name: Peer(
            name=name,
            type="friend",
            secret=secret,
            auth_user=name,
            context=CONTEXT,
            codecs=_CODECS,
            callerid_name="pbx doctor",
            max_contacts=8,
            origin="pbx doctor",
        )
        for name in (CALLER, CALLEE)
    }
    return dataclasses.replace(settings, peers={**settings.peers, **probes})


def with_probe_context(program: Program) -> Program:
    """The dialplan, with the context in which the two call each other."""
    return Program(
        (*program.contexts.values(), *_probe_program().contexts.values()),
        program.globals,
        program.shared,
        shared_anything=program.shared_anything,
        warnings=program.warnings,
    )


@cache
def _probe_program() -> Program:
    with as_file(files(__package__) / "probes.conf") as path:
        return load(path)
