"""pbx.conf `[guard]`: how much one source may ask, and who is not listened to any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.core.config import acl, values
from services.core.config.table import Findings, Setting, Table, Values

LOOPBACK = ("127.0.0.0/8", "::1")
SCANNERS = (
    *("friendly-scanner", "sipvicious", "sipcli", "sundayddr", "VaxSIPUserAgent", "sip-scan", "iWar", "SIVuS"),
    "pplsip",
)

ENABLE = Setting(
    name="enable",
    read=values.yes_no,
    form="yes or no",
    default="yes",
    doc="`no` switches off everything in this section but `maxlag`.",
)
ALLOW = Setting(
    name="allow",
    read=acl.network,
    form="a network or an address, as in 10.0.0.0/8 or 2001:db8::/32",
    repeated=True,
    doc=f"Never limited and never banned. Without a line: {' and '.join(f'`{one}`' for one in LOOPBACK)}; with one, "
    "only what the lines say.",
)
RATE = Setting(
    name="rate",
    read=values.number(0, 1_000_000),
    form="messages a second, 0 to 1000000",
    default="200",
    doc="What one source may send in the long run; 0: any number. A source is an IPv4 address, or the /64 of an IPv6 "
    "address. What is more is dropped unread; a TCP connection is closed. Each request with a right password earns its "
    "source 50 messages, so that phones of any number behind one address never meet the limit.",
)
BURST = Setting(
    name="burst",
    read=values.number(1, 10_000_000),
    form="messages, 1 to 10000000",
    default="4000",
    doc="What one source may send at once: after a power failure all phones of an office register in the same second.",
)
USERRATE = Setting(
    name="userrate",
    read=values.number(0, 100_000),
    form="a minute, 0 to 100000",
    default="10",
    doc="Wrong passwords that are looked at for one user name, from wherever; 0: any number. What is more fails "
    "whatever the password, so that many guessers together guess no faster. A user is not kept out where he was let "
    "in last.",
)
FINDTIME = Setting(
    name="findtime",
    read=values.number(1, 86400),
    form="seconds, 1 to 86400",
    default="600",
    doc="The time in which the next four are counted. From a source where somebody had a right password within two "
    "hours, ten times as many are taken.",
)
MAXFAILURES = Setting(
    name="maxfailures",
    read=values.number(0, 1_000_000),
    form="0 to 1000000",
    default="20",
    doc="A source with more wrong passwords is banned; 0: never for that.",
)
MAXUNKNOWN = Setting(
    name="maxunknown",
    read=values.number(0, 1000),
    form="0 to 1000",
    default="15",
    doc="A source that asks for more different users or, as a guest, extensions that do not exist is banned; 0: never "
    "for that.",
)
MAXMALFORMED = Setting(
    name="maxmalformed",
    read=values.number(0, 1_000_000),
    form="0 to 1000000",
    default="50",
    doc="A source that sends more messages that cannot be read is banned; 0: never for that.",
)
MAXSCANS = Setting(
    name="maxscans",
    read=values.number(0, 1_000_000),
    form="0 to 1000000",
    default="2",
    doc="A source that sends more requests of a scanner is banned; 0: never for that.",
)
SCANNER = Setting(
    name="scanner",
    read=values.plain,
    form="a part of User-Agent, in any case",
    repeated=True,
    doc="Requests outside of calls from such programs get no answer. Without a line: "
    f"{', '.join(f'`{one}`' for one in SCANNERS)}; with one, only what the lines say.",
)
BANTIME = Setting(
    name="bantime",
    read=values.number(1, 31_536_000),
    form="seconds, 1 to 31536000",
    default="300",
    doc="How long a source is banned: its datagrams are dropped unread, its connections closed. Each further ban "
    "within a day of the last one is twice as long.",
)
MAXBANTIME = Setting(
    name="maxbantime",
    read=values.number(1, 31_536_000),
    form="seconds, 1 to 31536000",
    default="86400",
    doc="The longest a ban gets.",
)
MAXLAG = Setting(
    name="maxlag",
    read=values.number(0, 60_000),
    form="milliseconds, 0 to 60000",
    default="500",
    doc="When the process is later than this for `lagtime`, new calls get 503 with Retry-After; calls that are up and "
    "registrations go on. 0: never. The default is T1: from there on phones send everything twice.",
)
LAGTIME = Setting(
    name="lagtime",
    read=values.number(0, 600),
    form="seconds, 0 to 600",
    default="3",
    doc="How long the process must be late before new calls are refused, and be well again before they are taken.",
)
GUARD = Table(
    file="pbx",
    section="guard",
    intro="Against floods, guessers and scanners. Each ban is one line of the log, for fail2ban and the like: "
    "`banned  address=203.0.113.7 reason=scanner ...`, or the same fields in this order as JSON. All tables have fixed "
    "sizes: what is oldest is forgotten.",
    settings=(
        *(ENABLE, ALLOW, RATE, BURST, USERRATE, FINDTIME, MAXFAILURES, MAXUNKNOWN, MAXMALFORMED, MAXSCANS, SCANNER),
        *(BANTIME, MAXBANTIME, MAXLAG, LAGTIME),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """All of `[guard]`. A count of 0 means: without a limit."""

    enabled: bool
    allow: tuple[acl.Network, ...]
    rate: int
    """Messages a second."""
    burst: int
    user_rate: int
    """Failed attempts a minute."""
    find_time_s: int
    max_failures: int
    max_unknown: int
    max_malformed: int
    max_scans: int
    scanners: tuple[str, ...]
    """In lower case."""
    ban_s: int
    max_ban_s: int
    max_lag_s: float
    lag_time_s: float


def read_guard(guard: Values) -> GuardSettings:
    """The settings in the section. Never raises."""
    ban, longest = guard.get(BANTIME), guard.get(MAXBANTIME)
    if ban > longest:
        entry = guard.entry(BANTIME) or guard.entry(MAXBANTIME)
        assert entry is not None, "the defaults are in order"
        guard.fail(entry, f"bantime ({ban}) is more than maxbantime ({longest})", "raise maxbantime")
    return GuardSettings(
        enabled=guard.get(ENABLE),
        allow=tuple(found for _, found in guard.each(ALLOW)) or tuple(acl.network(one) for one in LOOPBACK),
        rate=guard.get(RATE),
        burst=guard.get(BURST),
        user_rate=guard.get(USERRATE),
        find_time_s=guard.get(FINDTIME),
        max_failures=guard.get(MAXFAILURES),
        max_unknown=guard.get(MAXUNKNOWN),
        max_malformed=guard.get(MAXMALFORMED),
        max_scans=guard.get(MAXSCANS),
        scanners=tuple(one.lower() for one in ([found for _, found in guard.each(SCANNER)] or SCANNERS)),
        ban_s=ban,
        max_ban_s=longest,
        max_lag_s=guard.get(MAXLAG) / 1000,
        lag_time_s=guard.get(LAGTIME),
    )


def default_guard(env: Mapping[str, str] | None = None) -> GuardSettings:
    """What holds without a file."""
    return read_guard(Values(GUARD, "guard", None, env or {}, Findings()))
