"""The request that a webhook would make of an event, before it is saved."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from registry.domain.deployment_token import PREFIX
from registry.domain.events import STAGE_CHANGED
from registry.services.deployment_grants import LENT_NAME
from registry.services.subscriptions import WebhookParts, by_field, translated
from webhooks import subscriptions
from webhooks.events import Event
from webhooks.preview import Preview, preview
from webhooks.roster.secrets import apply_changes
from webhooks.roster.specs import SubscriptionSpec

_A_TOKEN = f"{PREFIX}made-for-this-preview"


@translated()
def preview_request(
    session: Session,
    parts: WebhookParts,
    members: Mapping[str, Any],
    event: Event,
    *,
    of: str | None,
    now: datetime,
) -> Preview:
    """Return what a new webhook, or the one with the id ``of``, would send.

    Raises:
        NotFoundError: when there is none of that id.
        InvalidInputError: when it could not be saved, naming the field at fault.
    """
    if of is None:
        spec = SubscriptionSpec(**by_field(members))
    else:
        row = subscriptions.get(session, of)
        spec = apply_changes(parts.box, row, by_field(members))
    return preview(
        spec,
        event,
        box=parts.box,
        guard=parts.guard,
        lent={LENT_NAME: _A_TOKEN} if event.type == STAGE_CHANGED else {},
        now=now,
    )
