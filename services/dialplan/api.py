"""What the dialplan and the call say to each other: inputs, actions, effects and the state between them.

The interpreter is a function: `step(program, execution, input, environment) -> Step`. The call keeps the
`Execution` (it is part of the call's state and survives an edge), performs the `Action` and comes back with the
`Input` that answers it:

    action        performed by the call                                answered by
    AnswerCall    200 OK to the caller (nothing if already answered)   Done
    Ring          180 Ringing                                          Done
    Progress      183 with early media                                 Done
    Play          the caller hears the files, one after the other      Played
    Pause         waits; digits still arrive as Digit                  Elapsed
    Music         the caller hears a music class                       Elapsed (or Done)
    Echo          the caller hears itself                              Done (a `#` ends it before that)
    Dial          rings the targets, bridges the first that answers    Dialled
    Refuse        busy or congestion: the final response if the call
                  is unanswered, else the tone, then waits             Elapsed (or HungUp)
    HangUp        ends the caller's leg with a Q.850 cause             HungUp
    Fetch         reads values of DB() and GLOBAL()                    Fetched, with `Environment.values` filled
    Continue      nothing: the outstanding action stays outstanding    whatever that one is answered by
    Finished      nothing more will ever come

Exactly one action is outstanding at a time. `Digit` and `HungUp` may come at any time; if the step then returns
another action than `Continue`, that one replaces the outstanding one (stop the prompt, drop the timer, cancel the
branches) and a late answer to the replaced action must not be fed: `Execution.turn` counts actions, so an answer
that remembers the turn it belongs to can be told from a late one. An answer that fits nothing outstanding is
answered with `Continue`.

All values here are immutable and free of I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Space = Literal["db", "global"]
"""Where a shared value lives: `db` (key `family/key`) or `global` (key: the variable's name)."""

DialStatus = Literal["ANSWER", "BUSY", "NOANSWER", "CANCEL", "CONGESTION", "CHANUNAVAIL", "INVALIDARGS"]

# --- inputs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Run from the position of the execution: the first input of a call."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The values asked for by `Fetch` are in `Environment.values` (None: there is no such value)."""


@dataclass(frozen=True, slots=True)
class Done:
    """The action finished as it should. `variables` are set on the channel first."""

    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Digit:
    """The caller pressed one key: one of `0-9 * # A-D`."""

    digit: str


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The seconds of a Pause, Music or Refuse ran out."""


@dataclass(frozen=True, slots=True)
class Played:
    """The prompt ended: by itself, or because a digit stopped it (the Digit may come before or after)."""

    digit_interrupted: bool = False
    failed: bool = False
    """No file could be played."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A Dial is over. With status ANSWER: the callee hung up; the caller is still there."""

    status: str
    """One of DialStatus."""
    cause: int = 0
    """Q.850 cause of the last branch, 0 if there is none."""
    answered_time_s: float = 0.0
    dialed_time_s: float = 0.0
    peer: str = ""
    """Channel name of the branch that answered."""
    peer_number: str = ""
    """What was dialled to reach it (the target's text without technology)."""


@dataclass(frozen=True, slots=True)
class HungUp:
    """The caller's leg is over, whoever ended it. `h` runs now and cannot block."""

    cause: int = 16
    dialled: Dialled | None = None
    """What became of the Dial that was outstanding, if one was; without it DIALSTATUS is CANCEL."""


Input = Begin | Fetched | Done | Digit | Elapsed | Played | Dialled | HungUp

# --- actions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """Answer the caller."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Tell the caller that it rings."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Open early media toward the caller."""


@dataclass(frozen=True, slots=True)
class Play:
    """Play sound files (names without extension, `digits/1`) to the caller, answered or early media.

    With `interrupt` a digit replaces this action at once; without, digits are kept for later.
    """

    files: tuple[str, ...]
    interrupt: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait `seconds`; None waits until a Digit or HungUp."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Dial:
    """Ring every target at once, bridge the first that answers, cancel the rest."""

    targets: tuple[str, ...]
    """As written, technology kept: `SIP/dev1`, `PJSIP/dev2`, `SIP/trunk/+4912345`."""
    timeout_s: float | None = None
    """None: ring until the caller gives up."""
    options: str = ""
    """As written, for the record; the ones supported are parsed below."""
    ringing: bool = False
    """Option r: 180 to the caller at once, no early media of the callee before the answer."""
    music_class: str | None = None
    """Option m: the caller hears this class until the answer ('' is `default`)."""
    caller_name: str = ""
    """The caller's name and number as CALLERID() has them now."""
    caller_number: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Busy (486) or congestion (503); `seconds` None waits until the caller hangs up."""

    status: Literal[486, 503]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the caller's leg; a call not yet answered is refused with the status of this Q.850 cause."""

    cause: int = 16


@dataclass(frozen=True, slots=True)
class Echo:
    """Send the caller its own audio back."""


@dataclass(frozen=True, slots=True)
class Music:
    """Music on hold; `seconds` None plays until HungUp."""

    class_name: str = "default"
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Values needed before the next priority can run: (space, key) pairs.

    Perform the effects of this step first (a value may just have been put), read all keys, and step the execution
    of this step with `Fetched` and an environment whose `values` holds every one of `keys`.
    """

    keys: tuple[tuple[Space, str], ...]


@dataclass(frozen=True, slots=True)
class Continue:
    """The outstanding action goes on."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The dialplan is through with this call; only after HungUp."""


Action = (
    AnswerCall | Ring | Progress | Play | Pause | Dial | Refuse | HangUp | Echo | Music | Fetch | Continue | Finished
)

# --- effects: done in order, never answered ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the operator: Verbose, Log and the interpreter's own warnings."""

    level: Literal["debug", "info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True)
class PutValue:
    """Store a shared value."""

    space: Space
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class DeleteValue:
    """Remove a shared value; nothing happens if there is none."""

    space: Space
    key: str


@dataclass(frozen=True, slots=True)
class CallerSet:
    """Set(CALLERID(field)=value) was run; Dial carries the name and number anyway."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class ChannelSet:
    """Set(CHANNEL(item)=value) was run (language, musicclass, accountcode, userfield)."""

    item: str
    value: str


@dataclass(frozen=True, slots=True)
class ApplicationRan:
    """A priority is being run: what lastapp and lastdata of a CDR are made of."""

    context: str
    exten: str
    priority: int
    app: str
    data: str


Effect = Log | PutValue | DeleteValue | CallerSet | ChannelSet | ApplicationRan

# --- what the interpreter may know -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """The call as CALLERID() and CHANNEL() see it, before anything the dialplan set."""

    channel: str = ""
    """`SIP/dev1-00000001`."""
    uniqueid: str = ""
    linkedid: str = ""
    caller_name: str = ""
    caller_number: str = ""
    dnid: str = ""
    """The number dialled."""
    rdnis: str = ""
    """The number that redirected the call here."""
    phone: str = ""
    """Section of sip.conf: CHANNEL(peername) and CHANNEL(endpoint)."""
    technology: str = "SIP"
    transport: str = ""
    """`udp` or `tcp`."""
    family: str = ""
    """`ip4` or `ip6`, of the signalling."""
    source_ip: str = ""
    """Where the signalling comes from: CHANNEL(recvip); canonical, no brackets."""
    source_port: int = 0
    local_ip: str = ""
    sip_call_id: str = ""
    from_uri: str = ""
    request_uri: str = ""
    user_agent: str = ""
    codec: str = ""
    """Asterisk's name of the audio codec in use (`ulaw`), empty before the answer."""
    language: str = "en"
    music_class: str = "default"
    account_code: str = ""
    hangup_cause: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything outside the execution that a step may look at. Made anew for each step."""

    now_s: float
    """Unix time."""
    timezone: str = "UTC"
    """IANA name; the zone of GotoIfTime, timed includes and STRFTIME without one."""
    call: CallFacts = CallFacts()
    values: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """Answers to `Fetch`; empty otherwise. Valid for one step only."""


# --- the state between two steps ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A Gosub to come back from: the position to continue at and the variables to restore."""

    context: str
    exten: str
    priority: int
    hidden: tuple[tuple[str, str | None], ...] = ()
    """Variables local to the routine, with the value they had outside (None: unset)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the outstanding action belongs to."""

    app: str
    """Application, or the interpreter's own `extension` (collecting one) and `end` (hanging up)."""
    stage: str = ""
    args: str = ""
    """The application's arguments after substitution."""
    digits: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One call's place in the dialplan. Immutable; `to_data()` is made of msgpack's own types."""

    version: str
    """`Program.version` of the program this position belongs to."""
    context: str
    exten: str
    priority: int = 1
    """The priority that runs, or will run at the next step."""
    variables: Mapping[str, str] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the dialplan changed of CALLERID() and CHANNEL(): `callerid.num`, `channel.language` ..."""
    digits: str = ""
    """Typed ahead and not yet used."""
    waiting: Waiting | None = None
    answered: bool = False
    hung_up: bool = False
    """The caller is gone; `h` runs or has run."""
    finished: bool = False
    digit_timeout_s: float = 5.0
    response_timeout_s: float = 10.0
    turn: int = 0
    """Number of the outstanding action."""
    steps: int = 0
    """Work done since the call last waited for anything: what the guard against endless loops counts."""

    def to_data(self) -> dict[str, Any]:
        """The execution as maps, lists, strings and numbers."""
        waiting = self.waiting
        return {
            "version": self.version,
            "at": [self.context, self.exten, self.priority],
            "variables": dict(self.variables),
            "frames": [[f.context, f.exten, f.priority, [list(h) for h in f.hidden]] for f in self.frames],
            "facts": dict(self.facts),
            "digits": self.digits,
            "waiting": waiting and [waiting.app, waiting.stage, waiting.args, waiting.digits, waiting.tries],
            "flags": [self.answered, self.hung_up, self.finished],
            "timeouts": [self.digit_timeout_s, self.response_timeout_s],
            "turn": self.turn,
            "steps": self.steps,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Execution:
        """The execution `to_data` was called on. Unknown keys are ignored, so that schemas can grow."""
        context, exten, priority = data["at"]
        answered, hung_up, finished = data["flags"]
        digit_timeout_s, response_timeout_s = data["timeouts"]
        waiting = data["waiting"]
        return cls(
            version=data["version"],
            context=context,
            exten=exten,
            priority=priority,
            variables=dict(data["variables"]),
            frames=tuple(
                Frame(context=c, exten=e, priority=p, hidden=tuple((name, value) for name, value in hidden))
                for c, e, p, hidden in data["frames"]
            ),
            facts=dict(data["facts"]),
            digits=data["digits"],
            waiting=None
            if waiting is None
            else Waiting(app=waiting[0], stage=waiting[1], args=waiting[2], digits=waiting[3], tries=waiting[4]),
            answered=answered,
            hung_up=hung_up,
            finished=finished,
            digit_timeout_s=digit_timeout_s,
            response_timeout_s=response_timeout_s,
            turn=data["turn"],
            steps=data["steps"],
        )


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one step: keep `execution`, do `effects` in order, then perform `action`."""

    execution: Execution
    effects: tuple[Effect, ...]
    action: Action
