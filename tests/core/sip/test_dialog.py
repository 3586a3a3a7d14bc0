"""Dialogs: RFC 3261 12.1, 12.2, 13.2.2.4; RFC 5118's addresses in every field."""

from __future__ import annotations

import pytest

from services.core.sip.dialog import Dialog, DialogId, dialog_of_request, dialog_of_response
from services.core.sip.errors import SipError
from services.core.sip.message import Request, Response, parse_message
from services.core.sip.uri import SipUri

VIA = "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKnew;rport"


def request_of_peer(
    method: str = "INVITE",
    *,
    cseq: int = 314,
    contact: str | None = "<sip:alice@[2001:db8::9]:5070;transport=tcp>",
    to_tag: str | None = None,
    record_routes: tuple[str, ...] = (),
) -> Request:
    rows = [
        f"{method} sip:bob@[2001:db8::1] SIP/2.0",
        "Via: SIP/2.0/UDP [2001:db8::9]:5070;branch=z9hG4bKp",
        *(f"Record-Route: {route}" for route in record_routes),
        'From: "Alice: \\"A\\"" <sip:alice@[2001:db8::9]>;tag=alice1',
        f"To: <sip:bob@[2001:db8::1];user=phone>{'' if to_tag is None else f';tag={to_tag}'}",
        "Call-ID: call@[2001:db8::9]",
        f"CSeq: {cseq} {method}",
        *(() if contact is None else (f"Contact: {contact}",)),
        "Content-Length: 0",
    ]
    message = parse_message("\r\n".join([*rows, "", ""]).encode())
    assert isinstance(message, Request)
    return message


def our_invite() -> Request:
    rows = [
        ("Via", VIA),
        ("From", '"PBX" <sip:1001@pbx.example>;tag=us'),
        ("To", "<sip:bob@192.0.2.9>"),
        ("Call-ID", "ours-1"),
        ("CSeq", "7 INVITE"),
    ]
    return Request("INVITE", "sip:bob@192.0.2.9:5070", rows)


def response_of_peer(
    status: int, *, tag: str = "bob1", contact: str | None = "<sip:bob@192.0.2.9:5071>", routes: tuple[str, ...] = ()
) -> Response:
    rows = [
        ("Via", VIA),
        *(("Record-Route", route) for route in routes),
        ("From", '"PBX" <sip:1001@pbx.example>;tag=us'),
        ("To", f"<sip:bob@192.0.2.9>;tag={tag}"),
        ("Call-ID", "ours-1"),
        ("CSeq", "7 INVITE"),
    ]
    if contact is not None:
        rows.append(("Contact", contact))
    return Response(status, "Said So", rows)


def rows_of(request: Request) -> dict[str, str]:
    return {name: ", ".join(request.rows(name)) for name, _ in request.headers}


# --- making one ------------------------------------------------------------------------------------------------------


def test_answering_side_takes_its_state_from_the_request() -> None:
    """12.1.1."""
    request = request_of_peer(record_routes=("<sip:p2.example;lr>", "<sip:[2001:db8::a];lr>, <sip:p0.example;lr;x=y>"))
    assert Dialog.uas(request, "us") == Dialog(
        call_id="call@[2001:db8::9]",
        local_tag="us",
        remote_tag="alice1",
        local_uri="<sip:bob@[2001:db8::1];user=phone>",
        remote_uri='"Alice: \\"A\\"" <sip:alice@[2001:db8::9]>',
        remote_target="sip:alice@[2001:db8::9]:5070;transport=tcp",
        route_set=("<sip:p2.example;lr>", "<sip:[2001:db8::a];lr>", "<sip:p0.example;lr;x=y>"),
        local_cseq=0,
        remote_cseq=314,
    )


def test_asking_side_takes_its_state_from_the_response_and_reverses_the_routes() -> None:
    """12.1.2."""
    dialog = Dialog.uac(our_invite(), response_of_peer(200, routes=("<sip:p1.example;lr>", "<sip:p2.example;lr>")))
    assert dialog == Dialog(
        call_id="ours-1",
        local_tag="us",
        remote_tag="bob1",
        local_uri='"PBX" <sip:1001@pbx.example>',
        remote_uri="<sip:bob@192.0.2.9>",
        remote_target="sip:bob@192.0.2.9:5071",
        route_set=("<sip:p2.example;lr>", "<sip:p1.example;lr>"),
        local_cseq=7,
    )
    assert dialog.id == DialogId("ours-1", "us", "bob1")


@pytest.mark.parametrize("contact", [None, "*"])
def test_a_dialog_needs_a_contact(contact: str | None) -> None:
    with pytest.raises(SipError) as caught:
        Dialog.uas(request_of_peer(contact=contact), "us")
    assert (caught.value.status, caught.value.where) == (400, "Contact")
    with pytest.raises(SipError):
        Dialog.uac(our_invite(), response_of_peer(200, contact=contact))


