"""`python -m services.registrar --config DIR`."""

import sys

from services.core.daemon import daemon_main
from services.registrar.daemon import serve

if __name__ == "__main__":
    sys.exit(daemon_main("registrar", serve))
