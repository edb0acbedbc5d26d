"""Webhook subscriptions and deliveries, with the audit entry of each change.

The package ``webhooks`` knows nothing of models: here its ``subject_pattern`` is
called ``model_pattern`` and its ``targets`` are called ``to_stages``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from glob import escape
from itertools import islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.domain import audit_privacy
from registry.domain.documents import Document
from registry.domain.entries import Change
from registry.domain.timestamps import rfc3339
from registry.errors import ConflictError, InvalidInputError, NotFoundError
from registry.persistence.tables import StageChange
from registry.services import audit
from registry.services.transaction import Transaction
from webhooks import deliveries, signing_keys, subscriptions
from webhooks.credentials import credential_names
from webhooks.errors import (
    DeliveryStateError,
    InvalidSubscriptionError,
    RenderError,
    TooManySubscriptionsError,
    UnknownDeliveryError,
    UnknownSubscriptionError,
)
from webhooks.sealing import SecretBox
from webhooks.sending.address_guard import AddressGuard
from webhooks.specs import SubscriptionSpec
from webhooks.tables import (
    Attempt,
    Delivery,
    Subscription,
    SubscriptionState,
)

CREATED = "webhook.created"
UPDATED = "webhook.updated"
DELETED = "webhook.deleted"
SECRET_ROTATED = "webhook.secret_rotated"  # noqa: S105  # the name of an action
REDELIVERED = "webhook.redelivered"
TESTED = "webhook.tested"

_SHOWN_AT_ONCE = 25
_OUR_NAMES = {"subject_pattern": "model_pattern", "targets": "to_stages"}
_THEIR_NAMES = {ours: theirs for theirs, ours in _OUR_NAMES.items()}


@dataclass(frozen=True, kw_only=True)
class WebhookParts:
    """What is needed to save a subscription: secrets sealed, addresses judged."""

    box: SecretBox
    guard: AddressGuard


@contextmanager
def translated() -> Iterator[None]:
    """Errors of ``webhooks`` as ours, with our names of fields."""
    try:
        yield
    except InvalidSubscriptionError as error:
        field = _OUR_NAMES.get(error.field, error.field)
        raise InvalidInputError(error.message, field=field) from error
    except (UnknownSubscriptionError, UnknownDeliveryError) as error:
        raise NotFoundError(error.message) from error
    except (DeliveryStateError, RenderError, TooManySubscriptionsError) as error:
        raise ConflictError(error.message) from error


def create_subscription(
    tx: Transaction, parts: WebhookParts, given: Mapping[str, Any]
) -> Document:
    """Store a subscription; its document has the secret, this once.

    Raises:
        InvalidInputError: naming the field at fault.
    """
    with translated():
        subscription, secret = subscriptions.create(
            tx.session,
            parts.box,
            parts.guard,
            SubscriptionSpec(**_theirs(given)),
            created_by=tx.caller.actor.name,
            now=tx.now,
        )
    document = _shown(tx, subscription)
    _record_webhook(tx, CREATED, before=None, after=document)
    return {**document, "secret": secret}


def update_subscription(
    tx: Transaction, parts: WebhookParts, subscription_id: str, given: Mapping[str, Any]
) -> Document:
    """Change a subscription; ``state`` pauses or resumes it.

    Raises:
        NotFoundError: when there is none.
        InvalidInputError: naming the field at fault.
    """
    changes = dict(given)
    state = changes.pop("state", None)
    with translated():
        before = _shown(tx, subscriptions.get(tx.session, subscription_id))
        subscription = subscriptions.update_fields(
            tx.session,
            parts.guard,
            subscription_id,
            _theirs(changes),
            box=parts.box,
            now=tx.now,
        )
        if state == SubscriptionState.PAUSED:
            subscription = subscriptions.pause(tx.session, subscription_id, now=tx.now)
        elif state == SubscriptionState.ACTIVE:
            subscription = subscriptions.resume(tx.session, subscription_id, now=tx.now)
    document = _shown(tx, subscription)
    _record_webhook(tx, UPDATED, before=before, after=document)
    return document


def delete_subscription(tx: Transaction, subscription_id: str) -> None:
    """Delete a subscription; what it still waited for becomes dead.

    Raises:
        NotFoundError: when there is none.
    """
    with translated():
        found = subscriptions.get(tx.session, subscription_id)
        before = _shown(tx, found)
        subscriptions.delete(tx.session, subscription_id, now=tx.now)
    _record_webhook(tx, DELETED, before=before, after=None)


def follow_rename(tx: Transaction, name: str, new_name: str) -> None:
    """Point Databricks' webhooks of a model to its new name: theirs is the model."""
    for row in list(subscriptions.list_of_format(tx.session, "databricks")):
        if row.subject_pattern == escape(name):
            before = _shown(tx, row)
            subscriptions.repoint(tx.session, row, escape(new_name), now=tx.now)
            _record(tx, UPDATED, before=before, after=_shown(tx, row))


def rotate_secret(
    tx: Transaction, box: SecretBox, subscription_id: str, *, overlap: timedelta
) -> Document:
    """Give a subscription a new secret; the old ones sign for the overlap.

    Raises:
        NotFoundError: when there is none.
        InvalidInputError: for an overlap out of range.
    """
    with translated():
        secret, key_id = subscriptions.rotate_secret(
            tx.session, box, subscription_id, now=tx.now, overlap=overlap
        )
        found = subscriptions.get(tx.session, subscription_id)
    after = {
        "id": subscription_id,
        "key_id": key_id,
        "overlap_seconds": int(overlap.total_seconds()),
        "public_keys": _public_keys(tx, found),
    }
    _record(tx, SECRET_ROTATED, before=None, after=after)
    return {**after, "secret": secret}


