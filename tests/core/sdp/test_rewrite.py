"""A relay's addresses in somebody's description, and the version of the `o=` line."""

from __future__ import annotations

import pytest

from services.core.address import Family
from services.core.sdp import Connection, Direction, MediaRewrite, SdpError, SessionDescription, next_version, rewrite
from tests.core.sdp.samples import DESK_PHONE, IPV6_PHONE, LATE_TRUNK, PHONES, SOFT_PHONE, description, lines_of, text

FOUR = Connection(Family.IP4, "198.51.100.7")
SIX = Connection(Family.IP6, "2001:db8::7")
parse = SessionDescription.parse


def test_a_description_is_moved_to_the_other_family() -> None:
    sdp = parse(DESK_PHONE)
    assert rewrite(sdp, [MediaRewrite(SIX, 30000)], origin=sdp.origin.at(SIX)) == text(
        "v=0",
        "o=alice 20518 1 IN IP6 2001:db8::7",
        "s=SDP data",
        "c=IN IP6 2001:db8::7",
        "t=0 0",
        "m=audio 30000 RTP/AVP 0 8 18 9 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:18 G729/8000",
        "a=fmtp:18 annexb=no",
        "a=rtpmap:9 G722/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:101 telephone-event/8000",
        "a=ptime:20",
        "a=sendrecv",
    )


def test_the_connection_of_a_media_line_stands_after_its_title() -> None:
    out = rewrite(parse(IPV6_PHONE), [MediaRewrite(FOUR, 30000, rtcp_port=30001)])
    media = out.decode().split("\r\n")[4:]
    assert media[:4] == ["m=audio 30000 RTP/AVP 96 8 97", "i=voice", "c=IN IP4 198.51.100.7", "b=TIAS:64000"]
    assert media[-3:] == ["a=x-vendor: something of ours", "a=rtcp:30001", ""]


def test_lines_with_different_addresses_get_their_own() -> None:
    sdp = parse(description("m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 34"))
    out = rewrite(sdp, [MediaRewrite(FOUR, 30000), MediaRewrite(SIX, 30002)])
    assert lines_of(out, "c=", "m=") == [
        "c=IN IP4 198.51.100.7", "m=audio 30000 RTP/AVP 0", "m=video 30002 RTP/AVP 34", "c=IN IP6 2001:db8::7",
    ]  # fmt: skip


def test_nothing_of_the_partys_own_way_is_left() -> None:
    out = rewrite(parse(SOFT_PHONE), [MediaRewrite(FOUR, 30000), None], origin=parse(SOFT_PHONE).origin.at(FOUR))
    assert b"192.168." not in out
    assert b"2001:db8::10" not in out
    assert lines_of(out, "a=ice", "a=candidate", "a=rtcp", "a=group:BUNDLE") == []


def test_a_refused_line_keeps_its_place_and_its_mid() -> None:
    out = rewrite(parse(SOFT_PHONE), [MediaRewrite(FOUR, 30000), None])
    assert out.decode().split("\r\n")[-4:] == ["m=video 0 RTP/AVP 97", "c=IN IP4 198.51.100.7", "a=mid:1", ""]


def test_an_already_refused_line_can_be_refused_again() -> None:
    out = rewrite(parse(LATE_TRUNK), [MediaRewrite(FOUR, 30000), None])
    assert lines_of(out, "m=") == ["m=audio 30000 RTP/AVP 18 8 13", "m=image 0 udptl t38"]


def test_a_hold_by_null_address_becomes_a_hold_by_attribute() -> None:
    sdp = parse(description("m=audio 4000 RTP/AVP 0", "a=sendrecv", c="IN IP4 0.0.0.0"))
    out = rewrite(sdp, [MediaRewrite(SIX, 30000, direction=sdp.media[0].direction)])
    assert lines_of(out, "c=", "a=") == ["c=IN IP6 2001:db8::7", "a=sendonly"]


