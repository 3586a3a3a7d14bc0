"""A whole configuration directory: rtp.conf, pbx.conf, the environment, everything at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.core.address import Family
from services.core.config import ConfigError, Problem, document, in_order, load_settings
from tests.core.config.conftest import Load, Problems


def test_media_has_ports_and_an_address_for_each_family_that_is_on(load: Load) -> None:
    rtp = load(
        rtp="""
        [general]
        rtpstart=30000
        rtpend=30999
        bindaddr=[2001:db8::1]
        externaddr=203.0.113.7
        rtptimeout=20
        """
    ).rtp
    assert (rtp.port_min, rtp.port_max, rtp.timeout_s, rtp.hold_timeout_s) == (30000, 30999, 20, 3600)
    assert rtp.bind == {Family.IP4: "0.0.0.0", Family.IP6: "2001:db8::1"}
    assert rtp.advertised == {Family.IP4: "203.0.113.7"}
    assert load("[general]\nipv6=no\n").rtp.bind == {Family.IP4: "0.0.0.0"}


def test_the_defaults_of_rtp_conf_and_pbx_conf_need_no_files(load: Load, tmp_path: Path) -> None:
    settings = load()
    assert (settings.rtp.port_min, settings.rtp.port_max) == (10000, 20000)
    assert settings.rtp.sounds_directory == tmp_path / "sounds"
    assert str(settings.pbx.metrics) == "127.0.0.1:9600"
    assert (settings.pbx.log_level, settings.pbx.log_format, settings.pbx.shutdown_grace_s) == ("info", "auto", 5)
    assert settings.pbx.node


def test_media_ports_are_checked(problems: Problems) -> None:
    assert problems(rtp="[general]\nrtpstart=20000\nrtpend=20000\nbindaddr=10.0.0.1\nbindaddr=10.0.0.2\n") == [
        "rtp.conf:3: 20000 to 20000 has no room for a call (rtpend must be at least rtpstart + 3)",
        "rtp.conf:5: bindaddr: this family already has one at rtp.conf:4 (keep one of them)",
    ]


def test_media_ports_leave_out_the_sip_port(problems: Problems) -> None:
    assert problems("[general]\nbindport=5062\n", rtp="[general]\nrtpstart=5000\nrtpend=6000\n") == [
        "rtp.conf:3: the media ports 5000 to 6000 contain the SIP port 5062 of sip.conf:2 (move rtpstart and rtpend)"
    ]


def test_pbx_conf(load: Load, tmp_path: Path) -> None:
    pbx = load(
        pbx="""
        [metrics]
        bind=[::1]:9700
        [log]
        level=debug
        format=json
        [data]
        directory=../data
        [media]
        workers=10.0.0.1:2223
        workers=[2001:db8::2]:2223
        [cluster]
        site=berlin
        node=edge-1
        """
    ).pbx
    assert (str(pbx.metrics), pbx.log_level, pbx.log_format) == ("[::1]:9700", "debug", "json")
    assert pbx.data_directory == tmp_path / "../data"
    assert [str(worker) for worker in pbx.media_workers] == ["10.0.0.1:2223", "[2001:db8::2]:2223"]
    assert (pbx.site, pbx.node, pbx.metrics_origin) == ("berlin", "edge-1", "pbx.conf:3")


def test_metrics_can_be_switched_off(load: Load) -> None:
    assert load(pbx="[metrics]\nbind=none\n").pbx.metrics is None


def test_unknown_sections_are_named(problems: Problems) -> None:
    assert problems(rtp="[genral]\n", pbx="[metrix]\n") == [
        "rtp.conf:1: [genral] is not a section of rtp.conf (use [general])",
        "pbx.conf:1: [metrix] is not a section of pbx.conf "
        "(known are metrics, log, data, shutdown, media, dialplan, cluster, guard)",
    ]


def test_every_problem_of_every_file_comes_at_once(problems: Problems) -> None:
    found = problems("[general\n[general]\nbindport=x\n", rtp="[general]\nrtpstart=80\n", pbx="[log]\nlevel=loud\n")
    assert [line.split(": ")[0] for line in found] == ["sip.conf:1", "sip.conf:3", "rtp.conf:2", "pbx.conf:2"]


def test_the_environment_comes_before_the_files(load: Load) -> None:
    settings = load(
        "[general]\nbindport=5070\nbindaddr=10.0.0.1\n[dev-1]\ntype=friend\nhost=dynamic\nsecret=file\n",
        env={
            "PBX_SIP_GENERAL_BINDADDR": "10.0.0.2,[2001:db8::2]:5072",
            "PBX_SIP_DEV_1_SECRET": "environment",
            "PBX_RTP_GENERAL_RTPSTART": "12000",
            "PBX_PBX_METRICS_BIND": "127.0.0.1:0",
            "PBX_PBX_DATA_DIRECTORY": "/srv/pbx",
            "PBX_SERVICE_HOST": "10.96.0.1",
        },
    )
    assert [str(listener.address) for listener in settings.sip.listeners] == ["10.0.0.2:5070", "[2001:db8::2]:5072"]
    assert settings.sip.listeners[0].origin == "PBX_SIP_GENERAL_BINDADDR"
    assert settings.sip.peers["dev-1"].secret == "environment"
    assert (settings.rtp.port_min, str(settings.pbx.metrics)) == (12000, "127.0.0.1:0")
    assert settings.pbx.data_directory == Path("/srv/pbx")
    assert settings.warnings == ()


def test_a_bad_or_misspelt_variable_is_named(load: Load, problems: Problems) -> None:
    assert problems(env={"PBX_SIP_GENERAL_BINDPORT": "sip"}) == [
        "PBX_SIP_GENERAL_BINDPORT: bindport: 'sip' is not a whole number (0 to 65535)"
    ]
    assert [str(warning) for warning in load(env={"PBX_SIP_GENERAL_BINDPROT": "5070"}).warnings] == [
        "PBX_SIP_GENERAL_BINDPROT: this variable overrides nothing (did you mean PBX_SIP_GENERAL_BINDPORT?)"
    ]


def test_overrides_of_the_command_line_come_before_the_environment(load: Load, tmp_path: Path) -> None:
    load()
    settings = load_settings(tmp_path, {"PBX_SIP_GENERAL_IPV6": "yes"}, {"PBX_SIP_GENERAL_IPV6": "no"})
    assert [str(listener.address) for listener in settings.sip.listeners] == ["0.0.0.0:5060"]


def test_a_missing_directory_or_sip_conf_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "nowhere", {})
    assert str(caught.value) == f"{tmp_path}/nowhere: is not a directory (give --config the folder of sip.conf)"
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path, {})
    assert str(caught.value) == "sip.conf: cannot be read: No such file or directory"


def test_the_data_directory_is_where_state_belongs(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert load(env={"HOME": "/home/a"}).pbx.data_directory == Path("/home/a/.local/state/pbx")
    assert load(env={"HOME": "/home/a", "XDG_STATE_HOME": "/s"}).pbx.data_directory == Path("/s/pbx")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert load(env={}).pbx.data_directory == Path("/var/lib/pbx")


def test_the_documentation_is_what_the_tables_say() -> None:
    page = Path(__file__).parents[3] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == document.text(), "run `make docs`"


def test_problems_come_by_file_and_line_and_each_once() -> None:
    later, sooner, other = Problem("sip.conf", 9, "x"), Problem("sip.conf", 2, "x"), Problem("rtp.conf", 1, "x")
    assert in_order([later, other, sooner, later]) == [sooner, later, other]
