"""rtp.conf: the media worker's addresses, ports and prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.core.address import Address, Family, family_of
from services.core.config import values
from services.core.config.conf import Entry, Section
from services.core.config.table import Findings, Setting, Table, Values, by_name

RTPSTART = Setting(
    name="rtpstart",
    read=values.number(1024, 65534),
    form="1024 to 65534",
    default="10000",
    doc="The lowest port for media. Each party of a call takes an even port for RTP and the next one for RTCP.",
)
RTPEND = Setting(
    name="rtpend",
    read=values.number(1025, 65535),
    form="1025 to 65535",
    default="20000",
    doc="The highest port for media. The range must leave out the SIP ports.",
)
BINDADDR = Setting(
    name="bindaddr",
    read=values.ip,
    form="an address; brackets are not needed",
    repeated=True,
    doc="Where media comes in; one line per family. A family without one uses its wildcard, and shows each peer the "
    "address that peer can reach.",
)
EXTERNADDR = Setting(
    name="externaddr",
    aliases=("externip",),
    read=values.ip_of(Family.IP4),
    form="an IPv4 address",
    doc="The IPv4 address written into session descriptions instead of our own (1:1 NAT).",
)
EXTERNADDR6 = Setting(
    name="externaddr6",
    read=values.ip_of(Family.IP6),
    form="an IPv6 address without brackets",
    doc="The same for IPv6.",
)
RTPTIMEOUT = Setting(
    name="rtptimeout",
    read=values.number(0, 86400),
    form="seconds, 0 to 86400",
    default="60",
    doc="A call from one of whose parties neither RTP nor RTCP comes for this long is ended: its BYE was lost. "
    "0: never.",
)
RTPHOLDTIMEOUT = Setting(
    name="rtpholdtimeout",
    read=values.number(0, 86400),
    form="seconds, 0 to 86400",
    default="3600",
    doc="The same while a party is on hold, which may be silent for longer. 0: never.",
)
SOUNDS = Setting(
    name="sounds",
    read=values.plain,
    form="a directory; relative to the configuration directory",
    default="sounds",
    doc="Your prompts (WAV, 8 kHz mono 16 bit). They come before those of the package; it may be missing.",
)
NGLISTEN = Setting(
    name="nglisten",
    read=values.socket_address,
    form="ADDRESS:PORT",
    default="127.0.0.1:2223",
    repeated=True,
    doc="Where a media worker of its own (`pbx media`) listens for commands in rtpengine's ng protocol. `pbx run` "
    "keeps its worker inside and does not listen.",
)

GENERAL = Table(
    file="rtp",
    section="general",
    intro="Ports and addresses of media. `ipv4=no` and `ipv6=no` of sip.conf switch a family off here too.",
    settings=(*(RTPSTART, RTPEND, BINDADDR, EXTERNADDR, EXTERNADDR6, RTPTIMEOUT, RTPHOLDTIMEOUT, SOUNDS, NGLISTEN),),
    without_effect=dict.fromkeys(
        ("rtpchecksums", "dtmftimeout", "rtcpinterval", "strictrtp", "probation", "icesupport", "stunaddr"),
        "not supported yet",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpSettings:
    """All of rtp.conf."""

    port_min: int
    port_max: int
    """Both bounds are included."""
    bind: Mapping[Family, str]
    """For each family that is on: a canonical address, or the wildcard."""
    advertised: Mapping[Family, str]
    """What session descriptions show instead, for families that have such an address."""
    timeout_s: int
    """0: never."""
    hold_timeout_s: int
    sounds_directory: Path
    ng_listen: tuple[Address, ...]
    origin: str
    """Where the port range was set, `rtp.conf:3`."""


def read_rtp(
    sections: Sequence[Section], directory: Path, families: Sequence[Family], env: Mapping[str, str], findings: Findings
) -> RtpSettings:
    """The settings in the sections of rtp.conf, for the families that are on. Never raises."""
    groups = by_name(sections)
    general = Values(GENERAL, "general", groups.pop("general", [None])[0], env, findings)
    for same in groups.values():
        findings.problems.append(same[0].problem(f"[{same[0].name}] is not a section of rtp.conf", "use [general]"))
    low, high = general.get(RTPSTART), general.get(RTPEND)
    entry = general.entry(RTPEND) or general.entry(RTPSTART)
    if high < low + 3 and entry is not None:
        general.fail(entry, f"{low} to {high} has no room for a call", "rtpend must be at least rtpstart + 3")
    advertised = {Family.IP4: general.optional(EXTERNADDR), Family.IP6: general.optional(EXTERNADDR6)}
    return RtpSettings(
        port_min=low,
        port_max=high,
        bind=_binds(general, families),
        advertised={family: host for family, host in advertised.items() if host is not None and family in families},
        timeout_s=general.get(RTPTIMEOUT),
        hold_timeout_s=general.get(RTPHOLDTIMEOUT),
        sounds_directory=directory / general.get(SOUNDS),
        ng_listen=tuple(address for _, address in general.each(NGLISTEN)) or (NGLISTEN.read(str(NGLISTEN.default)),),
        origin=entry.where if entry is not None else "rtp.conf",
    )


def _binds(general: Values, families: Sequence[Family]) -> dict[Family, str]:
    binds: dict[Family, str] = {}
    places: dict[Family, Entry] = {}
    for entry, host in general.each(BINDADDR):
        family = family_of(host)
        if family in places:
            general.fail(entry, f"bindaddr: this family already has one at {places[family].where}", "keep one of them")
        places[family] = entry
        binds[family] = host
    return {family: binds.get(family, values.WILDCARDS[family]) for family in families}
