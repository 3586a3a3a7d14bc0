"""Argument lists: where they are cut, in text still to be substituted and in text that has been.

After substitution an application's arguments are cut at commas that stand outside quotes, parentheses and brackets;
quotes vanish and a backslash makes the next character ordinary (`split`). While a file is loaded the same text still
holds `${...}` and `$[...]`, whose insides are none of the list's business (`split_raw`).
"""

from __future__ import annotations

_OPENERS = "(["
_CLOSERS = ")]"


def split(text: str, separator: str = ",", *, as_written: bool = False) -> list[str]:
    """The arguments in substituted text, `[]` for the empty text. Never raises.

    Quotes and escapes are resolved, unless the arguments are wanted `as_written`.
    """
    if not text:
        return []
    if separator not in text and (as_written or ('"' not in text and "\\" not in text)):
        return [text]
    parts: list[str] = []
    current: list[str] = []
    depth, quoted, at = 0, False, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            at += 1
            current.append(text[at - as_written : at + 1])
        elif char == separator and not depth and not quoted:
            parts.append("".join(current))
            current = []
        else:
            if char == '"':
                quoted = not quoted
            elif char in _OPENERS:
                depth += 1
            elif char in _CLOSERS and depth:
                depth -= 1
            if as_written or char != '"':
                current.append(char)
        at += 1
    parts.append("".join(current))
    return parts


def split_raw(text: str, separator: str = ",", limit: int = 0) -> list[str]:
    """The arguments in text before substitution, as written; at most `limit` cuts if given. Never raises."""
    parts: list[str] = []
    start, depth, quoted, at = 0, 0, False, 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "$" and text[at + 1 : at + 2] in ("{", "["):
            at = end_of_substitution(text, at) - 1
        elif char == '"':
            quoted = not quoted
        elif char in _OPENERS:
            depth += 1
        elif char in _CLOSERS:
            depth = max(0, depth - 1)
        elif char == separator and not depth and not quoted and (not limit or len(parts) < limit):
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return parts


def end_of_substitution(text: str, start: int) -> int:
    """Where the `${...}` or `$[...]` that begins at `start` ends (just after it); the text's length if it does not."""
    opener = text[start + 1]
    closer = "}" if opener == "{" else "]"
    depth = 0
    for at in range(start + 1, len(text)):
        if text[at] == opener:
            depth += 1
        elif text[at] == closer:
            depth -= 1
            if not depth:
                return at + 1
    return len(text)


def is_literal(text: str) -> bool:
    """True if substitution leaves `text` as it is."""
    return "${" not in text and "$[" not in text


def call_parts(text: str) -> tuple[str, str] | None:
    """`Name(arguments)` or a bare `Name` as (name, arguments); None when the closing parenthesis is missing.

    What follows the last parenthesis is dropped, as Asterisk drops it.
    """
    name, parenthesis, rest = text.partition("(")
    if not parenthesis:
        return name.strip(), ""
    end = rest.rfind(")")
    return None if end < 0 else (name.strip(), rest[:end])


def is_true(text: str) -> bool:
    """Asterisk's truth: empty is false; what begins with a digit is true unless that number is 0; the rest is true."""
    if text[:1] in tuple("0123456789"):
        digits = text[: len(text) - len(text.lstrip("0123456789"))]
        return digits.strip("0") != ""
    return text != ""


def branches(text: str) -> tuple[str, str, str]:
    """`condition?yes:no` cut at the first `?` and the first `:` after it; missing parts are empty."""
    condition, _, rest = text.partition("?")
    yes, _, no = rest.partition(":")
    return condition.strip(), yes.strip(), no.strip()


def options_of(text: str) -> list[tuple[str, str]]:
    """An option string, `rm(jazz)`, as (letter, argument) pairs; the argument is empty without parentheses."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        argument = ""
        if text[at : at + 1] == "(":
            end = _closing(text, at)
            argument = text[at + 1 : end]
            at = end + 1
        if letter not in " \t":
            found.append((letter, argument))
    return found


def _closing(text: str, start: int) -> int:
    """The position of the parenthesis that closes the one at `start`, or the text's length."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return at
    return len(text)
