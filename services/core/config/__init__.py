"""Configuration: Asterisk's file format, the settings and where each may be overridden."""

from services.core.config.acl import AclRule
from services.core.config.conf import Conf, Entry, Section, load_conf, read_conf
from services.core.config.load import Settings, families_of, load_settings
from services.core.config.pbx import PbxSettings
from services.core.config.problems import ConfigError, Problem, in_order, nearest
from services.core.config.rtp import RtpSettings
from services.core.config.sip import ListenerSettings, Peer, SipSettings

__all__ = [
    "AclRule",
    "Conf",
    "ConfigError",
    "Entry",
    "ListenerSettings",
    "PbxSettings",
    "Peer",
    "Problem",
    "RtpSettings",
    "Section",
    "Settings",
    "SipSettings",
    "families_of",
    "in_order",
    "load_conf",
    "load_settings",
    "nearest",
    "read_conf",
]
