"""What the PBX wrote down, read from its event log while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from services.core.eventlog.sqlite import FILE_NAME, SqliteLogReader
from services.core.events.catalogue import CallEnded, CallStarted, Event, RegistrationEvent
from services.core.events.envelope import Envelope, unseal
from tests.support.processes import until

E = TypeVar("E", bound=Event)


class Story(list[Event]):
    """The facts of one call or one address of record, in their order."""

    def all(self, kind: type[E], **fields: Any) -> list[E]:
        """The facts of a kind with these fields."""
        return [
            event
            for event in self
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
        ]

    def one(self, kind: type[E], **fields: Any) -> E:
        """The only one."""
        found = self.all(kind, **fields)
        assert len(found) == 1, f"{kind.__name__} {fields}: {found or 'none'} in {self}"
        return found[0]


class History:
    """The log of a PBX with this data directory."""

    def __init__(self, data: Path) -> None:
        self._path = data / FILE_NAME

    def call(self, sip_call_id: str, *, until_there_is: type[Event] = CallEnded) -> Story:
        """The facts of the call whose caller used this Call-ID, once it has ended (or so far)."""

        def found() -> Story | None:
            started = [e for e in self._envelopes() if _started_by(e.event, sip_call_id)]
            assert len(started) < 2, f"two calls of one INVITE: {started}"
            story = self._story(lambda e: bool(started) and e.key == started[0].key)
            return story if story.all(until_there_is) else None

        return until(found, f"{until_there_is.__name__} of the call {sip_call_id} in the history")

    def calls(self) -> list[CallStarted]:
        """The beginnings of all calls."""
        return self._story(lambda e: isinstance(e.event, CallStarted)).all(CallStarted)

    def registrations(self, aor: str, count: int) -> Story:
        """The first so many facts about an address of record, once they are there; all of them if there are more."""

        def found() -> Story | None:
            story = self._story(lambda e: e.key == aor and isinstance(e.event, RegistrationEvent))
            return story if len(story) >= count else None

        return until(found, f"{count} facts about {aor} in the history")

    def _story(self, wanted: Callable[[Envelope], bool]) -> Story:
        return Story(envelope.event for envelope in self._envelopes() if wanted(envelope))

    def _envelopes(self) -> list[Envelope]:
        if not self._path.exists():
            return []
        reader = SqliteLogReader(self._path)
        try:
            return [unseal(record.value) for _, record in reader.read()]
        finally:
            reader.close()


def _started_by(event: Event, sip_call_id: str) -> bool:
    return isinstance(event, CallStarted) and event.sip_call_id == sip_call_id
