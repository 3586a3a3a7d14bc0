"""The two places where calls are tried: this machine's loopback, and namespaces with global addresses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from services.core.address import Family
from tests.support.baresip import Baresip
from tests.support.netns import Namespace, Network
from tests.support.pbx import Pbx, start_pbx
from tests.support.peer import Phone
from tests.support.processes import Programs

PASSWORDS = {"dev1": "one", "dev2": "two", "dev3": "three"}
_LOOPBACK = {Family.IP4: "127.0.0.1", Family.IP6: "::1"}

EXTENSIONS_CONF = """
[internal]
exten => 1,1,Dial(SIP/dev1,20)
exten => 2,1,Dial(SIP/dev2,20)
exten => 3,1,Dial(SIP/dev3,20)
exten => 100,1,Answer()
 same => n,Playback(hello-world)
 same => n,Hangup()
exten => 200,1,Answer()
 same => n,Read(PIN,beep,4,,1,5)
 same => n,Set(DB(pins/last)=${PIN})
 same => n,Hangup()
exten => 600,1,Answer()
 same => n,Echo()
exten => 700,1,Answer()
 same => n,Goto(menu,s,1)

[menu]
exten => s,1,Background(demo-echotest)
 same => n,WaitExten(5)
exten => 42,1,Playback(beep)
 same => n,Hangup()
exten => i,1,Playback(beep)
 same => n,Hangup()
"""


@dataclass(kw_only=True)
class Site:
    """A PBX, and phones beside it that registered once, by user and family."""

    pbx: Pbx
    programs: Programs
    network: Network | None
    _phones: dict[tuple[str, Family, str], Phone] = field(default_factory=dict)

    def phone(self, user: str, family: Family, transport: str = "udp") -> Phone:
        """A registered phone that has one family only, as far as the network has such hosts."""
        key = (user, family, transport)
        for other in [key_ for key_ in self._phones if key_[0] == user and key_ != key]:
            self._phones.pop(other).close()
        if key not in self._phones:
            self._phones[key] = self._new(user, family, transport)
        return self._phones[key]

    def baresip(self, folder: Path, user: str, family: Family, transport: str = "udp", hz: float = 440) -> Baresip:
        """A registered baresip in place of a phone of this user."""
        for other in [key for key in self._phones if key[0] == user]:
            self._phones.pop(other).close()
        host = self._host(user, family)
        return Baresip(
            self.programs,
            folder / user,
            host.address(family) if host else _LOOPBACK[family],
            self.pbx.address(family),
            user=user,
            password=PASSWORDS[user],
            transport=transport,
            hz=hz,
            host=host,
        )

    def _new(self, user: str, family: Family, transport: str) -> Phone:
        host = self._host(user, family)
        phone = Phone(self.programs, host.address(family) if host else _LOOPBACK[family], host=host)
        phone.account(self.pbx.address(family), user, PASSWORDS[user], transport=transport)
        return phone

    def _host(self, user: str, family: Family) -> Namespace | None:
        if self.network is None:
            return None
        if user == "dev1":
            return self.network.dev1
        return self.network.dev3 if family is Family.IP4 else self.network.dev2


def start_site(programs: Programs, folder: Path, network: Network | None) -> Site:
    """Run the PBX of these tests."""
    host = network.pbx if network else None
    pbx = start_pbx(programs, folder, extensions=EXTENSIONS_CONF, host=host)
    return Site(pbx=pbx, programs=programs, network=network)
