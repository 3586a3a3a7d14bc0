"""pbx.conf: everything that is neither SIP nor media."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.core.address import Address
from services.core.config import values
from services.core.config.conf import Section
from services.core.config.guard import GUARD, GuardSettings, read_guard
from services.core.config.table import BadValue, Findings, Setting, Table, Values, by_name

METRICS_BIND = Setting(
    name="bind",
    read=values.socket_address_or_none,
    form="ADDRESS:PORT, or `none`",
    default="127.0.0.1:9600",
    doc="Where Prometheus reads `/metrics`, over HTTP, of `pbx run` and `pbx edge`; `pbx media`, `pbx registrar` and "
    "`pbx dialplan` take the next three ports. Port 0 takes a free one.",
)
METRICS = Table(file="pbx", section="metrics", intro="Measurements.", settings=(METRICS_BIND,))

LOG_LEVEL = Setting(
    name="level",
    read=values.one_of("debug", "info", "warning", "error"),
    form="debug, info, warning or error",
    default="info",
    doc="The least that is logged.",
)
LOG_FORMAT = Setting(
    name="format",
    read=values.one_of("auto", "text", "json"),
    form="auto, text or json",
    default="auto",
    doc="`text` for people, `json` for collectors (one object a line); `auto` is text on a terminal, else json.",
)
LOG = Table(
    file="pbx",
    section="log",
    intro="The log goes to standard error. Passwords never do.",
    settings=(LOG_LEVEL, LOG_FORMAT),
)

DATA_DIRECTORY = Setting(
    name="directory",
    read=values.plain,
    form="a directory; relative to the configuration directory",
    doc="Where bindings, calls and history are kept; `--data` comes first. Without either: `/var/lib/pbx` for root, "
    "else `~/.local/state/pbx`.",
)
DATA = Table(file="pbx", section="data", intro="The embedded stores.", settings=(DATA_DIRECTORY,))

SHUTDOWN_GRACE = Setting(
    name="grace",
    read=values.number(0, 86400),
    form="seconds, 0 to 86400",
    default="5",
    doc="After the first Ctrl-C (or SIGTERM) new calls are refused and live ones may go on for this long; then they "
    "are hung up. A second Ctrl-C does not wait.",
)
SHUTDOWN = Table(file="pbx", section="shutdown", intro="How it ends.", settings=(SHUTDOWN_GRACE,))

MEDIA_WORKERS = Setting(
    name="workers",
    read=values.socket_address,
    form="ADDRESS:PORT",
    repeated=True,
    doc="Media workers (`pbx media`, or rtpengine) that an edge of its own (`pbx edge`) talks to, by the ng protocol. "
    "Without any, `pbx edge` asks the `nglisten` of its own rtp.conf, and `pbx run` has a worker inside.",
)
MEDIA = Table(file="pbx", section="media", intro="Which media workers an edge uses.", settings=(MEDIA_WORKERS,))

DIALPLAN_TIMEZONE = Setting(
    name="timezone",
    read=values.timezone,
    form="an IANA name, as in Europe/Berlin",
    doc="The zone in which the times of GotoIfTime, timed includes and STRFTIME are meant; the machine's unless set.",
)
DIALPLAN = Table(file="pbx", section="dialplan", intro="How extensions.conf is run.", settings=(DIALPLAN_TIMEZONE,))

CLUSTER_SITE = Setting(
    name="site", read=values.word, form="a word", default="local", doc="The name of this site, in events."
)
CLUSTER_NODE = Setting(
    name="node", read=values.word, form="a word", doc="The name of this machine, in events; the host name unless set."
)
CLUSTER = Table(
    file="pbx", section="cluster", intro="What this process is called.", settings=(CLUSTER_SITE, CLUSTER_NODE)
)

TABLES = (METRICS, LOG, DATA, SHUTDOWN, MEDIA, DIALPLAN, CLUSTER, GUARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class PbxSettings:
    """All of pbx.conf."""

    metrics: Address | None
    """None: no metrics."""
    metrics_origin: str
    log_level: str
    log_format: str
    """`auto`, `text` or `json`."""
    data_directory: Path
    shutdown_grace_s: int
    media_workers: tuple[Address, ...]
    timezone: str
    """IANA name; the dialplan's times."""
    site: str
    node: str
    guard: GuardSettings


def read_pbx(sections: Sequence[Section], directory: Path, env: Mapping[str, str], findings: Findings) -> PbxSettings:
    """The settings in the sections of pbx.conf. Never raises."""
    groups = by_name(sections)
    known = {table.section: table for table in TABLES}
    for name, same in groups.items():
        if name not in known:
            findings.problems.append(
                same[0].problem(f"[{name}] is not a section of pbx.conf", f"known are {', '.join(known)}")
            )
    tables = {name: Values(table, name, groups.get(name, [None])[0], env, findings) for name, table in known.items()}
    metrics = tables["metrics"]
    bind = metrics.entry(METRICS_BIND)
    data = tables["data"].optional(DATA_DIRECTORY)
    return PbxSettings(
        metrics=metrics.get(METRICS_BIND).address,
        metrics_origin=bind.where if bind is not None else "pbx.conf",
        log_level=tables["log"].get(LOG_LEVEL),
        log_format=tables["log"].get(LOG_FORMAT),
        data_directory=directory / data if data else default_data_directory(env),
        shutdown_grace_s=tables["shutdown"].get(SHUTDOWN_GRACE),
        media_workers=tuple(address for _, address in tables["media"].each(MEDIA_WORKERS)),
        timezone=tables["dialplan"].optional(DIALPLAN_TIMEZONE) or machines_timezone(env),
        site=tables["cluster"].get(CLUSTER_SITE),
        node=tables["cluster"].optional(CLUSTER_NODE) or os.uname().nodename,
        guard=read_guard(tables["guard"]),
    )


def default_data_directory(env: Mapping[str, str]) -> Path:
    """`/var/lib/pbx` for root, else where the XDG base directories say state belongs."""
    if os.geteuid() == 0:
        return Path("/var/lib/pbx")
    state = env.get("XDG_STATE_HOME") or str(Path(env.get("HOME", "/")) / ".local" / "state")
    return Path(state) / "pbx"


def machines_timezone(env: Mapping[str, str], localtime: Path = Path("/etc/localtime")) -> str:
    """The machine's time zone by its IANA name: `TZ`, else where /etc/localtime points; UTC when neither says."""
    named = env.get("TZ", "").removeprefix(":")
    _, found, linked = os.path.realpath(localtime).partition("/zoneinfo/")
    for name in (named, linked if found else ""):
        try:
            return values.timezone(name)
        except BadValue:
            continue
    return "UTC"
