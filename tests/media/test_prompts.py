"""Recordings: found by name, encoded once, refused with a reason."""

from __future__ import annotations

import os
import wave
from array import array
from pathlib import Path

import pytest

from services.media.codecs import PCMA, PCMU, decode, encode
from services.media.prompts import SHIPPED, PromptError, PromptLibrary


def write_wav(path: Path, samples: array[int], *, rate: int = 8000, width: int = 2, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def steps(count: int) -> array[int]:
    return array("h", [number * 37 % 20000 for number in range(count)])


def test_a_recording_is_found_by_name_and_encoded(tmp_path: Path) -> None:
    write_wav(tmp_path / "greeting.wav", steps(320))
    library = PromptLibrary([tmp_path])
    for codec in (PCMU, PCMA):
        assert library.get("greeting", codec).encoded == encode(codec, steps(320))
    assert library.get("greeting", PCMU).duration_ms == 40


def test_the_last_frame_is_filled_with_silence(tmp_path: Path) -> None:
    write_wav(tmp_path / "short.wav", steps(161))
    prompt = PromptLibrary([tmp_path]).get("short", PCMA)
    assert len(prompt.encoded) == 320
    assert prompt.encoded[161:] == b"\xd5" * 159


def test_the_users_own_come_before_the_shipped_ones(tmp_path: Path) -> None:
    shipped = PromptLibrary([tmp_path]).get("beep", PCMU)
    write_wav(tmp_path / "beep.wav", steps(160))
    own = PromptLibrary([tmp_path]).get("beep", PCMU)
    assert own.duration_ms == 20
    assert shipped.duration_ms == 300


def test_names_may_have_folders_and_the_extension(tmp_path: Path) -> None:
    write_wav(tmp_path / "shop" / "open.wav", steps(160))
    library = PromptLibrary([tmp_path])
    assert library.get("shop/open", PCMU) is library.get("shop/open.wav", PCMU)


def test_a_recording_is_encoded_once_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "greeting.wav"
    write_wav(path, steps(160))
    library = PromptLibrary([tmp_path])
    first = library.get("greeting", PCMU)
    assert library.get("greeting", PCMU) is first
    write_wav(path, steps(480))
    os.utime(path, ns=(1, 1))
    assert library.get("greeting", PCMU).duration_ms == 60


def test_the_longest_unused_recording_is_forgotten_first(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        write_wav(tmp_path / f"{name}.wav", steps(1600))
    library = PromptLibrary([tmp_path], cache_bytes=3200)
    one = library.get("one", PCMU)
    two = library.get("two", PCMU)
    assert library.get("one", PCMU) is one
    library.get("three", PCMU)
    assert library.get("one", PCMU) is one
    assert library.get("two", PCMU) is not two


def test_a_missing_recording_names_the_places_searched(tmp_path: Path) -> None:
    with pytest.raises(PromptError) as caught:
        PromptLibrary([tmp_path]).get("nowhere", PCMU)
    assert str(tmp_path / "nowhere.wav") in str(caught.value)
    assert str(SHIPPED / "nowhere.wav") in str(caught.value)


@pytest.mark.parametrize("name", ["", "../secret", "/etc/passwd", "a/../../b", "x\0y"])
def test_a_name_does_not_lead_out_of_the_sounds(tmp_path: Path, name: str) -> None:
    with pytest.raises(PromptError, match="below a sounds directory"):
        PromptLibrary([tmp_path]).get(name, PCMU)


@pytest.mark.parametrize(
    ("rate", "width", "channels", "said"),
    [(16000, 2, 1, "16000 Hz"), (8000, 1, 1, "8 bits"), (8000, 2, 2, r"2 channel")],
)
def test_another_format_is_refused_with_what_to_do(
    tmp_path: Path, rate: int, width: int, channels: int, said: str
) -> None:
    write_wav(tmp_path / "odd.wav", steps(320), rate=rate, width=width, channels=channels)
    with pytest.raises(PromptError, match=f"{said}.*convert it to 8000 Hz, 16 bits, mono"):
        PromptLibrary([tmp_path]).get("odd", PCMU)


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"ID3\x03mp3", b"RIFF\x00\x00\x00\x00WAVE", b"RIFF\xff\xff\xff\xffWAVEfmt "]
)
def test_what_is_no_wav_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.wav").write_bytes(content)
    with pytest.raises(PromptError, match="is not a PCM WAV file"):
        PromptLibrary([tmp_path]).get("odd", PCMU)


def test_an_empty_recording_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "none.wav", array("h"))
    with pytest.raises(PromptError, match="is empty"):
        PromptLibrary([tmp_path]).get("none", PCMU)


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(PromptError, match="cannot read"):
        PromptLibrary([tmp_path]).get("folder", PCMU)


SHIPPED_NAMES = [
    "hello-world",
    "beep",
    "vm-goodbye",
    "pbx-invalid",
    "demo-thanks",
    "demo-echotest",
    "demo-echodone",
    "moh/default",
    "ringback",
    "busy",
    "congestion",
    "digits/star",
    "digits/pound",
    *(f"digits/{digit}" for digit in range(10)),
]


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_the_shipped_sounds_are_there_and_loud_enough(name: str) -> None:
    prompt = PromptLibrary().get(name, PCMU)
    samples = decode(PCMU, prompt.encoded)
    assert 200 <= prompt.duration_ms <= 30_000
    assert 6000 < max(map(abs, samples)) < 30_000


def test_the_shipped_sounds_are_no_more_than_these_and_small() -> None:
    files = list(SHIPPED.rglob("*.wav"))
    assert {str(path.relative_to(SHIPPED).with_suffix("")) for path in files} == set(SHIPPED_NAMES)
    assert sum(path.stat().st_size for path in files) < 1_500_000
