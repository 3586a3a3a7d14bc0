"""A configuration directory, read into one frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.core.address import Family
from services.core.config.conf import Conf, load_conf
from services.core.config.pbx import PbxSettings, read_pbx
from services.core.config.problems import ConfigError, Problem, in_order
from services.core.config.rtp import RtpSettings, read_rtp
from services.core.config.sip import SipSettings, read_sip
from services.core.config.table import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything but the dialplan, which is data of its own (`services.dialplan`)."""

    directory: Path
    """The configuration directory; `extensions.conf` is in it."""
    sip: SipSettings
    rtp: RtpSettings
    pbx: PbxSettings
    warnings: tuple[Problem, ...] = ()
    """What works but should be looked at; shown at every start."""


def load_settings(
    directory: str | os.PathLike[str], env: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> Settings:
    """Read sip.conf (which must be there), rtp.conf and pbx.conf (which need not) of a directory.

    `env` may override any setting by a variable `PBX_<FILE>_<SECTION>_<KEY>`; `overrides` are more of the same that
    come before it, for the command line. Raises ConfigError with every problem of every file.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise ConfigError([Problem(str(directory), 0, "is not a directory", "give --config the folder of sip.conf")])
    findings = Findings()
    environment = {**env, **(overrides or {})}
    sip = read_sip(_read(folder, "sip.conf", findings).sections, environment, findings, folder)
    families = sorted(
        {listener.address.family for listener in sip.listeners}, key=lambda family: family.value, reverse=True
    )
    rtp = read_rtp(_read(folder, "rtp.conf", findings).sections, folder, families, environment, findings)
    pbx = read_pbx(_read(folder, "pbx.conf", findings).sections, folder, environment, findings)
    _check_ports(sip, rtp, findings)
    findings.check_environment(environment)
    if findings.problems:
        raise ConfigError(in_order(findings.problems))
    return Settings(directory=folder, sip=sip, rtp=rtp, pbx=pbx, warnings=tuple(in_order(findings.warnings)))


def _read(folder: Path, name: str, findings: Findings) -> Conf:
    if name != "sip.conf" and not (folder / name).exists():
        return Conf((), ())
    conf = load_conf(folder / name)
    findings.problems += conf.problems
    return conf


def _check_ports(sip: SipSettings, rtp: RtpSettings, findings: Findings) -> None:
    """A SIP port inside the media range is taken from the media worker at some call in the afternoon."""
    for listener in sip.listeners:
        port = listener.address.port
        if listener.udp and rtp.port_min <= port <= rtp.port_max:
            message = (
                f"the media ports {rtp.port_min} to {rtp.port_max} contain the SIP port {port} of {listener.origin}"
            )
            file, _, line = rtp.origin.rpartition(":")
            where = (file, int(line)) if file and line.isdigit() else (rtp.origin, 0)
            findings.problems.append(Problem(*where, message, "move rtpstart and rtpend"))
            return


def families_of(settings: Settings) -> tuple[Family, ...]:
    """The address families that are on."""
    return tuple(settings.rtp.bind)
