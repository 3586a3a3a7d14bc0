"""Reading and writing session descriptions: RFC 8866 and what phones make of it."""

from __future__ import annotations

import pytest

from services.core.address import Family
from services.core.sdp import Direction, Format, SdpError, SessionDescription
from services.core.sdp.description import MAX_FORMATS, MAX_LINES, MAX_MEDIA, MAX_SDP_BYTES
from tests.core.sdp.samples import DESK_PHONE, IPV6_PHONE, LATE_TRUNK, PHONES, SOFT_PHONE, description, text

parse = SessionDescription.parse
AUDIO = "m=audio 4000 RTP/AVP 0"


def refusal(data: bytes) -> SdpError:
    with pytest.raises(SdpError) as caught:
        parse(data)
    return caught.value


# --- lossless ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", PHONES)
def test_a_description_comes_out_as_it_came_in(phone: str) -> None:
    assert parse(PHONES[phone]).to_bytes() == PHONES[phone]


@pytest.mark.parametrize("phone", PHONES)
def test_lf_alone_is_taken_and_crlf_is_written(phone: str) -> None:
    assert parse(PHONES[phone].replace(b"\r\n", b"\n")).to_bytes() == PHONES[phone]


def test_a_missing_last_line_end_is_added() -> None:
    assert parse(DESK_PHONE[:-2]).to_bytes() == DESK_PHONE
    assert parse(DESK_PHONE[:-1]).to_bytes() == DESK_PHONE


def test_empty_lines_are_dropped() -> None:
    assert parse(DESK_PHONE.replace(b"t=0 0\r\n", b"t=0 0\r\n\r\n") + b"\r\n").to_bytes() == DESK_PHONE


def test_bytes_that_are_no_utf8_survive() -> None:
    latin = DESK_PHONE.replace(b"s=SDP data", b"s=Gespr\xe4ch")
    assert parse(latin).to_bytes() == latin


def test_line_separators_of_unicode_do_not_end_a_line() -> None:
    strange = DESK_PHONE.replace(b"s=SDP data", "s=a\u2028b\u0085c\x1cd".encode())
    assert parse(strange).to_bytes() == strange


# --- the session's part ------------------------------------------------------------------------------------------


def test_origin_is_read() -> None:
    origin = parse(IPV6_PHONE).origin
    assert (origin.username, origin.session_id, origin.version) == ("-", "3847", 3847)
    assert (origin.family, origin.address) == (Family.IP6, "2001:db8::5")


def test_a_user_name_with_spaces_is_taken() -> None:
    assert parse(description(AUDIO, o="John Q Doe 1 2 IN IP4 192.0.2.1")).origin.username == "John Q Doe"


def test_an_origin_may_be_a_name_and_end_in_a_digit() -> None:
    assert parse(description(AUDIO, o="- 1 1 IN IP4 PBX1")).origin.address == "pbx1"


def test_missing_s_and_t_are_tolerated() -> None:
    assert parse(text("v=0", "o=- 1 1 IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1", AUDIO)).audio is not None


def test_the_v_and_o_lines_are_needed() -> None:
    assert refusal(text("o=- 1 1 IN IP4 192.0.2.1", "s=-")).status == 400
    assert refusal(text("v=1", "o=- 1 1 IN IP4 192.0.2.1")).status == 400
    assert refusal(text("v=0", "s=-", "t=0 0")).status == 400
    assert refusal(b"").status == 400


def test_a_second_origin_is_refused() -> None:
    assert refusal(text("v=0", "o=- 1 1 IN IP4 192.0.2.1", "o=- 1 1 IN IP4 192.0.2.2")).status == 400


@pytest.mark.parametrize(
    "o", ["- 1 1 IN IP4", "- x 1 IN IP4 h", "- 1 +1 IN IP4 h", "- 1 \u0667 IN IP4 h", "- 1 1_0 IN IP4 h"]
)
def test_an_origin_of_bad_form_is_refused(o: str) -> None:
    assert refusal(description(AUDIO, o=o)).status == 400


