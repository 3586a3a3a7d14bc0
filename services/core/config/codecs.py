"""`allow` and `disallow`: an ordered list of codec names, edited line by line as Asterisk does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.core.config.conf import Entry
from services.core.config.problems import nearest
from services.core.config.table import Findings
from services.core.sdp.codecs import CODECS

KNOWN = tuple(CODECS)
"""Asterisk's names. Media is relayed as it comes, so that a codec need only be known to the phones; what the PBX
plays itself is ulaw and alaw."""

VIDEO = frozenset({"h261", "h263", "h263p", "h264", "h265", "vp8", "vp9", "av1", "mpeg4"})
"""Names that are understood and have no effect: calls are audio."""

DEFAULT = ("ulaw", "alaw", "g722")


def edit(codecs: Sequence[str], entries: Iterable[Entry], findings: Findings) -> tuple[str, ...]:
    """The list after some `allow`/`disallow` lines, in their order; earlier names are preferred.

    `all` stands for every codec; `!name` turns the line's sense round (`allow=!all,ulaw`).
    """
    result = list(codecs)
    for entry in entries:
        for item in entry.value.lower().split(","):
            name = item.strip().removeprefix("!")
            # Asterisk once gave packet times with the name, `ulaw:20`.
            name, colon, _ = name.partition(":")
            if colon:
                findings.warnings.append(entry.problem(f"{item.strip()}: the packet time has no effect"))
            if name in VIDEO:
                findings.warnings.append(entry.problem(f"{entry.key}={name} has no effect: video is not supported yet"))
            if not name or name in VIDEO:
                continue
            if name != "all" and name not in KNOWN:
                near = nearest(name, (*KNOWN, "all"))
                remedy = f"did you mean {near}?" if near else f"known are all, {', '.join(KNOWN)}"
                findings.problems.append(entry.problem(f"{entry.key}: {name!r} is not a codec", remedy))
                continue
            allows = (entry.name == "allow") != item.strip().startswith("!")
            names = KNOWN if name == "all" else (name,)
            result = (
                [*result, *(n for n in names if n not in result)] if allows else [n for n in result if n not in names]
            )
    return tuple(result)
