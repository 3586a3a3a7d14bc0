"""`python -m services.sip_edge --config DIR`."""

import sys

from services.core.daemon import daemon_main
from services.sip_edge.daemon import serve

if __name__ == "__main__":
    sys.exit(daemon_main("sip_edge", serve))
