"""What a call wants done once its events are committed: values, carried out by the shell (`runner.py`).

A `token` names something in flight; the shell gives the outcome back to `CallProcess` with the same token.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from services.core.address import Family
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response
from services.core.sip.replaces import Replaces
from services.core.sip.transaction import ServerKey
from services.sip_edge.call.party import Joined, JoinRequest
from services.sip_edge.call.state import LegState


@dataclass(frozen=True, slots=True)
class Respond:
    """Send a response in a server transaction."""

    key: ServerKey
    response: Response


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Open a client transaction; responses come back under `token`."""

    token: int
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class SendAck:
    """Acknowledge a 2xx: a request outside any transaction (RFC 3261 section 13.2.2.4)."""

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Cancel an INVITE of ours (RFC 3261 section 9.1)."""

    token: int


@dataclass(frozen=True, slots=True)
class StopRetransmitting:
    """The ACK of our 2xx came."""

    key: ServerKey


@dataclass(frozen=True, slots=True)
class Locate:
    """Find where a dial string leads; answered by `located`."""

    token: int
    target: str
    secure: bool = False
    """Only over TLS: the caller asked for `sips:`."""


class Echo(enum.Enum):
    """Whether a caller hears itself."""

    AS_IT_IS = ""
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Offer:
    """Show `from_tag`'s description to `to_tag`, as an address of the media worker in `family`."""

    from_tag: str
    to_tag: str
    sdp: bytes
    family: Family
    from_address: str
    to_address: str
    echo: Echo = Echo.AS_IT_IS


@dataclass(frozen=True, slots=True)
class Answer:
    """Show `to_tag`'s answer to `from_tag`, who offered."""

    from_tag: str
    to_tag: str
    sdp: bytes
    echo: Echo = Echo.AS_IT_IS


@dataclass(frozen=True, slots=True)
class Play:
    """Let a party hear prompts; `repeat` 0 is endless."""

    tag: str
    files: tuple[str, ...]
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class StopPlaying:
    tag: str


@dataclass(frozen=True, slots=True)
class DeleteMedia:
    """Give back a party's media, or with an empty tag the whole call's; the answer has the statistics."""

    tag: str = ""


MediaOperation = Offer | Answer | Play | StopPlaying | DeleteMedia


@dataclass(frozen=True, slots=True)
class Media:
    """A command to the call's media worker; answered by `media_done`."""

    token: int
    operation: MediaOperation


@dataclass(frozen=True, slots=True)
class StartTimer:
    name: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    name: str


@dataclass(frozen=True, slots=True)
class FetchValues:
    """Read values of DB() or GLOBAL(); answered by `values_fetched`."""

    token: int
    keys: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PutValue:
    """Write a value of DB() or GLOBAL(); None deletes it."""

    space: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Join:
    """Lend a leg's dialog to the call that `replaces` names; answered by `joined`."""

    token: int
    replaces: Replaces
    leg: LegState
    path: object
    linkedid: str


@dataclass(frozen=True, slots=True)
class JoinOver:
    """Tell the call that lent a dialog what came of it."""

    request: JoinRequest
    outcome: Joined


@dataclass(frozen=True, slots=True)
class WriteLog:
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Release:
    """The call is over and nothing of it is in flight: forget it."""


Effect = (
    Respond | SendRequest | SendAck | CancelRequest | StopRetransmitting | Locate | Media
    | StartTimer | StopTimer | FetchValues | PutValue | Join | JoinOver | WriteLog | Release
)  # fmt: skip
