"""SIP messages: what a datagram or frame holds, read as late as possible (RFC 3261 7).

`parse_message` cuts the octets into a start line, header rows and a body and looks only at what every answer needs:
Via, From, To, Call-ID, CSeq and the length of the body. All else is read when somebody asks, once, and kept.

Text is UTF-8 with surrogate escapes, so that any octets survive a round trip. A header's value is unfolded and
stripped, never otherwise changed; names have their long form in their usual spelling.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from services.core.sip.errors import SipError
from services.core.sip.headers import (
    CSeq,
    NameAddr,
    Star,
    Via,
    parse_contacts,
    parse_cseq,
    parse_name_addrs,
    parse_via,
    salvage_via,
    split_name_addr,
)
from services.core.sip.lexical import (
    TOKEN_CHARS,
    WS,
    bad,
    find_param,
    first_of_list,
    parse_delta_seconds,
    parse_number,
    parse_params,
    split_list,
    unquote_string,
)
from services.core.sip.names import EXACT_NAMES, LIST_HEADERS, SINGLE_HEADERS, canonical_name
from services.core.sip.reasons import reason_phrase
from services.core.sip.uri import SipUri

MAX_MESSAGE_BYTES = 65535
"""A message longer than the longest datagram is answered 513, on streams too."""
MAX_HEADERS = 256
"""Header rows a message may have."""
MAX_FORWARDS_LIMIT = 255
_NO_ANSWER = "ACK"
_REQUIRED = ("Via", "From", "To", "Call-ID", "CSeq")
_ECHOED = frozenset(("Via", "From", "Call-ID", "CSeq"))


class Message:
    """What requests and responses share: header rows in wire order, and a body.

    Change headers through the methods, which keep the values already read in step; the list is for reading.
    Properties raise SipError when their header is malformed, at the first use and every time.
    """

    __slots__ = ("_cache", "body", "headers")

    def __init__(self, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        self.headers: list[tuple[str, str]] = list(headers)
        """(canonical name, unfolded value) in wire order."""
        self.body = body
        # Values read from a header are kept under its name, parts of it under the name with a '*'.
        self._cache: dict[str, Any] = {}

    # --- rows ---

    def get(self, name: str) -> str | None:
        """The first row of that name, whole; None when there is none. Any spelling and compact forms are known."""
        name = EXACT_NAMES.get(name) or canonical_name(name)
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def rows(self, name: str) -> list[str]:
        """Every row of that name, whole."""
        name = EXACT_NAMES.get(name) or canonical_name(name)
        return [value for key, value in self.headers if key == name]

    def get_all(self, name: str) -> list[str]:
        """Every value of that name; the rows of list headers (Via, Route, Supported...) are split at their commas."""
        name = canonical_name(name)
        rows = self.rows(name)
        if name not in LIST_HEADERS:
            return rows
        return [value for row in rows for value in split_list(row, name)]

    def has(self, name: str) -> bool:
        return self.get(name) is not None

    def add(self, name: str, value: str) -> None:
        """Add a row at the end."""
        self.headers.append((self._changed(name), value))

    def prepend(self, name: str, value: str) -> None:
        """Add a row before all others, so that it is the first of its name."""
        self.headers.insert(0, (self._changed(name), value))

    def set(self, name: str, value: str) -> None:
        """Make this the only row of that name, in the place of the first one if there was one."""
        name = self._changed(name)
        for index, (key, _) in enumerate(self.headers):
            if key == name:
                later = [row for row in self.headers[index + 1 :] if row[0] != name]
                self.headers[index:] = [(name, value), *later]
                return
        self.headers.append((name, value))

    def remove(self, name: str) -> None:
        """Remove every row of that name."""
        name = self._changed(name)
        self.headers = [row for row in self.headers if row[0] != name]

    def pop_first(self, name: str) -> str | None:
        """Remove and return the first value of a list header, leaving the others of a shared row."""
        name = self._changed(name)
        for index, (key, row) in enumerate(self.headers):
            if key == name:
                first, rest = first_of_list(row, name)
                self.headers[index : index + 1] = [(name, rest)] if rest else []
                return first
        return None

    def replace_first(self, name: str, value: str) -> None:
        """Replace the first value of a list header, leaving the others of a shared row; add it if there is none."""
        name = self._changed(name)
        for index, (key, row) in enumerate(self.headers):
            if key == name:
                rest = first_of_list(row, name)[1]
                self.headers[index] = (name, f"{value}, {rest}" if rest else value)
                return
        self.headers.append((name, value))

    def _changed(self, name: str) -> str:
        """The canonical name of a header that is about to change; forgets what was read from it."""
        name = EXACT_NAMES.get(name) or canonical_name(name)
        if self._cache:
            self._cache.pop(name, None)
            self._cache.pop(name + "*", None)
        return name

    def _required(self, name: str) -> str:
        value = self.get(name)
        if not value:
            raise SipError(400, f"Missing {name} header field", name)
        return value

    # --- values ---

    @property
    def call_id(self) -> str:
        return self._required("Call-ID")

    @property
    def cseq(self) -> CSeq:
        cached: CSeq | None = self._cache.get("CSeq")
        if cached is None:
            cached = self._cache["CSeq"] = parse_cseq(self._required("CSeq"))
        return cached

    @property
    def top_via(self) -> Via:
        """The first Via value."""
        cached: Via | None = self._cache.get("Via*")
        if cached is None:
            cached = self._cache["Via*"] = parse_via(first_of_list(self._required("Via"), "Via")[0])
        return cached

    @top_via.setter
    def top_via(self, via: Via) -> None:
        """Replace the first Via value, the others of a shared row stay (RFC 3261 18.2.1)."""
        self.replace_first("Via", str(via))
        self._cache["Via*"] = via

    @property
    def vias(self) -> list[Via]:
        cached: list[Via] | None = self._cache.get("Via")
        if cached is None:
            cached = self._cache["Via"] = [parse_via(value) for value in self.get_all("Via")]
        return cached

    @property
    def from_(self) -> NameAddr:
        return self._party("From")

    @property
    def to(self) -> NameAddr:
        return self._party("To")

    @property
    def from_tag(self) -> str | None:
        """The tag of From without reading its URI; None for a client of RFC 2543."""
        return self._tag("From")

    @property
    def to_tag(self) -> str | None:
        return self._tag("To")

    def _split(self, name: str) -> tuple[str, str, str]:
        cached: tuple[str, str, str] | None = self._cache.get(name + "*")
        if cached is None:
            cached = self._cache[name + "*"] = split_name_addr(self._required(name), name)
        return cached

    def _party(self, name: str) -> NameAddr:
        cached: NameAddr | None = self._cache.get(name)
        if cached is None:
            cached = self._cache[name] = NameAddr.parse(self._required(name), name)
        return cached

    def _tag(self, name: str) -> str | None:
        params = self._split(name)[2]
        if not params:
            return None
        if params.startswith("tag=") and ";" not in params and '"' not in params:
            return params[4:].strip(WS) or None
        return find_param(parse_params(params, name), "tag") or None

    @property
    def contacts(self) -> list[NameAddr] | Star:
        """Every Contact, or STAR; empty when there is none."""
        cached: list[NameAddr] | Star | None = self._cache.get("Contact")
        if cached is None:
            cached = self._cache["Contact"] = parse_contacts(self.rows("Contact"))
        return cached

    @property
    def routes(self) -> list[NameAddr]:
        """The Route values; their exact text is `get_all("Route")`."""
        return self._addresses("Route")

    @property
    def record_routes(self) -> list[NameAddr]:
        """The Record-Route values; their exact text, which a route set needs, is `get_all("Record-Route")`."""
        return self._addresses("Record-Route")

    def _addresses(self, name: str) -> list[NameAddr]:
        cached: list[NameAddr] | None = self._cache.get(name)
        if cached is None:
            cached = self._cache[name] = parse_name_addrs(self.rows(name), name)
        return cached

    @property
    def max_forwards(self) -> int | None:
        value = self.get("Max-Forwards")
        return None if value is None else parse_number(value, MAX_FORWARDS_LIMIT, "Max-Forwards")

    @property
    def expires(self) -> int | None:
        """Seconds; None without the header, 3600 when it is malformed (RFC 3261 20.19)."""
        value = self.get("Expires")
        return None if value is None else parse_delta_seconds(value)

    @property
    def content_type(self) -> str | None:
        """The media type in lower case without parameters; None without the header."""
        value = self.get("Content-Type")
        if value is None:
            return None
        media_type = value.partition(";")[0].lower()
        if " " in media_type or "\t" in media_type:
            media_type = "/".join([part.strip(WS) for part in media_type.split("/")])
        return media_type

    def set_body(self, body: bytes, content_type: str | None) -> None:
        """Put a body and say what it is; None removes the Content-Type."""
        self.body = body
        self.remove("Content-Length")
        if content_type is None:
            self.remove("Content-Type")
        else:
            self.set("Content-Type", content_type)

    # --- wire ---

    @property
    def start_line(self) -> str:
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """The message as it goes out, with its Content-Length. Line ends inside values become spaces."""
        rows = [f"{name}: {value}\r\n" for name, value in self.headers if name != "Content-Length"]
        text = f"{self.start_line}\r\n{''.join(rows)}Content-Length: {len(self.body)}\r\n\r\n"
        lines = len(rows) + 3
        if text.count("\n") != lines or text.count("\r") != lines:
            text = self._harmless(rows)
        return text.encode("utf-8", "surrogateescape") + self.body

    def _harmless(self, rows: list[str]) -> str:
        """The head of a message some text of which would have begun a new line: nobody injects headers through us."""
        rows = [self.start_line, *[row[:-2] for row in rows], f"Content-Length: {len(self.body)}"]
        return "".join([row.replace("\r", " ").replace("\n", " ") + "\r\n" for row in rows]) + "\r\n"

    def _copy_into(self, other: Self) -> Self:
        other._cache = dict(self._cache)
        return other

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.start_line!r} {len(self.headers)} headers, {len(self.body)} octets>"


class Request(Message):
    """A request. `uri` is the Request-URI's text as it came (digest needs its bytes)."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    @property
    def request_uri(self) -> SipUri:
        """The Request-URI. Raises SipError: 416 for another scheme, 400 when malformed."""
        try:
            return SipUri.parse(self.uri)
        except SipError as error:
            raise SipError(error.status, error.reason, "Request-URI") from None

    def copy(self) -> Request:
        """A request of its own with the same rows and body."""
        return self._copy_into(Request(self.method, self.uri, self.headers, self.body))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Request)
            and (self.method, self.uri, self.headers, self.body)
            == (other.method, other.uri, other.headers, other.body)
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]


