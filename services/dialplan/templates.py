"""Text with `${...}` and `$[...]`: compiled once when the dialplan is loaded, filled in each time it is used.

    ${NAME}                 a variable                    ${NAME:offset:length}   a part of it
    ${FUNCTION(args)}       a function's value            ${FUNCTION(args):2:3}   a part of that
    ${${A}B}                what is inside comes first    $[ ... ]                an expression (expressions.py)

A value that is filled in is never looked at again: `${` in a caller's name stays text. A `)` or `:` that comes from a
value cannot end a function's arguments either, as long as name, parentheses and offset stand in the dialplan itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.dialplan import expressions
from services.dialplan.arguments import end_of_substitution

MAX_TEXT = 8192
"""A filled-in text longer than this is cut, so that doubling a variable in a loop ends."""

MAX_DEPTH = 40


class TemplateError(ValueError):
    """A text that cannot be compiled; `str()` says why, `remedy` what to write."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class Scope(expressions.Caller, Protocol):
    """Where the values come from."""

    def variable(self, name: str) -> str:
        """The value of a variable, empty if it has none."""


@dataclass(frozen=True, slots=True)
class Part:
    """`:offset:length` of a substitution; negative counts from the end."""

    offset: int
    length: int | None = None

    def of(self, value: str) -> str:
        """The part of `value`; an offset beyond its end gives nothing."""
        start = self.offset if self.offset >= 0 else max(0, len(value) + self.offset)
        rest = value[start:]
        return rest if self.length is None else rest[: self.length]


@dataclass(frozen=True, slots=True)
class Variable:
    """`${NAME}`."""

    name: str
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """`${NAME(arguments)}`."""

    name: str
    arguments: Template
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Computed:
    """`${...}` whose inside is itself put together while the call runs, `${ARG${i}}`."""

    inside: Template


@dataclass(frozen=True, slots=True)
class Expression:
    """`$[...]`."""

    inside: Template


Node = str | Variable | Call | Computed | Expression


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text: its pieces in order."""

    nodes: tuple[Node, ...]

    @property
    def literal(self) -> str | None:
        """The text, if there is nothing to fill in."""
        if not self.nodes:
            return ""
        first = self.nodes[0]
        return first if len(self.nodes) == 1 and isinstance(first, str) else None

    def fill(self, scope: Scope) -> str:
        """The text with everything filled in. Raises only what `scope` raises."""
        nodes = self.nodes
        if len(nodes) == 1:
            text = _value(nodes[0], scope)
        else:
            text = "".join([node if isinstance(node, str) else _value(node, scope) for node in nodes])
        if len(text) > MAX_TEXT:
            scope.warn(f"a text of {len(text)} characters is cut to {MAX_TEXT}")
            return text[:MAX_TEXT]
        return text


def _value(node: Node, scope: Scope) -> str:
    if isinstance(node, str):
        return node
    if isinstance(node, Variable):
        value = scope.variable(node.name)
        return node.part.of(value) if node.part else value
    if isinstance(node, Call):
        value = _call(node.name, node.arguments.fill(scope), scope)
        return node.part.of(value) if node.part else value
    if isinstance(node, Expression):
        return expressions.evaluate(node.inside.fill(scope), scope)
    return _reference(node.inside.fill(scope), scope)


def _call(name: str, arguments: str, scope: Scope) -> str:
    value = scope.call(name, arguments)
    if value is None:
        scope.warn(f"there is no function {expressions.shorten(name, 20)}")
        return ""
    return value


def _reference(text: str, scope: Scope) -> str:
    """The value of what stands in `${...}` when it is known only now."""
    name, arguments, part = split_reference(text)
    value = scope.variable(name) if arguments is None else _call(name, arguments, scope)
    return part.of(value) if part else value


def split_reference(text: str) -> tuple[str, str | None, Part | None]:
    """`NAME(args):offset:length` as (name, args or None, part or None)."""
    depth = 0
    end = len(text)
    for at, char in enumerate(text):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == ":" and depth <= 0:
            end = at
            break
    name, parenthesis, rest = text[:end].partition("(")
    arguments = rest[: rest.rfind(")")] if parenthesis and ")" in rest else rest
    return name.strip(), arguments if parenthesis else None, read_part(text[end + 1 :]) if end < len(text) else None


def read_part(text: str) -> Part:
    """`offset:length` as Asterisk's scanf reads it: what is no number is 0, or no length."""
    offset, colon, length = text.partition(":")
    return Part(_signed(offset) or 0, _signed(length) if colon else None)


