"""The command `pbx`.

Only what a command needs is imported when it runs: `pbx --help` must answer at once.
"""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.console import history

app = typer.Typer(
    name="pbx",
    help="A PBX: phones register and call each other over IPv6 and IPv4; everything that happens is in an event log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Config = Annotated[
    Path, typer.Option("--config", metavar="DIR", envvar="PBX_CONFIG", help="Directory of sip.conf and the others.")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Directory of bindings and history; comes before pbx.conf."),
]
IPv4 = Annotated[bool | None, typer.Option("--ipv4/--no-ipv4", help="Use IPv4; the default is what sip.conf says.")]
IPv6 = Annotated[bool | None, typer.Option("--ipv6/--no-ipv6", help="Use IPv6, likewise.")]
ShowPasswords = Annotated[
    bool | None,
    typer.Option("--show-passwords/--hide-passwords", help="Print passwords; the default: on a terminal."),
]


@app.command()
def run(
    config: Config,
    data: Data = None,
    ipv4: IPv4 = None,
    ipv6: IPv6 = None,
    show_passwords: ShowPasswords = None,
) -> None:
    """Run a whole PBX in this process: all a small site needs."""
    from services.console.check import dialplan_problems  # noqa: PLC0415
    from services.console.compose import Pbx  # noqa: PLC0415
    from services.core.daemon import Options, run_daemon  # noqa: PLC0415

    passwords = sys.stdout.isatty() if show_passwords is None else show_passwords
    pbx = Pbx(passwords=passwords)
    options = Options(config=config, data=data, ipv4=ipv4, ipv6=ipv6)
    raise typer.Exit(run_daemon(pbx.serve, options, also_check=dialplan_problems))


@app.command()
def check(config: Config) -> None:
    """Read a configuration, name every problem with file and line, and start nothing."""
    from services.console.check import check_configuration  # noqa: PLC0415

    raise typer.Exit(check_configuration(config))


@app.command()
def doctor(config: Config, data: Data = None, ipv4: IPv4 = None, ipv6: IPv6 = None) -> None:
    """Place a test call through the running PBX over each address it listens on, and say what worked."""
    import os  # noqa: PLC0415

    from services.console.doctor.command import doctor as examine  # noqa: PLC0415
    from services.core.daemon import Options  # noqa: PLC0415

    raise typer.Exit(examine(Options(config=config, data=data, ipv4=ipv4, ipv6=ipv6), os.environ))


class Daemon(enum.StrEnum):
    """The services that can run alone."""

    EDGE = "sip_edge"
    REGISTRAR = "registrar"
    DIALPLAN = "dialplan"
    MEDIA = "media"


def _alone(daemon: Daemon, config: Path, data: Path | None, ipv4: bool | None, ipv6: bool | None) -> None:
    """Run one service, as `python -m services.<name>` does."""
    import importlib  # noqa: PLC0415

    from services.core.daemon import Options, run_daemon  # noqa: PLC0415

    serve = importlib.import_module(f"services.{daemon}.__main__").serve
    options = Options(config=config, data=data, ipv4=ipv4, ipv6=ipv6)
    raise typer.Exit(run_daemon(serve, options, service=daemon.value))


@app.command()
def edge(config: Config, data: Data = None, ipv4: IPv4 = None, ipv6: IPv6 = None) -> None:
    """Run an edge alone: SIP; media by the workers of pbx.conf."""
    _alone(Daemon.EDGE, config, data, ipv4, ipv6)


@app.command()
def registrar(config: Config, data: Data = None, ipv4: IPv4 = None, ipv6: IPv6 = None) -> None:
    """Run the registrar alone: it ends bindings that are due."""
    _alone(Daemon.REGISTRAR, config, data, ipv4, ipv6)


@app.command()
def dialplan(config: Config, data: Data = None, ipv4: IPv4 = None, ipv6: IPv6 = None) -> None:
    """Run the dialplan service alone: it compiles extensions.conf whenever it changes."""
    _alone(Daemon.DIALPLAN, config, data, ipv4, ipv6)


@app.command()
def media(config: Config, data: Data = None, ipv4: IPv4 = None, ipv6: IPv6 = None) -> None:
    """Run a media worker alone: RTP, commanded by rtpengine's ng protocol."""
    _alone(Daemon.MEDIA, config, data, ipv4, ipv6)


history.mount(app)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed  # noqa: PLC0415

    typer.echo(f"sixfold-pbx {installed('sixfold-pbx')}")


def main() -> None:
    """The entry point of the command."""
    app()


if __name__ == "__main__":
    main()