class Response(Message):
    """A response."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = reason

    @property
    def start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"

    def copy(self) -> Response:
        """A response of its own with the same rows and body."""
        return self._copy_into(Response(self.status, self.reason, self.headers, self.body))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Response)
            and (self.status, self.reason, self.headers, self.body)
            == (other.status, other.reason, other.headers, other.body)
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]


# --- reading ---------------------------------------------------------------------------------------------------------


def parse_message(data: bytes, *, stream: bool = False) -> Request | Response:
    """Read one message: a datagram, or with `stream` a frame that must say its length.

    Empty lines before it are skipped (RFC 3261 7.5); octets behind the body are dropped (18.3). Raises SipError for
    everything else, and nothing but SipError for any octets; see SipError.message for which can be answered.
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    faults: list[SipError] = []
    if len(data) > MAX_MESSAGE_BYTES:
        faults.append(SipError(513, "Message Too Large", "message"))
        data = data[:MAX_MESSAGE_BYTES]
    lines, body = _cut(data, faults)
    message = _read_start_line(lines[0], faults)
    _read_rows(message.headers, lines, faults)
    _check(message, body, stream, faults)
    if faults:
        raise _refusal(message, faults[0])
    return message


def _cut(data: bytes, faults: list[SipError]) -> tuple[list[str], bytes]:
    """The unfolded lines of the head, and the octets behind it."""
    end = data.find(b"\r\n\r\n")
    head = (data if end < 0 else data[:end]).decode("utf-8", "surrogateescape")
    lines = head.split("\r\n")
    if end >= 0 and head.count("\n") == len(lines) - 1 == head.count("\r"):
        body = data[end + 4 :]
    else:
        lines, body = _cut_liberally(data, faults)
    for line in lines:
        if line[:1] in (" ", "\t"):
            return _unfold(lines, faults), body
    return lines, body


