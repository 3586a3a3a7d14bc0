"""A real phone for tests: baresip-python in a process of its own (it allows one stack a process).

    call = caller.dial("2", hz=1000)
    answer = callee.incoming()
    answer.take()
    call.established()
    answer.hears(1000)

Every method returns when the thing has happened; what happens by itself is waited for with `event`.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.core.address import Address, Family
from tests.support.audio import Recording
from tests.support.processes import PATIENCE_S, Host, Program, Programs

_REPOSITORY = Path(__file__).parents[2]


class PeerError(AssertionError):
    """The phone could not do as told."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A SIP message that a phone sent (`out`) or got."""

    out: bool
    transport: str
    source: str
    destination: str
    head: str
    """Start line and headers."""
    sdp: str

    @property
    def start(self) -> str:
        return self.head.partition("\r\n")[0]

    def header(self, name: str) -> str:
        """The value of the first such header; empty without one."""
        prefix = f"{name.lower()}:"
        rows = (line for line in self.head.split("\r\n") if line.lower().startswith(prefix))
        return next(rows, "").partition(":")[2].strip()

    @property
    def addresses(self) -> list[str]:
        """The lines of the session description that have addresses: origin, connections, RTCP, candidates."""
        return [line for line in self.sdp.split("\r\n") if line.startswith(("o=", "c=", "a=rtcp:", "a=candidate:"))]

    @property
    def families(self) -> set[str]:
        """`IP4`, `IP6`: every address type that the session description names."""
        return {word for line in self.addresses for word in line.split() if word in ("IP4", "IP6")}


class Phone:
    """A phone at one address. Its process ends with the `Programs` it was started by."""

    def __init__(
        self, programs: Programs, address: str, *, host: Host | None = None, answer: bool = False, hz: float = 0.0
    ) -> None:
        """`answer`: calls are taken at once, and given the tone."""
        self.address = address
        self.server = ""
        self._ids = itertools.count(1)
        self._rung = itertools.count()
        self.program: Program = programs.start(
            sys.executable, "-m", "tests.support.peer_main", host=host, folder=_REPOSITORY
        )
        self.do("start", address=address, answer=answer, hz=hz)

    def account(
        self,
        server: Address,
        user: str,
        password: str = "",
        *,
        register: bool = True,
        transport: str = "udp",
        **more: Any,
    ) -> None:
        """Be somebody at a server, and register there; `more` is baresip's Account. Raises PeerError when refused."""
        self.server = str(server)
        domain = f"{self.server}"
        more |= {"user": user, "domain": domain, "password": password, "register": register, "transport": transport}
        self.do("account", **more)

    def register(self) -> None:
        """Once more, at once."""
        self.do("register")

    def unregister(self) -> None:
        self.do("unregister")

    def dial(self, number: str, *, hz: float = 0.0) -> PeerCall:
        """Send an INVITE; the tone starts with the audio."""
        return PeerCall(self, self.do("dial", uri=f"sip:{number}@{self.server}", hz=hz))

    def incoming(self, timeout_s: float = PATIENCE_S) -> PeerCall:
        """The next call that rings here."""
        index = next(self._rung)

        def found(lines: list[str]) -> dict[str, Any] | None:
            return next(itertools.islice(_events(lines, "incoming"), index, None), None)

        return PeerCall(self, self.program.wait_until(found, "an incoming call", timeout_s)["call"])

    def event(self, kind: str, *, timeout_s: float = PATIENCE_S, since: int = 0, **fields: Any) -> dict[str, Any]:
        """The first event with these fields, from line `since` of the phone's output on."""

        def found(lines: list[str]) -> dict[str, Any] | None:
            return next((one for one in _events(lines[since:], kind) if fields.items() <= one.items()), None)

        return self.program.wait_until(found, f"{kind} {fields or ''}", timeout_s)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """All of a kind up to now."""
        return list(_events(self.program.lines, kind))

    def trace(self, *, out: bool | None = None) -> list[Traced]:
        """Every SIP message up to now, in order; only those sent, or those got."""
        found = [_traced(message["text"]) for message in self.events("sip")]
        return [traced for traced in found if out in (None, traced.out)]

    def close(self) -> None:
        """Switch it off; it removes its registration."""
        self.program.say_nothing_more()
        self.program.wait()

    def do(self, name: str, **arguments: Any) -> Any:
        """A command of `peer_main`, and its result. Raises PeerError."""
        number = next(self._ids)
        since = len(self.program.lines)
        self.program.say(json.dumps({"id": number, "do": name, **arguments}))
        answer = self.program.wait_until(
            lambda lines: next((one for one in _messages(lines[since:]) if one.get("id") == number), None), name
        )
        if "error" in answer:
            lately = "\n    ".join(f"{one.source} -> {one.destination} {one.start}" for one in self.trace()[-10:])
            raise PeerError(f"{name}: {answer['error']}; the last messages:\n    {lately}")
        return answer["result"]


