"""`$[ ]`: the expression language, evaluated after substitution.

Operators, from weakest to strongest; all but `-` and `!` group to the left:

    a ? b :: c      b if a is neither 0 nor empty, else c
    |  ||           a if it is neither 0 nor empty, else b
    &  &&           a if neither is 0 or empty, else 0
    = == != < > <= >=   1 or 0; as numbers if both are, else as strings, by code point
    + -             what is no number counts as nothing
    * / %           division by zero gives 2147483647, the remainder of it 0, with a warning
    ! -             not, minus
    : =~ ~~         match at the start, match anywhere, join; quotes are taken off first

A match gives what the first group matched, or without groups the number of characters; no match gives the empty
string, or without groups 0. `NAME(a,b)` calls a numeric function of the table below or a dialplan function.

Quotes keep a string together and stay part of it: `"a" = a` is 0. Characters that begin no token are dropped. A
syntax error makes the whole expression `0` and is reported as a warning. Nothing here raises.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Protocol

from services.dialplan import numbers
from services.dialplan.regex import RegexError, compile_regex

MAX_LENGTH = 8192
MAX_DEPTH = 64

_INT_MAX = Decimal(2147483647)
_ZERO = Decimal(0)
_ONE = Decimal(1)

_TOKENS = re.compile(
    r"(?P<operator>\|\|?|&&?|==|=~|=|~~|>=|<=|!=|::|[><+,\-*/%?!:()])"
    r'|(?P<quoted>"[^"]*")'
    r"|(?P<word>(?:[a-zA-Z0-9.';\\_^#@]|[^\x00-\x7f]|\$[^{])+)"
)
"""Alternatives of single characters and disjoint beginnings: matching is linear."""

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")

_BINDING = {
    "?": 1,
    "|": 2,
    "||": 2,
    "&": 3,
    "&&": 3,
    "=": 4,
    "==": 4,
    "!=": 4,
    "<": 4,
    ">": 4,
    "<=": 4,
    ">=": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
    "%": 6,
    ":": 8,
    "=~": 8,
    "~~": 8,
}
_UNARY = 7


class Caller(Protocol):
    """What an expression needs from outside."""

    def call(self, name: str, arguments: str) -> str | None:
        """The value of a dialplan function; None if there is none of that name."""

    def warn(self, text: str) -> None:
        """Tell the operator."""


@dataclass(frozen=True, slots=True)
class Value:
    """A string, a number, or a string that looks like a number and is kept as written."""

    text: str | None
    number: Decimal | None = None

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        return numbers.printed(self.number if self.number is not None else _ZERO)

    @property
    def unquoted(self) -> str:
        """The text without quotes, if it begins and ends with one."""
        text = str(self)
        return text.replace('"', "") if text[:1] == '"' and text[-1:] == '"' else text

    @property
    def is_void(self) -> bool:
        """Zero or empty; `""` with its quotes is neither."""
        return self.number.is_zero() if self.number is not None else self.text == ""


class SyntaxProblem(ValueError):
    """An expression that cannot be read; `str()` says why."""


def evaluate(text: str, caller: Caller) -> str:
    """The value of an expression. Never raises; what is wrong with it is told to `caller.warn`."""
    try:
        parser = _Parser(tokenize(text), caller)
        return str(parser.run())
    except SyntaxProblem as problem:
        caller.warn(f"the expression $[{shorten(text)}] is wrong: {problem}")
        return "0"


def check(text: str) -> str:
    """What is wrong with a literal expression, or the empty string. Function calls are not looked into."""
    try:
        _Parser(tokenize(text), _Nobody()).run()
    except SyntaxProblem as problem:
        return str(problem)
    return ""


def shorten(text: str, limit: int = 60) -> str:
    """The text, cut for a log line."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


class _Nobody:
    def call(self, name: str, arguments: str) -> str | None:
        return "0"

    def warn(self, text: str) -> None:
        pass


@functools.lru_cache(maxsize=512)
def tokenize(text: str) -> tuple[str | Value, ...]:
    """Operators as strings, everything else as Values."""
    if len(text) > MAX_LENGTH:
        raise SyntaxProblem(f"it is longer than {MAX_LENGTH} characters")
    tokens: list[str | Value] = []
    for found in _TOKENS.finditer(text):
        token = found[0]
        if found.lastgroup == "operator":
            tokens.append(token)
        elif _NUMBER.fullmatch(token):
            tokens.append(Value(token, numbers.decimal(token)))
        else:
            tokens.append(Value(token))
    return tuple(tokens)