def _cut_liberally(data: bytes, faults: list[SipError]) -> tuple[list[str], bytes]:
    """Lines that end in LF alone are taken; CR alone is not, two readers would see two messages in it."""
    ends = [(at, len(mark)) for mark in (b"\n\r\n", b"\n\n") if (at := data.find(mark)) >= 0]
    if ends:
        end, length = min(ends)
        head, body = data[:end].removesuffix(b"\r"), data[end + length :]
    else:
        faults.append(SipError(400, "No empty line after the header fields", "message"))
        head, body = data.rstrip(b"\r\n"), b""
    lines = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
    if b"\r" in head.replace(b"\r\n", b""):
        faults.append(SipError(400, "CR without LF", "message"))
        lines = [line.replace("\r", " ") for line in lines]
    return lines, body


def _unfold(lines: list[str], faults: list[SipError]) -> list[str]:
    """Join continuation lines to the row they belong to, one space for each fold (RFC 3261 7.3.1)."""
    rows: list[list[str]] = []
    for line in lines:
        if line[:1] not in (" ", "\t"):
            rows.append([line])
        elif len(rows) > 1:
            rows[-1].append(line.strip(WS))
        else:
            faults.append(SipError(400, "Bad start line: folded", "start line"))
            rows = rows or [[line]]
    return [" ".join(row) if len(row) > 1 else row[0] for row in rows]


