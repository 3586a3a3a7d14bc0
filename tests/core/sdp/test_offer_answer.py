"""What offers ask and what may be answered: RFC 3264, RFC 6157 4.1, RFC 4092."""

from __future__ import annotations

import pytest

from services.core.address import Family
from services.core.sdp import (
    Direction,
    SdpError,
    SessionDescription,
    choose_codecs,
    codec_named,
    direction,
    is_hold,
    media_family,
    restrict_codecs,
    synthesise_answer,
    synthesise_offer,
)
from tests.core.sdp.samples import DESK_PHONE, IPV6_PHONE, LATE_TRUNK, SOFT_PHONE, description, lines_of, text

AUDIO = "m=audio 4000 RTP/AVP 0"


def names(sdp: bytes | None) -> list[str]:
    assert sdp is not None
    audio = SessionDescription.parse(sdp).audio
    assert audio is not None
    return [entry.codec_name for entry in audio.codecs()]


# --- what is asked -----------------------------------------------------------------------------------------------


def test_the_family_is_that_of_the_first_wanted_audio_line() -> None:
    assert media_family(DESK_PHONE) is Family.IP4
    assert media_family(IPV6_PHONE) is Family.IP6
    sdp = description("m=video 4000 RTP/AVP 34", "m=audio 0 RTP/AVP 0", AUDIO, "c=IN IP6 2001:db8::1")
    assert media_family(sdp) is Family.IP6
    assert media_family(description("m=audio 0 RTP/AVP 0")) is None


def test_a_description_already_parsed_is_taken_too() -> None:
    assert media_family(SessionDescription.parse(DESK_PHONE)) is Family.IP4


@pytest.mark.parametrize(
    ("lines", "c", "held"),
    [
        ((AUDIO,), "IN IP4 192.0.2.1", False),
        ((AUDIO, "a=recvonly"), "IN IP4 192.0.2.1", False),
        ((AUDIO, "a=sendonly"), "IN IP4 192.0.2.1", True),
        ((AUDIO, "a=inactive"), "IN IP4 192.0.2.1", True),
        (("a=sendonly", AUDIO), "IN IP4 192.0.2.1", True),
        ((AUDIO,), "IN IP4 0.0.0.0", True),
        ((AUDIO,), "IN IP6 ::", True),
        ((AUDIO,), "IN IP6 hold.invalid", True),
        ((AUDIO, "c=IN IP4 192.0.2.1"), "IN IP4 0.0.0.0", False),
        (("m=audio 0 RTP/AVP 0",), "IN IP4 192.0.2.1", True),
    ],
)
def test_hold_in_all_its_spellings(lines: tuple[str, ...], c: str, held: bool) -> None:
    assert is_hold(description(*lines, c=c)) is held


def test_the_direction_without_audio_is_inactive() -> None:
    assert direction(description("m=video 4000 RTP/AVP 34")) is Direction.INACTIVE
    assert direction(LATE_TRUNK) is Direction.SENDONLY


def test_codecs_are_chosen_in_the_order_of_the_line() -> None:
    media = SessionDescription.parse(DESK_PHONE).media[0]
    assert [entry.payload_type for entry in choose_codecs(media, ("g722", "alaw", "ulaw"))] == [0, 8, 9]
    assert choose_codecs(media, ("opus",)) == ()
    assert [entry.codec_name for entry in choose_codecs(media, ("all",))] == ["ulaw", "alaw", "g729", "g722"]


def test_codecs_are_known_by_either_name() -> None:
    assert codec_named("ulaw") is codec_named("PCMU")
    assert codec_named("Opus") is codec_named("opus")
    assert codec_named("h264") is None


# --- restricting -------------------------------------------------------------------------------------------------


def test_restricting_keeps_the_order_and_the_telephone_events() -> None:
    assert restrict_codecs(DESK_PHONE, ("g722", "ulaw")) == text(
        "v=0",
        "o=alice 20518 1 IN IP4 10.1.1.5",
        "s=SDP data",
        "c=IN IP4 10.1.1.5",
        "t=0 0",
        "m=audio 11780 RTP/AVP 0 9 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:9 G722/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:101 telephone-event/8000",
        "a=ptime:20",
        "a=sendrecv",
    )


def test_a_codec_is_known_by_name_clock_and_channels_not_by_number() -> None:
    sdp = description("m=audio 4000 RTP/AVP 0 96 97 98", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 opus/48000",
                      "a=rtpmap:98 pcmu/8000/1", "a=fmtp:96 x=1", "a=rtcp-fb:97 nack", "a=rtcp-fb:* ccm")  # fmt: skip
    assert lines_of(restrict_codecs(sdp, ("opus",)), "m=", "a=") == [
        "m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2", "a=fmtp:96 x=1", "a=rtcp-fb:* ccm",
    ]  # fmt: skip
    assert names(restrict_codecs(sdp, ("ulaw",))) == ["ulaw", "ulaw"]