def test_a_direction_replaces_what_was_said() -> None:
    sdp = parse(description("m=audio 4000 RTP/AVP 0", "a=sendrecv ", "a=inactive"))
    out = rewrite(sdp, [MediaRewrite(FOUR, 30000, direction=Direction.RECVONLY)])
    assert lines_of(out, "a=") == ["a=recvonly"]


def test_several_connections_of_a_line_become_one() -> None:
    sdp = parse(description("m=audio 4000/2 RTP/AVP 0", "c=IN IP4 224.2.1.1/127", "c=IN IP4 224.2.1.2/127", c=None))
    assert lines_of(rewrite(sdp, [MediaRewrite(SIX, 30000)]), "c=", "m=") == [
        "m=audio 30000 RTP/AVP 0", "c=IN IP6 2001:db8::7",
    ]  # fmt: skip


def test_what_is_dropped_can_be_chosen() -> None:
    out = rewrite(parse(SOFT_PHONE), [MediaRewrite(FOUR, 30000), None], drop=())
    assert len(lines_of(out, "a=candidate")) == 2


def test_every_media_line_needs_an_entry() -> None:
    with pytest.raises(ValueError, match="zip"):
        rewrite(parse(SOFT_PHONE), [MediaRewrite(FOUR, 30000)])


@pytest.mark.parametrize("phone", PHONES)
@pytest.mark.parametrize("connection", [FOUR, SIX])
def test_no_bracket_ever_stands_in_an_address(phone: str, connection: Connection) -> None:
    sdp = parse(PHONES[phone])
    entries = [MediaRewrite(connection, 30000, 30001) if media.port else None for media in sdp.media]
    out = rewrite(sdp, entries, origin=sdp.origin.at(connection), drop=())
    assert "[" not in "".join(lines_of(out, "o=", "c=", "a=rtcp:", "a=candidate:"))
    assert parse(out).to_bytes() == out


# --- versions ----------------------------------------------------------------------------------------------------


def test_the_first_description_goes_as_it_is() -> None:
    assert next_version(None, DESK_PHONE) == DESK_PHONE


def test_an_unchanged_description_keeps_its_version_whoever_made_it() -> None:
    again = DESK_PHONE.replace(b"o=alice 20518 1 IN IP4 10.1.1.5", b"o=bob 7 9 IN IP6 2001:db8::2")
    assert next_version(DESK_PHONE, DESK_PHONE) == DESK_PHONE
    assert next_version(DESK_PHONE, again) == DESK_PHONE


def test_a_changed_description_counts_on_under_the_same_origin() -> None:
    """RFC 3264 section 8: toward a party the origin stays and the version grows by one."""
    held = DESK_PHONE.replace(b"sendrecv", b"sendonly").replace(b"o=alice 20518 1 IN", b"o=bob 7 99 IN")
    second = next_version(DESK_PHONE, held)
    assert lines_of(second, "o=", "a=send") == ["o=alice 20518 2 IN IP4 10.1.1.5", "a=sendonly"]
    third = next_version(second, DESK_PHONE)
    assert lines_of(third, "o=", "a=send") == ["o=alice 20518 3 IN IP4 10.1.1.5", "a=sendrecv"]


def test_the_last_version_is_followed_by_the_first() -> None:
    last = DESK_PHONE.replace(b"20518 1 IN", b"20518 %d IN" % (2**64 - 1))
    assert lines_of(next_version(last, DESK_PHONE.replace(b"sendrecv", b"inactive")), "o=") == [
        "o=alice 20518 1 IN IP4 10.1.1.5"
    ]


def test_a_description_without_origin_has_no_version() -> None:
    with pytest.raises(SdpError):
        next_version(b"v=0\r\n", DESK_PHONE)
    with pytest.raises(SdpError):
        next_version(DESK_PHONE, b"v=0\r\ns=-\r\n")
