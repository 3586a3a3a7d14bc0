"""What the kernel tells of sockets."""

from __future__ import annotations

import socket

from services.core.kernel import receive_drops


def test_what_does_not_fit_the_buffer_is_told() -> None:
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as full,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
    ):
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        full.setblocking(False)
        full.bind(("::1", 0))
        assert receive_drops(full) == 0
        for _ in range(100):
            sender.sendto(bytes(1000), full.getsockname())
        kept = 0
        try:
            while full.recv(2000):
                kept += 1
        except BlockingIOError:
            pass
        assert 0 < kept < 100
        assert receive_drops(full) == 100 - kept


def test_a_closed_socket_has_nothing_to_tell() -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.close()
    assert receive_drops(closed) == 0
