"""The media worker as a daemon: `python -m services.media --config DIR` serves ng on the addresses of rtp.conf."""

import logging
import sys

from services.core.config import Settings
from services.core.daemon import daemon_main
from services.core.lifecycle import StartError, Stopping, drain
from services.core.metrics import Pulled, metrics_served, new_registry, udp_drops
from services.media.metrics import collect
from services.media.ng.server import NgServer
from services.media.worker import Worker

log = logging.getLogger(__name__)


async def serve(settings: Settings, stopping: Stopping) -> None:
    """Serve until asked to stop; then take no new sessions and let the running ones end within the grace period."""
    worker = Worker(settings.rtp)
    server = NgServer(worker.handle)
    worker.on_notice = server.notify
    worker.on_abandoned = server.call_ended
    listening = []
    registry = new_registry()
    registry.register(Pulled(lambda: collect(worker)))
    registry.register(udp_drops({"rtp": worker.receive_drops}))
    try:
        for address in settings.rtp.ng_listen:
            try:
                listening.append(await server.listen(address))
            except OSError as error:
                raise StartError(f"rtp.conf: nglisten={address} cannot be used: {error.strerror}") from None
        metrics, origin = settings.pbx.metrics, settings.pbx.metrics_origin
        async with metrics_served(registry, metrics, origin, lambda: not stopping.draining):
            log.info("the media worker is ready", extra={"ng": [str(address) for address in listening]})
            await stopping.asked_to_drain()
            log.info("draining", extra={"grace_s": settings.pbx.shutdown_grace_s})
            await drain(worker.drain(), settings.pbx.shutdown_grace_s, stopping)
    finally:
        await server.close()
        worker.close()


if __name__ == "__main__":
    sys.exit(daemon_main("media", serve))
