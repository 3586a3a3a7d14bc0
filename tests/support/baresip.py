"""Debian's baresip without a screen: a phone of a stack older than any other here, that answers by itself.

It is told what to do on its standard input and says what happens on its standard output.
"""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import pytest

from services.core.address import Address
from tests.support.audio import Recording, tone, write_wav
from tests.support.processes import Host, Program, Programs, free_port, until

_MODULES = Path("/usr/lib/baresip/modules")
_CONFIG = """\
poll_method epoll
net_interface {address}
sip_listen {listen}
audio_source aufile,{folder}/says.wav
audio_player aufile,{folder}/played.wav
audio_alert aufile,{folder}/alert.wav
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
rtp_ports 40000-60000
rtcp_mux no
jitter_buffer_type fixed
jitter_buffer_delay 1-5
snd_path {folder}
module_path {modules}
module stdio.so
module g711.so
module aufile.so
module sndfile.so
module uuid.so
module_tmp account.so
module_app menu.so
module_app contact.so
"""
_ACCOUNT = (
    "<sip:{user}@{server};transport={transport}>;auth_user={user};auth_pass={password};answermode=auto;regint=60;"
    "audio_codecs=PCMU/8000/1\n"
)
_SAYS_S = 20
_WAV_HEADER_BYTES = 44


class Baresip:
    """One baresip with one account, that says a tone in every call and records what it hears."""

    def __init__(
        self,
        programs: Programs,
        folder: Path,
        address: str,
        server: Address,
        *,
        user: str,
        password: str,
        transport: str = "udp",
        hz: float = 440,
        host: Host | None = None,
    ) -> None:
        """Returns when it has registered."""
        self.server = server
        self._folder = folder
        folder.mkdir(parents=True)
        listen = Address(address, free_port())
        (folder / "config").write_text(
            _CONFIG.format(address=address, listen=listen, folder=folder, modules=_modules())
        )
        (folder / "accounts").write_text(
            _ACCOUNT.format(user=user, server=server, transport=transport, password=password)
        )
        (folder / "contacts").touch()
        write_wav(folder / "says.wav", tone(hz, _SAYS_S))
        self.program: Program = programs.start("baresip", "-f", folder, host=host)
        self.registered = self.program.wait_for(rf"^{user}@.*\{{0/(\w+)/(v\d)\}} 200 OK").groups()
        """Transport and family it registered with, as baresip says them: `UDP`, `v6`."""

    def dial(self, number: str) -> None:
        """Call; the answer is waited for by `established`."""
        self.program.say(f"/dial sip:{number}@{self.server}")

    def established(self) -> None:
        self.program.wait_for("Call established: ")

    def hangup(self) -> None:
        self.program.say("/hangup")

    def closed(self) -> None:
        self.program.wait_for("session closed|Call with .* terminated")

    def heard(self) -> Recording:
        """What it heard in its call, which has ended."""
        self.closed()
        return until(self._recording, "baresip's recording")

    def _recording(self) -> Recording | None:
        """The recording, once its file has been closed: the header is right only then."""
        path = next(self._folder.glob("dump-*-dec.wav"), None)
        if path is None or path.stat().st_size <= _WAV_HEADER_BYTES:
            return None
        try:
            recording = Recording.read(path)
        except wave.Error:
            return None
        return recording if 2 * len(recording.samples) == path.stat().st_size - _WAV_HEADER_BYTES else None


def _modules() -> Path:
    if not shutil.which("baresip"):
        pytest.skip("needs baresip (Debian: baresip-core)")
    found = [_MODULES, *sorted(Path("/usr/lib").glob("*-linux-*/baresip/modules"))]
    return next(path for path in found if path.is_dir())
