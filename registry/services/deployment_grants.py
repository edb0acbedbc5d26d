"""What a deployment token lets its bearer report, as the registry recorded it.

Rules:

- The token names an event and a subscription; which version they are about is
  read here, from the event that was committed with the stage change.
- It is worth something only while model and subscription exist, for seven days
  after the event was last sent to the subscription.
- One statement answers it, as with any other sign-in.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from registry.domain.commands.deployments import DeploymentGrant
from registry.domain.deployment_token import (
    LIFETIME,
    DeploymentTokens,
    TokenSubject,
)
from registry.domain.events import STAGE_CHANGED
from registry.domain.timestamps import rfc3339
from registry.errors import NotSignedInError
from registry.persistence.tables import RegisteredModel
from webhooks.sending.prepare import Claim
from webhooks.tables import Delivery, EventRow, Subscription

#: The name under which formats know the token, in headers and in bodies.
LENT_NAME = "deployment_token"


def lend_token(tokens: DeploymentTokens, claim: Claim) -> Mapping[str, str]:
    """Return what a delivery carries besides its body: a token of a stage change."""
    if claim.event_type != STAGE_CHANGED:
        return {}
    subject = TokenSubject(claim.event_id, claim.subscription_id)
    return {LENT_NAME: tokens.issue(subject)}


_GRANTED = (
    select(RegisteredModel.name, EventRow.data, Delivery.id, Delivery.updated_at)
    .join(Delivery, Delivery.event_id == EventRow.id)
    .join(Subscription, Subscription.id == Delivery.subscription_id)
    .join(RegisteredModel, RegisteredModel.id == EventRow.ordering_key)
    .where(
        EventRow.id == bindparam("event"),
        EventRow.type == STAGE_CHANGED,
        Subscription.id == bindparam("subscription"),
        Subscription.deleted_at.is_(None),
        RegisteredModel.deleted_at.is_(None),
    )
    .order_by(Delivery.updated_at.desc(), Delivery.id.desc())
    .limit(1)
)


def open_grant(
    cx: Connection, tokens: DeploymentTokens, secret: str, *, now: datetime
) -> DeploymentGrant:
    """Return what the bearer of a deployment token may report.

    Raises:
        NotSignedInError: when it is no token, or no longer one.
    """
    subject = tokens.read(secret)
    values = {"event": subject.event_id, "subscription": subject.subscription_id}
    row = cx.execute(_GRANTED, values).one_or_none()
    if row is None:
        raise NotSignedInError("what this deployment token speaks of is gone")
    model, data, delivery_id, sent_at = row
    if (expired_at := sent_at + LIFETIME) <= now:
        raise NotSignedInError(
            f"this deployment token expired at {rfc3339(expired_at)}"
        )
    return DeploymentGrant(
        model=model,
        number=data["version"],
        transition_id=data["transition_id"],
        event_id=subject.event_id,
        subscription_id=subject.subscription_id,
        delivery_id=delivery_id,
    )
