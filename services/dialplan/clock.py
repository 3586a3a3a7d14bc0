"""Local time for the dialplan: formatting without the C library's locale, and the time ranges of includes.

    times  9:00-17:30   weekdays  mon-fri   days of the month  1-15   months  jan-mar

each `*` for any, ranges may wrap (`22:00-6:00`, `sat-mon`), several joined by `&`. A time range ends with its last
minute: `9:00-17:00` still holds at 17:00:59.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.dialplan.numbers import is_digits

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH_NAMES = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


class TimeRangeError(ValueError):
    """A time range that cannot be read."""


def zone(name: str) -> tzinfo | None:
    """The time zone of that IANA name, or None. Reads the system's zone file the first time."""
    if not name or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local_time(unix_s: float, zone_name: str) -> datetime:
    """The wall clock at `unix_s`; UTC if the zone is unknown, the nearest time there is if the number is absurd."""
    try:
        return datetime.fromtimestamp(unix_s, zone(zone_name) or UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """When an include or GotoIfTime holds."""

    minutes: tuple[tuple[int, int], ...]
    weekdays: frozenset[int]
    """0 is Monday."""
    days: frozenset[int]
    months: frozenset[int]
    zone: str = ""
    """IANA name; empty for the dialplan's own."""

    def holds(self, now_s: float, zone_name: str) -> bool:
        """True if the wall clock lies within the range."""
        now = local_time(now_s, self.zone or zone_name)
        minute = now.hour * 60 + now.minute
        return (
            now.month in self.months
            and now.day in self.days
            and now.weekday() in self.weekdays
            and any(
                start <= minute <= end if start <= end else minute >= start or minute <= end
                for start, end in self.minutes
            )
        )


def compile_time_range(text: str) -> TimeRange:
    """Compile `times,weekdays,mdays,months[,zone]` (missing ones are `*`); TimeRangeError if it cannot be read."""
    fields = [field.strip() for field in text.split("," if "," in text else "|")]
    if len(fields) > 5:
        raise TimeRangeError("a time range has times, weekdays, days, months and a time zone, not more")
    times, weekdays, days, months, zone_name = (fields + ["*"] * 5)[:5]
    if zone_name == "*":
        zone_name = ""
    if zone(zone_name) is None:
        raise TimeRangeError(f"there is no time zone {zone_name}")
    return TimeRange(
        minutes=_minutes(times),
        weekdays=_members(weekdays, _DAYS, 0, "weekday"),
        days=_members(days, tuple(map(str, range(1, 32))), 1, "day of the month"),
        months=_members(months, _MONTHS, 1, "month"),
        zone=zone_name,
    )


def _minutes(text: str) -> tuple[tuple[int, int], ...]:
    if text in ("*", ""):
        return ((0, 24 * 60 - 1),)
    ranges = []
    for piece in text.split("&"):
        start, dash, end = piece.partition("-")
        if not dash:
            raise TimeRangeError(f"{piece!r} is not a range of times such as 9:00-17:30")
        ranges.append((_minute(start), _minute(end)))
    return tuple(ranges)


def _minute(text: str) -> int:
    hour, colon, minute = text.strip().partition(":")
    if not (colon and is_digits(hour) and is_digits(minute) and len(hour) <= 2 and len(minute) == 2):
        raise TimeRangeError(f"{text.strip()!r} is not a time such as 17:30")
    if int(hour) > 23 or int(minute) > 59:
        raise TimeRangeError(f"there is no time {text.strip()}")
    return int(hour) * 60 + int(minute)


def _members(text: str, names: tuple[str, ...], first: int, what: str) -> frozenset[int]:
    if text in ("*", ""):
        return frozenset(range(first, first + len(names)))
    chosen: set[int] = set()
    for piece in text.lower().split("&"):
        low, dash, high = (part.strip() for part in piece.partition("-"))
        start = _index(low, names, what)
        end = _index(high, names, what) if dash else start
        span = (end - start) % len(names) + 1
        chosen.update((start + step) % len(names) + first for step in range(span))
    return frozenset(chosen)


def _index(text: str, names: tuple[str, ...], what: str) -> int:
    known = text if text in names else text[:3] if not is_digits(text) and len(text) > 3 else text.lstrip("0")
    if known not in names:
        raise TimeRangeError(f"{text!r} is not a {what}")
    return names.index(known)


# --- formatting ------------------------------------------------------------------------------------------------


def _two(value: int) -> str:
    return f"{value:02d}"


def _offset(now: datetime) -> str:
    offset = now.utcoffset()
    total = int(offset.total_seconds()) // 60 if offset else 0
    return f"{'-' if total < 0 else '+'}{abs(total) // 60:02d}{abs(total) % 60:02d}"


def _hour12(now: datetime) -> int:
    return now.hour % 12 or 12


_DIRECTIVES: dict[str, Callable[[datetime], str]] = {
    "a": lambda now: _DAY_NAMES[now.weekday()][:3],
    "A": lambda now: _DAY_NAMES[now.weekday()],
    "b": lambda now: _MONTH_NAMES[now.month - 1][:3],
    "B": lambda now: _MONTH_NAMES[now.month - 1],
    "c": lambda now: formatted(now, "%a %b %e %T %Y"),
    "C": lambda now: _two(now.year // 100),
    "d": lambda now: _two(now.day),
    "D": lambda now: formatted(now, "%m/%d/%y"),
    "e": lambda now: f"{now.day:2d}",
    "F": lambda now: formatted(now, "%Y-%m-%d"),
    "G": lambda now: f"{now.isocalendar().year:04d}",
    "g": lambda now: _two(now.isocalendar().year % 100),
    "h": lambda now: _MONTH_NAMES[now.month - 1][:3],
    "H": lambda now: _two(now.hour),
    "I": lambda now: _two(_hour12(now)),
    "j": lambda now: f"{now.timetuple().tm_yday:03d}",
    "k": lambda now: f"{now.hour:2d}",
    "l": lambda now: f"{_hour12(now):2d}",
    "m": lambda now: _two(now.month),
    "M": lambda now: _two(now.minute),
    "n": lambda now: "\n",
    "p": lambda now: "AM" if now.hour < 12 else "PM",
    "P": lambda now: "am" if now.hour < 12 else "pm",
    "r": lambda now: formatted(now, "%I:%M:%S %p"),
    "R": lambda now: formatted(now, "%H:%M"),
    "s": lambda now: str(int(now.timestamp())),
    "S": lambda now: _two(now.second),
    "t": lambda now: "\t",
    "T": lambda now: formatted(now, "%H:%M:%S"),
    "u": lambda now: str(now.isoweekday()),
    "U": lambda now: _two((now.timetuple().tm_yday + 6 - now.isoweekday() % 7) // 7),
    "V": lambda now: _two(now.isocalendar().week),
    "w": lambda now: str(now.isoweekday() % 7),
    "W": lambda now: _two((now.timetuple().tm_yday + 6 - now.weekday()) // 7),
    "x": lambda now: formatted(now, "%m/%d/%y"),
    "X": lambda now: formatted(now, "%H:%M:%S"),
    "y": lambda now: _two(now.year % 100),
    "Y": lambda now: f"{now.year:04d}",
    "z": _offset,
    "Z": lambda now: now.tzname() or "",
    "%": lambda now: "%",
}


def formatted(now: datetime, pattern: str) -> str:
    """strftime in the C locale, plus Asterisk's `%q` and `%1q` to `%6q` (fractions of a second). Never raises."""
    pieces: list[str] = []
    at = 0
    while (found := pattern.find("%", at)) >= 0:
        pieces.append(pattern[at:found])
        key = pattern[found + 1 : found + 2]
        at = found + 2
        if key in ("1", "2", "3", "4", "5", "6") and pattern[at : at + 1] == "q":
            pieces.append(f"{now.microsecond:06d}"[: int(key)])
            at += 1
        elif key == "q":
            pieces.append(f"{now.microsecond // 1000:03d}")
        else:
            directive = _DIRECTIVES.get(key)
            pieces.append(directive(now) if directive else "%" + key)
    pieces.append(pattern[at:])
    return "".join(pieces)