def test_payload_types_that_nothing_defines_go() -> None:
    assert lines_of(
        restrict_codecs(description("m=audio 4000 RTP/AVP 0 99 x", "a=fmtp:99 y"), ("all",)), "m=", "a="
    ) == [AUDIO]


def test_telephone_events_alone_are_no_call() -> None:
    assert restrict_codecs(DESK_PHONE, ("opus",)) is None


def test_nothing_left_to_say_is_none() -> None:
    assert restrict_codecs(description("m=audio 0 RTP/AVP 0"), ("ulaw",)) is None
    assert restrict_codecs(description("m=video 4000 RTP/AVP 34"), ("all",)) is None
    assert restrict_codecs(description(), ("ulaw",)) is None


def test_lines_that_are_not_audio_are_refused_in_their_place() -> None:
    sdp = description("m=video 4000 RTP/AVP 34", "a=sendrecv", AUDIO, "m=image 4002 udptl t38")
    assert lines_of(restrict_codecs(sdp, ("ulaw",)), "m=", "a=") == [
        "m=video 0 RTP/AVP 34", AUDIO, "m=image 0 udptl t38",
    ]  # fmt: skip


def test_a_refused_line_keeps_an_address_when_the_session_has_none() -> None:
    out = restrict_codecs(SOFT_PHONE, ("alaw",))
    assert out is not None
    assert out.endswith(b"m=video 0 RTP/AVP 97\r\nc=IN IP4 192.168.1.10\r\na=mid:1\r\n")


def test_a_second_audio_line_without_common_codec_is_refused() -> None:
    sdp = description("m=audio 4000 RTP/AVP 18", AUDIO, "m=audio 0 RTP/AVP 0")
    assert lines_of(restrict_codecs(sdp, ("ulaw",)), "m=") == ["m=audio 0 RTP/AVP 18", AUDIO, "m=audio 0 RTP/AVP 0"]


def test_a_name_we_do_not_know_allows_what_is_called_so() -> None:
    sdp = description("m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 EVRC/8000")
    assert names(restrict_codecs(sdp, ("evrc",))) == ["evrc"]


def test_of_alternative_addresses_the_first_that_is_left_is_kept() -> None:
    """RFC 4092: every line of an ANAT group is answered, one of them is used."""
    sdp = description(
        "a=group:ANAT 1 2", "a=group:LS 1 2",
        "m=audio 4000 RTP/AVP 18", "c=IN IP6 2001:db8::1", "a=mid:1",
        AUDIO, "a=mid:2",
        AUDIO, "a=mid:3",
    )  # fmt: skip
    assert lines_of(restrict_codecs(sdp, ("g729", "ulaw")), "m=", "a=group") == [
        "a=group:LS 1 2", "m=audio 4000 RTP/AVP 18", "m=audio 0 RTP/AVP 0", AUDIO,
    ]  # fmt: skip
    assert lines_of(restrict_codecs(sdp, ("ulaw",)), "m=") == ["m=audio 0 RTP/AVP 18", AUDIO, AUDIO]


# --- answers of our own ------------------------------------------------------------------------------------------


def test_an_application_answers_one_codec_and_the_events() -> None:
    assert synthesise_answer(DESK_PHONE, ("alaw", "ulaw"), session_id=77) == text(
        "v=0",
        "o=- 77 1 IN IP4 anonymous.invalid",
        "s=-",
        "c=IN IP4 anonymous.invalid",
        "t=0 0",
        "m=audio 9 RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
    )


def test_an_answer_with_an_address_is_a_user_agents() -> None:
    answer = synthesise_answer(IPV6_PHONE, ("opus",), session_id=1, version=4, address="2001:db8::9", port=5004)
    assert lines_of(answer, "o=", "c=", "m=", "a=rtpmap") == [
        "o=- 1 4 IN IP6 2001:db8::9", "c=IN IP6 2001:db8::9", "m=audio 5004 RTP/AVP 96 97",
        "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 telephone-event/48000",
    ]  # fmt: skip


def test_an_address_of_the_other_family_can_not_answer() -> None:
    """RFC 6157 4.1: the answer keeps the family of the offer."""
    assert synthesise_answer(IPV6_PHONE, ("opus",), session_id=1, address="192.0.2.9") is None


