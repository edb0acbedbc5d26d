"""Endpoints that fail, and what is read of them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.integration.webhooks.conftest import (
    FAILED,
    LEASE,
    NOW,
    World,
)
from webhooks.queue.claim import claim_probes
from webhooks.queue.schedule import FIRST_PROBE, OPEN_AFTER
from webhooks.sending.prepare import Claim
from webhooks.sending.sender import SendResult
from webhooks.tables import AttemptOutcome, EventRow, Subscription

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
OPENED_AT = NOW + MINUTE
PROBE_AT = OPENED_AT + FIRST_PROBE
WATCHED = ["webhook.*"]


def refused(
    status: int = 500,
    **parts: Any,  # noqa: ANN401  # Any field of SendResult.
) -> SendResult:
    return replace(FAILED, status=status, **parts)


def asking_to(control: str, status: int = 200) -> SendResult:
    good = status == 200
    return SendResult(
        AttemptOutcome.DELIVERED if good else AttemptOutcome.FAILED,
        status=status,
        response_headers={"webhook-delivery": control},
    )


def row_of(world: World, identity: str) -> Subscription:
    with world.begin() as session:
        return session.get_one(Subscription, identity)


def trip(world: World, *, keys: int = OPEN_AFTER) -> None:
    """Fail once on each of some keys, all under way at once."""
    for number in range(keys):
        world.enqueue(ordering_key=f"key-{number}")
    claims = world.claim(limit=50)
    assert len(claims) == keys
    for claim in claims:
        world.record(claim, FAILED, now=OPENED_AT)


def probe(world: World, now: datetime) -> list[Claim]:
    with world.begin() as session:
        return claim_probes(session, now=now, limit=8, lease=LEASE)


def operational(world: World, identity: str) -> list[str]:
    """Give the types of what a watching subscription is to receive, in order."""
    rows = [one for one in world.deliveries() if one.subscription_id == identity]
    return [one.event_type for one in sorted(rows, key=lambda one: one.sequence)]


def announced(world: World) -> list[EventRow]:
    with world.begin() as session:
        query = session.query(EventRow).where(EventRow.type.startswith("webhook."))
        return query.all()
