"""The four services as processes of their own, on one configuration and one data directory."""

from __future__ import annotations

import re
import sys
import urllib.request
from pathlib import Path

from tests.support.processes import Program, Programs, free_port, free_ports, programs, run, until

__all__ = ["programs"]

HELLO = Path(__file__).parents[2] / "examples" / "hello"
SERVICES = ("media", "registrar", "dialplan", "edge")


def ports_of_our_own() -> dict[str, str]:
    sip, (first, last) = free_port(), free_ports(40)
    return {
        "PBX_SIP_GENERAL_BINDADDR": f"127.0.0.1:{sip},[::1]:{sip}",
        "PBX_RTP_GENERAL_RTPSTART": str(first),
        "PBX_RTP_GENERAL_RTPEND": str(last),
        "PBX_RTP_GENERAL_NGLISTEN": f"127.0.0.1:{free_port()}",
        "PBX_PBX_METRICS_BIND": f"127.0.0.1:{free_port()}",
        "PBX_PBX_SHUTDOWN_GRACE": "0",
    }


def start(programs: Programs, service: str, config: Path, data: Path, env: dict[str, str]) -> Program:
    return programs.start(
        sys.executable, "-m", "services.console.cli", service, "--config", config, "--data", data, env=env
    )


def test_services_that_run_apart_carry_calls_together(programs: Programs, tmp_path: Path) -> None:
    env = ports_of_our_own()
    started = {service: start(programs, service, HELLO, tmp_path, env) for service in SERVICES}
    for service, word in zip(SERVICES, ("ready", "ready", "published", "ready"), strict=True):
        started[service].wait_for(word)
    doctor = (sys.executable, "-m", "services.console.cli", "doctor", "--config", HELLO, "--data", tmp_path)
    assert "Everything works." in run(*doctor, env=env)
    records = (sys.executable, "-m", "services.console.cli", "cdr", "--data", tmp_path, "--csv")
    until(lambda: True if run(*records).count("ANSWERED") == 4 else None, "the records of four calls")

    host, _, port = env["PBX_PBX_METRICS_BIND"].rpartition(":")
    told = []
    for offset in range(4):
        with urllib.request.urlopen(f"http://{host}:{int(port) + offset}/metrics", timeout=10) as answer:
            told.append(set(re.findall(r"^(pbx_\w+)", answer.read().decode(), re.MULTILINE)))
    for samples, name in zip(
        told, ("pbx_calls_active", "pbx_media_sessions", "pbx_bindings", "pbx_dialplan_versions_total"), strict=True
    ):
        assert name in samples

    for program in started.values():
        program.close()
        assert program.wait() == 0
        assert "Traceback" not in program.output
