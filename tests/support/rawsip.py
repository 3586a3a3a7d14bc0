"""SIP as octets: peers that say exactly what a test wants, and nothing of the product in between.

`Peer` is an end of UDP, `Stream` an end of TCP; both send bytes and give back `Message`s, which are lines and octets
taken apart and no more. `Phone` puts the usual requests of a user together, answers challenges, and makes its own
responses. Reading and digest are written here a second time, so that a fault of the product's cannot hide itself.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from services.core.address import Address

PATIENCE_S = 5.0
"""How long an answer may take; loopback needs milliseconds."""

Rows = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came."""

    start: str
    rows: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def read(cls, data: bytes) -> Message:
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        rows = [line.partition(":") for line in lines]
        return cls(start, tuple((name.strip(), value.strip()) for name, _, value in rows), body)

    @property
    def status(self) -> int:
        """Of a response; 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """Of the request, or of the one a response answers."""
        return self.get("CSeq").partition(" ")[2]

    @property
    def uri(self) -> str:
        return self.start.split(" ")[1]

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.rows if key.lower() == name.lower()]

    def get(self, name: str) -> str:
        """The first value; empty without one."""
        return next(iter(self.get_all(name)), "")

    def tag(self, name: str) -> str:
        """The tag of From or To; empty without one."""
        found = re.search(r";tag=([^;\s]+)", self.get(name).rpartition(">")[2])
        return found[1] if found else ""

    @property
    def contact(self) -> str:
        """The URI of the first Contact."""
        found = re.search(r"<([^>]*)>", self.get("Contact"))
        return found[1] if found else self.get("Contact")

    @property
    def contacts(self) -> list[str]:
        """The URIs of all, sorted; a registrar's answer."""
        return sorted(re.findall(r"<(sips?:[^>]*)>", ", ".join(self.get_all("Contact"))))

    def expires_of(self, contact: str) -> int:
        """The seconds a registrar's answer gives a contact."""
        found = re.search(rf"<{re.escape(contact)}>[^,]*;expires=(\d+)", ", ".join(self.get_all("Contact")))
        assert found, f"{contact} is not in {self.get_all('Contact')}"
        return int(found[1])


