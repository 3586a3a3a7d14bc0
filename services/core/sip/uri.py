"""SIP, SIPS and tel URIs, and the name-addr round them (RFC 3261 19.1, 20.10 and 25.1, RFC 5954, RFC 3966).

Escapes are kept as they came: `user`, `password`, parameters and headers hold the raw text, so a URI prints the bytes
that were read (only the scheme and the host take their canonical form). Meaning is asked for by name:
`user_unescaped`, `same_as`, `aor`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from services.core.address import AddressError, HostPort, split_host_port, uri_host
from services.core.sip.errors import SipError
from services.core.sip.lexical import (
    WS,
    Params,
    after_quoted,
    bad,
    drop_param,
    find_param,
    parse_params,
    print_params,
    quote,
    set_param,
    unquote_string,
)

_ALNUM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_UNRESERVED = frozenset(_ALNUM + "-_.!~*'()")
# '#' belongs escaped, but phones send a dialled '#' as it is and nothing else can be meant by it.
_USER_CHARS = _UNRESERVED | frozenset("%&=+$,;?/#")
_PASSWORD_CHARS = _UNRESERVED | frozenset("%&=+$,")
_PARAM_CHARS = _UNRESERVED | frozenset("%[]/:&+$")
_HEADER_CHARS = _UNRESERVED | frozenset("%[]/?:+$")
_TEL_CHARS = frozenset("0123456789abcdefABCDEF-.()*#+")
_SCHEME_CHARS = frozenset(_ALNUM + "+-.")
_HEX = frozenset("0123456789abcdefABCDEF")
_VISUAL_SEPARATORS = str.maketrans("", "", "-.()")

_CACHED_URIS = 2048
_CACHED_URI_LENGTH = 256

# RFC 3261 19.1.4: a URI with one of these never equals a URI without it. The transport is among them by the RFC's
# own list of unequal pairs.
_NEVER_IGNORED = ("transport", "user", "ttl", "method", "maddr")


@dataclass(frozen=True, slots=True)
class SipUri:
    """A `sip:`, `sips:` or `tel:` URI. A `tel:` URI has its number in `user` and an empty `host`."""

    scheme: str = "sip"
    user: str | None = None
    """As it came, escapes and all; `escape_user` makes one from plain text."""
    password: str | None = None
    host: str = ""
    """A lower-case name or a canonical address, no brackets."""
    port: int | None = None
    params: Params = ()
    """Names and values as they came; the value is None where there was no '='."""
    headers: tuple[tuple[str, str], ...] = ()
    """The part after '?'. Never honoured for Route, Via or From (RFC 3261 19.1.5)."""

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Read a URI. Raises SipError 416 for another scheme, 400 for anything malformed."""
        return _parse_cached(text) if len(text) <= _CACHED_URI_LENGTH else _parse(text)

    def __str__(self) -> str:
        text = f"{self.scheme}:"
        if self.user is not None:
            text += self.user
            if self.password is not None:
                text += f":{self.password}"
            if self.host:
                text += "@"
        text += uri_host(self.host)
        if self.port is not None:
            text += f":{self.port}"
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        if self.headers:
            text += "?" + "&".join([f"{name}={value}" for name, value in self.headers])
        return text

    @property
    def hostport(self) -> HostPort:
        return HostPort(self.host, self.port)

    def param(self, name: str) -> str | None:
        """The raw value of a parameter, "" when it has none, None when it is not there. Case of `name` is ignored.

        A name that came escaped counts (`;%6C%72` is `lr`, RFC 4475 3.1.1.3).
        """
        value = find_param(self.params, name)
        if value is None and any("%" in key for key, _ in self.params):
            value = find_param(tuple([(unescape(key), value) for key, value in self.params]), name)
        return value

    def has_param(self, name: str) -> bool:
        return self.param(name) is not None

    @property
    def user_unescaped(self) -> str:
        """The user with its escapes resolved once; octets that are no UTF-8 come as surrogates. "" without user."""
        return unescape(self.user) if self.user else ""

    def same_as(self, other: SipUri) -> bool:
        """Equality of RFC 3261 19.1.4, addresses by value (RFC 5954 4.2).

        Not transitive: `;x=on` equals none, none equals `;x=off`, yet the two differ. Never use it through a key;
        look up by user, host and port, then compare.
        """
        if self.scheme == "tel" or other.scheme == "tel":
            return self.scheme == other.scheme and _same_tel(self, other)
        return (
            self.host.rstrip(".") == other.host.rstrip(".")
            and self.port == other.port
            and self.scheme == other.scheme
            and _same_escaped(self.user, other.user)
            and _same_escaped(self.password, other.password)
            and _same_params(self.params, other.params)
            and _same_headers(self.headers, other.headers)
        )

    def aor(self) -> str:
        """Canonical address of record, `user@host`: escapes normalised, password, port, parameters and headers off.

        Unreserved characters stand for themselves and every other escape stays one (RFC 3261 10.3 step 5 with 19.1.4),
        so different users never fall together and the text holds no control characters. An IPv6 host wears brackets.
        Without user: the host alone. For `tel:` the number without visual separators.
        """
        if self.scheme == "tel":
            return (self.user or "").translate(_VISUAL_SEPARATORS).lower()
        host = uri_host(self.host.rstrip("."))
        return host if self.user is None else f"{normalise_escapes(self.user)}@{host}"

    def with_(self, **changes: Any) -> SipUri:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def with_param(self, name: str, value: str | None = None) -> SipUri:
        """A copy with one parameter set, replaced in its place when it was there."""
        return replace(self, params=set_param(self.params, name, value))

    def without_param(self, name: str) -> SipUri:
        """A copy without a parameter."""
        return replace(self, params=drop_param(self.params, name))


