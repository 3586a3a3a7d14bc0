"""A PBX on loopback, its history, and phones of whatever kind a test puts in place of its own."""

from __future__ import annotations

import contextlib
import re
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.core.address import Family
from services.core.events.catalogue import LegEnded
from tests.interop.history import History, Story
from tests.support.pbx import Pbx, start_pbx
from tests.support.processes import Programs, free_ports
from tests.support.rawsip import Message, Peer, Phone, Stream, Way
from tests.support.sipp import Run

PASSWORDS: Mapping[str, str] = {"dev1": "one", "dev2": "two", "dev3": "three"}
PHONES_CONF = """
[general]
context=internal
realm=pbx.example
{general}

[phone](!)
type=friend
host=dynamic

[dev1](phone)
secret=one
callerid="Fred" <1>

[dev2](phone)
secret=two

[dev3](phone)
secret=three

{phones}
"""
_FAULT = re.compile(r'Traceback|"level": "(error|critical)"')
"""Warnings are about calls and phones, and many tests are about bad ones."""
_RTP_PORTS = 3000
"""Every call takes two or three pairs, and a pair rests when it was used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """What the tests of a module share."""

    pbx: Pbx
    history: History

    @contextlib.contextmanager
    def phone(
        self, user: str, *, family: Family = Family.IP4, transport: str = "udp", password: str | None = None
    ) -> Iterator[Phone]:
        """A phone with a socket, or a connection, of its own."""
        address = self.pbx.address(family)
        way: Peer | Stream = Peer(address) if transport == "udp" else Stream(address)
        with way:
            yield self.phone_on(way, user, password)

    def phone_on(self, way: Way, user: str, password: str | None = None) -> Phone:
        return Phone(way, user, PASSWORDS.get(user, "") if password is None else password)

    def samples(self, metric: str, label: str) -> dict[str, float]:
        """The values of a metric by one label."""
        url = f"http://{self.pbx.env['PBX_PBX_METRICS_BIND']}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        found = re.findall(rf'^{metric}{{.*?{label}="([^"]*)".*?}} (\S+)$', text, re.MULTILINE)
        return {value: float(number) for value, number in found}

    def lead(self, user: str, *runs: Run) -> None:
        """From now on calls to a phone go to these SIPps and nowhere else."""
        with self.phone(user) as phone:
            assert phone.register("*", expires=0).contacts == []
            for run in runs:
                assert run.contact in phone.register(f"<{run.contact}>").contacts


def open_lab(
    programs: Programs, folder: Path, *, extensions: str, general: str = "", phones: str = "", rtp: str = ""
) -> Iterator[Lab]:
    """For a fixture: a PBX with dev1, dev2, dev3 and what else is given; it has not failed when all tests are over."""
    first, last = free_ports(_RTP_PORTS)
    pbx = start_pbx(
        programs,
        folder,
        sip=PHONES_CONF.format(general=general, phones=phones),
        extensions=extensions,
        rtp=f"[general]\n{rtp}\n",
        env={"PBX_RTP_GENERAL_RTPSTART": str(first), "PBX_RTP_GENERAL_RTPEND": str(last)},
    )
    lab = Lab(pbx=pbx, history=History(pbx.data))
    yield lab
    assert pbx.program.running
    assert [line for line in pbx.complaints() if _FAULT.search(line)] == []
    assert lab.samples("pbx_sip_transport_total", "kind")["handler_errors"] == 0


def call_id(messages: list[Message]) -> str:
    """Of the caller that got these."""
    return messages[0].get("Call-ID")


def statuses(messages: list[Message]) -> list[int]:
    return [message.status for message in messages]


def ended(story: Story, leg: str) -> tuple[int, int, str]:
    """Status, cause, and who ended a leg."""
    event = story.one(LegEnded, leg=leg)
    return event.status, event.cause, event.by