class _Parser:
    """Precedence climbing that evaluates as it goes (all branches are always evaluated, as in Asterisk)."""

    def __init__(self, tokens: tuple[str | Value, ...], caller: Caller) -> None:
        self._tokens = tokens
        self._caller = caller
        self._at = 0
        self._depth = 0

    def run(self) -> Value:
        if not self._tokens:
            return Value("")
        value = self._expression(0)
        if self._at < len(self._tokens):
            raise SyntaxProblem(f"{_shown(self._tokens[self._at])} is not expected here")
        return value

    def _peek(self) -> str | Value | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _expression(self, weakest: int) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SyntaxProblem(f"it is more than {MAX_DEPTH} levels deep")
        left = self._operand()
        while isinstance(operator := self._peek(), str):
            binding = _BINDING.get(operator, 0)
            if not binding or binding <= weakest:
                break
            self._at += 1
            left = self._conditional(left) if operator == "?" else self._binary(operator, left, binding)
        self._depth -= 1
        return left

    def _binary(self, operator: str, left: Value, binding: int) -> Value:
        right = self._expression(binding)
        return _OPERATIONS[operator](left, right, self._caller)

    def _conditional(self, condition: Value) -> Value:
        yes = self._expression(0)
        if self._peek() != "::":
            raise SyntaxProblem("a ? without its ::")
        self._at += 1
        no = self._expression(1)
        if condition.number is not None:
            return yes if condition.number else no
        return no if condition.text in ("", '""', "0") else yes

    def _operand(self) -> Value:
        token = self._peek()
        self._at += 1
        if isinstance(token, Value):
            return self._call(token) if self._peek() == "(" else token
        if token == "(":
            value = self._expression(0)
            if self._peek() != ")":
                raise SyntaxProblem("a ( without a )")
            self._at += 1
            return value
        if token == "-":
            return _negated(self._expression(_UNARY - 1), self._caller)
        if token == "!":
            return _complement(self._expression(_UNARY - 1))
        raise SyntaxProblem(f"{_shown(token)} stands where a value is expected" if token else "it ends too early")

    def _call(self, name: Value) -> Value:
        self._at += 1
        arguments = [self._expression(0)]
        while self._peek() == ",":
            self._at += 1
            following = self._peek()
            arguments.append(Value("") if following in (",", ")") else self._expression(0))
        if self._peek() != ")":
            raise SyntaxProblem(f"the call of {name} has no )")
        self._at += 1
        return _called(str(name), arguments, self._caller)


def _shown(token: str | Value) -> str:
    return repr(shorten(str(token), 20))


# --- operators -------------------------------------------------------------------------------------------------


def _truth(answer: bool) -> Value:
    return Value(None, _ONE if answer else _ZERO)


def _compared(holds: Callable[[int], bool]) -> Callable[[Value, Value, Caller], Value]:
    def operation(left: Value, right: Value, caller: Caller) -> Value:
        if left.number is not None and right.number is not None:
            difference = numbers.CALCULATION.compare(left.number, right.number)
            return _truth(holds(int(difference)) if difference.is_finite() else False)
        a, b = str(left), str(right)
        return _truth(holds((a > b) - (a < b)))

    return operation


def _or(left: Value, right: Value, caller: Caller) -> Value:
    return right if left.is_void else left


def _and(left: Value, right: Value, caller: Caller) -> Value:
    return Value(None, _ZERO) if left.is_void or right.is_void else left


def _no_number(caller: Caller, *values: Value) -> None:
    for value in values:
        if value.number is None:
            caller.warn(f"{shorten(str(value), 20)!r} is not a number")


def _sum(left: Value, right: Value, caller: Caller) -> Value:
    _no_number(caller, left, right)
    return Value(None, numbers.CALCULATION.add(left.number or _ZERO, right.number or _ZERO))


def _difference(left: Value, right: Value, caller: Caller) -> Value:
    _no_number(caller, left, right)
    return Value(None, numbers.CALCULATION.subtract(left.number or _ZERO, right.number or _ZERO))


def _product(left: Value, right: Value, caller: Caller) -> Value:
    _no_number(caller, left, right)
    if left.number is None or right.number is None:
        return Value(None, _ZERO)
    return Value(None, numbers.CALCULATION.multiply(left.number, right.number))


def _quotient(left: Value, right: Value, caller: Caller) -> Value:
    _no_number(caller, left, right)
    if left.number is None:
        return Value(None, _ZERO)
    if right.number is None or right.number.is_zero():
        caller.warn("division by zero")
        return Value(None, _INT_MAX)
    return Value(None, numbers.CALCULATION.divide(left.number, right.number))


def _remainder(left: Value, right: Value, caller: Caller) -> Value:
    _no_number(caller, left, right)
    if left.number is None or right.number is None:
        return Value(None, _ZERO)
    if right.number.is_zero():
        caller.warn("division by zero")
        return right
    return Value(None, _truncated_remainder(left.number, right.number))


def _truncated_remainder(left: Decimal, right: Decimal) -> Decimal:
    """C's fmod; the decimal module gives up where the quotient has more digits than its precision."""
    result = numbers.CALCULATION.remainder(left, right)
    if result.is_nan() and left.is_finite() and right.is_finite():
        return Decimal(repr(math.fmod(float(left), float(right))))
    return result


def _negated(value: Value, caller: Caller) -> Value:
    _no_number(caller, value)
    return Value(None, numbers.CALCULATION.minus(value.number or _ZERO))


