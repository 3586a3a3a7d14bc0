"""What is RTP, and the figures of a stream (RFC 3550 appendix A)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.media import rtcp
from services.media.rtp import Reception, is_rtp, payload_offset

from .support import rtp_packet

PACKET = rtp_packet(b"\x00" * 160, 1, 2, 3)
PERIOD_S = 0.02


def receive(reception: Reception, *sequences: int, ssrc: int = 7) -> None:
    """Packets in this order, each at the time its number says."""
    for sequence in sequences:
        reception.record(172, sequence & 0xFFFF, 160 * sequence & 0xFFFFFFFF, ssrc, 10 + PERIOD_S * sequence)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (PACKET, True),
        (PACKET[:12], True),
        (PACKET[:11], False),
        (b"\x40" + PACKET[1:], False),  # version 1
        (b"\x80\xc8" + PACKET[2:], False),  # an RTCP sender report
        (b"\x82" + PACKET[1:], True),  # two CSRCs
        (b"\x8f" + PACKET[1:20], False),  # fifteen CSRCs that are not there
        (b"\x90" + PACKET[1:12] + b"\xbe\xde\x00\x01\x00\x00\x00\x00", True),  # an extension of one word
        (b"\x90" + PACKET[1:12] + b"\xbe\xde\x00\x02\x00\x00\x00\x00", False),  # one that is cut short
        (b"\x90" + PACKET[1:12] + b"\xbe", False),
        (b"", False),
    ],
)
def test_rtp_is_told_from_everything_else(packet: bytes, expected: bool) -> None:
    assert is_rtp(packet.ljust(64, b"\x00"), len(packet)) is expected


@given(st.binary(max_size=80))
def test_any_bytes_are_judged_without_an_error(packet: bytes) -> None:
    padded = packet.ljust(80, b"\x00") + bytes(4 * 65536)
    if is_rtp(padded, len(packet)):
        assert 12 <= payload_offset(padded, len(packet)) <= len(packet)
    rtcp.is_rtcp(padded, len(packet))


def test_the_payload_begins_after_csrcs_and_extension() -> None:
    packet = b"\x91" + PACKET[1:12] + b"CSRC" + b"\xbe\xde\x00\x01" + b"EXT." + b"payload"
    assert packet[payload_offset(packet, len(packet)) :] == b"payload"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (bytes.fromhex("80c80006") + bytes(24), True),
        (bytes.fromhex("80c90001") + bytes(4), True),
        (bytes.fromhex("80c90002") + bytes(4), False),
        (bytes.fromhex("80c9"), False),
        (PACKET, False),
    ],
)
def test_rtcp_is_told_from_everything_else(packet: bytes, expected: bool) -> None:
    assert rtcp.is_rtcp(packet, len(packet)) is expected


def test_nothing_lost_in_a_whole_stream_over_a_wrap() -> None:
    reception = Reception()
    receive(reception, *range(65000, 65536 + 65536 + 500))
    assert (reception.packets, reception.lost, reception.misordered) == (66572, 0, 0)
    assert reception.expected == 66572
    assert reception.bytes == 66572 * 172


def test_losses_are_counted_over_a_wrap() -> None:
    reception = Reception()
    receive(reception, 65533, 65534, 65536 + 1, 65536 + 2, 65536 + 5)
    assert reception.lost == 4


def test_a_late_packet_is_no_loss() -> None:
    reception = Reception()
    receive(reception, 1, 2, 4, 3, 5)
    assert (reception.lost, reception.misordered) == (0, 1)


def test_a_copy_does_not_make_up_for_a_loss_and_never_counts_below_zero() -> None:
    reception = Reception()
    receive(reception, 1, 2, 2, 2, 3)
    assert (reception.lost, reception.misordered) == (0, 2)


def test_a_late_packet_over_the_wrap_is_late() -> None:
    reception = Reception()
    receive(reception, 65535, 65537, 65536, 65538)
    assert (reception.lost, reception.misordered) == (0, 1)


def test_a_single_wild_sequence_number_changes_nothing() -> None:
    reception = Reception()
    receive(reception, 1, 2, 30000, 3, 4)
    assert reception.lost == 0
    assert reception.expected == 4


def test_two_wild_numbers_in_a_row_are_a_restarted_source() -> None:
    reception = Reception()
    receive(reception, 1, 2, 5, 30000, 30001, 30002, 30004)
    assert reception.lost == 3
    assert reception.ssrc_changes == 0


def test_a_new_ssrc_begins_anew_and_keeps_what_was_counted() -> None:
    reception = Reception()
    receive(reception, 1, 2, 4)
    receive(reception, 50000, 50001, 50003, ssrc=8)
    assert (reception.packets, reception.lost, reception.ssrc_changes) == (6, 2, 1)
    assert reception.ssrc == 8


def test_a_punctual_stream_has_no_jitter() -> None:
    reception = Reception()
    receive(reception, *range(1000))
    assert reception.jitter_ms < 0.001


def test_jitter_is_the_estimate_of_rfc_3550() -> None:
    reception = Reception()
    estimate, last = 0.0, 0.0
    for number in range(200):
        delay_s = 0.005 if number % 2 else 0.0
        reception.record(172, number, 160 * number, 7, 10 + PERIOD_S * number + delay_s)
        if number:
            estimate += (abs(delay_s - last) * 8000 - estimate) / 16
        last = delay_s
    assert reception.jitter_ms == pytest.approx(estimate / 8, rel=1e-6)
    assert 4.9 < reception.jitter_ms < 5.1


def test_a_timestamp_wrap_is_no_jitter() -> None:
    reception = Reception()
    for number in range(100):
        reception.record(172, number, (0xFFFFFF00 + 160 * number) & 0xFFFFFFFF, 7, 10 + PERIOD_S * number)
    assert reception.jitter_ms < 0.001


def test_telephone_events_do_not_disturb_jitter() -> None:
    reception = Reception()
    receive(reception, *range(10))
    for sequence in range(10, 20):  # one event: its timestamp stands still
        reception.record_untimed(16, sequence, 7, 10 + PERIOD_S * sequence)
    receive(reception, *range(20, 30))
    assert reception.jitter_ms < 0.001
    assert (reception.packets, reception.lost) == (30, 0)


def test_another_clock_rate_starts_the_jitter_clock_anew() -> None:
    reception = Reception()
    receive(reception, *range(10))
    reception.new_clock(48000)
    for number in range(10, 30):
        reception.record(172, number, 960 * number, 7, 10 + PERIOD_S * number)
    assert reception.jitter_ms < 0.001


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 3)), max_size=200))
def test_any_numbers_give_sane_figures(packets: list[tuple[int, int, int]]) -> None:
    reception = Reception()
    for number, (sequence, timestamp, ssrc) in enumerate(packets):
        reception.record(100, sequence, timestamp, ssrc, number * PERIOD_S)
    assert reception.packets == len(packets)
    assert reception.lost >= 0
    assert reception.expected >= 0
    assert reception.jitter_ms >= 0
