"""A REGISTER message as the registrar's command."""

from __future__ import annotations

from services.core.sip.flow import Flow
from services.core.sip.headers import STAR, Star
from services.core.sip.lexical import parse_delta_seconds, unquote_string
from services.core.sip.message import Request
from services.core.sip.uri import NameAddr, split_name_addr
from services.registrar.model import Contact, Register

MAX_REG_ID = 2**31 - 1


def read_register(request: Request, flow: Flow, request_id: str) -> Register:
    """What a REGISTER asks for. `request_id` must be unique; the ids of new bindings begin with it.

    Raises SipError 400 for a Contact that cannot be read, names no SIP URI, or puts `*` beside others.
    """
    remote = flow.remote
    return Register(
        contacts=read_contacts(request.get_all("Contact")),
        expires_s=request.expires,
        call_id=request.call_id,
        cseq=request.cseq.number,
        path=tuple(request.get_all("Path")),
        transport=flow.transport,
        source=str(remote),
        local=str(flow.local),
        flow_id=flow.id,
        scope_id=remote.scope_id,
        family=remote.family.value,
        user_agent=request.get("User-Agent") or "",
        id=request_id,
    )


def read_contacts(values: list[str]) -> tuple[Contact, ...] | Star:
    """The values of all Contact rows, or STAR. Raises SipError 400."""
    return STAR if values == ["*"] else tuple([read_contact(value) for value in values])


def read_contact(value: str) -> Contact:
    """One Contact value; an unreadable `q` is 1 and an unreadable `expires` an hour. Raises SipError 400."""
    parts = split_name_addr(value, "Contact")
    address = NameAddr.of_parts(parts, "Contact")
    text, expires_s, q, instance, reg_id = parts[1], None, 1.0, "", 0
    for name, raw in address.params:
        match name.lower():
            case "expires":
                expires_s = parse_delta_seconds(unquote_string(raw or ""))
            case "q":
                q = _read_q(raw or "")
            case "+sip.instance":
                instance = unquote_string(raw or "")
            case "reg-id":
                reg_id = _read_reg_id(raw or "")
    return Contact(text=text, uri=address.uri, expires_s=expires_s, q=q, instance=instance, reg_id=reg_id)


def _read_q(text: str) -> float:
    """A qvalue, 0 to 1 with at most three decimals (RFC 3261 25.1)."""
    whole, point, decimals = text.partition(".")
    if whole not in ("0", "1", "") or len(decimals) > 3 or not (whole or decimals):
        return 1.0
    if decimals and not (decimals.isascii() and decimals.isdigit()):
        return 1.0
    return min(float(f"{whole or '0'}{point}{decimals or '0'}" if point else whole), 1.0)


def _read_reg_id(text: str) -> int:
    """RFC 5626 4.2: 1 to 2^31 - 1; 0 stands for none."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return 0
    number = int(text)
    return number if number <= MAX_REG_ID else 0
