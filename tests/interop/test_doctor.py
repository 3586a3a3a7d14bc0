"""`pbx doctor`: a test call over everything that the running PBX listens on."""

from __future__ import annotations

from pathlib import Path

from tests.support.pbx import SIP_CONF, start_pbx
from tests.support.processes import Programs


def test_it_finds_everything_well(programs: Programs, tmp_path: Path) -> None:
    pbx = start_pbx(programs, tmp_path)
    code, said = pbx.tell("doctor")
    assert code == 0, said
    lines = said.splitlines()
    places = [line for line in lines if " over " in line]
    assert len(places) == 4
    assert {line.rpartition(" ")[2] for line in places} == {"UDP", "TCP"}
    assert sum("tone heard" in line for line in lines) == 8
    assert "✗" not in said
    assert lines[-1] == "Everything works."


def test_it_finds_a_media_address_where_nobody_is(programs: Programs, tmp_path: Path) -> None:
    """The PBX tells IPv4 phones to send where it does not listen, as a wrong `externaddr` does; IPv6 is well."""
    sip = SIP_CONF.replace("[general]", "[general]\ntcpenable=no")
    rtp = "[general]\nbindaddr=127.0.0.1\nexternaddr=127.0.0.99\n"
    pbx = start_pbx(programs, tmp_path, sip=sip, rtp=rtp)
    code, said = pbx.tell("doctor")
    assert code == 1
    over_ip4, _, over_ip6 = said.partition("[::1]")
    assert over_ip4.startswith("127.0.0.1:")
    assert "✗ caller to callee: 0 packets came" in over_ip4
    assert "check rtp.conf: bindaddr, externaddr" in over_ip4
    assert "✗" not in over_ip6.partition("Something is wrong")[0]


def test_it_says_so_when_no_pbx_runs(programs: Programs, tmp_path: Path) -> None:
    pbx = start_pbx(programs, tmp_path, sip=SIP_CONF.replace("[general]", "[general]\nudpenable=no"))
    pbx.stop()
    code, said = pbx.tell("doctor")
    assert code == 1
    assert "is the PBX running with this configuration?" in said
