"""The words of header values: tokens, numbers, quoted strings, lists and parameters (RFC 3261 25.1).

Values are cut with `partition` and `split`; the scanner that knows quotes and angle brackets runs only where the text
holds one, and goes over it once. White space is SP and HTAB and nothing else: Python's own `strip` and `split` know
many more, and its `int` takes '+7', '7_0' and Arabic digits.
"""

from __future__ import annotations

import re

from services.core.sip.errors import SipError

WS = " \t"
MAX_DELTA_SECONDS = 2**32 - 1
MALFORMED_EXPIRES_S = 3600
"""What an unreadable Expires stands for (RFC 3261 20.19, 10.2.1.1)."""

Params = tuple[tuple[str, str | None], ...]
"""Names and raw values in order; the value is None where there was no '='."""

TOKEN_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~")
_USUAL_PARAMS = frozenset(("branch", "rport", "received", "tag", "lr", "expires", "q", "transport"))
"""Parameter names that need no further look."""
_QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_COMMA_STOPS = re.compile(r'[,"<]')
_SEMICOLON_STOPS = re.compile(r'[;"]')
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def is_token(text: str) -> bool:
    """Whether `text` is a token of RFC 3261 25.1."""
    return bool(text) and TOKEN_CHARS.issuperset(text)


def bad(where: str, reason: str = "") -> SipError:
    """A 400 that names the header at fault."""
    return SipError(400, f"Bad {where}{': ' if reason else ''}{reason}", where)


# --- numbers ---------------------------------------------------------------------------------------------------------


def parse_number(text: str, limit: int, where: str) -> int:
    """ASCII digits up to `limit`. Raises SipError 400; `int()` alone would take '+7', '7_0' and Arabic digits."""
    if not (text.isascii() and text.isdigit()):
        raise bad(where, "not a number")
    # int() of very long texts is slow and, from 4300 digits on, refused.
    number = int(text) if len(text) < 20 else int(text.lstrip("0")[:20] or "0")
    if number > limit:
        raise bad(where, f"number above {limit}")
    return number


def parse_delta_seconds(text: str) -> int:
    """Seconds of an Expires header or parameter. Malformed means 3600 (RFC 3261 20.19), too much the most there is."""
    text = text.strip(WS)
    if not (text.isascii() and text.isdigit()):
        return MALFORMED_EXPIRES_S
    return min(int(text.lstrip("0")[:20] or "0"), MAX_DELTA_SECONDS)


# --- quoted strings and lists ----------------------------------------------------------------------------------------


def quote(text: str) -> str:
    """`text` as a quoted-string. CR and LF, which cannot be said in one, become spaces."""
    if "\r" in text or "\n" in text:
        text = text.replace("\r", " ").replace("\n", " ")
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def unquote_string(text: str) -> str:
    """The text a quoted-string stands for; text without quotes is returned unchanged."""
    if len(text) < 2 or text[0] != '"':
        return text
    inner = text[1:-1]
    return _QUOTED_PAIR.sub(r"\1", inner) if "\\" in inner else inner


def after_quoted(text: str, start: int, where: str) -> int:
    """The index behind the quoted-string that begins at `start`."""
    match = _QUOTED.match(text, start)
    if match is None:
        raise bad(where, "quote without end")
    return match.end()


def split_list(text: str, where: str) -> list[str]:
    """The values of a comma-separated row, stripped; commas in quotes and angle brackets do not count.

    Empty elements are left out (RFC 2616 2.1 had them, and devices send them). Raises SipError for an open quote or
    bracket.
    """
    if "," not in text:
        value = text.strip(WS)
        return [value] if value else []
    pieces = text.split(",") if '"' not in text and "<" not in text else _split_careful(text, where)
    return [value for piece in pieces if (value := piece.strip(WS))]


def _split_careful(text: str, where: str) -> list[str]:
    pieces: list[str] = []
    start = position = 0
    while stop := _COMMA_STOPS.search(text, position):
        position = stop.start()
        if text[position] == '"':
            position = after_quoted(text, position, where)
        elif text[position] == "<":
            position = text.find(">", position) + 1
            if not position:
                raise bad(where, "'<' without '>'")
        else:
            pieces.append(text[start:position])
            position += 1
            start = position
    pieces.append(text[start:])
    return pieces


def first_of_list(text: str, where: str) -> tuple[str, str]:
    """The first value of a comma-separated row and the rest of the row ("" when there is none)."""
    if "," not in text:
        return text.strip(WS), ""
    if '"' not in text and "<" not in text:
        first, _, rest = text.partition(",")
    else:
        first = _split_careful(text, where)[0]
        rest = text[len(first) + 1 :]
    return first.strip(WS), rest.strip(WS)


def parse_params(text: str, where: str) -> Params:
    """Header parameters, `text` being what follows the first ';'. Values stay raw, quotes included.

    Raises SipError for empty parameters (RFC 4475 3.1.2.1), names that are no tokens and open quotes.
    """
    pieces = text.split(";") if '"' not in text else _split_params_careful(text, where)
    params: list[tuple[str, str | None]] = []
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if name not in _USUAL_PARAMS:
            name = name.strip(WS)
            if not name or not TOKEN_CHARS.issuperset(name):
                raise bad(where, "parameter")
        if not equals:
            params.append((name, None))
            continue
        value = value.strip(WS)
        if not value or (" " in value and value[0] != '"'):
            raise bad(where, f"parameter {name[:20]}")
        params.append((name, value))
    return tuple(params)


def _split_params_careful(text: str, where: str) -> list[str]:
    pieces: list[str] = []
    start = position = 0
    while stop := _SEMICOLON_STOPS.search(text, position):
        position = stop.start()
        if text[position] == '"':
            position = after_quoted(text, position, where)
        else:
            pieces.append(text[start:position])
            position += 1
            start = position
    pieces.append(text[start:])
    return pieces


def print_params(params: Params) -> str:
    """Parameters as they are appended to a value."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params])


def find_param(params: Params, name: str) -> str | None:
    """The first value of a parameter in any case, "" when it has none, None when it is not there."""
    wanted = name.lower()
    for key, value in params:
        if key == name or key.lower() == wanted:
            return "" if value is None else value
    return None


def set_param(params: Params, name: str, value: str | None) -> Params:
    """`params` with one parameter set: in the place of the first of that name, else at the end."""
    wanted = name.lower()
    for index, (key, _) in enumerate(params):
        if key.lower() == wanted:
            return (*params[:index], (key, value), *drop_param(params[index + 1 :], name))
    return (*params, (name, value))


def drop_param(params: Params, name: str) -> Params:
    """`params` without one parameter."""
    wanted = name.lower()
    return tuple([param for param in params if param[0].lower() != wanted])