def _read_start_line(line: str, faults: list[SipError]) -> Request | Response:
    if line[:4].upper() == "SIP/":
        return _read_status_line(line)
    method, _, rest = line.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if not method or not TOKEN_CHARS.issuperset(method):
        raise SipError(400, "Bad start line: method", "start line")
    if version != "SIP/2.0" and version.upper() != "SIP/2.0":
        if version[:4].upper() == "SIP/" and version[4:].replace(".", "", 1).isdecimal():
            faults.append(SipError(505, "Version Not Supported", "start line"))
        else:
            faults.append(SipError(400, "Bad start line: version", "start line"))
    elif not uri or " " in uri or "\t" in uri:
        faults.append(SipError(400, "Bad start line: white space", "start line"))
    return Request(method, uri)


def _read_status_line(line: str) -> Response:
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    if version != "SIP/2.0" and version.upper() != "SIP/2.0":
        raise SipError(505, "Version Not Supported", "start line")
    if len(status) != 3 or not status.isascii() or not status.isdigit() or not "100" <= status < "700":
        raise SipError(400, "Bad start line: status", "start line")
    return Response(int(status), reason)


def _read_rows(headers: list[tuple[str, str]], lines: list[str], faults: list[SipError]) -> None:
    if len(lines) - 1 > MAX_HEADERS:
        faults.append(SipError(513, "Too many header fields", "message"))
        del lines[MAX_HEADERS + 1 :]
    lines = iter(lines)  # type: ignore[assignment]
    next(lines)  # type: ignore[call-overload]
    for line in lines:
        name, colon, value = line.partition(":")
        known = EXACT_NAMES.get(name)
        if known is None:
            name = name.rstrip(WS)
            if not colon or not name or not TOKEN_CHARS.issuperset(name):
                faults.append(SipError(400, "Bad header field name", "header"))
                continue
            known = canonical_name(name)
        elif not colon:
            faults.append(SipError(400, f"Bad {known}: no colon", known))
            continue
        headers.append((known, value.strip(WS)))


