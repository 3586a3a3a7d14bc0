"""Makes the shipped sounds: `python services/media/sounds/make_sounds.py`, next to its own file.

Needs espeak-ng (Debian package `espeak-ng`) and numpy; neither is needed to run the PBX. Speech comes from espeak-ng,
tones and the hold tune are computed. Everything is 8 kHz mono 16-bit WAV. Commit the files it writes.
"""

import io
import subprocess
import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
"""Between -1 and 1."""

RATE_HZ: Final = 8000
HERE: Final = Path(__file__).parent
SPEECH_PEAK: Final = 0.6
TUNE_PEAK: Final = 0.3
"""Music is kept well below speech: it is listened to for longer."""

SENTENCES: Final = {
    "hello-world": "Hello world.",
    "vm-goodbye": "Goodbye.",
    "pbx-invalid": "I am sorry, that is not a valid extension. Please try again.",
    "demo-thanks": "Thank you for calling. Goodbye.",
    "demo-echotest": "This is an echo test. Whatever you say comes back to you. Press pound when you are done.",
    "demo-echodone": "The echo test is over.",
    "digits/0": "zero",
    "digits/1": "one",
    "digits/2": "two",
    "digits/3": "three",
    "digits/4": "four",
    "digits/5": "five",
    "digits/6": "six",
    "digits/7": "seven",
    "digits/8": "eight",
    "digits/9": "nine",
    "digits/star": "star",
    "digits/pound": "pound",
}

TUNE: Final = (
    # chord (MIDI notes), melody as (beat, note); four beats a bar
    ((48, 55, 64), ((0, 76), (1, 79), (2, 84), (3, 79))),
    ((45, 52, 60), ((0, 76), (1.5, 74), (2, 72), (3, 69))),
    ((41, 53, 60), ((0, 69), (1, 72), (2, 77), (3, 76))),
    ((43, 55, 59), ((0, 74), (1, 71), (2, 67), (3, 74))),
    ((48, 55, 64), ((0, 72), (1, 76), (2, 79), (3, 84))),
    ((52, 55, 59), ((0, 83), (1.5, 79), (2, 76), (3, 71))),
    ((41, 53, 60), ((0, 72), (1, 69), (2, 65), (3, 69))),
    ((43, 55, 62), ((0, 71), (1, 74), (2, 79), (3, 71))),
)
BEAT_S: Final = 0.6

PROGRESS: Final = {
    # name: frequencies (Hz), then seconds on and off; one turn of it is the file, which is played without end
    "ringback": ((440, 480), 2.0, 4.0),
    "busy": ((480, 620), 0.5, 0.5),
    "congestion": ((480, 620), 0.25, 0.25),
}
"""What an answered caller hears of a call's progress: the precise tone plan of North America (ITU-T E.180)."""


def main() -> None:
    """Write every file."""
    for name, text in SENTENCES.items():
        write(name, speak(text))
    write("beep", beep())
    write("moh/default", tune())
    for name, (frequencies_hz, on_s, off_s) in PROGRESS.items():
        write(name, progress_tone(frequencies_hz, on_s, off_s))


def write(name: str, samples: Samples) -> None:
    """One WAV file below this folder."""
    path = HERE / f"{name}.wav"
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    print(f"{path.relative_to(HERE)}: {len(samples) / RATE_HZ:.2f} s")


def progress_tone(frequencies_hz: tuple[int, ...], on_s: float, off_s: float) -> Samples:
    """Equal sines for a time, then silence; faded over 5 ms so that it does not click."""
    seconds = np.arange(round(on_s * RATE_HZ)) / RATE_HZ
    sound = sum(np.sin(2 * np.pi * frequency * seconds) for frequency in frequencies_hz) / len(frequencies_hz)
    ramp = np.minimum(1.0, np.minimum(seconds, on_s - seconds) / 0.005)
    return np.concatenate([sound * ramp * TUNE_PEAK, np.zeros(round(off_s * RATE_HZ))])


