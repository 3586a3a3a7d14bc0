"""SIP messages: reading, writing, answering (RFC 3261 7 and 8.2.6).

`parse_message` cuts the octets into a start line, header rows and a body and looks only at what every answer needs:
Via, From, To, Call-ID, CSeq and the length of the body. All else is read when somebody asks, once, and kept.

Text is UTF-8 with surrogate escapes, so that any octets survive a round trip. A header's value is unfolded and
stripped, never otherwise changed; names have their long form in their usual spelling.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.core.sip.errors import SipError
from services.core.sip.fields import Message, read_tag
from services.core.sip.headers import Via, parse_cseq, parse_via, salvage_via
from services.core.sip.lexical import TOKEN_CHARS, WS, bad, first_of_list, parse_number
from services.core.sip.names import EXACT_NAMES, SINGLE_HEADERS, canonical_name
from services.core.sip.reasons import reason_phrase
from services.core.sip.uri import SipUri, split_name_addr

__all__ = [
    "MAX_HEADERS",
    "MAX_MESSAGE_BYTES",
    "Message",
    "Request",
    "Response",
    "make_response",
    "new_request",
    "parse_message",
    "reason_phrase",
]

MAX_MESSAGE_BYTES = 65535
"""A message longer than the longest datagram is answered 513, on streams too."""
MAX_HEADERS = 256
"""Header rows a message may have; more are answered 513."""
_VERSION = "SIP/2.0"
_REQUIRED = ("Via", "From", "To", "Call-ID", "CSeq")
_ECHOED = frozenset(("Via", "From", "Call-ID", "CSeq"))
_READ_ALREADY = ("Via*", "CSeq", "Call-ID", "From tag")
"""What was read of the rows that a response has in common with its request."""


class Request(Message):
    """A request. `uri` is the Request-URI's text as it came (digest needs its bytes)."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri} {_VERSION}"

    @property
    def request_uri(self) -> SipUri:
        """The Request-URI. Raises SipError: 416 for another scheme, 400 when malformed."""
        try:
            return SipUri.parse(self.uri)
        except SipError as error:
            raise SipError(error.status, error.reason, "Request-URI") from None

    def copy(self) -> Request:
        """A request of its own with the same rows and body."""
        other = Request(self.method, self.uri, self.headers, self.body)
        other._cache = dict(self._cache)
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Request):
            return NotImplemented
        return self.method == other.method and self.uri == other.uri and self._same_content(other)

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
        return f"{_VERSION} {self.status} {self.reason}"

    def copy(self) -> Response:
        """A response of its own with the same rows and body."""
        other = Response(self.status, self.reason, self.headers, self.body)
        other._cache = dict(self._cache)
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Response):
            return NotImplemented
        return self.status == other.status and self.reason == other.reason and self._same_content(other)

    __hash__ = None  # type: ignore[assignment]


# --- reading ---------------------------------------------------------------------------------------------------------