def test_a_version_beyond_64_bits_is_refused() -> None:
    assert parse(description(AUDIO, o=f"- 1 {2**64 - 1} IN IP4 h")).origin.version == 2**64 - 1
    assert refusal(description(AUDIO, o=f"- 1 {2**64} IN IP4 h")).status == 400


# --- media lines -------------------------------------------------------------------------------------------------


def test_a_media_line_is_read() -> None:
    media = parse(DESK_PHONE).media[0]
    assert (media.kind, media.port, media.port_count, media.proto) == ("audio", 11780, 1, "RTP/AVP")
    assert media.formats == ("0", "8", "18", "9", "101")
    assert media.ptime_ms == 20


def test_a_port_count_is_read() -> None:
    assert parse(description("m=audio 4000/2 RTP/AVP 0")).media[0].port_count == 2


def test_spaces_at_the_end_and_twice_are_tolerated() -> None:
    media = parse(description("m=audio 4000  RTP/AVP 0 8 ", "a=recvonly ")).media[0]
    assert media.formats == ("0", "8")
    assert media.direction is Direction.RECVONLY


@pytest.mark.parametrize(
    "line",
    ["m=audio 4000 RTP/AVP", "m=audio x RTP/AVP 0", "m=audio 65536 RTP/AVP 0", "m=audio -1 RTP/AVP 0",
     "m=audio \u0664 RTP/AVP 0", "m=audio 4_0 RTP/AVP 0", "m=audio 4000/ RTP/AVP 0", "m=", "m=audio"],
)  # fmt: skip
def test_a_media_line_of_bad_form_is_refused(line: str) -> None:
    assert refusal(description(line)).status == 400


@pytest.mark.parametrize("line", ["x", "=", "a sendrecv", " a=x", "A=x", "1=x"])
def test_a_line_that_is_not_type_and_value_is_refused(line: str) -> None:
    assert refusal(description(AUDIO, line)).status == 400


def test_nul_and_lone_cr_are_refused() -> None:
    assert refusal(description(AUDIO, "a=x\0y")).status == 400
    assert refusal(description(AUDIO, "a=x\ry")).status == 400


def test_the_limits_hold() -> None:
    assert refusal(DESK_PHONE + b"a=" + b"x" * MAX_SDP_BYTES).status == 400
    assert refusal(description(AUDIO, *["a=x"] * MAX_LINES)).status == 400
    assert refusal(description(*[AUDIO] * (MAX_MEDIA + 1))).status == 400
    assert refusal(description(AUDIO + " 8" * MAX_FORMATS)).status == 400


# --- formats -----------------------------------------------------------------------------------------------------


def test_formats_keep_the_order_of_the_line_and_find_their_rtpmap() -> None:
    opus, alaw, events = parse(IPV6_PHONE).media[0].codecs()
    assert opus == Format(96, "opus", 48000, 2, "useinbandfec=1")
    assert (alaw.codec_name, alaw.clock_rate_hz) == ("alaw", 8000)
    assert events.is_telephone_event


def test_static_payload_types_need_no_rtpmap() -> None:
    names = [entry.codec_name for entry in parse(LATE_TRUNK).media[0].codecs()]
    assert names == ["g729", "alaw", "cn"]


def test_an_rtpmap_wins_over_the_static_table() -> None:
    entry = parse(description(AUDIO, "a=rtpmap:0 L16/16000")).media[0].codec(0)
    assert entry is not None
    assert entry.codec_name == "slin16"


def test_g722_is_8000_even_for_phones_that_say_16000() -> None:
    entry = parse(description("m=audio 4000 RTP/AVP 9", "a=rtpmap:9 G722/16000")).media[0].codec(9)
    assert entry is not None
    assert (entry.codec_name, entry.clock_rate_hz) == ("g722", 8000)


@pytest.mark.parametrize("fmt", ["128", "-1", "\u0668", "96", "x", "0001"])
def test_a_format_that_nothing_defines_is_left_out(fmt: str) -> None:
    assert [entry.payload_type for entry in parse(description(f"m=audio 4000 RTP/AVP {fmt} 8")).media[0].codecs()] == [
        8
    ]