def speak(text: str) -> Samples:
    """Speech at 8 kHz, without the silence around it, at one loudness."""
    command = ["espeak-ng", "-v", "en-us", "-s", "150", "-p", "45", "-g", "2", "--stdout", text]
    spoken = subprocess.run(command, check=True, capture_output=True).stdout
    rate_hz, samples = read_streamed_wav(spoken)
    samples = trimmed(resampled(samples, rate_hz))
    quiet = np.zeros(RATE_HZ // 20)
    return np.concatenate((quiet, samples / np.abs(samples).max() * SPEECH_PEAK, quiet))


def read_streamed_wav(data: bytes) -> tuple[int, Samples]:
    """espeak-ng writes a header before it knows the length; take all that follows it."""
    with wave.open(io.BytesIO(data)) as file:
        rate_hz = file.getframerate()
    body = data[data.index(b"data") + 8 :]
    return rate_hz, np.frombuffer(body[: len(body) // 2 * 2], "<i2").astype(float) / 32768


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """At 8 kHz, by a windowed sinc that leaves nothing above 3.6 kHz to alias."""
    cutoff = 3600 / rate_hz
    taps = np.arange(-160, 161)
    kernel = 2 * cutoff * np.sinc(2 * cutoff * taps) * np.blackman(len(taps))
    smooth = np.convolve(samples, kernel / kernel.sum(), mode="same")
    times = np.arange(int(len(samples) * RATE_HZ / rate_hz)) * rate_hz / RATE_HZ
    result: Samples = np.interp(times, np.arange(len(smooth)), smooth)
    return result


def trimmed(samples: Samples) -> Samples:
    """Without the silence before and after."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[max(0, loud[0] - 80) : loud[-1] + 160]


def beep() -> Samples:
    """A third of a second at 1 kHz, with soft edges."""
    times = np.arange(RATE_HZ * 3 // 10) / RATE_HZ
    edge = np.minimum(1, np.minimum(times, times[-1] - times) / 0.01)
    sound: Samples = 0.4 * np.sin(2 * np.pi * 1000 * times) * edge
    return sound


def tune() -> Samples:
    """The hold tune: bells over a soft chord. It ends where it begins; what still rings goes on at the start."""
    bar = round(4 * BEAT_S * RATE_HZ)
    length = bar * len(TUNE)
    out = np.zeros(length)
    for number, (chord, melody) in enumerate(TUNE):
        for note in chord:
            add(out, number * bar, 0.25 * pad(note))
        for beat, note in melody:
            add(out, number * bar + round(beat * BEAT_S * RATE_HZ), bell(note))
    out *= TUNE_PEAK / np.abs(out).max()
    return out


def add(out: Samples, start: int, sound: Samples) -> None:
    """Mix a sound in; what reaches beyond the end goes to the beginning, so that the loop has no seam."""
    np.add.at(out, (start + np.arange(len(sound))) % len(out), sound)


def bell(note: int) -> Samples:
    """A struck bar: partials that fade the faster the higher they are."""
    times = np.arange(round(2.2 * RATE_HZ)) / RATE_HZ
    base = pitch(note)
    partials = ((1.0, 1.0, 2.2), (2.0, 0.35, 3.5), (3.01, 0.12, 6.0))
    sound: Samples = sum(
        (level * np.exp(-decay * times) * np.sin(2 * np.pi * base * ratio * times) for ratio, level, decay in partials),
        start=np.zeros(len(times)),
    )
    sound *= np.minimum(1, times / 0.004) * np.minimum(1, (times[-1] - times) / 0.1)
    return sound


def pad(note: int) -> Samples:
    """A held, slightly beating note of one bar that swells and dies away."""
    times = np.arange(round(4.4 * BEAT_S * RATE_HZ)) / RATE_HZ
    base = pitch(note)
    sound: Samples = np.sin(2 * np.pi * base * times) + 0.6 * np.sin(2 * np.pi * base * 1.004 * times)
    sound *= np.sin(np.pi * times / times[-1]) ** 0.8
    return sound


def pitch(note: int) -> float:
    """Hertz of a MIDI note."""
    return float(440 * 2 ** ((note - 69) / 12))


if __name__ == "__main__":
    main()
