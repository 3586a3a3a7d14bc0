"""What every test with foreign programs may ask for."""

from tests.support.netns import network
from tests.support.processes import module_programs, programs

__all__ = ["module_programs", "network", "programs"]
