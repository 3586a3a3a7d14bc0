"""Real programs beside a test: started, waited for by what they print, ended by their own pid.

Everything here blocks; nothing sleeps. A `Programs` ends what it started however the test ended, and the kernel ends
it if the test itself is killed (`setpriv --pdeathsig`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self, TypeVar

import pytest

T = TypeVar("T")

PATIENCE_S = 10.0
"""How long a condition may take that normally takes milliseconds; machines that test are busy."""


class Host(Protocol):
    """Where a program runs: a namespace, or nothing for the machine itself."""

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that runs `command` there."""
        ...


class Program:
    """One running program; standard output and standard error are its `lines`, in the order they came."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        host: Host | None = None,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._finished = False
        self._process = subprocess.Popen(
            _dying_with_us(host.inside(command) if host else list(command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=folder,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name=f"read {self.name}")
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            with self._news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._finished = True
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """Everything printed up to now."""
        with self._news:
            return "\n".join(self.lines)

    def wait_until(self, found: Callable[[list[str]], T | None], what: str, timeout_s: float = PATIENCE_S) -> T:
        """What `found` makes of the lines, as soon as it is not None. Raises AssertionError, with the output."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while (value := found(self.lines)) is None:
                left_s = deadline - time.monotonic()
                if self._finished or left_s <= 0:
                    why = "ended" if self._finished else f"took more than {timeout_s:g} s"
                    tail = "\n    ".join(self.lines[-30:])
                    raise AssertionError(f"{self.name} {why}, waiting for {what}; it said:\n    {tail}")
                self._news.wait(left_s)
            return value

    def wait_for(self, pattern: str, *, since: int = 0, timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """The first line (from line number `since` on) that the pattern is found in."""
        wanted = re.compile(pattern)
        return self.wait_until(
            lambda lines: next((match for line in lines[since:] if (match := wanted.search(line))), None),
            f"/{pattern}/",
            timeout_s,
        )

    def say(self, text: str) -> None:
        """A line on its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def say_nothing_more(self) -> None:
        """Its standard input ends."""
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended by itself and everything it said is in `lines`."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            tail = "\n    ".join(self.lines[-30:])
            raise AssertionError(f"{self.name} still runs after {timeout_s:g} s; it said:\n    {tail}") from None
        self._reader.join(timeout_s)
        return code

    def send(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """As a power failure would: no chance to say goodbye."""
        self.send(signal.SIGKILL)
        self.close()

    def close(self, gently: signal.Signals = signal.SIGTERM, patience_s: float = 3.0) -> None:
        """End it: asked first, killed if it doesn't listen."""
        self.send(gently)
        self.say_nothing_more()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Programs:
    """The programs of one test (or of one module's tests)."""

    def __init__(self) -> None:
        self._started: list[Program] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        """What a program that is killed leaves behind is left here, not in /tmp."""

    def start(
        self,
        *command: str | Path,
        host: Host | None = None,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Program:
        """Start one; it is ended with this object at the latest."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="pbx-programs-")
        env = {"TMPDIR": self._scratch.name, **(env or {})}
        return self.adopt(Program([str(word) for word in command], host=host, env=env, folder=folder))

    def said(self, lines: int = 40, width: int = 400) -> list[tuple[str, str]]:
        """The name of each that runs, and the last it said: to be shown beside a failed test."""
        return [
            (f"{program.name} {program.pid}", "\n".join(line[:width] for line in program.lines[-lines:]))
            for program in self._started
            if program.running
        ]

    def adopt(self, program: Program) -> Program:
        """End this one too."""
        self._started.append(program)
        return program

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all, the youngest first. What is asked to end is asked before any is waited for."""
        for program in reversed(self._started):
            program.send(signal.SIGTERM)
        while self._started:
            self._started.pop().close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def run(
    *command: str | Path,
    host: Host | None = None,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout_s: float = 30.0,
) -> str:
    """Standard output of a program that ends by itself. Raises AssertionError when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        host.inside(words) if host else words,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
        cwd=folder,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{shlex.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def until(found: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S, every_s: float = 0.02) -> T:
    """What `found` returns, as soon as it is not None: for conditions nobody sends news of (a file, a counter)."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while (value := found()) is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        pause.wait(every_s)
    return value


def _dying_with_us(command: list[str]) -> list[str]:
    """The same command; the kernel kills it when this process is gone. `setpriv` only sets that and executes it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command


# --- ports -----------------------------------------------------------------------------------------------------------

_KINDS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_SIP_PORTS = range(20000, 32000)
_RTP_PORTS = range(10000, 20000)
"""Below the ports the kernel hands out by itself (32768 and up): what a program binds without asking for a number, or
connects from, never takes a port between its choice here and its use. The two ranges never meet."""


def free_port() -> int:
    """A port that is free for UDP and TCP, IPv4 and IPv6, on loopback."""
    for port in random.sample(_SIP_PORTS, 200):
        if _is_free(port, socket.SOCK_DGRAM) and _is_free(port, socket.SOCK_STREAM):
            return port
    raise AssertionError("no free port")


def free_ports(count: int) -> tuple[int, int]:
    """The first and the last of `count` neighbouring free UDP ports, from an even one on: for RTP, none of SIP's."""
    for start in random.sample(range(_RTP_PORTS.start, _RTP_PORTS.stop - count, 2), 50):
        if all(_is_free(port, socket.SOCK_DGRAM) for port in range(start, start + count)):
            return start, start + count - 1
    raise AssertionError(f"no {count} free ports in a row")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    for family, address in _KINDS:
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
    return True


_NO_SUCH_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@pytest.fixture
def programs() -> Iterator[Programs]:
    """The programs of a test."""
    with Programs() as started:
        yield started


@pytest.fixture(scope="module")
def module_programs() -> Iterator[Programs]:
    """Programs that all tests of a module share."""
    with Programs() as started:
        yield started
