"""Tones, and what is in a recording. PCM of 16 bit, one channel, at 8 kHz unless said otherwise."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000
Samples = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recording:
    """Sound, as samples between -32768 and 32767."""

    samples: Samples
    rate_hz: int = RATE_HZ

    @classmethod
    def read(cls, path: Path) -> Self:
        """A WAV file of 16 bit; of several channels, the first."""
        with wave.open(str(path), "rb") as file:
            assert file.getsampwidth() == 2, f"{path}: {file.getsampwidth() * 8} bit"
            data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            return cls(data[:: file.getnchannels()].astype(np.float64), file.getframerate())

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz

    def last(self, seconds: float) -> Self:
        """The end of it."""
        return type(self)(self.samples[-int(seconds * self.rate_hz) :], self.rate_hz)

    def power(self) -> float:
        return float(np.mean(self.samples**2)) if len(self.samples) else 0.0

    def silent(self) -> bool:
        """Nothing that could be heard: 60 dB below full scale."""
        return self.power() < (32768 / 1000) ** 2 / 2

    def share_of(self, hz: float) -> float:
        """How much of the power is in a tone, 0 to 1; neighbours closer than about 20 Hz count too."""
        if not len(self.samples) or self.power() == 0:
            return 0.0
        spectrum = np.abs(np.fft.rfft(self.samples * np.hanning(len(self.samples)))) ** 2
        frequencies = np.fft.rfftfreq(len(self.samples), 1 / self.rate_hz)
        return float(spectrum[np.abs(frequencies - hz) < 20].sum() / spectrum.sum())

    def seconds_of(self, hz: float, window_s: float = 0.1) -> float:
        """For how long a tone is nearly all there is to hear."""
        size = int(window_s * self.rate_hz)
        windows = [
            type(self)(self.samples[start : start + size], self.rate_hz)
            for start in range(0, len(self.samples) - size + 1, size)
        ]
        return window_s * sum(1 for window in windows if not window.silent() and window.share_of(hz) > 0.8)


def likeness(heard: Recording, original: Recording) -> float:
    """The normalised cross-correlation at the best lag: 1 for the same sound at any time and loudness, 0 for another.

    Only the part of `heard` that lies under the original counts, so silence before and after it does not.
    """
    assert heard.rate_hz == original.rate_hz, (heard.rate_hz, original.rate_hz)
    wanted = original.samples
    padded = np.concatenate([np.zeros(len(wanted)), heard.samples, np.zeros(len(wanted))])
    size = 1 << (len(padded) + len(wanted)).bit_length()
    products = np.fft.irfft(np.fft.rfft(padded, size) * np.conj(np.fft.rfft(wanted, size)), size)
    products = products[: len(padded) - len(wanted) + 1]
    energy = np.concatenate([[0.0], np.cumsum(padded**2)])
    under = energy[len(wanted) :] - energy[: len(products)]
    loudest = float(np.sqrt(np.max(under) * np.sum(wanted**2)))
    if loudest == 0:
        return 0.0
    # Where hardly anything lies under the original, the quotient is noise.
    scale = np.sqrt(np.maximum(under, 0.1 * np.max(under)) * np.sum(wanted**2))
    return float(np.max(products / scale))


def prompt(name: str) -> Recording:
    """One of the prompts that the package ships."""
    return Recording.read(Path(str(files("services.media") / "sounds" / f"{name}.wav")))


def tone(hz: float, seconds: float, rate_hz: int = RATE_HZ, amplitude: int = 8000, start: int = 0) -> bytes:
    """A sine as PCM bytes; `start` is the number of the first sample, so that pieces join."""
    steps = np.arange(start, start + round(seconds * rate_hz))
    return (amplitude * np.sin(2 * np.pi * hz * steps / rate_hz)).astype("<i2").tobytes()


def write_wav(path: Path, pcm: bytes, rate_hz: int = RATE_HZ) -> Path:
    """PCM of one channel as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return path
