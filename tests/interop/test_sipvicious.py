"""SIPVicious as the attacker, on hosts of its own: it learns nothing, and is banned; calls go on."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal

import pytest

from services.core.address import Family
from tests.support.netns import Namespace, Network
from tests.support.pbx import Pbx, Row, start_pbx
from tests.support.processes import Program, Programs, until

PASSWORD = "120"
SIP = f"""
[general]
context=internal
realm=pbx.example

[1005]
type=friend
host=dynamic
md5secret={hashlib.md5(f"1005:pbx.example:{PASSWORD}".encode()).hexdigest()}
"""
"""A phone kept as an MD5 hash, as svcrack knows no SHA-256."""
NOTHING = "found nothing"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    for tool in ("svmap", "svwar", "svcrack"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} (Debian: sipvicious)")


@pytest.fixture(scope="module")
def pbx(network: Network, module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Pbx:
    """As it comes."""
    return start_pbx(module_programs, tmp_path_factory.mktemp("usual"), sip=SIP, host=network.pbx)


@pytest.fixture(scope="module")
def unaware(network: Network, module_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Pbx:
    """One that knows no scanner by its name: an attacker may hide it. Only what it does gives it away."""
    folder = tmp_path_factory.mktemp("unaware")
    return start_pbx(module_programs, folder, sip=SIP, pbx="[guard]\nscanner=nothing like it\n", host=network.dev4)


class Attack:
    """One of the tools, on a host, against a PBX."""

    def __init__(self, programs: Programs, host: Namespace, pbx: Pbx, tool: str, *options: str) -> None:
        target = pbx.address(Family.IP4).host
        self._program: Program = programs.start(tool, "-v", *options, target, host=host)

    def give_up(self) -> None:
        """Ctrl-C: it says what it found, and ends."""
        self._program.send(signal.SIGINT)

    def finds(self) -> str:
        """What it says when it is done."""
        self._program.wait(20)
        return self._program.output


def bans(pbx: Pbx) -> list[Row]:
    """From the log."""
    lines = (line for line in pbx.program.output.splitlines() if '"message": "banned"' in line)
    return [json.loads(line) for line in lines]


def banned(pbx: Pbx, host: Namespace) -> Row:
    return until(lambda: next((ban for ban in bans(pbx) if ban["address"] == host.ip4), None), f"a ban of {host.name}")


def test_a_scan_for_servers_finds_none_and_ends_in_a_ban(pbx: Pbx, network: Network, programs: Programs) -> None:
    attacks = [
        Attack(programs, network.dev1, pbx, "svmap", f"-P{7000 + number}", "-m", method)
        for number, method in enumerate(("OPTIONS", "INVITE", "REGISTER"))
    ]
    for attack in attacks:
        assert NOTHING in attack.finds()
    ban = banned(pbx, network.dev1)
    assert (ban["reason"], ban["count"], ban["level"]) == ("scanner", 1, "warning")


def test_a_scan_for_extensions_finds_none(unaware: Pbx, network: Network, programs: Programs) -> None:
    attacks = [
        Attack(programs, network.dev3, unaware, "svwar", "--force", "-e1000-1010", f"-P{7000 + number}", "-m", method)
        for number, method in enumerate(("REGISTER", "INVITE", "OPTIONS"))
    ]
    for attack in attacks:
        assert NOTHING in attack.finds()


def test_a_password_is_not_cracked(unaware: Pbx, network: Network, programs: Programs) -> None:
    attack = Attack(programs, network.dev1, unaware, "svcrack", "-u1005", "-r1-200")
    assert banned(unaware, network.dev1)["reason"] == "failures"
    attack.give_up()
    assert NOTHING in attack.finds()


def test_calls_go_on_meanwhile(pbx: Pbx, unaware: Pbx, network: Network) -> None:
    code, said = pbx.tell("doctor")
    assert code == 0, said
    assert {ban["address"] for ban in [*bans(pbx), *bans(unaware)]} <= {network.dev1.ip4, network.dev3.ip4}