def redeliver(tx: Transaction, delivery_id: str) -> Document:
    """Send a delivery again; answers the delivery that will be sent.

    Raises:
        NotFoundError: when there is none.
        ConflictError: while it is still on its way.
    """
    with translated():
        delivery = deliveries.redeliver(tx.session, delivery_id, now=tx.now)
    document = delivery_document(delivery)
    after = {"delivery": delivery_id, "sent_as": delivery.id}
    _record(tx, REDELIVERED, before=None, after=after)
    return document


def record_test(tx: Transaction, subscription_id: str) -> None:
    """Note that somebody is about to send a test.

    Raises:
        NotFoundError: when there is no such subscription.
    """
    with translated():
        subscriptions.get(tx.session, subscription_id)
    _record(tx, TESTED, before=None, after={"id": subscription_id})


def deliveries_of_transition(
    session: Session, transition_id: str, *, after: str | None, limit: int
) -> Sequence[Delivery]:
    """What a stage change sends, to every subscription, from behind ``after`` on."""
    events = select(StageChange.event_id).where(
        StageChange.transition_id == transition_id
    )
    return session.scalars(
        select(Delivery)
        .where(Delivery.event_id.in_(events), Delivery.id > (after or ""))
        .order_by(Delivery.id)
        .limit(limit)
        .options(*deliveries.WITHOUT_CONTENT)
    ).all()


def _theirs(given: Mapping[str, Any]) -> dict[str, Any]:
    return {_THEIR_NAMES.get(name, name): value for name, value in given.items()}


def _shown(tx: Transaction, subscription: Subscription) -> Document:
    return subscription_document(subscription, _public_keys(tx, subscription))


def _public_keys(tx: Transaction, subscription: Subscription) -> Sequence[str]:
    found = signing_keys.public_keys(tx.session, [subscription], tx.now)
    return found.get(subscription.id, [])


def _record_webhook(
    tx: Transaction, action: str, *, before: Document | None, after: Document | None
) -> None:
    """What changed is named, since the entry does not have all of a webhook."""
    given = {"before": before, "after": after}
    change = Change(
        action=action,
        before=before and audit_privacy.public_webhook(before),
        after=after and audit_privacy.public_webhook(after),
        details={"changed": _changed_members(before or {}, after or {})},
        private={
            name: audit_privacy.private_webhook(document)
            for name, document in given.items()
            if document is not None
        },
    )
    audit.log(tx, change)


def _changed_members(before: Document, after: Document) -> list[str]:
    common = (before.keys() & after.keys()) - {"updated_at"}
    return sorted(name for name in common if before[name] != after[name])


def _record(
    tx: Transaction, action: str, *, before: Document | None, after: Document | None
) -> None:
    change = Change(action=action, before=before, after=after)
    audit.log(tx, change)


def subscription_documents(
    session: Session, rows: Iterable[Subscription], now: datetime
) -> Iterator[Document]:
    """Subscriptions as the API shows them; few are read at a time."""
    rest = iter(rows)
    while portion := list(islice(rest, _SHOWN_AT_ONCE)):
        keys = signing_keys.public_keys(session, portion, now)
        for row in portion:
            yield subscription_document(row, keys.get(row.id, []))


def subscription_document(
    subscription: Subscription, public_keys: Sequence[str] = ()
) -> Document:
    """A subscription as the API shows it: with placeholders, without secrets."""
    failing_since, until = subscription.failing_since, subscription.breaker_until
    return {
        "id": subscription.id,
        "url": subscription.url,
        "description": subscription.description,
        "event_types": list(subscription.event_types),
        "model_pattern": subscription.subject_pattern,
        "to_stages": subscription.targets,
        "format": subscription.format,
        "options": subscription.options,
        "headers": subscription.headers,
        "credential_names": credential_names(subscription.sealed_credentials),
        "signatures": list(subscription.signatures),
        "public_keys": list(public_keys),
        "ca_certificate": subscription.ca_certificate,
        "client_certificate": subscription.client_certificate,
        "schedule_seconds": subscription.schedule_seconds,
        "rate_per_minute": subscription.rate_per_minute,
        "on_poison": str(subscription.on_poison),
        "state": str(subscription.state),
        "state_reason": subscription.state_reason,
        "consecutive_failures": subscription.consecutive_failures,
        "failing_since": failing_since and rfc3339(failing_since),
        "held_back_until": until and rfc3339(until),
        "created_at": rfc3339(subscription.created_at),
        "created_by": subscription.created_by,
        "updated_at": rfc3339(subscription.updated_at),
    }


def delivery_document(delivery: Delivery) -> Document:
    """A delivery as the API shows it."""
    return {
        "id": delivery.id,
        "webhook_id": delivery.subscription_id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "state": str(delivery.state),
        "reason": delivery.reason,
        "attempts": delivery.attempt_count,
        "next_attempt_at": rfc3339(delivery.next_attempt_at),
        "replay_of": delivery.replay_of,
        "receipt": delivery.receipt,
        "created_at": rfc3339(delivery.created_at),
        "updated_at": rfc3339(delivery.updated_at),
    }


def attempt_document(attempt: Attempt) -> Document:
    """An attempt as the API shows it."""
    body = attempt.response_body
    return {
        "number": attempt.number,
        "outcome": str(attempt.outcome),
        "status": attempt.status,
        "error": attempt.error,
        "started_at": rfc3339(attempt.started_at),
        "finished_at": attempt.finished_at and rfc3339(attempt.finished_at),
        "duration_seconds": attempt.duration_seconds,
        "address": attempt.address,
        "timings": attempt.timings or {},
        "request_headers": attempt.request_headers or {},
        "response_headers": attempt.response_headers or {},
        "response_body": None if body is None else body.decode("utf-8", "replace"),
    }
