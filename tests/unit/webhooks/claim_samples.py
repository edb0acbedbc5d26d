"""Claims as the database would give them."""

import itertools
from datetime import UTC, datetime
from typing import Any

from webhooks.sending.prepare import Claim
from webhooks.tables import DeliveryKind

_numbers = itertools.count()


def make_claim(
    **parts: Any,  # noqa: ANN401  # Any field of Claim.
) -> Claim:
    """Make a claim of a delivery of its own."""
    values: dict[str, Any] = {
        "delivery_id": f"dlv_{next(_numbers)}",
        "subscription_id": "sub_1",
        "queue_id": 1,
        "lease_token": "token",
        "attempt": 1,
        "kind": DeliveryKind.EVENT,
        "event_id": "msg_1",
        "event_type": "model_version.stage_changed",
        "created_at": datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
        "url": "https://example.com/hook",
        "body": b"{}",
        "content_type": "application/json",
        "is_probe": False,
        "follows_gap": False,
        "is_followed": False,
        "is_endpoint_failing": False,
        "sealed_secrets": (),
    }
    return Claim(**(values | parts))
