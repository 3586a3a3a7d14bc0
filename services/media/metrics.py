"""A worker's figures as samples for Prometheus."""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from services.core.metrics import counter, gauge
from services.media.worker import Worker


def collect(worker: Worker) -> Iterator[Metric]:
    """What /metrics says of a worker; hand it to `services.core.metrics.Pulled`."""
    figures = worker.figures()
    yield gauge("pbx_media_sessions", "Sessions (calls) at this media worker.", {"": figures.sessions})
    yield gauge("pbx_media_ports", "Port pairs in use.", {"used": figures.ports_in_use}, "state")
    yield gauge("pbx_media_players", "Parties that hear a recording.", {"": figures.playing})
    yield gauge(
        "pbx_media_silent_legs",
        "Parties that should be sending and have not for 2 s, nor RTCP for 8 s; looked at every second.",
        {"": figures.silent},
    )
    yield counter("pbx_media_offers", "Offers taken, re-offers included.", {"": figures.offers})
    yield counter("pbx_media_refused", "Requests answered with an error.", {"": figures.refused})
    yield counter("pbx_media_timeouts", "Parties that fell silent.", {"": figures.timeouts})
    yield counter("pbx_media_digits", "Digits received (RFC 4733).", {"": figures.digits})
    yield counter("pbx_rtp_packets", "RTP packets received.", {"": figures.packets})
    yield counter("pbx_rtp_bytes", "RTP bytes received, headers included.", {"": figures.bytes})
    yield counter("pbx_rtp_lost_packets", "RTP packets that never came, by sequence numbers.", {"": figures.lost})
    yield counter(
        "pbx_rtp_dropped_packets",
        "Packets not passed on: from a stranger's address, malformed, or not taken by the kernel.",
        {"stranger": figures.rejected, "malformed": figures.malformed, "unsent": figures.send_errors},
        "reason",
    )