def _signed(text: str) -> int | None:
    text = text.strip()
    sign = -1 if text[:1] == "-" else 1
    digits = text.lstrip("+-") if text[:1] in ("-", "+") else text
    length = len(digits) - len(digits.lstrip("0123456789"))
    return sign * int(digits[: min(length, 9)]) if length else None


def compile_template(text: str) -> Template:
    """Compile a text; TemplateError if a `${` or `$[` has no end or is empty."""
    return _compile(text, 0)


def _compile(text: str, depth: int) -> Template:
    if "$" not in text:
        return Template((text,)) if text else Template(())
    if depth > MAX_DEPTH:
        raise TemplateError(f"substitutions are more than {MAX_DEPTH} deep")
    nodes: list[Node] = []
    plain_from = at = 0
    while (at := text.find("$", at)) >= 0:
        opener = text[at + 1 : at + 2]
        if opener not in ("{", "["):
            at += 1
            continue
        end = end_of_substitution(text, at)
        if text[at + 1 : end].count(opener) != text[at + 1 : end].count("}" if opener == "{" else "]"):
            closer = "}" if opener == "{" else "]"
            raise TemplateError(
                f"${opener} without its {closer} in {expressions.shorten(text[at:], 40)}", f"add {closer}"
            )
        if at > plain_from:
            nodes.append(text[plain_from:at])
        inside = text[at + 2 : end - 1]
        nodes.append(Expression(_compile(inside, depth + 1)) if opener == "[" else _substitution(inside, depth))
        plain_from = at = end
    if plain_from < len(text):
        nodes.append(text[plain_from:])
    return Template(tuple(nodes))


def _substitution(inside: str, depth: int) -> Node:
    if not inside.strip():
        raise TemplateError("${} names nothing", "write a variable or function between the braces")
    if "${" not in inside and "$[" not in inside:
        name, arguments, part = split_reference(inside)
        if arguments is None:
            return Variable(name, part)
        if not inside.rpartition(")")[1]:
            raise TemplateError(f"${{{inside}}} has a ( without a )", "close the function's arguments")
        return Call(name, Template((arguments,) if arguments else ()), part)
    name, parenthesis, rest = inside.partition("(")
    arguments, closed, tail = rest.rpartition(")")
    fixed = parenthesis and closed and "$" not in name and "$" not in tail
    if fixed and (not tail.strip() or tail.startswith(":")):
        return Call(name.strip(), _compile(arguments, depth + 1), read_part(tail[1:]) if tail.startswith(":") else None)
    return Computed(_compile(inside, depth + 1))


def calls_of(template: Template) -> list[Call]:
    """Every function call written out in a template, at any depth."""
    found: list[Call] = []
    for node in template.nodes:
        if isinstance(node, Call):
            found.append(node)
            found.extend(calls_of(node.arguments))
        elif isinstance(node, Computed | Expression):
            found.extend(calls_of(node.inside))
    return found


def expressions_of(template: Template) -> list[Template]:
    """The inside of every `$[...]` in a template, at any depth."""
    found: list[Template] = []
    for node in template.nodes:
        if isinstance(node, Expression):
            found.append(node.inside)
            found.extend(expressions_of(node.inside))
        elif isinstance(node, Call):
            found.extend(expressions_of(node.arguments))
        elif isinstance(node, Computed):
            found.extend(expressions_of(node.inside))
    return found
