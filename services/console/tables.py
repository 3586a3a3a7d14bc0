"""The columns in which `pbx calls`, `pbx registrations` and `pbx cdr` are shown to people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.console.listing import Column
from services.console.projections.view import Row


def calls(now: float) -> Sequence[Column]:
    """Of the active calls, with their age at `now`."""
    return (
        Column("CALL", _text("call"), flexible=True),
        Column("STATUS", _text("status")),
        Column("AGE", lambda row: age(now - row["started"]), right=True),
        Column("FROM", lambda row: row["caller_number"] or row["caller_name"]),
        Column("TO", _text("called")),
        Column("APPLICATION", _text("application"), wide=True),
        Column("CHANNELS", lambda row: " ".join(row["channels"]), flexible=True),
        Column("LEGS", lambda row: " ".join(map(leg, row["families"], row["transports"]))),
    )


def registrations(now: float) -> Sequence[Column]:
    """Of the contacts, with what is left of their time at `now`."""
    return (
        Column("AOR", _text("aor"), flexible=True),
        Column("CONTACT", _text("contact"), flexible=True),
        Column("FROM", _text("source"), wide=True),
        Column("BY", lambda row: leg(row["family"], row["transport"])),
        Column("EXPIRES", lambda row: age(row["expires_at"] - now) if row["expires_at"] > now else "over", right=True),
        Column("PHONE", _text("user_agent"), flexible=True, wide=True),
    )


def _text(name: str) -> Callable[[Row], str]:
    return lambda row: str(row[name])


def _media(side: str) -> Callable[[Row], str]:
    def lost(row: Row) -> str:
        received, missing = row[f"{side}_packets_received"], row[f"{side}_packets_lost"]
        return "-" if received is None else f"{missing}/{received + missing} {row[f'{side}_jitter_ms']:.1f} ms"

    return lost


def leg(family: str, transport: str) -> str:
    """`IPv6/udp`; `-` where there is no leg."""
    return f"{family.replace('ip', 'IPv')}/{transport}" if family else "-"


def age(seconds: float) -> str:
    """`12 s`, `3:07`, `1:02:03`."""
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


CDR: Sequence[Column] = (
    Column("CALLDATE (UTC)", _text("calldate")),
    Column("SRC", _text("src"), flexible=True),
    Column("DST", _text("dst"), flexible=True),
    Column("DSTCHANNEL", lambda row: row["dstchannel"] or "-", flexible=True),
    Column("TIME", lambda row: age(row["duration"]), right=True),
    Column("BILLED", lambda row: age(row["billsec"]), right=True),
    Column("DISPOSITION", _text("disposition")),
    Column("A", lambda row: leg(row["a_family"], row["a_transport"]), wide=True),
    Column("B", lambda row: leg(row["b_family"], row["b_transport"]), wide=True),
    Column("A LOST", _media("a"), right=True, wide=True),
    Column("B LOST", _media("b"), right=True, wide=True),
)