def test_fax_has_no_payload_formats() -> None:
    assert parse(description("m=image 4000 udptl t38")).media[0].codecs() == ()


def test_the_telephone_event_of_a_clock_rate_is_found() -> None:
    lines = ("m=audio 4000 RTP/AVP 96 100 101", "a=rtpmap:96 opus/48000/2",
             "a=rtpmap:100 telephone-event/48000", "a=rtpmap:101 TELEPHONE-EVENT/8000")  # fmt: skip
    media = parse(description(*lines)).media[0]
    assert [getattr(media.telephone_event(clock), "payload_type", 0) for clock in (8000, 48000, 16000)] == [
        101,
        100,
        100,
    ]
    assert parse(description(AUDIO)).media[0].telephone_event() is None


@pytest.mark.parametrize(("value", "ms"), [("20", 20), ("30.0", 30), ("x", None), ("\u0662", None), ("99999", None)])
def test_ptime_is_a_number_or_nothing(value: str, ms: int | None) -> None:
    assert parse(description(AUDIO, f"a=ptime:{value}")).media[0].ptime_ms == ms


def test_attributes_are_found_by_their_whole_name() -> None:
    media = parse(SOFT_PHONE).media[0]
    assert media.attribute("mid") == "0"
    assert media.attribute("rtcp-mux") == ""
    assert media.attribute("rtc") is None
    assert parse(SOFT_PHONE).attribute("group") == "BUNDLE 0 1"


# --- connections -------------------------------------------------------------------------------------------------


def test_the_media_connection_wins_over_the_sessions() -> None:
    media = parse(description(AUDIO, "c=IN IP6 2001:DB8:0::7", AUDIO)).media
    assert media[0].connection is not None
    assert (media[0].family, media[0].connection.address) == (Family.IP6, "2001:db8::7")
    assert media[1].family is Family.IP4


def test_both_families_may_stand_in_one_description() -> None:
    """RFC 5118 4.8."""
    media = parse(description(AUDIO, "c=IN IP6 2001:db8::1", AUDIO, "c=IN IP4 192.0.2.1", c=None)).media
    assert [line.family for line in media] == [Family.IP6, Family.IP4]


def test_a_mapped_address_is_an_ipv6_address() -> None:
    """RFC 5118 4.9."""
    connection = parse(description(AUDIO, c="IN IP6 ::ffff:c000:202")).connection
    assert connection is not None
    assert (connection.family, connection.address) == (Family.IP6, "::ffff:192.0.2.2")


def test_a_wanted_stream_needs_an_address_and_a_refused_one_does_not() -> None:
    assert refusal(description(AUDIO, c=None)).status == 400
    assert parse(description("m=audio 0 RTP/AVP 0", c=None)).media[0].connection is None


