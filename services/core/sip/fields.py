"""Header rows and what they say, read as late as possible: the part requests and responses share (RFC 3261 7.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.core.sip.errors import SipError
from services.core.sip.headers import CSeq, Star, Via, parse_contacts, parse_cseq, parse_name_addrs, parse_via
from services.core.sip.lexical import (
    TOKEN_CHARS,
    WS,
    find_param,
    first_of_list,
    parse_delta_seconds,
    parse_number,
    parse_params,
    split_list,
)
from services.core.sip.names import EXACT_NAMES, LIST_HEADERS, canonical_name
from services.core.sip.uri import NameAddr, split_name_addr

MAX_FORWARDS_LIMIT = 255
"""The most Max-Forwards can say (RFC 3261 20.22)."""


class Message:
    """What requests and responses share: header rows in wire order, and a body.

    Change headers through the methods, which keep the values already read in step; the list is for reading.
    Properties raise SipError when their header is malformed, at the first use and every time. In a message from
    `parse_message` these were read and cannot raise: call_id, cseq, top_via, from_tag, to_tag.
    """

    __slots__ = ("_cache", "body", "headers")

    def __init__(self, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        self.headers: list[tuple[str, str]] = list(headers)
        """(canonical name, unfolded value) in wire order."""
        self.body = body
        # Values read from a header are kept under its name, parts of it under the name with a '*', tags with ' tag'.
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
        cache = self._cache
        if cache:
            cache.pop(name, None)
            cache.pop(name + "*", None)
            cache.pop(name + " tag", None)
        return name

    def _required(self, name: str) -> str:
        value = self.get(name)
        if not value:
            raise SipError(400, f"Missing {name} header field", name)
        return value

    # --- values ---

    @property
    def call_id(self) -> str:
        cached: str | None = self._cache.get("Call-ID")
        if cached is None:
            cached = self._cache["Call-ID"] = self._required("Call-ID")
        return cached

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
        cache = self._cache
        return cache["From tag"] if "From tag" in cache else self._tag("From", "From tag")

    @property
    def to_tag(self) -> str | None:
        cache = self._cache
        return cache["To tag"] if "To tag" in cache else self._tag("To", "To tag")

    def _split(self, name: str) -> tuple[str, str, str]:
        cached: tuple[str, str, str] | None = self._cache.get(name + "*")
        if cached is None:
            cached = self._cache[name + "*"] = split_name_addr(self._required(name), name)
        return cached

    def _party(self, name: str) -> NameAddr:
        cached: NameAddr | None = self._cache.get(name)
        if cached is None:
            cached = self._cache[name] = NameAddr.of_parts(self._split(name), name)
        return cached

    def _tag(self, name: str, key: str) -> str | None:
        tag = self._cache[key] = read_tag(self._split(name)[2], name)
        return tag

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

    def _same_content(self, other: Message) -> bool:
        """Whether rows and body are equal; the length is the body's and no fact of its own."""
        return self.body == other.body and (
            self.headers == other.headers
            or [row for row in self.headers if row[0] != "Content-Length"]
            == [row for row in other.headers if row[0] != "Content-Length"]
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.start_line!r} {len(self.headers)} headers, {len(self.body)} octets>"


def read_tag(params: str, where: str) -> str | None:
    """The tag among the parameters of a From or To, None without one. Raises SipError."""
    if not params:
        return None
    if params.startswith("tag=") and TOKEN_CHARS.issuperset(params[4:]) and len(params) > 4:
        return params[4:]
    return find_param(parse_params(params, where), "tag") or None
