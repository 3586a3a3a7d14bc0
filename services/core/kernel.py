"""What the kernel says of a socket that Python has no name for."""

from __future__ import annotations

import socket
from struct import Struct

SO_MEMINFO = 55
"""Linux's number (4.12 and later); `socket` does not name it."""
_MEMINFO = Struct("=9I")
_DROPS = 8
"""Index of SK_MEMINFO_DROPS."""


def receive_drops(sock: socket.socket) -> int:
    """Datagrams that came to a UDP socket and that nobody will read: its buffer was full, or a checksum was wrong.

    Since the socket was made; wraps at 2**32. 0 where the kernel does not say, or the socket is closed. Costs one
    system call.
    """
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return 0
    return int(_MEMINFO.unpack(told)[_DROPS]) if len(told) == _MEMINFO.size else 0