@pytest.mark.parametrize(
    "c",
    ["IN IP6 [2001:db8::1]", "IN IP4 [192.0.2.1]", "IN IP6 fe80::1%eth0", "IN IP6 fe80::1%25eth0", "IN IP4 2001:db8::1",
     "IN IP6 192.0.2.1", "IN IP6 2001:db8:::1", "IN IP6 2001:db8::1::", "IN IP4 192.0.2.256", "IN IP4 127.1",
     "IN IP4 0177.0.0.1", "IN IP4 \u0661.2.3.4", "IN IP4 exa_mple.\u00e9", "IN IP4 a;b", "IN IP5 192.0.2.1",
     "TN RFC2543 +1-201-406-4090", "IN IP6 2001:db8::1:%"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["session", "media", "second", "origin", "rtcp"])
def test_an_unacceptable_address_is_488_wherever_it_stands(c: str, place: str) -> None:
    match place:
        case "session":
            data = description(AUDIO, c=c)
        case "media":
            data = description(AUDIO, f"c={c}")
        case "second":
            data = description(AUDIO, "c=IN IP4 192.0.2.1", f"c={c}")
        case "origin":
            data = description(AUDIO, o=f"- 1 1 {c}")
        case _:
            data = description(AUDIO, f"a=rtcp:4001 {c}")
    assert refusal(data).status == 488


@pytest.mark.parametrize(
    "c", ["IN IP4", "IN", "", "IN IP4 192.0.2.1 x", "IN IP4 192.0.2.1/24", "IN IP6 2001:db8::1/64"]
)
def test_a_connection_of_bad_form_is_400(c: str) -> None:
    assert refusal(description(AUDIO, c=c)).status == 400


def test_multicast_is_recognised_with_its_suffix() -> None:
    four = parse(description(AUDIO, c="IN IP4 224.2.1.1/127/3")).connection
    six = parse(description(AUDIO, c="IN IP6 ff15::101/3")).connection
    assert four is not None
    assert six is not None
    assert (four.is_multicast, six.is_multicast) == (True, True)
    assert (str(four), str(six)) == ("IN IP4 224.2.1.1/127/3", "IN IP6 ff15::101/3")
    one = parse(DESK_PHONE).connection
    assert one is not None
    assert not one.is_multicast


# --- direction and hold ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", list(Direction))
def test_the_media_direction_wins_over_the_sessions(value: Direction) -> None:
    inherited, own = parse(description("a=recvonly", AUDIO, AUDIO, f"a={value.value}")).media
    assert inherited.direction is Direction.RECVONLY
    assert own.direction is value


def test_without_an_attribute_both_send() -> None:
    assert parse(description(AUDIO)).media[0].direction is Direction.SENDRECV


@pytest.mark.parametrize(
    "c", ["IN IP4 0.0.0.0", "IN IP6 ::", "IN IP6 0::0", "IN IP6 ::ffff:0.0.0.0", "IN IP6 Hold.Invalid"]
)
def test_a_null_address_means_do_not_send_to_me(c: str) -> None:
    """RFC 3264 8.4; the `.invalid` name is RFC 6157 4.1."""
    held = parse(description(AUDIO, AUDIO, "a=recvonly", c=c)).media
    assert [media.direction for media in held] == [Direction.SENDONLY, Direction.INACTIVE]
    assert held[0].direction_attribute is Direction.SENDRECV
    assert held[0].null_address


@pytest.mark.parametrize("value", list(Direction))
def test_directions_are_what_they_say(value: Direction) -> None:
    assert value.mirrored.sends == value.receives
    assert value.mirrored.receives == value.sends
    assert value.within(Direction.SENDRECV) is value
    assert value.within(Direction.INACTIVE) is Direction.INACTIVE
    assert value.within(Direction.RECVONLY).sends is False


# --- RTCP --------------------------------------------------------------------------------------------------------


def test_rtcp_is_the_next_port_unless_said_otherwise() -> None:
    plain, named, refused, last = parse(
        description(AUDIO, AUDIO, "a=rtcp:53020 IN IP6 2001:db8::9", "m=audio 0 RTP/AVP 0", "m=audio 65535 RTP/AVP 0")
    ).media
    assert [media.rtcp_port for media in (plain, named, refused, last)] == [4001, 53020, 0, 0]
    assert plain.rtcp_connection == plain.connection
    assert named.rtcp_connection is not None
    assert named.rtcp_connection.address == "2001:db8::9"


def test_an_rtcp_attribute_of_bad_form_is_refused() -> None:
    assert refusal(description(AUDIO, "a=rtcp:x")).status == 400
    assert refusal(description(AUDIO, "a=rtcp:4001 IN")).status == 400


# --- candidates --------------------------------------------------------------------------------------------------


def test_a_broken_candidate_is_dropped_by_itself() -> None:
    broken = SOFT_PHONE.replace(b"2001:db8::10 4002", b"[2001:db8::10] 4002")
    assert parse(broken).to_bytes() == SOFT_PHONE.replace(
        b"a=candidate:2 1 UDP 2130706430 2001:db8::10 4002 typ host\r\n", b""
    )
