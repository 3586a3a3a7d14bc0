"""G.711 tables: the published values, and the round trip of every code."""

from array import array

import pytest

from services.media.codecs import PCMA, PCMU, Codec, decode, encode


@pytest.mark.parametrize(
    ("codec", "sample", "byte"),
    [
        (PCMU, 0, 0xFF),
        (PCMU, -1, 0x7F),
        (PCMU, 32767, 0x80),
        (PCMU, -32768, 0x00),
        (PCMU, 1000, 0xCE),
        (PCMU, -1000, 0x4E),
        (PCMA, 0, 0xD5),
        (PCMA, -1, 0x55),
        (PCMA, 32767, 0xAA),
        (PCMA, -32768, 0x2A),
        (PCMA, 1000, 0xFA),
        (PCMA, -1000, 0x7A),
    ],
)
def test_a_sample_has_the_byte_of_g711(codec: Codec, sample: int, byte: int) -> None:
    assert encode(codec, array("h", [sample])) == bytes((byte,))


@pytest.mark.parametrize("codec", [PCMU, PCMA])
def test_every_code_comes_back_from_its_own_sample(codec: Codec) -> None:
    codes = bytes(range(256))
    again = encode(codec, decode(codec, codes))
    # µ-law has two zeros; the negative one is written as the positive.
    different = {code for code in codes if again[code] != code}
    assert different == ({0x7F} if codec is PCMU else set())


@pytest.mark.parametrize("codec", [PCMU, PCMA])
def test_the_error_stays_below_the_step_of_the_segment(codec: Codec) -> None:
    samples = array("h", range(-32000, 32000, 7))
    for sample, decoded in zip(samples, decode(codec, encode(codec, samples)), strict=True):
        assert abs(sample - decoded) <= max(8, abs(sample) // 16)


def test_silence_is_what_the_codec_says_it_is() -> None:
    for codec in (PCMU, PCMA):
        assert abs(decode(codec, bytes((codec.silence,)))[0]) <= 8
