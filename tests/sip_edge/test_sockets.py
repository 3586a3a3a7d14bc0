"""Options of the sockets under SIP."""

from __future__ import annotations

import socket

from services.core.address import Address
from services.sip_edge.transport.sockets import bound_address, open_tcp, tcp_from


def test_small_messages_over_tcp_do_not_wait_for_each_other() -> None:
    with open_tcp(Address("127.0.0.1", 0), 1) as listener:
        listener.setblocking(True)
        with tcp_from(None, bound_address(listener)) as client:
            client.setblocking(True)
            client.connect(bound_address(listener).sockaddr())
            accepted, _ = listener.accept()
            with accepted:
                for sock in (client, accepted):
                    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
