"""Configuration: Asterisk's file format, the settings and where each may be overridden."""

from services.core.config.conf import Conf, Entry, Section, load_conf, read_conf
from services.core.config.problems import ConfigError, Problem

__all__ = ["Conf", "ConfigError", "Entry", "Problem", "Section", "load_conf", "read_conf"]