def test_every_line_is_answered_in_its_place_and_family() -> None:
    """RFC 3264 section 6, RFC 6157 4.1."""
    offer = description(
        "m=video 4000 RTP/AVP 34",
        AUDIO, "c=IN IP6 2001:db8::1", "a=mid:a",
        AUDIO, "a=mid:b",
        "m=audio 0 RTP/AVP 8",
    )  # fmt: skip
    assert lines_of(synthesise_answer(offer, ("ulaw",), session_id=1), "c=", "m=", "a=mid") == [
        "c=IN IP6 anonymous.invalid",
        "m=video 0 RTP/AVP 34", "c=IN IP4 anonymous.invalid",
        "m=audio 9 RTP/AVP 0", "a=mid:a",
        "m=audio 0 RTP/AVP 0", "c=IN IP4 anonymous.invalid", "a=mid:b",
        "m=audio 0 RTP/AVP 8", "c=IN IP4 anonymous.invalid",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_the_direction_is_mirrored(offered: str, answered: str) -> None:
    offer = description(AUDIO, f"a={offered}")
    assert lines_of(synthesise_answer(offer, ("ulaw",), session_id=1), "a=" + answered) == ["a=" + answered]


def test_a_null_address_is_answered_without_sending_to_it() -> None:
    assert b"a=recvonly" in (synthesise_answer(description(AUDIO, c="IN IP6 ::"), ("ulaw",), session_id=1) or b"")


def test_a_wish_narrows_the_answer() -> None:
    answer = synthesise_answer(description(AUDIO), ("ulaw",), session_id=1, wish=Direction.SENDONLY)
    assert b"a=sendonly" in (answer or b"")


def test_an_answer_has_no_events_when_none_were_offered() -> None:
    assert names(synthesise_answer(description(AUDIO), ("ulaw",), session_id=1)) == ["ulaw"]


def test_timing_is_the_offers() -> None:
    offer = description(AUDIO).replace(b"t=0 0", b"t=2873397496 2873404696")
    assert b"t=2873397496 2873404696" in (synthesise_answer(offer, ("ulaw",), session_id=1) or b"")


@pytest.mark.parametrize("proto", ["RTP/SAVP", "UDP/TLS/RTP/SAVPF", "udptl", "TCP/RTP/AVP"])
def test_an_application_takes_no_protocol_it_has_no_keys_for(proto: str) -> None:
    assert synthesise_answer(description(f"m=audio 4000 {proto} 0"), ("ulaw",), session_id=1) is None


def test_avpf_is_answered_as_offered() -> None:
    offer = description("m=audio 4000 RTP/AVPF 0")
    assert lines_of(synthesise_answer(offer, ("ulaw",), session_id=1), "m=") == ["m=audio 9 RTP/AVPF 0"]


def test_format_parameters_of_an_answer() -> None:
    offer = description("m=audio 4000 RTP/AVP 98 18", "a=rtpmap:98 iLBC/8000", "a=fmtp:98 mode=20")
    assert lines_of(synthesise_answer(offer, ("ilbc",), session_id=1), "a=fmtp") == ["a=fmtp:98 mode=20"]
    assert lines_of(synthesise_answer(offer, ("g729",), session_id=1), "a=fmtp") == ["a=fmtp:18 annexb=no"]


def test_no_common_codec_is_no_answer() -> None:
    assert synthesise_answer(DESK_PHONE, ("opus",), session_id=1) is None
    assert synthesise_answer(LATE_TRUNK, ("ulaw",), session_id=1) is None


# --- offers of our own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", list(Family))
def test_an_offer_of_our_own_is_of_the_family_asked_for(family: Family) -> None:
    offer = synthesise_offer(("ulaw", "opus", "g722"), family, session_id=5)
    assert media_family(offer) is family
    assert names(offer) == ["ulaw", "opus", "g722", "telephone-event"]
    assert not any(char in line for char in "[]" for line in lines_of(offer, "o=", "c="))
    assert b"IN IP6 ::" not in offer


def test_dynamic_payload_types_leave_the_events_theirs() -> None:
    offer = synthesise_offer(("opus", "ilbc", "slin", "slin16", "speex", "speex16", "opus"), Family.IP4, session_id=5)
    assert lines_of(offer, "m=") == ["m=audio 9 RTP/AVP 96 97 98 99 100 102 101"]


def test_an_offer_with_an_address_names_it() -> None:
    offer = synthesise_offer(
        ("ulaw",), Family.IP6, session_id=5, address="2001:db8::9", port=6000, way=Direction.SENDONLY
    )
    assert lines_of(offer, "o=", "c=", "m=", "a=send") == [
        "o=- 5 1 IN IP6 2001:db8::9", "c=IN IP6 2001:db8::9", "m=audio 6000 RTP/AVP 0 101", "a=sendonly",
    ]  # fmt: skip


def test_an_offer_needs_a_codec_and_an_address_of_its_family() -> None:
    with pytest.raises(ValueError, match="codec"):
        synthesise_offer(("h264",), Family.IP4, session_id=5)
    with pytest.raises(ValueError, match="family"):
        synthesise_offer(("ulaw",), Family.IP4, session_id=5, address="::1")


def test_our_offer_can_be_answered_by_ourselves() -> None:
    offer = synthesise_offer(("g722", "ulaw"), Family.IP6, session_id=5, address="2001:db8::9", port=6000)
    assert names(synthesise_answer(offer, ("ulaw", "g722"), session_id=6)) == ["g722", "telephone-event"]


def test_bytes_that_are_no_description_are_an_error() -> None:
    for ask in (media_family, direction, is_hold):
        with pytest.raises(SdpError):
            ask(b"hello")
