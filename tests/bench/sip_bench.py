"""What the SIP layers below the call cost: `python -m tests.bench.sip_bench [rounds]`.

Microseconds of CPU a message or a round of request and response: parsing and printing, the transaction layer beyond
that, and the transport on loopback sockets (receive, parse, answer from prepared bytes, send) with the loop that
production uses.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import time
from collections.abc import Callable

import uvloop

from services.core.address import Address
from services.core.config.sip import ListenerSettings
from services.core.sip.flow import Flow
from services.core.sip.message import Request, Response, make_response, parse_message
from services.core.sip.transaction import RequestArrived, TransactionLayer
from services.sip_edge.transport import SipTransport

FLOW = Flow("udp", Address("192.0.2.1", 5060), Address("192.0.2.9", 5070), 1)
BATCH = 100
RUNS = 5


def request_bytes(number: int) -> bytes:
    return (
        f"OPTIONS sip:pbx@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK{number};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:alice@192.0.2.9>;tag=a{number}\r\nTo: <sip:pbx@192.0.2.1>\r\n"
        f"Call-ID: call-{number}@192.0.2.9\r\nCSeq: 1 OPTIONS\r\nContact: <sip:alice@192.0.2.9:5070>\r\n"
        "User-Agent: bench\r\nContent-Length: 0\r\n\r\n"
    ).encode()


class Figures:
    """The best of several runs, for a machine has other things to do."""

    def __init__(self) -> None:
        self.best_us: dict[str, float] = {}

    def note(self, label: str, seconds: float, rounds: int) -> None:
        self.best_us[label] = min(self.best_us.get(label, float("inf")), seconds / rounds * 1e6)

    def measure(self, label: str, rounds: int, work: Callable[[], object]) -> None:
        """Run a piece of work and note its CPU."""
        started = time.process_time()
        work()
        self.note(label, time.process_time() - started, rounds)

    def show(self) -> None:
        for label, figure in self.best_us.items():
            print(f"{label:<58} {figure:7.1f} us")


def requests(rounds: int) -> list[Request]:
    found = [parse_message(request_bytes(number)) for number in range(rounds)]
    return [request for request in found if isinstance(request, Request)]


def layers(figures: Figures, rounds: int) -> None:
    """Parsing, printing, and a server and a client transaction a round."""
    data = [request_bytes(number) for number in range(rounds)]
    figures.measure("parse a request", rounds, lambda: [parse_message(octets) for octets in data])
    parsed = requests(rounds)
    figures.measure(
        "make and print a response",
        rounds,
        lambda: [make_response(r, 200, to_tag="t").to_bytes() for r in parsed],
    )
    branches = (f"z9hG4bK{number}" for number in itertools.count())
    layer = TransactionLayer(new_branch=lambda: next(branches), limit=10 * rounds)

    def serve() -> None:
        for number, request in enumerate(parsed):
            now = number * 0.001
            arrived = layer.receive(request, FLOW, now)[0]
            assert isinstance(arrived, RequestArrived)
            layer.respond(arrived.key, make_response(request, 200, to_tag="t"), now)
            layer.handle_timers(now)
            layer.next_timer()

    figures.measure("server transaction, response included", rounds, serve)
    ours = requests(rounds)
    responses = [parse_message(make_response(request, 200, to_tag="t").to_bytes()) for request in ours]

    def ask() -> None:
        for number, request in enumerate(ours):
            now = number * 0.001
            layer.request(request, FLOW, now)
            layer.receive(responses[number], FLOW, now)
            layer.handle_timers(now)
            layer.next_timer()

    figures.measure("client transaction, printing the request included", rounds, ask)


async def transport(figures: Figures, host: str, asked: str, rounds: int) -> None:
    """Datagrams in and answers out through real sockets; the peer's own cost is taken off."""
    answer = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"

    def reply(message: Request | Response, flow: Flow) -> None:
        sip.send(answer, flow)

    sip = SipTransport(reply, lambda error, data, flow: None, lambda flow: None)
    bound = await sip.listen(ListenerSettings(address=Address(host, 0), udp=True, tcp=False, origin="bench"))
    to = Address(asked, bound.port).sockaddr()
    data = request_bytes(1)
    with socket.socket(bound.family.af, socket.SOCK_DGRAM) as phone:
        phone.bind((asked, 0))
        spent = 0.0
        phone.setblocking(False)
        for _ in range(rounds // BATCH):
            for _ in range(BATCH):
                phone.sendto(data, to)
            want = sip.stats["udp_received"] + BATCH
            started = time.process_time()
            while sip.stats["udp_received"] < want:  # noqa: ASYNC110 - the loop's turns are what is measured
                await asyncio.sleep(0)
            spent += time.process_time() - started
            for _ in range(BATCH):
                phone.recv(4096)
    figures.note(f"datagram in, answer out, listening on {host}", spent, rounds)
    await sip.close()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    figures = Figures()
    for _ in range(RUNS):
        layers(figures, rounds)
        for host, asked in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")):
            uvloop.run(transport(figures, host, asked, rounds))
    figures.show()


if __name__ == "__main__":
    main()