def _complement(value: Value) -> Value:
    """Not; a string is as true as the integer it begins with, so `!abc` is 1 (Asterisk's code, not its manual)."""
    if value.text is None:
        return _truth(not value.number)
    return _truth(numbers.leading_int(value.text) == 0)


def _joined(left: Value, right: Value, caller: Caller) -> Value:
    return _string((left.unquoted + right.unquoted)[:MAX_LENGTH])


def _string(text: str) -> Value:
    """A computed string: a number if it is made of digits and points only."""
    digits = text.replace(".", "")
    if not numbers.is_digits(digits):
        return Value(text)
    head, _, tail = text.partition(".")
    return Value(text, numbers.decimal(f"{head or '0'}.{tail.partition('.')[0] or '0'}"))


def _matched(anchored: bool) -> Callable[[Value, Value, Caller], Value]:
    def operation(left: Value, right: Value, caller: Caller) -> Value:
        text, pattern = left.unquoted, right.unquoted
        try:
            regex = compile_regex(pattern)
            match = regex.search(text)
        except RegexError as error:
            caller.warn(f"the regular expression {shorten(pattern)!r} is wrong: {error}")
            return Value("")
        if match is None or (anchored and match.start):
            return Value("") if regex.groups else Value(None, _ZERO)
        if match.group is not None:
            return _string(text[slice(*match.group)])
        return Value(None, Decimal(match.end - match.start))

    return operation


_OPERATIONS: dict[str, Callable[[Value, Value, Caller], Value]] = {
    "|": _or,
    "||": _or,
    "&": _and,
    "&&": _and,
    "=": _compared(lambda sign: sign == 0),
    "==": _compared(lambda sign: sign == 0),
    "!=": _compared(lambda sign: sign != 0),
    "<": _compared(lambda sign: sign < 0),
    ">": _compared(lambda sign: sign > 0),
    "<=": _compared(lambda sign: sign <= 0),
    ">=": _compared(lambda sign: sign >= 0),
    "+": _sum,
    "-": _difference,
    "*": _product,
    "/": _quotient,
    "%": _remainder,
    ":": _matched(anchored=True),
    "=~": _matched(anchored=False),
    "~~": _joined,
}


# --- functions -------------------------------------------------------------------------------------------------


def _rounded(rounding: str) -> Callable[[Decimal], Decimal]:
    return lambda x: x.to_integral_value(rounding=rounding) if x.is_finite() else x


def _through_float(function: Callable[..., float]) -> Callable[..., Decimal]:
    def wrapped(*arguments: Decimal) -> Decimal:
        try:
            return numbers.CALCULATION.create_decimal(repr(function(*(float(x) for x in arguments))))
        except OverflowError:
            return Decimal("Infinity")
        except (ValueError, ZeroDivisionError):
            return Decimal("NaN")

    return wrapped


_FUNCTIONS: dict[str, tuple[int, Callable[..., Decimal]]] = {
    "ABS": (1, numbers.CALCULATION.abs),
    "FLOOR": (1, _rounded(ROUND_FLOOR)),
    "CEIL": (1, _rounded(ROUND_CEILING)),
    "ROUND": (1, _rounded(ROUND_HALF_UP)),
    "RINT": (1, _rounded(ROUND_HALF_EVEN)),
    "TRUNC": (1, _rounded(ROUND_DOWN)),
    "REMAINDER": (2, numbers.CALCULATION.remainder_near),
    "COS": (1, _through_float(math.cos)),
    "SIN": (1, _through_float(math.sin)),
    "TAN": (1, _through_float(math.tan)),
    "ACOS": (1, _through_float(math.acos)),
    "ASIN": (1, _through_float(math.asin)),
    "ATAN": (1, _through_float(math.atan)),
    "ATAN2": (2, _through_float(math.atan2)),
    "POW": (2, _through_float(math.pow)),
    "SQRT": (1, numbers.CALCULATION.sqrt),
    "EXP": (1, _through_float(math.exp)),
    "EXP2": (1, _through_float(lambda x: math.pow(2.0, x))),
    "EXP10": (1, _through_float(lambda x: math.pow(10.0, x))),
    "LOG": (1, _through_float(math.log)),
    "LOG2": (1, _through_float(math.log2)),
    "LOG10": (1, _through_float(math.log10)),
}


def _called(name: str, arguments: list[Value], caller: Caller) -> Value:
    known = _FUNCTIONS.get(name)
    if known is None:
        answer = caller.call(name, ",".join(map(str, arguments)))
        if answer is None:
            caller.warn(f"there is no function {shorten(name, 20)}")
            return Value(None, _ZERO)
        return Value(answer, number) if (number := numbers.decimal(answer)) is not None else Value(answer)
    count, function = known
    if len(arguments) != count:
        caller.warn(f"{name} takes {count} argument{'s' if count > 1 else ''}, not {len(arguments)}")
        return Value(None, _ZERO)
    return Value(None, function(*(value.number or _ZERO for value in arguments)))
