"""The client's calls about the feed of events."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from registry.client.transport import PAGE_SIZE, Transport
from registry.client.types import EventRecord

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class EventPage:
    """Events in their order; ``next_cursor`` is where to go on, now or later."""

    events: list[EventRecord]
    next_cursor: str


class EventCalls:
    """``client.events``: call it for everything behind a cursor."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __call__(
        self,
        *,
        after: str | None = None,
        event_type: str | None = None,
        model: str | None = None,
    ) -> Iterator[EventRecord]:
        """Every event behind ``after``, until there is none left for now.

        Keep the ``cursor`` of the last one that was dealt with: it is the next
        call's ``after``. ``event_type`` is a type or ``prefix.*``.
        """
        while True:
            page = self.page(after=after, event_type=event_type, model=model)
            yield from page.events
            if not page.events:
                return
            after = page.next_cursor

    def follow(
        self,
        *,
        after: str | None = None,
        event_type: str | None = None,
        model: str | None = None,
    ) -> Iterator[EventRecord]:
        """Yield every event behind ``after``, and each further one when it happens."""
        while True:
            page = self.page(after=after, event_type=event_type, model=model)
            yield from page.events
            after = page.next_cursor
            if not page.events:
                time.sleep(POLL_SECONDS)

    def latest_cursor(self) -> str:
        """Return the cursor behind everything that has happened."""
        # Events about webhooks have cursors, and are shown to nobody here.
        return self.page(event_type="webhook.*").next_cursor

    def page(
        self,
        *,
        after: str | None = None,
        event_type: str | None = None,
        model: str | None = None,
        limit: int = PAGE_SIZE,
    ) -> EventPage:
        """At most ``limit`` events behind ``after``."""
        query = {"after": after, "type": event_type, "model": model, "limit": limit}
        answer = self._transport.get("/events", query)
        return EventPage(
            events=[EventRecord.from_json(item) for item in answer.get("items", ())],
            next_cursor=str(answer.get("next_cursor") or after or ""),
        )
