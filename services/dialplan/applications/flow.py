"""Applications that move around in the dialplan or set things, and need nothing from the call."""

from __future__ import annotations

from typing import Final

from services.dialplan import numbers
from services.dialplan.api import Frame
from services.dialplan.arguments import branches, call_parts, is_literal, is_true, split, split_raw
from services.dialplan.clock import TimeRangeError, compile_time_range
from services.dialplan.program import Extension
from services.dialplan.run import Application, Check, Flow, Outcome, Run

MAX_FRAMES: Final = 128


# --- Goto ----------------------------------------------------------------------------------------------------------


def position(run: Run, text: str) -> tuple[str, str, int] | str:
    """`[[context,]exten,]priority` as a position, or what is wrong with it."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 3:
        return f"{text!r} is not [[context,]exten,]priority"
    context = parts[-3] if len(parts) == 3 and parts[-3] else run.context
    exten = parts[-2] if len(parts) > 1 and parts[-2] else run.exten
    where = parts[-1]
    number = numbers.whole(where)
    if number is not None:
        return context, exten, run.priority + number if where[0] in "+-" else number
    priority = run.program.find_label(context, exten, where, run.caller_number, run.env)
    return f"there is no label {where!r} in {context},{exten}" if priority is None else (context, exten, priority)


def _go_to(run: Run, text: str) -> Outcome:
    found = position(run, text)
    return run.fail(found) if isinstance(found, str) else run.jump(*found)


def _goto(run: Run, arguments: str) -> Outcome:
    return _go_to(run, arguments)


def _gotoif(run: Run, arguments: str) -> Outcome:
    condition, yes, no = branches(arguments)
    target = yes if is_true(condition) else no
    return _go_to(run, target) if target else Flow.NEXT


def _gotoiftime(run: Run, arguments: str) -> Outcome:
    times, _, targets = arguments.partition("?")
    yes, _, no = targets.partition(":")
    try:
        holds = compile_time_range(times).holds(run.env.now_s, run.env.timezone)
    except TimeRangeError as error:
        run.warn(str(error))
        return Flow.NEXT
    target = (yes if holds else no).strip()
    return _go_to(run, target) if target else Flow.NEXT


def _check_goto(check: Check, raw: str) -> None:
    if not raw.strip():
        check.error("Goto needs a target", "Goto([[context,]exten,]priority)")
        return
    check.target(raw)


def _check_branches(check: Check, raw: str) -> None:
    parts = split_raw(raw, "?", limit=1)
    if len(parts) < 2:
        if is_literal(raw):
            check.error("a condition, ? and a target are expected", "condition?target-if-true:target-if-false")
        return
    for target in split_raw(parts[1], ":", limit=1):
        if target.strip():
            check.target(target)


def _check_gotoiftime(check: Check, raw: str) -> None:
    parts = split_raw(raw, "?", limit=1)
    if is_literal(parts[0]):
        try:
            compile_time_range(parts[0])
        except TimeRangeError as error:
            check.error(str(error), "times,weekdays,days,months?target, for example 9:00-17:00,mon-fri,*,*?open,s,1")
    _check_branches(check, raw)


# --- Gosub ---------------------------------------------------------------------------------------------------------


def _call_routine(run: Run, text: str) -> Outcome:
    """Enter a routine: ARG1, ARG2 ... hold its arguments until Return."""
    text = text.strip()
    where, parenthesis, rest = text.partition("(")
    values = split(rest[: rest.rfind(")")] if ")" in rest else rest, as_written=True) if parenthesis else []
    found = position(run, where)
    if isinstance(found, str):
        return run.fail(found)
    if len(run.frames) >= MAX_FRAMES:
        return run.fail(f"Gosub is {MAX_FRAMES} levels deep")
    outer = numbers.whole(run.variables.get("ARGC", "")) or 0
    settings = {f"ARG{i}": "" for i in range(1, min(outer, 100) + 1)}
    settings.update({f"ARG{i}": value for i, value in enumerate(values, start=1)})
    settings["ARGC"] = str(len(values))
    hidden = tuple((name, run.variables.get(name)) for name in settings)
    run.frames.append(Frame(context=run.context, exten=run.exten, priority=run.priority + 1, hidden=hidden))
    for name, value in settings.items():
        run.set_variable(name, value)
    return run.jump(*found)


def _gosub(run: Run, arguments: str) -> Outcome:
    return _call_routine(run, arguments)


def _gosubif(run: Run, arguments: str) -> Outcome:
    condition, _, rest = arguments.partition("?")
    targets = [*split(rest, ":", as_written=True), "", ""]
    target = targets[0 if is_true(condition.strip()) else 1].strip()
    return _call_routine(run, target) if target else Flow.NEXT


def _leave_routine(run: Run) -> Frame | None:
    if not run.frames:
        return None
    frame = run.frames.pop()
    for name, value in frame.hidden:
        if value is None:
            run.variables.pop(name, None)
        else:
            run.variables[name] = value
    return frame


def _return(run: Run, arguments: str) -> Outcome:
    frame = _leave_routine(run)
    if frame is None:
        return run.fail("Return without a Gosub")
    run.set_variable("GOSUB_RETVAL", arguments)
    return run.jump(frame.context, frame.exten, frame.priority)


def _stackpop(run: Run, arguments: str) -> Outcome:
    _leave_routine(run)
    return Flow.NEXT


def _check_gosub(check: Check, raw: str) -> None:
    if not raw.strip():
        check.error("Gosub needs a routine", "Gosub([[context,]exten,]priority(arg1,...))")
        return
    check.target(_before_arguments(raw))


def _before_arguments(raw: str) -> str:
    """`context,exten,priority` of `context,exten,priority(args)`, substitutions left whole."""
    target = raw.partition("(")[0]
    return target if is_literal(target) else raw


def _check_gosubif(check: Check, raw: str) -> None:
    parts = split_raw(raw, "?", limit=1)
    if len(parts) < 2 and is_literal(raw):
        check.error("a condition, ? and a routine are expected", "condition?routine-if-true:routine-if-false")
    for target in split_raw(parts[1], ":", limit=1) if len(parts) > 1 else ():
        if target.strip():
            check.target(_before_arguments(target))


# --- While ---------------------------------------------------------------------------------------------------------


def _extension_here(run: Run) -> Extension | None:
    found = run.program.matching(run.context, run.exten, run.caller_number, run.env)
    return next((extension for extension in found if run.priority in extension.statements), None)


def _partner(run: Run, opening: str, closing: str, *, forward: bool) -> int | None:
    """The priority of the EndWhile (or While) that belongs to the loop around the current priority."""
    extension = _extension_here(run)
    priorities = sorted(extension.statements) if extension else []
    ahead = (
        [p for p in priorities if p > run.priority] if forward else [p for p in priorities if p < run.priority][::-1]
    )
    depth = 0
    for priority in ahead:
        app = extension.statements[priority].app if extension else ""
        if app == opening:
            depth += 1
        elif app == closing:
            if not depth:
                return priority
            depth -= 1
    return None


def _after_loop(run: Run) -> Outcome:
    end = _partner(run, "While", "EndWhile", forward=True)
    return run.fail("While without its EndWhile") if end is None else run.jump(run.context, run.exten, end + 1)


def _to_loop(run: Run) -> Outcome:
    start = _partner(run, "EndWhile", "While", forward=False)
    return run.fail("EndWhile without its While") if start is None else run.jump(run.context, run.exten, start)


def _while(run: Run, arguments: str) -> Outcome:
    return Flow.NEXT if is_true(arguments.strip()) else _after_loop(run)


# --- the rest --------------------------------------------------------------------------------------------------------


def _set(run: Run, arguments: str) -> Outcome:
    name, equals, value = arguments.partition("=")
    name = name.strip()
    if not equals or not name:
        run.warn("Set takes name=value")
        return Flow.NEXT
    if "(" not in name:
        run.set_variable(name, value)
        return Flow.NEXT
    parts = call_parts(name)
    function = run.library.functions.get(parts[0]) if parts else None
    if parts is None or function is None or function.write is None:
        run.warn(f"{name} cannot be set")
        return Flow.NEXT
    function.write(run, parts[1], value)
    return Flow.NEXT


def _check_set(check: Check, raw: str) -> None:
    name, equals, _ = raw.partition("=")
    if is_literal(raw) and not (equals and name.strip()):
        check.error("Set takes name=value", "Set(NAME=value)")


def _noop(run: Run, arguments: str) -> Outcome:
    return Flow.NEXT


def _verbose(run: Run, arguments: str) -> Outcome:
    level, comma, text = arguments.partition(",")
    run.log("info", text if comma and numbers.is_digits(level.strip()) else arguments)
    return Flow.NEXT


def _log(run: Run, arguments: str) -> Outcome:
    level, _, text = arguments.partition(",")
    name = level.strip().lower()
    run.log(
        "error" if name == "error" else "warning" if name == "warning" else "debug" if name == "debug" else "info", text
    )
    return Flow.NEXT


def _execif(run: Run, arguments: str) -> Outcome:
    condition, _, rest = arguments.partition("?")
    choices = [*split(rest, ":", as_written=True), "", ""]
    call = choices[0 if is_true(condition.strip()) else 1].strip()
    if not call:
        return Flow.NEXT
    parts = call_parts(call)
    app = run.library.application(parts[0]) if parts else None
    if parts is None or app is None:
        run.warn(f"ExecIf cannot run {call[:60]!r}")
        return Flow.NEXT
    return app.start(run, parts[1])


def _check_execif(check: Check, raw: str) -> None:
    parts = split_raw(raw, "?", limit=1)
    if len(parts) < 2:
        if is_literal(raw):
            check.error("ExecIf takes condition?App(arguments):App(arguments)")
        return
    for call in split_raw(parts[1], ":"):
        if call.strip():
            check.application(call)


APPLICATIONS: Final = (
    Application("Goto", _goto, check=_check_goto),
    Application("GotoIf", _gotoif, check=_check_branches),
    Application("GotoIfTime", _gotoiftime, check=_check_gotoiftime),
    Application("Gosub", _gosub, check=_check_gosub),
    Application("GosubIf", _gosubif, check=_check_gosubif),
    Application("Return", _return),
    Application("StackPop", _stackpop),
    Application("While", _while),
    Application("EndWhile", lambda run, arguments: _to_loop(run)),
    Application("ContinueWhile", lambda run, arguments: _to_loop(run)),
    Application("ExitWhile", lambda run, arguments: _after_loop(run)),
    Application("Set", _set, check=_check_set),
    Application("NoOp", _noop),
    Application("Verbose", _verbose),
    Application("Log", _log),
    Application("ExecIf", _execif, check=_check_execif),
)