def test_a_peer_of_rfc_2543_has_no_tag_and_gets_none() -> None:
    """12.1.1: the tag is null; 12.2.1.1: it is then left out."""
    request = request_of_peer()
    request.set("From", "<sip:alice@[2001:db8::9]>")
    _, bye = Dialog.uas(request, "us").next_request("BYE", via=VIA)
    assert bye.get("To") == "<sip:alice@[2001:db8::9]>"


def test_both_sides_name_the_dialog_alike() -> None:
    dialog = Dialog.uas(request_of_peer(), "us")
    assert dialog_of_request(request_of_peer("BYE", to_tag="us")) == dialog.id
    ours = Dialog.uac(our_invite(), response_of_peer(200))
    assert dialog_of_response(response_of_peer(200)) == ours.id


# --- forks and confirmation ------------------------------------------------------------------------------------------


def test_each_fork_is_an_early_dialog_of_its_own() -> None:
    one = Dialog.uac(our_invite(), response_of_peer(180, tag="one"))
    two = Dialog.uac(our_invite(), response_of_peer(183, tag="two"))
    assert one.early
    assert two.early
    assert one.id != two.id


def test_early_dialog_without_contact_aims_at_the_request_uri_until_it_is_answered() -> None:
    early = Dialog.uac(our_invite(), response_of_peer(180, contact=None))
    assert early.remote_target == "sip:bob@192.0.2.9:5070"
    assert early.answered(response_of_peer(200)).remote_target == "sip:bob@192.0.2.9:5071"


def test_the_2xx_confirms_and_computes_the_route_set_anew() -> None:
    """13.2.2.4."""
    early = Dialog.uac(our_invite(), response_of_peer(180, routes=("<sip:old.example;lr>",)))
    ringing = early.answered(response_of_peer(183, contact="<sip:bob@192.0.2.10>", routes=("<sip:x.example;lr>",)))
    assert ringing.early
    assert ringing.route_set == ("<sip:old.example;lr>",)
    assert ringing.remote_target == "sip:bob@192.0.2.10"
    confirmed = ringing.answered(response_of_peer(200, routes=("<sip:a.example;lr>", "<sip:b.example;lr>")))
    assert not confirmed.early
    assert confirmed.route_set == ("<sip:b.example;lr>", "<sip:a.example;lr>")


def test_a_2xx_to_a_re_invite_moves_the_target_but_never_the_routes() -> None:
    """12.2.1.2."""
    dialog = Dialog.uac(our_invite(), response_of_peer(200, routes=("<sip:p.example;lr>",)))
    moved = dialog.answered(response_of_peer(200, contact="<sip:bob@192.0.2.77>", routes=("<sip:q.example;lr>",)))
    assert moved.remote_target == "sip:bob@192.0.2.77"
    assert moved.route_set == ("<sip:p.example;lr>",)
    assert dialog.answered(response_of_peer(200, contact=None)) is dialog
    assert dialog.answered(response_of_peer(200)) is dialog


def test_answering_side_confirms_by_its_own_2xx() -> None:
    early = Dialog.uas(request_of_peer(), "us", early=True)
    assert early.confirmed() == Dialog.uas(request_of_peer(), "us")
    confirmed = early.confirmed()
    assert confirmed.confirmed() is confirmed


# --- our requests ----------------------------------------------------------------------------------------------------


def test_request_without_routes_goes_to_the_target() -> None:
    """12.2.1.1."""
    dialog = Dialog.uas(request_of_peer(), "us")
    after, bye = dialog.next_request("BYE", via=VIA, headers=[("Reason", "Q.850;cause=16")])
    assert bye.start_line == "BYE sip:alice@[2001:db8::9]:5070;transport=tcp SIP/2.0"
    assert rows_of(bye) == {
        "Via": VIA,
        "Max-Forwards": "70",
        "From": "<sip:bob@[2001:db8::1];user=phone>;tag=us",
        "To": '"Alice: \\"A\\"" <sip:alice@[2001:db8::9]>;tag=alice1',
        "Call-ID": "call@[2001:db8::9]",
        "CSeq": "1 BYE",
        "Reason": "Q.850;cause=16",
    }
    assert after.local_cseq == 1
    assert after.next_request("INFO", via=VIA)[1].get("CSeq") == "2 INFO"
    assert dialog.local_cseq == 0, "the value itself has not changed"
    assert dialog.next_hop == SipUri.parse("sip:alice@[2001:db8::9]:5070;transport=tcp")
    assert parse_message(bye.to_bytes()).start_line == bye.start_line


