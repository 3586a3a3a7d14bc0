"""The dialplan's functions: `${NAME(arguments)}` and, where they can be written, `Set(NAME(arguments)=value)`.

A function reads from the Run it is given and may set things on it; it never raises, except for NeedValues when a
shared value has to be fetched first. What it cannot make sense of gives the empty string and a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from services.dialplan import clock, numbers
from services.dialplan.api import CallerSet, ChannelSet, DeleteValue, Frame
from services.dialplan.arguments import is_true, split
from services.dialplan.regex import RegexError, compile_regex
from services.dialplan.run import Function, Run

_CALLERID_NAMES: Final = {"number": "num", "ani-num": "ani", "dnid-num": "dnid"}
_CALLERID: Final = frozenset({"num", "number", "name", "all", "dnid", "rdnis", "ani", "ani-num", "dnid-num"})
_CHANNEL_WRITABLE: Final = frozenset({"language", "musicclass", "accountcode", "userfield"})


# --- the call ----------------------------------------------------------------------------------------------------


def _read_callerid(run: Run, arguments: str) -> str:
    item = arguments.split(",", maxsplit=1)[0].strip().lower()
    item = _CALLERID_NAMES.get(item, item)
    if item == "num":
        return run.caller_number
    if item == "name":
        return run.caller_name
    if item == "all":
        return f'"{run.caller_name}" <{run.caller_number}>'
    if item in ("dnid", "rdnis", "ani"):
        given = {"dnid": run.env.call.dnid, "rdnis": run.env.call.rdnis, "ani": run.env.call.caller_number}[item]
        return run.facts.get(f"callerid.{item}", given)
    run.warn(f"CALLERID has no {item!r}")
    return ""


def _write_callerid(run: Run, arguments: str, value: str) -> None:
    item = arguments.split(",", maxsplit=1)[0].strip().lower()
    item = _CALLERID_NAMES.get(item, item)
    if item == "all":
        name, number = split_caller(value)
        _write_callerid(run, "name", name)
        _write_callerid(run, "num", number)
    elif item in ("num", "name", "dnid", "rdnis", "ani"):
        run.facts[f"callerid.{item}"] = value
        run.effects.append(CallerSet(item, value))
    else:
        run.warn(f"CALLERID({item}) cannot be set")


def split_caller(text: str) -> tuple[str, str]:
    """`"Name" <number>` as (name, number); a text without brackets is a number if it is made of digits, else a name."""
    name, bracket, rest = text.partition("<")
    if bracket:
        return name.strip().strip('"').strip(), rest.partition(">")[0].strip()
    text = text.strip().strip('"').strip()
    return ("", text) if text.strip("0123456789+*#") == "" else (text, "")


_CHANNEL_ITEMS: Final[dict[str, Callable[[Run], str]]] = {
    "name": lambda run: run.env.call.channel,
    "uniqueid": lambda run: run.env.call.uniqueid,
    "linkedid": lambda run: run.env.call.linkedid,
    "channeltype": lambda run: run.env.call.technology,
    "peername": lambda run: run.env.call.phone,
    "endpoint": lambda run: run.env.call.phone,
    "peerip": lambda run: run.env.call.source_ip,
    "recvip": lambda run: run.env.call.source_ip,
    "recvport": lambda run: str(run.env.call.source_port or ""),
    "local_ip": lambda run: run.env.call.local_ip,
    "transport": lambda run: run.env.call.transport,
    "family": lambda run: run.env.call.family,
    "from": lambda run: run.env.call.from_uri,
    "uri": lambda run: run.env.call.request_uri,
    "useragent": lambda run: run.env.call.user_agent,
    "call-id": lambda run: run.env.call.sip_call_id,
    "audionativeformat": lambda run: run.env.call.codec,
    "audioreadformat": lambda run: run.env.call.codec,
    "audiowriteformat": lambda run: run.env.call.codec,
    "state": lambda run: "Up" if run.answered else "Ring",
    "context": lambda run: run.context,
    "exten": lambda run: run.exten,
    "language": lambda run: run.facts.get("channel.language", run.env.call.language),
    "musicclass": lambda run: run.facts.get("channel.musicclass", run.env.call.music_class),
    "accountcode": lambda run: run.facts.get("channel.accountcode", run.env.call.account_code),
    "userfield": lambda run: run.facts.get("channel.userfield", ""),
}


def _read_channel(run: Run, arguments: str) -> str:
    first, *rest = [part.strip() for part in arguments.split(",")] or [""]
    item = rest[0] if first == "pjsip" and rest else first
    read = _CHANNEL_ITEMS.get(item)
    if read is None:
        run.warn(f"CHANNEL has no {arguments!r}")
        return ""
    return read(run)


def _write_channel(run: Run, arguments: str, value: str) -> None:
    item = arguments.strip()
    if item not in _CHANNEL_WRITABLE:
        run.warn(f"CHANNEL({item}) cannot be set")
        return
    run.facts[f"channel.{item}"] = value
    run.effects.append(ChannelSet(item, value))


def _read_timeout(run: Run, arguments: str) -> str:
    which = arguments.strip().lower()
    if which == "digit":
        return f"{run.digit_timeout_s:.3f}"
    if which == "response":
        return f"{run.response_timeout_s:.3f}"
    run.warn(f"TIMEOUT has no {which!r}")
    return ""


def _write_timeout(run: Run, arguments: str, value: str) -> None:
    which = arguments.strip().lower()
    seconds = numbers.seconds(value)
    if seconds is None or which not in ("digit", "response"):
        run.warn(f"TIMEOUT({which}) cannot be set to {value!r}")
    elif which == "digit":
        run.digit_timeout_s = seconds
    else:
        run.response_timeout_s = seconds


# --- text ----------------------------------------------------------------------------------------------------------


def _len(run: Run, arguments: str) -> str:
    return str(len(arguments))


def _if(run: Run, arguments: str) -> str:
    condition, _, rest = arguments.partition("?")
    yes, no = _two_branches(rest)
    chosen = yes if is_true(condition.strip()) else no
    return chosen[1:-1] if len(chosen) > 1 and chosen[0] == chosen[-1] == '"' else chosen


def _two_branches(text: str) -> tuple[str, str]:
    """Cut at the first `:` outside quotes."""
    quoted = False
    for at, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif char == ":" and not quoted:
            return text[:at], text[at + 1 :]
    return text, ""


def _isnull(run: Run, arguments: str) -> str:
    return "0" if arguments else "1"


def _exists(run: Run, arguments: str) -> str:
    return "1" if arguments else "0"


def _regex(run: Run, arguments: str) -> str:
    """`"pattern" text`: 1 if the pattern is found anywhere in the text."""
    opened = arguments.find('"')
    closed = arguments.find('" ', opened + 1)
    if opened < 0 or closed < 0:
        if opened >= 0 and arguments.endswith('"') and len(arguments) > opened + 1:
            closed = len(arguments) - 1
        else:
            run.warn('REGEX takes "pattern" text')
            return "0"
    pattern, text = arguments[opened + 1 : closed], arguments[closed + 2 :]
    try:
        return "1" if compile_regex(pattern).search(text) else "0"
    except RegexError as error:
        run.warn(f"the regular expression {pattern[:60]!r} is wrong: {error}")
        return "0"


def _filter(run: Run, arguments: str) -> str:
    """`allowed,text`: the text without what is not allowed; ranges such as `0-9`, escapes such as `\\x2c` and `\\-`."""
    allowed, comma, text = _filter_arguments(arguments)
    if not comma:
        run.warn("FILTER takes allowed characters and a text")
        return ""
    return "".join(char for char in text if char in allowed)


def _filter_arguments(arguments: str) -> tuple[set[str], bool, str]:
    members: list[tuple[str, bool]] = []
    at = 0
    while at < len(arguments) and arguments[at] != ",":
        char, escaped = arguments[at], False
        if char == "\\" and at + 1 < len(arguments):
            escaped = True
            code = arguments[at + 2 : at + 4]
            if arguments[at + 1] == "x" and len(code) == 2 and all(c in "0123456789abcdefABCDEF" for c in code):
                char, at = chr(int(code, 16)), at + 3
            else:
                at += 1
                char = {"n": "\n", "r": "\r", "t": "\t"}.get(arguments[at], arguments[at])
        members.append((char, escaped))
        at += 1
    allowed: set[str] = set()
    for i, (char, escaped) in enumerate(members):
        if char == "-" and not escaped and 0 < i < len(members) - 1:
            low, high = ord(members[i - 1][0]), ord(members[i + 1][0])
            allowed.update(map(chr, range(low, min(high, low + 0xFF) + 1)))
        else:
            allowed.add(char)
    return allowed, at < len(arguments), arguments[at + 1 :]


def _strftime(run: Run, arguments: str) -> str:
    """`epoch,zone,format`, each optional."""
    epoch, zone_name, pattern = ([*split(arguments), "", "", ""])[:3]
    when = numbers.decimal(epoch.strip())
    zone_name = zone_name.strip()
    if zone_name and clock.zone(zone_name) is None:
        run.warn(f"there is no time zone {zone_name[:40]!r}")
        zone_name = ""
    now = clock.local_time(float(when) if when is not None else run.env.now_s, zone_name or run.env.timezone)
    return clock.formatted(now, pattern or "%c")


# --- numbers -------------------------------------------------------------------------------------------------------

_MATH_OPERATORS: Final = ("<<", ">>", "<=", ">=", "==", "AND", "XOR", "OR", "+", "-", "*", "/", "%", "^", "<", ">")


def _math(run: Run, arguments: str) -> str:
    """`a op b,type`: the result as float (six decimals), `int`, `hex` or `char`; comparisons give TRUE or FALSE."""
    parts = split(arguments)
    text, kind = (parts[0] if parts else "").strip(), (parts[1].strip().lower() if len(parts) > 1 else "float")
    cut = _math_operator(text)
    left = numbers.decimal(cut[0]) if cut else None
    right = numbers.decimal(cut[2]) if cut else None
    if cut is None or left is None or right is None:
        run.warn(f"MATH cannot read {text[:60]!r}")
        return ""
    operator = cut[1]
    if operator in _MATH_COMPARISONS:
        return "TRUE" if _MATH_COMPARISONS[operator](left, right) else "FALSE"
    result = _math_result(run, left, operator, right)
    return "" if result is None else _math_text(run, result, kind[:1])


def _math_operator(text: str) -> tuple[str, str, str] | None:
    """The text cut at its operator, which is not the sign of the first number."""
    for at in range(1, len(text)):
        for operator in _MATH_OPERATORS:
            if text.startswith(operator, at):
                return text[:at].strip(), operator, text[at + len(operator) :].strip()
    return None


_MATH_COMPARISONS: Final[dict[str, Callable[[Decimal, Decimal], bool]]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
}


def _math_result(run: Run, left: Decimal, operator: str, right: Decimal) -> Decimal | None:
    simple = {
        "+": numbers.CALCULATION.add,
        "-": numbers.CALCULATION.subtract,
        "*": numbers.CALCULATION.multiply,
        "^": numbers.CALCULATION.power,
    }.get(operator)
    if simple is not None:
        return simple(left, right)
    if operator in ("/", "%"):
        if right.is_zero():
            run.warn("division by zero")
            return None
        return (numbers.CALCULATION.divide if operator == "/" else numbers.CALCULATION.remainder)(left, right)
    a, b = _bits(left), _bits(right)
    if operator == "<<":
        return Decimal((a << min(max(b, 0), 64)) & 0xFFFFFFFFFFFFFFFF)
    if operator == ">>":
        return Decimal(a >> min(max(b, 0), 64))
    return Decimal(a & b if operator == "AND" else a | b if operator == "OR" else a ^ b)


def _bits(number: Decimal) -> int:
    """The number as a C integer of 64 bits."""
    return int(number) if number.is_finite() and abs(number) < 2**63 else 0


def _math_text(run: Run, result: Decimal, kind: str) -> str:
    if not result.is_finite() or result.adjusted() > 60:
        return numbers.printed(result)
    if kind == "f":
        return f"{result:.6f}"
    if kind == "i":
        return str(int(result))
    if kind == "h":
        return f"{_bits(result) & 0xFFFFFFFFFFFFFFFF:x}"
    if kind == "c":
        return chr(_bits(result) & 0x7F)
    run.warn("MATH's type is float, int, hex or char")
    return ""


# --- shared values and routines ------------------------------------------------------------------------------------


def _read_global(run: Run, arguments: str) -> str:
    return run.global_variable(arguments.strip(), always_shared=True)


def _write_global(run: Run, arguments: str, value: str) -> None:
    name = arguments.strip()
    if name:
        run.put_value("global", name, value)


def _db_key(run: Run, arguments: str) -> str:
    family, slash, key = arguments.strip().partition("/")
    if not (family and slash and key):
        run.warn(f"DB takes family/key, not {arguments[:60]!r}")
        return ""
    return f"{family}/{key}"


def _read_db(run: Run, arguments: str) -> str:
    key = _db_key(run, arguments)
    return (run.shared("db", key) or "") if key else ""


def _write_db(run: Run, arguments: str, value: str) -> None:
    key = _db_key(run, arguments)
    if key:
        run.put_value("db", key, value)


def _db_exists(run: Run, arguments: str) -> str:
    key = _db_key(run, arguments)
    return "1" if key and run.shared("db", key) is not None else "0"


def _db_delete(run: Run, arguments: str) -> str:
    key = _db_key(run, arguments)
    value = run.shared("db", key) if key else None
    if value is not None:
        run.put(DeleteValue("db", key), "db", key, None)
    return value or ""


def _read_local(run: Run, arguments: str) -> str:
    return run.variables.get(arguments.strip(), "")


def _write_local(run: Run, arguments: str, value: str) -> None:
    """Set a variable that Return takes away again."""
    name = arguments.strip()
    if not run.frames:
        run.warn(f"LOCAL({name}) is set outside of a Gosub routine")
    elif all(hidden != name for hidden, _ in run.frames[-1].hidden):
        frame = run.frames[-1]
        hidden = (*frame.hidden, (name, run.variables.get(name)))
        run.frames[-1] = Frame(context=frame.context, exten=frame.exten, priority=frame.priority, hidden=hidden)
    run.set_variable(name, value)


FUNCTIONS: Final[dict[str, Function]] = {
    "CALLERID": Function(_read_callerid, _write_callerid, first=_CALLERID),
    "CHANNEL": Function(_read_channel, _write_channel, first=frozenset({*_CHANNEL_ITEMS, "pjsip"})),
    "DB": Function(_read_db, _write_db),
    "DB_DELETE": Function(_db_delete),
    "DB_EXISTS": Function(_db_exists),
    "EXISTS": Function(_exists),
    "FILTER": Function(_filter),
    "GLOBAL": Function(_read_global, _write_global),
    "IF": Function(_if),
    "ISNULL": Function(_isnull),
    "LEN": Function(_len),
    "LOCAL": Function(_read_local, _write_local),
    "MATH": Function(_math),
    "REGEX": Function(_regex),
    "STRFTIME": Function(_strftime),
    "TIMEOUT": Function(_read_timeout, _write_timeout, first=frozenset({"digit", "response"})),
}
