"""Applications that play, and collect digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.dialplan import numbers
from services.dialplan.api import (
    Continue,
    Digit,
    Done,
    Echo,
    Elapsed,
    HungUp,
    Input,
    Music,
    Pause,
    Play,
    Played,
    Waiting,
)
from services.dialplan.arguments import is_literal, options_of, split, split_raw
from services.dialplan.run import Application, Check, Digits, Flow, Outcome, Run

MAX_READ: Final = 255


def _files(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split("&")) if name)


def _padded(arguments: str, count: int) -> list[str]:
    return [*(part.strip() for part in split(arguments)), *[""] * count][:count]


def _check_files(check: Check, raw: str) -> None:
    if not raw.strip() or not split_raw(raw)[0].strip():
        check.error("a sound file is expected", "the name without extension, several joined by &")


# --- Playback, SayDigits -------------------------------------------------------------------------------------------


def _playback(run: Run, arguments: str) -> Outcome:
    names, option_text = _padded(arguments, 2)
    options = option_text.lower().replace("&", ",").split(",")
    if not run.answered and "skip" in options:
        return Flow.NEXT
    if not run.answered and "noanswer" not in options:
        return run.answer_first("Playback", arguments)
    files = _files(names)
    if not files:
        run.variables["PLAYBACKSTATUS"] = "FAILED"
        return Flow.NEXT
    return run.wait(Waiting(app="Playback", args=arguments), Play(files))


def _playback_ended(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    if not isinstance(answer, Played):
        return Continue()
    run.variables["PLAYBACKSTATUS"] = "FAILED" if answer.failed else "SUCCESS"
    return Flow.NEXT


def _check_playback(check: Check, raw: str) -> None:
    _check_files(check, raw)
    parts = split_raw(raw)
    if len(parts) > 1 and is_literal(parts[1]):
        for option in parts[1].replace("&", ",").split(","):
            if option.strip().lower() not in ("", "skip", "noanswer"):
                check.warning(f"Playback's option {option.strip()} is ignored", "known are skip and noanswer")


_DIGIT_FILES: Final = {"*": "digits/star", "#": "digits/pound", "-": "digits/minus"}


def _saydigits(run: Run, arguments: str) -> Outcome:
    files = tuple(
        f"digits/{char}" if numbers.is_digits(char) else _DIGIT_FILES[char]
        for char in arguments
        if numbers.is_digits(char) or char in _DIGIT_FILES
    )
    return run.wait(Waiting(app="SayDigits"), Play(files)) if files else Flow.NEXT


def _saydigits_ended(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    return Flow.NEXT if isinstance(answer, Played) else Continue()


# --- collecting an extension ---------------------------------------------------------------------------------------


def collect(run: Run, context: str, digits: str) -> Outcome:
    """Take digits typed ahead until no more could match, or wait for the next one."""
    while run.program.can_be_longer(context, digits, run.caller_number, run.env):
        digit = run.next_digit()
        if not digit:
            if run.digit_timeout_s <= 0:
                break
            waiting = Waiting(app="extension", args=context, digits=digits)
            return run.wait(waiting, Pause(run.digit_timeout_s))
        digits += digit
    return _extension_entered(run, context, digits)


def _collecting(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    if isinstance(answer, Digit):
        return collect(run, waiting.args, waiting.digits + answer.digit)
    if isinstance(answer, Elapsed):
        return _extension_entered(run, waiting.args, waiting.digits)
    return Continue()


def _extension_entered(run: Run, context: str, digits: str) -> Outcome:
    if not digits:
        return _nothing_entered(run, context)
    if run.exists(context, digits):
        return run.jump(context, digits)
    return invalid_extension(run, context, digits)


def invalid_extension(run: Run, context: str, exten: str) -> Outcome:
    """Go to `i`, else to `e`, else hang up."""
    run.variables["INVALID_EXTEN"] = exten
    for special in ("i", "e"):
        if run.exists(context, special):
            return run.jump(context, special)
    run.warn(f"{exten!r} is no extension of {context}, which has no i either")
    return run.hang_up(1)


def _nothing_entered(run: Run, context: str) -> Outcome:
    """Go to `t`, else to `e`, else hang up."""
    for special in ("t", "e"):
        if run.exists(context, special):
            return run.jump(context, special)
    run.warn(f"the caller entered nothing, and {context} has no t")
    return run.hang_up(16)


def _background(run: Run, arguments: str) -> Outcome:
    names, option_text, _, context = _padded(arguments, 4)
    options = {letter for letter, _ in options_of(option_text)}
    if not run.answered and "s" in options:
        return Flow.NEXT
    if not run.answered and "n" not in options:
        return run.answer_first("Background", arguments)
    context = context or run.context
    while run.digits:
        digit = run.next_digit()
        if "m" not in options or run.exists(context, digit):
            return collect(run, context, digit)
    files = _files(names)
    if not files:
        return Flow.NEXT
    return run.wait(Waiting(app="Background", args=arguments), Play(files, interrupt=True))


def _background_goes_on(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    _, option_text, _, context = _padded(waiting.args, 4)
    context = context or run.context
    if isinstance(answer, Digit):
        if "m" in option_text and not run.exists(context, answer.digit):
            return Continue()
        return collect(run, context, answer.digit)
    if not isinstance(answer, Played):
        return Continue()
    if answer.digit_interrupted:
        return collect(run, context, "")
    run.variables["BACKGROUNDSTATUS"] = "FAILED" if answer.failed else "SUCCESS"
    return Flow.NEXT


def _check_background(check: Check, raw: str) -> None:
    _check_files(check, raw)
    _check_letters(check, split_raw(raw)[1:2], "Background", "snm", takes_argument="")


def _check_letters(check: Check, option: list[str], app: str, known: str, *, takes_argument: str) -> None:
    if not option or not is_literal(option[0]):
        return
    for letter, argument in options_of(option[0]):
        if letter not in known:
            check.warning(f"{app}'s option {letter} is not supported and is ignored", f"known are {', '.join(known)}")
        elif argument and letter not in takes_argument:
            check.warning(f"{app}'s option {letter} takes no argument")


def _waitexten(run: Run, arguments: str) -> Outcome:
    time_text, option_text = _padded(arguments, 2)
    if run.digits:
        return collect(run, run.context, run.next_digit())
    seconds = numbers.seconds(time_text)
    if seconds is None and time_text:
        run.warn(f"WaitExten cannot wait {time_text[:20]!r} seconds")
    seconds = run.response_timeout_s if seconds is None else seconds
    waiting = Waiting(app="WaitExten")
    if seconds <= 0:
        return _waitexten_over(run)
    for letter, argument in options_of(option_text):
        if letter == "m":
            return run.wait(waiting, Music(argument or _music_class(run), seconds))
    return run.wait(waiting, Pause(seconds))


def _waitexten_goes_on(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    if isinstance(answer, Digit):
        return collect(run, run.context, answer.digit)
    return _waitexten_over(run) if isinstance(answer, Elapsed | Done) else Continue()


def _waitexten_over(run: Run) -> Outcome:
    """Nothing came: go on if there is a next priority, else to `t`."""
    if run.exists(run.context, run.exten, run.priority + 1):
        return Flow.NEXT
    return _nothing_entered(run, run.context)


def _check_waitexten(check: Check, raw: str) -> None:
    parts = split_raw(raw)
    if is_literal(parts[0]) and parts[0].strip() and numbers.seconds(parts[0]) is None:
        check.error(f"{parts[0].strip()!r} is not a number of seconds")
    _check_letters(check, parts[1:2], "WaitExten", "m", takes_argument="m")


# --- Read ----------------------------------------------------------------------------------------------------------


def _read_arguments(arguments: str) -> tuple[str, tuple[str, ...], int, dict[str, str], int, float | None]:
    """Variable, prompts, most digits, options, attempts and timeout (None: the call's)."""
    name, prompts, most, option_text, tries, timeout = _padded(arguments, 6)
    digits = numbers.whole(most)
    return (
        name,
        _files(prompts),
        digits if digits is not None and 0 < digits <= MAX_READ else MAX_READ,
        dict(options_of(option_text)),
        max(1, numbers.whole(tries) or 1),
        numbers.seconds(timeout) or None,
    )


def _read(run: Run, arguments: str) -> Outcome:
    name, _, _, options, _, _ = _read_arguments(arguments)
    if not name:
        run.variables["READSTATUS"] = "ERROR"
        run.warn("Read needs a variable")
        return Flow.NEXT
    if not run.answered and "s" in options:
        run.variables[name] = ""
        run.variables["READSTATUS"] = "SKIPPED"
        return Flow.NEXT
    if not run.answered and "n" not in options:
        return run.answer_first("Read", arguments)
    return _read_prompt(run, Waiting(app="Read", args=arguments, tries=1))


def _read_prompt(run: Run, waiting: Waiting) -> Outcome:
    files = _read_arguments(waiting.args)[1]
    if files and not run.digits:
        return run.wait(replace(waiting, stage="prompt"), Play(files, interrupt=True))
    return _read_more(run, waiting)


def _read_more(run: Run, waiting: Waiting) -> Outcome:
    """Use what was typed ahead, then wait for the next digit."""
    _, _, most, options, _, timeout = _read_arguments(waiting.args)
    terminators = options.get("t", "") or "#"
    digits = waiting.digits
    while len(digits) < most:
        digit = run.next_digit()
        if not digit:
            seconds = timeout or (run.digit_timeout_s if digits else run.response_timeout_s)
            if seconds <= 0:
                return _read_ended(run, replace(waiting, digits=digits), "TIMEOUT")
            return run.wait(replace(waiting, stage="digits", digits=digits), Pause(seconds))
        if digit in terminators:
            break
        digits += digit
    return _read_ended(run, replace(waiting, digits=digits), "OK")


def _read_goes_on(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    if isinstance(answer, Digit):
        run.digits += answer.digit
        return _read_more(run, waiting)
    if isinstance(answer, Played) and waiting.stage == "prompt":
        return _read_more(run, waiting)
    if isinstance(answer, Elapsed) and waiting.stage == "digits":
        return _read_ended(run, waiting, "TIMEOUT")
    return Continue()


def _read_ended(run: Run, waiting: Waiting, status: str) -> Outcome:
    name, _, _, _, attempts, _ = _read_arguments(waiting.args)
    run.set_variable(name, waiting.digits)
    if not waiting.digits and waiting.tries < attempts:
        return _read_prompt(run, replace(waiting, stage="", tries=waiting.tries + 1))
    run.variables["READSTATUS"] = status
    return Flow.NEXT


def _read_hung_up(run: Run, waiting: Waiting, answer: HungUp) -> None:
    name = _read_arguments(waiting.args)[0]
    if name:
        run.set_variable(name, waiting.digits)
    run.variables["READSTATUS"] = "HANGUP"


def _check_read(check: Check, raw: str) -> None:
    parts = [part.strip() for part in split_raw(raw)]
    if not parts[0]:
        check.error("Read needs the name of a variable", "Read(NAME,prompt,digits,options,tries,seconds)")
    for what, text in zip(("digits", "attempts"), (parts[2:3], parts[4:5]), strict=True):
        if text and text[0] and is_literal(text[0]) and not numbers.is_digits(text[0]):
            check.error(f"{text[0]!r} is not a number of {what}")
    if len(parts) > 5 and parts[5] and is_literal(parts[5]) and numbers.seconds(parts[5]) is None:
        check.error(f"{parts[5]!r} is not a number of seconds")
    _check_letters(check, parts[3:4], "Read", "snt", takes_argument="t")


# --- Echo, music ---------------------------------------------------------------------------------------------------


def _echo(run: Run, arguments: str) -> Outcome:
    return run.wait(Waiting(app="Echo"), Echo())


def _echo_goes_on(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    ended = isinstance(answer, Done) or (isinstance(answer, Digit) and answer.digit == "#")
    return Flow.NEXT if ended else Continue()


def _music_class(run: Run) -> str:
    return run.facts.get("channel.musicclass", run.env.call.music_class) or "default"


def _musiconhold(run: Run, arguments: str) -> Outcome:
    name, duration = _padded(arguments, 2)
    return run.wait(Waiting(app="MusicOnHold"), Music(name or _music_class(run), numbers.seconds(duration) or None))


def _music_ended(run: Run, waiting: Waiting, answer: Input) -> Outcome:
    return Flow.NEXT if isinstance(answer, Done | Elapsed) else Continue()


def _check_music(check: Check, raw: str) -> None:
    parts = split_raw(raw)
    if len(parts) > 1 and is_literal(parts[1]) and parts[1].strip() and numbers.seconds(parts[1]) is None:
        check.error(f"{parts[1].strip()!r} is not a number of seconds")


APPLICATIONS: Final = (
    Application("Playback", _playback, _playback_ended, check=_check_playback),
    Application("SayDigits", _saydigits, _saydigits_ended),
    Application("Background", _background, _background_goes_on, Digits.TAKE, _check_background),
    Application("WaitExten", _waitexten, _waitexten_goes_on, Digits.TAKE, _check_waitexten),
    Application("Read", _read, _read_goes_on, Digits.TAKE, _check_read, _read_hung_up),
    Application("Echo", _echo, _echo_goes_on, Digits.TAKE),
    Application("MusicOnHold", _musiconhold, _music_ended, Digits.DROP, _check_music),
)

COLLECTING: Final = Application("extension", lambda run, arguments: Flow.NEXT, _collecting, Digits.TAKE)
"""Not an application of the dialplan: what waits for the next digit of an extension."""
