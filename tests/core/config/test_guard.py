"""pbx.conf [guard]."""

from __future__ import annotations

from ipaddress import ip_network

from services.core.config.guard import default_guard
from tests.core.config.conftest import Load, Problems


def test_without_a_line_loopback_is_allowed_and_nobody_else(load: Load) -> None:
    guard = load().pbx.guard
    assert guard == default_guard()
    assert guard.enabled
    assert guard.allow == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert "friendly-scanner" in guard.scanners
    assert (guard.max_lag_s, guard.lag_time_s) == (0.5, 3.0)


def test_lines_replace_what_is_allowed_and_what_a_scanner_is(load: Load) -> None:
    text = "[guard]\nallow=10.0.0.0/8\nallow=2001:db8::/32\nscanner=NastyProbe\nrate=0\nmaxlag=250\n"
    guard = load(pbx=text).pbx.guard
    assert guard.allow == (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    assert guard.scanners == ("nastyprobe",)
    assert (guard.rate, guard.max_lag_s) == (0, 0.25)


def test_the_environment_overrides_it(load: Load) -> None:
    env = {"HOME": "/home/pbx", "PBX_PBX_GUARD_ALLOW": "10.1.0.0/16, ::1", "PBX_PBX_GUARD_MAXFAILURES": "3"}
    guard = load(pbx="[guard]\nallow=192.0.2.0/24\n", env=env).pbx.guard
    assert guard.allow == (ip_network("10.1.0.0/16"), ip_network("::1/128"))
    assert guard.max_failures == 3


def test_slips_are_named(problems: Problems) -> None:
    assert problems(pbx="[guard]\nallow=[::1]\nrate=many\nbantime=100\nmaxbantime=50\nmaxfailure=3\n") == [
        "pbx.conf:2: allow: '[::1]' is not a network (write it without brackets and zone, as in 2001:db8::/32)",
        "pbx.conf:3: rate: 'many' is not a whole number (0 to 1000000)",
        "pbx.conf:4: bantime (100) is more than maxbantime (50) (raise maxbantime)",
        "pbx.conf:6: maxfailure is not a setting of [guard] (did you mean maxfailures?)",
    ]
