"""The client's calls about sending a range of deliveries again."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict, Unpack

from registry.client.registration import wait_for
from registry.client.transport import Transport, json_object, path_of
from registry.client.types import ReplayRecord

#: Told how far a replay has come, each time it was looked at.
OnLook = Callable[[ReplayRecord], None]


class ReplayRange(TypedDict):
    """What to send again: everything that was settled, unless it says less."""

    since: NotRequired[datetime]
    until: NotRequired[datetime]
    event_types: NotRequired[Sequence[str]]
    model_pattern: NotRequired[str]
    states: NotRequired[Sequence[str]]


class ReplayCalls:
    """``client.replays``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def count(self, webhook_id: str, **chosen: Unpack[ReplayRange]) -> int:
        """How many deliveries would be sent again; nothing is sent."""
        body = {**_written(chosen), "dry_run": True}
        path = path_of("webhooks", webhook_id, "replay")
        answer = json_object(self._transport.request("POST", path, body=body))
        return int(answer.get("count", 0))

    def create(
        self,
        webhook_id: str,
        *,
        per_second: float | None = None,
        **chosen: Unpack[ReplayRange],
    ) -> ReplayRecord:
        """Begin to send a range again; the worker carries it out."""
        pace = {} if per_second is None else {"per_second": per_second}
        path = path_of("webhooks", webhook_id, "replay")
        response = self._transport.change(path, {**_written(chosen), **pace})
        return ReplayRecord.from_json(json_object(response))

    def get(self, webhook_id: str, replay_id: str) -> ReplayRecord:
        """One replay, and how far it has come."""
        return ReplayRecord.from_json(
            self._transport.get(path_of("webhooks", webhook_id, "replays", replay_id))
        )

    def list(self, webhook_id: str) -> Iterator[ReplayRecord]:
        """The replays of a subscription, newest first."""
        pages = self._transport.pages(path_of("webhooks", webhook_id, "replays"))
        return map(ReplayRecord.from_json, pages)

    def cancel(self, webhook_id: str, replay_id: str) -> ReplayRecord:
        """Send nothing more of a replay.

        Raises:
            ConflictError: when it has ended.
        """
        path = path_of("webhooks", webhook_id, "replays", replay_id)
        return ReplayRecord.from_json(
            json_object(self._transport.request("DELETE", path))
        )

    def wait(
        self, replay: ReplayRecord, *, timeout_seconds: float, on_look: OnLook
    ) -> ReplayRecord:
        """Look at a replay until it has ended.

        Raises:
            WaitTimeoutError: when the time is up.
        """

        def ended() -> ReplayRecord | None:
            found = self.get(replay.webhook_id, replay.id)
            on_look(found)
            return None if found.is_running else found

        return wait_for(ended, timeout_seconds, lambda: f"replay {replay.id}")


def _written(chosen: ReplayRange) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in chosen.items()
    }