# --- escapes ---------------------------------------------------------------------------------------------------------


def unescape(text: str) -> str:
    """Resolve `%hh` once, as UTF-8; other octets become surrogates, as everywhere in the message text."""
    return unquote(text, errors="surrogateescape") if "%" in text else text


def escape_user(text: str) -> str:
    """Plain text as a URI's user part."""
    if _UNRESERVED.issuperset(text):
        return text
    keep = _USER_CHARS - {"%", "#"}
    return "".join([char if char in keep else _escape_char(char) for char in text])


def _escape_char(char: str) -> str:
    return "".join([f"%{octet:02X}" for octet in char.encode("utf-8", "surrogateescape")])


def normalise_escapes(text: str) -> str:
    """Two texts equal by RFC 3261 19.1.4 become equal strings: `%61` is `a`, `%3b` is `%3B` and is not `;`."""
    if "%" not in text and "#" not in text:
        return text
    first, *rest = text.replace("#", "%23").split("%")
    pieces = [first]
    for piece in rest:
        if len(piece) < 2 or piece[0] not in _HEX or piece[1] not in _HEX:
            pieces.append(f"%25{piece}")  # not an escape: only in a URI that was not read but made
            continue
        char = chr(int(piece[:2], 16))
        pieces.append(char if char in _UNRESERVED else f"%{piece[:2].upper()}")
        pieces.append(piece[2:])
    return "".join(pieces)


def _escapes_are_whole(text: str) -> bool:
    """Whether every '%' is followed by two hexadecimal digits."""
    return all(len(piece) >= 2 and piece[0] in _HEX and piece[1] in _HEX for piece in text.split("%")[1:])


# --- reading ---------------------------------------------------------------------------------------------------------


def _bad(reason: str) -> SipError:
    return SipError(400, f"Bad URI: {reason}", "URI")


@lru_cache(_CACHED_URIS)
def _parse_cached(text: str) -> SipUri:
    return _parse(text)


