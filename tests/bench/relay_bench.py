"""What the relay costs in this process: CPU per relayed packet, and per offer + answer + delete.

    python -m tests.bench.relay_bench [--calls 20] [--packets 2000] [--family 4|6|46] [--uvloop]

The packets' sender is a child process, so that its cost is not counted. Figures are CPU time of the relay's process,
kernel included. To compare with other relays use `make bench`.
"""

import argparse
import asyncio
import multiprocessing
import random
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path

from services.core.address import Family
from services.core.config.rtp import RtpSettings
from services.media.worker import Worker

HOSTS = {Family.IP4: "127.0.0.1", Family.IP6: "::1"}
FAMILIES = {"4": (Family.IP4, Family.IP4), "6": (Family.IP6, Family.IP6), "46": (Family.IP4, Family.IP6)}
PACKET = bytes.fromhex("8000") + bytes(170)
INTERVAL_S = 0.02


def settings() -> RtpSettings:
    """A worker on loopback, both families."""
    return RtpSettings(
        port_min=20000,
        port_max=39999,
        bind=HOSTS,
        advertised={},
        timeout_s=0,
        hold_timeout_s=0,
        sounds_directory=Path("/nonexistent"),
        ng_listen=(),
        origin="bench",
    )


def description(family: Family, port: int) -> bytes:
    """A phone's offer or answer."""
    lines = (
        "v=0",
        f"o=- 1 1 IN {family.sdp} {HOSTS[family]}",
        "s=-",
        f"c=IN {family.sdp} {HOSTS[family]}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=sendrecv",
    )
    return ("\r\n".join(lines) + "\r\n").encode()


def set_up(worker: Worker, call_id: str, families: tuple[Family, Family], ports: tuple[int, int]) -> tuple[int, int]:
    """Offer and answer; the ports that the caller and the callee send to."""
    caller, callee = families
    message = {"call-id": call_id, "from-tag": "a", "to-tag": "b", "replace": ["origin"]}
    offered = worker.handle(
        {**message, "command": "offer", "sdp": description(caller, ports[0]), "address-family": callee.sdp}
    )
    answered = worker.handle({**message, "command": "answer", "sdp": description(callee, ports[1])})
    return audio_port(answered["sdp"]), audio_port(offered["sdp"])


def audio_port(sdp: bytes) -> int:
    """The port of the audio line."""
    return int(sdp.partition(b"m=audio ")[2].split(b" ", 1)[0])


def generate(pipe: Connection, pairs: int, families: tuple[Family, Family], packets: int) -> None:
    """The child: sockets for every leg, then `packets` from each at 50 a second, counting what comes back."""
    legs = [_socket(family) for _ in range(pairs) for family in families]
    pipe.send([leg.getsockname()[1] for leg in legs])
    targets = [(HOSTS[leg_family], port) for leg_family, port in zip(families * pairs, pipe.recv(), strict=True)]
    received = 0
    packet = bytearray(PACKET)
    buffer = bytearray(2048)
    start = time.monotonic()
    for number in range(packets):
        packet[2:4] = (number & 0xFFFF).to_bytes(2, "big")
        packet[4:8] = (160 * number & 0xFFFFFFFF).to_bytes(4, "big")
        for leg, target in zip(legs, targets, strict=True):
            leg.sendto(packet, target)
        time.sleep(max(0.0, start + (number + 1) * INTERVAL_S - time.monotonic()))
        received += sum(_drain(leg, buffer) for leg in legs)
    time.sleep(0.2)
    received += sum(_drain(leg, buffer) for leg in legs)
    pipe.send(received)


def _socket(family: Family) -> socket.socket:
    leg = socket.socket(family.af, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    leg.bind((HOSTS[family], 0))
    return leg


def _drain(leg: socket.socket, buffer: bytearray) -> int:
    count = 0
    try:
        while leg.recv_into(buffer):
            count += 1
    except BlockingIOError:
        pass
    return count


async def relayed(calls: int, packets: int, families: tuple[Family, Family]) -> str:
    """Relay real packets and say what one cost."""
    loop = asyncio.get_running_loop()
    worker = Worker(settings())
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=generate, args=(theirs, calls, families, packets))
    child.start()
    ports = ours.recv()
    targets: list[int] = []
    for number in range(calls):
        targets += set_up(worker, f"call{number}", families, (ports[2 * number], ports[2 * number + 1]))
    before = time.process_time()
    ours.send(targets)
    finished = asyncio.Event()
    loop.add_reader(ours.fileno(), finished.set)
    await finished.wait()
    loop.remove_reader(ours.fileno())
    spent = time.process_time() - before
    received = ours.recv()
    child.join()
    relayed_packets = worker.figures().packets
    worker.close()
    sent = 2 * calls * packets
    return f"{spent / max(1, relayed_packets) * 1e6:6.2f} us per packet, {sent - received} of {sent} lost"


def signalled(families: tuple[Family, Family], calls: int) -> str:
    """Set calls up and tear them down, no media."""
    loop = asyncio.get_running_loop()
    worker = Worker(settings(), loop=loop, port_rest_s=0.0, randomness=random.Random(1))
    before = time.process_time()
    for number in range(calls):
        call_id = f"call{number}"
        set_up(worker, call_id, families, (40000, 40002))
        worker.handle({"command": "delete", "call-id": call_id})
    spent = time.process_time() - before
    worker.close()
    return f"{spent / calls * 1e6:6.0f} us per offer + answer + delete"


async def main(calls: int, packets: int, families: tuple[Family, Family]) -> None:
    """Both figures."""
    print(signalled(families, 500))
    print(await relayed(calls, packets, families))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--packets", type=int, default=250, help="per leg, 50 a second")
    parser.add_argument("--family", choices=FAMILIES, default="4")
    parser.add_argument("--uvloop", action="store_true")
    given = parser.parse_args()
    work = main(given.calls, given.packets, FAMILIES[given.family])
    if given.uvloop:
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)
