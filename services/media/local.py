"""A media worker in the edge's own process: the same dictionaries, by direct call."""

from services.media.api import NgMedia, Notice
from services.media.ng.message import Message
from services.media.worker import Worker


class LocalMedia(NgMedia):
    """`MediaControl` of a worker in this process. Notices arrive during the event loop's turn that caused them."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(self._handled, immediate=True)
        self.worker = worker
        worker.on_notice = self._noticed

    async def _handled(self, message: Message) -> Message:
        return self.worker.handle(message)

    def _noticed(self, notice: Notice) -> None:
        if self.on_notice is not None:
            self.on_notice(notice)