def test_loose_routing_keeps_the_target_in_the_request_uri() -> None:
    routes = ("<sip:p1.example;lr>", "<sip:[2001:db8::a]:5080;lr;transport=tcp>")
    dialog = Dialog.uas(request_of_peer(record_routes=routes), "us")
    _, request = dialog.next_request("INVITE", via=VIA, contact="<sip:us@[2001:db8::1]>", body=b"v=0\r\n")
    assert request.uri == "sip:alice@[2001:db8::9]:5070;transport=tcp"
    assert request.rows("Route") == list(routes)
    assert request.get("Contact") == "<sip:us@[2001:db8::1]>"
    assert request.body == b"v=0\r\n"
    assert dialog.next_hop.host == "p1.example"


def test_strict_router_first_becomes_the_request_uri_and_the_target_the_last_route() -> None:
    routes = ("<sip:strict.example;method=INVITE?x=y>", "<sip:p2.example;lr>")
    dialog = Dialog.uas(request_of_peer(record_routes=routes), "us")
    _, request = dialog.next_request("BYE", via=VIA)
    assert request.uri == "sip:strict.example"
    assert request.rows("Route") == ["<sip:p2.example;lr>", "<sip:alice@[2001:db8::9]:5070;transport=tcp>"]
    assert dialog.next_hop.host == "strict.example"


def test_target_leaves_out_what_a_request_uri_may_not_carry() -> None:
    """19.1.1: no headers, no method."""
    contact = "<sip:alice@[2001:db8::9];method=BYE;x=y?Subject=hi>"
    _, request = Dialog.uas(request_of_peer(contact=contact), "us").next_request("BYE", via=VIA)
    assert request.uri == "sip:alice@[2001:db8::9];x=y"


def test_ack_repeats_the_invite_s_number_and_uses_none() -> None:
    """13.2.2.4."""
    dialog = Dialog.uac(our_invite(), response_of_peer(200, routes=("<sip:p.example;lr>",)))
    ack = dialog.ack(7, via=VIA, headers=[("Authorization", "Digest x")])
    assert ack.start_line == "ACK sip:bob@192.0.2.9:5071 SIP/2.0"
    assert ack.get("CSeq") == "7 ACK"
    assert ack.rows("Route") == ["<sip:p.example;lr>"]
    assert ack.get("To") == "<sip:bob@192.0.2.9>;tag=bob1"
    assert ack.get("Authorization") == "Digest x"
    assert dialog.next_request("BYE", via=VIA)[1].get("CSeq") == "8 BYE"


# --- their requests --------------------------------------------------------------------------------------------------


def test_requests_in_order_are_taken_and_gaps_are_allowed() -> None:
    """12.2.2."""
    dialog = Dialog.uas(request_of_peer(), "us")
    assert dialog.received(request_of_peer("BYE", cseq=315)).remote_cseq == 315
    assert dialog.received(request_of_peer("BYE", cseq=999)).remote_cseq == 999


def test_lower_number_is_refused_with_500() -> None:
    request = request_of_peer("BYE", cseq=313)
    with pytest.raises(SipError) as caught:
        Dialog.uas(request_of_peer(), "us").received(request)
    assert caught.value.status == 500
    assert caught.value.message is request


def test_first_request_of_the_called_party_may_have_any_number() -> None:
    dialog = Dialog.uac(our_invite(), response_of_peer(200))
    assert dialog.received(request_of_peer("BYE", cseq=0)).remote_cseq == 0
    assert dialog.received(request_of_peer("BYE", cseq=2**31)).remote_cseq == 2**31


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_ack_and_cancel_change_nothing(method: str) -> None:
    dialog = Dialog.uas(request_of_peer(), "us").received(request_of_peer("INFO", cseq=400))
    assert dialog.received(request_of_peer(method, cseq=314)) is dialog


@pytest.mark.parametrize(
    ("method", "moves"), [("INVITE", True), ("UPDATE", True), ("NOTIFY", True), ("INFO", False), ("BYE", False)]
)
def test_target_refresh_requests_move_the_target(method: str, moves: bool) -> None:
    dialog = Dialog.uas(request_of_peer(), "us")
    after = dialog.received(request_of_peer(method, cseq=400, contact="<sip:alice@203.0.113.4>"))
    assert (after.remote_target == "sip:alice@203.0.113.4") is moves
    assert after.route_set == dialog.route_set


def test_refresh_without_contact_keeps_the_target() -> None:
    dialog = Dialog.uas(request_of_peer(), "us")
    assert dialog.received(request_of_peer("UPDATE", cseq=400, contact=None)).remote_target == dialog.remote_target


def test_numbers_of_the_two_sides_are_apart() -> None:
    dialog = Dialog.uas(request_of_peer(), "us")
    dialog = dialog.next_request("INFO", via=VIA)[0].received(request_of_peer("INFO", cseq=315))
    assert (dialog.local_cseq, dialog.remote_cseq) == (1, 315)


def test_a_recorded_route_that_cannot_be_read_makes_no_dialog() -> None:
    """A request along it would fail later, when nobody can be told."""
    with pytest.raises(SipError) as caught:
        Dialog.uas(request_of_peer(record_routes=("<sip:[::1;lr>",)), "ours")
    assert caught.value.status == 400