def compose(start: str, rows: Rows, body: bytes = b"") -> bytes:
    """A message with these header rows; Content-Length is added unless it is among them."""
    lines = [start, *(f"{name}: {value}" for name, value in rows)]
    if not any(line.lower().startswith(("content-length:", "l:")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


# --- ways ------------------------------------------------------------------------------------------------------------


class Way(Protocol):
    """An end of UDP or TCP that leads to the PBX."""

    transport: str

    @property
    def local(self) -> Address: ...
    def send(self, data: bytes) -> None: ...
    def receive(self, timeout_s: float = PATIENCE_S) -> Message: ...


class Peer:
    """A UDP socket that talks to one address."""

    transport = "udp"

    def __init__(self, remote: Address, host: str | None = None) -> None:
        self.remote = remote
        self._socket = socket.socket(remote.family.af, socket.SOCK_DGRAM)
        self._socket.bind((host or remote.host, 0))

    @property
    def local(self) -> Address:
        return Address.from_sockaddr(self._socket.getsockname())

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, self.remote.sockaddr())

    def receive(self, timeout_s: float = PATIENCE_S) -> Message:
        """The next message. TimeoutError when none comes."""
        return Message.read(self.receive_bytes(timeout_s))

    def receive_bytes(self, timeout_s: float = PATIENCE_S) -> bytes:
        self._socket.settimeout(timeout_s)
        data, source = self._socket.recvfrom(65535)
        # An answer leaves from where its request came to (RFC 3261 section 18.2.2, RFC 3581 section 4).
        assert Address.from_sockaddr(source) == self.remote, f"{source} sent {data!r}"
        return data

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Stream:
    """A TCP connection, made by us or accepted."""

    transport = "tcp"

    def __init__(self, remote: Address | socket.socket) -> None:
        if isinstance(remote, Address):
            self._socket = socket.create_connection((remote.host, remote.port), PATIENCE_S)
        else:
            self._socket = remote
        # Every piece a segment of its own, as far as the kernel goes along.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local = Address.from_sockaddr(self._socket.getsockname())
        self.remote = Address.from_sockaddr(self._socket.getpeername())
        self._buffer = b""

    def send(self, data: bytes, timeout_s: float = PATIENCE_S) -> None:
        """Send all of it. TimeoutError when the peer takes none for so long."""
        self._socket.settimeout(timeout_s)
        self._socket.sendall(data)

    def receive(self, timeout_s: float = PATIENCE_S) -> Message:
        """The next message. TimeoutError when none comes, EOFError at the end of the stream."""
        # Answers to keep-alives may stand before it.
        while b"\r\n\r\n" not in (head := self._buffer.lstrip(b"\r\n")):
            self._more(timeout_s)
        self._buffer = head
        end = self._buffer.index(b"\r\n\r\n") + 4
        length = int(Message.read(self._buffer[:end]).get("Content-Length"))
        while len(self._buffer) < end + length:
            self._more(timeout_s)
        data, self._buffer = self._buffer[: end + length], self._buffer[end + length :]
        return Message.read(data)

    def receive_bytes(self, timeout_s: float = PATIENCE_S) -> bytes:
        """Whatever is there next; empty at the end of the stream, however it came."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv(65535)
        except ConnectionResetError:
            return b""

    def _more(self, timeout_s: float) -> None:
        self._socket.settimeout(timeout_s)
        data = self._socket.recv(65535)
        if not data:
            raise EOFError(f"the stream ended behind {self._buffer!r}")
        self._buffer += data

    def is_closed_by_peer(self, timeout_s: float = PATIENCE_S) -> bool:
        """Whether the PBX ends the connection; what it says before that is thrown away."""
        try:
            while self.receive_bytes(timeout_s):
                pass
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Door:
    """A TCP port that somebody may knock at."""

    def __init__(self, host: str) -> None:
        family = Address(host, 0).family
        self._socket = socket.create_server((host, 0), family=family.af)
        self.local = Address.from_sockaddr(self._socket.getsockname())

    def accept(self, timeout_s: float = PATIENCE_S) -> Stream:
        """The next connection. TimeoutError when none comes."""
        self._socket.settimeout(timeout_s)
        return Stream(self._socket.accept()[0])

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# --- digest (RFC 7616) -----------------------------------------------------------------------------------------------

HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}


def parameters(challenge: str) -> dict[str, str]:
    """The parameters of a challenge or an answer."""
    found = re.findall(r'([\w-]+)=(?:"([^"]*)"|([^\s,]+))', challenge)
    return {name.lower(): quoted or plain for name, quoted, plain in found}


def challenge_of(refusal: Message, algorithm: str) -> str:
    """The challenge of a 401 for one algorithm."""
    rows = refusal.get_all("WWW-Authenticate")
    return next(row for row in rows if parameters(row).get("algorithm", "MD5") == algorithm)


def authorization(
    challenge: str, *, method: str, uri: str, user: str, password: str, nc: int = 1, cnonce: str = "0a4f113b"
) -> str:
    """The value of Authorization."""
    asked = parameters(challenge)
    algorithm = asked.get("algorithm", "MD5")
    count = f"{nc:08x}"

    def digest(*parts: str) -> str:
        return HASHES[algorithm](":".join(parts).encode())

    secret = digest(user, asked["realm"], password)
    response = digest(secret, asked["nonce"], count, cnonce, "auth", digest(method, uri))
    return (
        f'Digest username="{user}", realm="{asked["realm"]}", nonce="{asked["nonce"]}", uri="{uri}", '
        f'response="{response}", algorithm={algorithm}, cnonce="{cnonce}", qop=auth, nc={count}'
    )


# --- phones ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Phone:
    """A user at one end of a way; what it sends it says, what it gets it gives to the test."""

    way: Way
    user: str
    password: str = ""
    algorithm: str = "MD5"
    domain: str = "pbx.example"
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def contact(self) -> str:
        transport = "" if self.way.transport == "udp" else f";transport={self.way.transport}"
        return f"sip:{self.user}@{self.way.local}{transport}"

    @property
    def aor(self) -> str:
        return f"sip:{self.user}@{self.domain}"

    def via(self, branch: str | None = None) -> str:
        branch = branch or "z9hG4bK" + secrets.token_hex(8)
        return f"SIP/2.0/{self.way.transport.upper()} {self.way.local};branch={branch};rport"

    def request(
        self, method: str, uri: str, *extra: tuple[str, str], body: bytes = b"", **changed: str | None
    ) -> bytes:
        """A request outside of dialogs. `changed` has header fields by name, `_` for `-`; None leaves one out."""
        fields: dict[str, str | None] = {
            "Via": self.via(),
            "Max-Forwards": "70",
            "From": f"<{self.aor}>;tag={self.tag}",
            "To": f"<{uri}>",
            "Call-ID": secrets.token_hex(10),
            "CSeq": f"{next(self._numbers)} {method}",
            "Contact": f"<{self.contact}>" if method == "INVITE" else None,
            "Content-Type": "application/sdp" if body else None,
        }
        fields |= {name.replace("_", "-"): value for name, value in changed.items()}
        rows = [(name, value) for name, value in fields.items() if value is not None]
        return compose(f"{method} {uri} SIP/2.0", [*rows, *extra], body)

    def ask(self, method: str, uri: str, *extra: tuple[str, str], body: bytes = b"", **changed: str | None) -> Message:
        """Send a request and answer one challenge; returns the final response, acknowledged unless it is a 2xx."""
        changed.setdefault("Call_ID", secrets.token_hex(10))
        answer = self.tell(self.request(method, uri, *extra, body=body, **changed))
        if answer.status != 401:
            return answer
        value = self.authorize(answer, method, uri)
        return self.tell(self.request(method, uri, *extra, ("Authorization", value), body=body, **changed))

    def authorize(self, refusal: Message, method: str, uri: str, *, nc: int = 1) -> str:
        """The Authorization that answers a 401."""
        challenge = challenge_of(refusal, self.algorithm)
        return authorization(challenge, method=method, uri=uri, user=self.user, password=self.password, nc=nc)

    def tell(self, request: bytes) -> Message:
        """Send one request and wait for its final response, acknowledging that unless it is a 2xx."""
        sent = Message.read(request)
        self.way.send(request)
        answer = self.final(sent.get("Call-ID"), sent.get("CSeq"))
        if sent.method == "INVITE" and answer.status >= 300:
            self.way.send(self.ack_refusal(sent, answer))
        return answer

    def final(self, call_id: str, cseq: str) -> Message:
        """The final response to a request, whatever else comes before it."""
        while True:
            message = self.way.receive()
            if message.status >= 200 and (message.get("Call-ID"), message.get("CSeq")) == (call_id, cseq):
                return message

    def ack_refusal(self, sent: Message, answer: Message) -> bytes:
        """The ACK of a 300-699: a part of the INVITE's own transaction (RFC 3261 section 17.1.1.3)."""
        rows = [("Via", sent.get("Via")), ("Max-Forwards", "70"), ("From", sent.get("From"))]
        rows += [("To", answer.get("To")), ("Call-ID", sent.get("Call-ID"))]
        rows += [("CSeq", sent.get("CSeq").replace("INVITE", "ACK"))]
        return compose(f"ACK {sent.uri} SIP/2.0", rows)

    def register(self, *contacts: str, expires: int | None = 3600, **changed: str | None) -> Message:
        """Register contacts, this phone's own unless given; returns the final answer."""
        rows = [("Contact", contact) for contact in contacts or (f"<{self.contact}>",)]
        changed.setdefault("Expires", None if expires is None else str(expires))
        changed.setdefault("To", f"<{self.aor}>")
        return self.ask("REGISTER", f"sip:{self.domain}", *rows, body=b"", **changed)

    def in_dialog(self, method: str, answer: Message, *extra: tuple[str, str], body: bytes = b"") -> bytes:
        """A request of the caller's in the dialog that `answer`, a 2xx to its INVITE, made."""
        number = answer.get("CSeq").split()[0] if method == "ACK" else next(self._numbers)
        return self.request(
            method, answer.contact, *extra, body=body,
            From=answer.get("From"), To=answer.get("To"), Call_ID=answer.get("Call-ID"), CSeq=f"{number} {method}",
        )  # fmt: skip

    def ack_in_dialog(self, invite: Message, answer: Message) -> bytes:
        """The ACK of a 2xx to an INVITE of this phone's in a dialog, whoever began that."""
        number = invite.get("CSeq").split()[0]
        return self.request(
            "ACK", answer.contact, From=answer.get("From"), To=answer.get("To"),
            Call_ID=answer.get("Call-ID"), CSeq=f"{number} ACK",
        )  # fmt: skip

    def back_in_dialog(self, method: str, invite: Message, number: int = 1, *, body: bytes = b"") -> bytes:
        """A request of the callee's in the dialog that its 2xx to `invite` made."""
        return self.request(
            method, invite.contact, body=body, From=f"{invite.get('To')};tag={self.tag}", To=invite.get("From"),
            Call_ID=invite.get("Call-ID"), CSeq=f"{number} {method}",
        )  # fmt: skip

    def invite(self, called: str, *extra: tuple[str, str], body: bytes | None = None, **changed: str | None) -> bytes:
        """An INVITE that is let through: the challenge is fetched and answered first."""
        uri = f"sip:{called}@{self.domain}"
        offer = session(self.way.local) if body is None else body
        changed.setdefault("Call_ID", secrets.token_hex(10))
        refusal = self.tell(self.request("INVITE", uri, *extra, body=offer, **changed))
        credentials = ("Authorization", self.authorize(refusal, "INVITE", uri))
        return self.request("INVITE", uri, credentials, *extra, body=offer, **changed)

    def reply(
        self, request: Message, status: int, reason: str = "Said So", *extra: tuple[str, str],
        body: bytes = b"", to_tag: str | None = None,
    ) -> bytes:  # fmt: skip
        """A response of this phone's, with its tag (or another)."""
        to = request.get("To")
        if not request.tag("To") and status > 100:
            to += f";tag={to_tag or self.tag}"
        rows = [("Via", via) for via in request.get_all("Via")]
        rows += [("From", request.get("From")), ("To", to), ("Call-ID", request.get("Call-ID"))]
        rows += [("CSeq", request.get("CSeq"))]
        if status < 300:
            rows.append(("Contact", f"<{self.contact}>"))
        if body:
            rows.append(("Content-Type", "application/sdp"))
        return compose(f"SIP/2.0 {status} {reason}", [*rows, *extra], body)

    def cancel(self, request: bytes) -> bytes:
        """The CANCEL of a request (RFC 3261 section 9.1)."""
        sent = Message.read(request)
        rows = [(name, sent.get(name)) for name in ("Via", "Max-Forwards", "From", "To", "Call-ID")]
        rows.append(("CSeq", sent.get("CSeq").replace(sent.method, "CANCEL")))
        return compose(f"CANCEL {sent.uri} SIP/2.0", rows)

    def await_status(self, status: int) -> Message:
        """The next response with this status; anything before it is passed over."""
        while True:
            message = self.way.receive()
            if message.status == status:
                return message

    def await_request(self, method: str) -> Message:
        """The next request with this method; anything before it is passed over."""
        while True:
            message = self.way.receive()
            if message.start.startswith(f"{method} "):
                return message


def session(
    address: Address,
    *,
    direction: str = "sendrecv",
    connection: str | None = None,
    version: int = 1,
    media_port: int = 9170,
) -> bytes:
    """A session description of a voice at `address`."""
    kind = "IP6" if address.family.name == "IP6" else "IP4"
    lines = [
        "v=0",
        f"o=- 7 {version} IN {kind} {address.host}",
        "s=-",
        f"c=IN {kind} {connection or address.host}",
        "t=0 0",
        f"m=audio {media_port} RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        f"a={direction}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()
