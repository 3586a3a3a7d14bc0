"""Recordings by name: found in the user's sounds directory first, then among the shipped ones.

A name has no extension and no language (`hello-world`, `digits/7`), as in the dialplan. Files are WAV, 8 kHz mono
16-bit PCM. Each is encoded once per codec and kept until the file changes.
"""

import os
import sys
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.media.codecs import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ, Codec, encode

SHIPPED: Final = Path(__file__).parent / "sounds"
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""About an hour: a bigger file would stop the worker while it is encoded."""
CACHE_BYTES: Final = 256 * 1024 * 1024
"""Encoded audio kept; beyond it the longest unused goes."""


class PromptError(Exception):
    """A recording that cannot be played; the text is fit for an ng `error-reason`."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A recording, encoded: whole frames of 20 ms, the last one filled up with silence."""

    encoded: bytes

    @property
    def duration_ms(self) -> int:
        return len(self.encoded) // FRAME_SAMPLES * FRAME_MS


class PromptLibrary:
    """Looks recordings up and keeps them encoded. Reads files where it is called: they are local and small."""

    def __init__(self, directories: Sequence[Path] = (), *, cache_bytes: int = CACHE_BYTES) -> None:
        self._directories = (*directories, SHIPPED)
        self._cache: dict[tuple[str, str], tuple[tuple[int, int], Prompt]] = {}
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0

    def get(self, name: str, codec: Codec) -> Prompt:
        """The recording `name` in `codec`. Raises PromptError, naming the paths searched or what is wrong."""
        path, stamp = self._find(name)
        key = (path, codec.name)
        known = self._cache.pop(key, None)
        if known is None or known[0] != stamp:
            self._forget(known)
            known = (stamp, Prompt(_padded(encode(codec, _read_wav(path)), codec)))
            self._cached_bytes += len(known[1].encoded)
        self._cache[key] = known  # last in order: last used
        while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
            self._forget(self._cache.pop(next(iter(self._cache))))
        return known[1]

    def _forget(self, known: tuple[tuple[int, int], Prompt] | None) -> None:
        if known is not None:
            self._cached_bytes -= len(known[1].encoded)

    def _find(self, name: str) -> tuple[str, tuple[int, int]]:
        """The file and what tells that it has changed: modification time in ns, and size."""
        relative = _relative(name)
        searched = []
        for directory in self._directories:
            path = os.path.join(directory, relative)
            try:
                status = os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                searched.append(path)
                continue
            except OSError as error:
                raise PromptError(f"cannot read {path}: {error.strerror}") from error
            if status.st_size > MAX_FILE_BYTES:
                raise PromptError(f"{path} is too long: {status.st_size} bytes, the limit is {MAX_FILE_BYTES}")
            return path, (status.st_mtime_ns, status.st_size)
        raise PromptError(f"no sound file {name!r}; looked for {', '.join(searched)}")


def _relative(name: str) -> str:
    """`name` as a path below a sounds directory. Raises PromptError for one that would leave it."""
    if not name or "\0" in name or os.path.isabs(name) or ".." in name.split("/"):
        raise PromptError(f"{name!r} is no name of a sound: it must lie below a sounds directory")
    return name if name.endswith(".wav") else f"{name}.wav"


def _read_wav(path: str) -> "array[int]":
    try:
        with open(path, "rb") as file, wave.open(file) as sound:
            channels, width, rate = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            if (channels, width, rate) != (1, 2, SAMPLE_RATE_HZ):
                raise PromptError(
                    f"{path} has {rate} Hz, {8 * width} bits, {channels} channel(s); "
                    f"convert it to {SAMPLE_RATE_HZ} Hz, 16 bits, mono"
                )
            samples = array("h", sound.readframes(sound.getnframes()))
    except (wave.Error, EOFError, ValueError) as error:
        raise PromptError(f"{path} is not a PCM WAV file: {error or 'it ends too early'}") from error
    except OSError as error:
        raise PromptError(f"cannot read {path}: {error.strerror}") from error
    if not samples:
        raise PromptError(f"{path} is empty")
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _padded(encoded: bytes, codec: Codec) -> bytes:
    short = -len(encoded) % FRAME_SAMPLES
    return encoded + bytes((codec.silence,)) * short
