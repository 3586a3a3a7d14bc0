"""What every daemon's `__main__` shares: the command line, the settings, the log, the event loop, the exit code.

0  drained and stopped      1  could not start (a taken port)      2  the configuration has problems, all printed
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from services.core.address import Address
from services.core.config import ConfigError, Problem, Settings, load_settings
from services.core.lifecycle import StartError, Stopping
from services.core.logs import set_up_logging

EXIT_START = 1
EXIT_CONFIG = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said."""

    config: Path
    data: Path | None = None
    """None: what pbx.conf says."""
    ipv4: bool | None = None
    ipv6: bool | None = None
    """None: what sip.conf says."""

    def overrides(self) -> dict[str, str]:
        """The options as settings, in the form of environment variables."""
        found = {}
        if self.data is not None:
            found["PBX_PBX_DATA_DIRECTORY"] = str(self.data.absolute())
        for name, wanted in (("IPV4", self.ipv4), ("IPV6", self.ipv6)):
            if wanted is not None:
                found[f"PBX_SIP_GENERAL_{name}"] = "yes" if wanted else "no"
        return found


Serve = Callable[[Settings, Stopping], Awaitable[None]]
"""A daemon: serves until `stopping` says so. Raises ConfigError or StartError when it cannot."""


METRICS_OFFSETS = {"sip_edge": 0, "media": 1, "registrar": 2, "dialplan": 3}
"""Services that run alone on one machine with one configuration serve their metrics on neighbouring ports."""


Check = Callable[[Path], Sequence[Problem]]
"""Finds the problems of further files of a configuration directory."""


def run_daemon(
    serve: Serve,
    options: Options,
    env: Mapping[str, str] | None = None,
    service: str = "sip_edge",
    *,
    also_check: Check | None = None,
) -> int:
    """Load the settings, serve until a signal, and say how it went. Problems are printed, a line each.

    When the settings have problems, those `also_check` finds are printed too: all that is wrong at once.
    """
    try:
        settings = _load(options, os.environ if env is None else env, also_check)
        settings = _own_metrics(settings, METRICS_OFFSETS[service])
        set_up_logging(settings.pbx.log_level, settings.pbx.log_format)
        for warning in settings.warnings:
            complain(f"warning: {warning}")
        prepare_data_directory(settings)
        run_loop(_serve_until_signal(serve, settings))
    except ConfigError as error:
        for problem in error.problems:
            complain(str(problem))
        return EXIT_CONFIG
    except StartError as error:
        complain(str(error))
        return EXIT_START
    return 0


def _load(options: Options, env: Mapping[str, str], also_check: Check | None) -> Settings:
    try:
        return load_settings(options.config, env, options.overrides())
    except ConfigError as error:
        more = also_check(options.config) if also_check is not None else ()
        raise ConfigError([*error.problems, *more]) from None


def _own_metrics(settings: Settings, offset: int) -> Settings:
    address = settings.pbx.metrics
    if address is None or address.port == 0 or offset == 0:
        return settings
    own = Address(address.host, address.port + offset)
    return replace(settings, pbx=replace(settings.pbx, metrics=own))


async def _serve_until_signal(serve: Serve, settings: Settings) -> None:
    stopping = Stopping()
    with stopping.on_signals():
        await serve(settings, stopping)


def run_loop(work: Awaitable[None]) -> None:
    """Run to the end on uvloop where it is to be had, else on asyncio's own loop."""

    async def main() -> None:
        await work

    try:
        import uvloop  # noqa: PLC0415 - only processes that serve pay for it
    except ImportError:
        asyncio.run(main())
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def prepare_data_directory(settings: Settings) -> Path:
    """Make the data directory, readable by its owner alone: it has the history of all calls. Raises StartError."""
    folder = settings.pbx.data_directory
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StartError(f"{folder}: the data directory cannot be written: {error.strerror} (give --data)") from None
    return folder


def complain(line: str) -> None:
    """One line on standard error."""
    print(line, file=sys.stderr, flush=True)


def daemon_main(name: str, serve: Serve, arguments: Sequence[str] | None = None) -> int:
    """The `__main__` of one daemon; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}")
    parser.add_argument("--config", type=Path, required=True, help="directory of sip.conf and its companions")
    parser.add_argument("--data", type=Path, help="directory of the embedded stores")
    parser.add_argument("--ipv4", action=argparse.BooleanOptionalAction, help="listen on IPv4")
    parser.add_argument("--ipv6", action=argparse.BooleanOptionalAction, help="listen on IPv6")
    given = parser.parse_args(arguments)
    options = Options(config=given.config, data=given.data, ipv4=given.ipv4, ipv6=given.ipv6)
    return run_daemon(serve, options, service=name)
