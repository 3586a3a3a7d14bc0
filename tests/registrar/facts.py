"""REGISTERs and bindings for tests, with everything that does not matter filled in."""

from __future__ import annotations

from services.core.address import Address
from services.core.sip.flow import Flow
from services.core.sip.headers import STAR
from services.core.sip.message import Request, parse_message
from services.registrar.aggregate import decide, fold
from services.registrar.model import DEFAULT_RULES, NO_BINDINGS, Bindings, Refused, Register, Registered, Rules
from services.registrar.request import read_contact, read_register

NOW = 1_800_000_000.0
FLOW = Flow("udp", Address("2001:db8::5", 5060), Address("2001:db8::9", 49152), 3)


def register(
    *contacts: str,
    call_id: str = "call-1",
    cseq: int = 1,
    expires: int | None = None,
    request_id: str = "",
    **facts: object,
) -> Register:
    """A REGISTER from its Contact values; `*` alone is the star."""
    return Register(
        contacts=STAR if contacts == ("*",) else tuple([read_contact(value) for value in contacts]),
        expires_s=expires,
        call_id=call_id,
        cseq=cseq,
        id=request_id or f"{call_id}-{cseq}",
        **{
            "transport": "udp",
            "source": "[2001:db8::9]:49152",
            "local": "[2001:db8::5]:5060",
            "flow_id": 3,
            "family": "ip6",
            **facts,
        },  # type: ignore[arg-type]
    )


class Aor:
    """An address of record with a clock moved by hand. Every decision is folded into `bindings`."""

    def __init__(self, rules: Rules = DEFAULT_RULES, bindings: Bindings = NO_BINDINGS) -> None:
        self.rules = rules
        self.bindings = bindings
        self.now = NOW
        self._cseq = 0

    def send(self, *contacts: str, **facts: object) -> Registered | Refused:
        """A REGISTER; its CSeq is one higher than the last unless given."""
        self._cseq += 1
        usual = {"cseq": self._cseq, "request_id": f"r{self._cseq}"}
        command = register(*contacts, **{**usual, **facts})  # type: ignore[arg-type]
        decision = decide(self.bindings, command, self.now, self.rules)
        if isinstance(decision, Registered):
            self.bindings = fold(self.bindings, decision.events)
        return decision

    def ok(self, *contacts: str, **facts: object) -> tuple[str, ...]:
        """A REGISTER that must succeed; the names of its events."""
        decision = self.send(*contacts, **facts)
        assert isinstance(decision, Registered), decision
        return tuple([type(event).__name__ for event in decision.events])

    def refused(self, *contacts: str, **facts: object) -> Refused:
        """A REGISTER that must fail and change nothing."""
        before = self.bindings
        decision = self.send(*contacts, **facts)
        assert isinstance(decision, Refused), decision
        assert self.bindings is before
        return decision

    @property
    def contacts(self) -> list[str]:
        """The URIs bound and alive, oldest first."""
        return [binding.contact for binding in self.bindings.live(self.now)]

    @property
    def remaining(self) -> list[float]:
        """Their seconds left."""
        return [binding.expires_at - self.now for binding in self.bindings.live(self.now)]


def message(*rows: str, cseq: int = 1, call_id: str = "call-1") -> Request:
    """A REGISTER off the wire with these rows besides the usual ones."""
    text = "\r\n".join(
        [
            "REGISTER sip:pbx.example SIP/2.0",
            "Via: SIP/2.0/UDP [2001:db8::9]:49152;branch=z9hG4bK1",
            "From: <sip:dev1@pbx.example>;tag=1",
            "To: <sip:dev1@pbx.example>",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} REGISTER",
            "Max-Forwards: 70",
            *rows,
            "Content-Length: 0",
            "",
            "",
        ]
    )
    request = parse_message(text.encode("utf-8", "surrogateescape"))
    assert isinstance(request, Request)
    return request


def read(*rows: str, flow: Flow = FLOW) -> Register:
    """What `read_register` makes of such a message."""
    return read_register(message(*rows), flow, "id")
