"""The request that an event would make: the very one, without its secrets.

Rules:

- It is rendered and prepared by what sends deliveries, and masked; nothing is
  stored or sent. A signing secret and lent values are made up for it, and masked like
  all others.
- A specification is checked first, as if it were to be saved.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import Connection, bindparam, select

from webhooks import formats
from webhooks.errors import RenderError, UnsendableError
from webhooks.events import (
    Event,
    is_asked_for,
    matches_subject,
    matches_target,
)
from webhooks.roster.secrets import SecretBox, seal_credentials
from webhooks.roster.spec_checks import check_spec
from webhooks.roster.specs import Scheme, SubscriptionSpec
from webhooks.sending.guard import AddressGuard
from webhooks.sending.prepare import (
    Claim,
    Outgoing,
    new_private_key,
    new_secret,
    prepare,
)
from webhooks.sending.sender import OWN_HEADERS, REDACTED, Redactor
from webhooks.statements import fetch_one
from webhooks.tables import DeliveryKind, EventRow

LOOKED_AT = 1_000
_NEW = {Scheme.V1: new_secret, Scheme.V1A: new_private_key}


@dataclass(frozen=True)
class Preview:
    """A request as it would be recorded.

    Attributes:
        is_wanted: whether the filters and the format let the event pass at all.
        problem: why nothing could be sent; there is no request then.
    """

    is_wanted: bool
    url: str = ""
    headers: Mapping[str, str] | None = None
    body: str = ""
    problem: str | None = None


def preview(
    spec: SubscriptionSpec,
    event: Event,
    *,
    box: SecretBox,
    guard: AddressGuard,
    lent: Mapping[str, str],
    now: datetime,
) -> Preview:
    """Return what an event would make of a specification.

    Raises:
        InvalidSubscriptionError: it could not be saved; names the field at fault.
    """
    spec = check_spec(guard, spec)
    is_wanted = _is_wanted(spec, event)
    try:
        outgoing = prepare(_claim(spec, event, box, now), box, now, lent)
    except (RenderError, UnsendableError) as error:
        return Preview(is_wanted, problem=error.message)
    masked = Redactor(outgoing.secrets, {})
    return Preview(
        is_wanted,
        url=masked.text(outgoing.url),
        headers={
            name: REDACTED if "signature" in name else masked.text(value)
            for name, value in _as_sent(outgoing).items()
        },
        body=masked.body(outgoing.body).decode("utf-8", "replace"),
    )


def _is_wanted(spec: SubscriptionSpec, event: Event) -> bool:
    return (
        is_asked_for(spec.event_types, event)
        and matches_subject(spec.subject_pattern, event.subject, *event.former_subjects)
        and matches_target(spec.targets, event.target)
        and formats.takes(spec.format, event, spec.options)
    )


def _as_sent(outgoing: Outgoing) -> dict[str, str]:
    place = urlsplit(outgoing.url).netloc.rpartition("@")[2]
    length = str(len(outgoing.body))
    own = {"host": place, "content-length": length}
    return {**own, **outgoing.headers, **OWN_HEADERS}


def _claim(
    spec: SubscriptionSpec, event: Event, box: SecretBox, now: datetime
) -> Claim:
    rendered = formats.columns_for(spec, event.id, event)
    return Claim(
        delivery_id="",
        subscription_id="",
        queue_id=0,
        lease_token="",
        attempt=1,
        kind=DeliveryKind.EVENT,
        event_id=event.id,
        event_type=event.type,
        created_at=now,
        url=spec.url,
        body=rendered["body"],
        content_type=rendered["content_type"],
        is_probe=False,
        follows_gap=False,
        is_followed=False,
        is_endpoint_failing=False,
        sealed_secrets=tuple(
            box.seal(_NEW[Scheme(each)]()) for each in spec.signatures
        ),
        format=spec.format,
        options=spec.options,
        headers=spec.headers,
        delivery_headers=rendered["headers"],
        sealed_credentials=seal_credentials(box, spec.credentials),
        signatures=tuple(spec.signatures),
    )


def last_event(cx: Connection, event_type: str, *, is_opt_in: bool) -> Event | None:
    """Return the last event of a type, of the last ``LOOKED_AT`` of all types."""
    values = {"type": event_type, "looked_at": LOOKED_AT}
    found = fetch_one(cx, _LAST, values)
    if found is None:
        return None
    subject, former, target, data, occurred_at, message_id = found
    return Event(
        type=event_type,
        ordering_key="",
        subject=subject,
        target=target,
        data=data,
        occurred_at=occurred_at,
        is_opt_in=is_opt_in,
        former_subjects=json.loads(former or "[]"),
        id=message_id,
    )


_NEWEST = (
    select(EventRow.id, EventRow.type, EventRow.position)
    .where(EventRow.position.is_not(None))
    .order_by(EventRow.position.desc())
    .limit(bindparam("looked_at"))
    .subquery()
)
_LAST = (
    select(
        *(EventRow.subject, EventRow.former_subjects, EventRow.target, EventRow.data),
        *(EventRow.occurred_at, EventRow.id),
    )
    .join(_NEWEST, _NEWEST.c.id == EventRow.id)
    .where(_NEWEST.c.type == bindparam("type"))
    .order_by(_NEWEST.c.position.desc())
    .limit(1)
)