def parse_message(data: bytes, *, stream: bool = False) -> Request | Response:
    """Read one message: a datagram, or with `stream` a frame, which must say its length.

    Empty lines before it are skipped (RFC 3261 7.5); octets behind the body are dropped (18.3). Raises SipError for
    everything else, and nothing but SipError for any octets; SipError.message tells which can be answered.
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    # A fault does not end the reading: what stands behind it may be what the answer needs. The first one counts.
    faults: list[SipError] = []
    if len(data) > MAX_MESSAGE_BYTES:
        faults.append(SipError(513, "Message Too Large", "message"))
        data = data[:MAX_MESSAGE_BYTES]
    lines, body = _cut(data, faults)
    message = _read_start_line(lines[0], faults)
    _read_rows(message.headers, lines, faults)
    length = _check(message, faults)
    try:
        message.body = _cut_body(length, body, stream)
    except SipError as error:
        faults.append(error)
    if faults:
        raise _refusal(message, faults[0])
    return message


def _cut(data: bytes, faults: list[SipError]) -> tuple[list[str], bytes]:
    """The lines of the head, still folded, and the octets behind it."""
    end = data.find(b"\r\n\r\n")
    head = (data if end < 0 else data[:end]).decode("utf-8", "surrogateescape")
    lines = head.split("\r\n")
    if end >= 0 and head.count("\n") == len(lines) - 1 == head.count("\r"):
        body = data[end + 4 :]
    else:
        lines, body = _cut_liberally(data, faults)
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
    head = head.replace(b"\r\n", b"\n")
    if b"\r" in head:
        faults.append(SipError(400, "CR without LF", "message"))
        head = head.replace(b"\r", b" ")
    return head.decode("utf-8", "surrogateescape").split("\n"), body


def _unfold(lines: list[str], faults: list[SipError]) -> list[str]:
    """Join continuation lines to the row they belong to, one space for each fold (RFC 3261 7.3.1)."""
    rows: list[list[str]] = [[lines[0]]]
    for line in lines[1:]:
        if line[:1] not in (" ", "\t"):
            rows.append([line])
        elif len(rows) == 1:
            faults.append(SipError(400, "Bad start line: folded", "start line"))
        else:
            rows[-1].append(line.strip(WS))
    return [" ".join(row) if len(row) > 1 else row[0] for row in rows]


def _read_start_line(line: str, faults: list[SipError]) -> Request | Response:
    method, _, rest = line.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if not method or not TOKEN_CHARS.issuperset(method):
        if method[:4].lower() == "sip/":
            return _read_status_line(line)
        raise SipError(400, "Bad start line: method", "start line")
    if version != _VERSION and version.lower() != "sip/2.0":
        if _is_version(version):
            faults.append(SipError(505, reason_phrase(505), "start line"))
        else:
            faults.append(SipError(400, "Bad start line: version", "start line"))
    if not uri or " " in uri or "\t" in uri:
        faults.append(SipError(400, "Bad start line: Request-URI", "start line"))
    return Request(method, uri)


def _is_version(text: str) -> bool:
    """Whether this is a SIP-Version, of whatever number (RFC 3261 25.1)."""
    name, _, number = text.partition("/")
    major, dot, minor = number.partition(".")
    return name.lower() == "sip" and dot == "." and text.isascii() and major.isdigit() and minor.isdigit()


def _read_status_line(line: str) -> Response:
    """A response nobody can be told about: every fault ends the reading."""
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    if version != _VERSION and version.lower() != "sip/2.0":
        raise SipError(505, reason_phrase(505), "start line")
    if len(status) != 3 or not status.isascii() or not status.isdigit() or not "100" <= status < "700":
        raise SipError(400, "Bad start line: status", "start line")
    return Response(int(status), reason)


def _read_rows(headers: list[tuple[str, str]], lines: list[str], faults: list[SipError]) -> None:
    """Append the header rows, all lines but the first."""
    if len(lines) > MAX_HEADERS:
        lines = _unfold(lines, faults)
        if len(lines) - 1 > MAX_HEADERS:
            faults.append(SipError(513, "Too many header fields", "message"))
            del lines[MAX_HEADERS + 1 :]
    rows = iter(lines)
    next(rows)
    for line in rows:
        name, colon, value = line.partition(":")
        known = EXACT_NAMES.get(name)
        if known is None:
            if line[:1] in (" ", "\t"):
                # Folds are rare: only when one is met the lines are joined, and read once more.
                headers.clear()
                _read_rows(headers, _unfold(lines, faults), faults)
                return
            name = name.rstrip(WS)
            if not name or not TOKEN_CHARS.issuperset(name):
                faults.append(SipError(400, "Bad header field name", "header"))
                continue
            known = canonical_name(name)
        if not colon:
            faults.append(SipError(400, "Bad header field: no colon", "header"))
            continue
        headers.append((known, value.strip(WS)))


def _check(message: Request | Response, faults: list[SipError]) -> str | None:
    """Read what every answer needs; collects faults instead of raising them. Returns the Content-Length."""
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
        cache["From*"] = parts = split_name_addr(first["From"], "From")
        cache["From tag"] = read_tag(parts[2], "From")
        cache["To*"] = parts = split_name_addr(first["To"], "To")
        cache["To tag"] = read_tag(parts[2], "To")
        call_id = cache["Call-ID"] = first["Call-ID"]
        if " " in call_id or "\t" in call_id:
            raise bad("Call-ID", "white space")
        cseq = cache["CSeq"] = parse_cseq(first["CSeq"])
        if isinstance(message, Request) and cseq.method != message.method:
            raise bad("CSeq", "method differs from the request's")
    except SipError as error:
        faults.append(error)
    return first.get("Content-Length")


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
    if isinstance(message, Request) and message.method != "ACK" and message.has("CSeq"):
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


# --- making ----------------------------------------------------------------------------------------------------------


def new_request(
    method: str,
    uri: str,
    headers: Iterable[tuple[str, str]],
    *,
    body: bytes = b"",
    content_type: str | None = None,
) -> Request:
    """A request of ours. Header names are canonical; `content_type` goes with the body."""
    request = Request(method, uri, headers, body)
    if content_type is not None:
        request.set("Content-Type", content_type)
    return request


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
    REGISTER; 12.1.1) and Timestamp to the 100 (8.2.6.1). Never raises, for requests `SipError.message` holds neither.
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
    response = Response(status, reason_phrase(status) if reason is None else reason, rows, body)
    known, cache = request._cache, response._cache
    for key in _READ_ALREADY:
        if key in known:
            cache[key] = known[key]
    return response


def _tagged(request: Request, to: str, tag: str) -> str:
    try:
        return to if request.to_tag else f"{to};tag={tag}"
    except SipError:
        return to
