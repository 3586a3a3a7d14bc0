"""Commands that read the history: `pbx events tail|export|rebuild`, `pbx calls`, `pbx registrations`, `pbx cdr`.

They read the files of a data directory, whether a PBX runs on it or not. Only what a command needs is imported when it
runs.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from services.console.event_text import EventLine
    from services.console.projections.views import Told, Views
    from services.core.eventlog.port import Positioned
    from services.core.eventlog.sqlite import SqliteLogReader

events = typer.Typer(help="Read the event log, which has everything that happened.", no_args_is_help=True)

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="PBX_PBX_DATA_DIRECTORY", help="The data directory of `pbx run`."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="DIR", help="Take the data directory that pbx.conf there names."),
]
Call = Annotated[str | None, typer.Option("--call", metavar="ID", help="Only this call.")]
Aor = Annotated[str | None, typer.Option("--aor", metavar="AOR", help="Only this address of record.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Last = Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the last so many calls.")]

FOLLOW_POLL_S = 0.2
TAIL = 20
BAR_FROM = 5000
"""Events; fewer are read before a bar is drawn."""


class Topic(enum.StrEnum):
    """The topics of the log, as a user says them."""

    CALLS = "calls"
    REGISTRATIONS = "registrations"


OnlyTopic = Annotated[Topic | None, typer.Option("--topic", help="Only events of this kind.")]


def mount(app: typer.Typer) -> None:
    """Put the commands into `pbx`."""
    app.add_typer(events, name="events")
    for command in (calls, registrations, cdr):
        app.command()(command)


@events.command()
def tail(
    *,
    data: Data = None,
    config: Config = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last to begin with.")] = TAIL,
    call: Call = None,
    aor: Aor = None,
    topic: OnlyTopic = None,
    as_json: Json = False,
) -> None:
    """Print the last events, a line each: time, call or address, what happened, its details."""
    with _refusals(), contextlib.suppress(KeyboardInterrupt), _log(_folder(data, config), wait=follow) as log:
        chosen = _Selection(call, aor, topic)
        end = log.end()
        newest = chosen.of_key(log) if chosen.key else log.last(count, chosen.topic)
        for positioned in newest:
            _print_event(positioned, as_json)
        while follow:
            for positioned in log.read(chosen.topic, end):
                end = positioned[0]
                if chosen.wants(positioned):
                    _print_event(positioned, as_json)
            sys.stdout.flush()
            time.sleep(FOLLOW_POLL_S)


@events.command()
def export(
    *,
    data: Data = None,
    config: Config = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of standard output.")
    ] = None,
    call: Call = None,
    aor: Aor = None,
    topic: OnlyTopic = None,
) -> None:
    """Write the events as JSON, one object a line."""
    from services.console.event_text import json_of  # noqa: PLC0415
    from services.console.listing import standard_output  # noqa: PLC0415
    from services.core.events.codec import CodecError  # noqa: PLC0415

    with _refusals(), _log(_folder(data, config)) as log, contextlib.ExitStack() as stack:
        chosen = _Selection(call, aor, topic)
        out = standard_output() if output is None else stack.enter_context(output.open("w", encoding="utf-8"))
        told = stack.enter_context(_progress("exporting", log.count()))
        unreadable = 0
        for positioned in chosen.of_key(log) if chosen.key else log.read(chosen.topic):
            try:
                out.write(json_of(positioned) + "\n")
            except CodecError:
                unreadable += 1
            told(1)
    if unreadable:
        print(f"{unreadable} records cannot be read and were left out", file=sys.stderr)


@events.command()
def rebuild(*, data: Data = None, config: Config = None) -> None:
    """Throw the projections (calls, registrations, cdr) away and make them again from the event log."""
    from services.console.projections.views import VIEWS  # noqa: PLC0415

    folder = _folder(data, config)
    with _refusals(), _log(folder) as log, _views(log, folder) as views:
        before = _digests(views)
        with _progress("rebuilding", log.count()) as told:
            progress = views.rebuild(told)
        after = _digests(views)
        print(f"{progress.events:,} events read, {progress.duplicates:,} duplicates dropped", end="")
        print(f", {progress.unreadable:,} unreadable" if progress.unreadable else "")
        for view in VIEWS:
            verdict = "as before" if before.get(view.name) == after[view.name] else "changed"
            rows = sum(1 for _ in views.rows(view.name))
            print(f"{view.name:<14} {rows:>9,} rows  sha256 {after[view.name][:16]}  {verdict}")


def calls(*, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Show the calls that are up now."""
    from services.console import tables  # noqa: PLC0415
    from services.console.listing import show_json, show_table  # noqa: PLC0415

    with _refusals(), _current(data, config) as views:
        if as_json:
            show_json(views.rows("calls"))
        else:
            show_table(tables.calls(time.time()), views.rows("calls"), "no calls")


