"""The client's calls about webhook subscriptions and their deliveries."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict, Unpack

from registry.client.transport import Transport, json_object, path_of
from registry.client.types import (
    AttemptRecord,
    DeliveryRecord,
    JsonObject,
    Subscription,
)


class SubscriptionFilters(TypedDict):
    """What a subscription listens to, and how it is told.

    Certificates and the key are PEM text; ``credentials`` are merged by name, and
    None removes one.
    """

    event_types: NotRequired[Sequence[str]]
    model_pattern: NotRequired[str | None]
    to_stages: NotRequired[Sequence[str] | None]
    format: NotRequired[str]
    description: NotRequired[str]
    options: NotRequired[Mapping[str, Any]]
    headers: NotRequired[Mapping[str, str]]
    credentials: NotRequired[Mapping[str, str | None]]
    signatures: NotRequired[Sequence[str]]
    ca_certificate: NotRequired[str | None]
    client_certificate: NotRequired[str | None]
    client_key: NotRequired[str | None]
    schedule_seconds: NotRequired[Sequence[int] | None]
    rate_per_minute: NotRequired[int | None]
    on_poison: NotRequired[str]


class SubscriptionChanges(SubscriptionFilters):
    """What may be changed afterwards."""

    url: NotRequired[str]
    state: NotRequired[str]


class DeliveryFilter(TypedDict):
    """What to send again: everything that was settled, unless it says less.

    With ``again_before`` also what was sent again already, before then.
    """

    since: NotRequired[datetime]
    until: NotRequired[datetime]
    event_types: NotRequired[Sequence[str]]
    model_pattern: NotRequired[str]
    states: NotRequired[Sequence[str]]
    again_before: NotRequired[datetime]


class WebhookCalls:
    """``client.webhooks``.

    Creating and rotating are never repeated by the transport: their answers carry
    a secret that is shown once, and is not kept to be answered again.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, url: str, **filters: Unpack[SubscriptionFilters]) -> Subscription:
        """Subscribe ``url``; the answer, and only it, has the secret."""
        body = {"url": url, **filters}
        return Subscription.from_json(
            json_object(self._transport.request("POST", "/webhooks", body=body))
        )

    def list(self) -> Iterator[Subscription]:
        """Return every subscription, oldest first."""
        return map(Subscription.from_json, self._transport.pages("/webhooks"))

    def get(self, webhook_id: str) -> Subscription:
        """One subscription."""
        return Subscription.from_json(
            self._transport.get(path_of("webhooks", webhook_id))
        )

    def update(
        self, webhook_id: str, **changes: Unpack[SubscriptionChanges]
    ) -> Subscription:
        """Change a subscription; ``state`` is ``active`` or ``paused``."""
        response = self._transport.request(
            "PATCH", path_of("webhooks", webhook_id), body={**changes}
        )
        return Subscription.from_json(json_object(response))

    def delete(self, webhook_id: str) -> None:
        """Remove a subscription."""
        self._transport.request("DELETE", path_of("webhooks", webhook_id))

    def test(self, webhook_id: str) -> JsonObject:
        """Send a ping at once and report what came back."""
        return json_object(
            self._transport.request("POST", path_of("webhooks", webhook_id, "test"))
        )

    def rotate_secret(
        self, webhook_id: str, *, overlap_seconds: int | None = None
    ) -> JsonObject:
        """Get a new secret; the old one signs too until the overlap is over."""
        body = {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
        path = path_of("webhooks", webhook_id, "rotate-secret")
        return json_object(self._transport.request("POST", path, body=body))

    def deliveries(
        self, webhook_id: str, *, state: str | None = None
    ) -> Iterator[DeliveryRecord]:
        """Return the deliveries of a subscription, newest first."""
        path = path_of("webhooks", webhook_id, "deliveries")
        pages = self._transport.pages(path, {"state": state})
        return map(DeliveryRecord.from_json, pages)

    def count_redelivery(
        self, webhook_id: str, **chosen: Unpack[DeliveryFilter]
    ) -> int:
        """Return how many deliveries ``redeliver`` would send again now."""
        body = {**_written(chosen), "dry_run": True}
        return int(self._redeliver(webhook_id, body).get("count", 0))

    def redeliver(self, webhook_id: str, **chosen: Unpack[DeliveryFilter]) -> int:
        """Send again what the filter chooses; return how many deliveries those are.

        A call that broke off is made again: what it took already is left out.
        """
        body, count = _written(chosen), 0
        while True:
            portion = self._redeliver(webhook_id, body)
            count += int(portion.get("count", 0))
            body["cursor"] = portion.get("next_cursor")
            if body["cursor"] is None:
                return count

    def _redeliver(self, webhook_id: str, body: JsonObject) -> JsonObject:
        path = path_of("webhooks", webhook_id, "deliveries", "redeliver")
        return json_object(self._transport.change(path, body))


class DeliveryCalls:
    """``client.deliveries``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def of_transition(self, transition_id: str) -> Iterator[DeliveryRecord]:
        """Return every delivery that one stage change caused."""
        query = {"transition_id": transition_id}
        pages = self._transport.pages("/deliveries", query, page_size=None)
        return map(DeliveryRecord.from_json, pages)

    def get(self, delivery_id: str) -> DeliveryRecord:
        """One delivery."""
        return DeliveryRecord.from_json(
            self._transport.get(path_of("deliveries", delivery_id))
        )

    def attempts(self, delivery_id: str) -> Iterator[AttemptRecord]:
        """Return the attempts log of a delivery, first one first."""
        path = path_of("deliveries", delivery_id, "attempts")
        pages = self._transport.pages(path, page_size=None)
        return map(AttemptRecord.from_json, pages)

    def redeliver(self, delivery_id: str) -> DeliveryRecord:
        """Send a delivery again, with the same id and bytes."""
        path = path_of("deliveries", delivery_id, "redeliver")
        return DeliveryRecord.from_json(json_object(self._transport.change(path, {})))


def _written(chosen: DeliveryFilter) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in chosen.items()
    }