def _check(message: Request | Response, body: bytes, stream: bool, faults: list[SipError]) -> None:
    """Read what every answer needs, and cut the body. Collects faults instead of raising."""
    headers = message.headers
    first = dict(reversed(headers))
    if len(first) != len(headers):
        names = [name for name, _ in headers]
        for name in SINGLE_HEADERS:
            if name in first and names.count(name) > 1:
                faults.append(SipError(400, f"Multiple {name} header fields", name))
    cache = message._cache
    try:
        for name in _REQUIRED:
            if not first.get(name):
                raise SipError(400, f"Missing {name} header field", name)
        row = first["Via"]
        cache["Via*"] = parse_via(first_of_list(row, "Via")[0] if "," in row else row)
        cache["From*"] = split_name_addr(first["From"], "From")
        cache["To*"] = split_name_addr(first["To"], "To")
        call_id = first["Call-ID"]
        if " " in call_id or "\t" in call_id:
            raise bad("Call-ID", "white space")
        cseq = cache["CSeq"] = parse_cseq(first["CSeq"])
        if isinstance(message, Request) and cseq.method != message.method:
            raise bad("CSeq", "method differs from the request's")
        message.body = _cut_body(first.get("Content-Length"), body, stream)
    except SipError as error:
        faults.append(error)


def _cut_body(length: str | None, body: bytes, stream: bool) -> bytes:
    if length is None:
        if stream:
            raise SipError(400, "Missing Content-Length header field", "Content-Length")
        return body
    wanted = parse_number(length, MAX_MESSAGE_BYTES, "Content-Length")
    if wanted > len(body):
        raise SipError(400, f"Body has {len(body)} octets, not {wanted}", "Content-Length")
    return body if wanted == len(body) else body[:wanted]


def _refusal(message: Request | Response, fault: SipError) -> SipError:
    """The error to raise, with the request when it can be answered."""
    if isinstance(message, Request) and message.method != _NO_ANSWER and message.has("CSeq"):
        via = _salvaged(message.get("Via"))
        if via is not None:
            message._cache["Via*"] = via
            fault.message = message
    return fault


def _salvaged(row: str | None) -> Via | None:
    if row is None:
        return None
    try:
        return salvage_via(first_of_list(row, "Via")[0])
    except SipError:
        return None


# --- answering -------------------------------------------------------------------------------------------------------


def make_response(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """The response to a request (RFC 3261 8.2.6): its Vias, From, To, Call-ID and CSeq, and `headers` behind them.

    To gets `to_tag` unless it has a tag. Record-Route is copied to what can make a dialog (101 to 299, but for
    REGISTER; 12.1.1) and Timestamp to the 100 (8.2.6.1). Never raises for a request that was read.
    """
    keep_routes = 100 < status < 300 and request.method != "REGISTER"
    rows: list[tuple[str, str]] = []
    for row in request.headers:
        name = row[0]
        if name in _ECHOED or (name == "Record-Route" and keep_routes) or (name == "Timestamp" and status == 100):
            rows.append(row)
        elif name == "To":
            rows.append(("To", _tagged(request, row[1], to_tag)) if to_tag else row)
    rows.extend(headers)
    return Response(status, reason_phrase(status) if reason is None else reason, rows, body)


def _tagged(request: Request, to: str, tag: str) -> str:
    try:
        return to if request.to_tag else f"{to};tag={tag}"
    except SipError:
        return to


def header_params(value: str, where: str) -> tuple[str, dict[str, str]]:
    """A value of the form `token;name=value...` cut into its lower-case parameters, quotes resolved (Event, Reason)."""
    first, semicolon, tail = value.partition(";")
    params = parse_params(tail, where) if semicolon else ()
    return first.strip(WS), {name.lower(): unquote_string(text or "") for name, text in params}
