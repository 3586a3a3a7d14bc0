"""A whole PBX on this test's own event loop: real sockets, a real store, no process to start."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from services.console.doctor.agent import UserAgent
from services.core.address import Address, Family
from services.core.config import Settings, load_settings
from services.core.events.catalogue import Event
from services.core.store.sqlite import SqliteStore
from services.dialplan import Program, load
from services.media.local import LocalMedia
from services.media.worker import Worker
from services.registrar import Registrar
from services.sip_edge.call.process import CallSettings
from services.sip_edge.call.state import CallState
from services.sip_edge.edge import Edge
from services.sip_edge.guard import Guard
from services.sip_edge.observer import Observer

SIP_CONF = """
[general]
context=internal
bindaddr=127.0.0.1:0
bindaddr=[::1]:0
realm=pbx.example
allow=ulaw,alaw

[phone](!)
type=friend
host=dynamic
context=internal

[dev1](phone)
secret=one
callerid="Fred" <1>

[dev2](phone)
secret=two

[dev3](phone)
secret=three

[open](phone)

[guarded](phone)
secret=four
deny=0.0.0.0/0
deny=::/0
permit=192.0.2.0/24
"""

EXTENSIONS_CONF = """
[internal]
exten => 1,1,Dial(SIP/dev1,20)
exten => 2,1,Dial(SIP/dev2,20)
exten => 23,1,Dial(SIP/dev2&SIP/dev3,20)
exten => 100,1,Answer()
 same => n,Playback(hello-world)
 same => n,Hangup()
exten => 200,1,Answer()
 same => n,Read(PIN,beep,4,,1,5)
 same => n,Set(DB(pins/last)=${PIN})
 same => n,Hangup()
exten => 600,1,Answer()
 same => n,Echo()
exten => 700,1,Busy()
"""


class Recorder(Observer):
    """Keeps the facts of every call."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, Event]] = []

    def events(self, state: CallState, events: tuple[Event, ...]) -> None:
        self.facts += [(state.call_id, event) for event in events]


@dataclass(slots=True)
class InProcessPbx:
    """The pieces, for tests that look inside."""

    edge: Edge
    store: SqliteStore
    registrar: Registrar
    worker: Worker
    recorder: Recorder
    settings: Settings

    def address(self, family: Family = Family.IP4, transport: str = "udp") -> Address:
        """Where phones of a family register."""
        return next(
            address
            for address, listener in self.edge.listening
            if address.family is family and transport in listener.transports
        )

    def agent(
        self, user: str, password: str, *, family: Family = Family.IP4, transport: str = "udp", tone_hz: int = 1000
    ) -> UserAgent:
        server = self.address(family, transport)
        return UserAgent(
            user=user, password=password, local=server.host, server=server, transport=transport, tone_hz=tone_hz
        )

    def facts(self, kind: type[Event]) -> list[Event]:
        return [event for _, event in self.recorder.facts if isinstance(event, kind)]


def write_config(
    folder: Path, *, sip: str = SIP_CONF, extensions: str = EXTENSIONS_CONF, rtp: str = "", pbx: str = ""
) -> Path:
    """A configuration directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("sip.conf", sip), ("extensions.conf", extensions), ("rtp.conf", rtp), ("pbx.conf", pbx)):
        (folder / name).write_text(text)
    return folder


@contextlib.asynccontextmanager
async def in_process_pbx(folder: Path, *, call_settings: CallSettings | None = None) -> AsyncIterator[InProcessPbx]:
    """Run the configuration in `folder` here; its state stays in `folder`, so it can be run again."""
    settings = load_settings(folder, {}, {})
    store = SqliteStore(folder / "state.db", site="test", node="test")
    registrar = Registrar(store, time.time)
    await registrar.start()
    worker = Worker(settings.rtp)
    recorder = Recorder()
    program: Program = load(folder / "extensions.conf")
    edge = Edge(
        settings=settings.sip,
        store=store,
        registrar=registrar,
        program=program,
        media=LocalMedia(worker),
        digest_key=b"k" * 32,
        observer=recorder,
        call_settings=call_settings,
        guard=Guard(settings.pbx.guard),
    )
    try:
        await edge.start()
        yield InProcessPbx(edge, store, registrar, worker, recorder, settings)
    finally:
        await edge.stop()
        worker.close()
        await store.close()
