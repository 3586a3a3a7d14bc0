"""Numbers as the dialplan writes and reads them.

Text is taken as a number only if it is made of ASCII digits: `int()` would also accept `٧`, `+7` and `7_0`.
Arithmetic is decimal with the reach of a C `long double`, which is what Asterisk computes with and prints by
`%.18Lg`; so `$[0.1 + 0.2]` is `0.3` here as there, and no operation can raise or grow without bound.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

CALCULATION = Context(prec=20, rounding=ROUND_HALF_EVEN, Emin=-4931, Emax=4932, traps=[])
"""Used explicitly (`CALCULATION.add(a, b)`); never installed as the thread's context."""

_PRINTED = Context(prec=18, rounding=ROUND_HALF_EVEN, Emin=-4931, Emax=4932, traps=[])

MAX_DIGITS = 4096
"""Longer runs of digits are not numbers; the decimal module would take them, at a price."""


def is_digits(text: str) -> bool:
    """True for one or more of `0-9` and nothing else."""
    return text.isascii() and text.isdigit()


def whole(text: str) -> int | None:
    """The integer `text` is (`-5`, `42`, blanks around it), or None. At most 18 digits."""
    text = text.strip(" \t")
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if is_digits(digits) and len(digits) <= 18 else None


def leading_int(text: str) -> int:
    """The integer at the start of `text`, 0 if there is none (C's atoi)."""
    text = text.lstrip(" \t")
    end = 1 if text[:1] in ("-", "+") else 0
    while end < len(text) and text[end] in "0123456789" and end < 18:
        end += 1
    return whole(text[:end]) or 0


def seconds(text: str) -> float | None:
    """A duration of zero or more seconds, fractions allowed, or None if `text` is not one."""
    text = text.strip(" \t")
    whole_part, point, fraction = text.partition(".")
    if not is_digits(whole_part + fraction) or len(text) > 15:
        return None
    return float(f"{whole_part or '0'}.{fraction or '0'}") if point else float(whole_part)


def decimal(text: str) -> Decimal | None:
    """The number `text` is (`-`, digits, at most one point), or None."""
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    left, _, right = unsigned.partition(".")
    if not is_digits(left + right) or len(unsigned) > MAX_DIGITS:
        return None
    return CALCULATION.create_decimal(text)


def printed(number: Decimal) -> str:
    """The number in C's `%.18Lg`: up to 18 significant digits, no trailing zeros, `1e+18` from there on."""
    if number.is_nan():
        return "nan"
    if number.is_infinite():
        return "-inf" if number < 0 else "inf"
    number = _PRINTED.plus(number)
    if number.is_zero():
        return "0"
    exponent = number.adjusted()
    if -4 <= exponent < 18:
        text = f"{number:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{'-' if number < 0 else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