def registrations(*, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Show who is registered, and where."""
    from services.console import tables  # noqa: PLC0415
    from services.console.listing import show_json, show_table  # noqa: PLC0415

    with _refusals(), _current(data, config) as views:
        if as_json:
            show_json(views.rows("registrations"))
        else:
            show_table(tables.registrations(time.time()), views.rows("registrations"), "no registrations")


def cdr(
    *,
    data: Data = None,
    config: Config = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, with a header.")] = False,
    as_json: Json = False,
    last: Last = None,
) -> None:
    """Show the records of the calls that have ended; times are UTC."""
    from services.console import tables  # noqa: PLC0415
    from services.console.listing import show_csv, show_json, show_table  # noqa: PLC0415
    from services.console.projections.cdr import COLUMNS  # noqa: PLC0415

    if as_csv and as_json:
        _fail("--csv and --json: give one of them")
    with _refusals(), _current(data, config) as views:
        rows = views.rows("cdr", last)
        if as_csv:
            show_csv(COLUMNS, rows)
        elif as_json:
            show_json(rows)
        else:
            show_table(tables.CDR, rows, "no calls yet")


# --- what the commands share -----------------------------------------------------------------------------------------


class _Selection:
    """Which events a user wants."""

    def __init__(self, call: str | None, aor: str | None, topic: Topic | None) -> None:
        from services.core.events.catalogue import CALLS_TOPIC, REGISTRATIONS_TOPIC  # noqa: PLC0415

        if call and aor:
            _fail("--call and --aor: give one of them")
        names = {Topic.CALLS: CALLS_TOPIC, Topic.REGISTRATIONS: REGISTRATIONS_TOPIC}
        self.key = call or aor
        if self.key:
            topic = Topic.CALLS if call else Topic.REGISTRATIONS
        self.topic = names[topic] if topic else None

    def of_key(self, log: SqliteLogReader) -> list[Positioned]:
        """Everything about the one call or address."""
        return log.read_key(self.topic or "", self.key or "")

    def wants(self, positioned: Positioned) -> bool:
        """Whether an event of the topic is one of them."""
        return self.key is None or positioned[1].key == self.key


def _folder(data: Path | None, config: Path | None) -> Path:
    """The data directory, which exists."""
    folder = data or _configured(config)
    if not folder.is_dir():
        _fail(f"{folder}: there is no such data directory (give the --data of `pbx run`)")
    return folder


def _configured(config: Path | None) -> Path:
    from services.core.config import ConfigError, load_settings  # noqa: PLC0415
    from services.core.config.pbx import default_data_directory  # noqa: PLC0415

    if config is None:
        return default_data_directory(os.environ)
    try:
        return load_settings(config, os.environ, {}).pbx.data_directory
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(2) from None


@contextlib.contextmanager
def _log(folder: Path, *, wait: bool = False) -> Iterator[SqliteLogReader]:
    """The event log of a data directory; with `wait`, as soon as there is one."""
    from services.core.eventlog.sqlite import FILE_NAME, SqliteLogReader  # noqa: PLC0415

    while wait and not (folder / FILE_NAME).exists():
        time.sleep(FOLLOW_POLL_S)
    try:
        log = SqliteLogReader(folder / FILE_NAME)
    except FileNotFoundError:
        _fail(f"{folder}: there is no event log here (is it the --data of `pbx run`?)")
    with contextlib.closing(log):
        yield log


@contextlib.contextmanager
def _views(log: SqliteLogReader, folder: Path) -> Iterator[Views]:
    from services.console.projections.views import Views  # noqa: PLC0415

    with Views(folder, log) as views:
        yield views


@contextlib.contextmanager
def _current(data: Path | None, config: Path | None) -> Iterator[Views]:
    """The projections, brought up to date."""
    folder = _folder(data, config)
    with _log(folder) as log, _views(log, folder) as views:
        with _progress("reading events", log.count(views.progress().position)) as told:
            views.catch_up(told)
        yield views


def _digests(views: Views) -> dict[str, str]:
    """The digests of the projections as they are, brought up to date; of damaged ones, none."""
    from services.console.projections.views import VIEWS, ViewsError  # noqa: PLC0415

    with contextlib.suppress(ViewsError):
        views.catch_up()
        return {view.name: views.digest(view.name) for view in VIEWS}
    return {}


@contextlib.contextmanager
def _progress(what: str, total: int) -> Iterator[Told]:
    """A bar on a terminal while something long goes on; a function that is told how far it is."""
    if total < BAR_FROM or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def _print_event(positioned: Positioned, as_json: bool) -> None:
    from services.console.event_text import json_of, line_of  # noqa: PLC0415
    from services.core.events.codec import CodecError  # noqa: PLC0415
    from services.core.events.envelope import unseal  # noqa: PLC0415

    try:
        if as_json:
            print(json_of(positioned))
        else:
            _print_line(line_of(unseal(positioned[1].value)))
    except CodecError as error:
        print(f"event at {positioned[0]} cannot be read: {error}", file=sys.stderr)


def _print_line(line: EventLine) -> None:
    if not sys.stdout.isatty():
        print(line)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    parts = (line.time, "dim"), "  ", (line.key, "cyan"), "  ", (line.type, "bold"), "  ", line.fields
    Console().print(Text.assemble(*parts), soft_wrap=True)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What is wrong with the files is one line and exit code 1."""
    from services.console.projections.views import ViewsError  # noqa: PLC0415
    from services.core.eventlog.port import EventLogError  # noqa: PLC0415

    try:
        yield
        sys.stdout.flush()
    except (ViewsError, EventLogError) as error:
        _fail(str(error))
    except BrokenPipeError:
        # Whoever read has enough. Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(line: str) -> NoReturn:
    print(line, file=sys.stderr)
    raise typer.Exit(1)
