from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sip_edge.call.harness import Harness

DIALPLAN = """
[internal]
exten => 2,1,Dial(SIP/dev2,20)
exten => 3,1,Dial(SIP/dev2&SIP/dev3,20)
exten => 4,1,Dial(SIP/nobody)
exten => 5,1,Dial(SIP/dev2,5)
 same => n,Playback(sorry,noanswer)
 same => n,Hangup(19)
exten => 6,1,Dial(SIP/dev2,,g)
 same => n,Playback(goodbye)
exten => 7,1,Answer()
 same => n,Dial(SIP/dev2,20)
exten => 100,1,Answer()
 same => n,Playback(hello-world)
 same => n,Hangup()
exten => 101,1,Playback(hello-world,noanswer)
exten => 200,1,Answer()
 same => n,Background(menu)
 same => n,WaitExten(5)
exten => 1,1,Playback(one)
exten => 300,1,Read(PIN,enter,4)
 same => n,Set(DB(pins/last)=${PIN})
 same => n,GotoIf($["${DB(pins/last)}" = "1234"]?ok:no)
 same => n(ok),Playback(right)
 same => n,Hangup()
 same => n(no),Playback(wrong)
exten => 600,1,Answer()
 same => n,Echo()
exten => 700,1,Busy()
exten => 701,1,Congestion()
exten => 702,1,Hangup(21)
exten => 703,1,Ringing()
 same => n,Wait(3)
 same => n,Hangup()
exten => 800,1,Answer()
 same => n,Wait(100)
exten => h,1,NoOp(gone)
"""

Make = Callable[..., Harness]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path, DIALPLAN)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(dialplan: str = DIALPLAN, **options: Any) -> Harness:
        return Harness(tmp_path, dialplan, **options)

    return build
