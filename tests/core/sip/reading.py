"""What a user agent reads of a message, as one word: the verdict of the message tables."""

from __future__ import annotations

from services.core.sip.errors import SipError
from services.core.sip.message import Request, Response, parse_message

ACCEPTED = "accepted"
DROPPED = "dropped"
"""Refused, and there is nothing to answer."""


def read_everything(message: Request | Response) -> None:
    """Use every property and every header. Raises SipError for the first malformed one."""
    if isinstance(message, Request):
        _ = message.request_uri
    _ = message.call_id, message.cseq, message.top_via, message.vias, message.from_tag, message.to_tag
    _ = message.from_, message.to, message.contacts, message.routes, message.record_routes
    _ = message.max_forwards, message.expires, message.content_type
    _ = [message.get_all(name) for name, _ in message.headers]
    for via in message.vias:
        _ = via.branch, via.received, via.rport, via.sent_by


def verdict(data: bytes) -> str:
    """`accepted`, `dropped`, or the status a user agent answers with."""
    try:
        message = parse_message(data)
    except SipError as error:
        return DROPPED if error.message is None else str(error.status)
    try:
        read_everything(message)
    except SipError as error:
        return DROPPED if isinstance(message, Response) else str(error.status)
    return ACCEPTED
