"""What `pbx run` shows when it is ready: where it listens, who may register, what can be dialled.

Written for a terminal of 80 columns; into a pipe it goes as plain text. Passwords are part of it because the first
thing a new user needs is what to type into a phone; they are shown on a terminal or when asked for, and go to
standard output only, never into the log.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from services.core.address import Address, Family
from services.core.config import Peer, RtpSettings
from services.dialplan import Program
from services.dialplan.program import SPECIAL, Context, Extension

_SILENT = frozenset({"Answer", "Hangup", "NoOp", "Progress", "Ringing", "Set", "Verbose", "Wait"})
"""Applications that do not tell what an extension is for."""
_PUBLIC = {Family.IP4: ("192.0.2.1", 9), Family.IP6: ("2001:db8::1", 9)}
MAX_EXTENSIONS = 40
MAX_TOLD = 66
SECRET_HIDDEN = "hidden (--show-passwords)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """An address that SIP is listened for on."""

    address: Address
    transports: str
    """`udp tcp`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """All that is shown."""

    version: str
    config: Path
    data: Path
    sip: Sequence[Listening]
    rtp: RtpSettings
    media_workers: Sequence[Address]
    """Workers elsewhere; empty: the one inside."""
    metrics: str
    """URL, or empty."""
    phones: Sequence[Peer]
    extensions: Sequence[tuple[str, str]]
    """What can be dialled, and what it does."""
    grace_s: int


def show(banner: Banner, console: Console, *, passwords: bool) -> None:
    """Print it."""
    for line in lines(banner, passwords=passwords):
        console.print(line, soft_wrap=True, highlight=False)


def lines(banner: Banner, *, passwords: bool) -> Iterator[Text]:
    """The banner, line by line."""
    yield Text.assemble(("sixfold-pbx ", "bold"), banner.version, "  ", (str(banner.config), "dim"))
    yield Text()
    for listening in banner.sip:
        yield _fact("SIP", f"{listening.address!s:<26} {listening.transports}", _elsewhere(listening.address))
    if banner.media_workers:
        yield _fact("Media", "workers " + " ".join(str(worker) for worker in banner.media_workers))
    else:
        hosts = " ".join(f"[{host}]" if ":" in host else host for host in banner.rtp.bind.values())
        yield _fact("Media", f"{hosts:<26} udp", f"ports {banner.rtp.port_min} to {banner.rtp.port_max}")
    yield _fact("Metrics", banner.metrics or "off")
    yield _fact("Data", str(banner.data))
    yield Text()
    yield from _table(("Phone", "Password", "Caller id"), _phones(banner.phones, passwords=passwords))
    yield Text()
    yield from _table(("Dial", "for"), _shortened(banner.extensions))
    yield Text()
    grace = f"live ones may go on for {banner.grace_s} s" if banner.grace_s else "live ones are hung up"
    yield Text(f"Ctrl-C: new calls are refused, {grace}; twice: at once.", "dim")


def _fact(name: str, value: str, note: str = "") -> Text:
    return Text.assemble((f"{name:<9}", "cyan"), value, (f"  {note}" if note else "", "dim"))


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[Text]:
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]
    for number, row in enumerate((titles, *rows)):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield Text(cells, "cyan" if number == 0 else "")


def _phones(phones: Iterable[Peer], *, passwords: bool) -> list[tuple[str, ...]]:
    return [(phone.name, _password(phone, passwords=passwords), _caller_id(phone)) for phone in phones]


def _password(phone: Peer, *, passwords: bool) -> str:
    if phone.open:
        return "none: open to everybody" if phone.dynamic else f"none: known by {phone.host}"
    if phone.secret is None:
        return "as md5secret"
    return phone.secret if passwords else SECRET_HIDDEN


def _caller_id(phone: Peer) -> str:
    number = f"<{phone.callerid_number}>" if phone.callerid_number else ""
    return " ".join(part for part in (phone.callerid_name, number) if part)


def _shortened(extensions: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    if len(extensions) <= MAX_EXTENSIONS:
        return extensions
    return [*extensions[:MAX_EXTENSIONS], ("...", f"and {len(extensions) - MAX_EXTENSIONS} more")]


def dialable(program: Program, contexts: Iterable[str]) -> list[tuple[str, str]]:
    """What callers in these contexts can dial, with the applications that show what it is for."""
    found: dict[str, str] = {}
    for context in _with_includes(program, contexts):
        for extension in context.extensions:
            if extension.text in SPECIAL or extension.text == "s" or not extension.statements:
                continue
            found.setdefault(extension.text, _what_it_does(extension))
    return list(found.items())


def _what_it_does(extension: Extension) -> str:
    applications = [f"{one.app}({one.arguments})" for one in extension.statements.values() if one.app not in _SILENT]
    told = ", ".join(applications) or "nothing to hear"
    return told if len(told) <= MAX_TOLD else told[: MAX_TOLD - 3] + "..."


def _with_includes(program: Program, contexts: Iterable[str]) -> Iterator[Context]:
    waiting, seen = list(contexts), set[str]()
    while waiting:
        name = waiting.pop(0)
        context = program.contexts.get(name)
        if context is None or name in seen:
            continue
        seen.add(name)
        yield context
        waiting[:0] = [include.context for include in context.includes]


def _elsewhere(address: Address) -> str:
    """For a wildcard, the address that other machines reach this one by."""
    if address.host not in ("0.0.0.0", "::"):
        return ""
    reachable = _outward_address(address.family)
    return f"from elsewhere {reachable}" if reachable else ""


def _outward_address(family: Family) -> str:
    """The address the kernel would use toward the world; nothing is sent."""
    with socket.socket(family.af, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_PUBLIC[family])
        except OSError:
            return ""
        return str(probe.getsockname()[0])