@dataclass(frozen=True, slots=True)
class PeerCall:
    """One call of a phone."""

    phone: Phone
    number: int

    def take(self) -> None:
        """Answer it; returns when it is established."""
        self.phone.do("take", call=self.number)
        self.established()

    def reject(self) -> None:
        self.phone.do("reject", call=self.number)

    def hangup(self) -> None:
        self.phone.do("hangup", call=self.number)

    def hold(self) -> None:
        """Put the other side on hold; returns when it has agreed."""
        self._renegotiate("hold")

    def resume(self) -> None:
        """Take the other side off hold; returns when it has agreed."""
        self._renegotiate("resume")

    def _renegotiate(self, command: str) -> None:
        since = len(self.phone.program.lines)
        self.phone.do(command, call=self.number)
        self.event("remote_sdp", since=since, text="answer")

    def digits(self, digits: str) -> None:
        """Press keys, 100 ms each; returns when the last is released."""
        self.phone.do("digits", call=self.number, digits=digits)

    def play(self, hz: float) -> None:
        """A tone from now on; 0: silence."""
        self.phone.do("play", call=self.number, hz=hz)

    def forget(self) -> None:
        """Record anew."""
        self.phone.do("forget", call=self.number)

    def listen(self, seconds: float) -> Recording:
        """The recording, once it has that many seconds. Nothing recorded for seconds: PeerError."""
        self.phone.do("hear", call=self.number, seconds=seconds, patience_s=seconds + PATIENCE_S / 2)
        return self.recording()

    def hears(self, hz: float, *, seconds: float = 0.3, patience_s: float = 4.0) -> None:
        """Return once a tone has been nearly all there was to hear for so long; what came before does not matter."""
        self.forget()
        waited_s = share = 0.0
        while waited_s < patience_s:
            waited_s += seconds
            share = self.listen(waited_s).last(seconds).share_of(hz)
            if share > 0.95:
                return
        raise PeerError(f"{hz} Hz is {share:.0%} of what was heard last, after {waited_s:.1f} s")

    def recording(self) -> Recording:
        """What was heard since the call began, or since `forget`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "heard.wav")
            self.phone.do("save", call=self.number, path=str(path))
            return Recording.read(path)

    def event(self, kind: str, **more: Any) -> dict[str, Any]:
        """`ringing`, `progress`, `hold`, `resume`, `digit`, `rtcp`, ... of this call."""
        return self.phone.event(kind, call=self.number, **more)

    def established(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait for the answer. Raises PeerError when the call is refused."""
        message = self._first(("established", "closed"), timeout_s)
        if message["event"] == "closed":
            raise PeerError(f"the call ended: {message['text']}")

    def closed(self, timeout_s: float = PATIENCE_S) -> str:
        """Wait for its end; returns what the stack says about it."""
        return str(self._first(("closed",), timeout_s)["text"])

    def digits_heard(self, count: int) -> str:
        """The first so many keys that the other side pressed."""

        def found(lines: list[str]) -> str | None:
            keys = "".join(one["digit"] for one in _events(lines, "digit") if one["call"] == self.number)
            return keys if len(keys) >= count else None

        return self.phone.program.wait_until(found, f"{count} digits")

    def stats(self) -> dict[str, Any]:
        """baresip's figures of the call; whole once it has ended, else of the last RTCP report."""
        found: dict[str, Any] = self.phone.do("stats", call=self.number)
        return found

    def _first(self, kinds: tuple[str, ...], timeout_s: float) -> dict[str, Any]:
        def found(lines: list[str]) -> dict[str, Any] | None:
            mine = (one for one in _messages(lines) if one.get("call") == self.number)
            return next((one for one in mine if one.get("event") in kinds), None)

        return self.phone.program.wait_until(found, " or ".join(kinds), timeout_s)


FAMILIES = (Family.IP4, Family.IP6)
SDP_NAME = {Family.IP4: "IP4", Family.IP6: "IP6"}


def _messages(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in lines if line.startswith("{"))


def _events(lines: Iterable[str], kind: str) -> Iterator[dict[str, Any]]:
    return (message for message in _messages(lines) if message.get("event") == kind)


def _traced(text: str) -> Traced:
    what, _, message = text.partition("\n")
    way, transport, source, _, destination = what.split(" ")
    head, _, sdp = message.partition("\r\n\r\n")
    return Traced(way == "TX", transport.lower(), source, destination, head, sdp)
