"""The two phones the doctor calls with, known to every running PBX and to nobody outside its data directory.

Their password follows from the node's key file, so `pbx doctor` on the same machine knows it and no phone of the
user's rings. They live in a context of their own, from where nothing but each other can be reached.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from services.core.config.sip import Peer

CONTEXT = "_doctor"
CALLER = "_doctor-caller"
CALLEE = "_doctor-callee"
DIALPLAN = f"""
[{CONTEXT}]
exten => callee,1,Dial(SIP/{CALLEE},10)
"""
EXTENSION = "callee"
_CODECS = ("ulaw", "alaw")


def password(key: bytes) -> str:
    """The password of both, for the node whose key this is."""
    return hmac.new(key, b"doctor", hashlib.sha256).hexdigest()[:32]


def peers(key: bytes) -> Mapping[str, Peer]:
    """Their sections, as if they stood in sip.conf."""
    secret = password(key)
    return {
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