def _parse(text: str) -> SipUri:
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme not in ("sip", "sips"):
        if scheme == "tel":
            return _parse_tel(rest)
        if not colon or not scheme or not scheme[0].isalpha() or not _SCHEME_CHARS.issuperset(scheme):
            raise _bad("no scheme")
        raise SipError(416, "Unsupported URI Scheme", "URI")
    user: str | None = None
    password: str | None = None
    # '@' stands raw in none of the parts, while ';' and '?' may stand in the user: so the first '@' decides.
    if "@" in rest:
        userinfo, _, rest = rest.partition("@")
        user, password = _parse_userinfo(userinfo)
    headers: tuple[tuple[str, str], ...] = ()
    if "?" in rest:
        rest, _, query = rest.partition("?")
        headers = _parse_headers(query)
    params: Params = ()
    if ";" in rest:
        rest, _, tail = rest.partition(";")
        params = _parse_params(tail)
    try:
        host, port = split_host_port(rest)
    except AddressError as error:
        raise _bad(_ascii(str(error))) from None
    return SipUri(scheme, user, password, host, port, params, headers)


def _ascii(text: str) -> str:
    """A reason phrase must survive the wire: what is not printable ASCII is shown escaped."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


def _parse_userinfo(userinfo: str) -> tuple[str, str | None]:
    user, colon, password = userinfo.partition(":")
    if not user:
        raise _bad("empty user")
    if not _USER_CHARS.issuperset(user) or ("%" in user and not _escapes_are_whole(user)):
        raise _bad("user")
    if not colon:
        return user, None
    if not _PASSWORD_CHARS.issuperset(password) or ("%" in password and not _escapes_are_whole(password)):
        raise _bad("password")
    return user, password


def _parse_params(text: str) -> Params:
    params: list[tuple[str, str | None]] = []
    for piece in text.split(";"):
        name, equals, value = piece.partition("=")
        if not name or not _PARAM_CHARS.issuperset(name) or not _PARAM_CHARS.issuperset(value):
            raise _bad("parameter")
        params.append((name, value if equals else None))
    if "%" in text and not _escapes_are_whole(text):
        raise _bad("escape in a parameter")
    return tuple(params)


def _parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for piece in text.split("&"):
        name, equals, value = piece.partition("=")
        if not name or not equals or not _HEADER_CHARS.issuperset(name) or not _HEADER_CHARS.issuperset(value):
            raise _bad("header")
        headers.append((name, value))
    if "%" in text and not _escapes_are_whole(text):
        raise _bad("escape in a header")
    return tuple(headers)


def _parse_tel(rest: str) -> SipUri:
    """RFC 3966 3: a global or local number with parameters."""
    number, semicolon, tail = rest.partition(";")
    digits = number.translate(_VISUAL_SEPARATORS)
    if not digits or not _TEL_CHARS.issuperset(number) or "+" in digits[1:] or digits == "+":
        raise _bad("telephone number")
    return SipUri("tel", number, None, "", None, _parse_params(tail) if semicolon else ())


# --- equality --------------------------------------------------------------------------------------------------------


def _same_escaped(one: str | None, other: str | None) -> bool:
    if one == other:
        return True
    if one is None or other is None:
        return False
    return normalise_escapes(one) == normalise_escapes(other)


def _folded(params: Params) -> dict[str, str]:
    """Parameters for comparison, which ignores case; of a repeated name the first counts, as in `find_param`."""
    folded: dict[str, str] = {}
    for name, value in params:
        folded.setdefault(normalise_escapes(name).lower(), "" if value is None else normalise_escapes(value).lower())
    return folded


def _same_params(one: Params, other: Params) -> bool:
    if one == other:
        return True
    left, right = _folded(one), _folded(other)
    for name in _NEVER_IGNORED:
        if (name in left) != (name in right):
            return False
    return all(_same_value(name, value, right[name]) for name, value in left.items() if name in right)


def _same_value(name: str, one: str, other: str) -> bool:
    return one == other or (name == "maddr" and _canonical_host(one) == _canonical_host(other))


def _canonical_host(text: str) -> str:
    try:
        return split_host_port(text)[0]
    except AddressError:
        return text


def _same_headers(one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...]) -> bool:
    """Header components are never ignored; their order does not matter."""
    if one == other:
        return True

    def comparable(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
        return sorted((normalise_escapes(name).lower(), normalise_escapes(value)) for name, value in headers)

    return comparable(one) == comparable(other)


def _same_tel(one: SipUri, other: SipUri) -> bool:
    """RFC 3966 4: digits without separators, every parameter in both."""
    return one.aor() == other.aor() and _folded(one.params) == _folded(other.params)


# --- name-addr -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NameAddr:
    """A display name, a URI and header parameters: From, To, Contact, Route, Refer-To (RFC 3261 20.10)."""

    display: str
    """Plain text, quotes and backslashes resolved; "" for none."""
    uri: SipUri
    params: Params = ()
    """Header parameters; values raw, quotes included."""

    @classmethod
    def parse(cls, text: str, where: str = "address") -> NameAddr:
        """Read a name-addr or addr-spec. Raises SipError 400, for URI schemes we do not have as well."""
        return cls.of_parts(split_name_addr(text, where), where)

    @classmethod
    def of_parts(cls, parts: tuple[str, str, str], where: str) -> NameAddr:
        """The address `split_name_addr` cut into parts. Raises SipError."""
        display, uri, params = parts
        try:
            return cls(unquote_string(display), SipUri.parse(uri), parse_params(params, where) if params else ())
        except SipError as error:
            if error.where == where:
                raise
            # 416 speaks of the Request-URI alone (RFC 3261 8.2.2.1, RFC 4475 3.3.4).
            raise bad(where, error.reason.removeprefix("Bad ")) from None

    @property
    def tag(self) -> str | None:
        return find_param(self.params, "tag") or None

    def param(self, name: str) -> str | None:
        """The value of a parameter without its quotes, "" when it has none, None when it is not there."""
        value = find_param(self.params, name)
        return unquote_string(value) if value else value

    def with_tag(self, tag: str | None) -> NameAddr:
        """A copy with that tag, or with none."""
        params = drop_param(self.params, "tag") if tag is None else set_param(self.params, "tag", tag)
        return NameAddr(self.display, self.uri, params)

    def with_param(self, name: str, value: str | None = None) -> NameAddr:
        """A copy with one parameter set; `value` is raw, so quote what is no token."""
        return replace(self, params=set_param(self.params, name, value))

    def without_param(self, name: str) -> NameAddr:
        """A copy without a parameter."""
        return replace(self, params=drop_param(self.params, name))

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{print_params(self.params)}"


def split_name_addr(text: str, where: str) -> tuple[str, str, str]:
    """Display name (raw), URI text and parameter text of a name-addr or addr-spec, without reading any of them.

    In the form without brackets every parameter is the header's, and a URI with ',' or '?' is refused
    (RFC 3261 20.10). Raises SipError 400.
    """
    text = text.strip(WS)
    if text.startswith('"'):
        end = after_quoted(text, 0, where)
        display, rest = text[:end], text[end:].lstrip(WS)
        if not rest.startswith("<"):
            raise bad(where, "no '<' after the display name")
        uri, bracket, tail = rest[1:].partition(">")
    else:
        display, bracket, rest = text.partition("<")
        if not bracket:
            uri, _, params = text.partition(";")
            uri = uri.rstrip(WS)
            if not uri or "?" in uri or "," in uri or ('"' in uri) or (";" in text and not params):
                raise bad(where)
            return "", uri, params
        display = display.rstrip(WS)
        if '"' in display:
            raise bad(where, "display name")
        uri, bracket, tail = rest.partition(">")
    if not bracket or not uri:
        raise bad(where, "no URI in brackets")
    tail = tail.lstrip(WS)
    if tail and tail[0] != ";":
        raise bad(where, "text behind the URI")
    if tail == ";":
        raise bad(where, "parameter")
    return display, uri, tail[1:]
