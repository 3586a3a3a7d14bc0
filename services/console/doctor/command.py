"""`pbx doctor`: prints what worked and what to do about what did not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from services.console.doctor.checks import Examination, examine, targets
from services.core.address import Address
from services.core.config import ConfigError, load_settings
from services.core.daemon import EXIT_CONFIG, EXIT_START, Options, complain
from services.sip_edge.probes import KEY_FILE


def doctor(options: Options, env: Mapping[str, str], console: Console | None = None) -> int:
    """Examine the PBX that runs with this configuration; the exit code: 0 when everything worked, 1, or 2."""
    console = console or Console(highlight=False, soft_wrap=True)
    try:
        settings = load_settings(options.config, env, options.overrides())
    except ConfigError as error:
        for problem in error.problems:
            complain(str(problem))
        return EXIT_CONFIG
    key_file = settings.pbx.data_directory / KEY_FILE
    try:
        key = key_file.read_bytes()
    except OSError as error:
        complain(
            f"{key_file}: {error.strerror}: no PBX has run with this data directory (start it, or give its --data)"
        )
        return EXIT_START
    healthy = asyncio.run(_examine_all(targets(settings.sip.listeners), key, console))
    return 0 if healthy else 1


async def _examine_all(where: list[tuple[Address, str]], key: bytes, console: Console) -> bool:
    healthy = True
    async for examination in examine(where, key):
        for line in lines(examination):
            console.print(line)
        healthy = healthy and examination.ok
    console.print(Text("Everything works." if healthy else "Something is wrong: see the lines marked ✗.", "bold"))
    return healthy


def lines(examination: Examination) -> list[Text]:
    """What was found over one listener."""
    found = [Text(f"{examination.address} over {examination.transport.upper()}", "bold")]
    for finding in examination.findings:
        mark = Text("  ✓ ", "green") if finding.ok else Text("  ✗ ", "red")
        found.append(mark + Text(finding.what))
        if finding.remedy:
            found.append(Text(f"    → {finding.remedy}", "yellow"))
    return found
