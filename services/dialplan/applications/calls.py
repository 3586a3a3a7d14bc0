"""Applications that answer, ring, dial, refuse and hang up."""

from __future__ import annotations

from typing import Final

from services.dialplan import numbers
from services.dialplan.api import (
    AnswerCall,
    Continue,
    Dial,
    Dialled,
    Done,
    Elapsed,
    HungUp,
    Input,
    Pause,
    Progress,
    Refuse,
    Ring,
    Waiting,
)
from services.dialplan.arguments import is_literal, options_of, split, split_raw
from services.dialplan.run import Application, Check, Digits, Flow, Outcome, Run

# --- Answer, Ringing, Progress, Wait ---------------------------------------------------------------------------------


def _answer(run: Run, arguments: str) -> Outcome:
    if run.answered:
        return Flow.NEXT
    return run.wait(Waiting(app="Answer", args=arguments), AnswerCall())


def _answered(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    if waiting.stage == "delay":
        return Flow.NEXT if isinstance(answer, Elapsed) else Continue()
    if not isinstance(answer, Done):
        return Continue()
    run.answered = True
    milliseconds = numbers.seconds((split(waiting.args) or [""])[0])
    if milliseconds:
        return run.wait(Waiting(app="Answer", stage="delay"), Pause(milliseconds / 1000))
    return Flow.NEXT


def _next_when_done(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    return Flow.NEXT if isinstance(answer, Done) else Continue()


def _ringing(run: Run, arguments: str) -> Outcome:
    return Flow.NEXT if run.answered else run.wait(Waiting(app="Ringing"), Ring())


def _progress(run: Run, arguments: str) -> Outcome:
    return Flow.NEXT if run.answered else run.wait(Waiting(app="Progress"), Progress())


def _wait(run: Run, arguments: str) -> Outcome:
    seconds = numbers.seconds((split(arguments) or [""])[0])
    if seconds is None:
        run.warn(f"Wait cannot wait {arguments[:20]!r} seconds")
    return run.wait(Waiting(app="Wait"), Pause(seconds)) if seconds else Flow.NEXT


def _waited(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    return Flow.NEXT if isinstance(answer, Elapsed) else Continue()


def _check_wait(check: Check, raw: str) -> None:
    if is_literal(raw) and numbers.seconds(raw) is None:
        check.error(f"{raw.strip()!r} is not a number of seconds", "Wait(seconds), fractions allowed")


# --- Busy, Congestion, Hangup ----------------------------------------------------------------------------------------

CAUSES: Final = {
    "UNALLOCATED": 1,
    "NO_ROUTE_TRANSIT_NET": 2,
    "NO_ROUTE_DESTINATION": 3,
    "NORMAL_CLEARING": 16,
    "NORMAL": 16,
    "USER_BUSY": 17,
    "BUSY": 17,
    "NO_USER_RESPONSE": 18,
    "NO_ANSWER": 19,
    "NOANSWER": 19,
    "SUBSCRIBER_ABSENT": 20,
    "CALL_REJECTED": 21,
    "NUMBER_CHANGED": 22,
    "DESTINATION_OUT_OF_ORDER": 27,
    "INVALID_NUMBER_FORMAT": 28,
    "FACILITY_REJECTED": 29,
    "NORMAL_UNSPECIFIED": 31,
    "NORMAL_CIRCUIT_CONGESTION": 34,
    "CONGESTION": 34,
    "NETWORK_OUT_OF_ORDER": 38,
    "NORMAL_TEMPORARY_FAILURE": 41,
    "FAILURE": 38,
    "SWITCH_CONGESTION": 42,
    "BEARERCAPABILITY_NOTAVAIL": 58,
    "INCOMPATIBLE_DESTINATION": 88,
    "INTERWORKING": 127,
}
"""Names of Q.850 causes that Hangup() takes beside numbers."""


def cause_of(text: str) -> int | None:
    """The Q.850 cause of a number or name, or None."""
    text = text.strip()
    number = numbers.whole(text)
    if number is not None:
        return number if 0 < number < 128 else None
    return CAUSES.get(text.upper().removeprefix("AST_CAUSE_"))


CAUSE_OF_STATUS: Final = {"BUSY": 17, "NOANSWER": 19, "CHANUNAVAIL": 20, "CONGESTION": 34}
"""What the caller is told when a Dial got nowhere and nobody says why."""


def _hangup(run: Run, arguments: str) -> Outcome:
    """Without a cause, the one of the Dial before it is passed on: a busy phone makes a busy caller."""
    if not arguments.strip():
        return run.hang_up(numbers.whole(run.facts.get("hangupcause", "")) or 16)
    cause = cause_of(arguments)
    if cause is None:
        run.warn(f"Hangup knows no cause {arguments[:30]!r}")
    return run.hang_up(cause or 16)


def _check_hangup(check: Check, raw: str) -> None:
    if raw.strip() and is_literal(raw) and cause_of(raw) is None:
        check.error(f"Hangup knows no cause {raw.strip()!r}", "a number from 1 to 127, or a name such as USER_BUSY")


def _busy(run: Run, arguments: str) -> Outcome:
    run.facts["hangupcause"] = "17"
    return run.wait(Waiting(app="Busy"), Refuse(486, numbers.seconds(arguments) if arguments.strip() else None))


def _congestion(run: Run, arguments: str) -> Outcome:
    run.facts["hangupcause"] = "34"
    return run.wait(Waiting(app="Congestion"), Refuse(503, numbers.seconds(arguments) if arguments.strip() else None))


def _refused(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    if not isinstance(answer, Elapsed | Done):
        return Continue()
    return run.hang_up(17 if waiting.app == "Busy" else 34)


def _check_seconds(check: Check, raw: str) -> None:
    if raw.strip() and is_literal(raw) and numbers.seconds(raw) is None:
        check.error(f"{raw.strip()!r} is not a number of seconds")


# --- Dial ------------------------------------------------------------------------------------------------------------

_IGNORED: Final = {
    "t": "the callee cannot transfer yet",
    "T": "the caller cannot transfer yet",
    "k": "the callee cannot park yet",
    "K": "the caller cannot park yet",
    "w": "the callee cannot start a recording yet",
    "W": "the caller cannot start a recording yet",
    "x": "the callee cannot start a recording yet",
    "X": "the caller cannot start a recording yet",
    "h": "the callee cannot hang up by *",
    "H": "the caller cannot hang up by *",
    "i": "forwarding requests are never followed",
    "I": "connected-line updates are never sent",
    "o": "the caller's number is always passed on as it is",
    "c": "the cause of the cancellation is not changed",
    "C": "the call record is not reset",
    "j": "priorities do not jump any more",
}
"""Options that change nothing a call depends on, with what the administrator should know."""

_SUPPORTED: Final = "grm"

_TECHNOLOGIES: Final = ("SIP", "PJSIP")


def _dial(run: Run, arguments: str) -> Outcome:
    parts = [*(part.strip() for part in split(arguments)), "", "", ""]
    targets = tuple(target for target in (part.strip() for part in parts[0].split("&")) if target)
    run.variables["DIALSTATUS"] = ""
    for name in ("DIALEDPEERNAME", "DIALEDPEERNUMBER", "ANSWEREDTIME", "DIALEDTIME"):
        run.variables.pop(name, None)
    if not targets:
        run.warn("Dial has nobody to ring")
        run.variables["DIALSTATUS"] = "INVALIDARGS"
        return Flow.NEXT
    timeout_s = numbers.seconds(parts[1])
    if parts[1] and timeout_s is None:
        run.warn(f"Dial cannot ring {parts[1][:20]!r} seconds")
    options = dict(options_of(parts[2]))
    music = options.get("m")
    action = Dial(
        targets,
        timeout_s or None,
        parts[2],
        ringing="r" in options,
        music_class=None if music is None else music or "default",
        caller_name=run.caller_name,
        caller_number=run.caller_number,
    )
    run.digits = ""
    return run.wait(Waiting(app="Dial", args=parts[2]), action)


def _dialled(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    if not isinstance(answer, Dialled):
        return Continue()
    _note(run, answer)
    if answer.status == "ANSWER" and "g" not in dict(options_of(waiting.args)):
        return run.hang_up(answer.cause or 16)
    return Flow.NEXT


def _note(run: Run, answer: Dialled) -> None:
    run.variables["DIALSTATUS"] = answer.status
    run.variables["DIALEDTIME"] = str(int(answer.dialed_time_s))
    run.variables["ANSWEREDTIME"] = str(int(answer.answered_time_s))
    cause = answer.cause or CAUSE_OF_STATUS.get(answer.status, 16)
    run.facts["hangupcause"] = str(cause)
    if answer.peer:
        run.variables["DIALEDPEERNAME"] = answer.peer
        run.variables["DIALEDPEERNUMBER"] = answer.peer_number
    if answer.status == "ANSWER":
        run.answered = True


def _dial_hung_up(run: Run, waiting: Waiting, answer: HungUp) -> None:
    _note(run, answer.dialled or Dialled("CANCEL"))


def _check_dial(check: Check, raw: str) -> None:
    parts = [part.strip() for part in split_raw(raw)]
    if not parts[0]:
        check.error("Dial needs somebody to ring", "Dial(SIP/phone&SIP/other,seconds,options)")
    for target in split_raw(parts[0], "&"):
        technology, slash, name = target.strip().partition("/")
        if is_literal(target) and parts[0] and not (technology and slash and name):
            check.error(f"{target.strip()!r} is not somebody Dial can ring", "SIP/phone, or SIP/trunk/number")
        elif is_literal(technology) and technology and technology.upper() not in _TECHNOLOGIES:
            check.warning(f"nobody is ever reached by {technology}/", "known are SIP and PJSIP, which are the same")
    if len(parts) > 1 and parts[1] and is_literal(parts[1]) and numbers.seconds(parts[1]) is None:
        check.error(f"{parts[1]!r} is not a number of seconds", "Dial(SIP/phone,seconds,options)")
    if len(parts) > 2 and is_literal(parts[2]):
        _check_dial_options(check, parts[2])


def _check_dial_options(check: Check, text: str) -> None:
    for letter, _ in options_of(text):
        if letter in _SUPPORTED:
            continue
        if letter in _IGNORED:
            check.warning(
                f"Dial's option {letter} is ignored: {_IGNORED[letter]}", f"known are {', '.join(_SUPPORTED)}"
            )
        else:
            check.error(
                f"Dial's option {letter} is not supported, and the call would not be what it asks for",
                f"known are {', '.join(_SUPPORTED)}",
            )


APPLICATIONS: Final = (
    Application("Answer", _answer, _answered),
    Application("Ringing", _ringing, _next_when_done),
    Application("Progress", _progress, _next_when_done),
    Application("Wait", _wait, _waited, check=_check_wait),
    Application("Busy", _busy, _refused, check=_check_seconds),
    Application("Congestion", _congestion, _refused, check=_check_seconds),
    Application("Hangup", _hangup, check=_check_hangup),
    Application("Dial", _dial, _dialled, Digits.DROP, _check_dial, _dial_hung_up),
)
