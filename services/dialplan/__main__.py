"""`python -m services.dialplan --config DIR`."""

import sys

from services.core.daemon import daemon_main
from services.dialplan.daemon import serve

if __name__ == "__main__":
    sys.exit(daemon_main("dialplan", serve))
