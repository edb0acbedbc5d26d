"""Webhook subscriptions, with the audit entry of each change.

Fields of ``webhooks.roster.specs`` have the names here that the application gives them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from glob import escape
from itertools import islice
from typing import Any

from sqlalchemy.orm import Session

from registry.domain import audit_privacy
from registry.domain.commands.models import ChangeModel, ModelState
from registry.domain.documents import Document
from registry.domain.entries import Change
from registry.domain.timestamps import rfc3339
from registry.errors import ConflictError, InvalidInputError, NotFoundError
from registry.services import audit
from registry.services.commands import execute
from registry.services.transaction import Transaction
from webhooks import subscriptions
from webhooks.errors import (
    DeliveryStateError,
    InvalidSubscriptionError,
    RenderError,
    TooManySubscriptionsError,
    UnknownDeliveryError,
    UnknownSubscriptionError,
)
from webhooks.roster.secrets import SecretBox, credential_names
from webhooks.roster.specs import FACTS, SHOWN, SubscriptionSpec
from webhooks.sending.guard import AddressGuard
from webhooks.tables import Subscription

REDELIVERED = "webhook.redelivered"
_SHOWN_AT_ONCE = 25
_FIELDS = {facts.name: field for field, facts in FACTS.items()}
_CHANGES_OF_STATE = {"paused": subscriptions.pause, "active": subscriptions.resume}


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
        facts = FACTS.get(error.field)
        field = error.field if facts is None else facts.name
        raise InvalidInputError(error.message, field=field) from error
    except (UnknownSubscriptionError, UnknownDeliveryError) as error:
        raise NotFoundError(error.message) from error
    except (DeliveryStateError, RenderError, TooManySubscriptionsError) as error:
        raise ConflictError(error.message) from error


@translated()
def create_subscription(
    tx: Transaction, parts: WebhookParts, members: Mapping[str, Any]
) -> Document:
    """Store a subscription; its document has the secret, this once.

    Raises:
        InvalidInputError: naming the field at fault.
    """
    row, secret = subscriptions.create(
        tx.session,
        parts.box,
        parts.guard,
        SubscriptionSpec(**by_field(members)),
        created_by=tx.caller.actor.name,
        now=tx.now,
    )
    document = _document(tx, row)
    _log(tx, "webhook.created", {}, document)
    return {**document, "secret": secret}


@translated()
def update_subscription(
    tx: Transaction, parts: WebhookParts, subscription_id: str, members: Document
) -> Document:
    """Change a subscription; ``state`` pauses or resumes it.

    Raises:
        NotFoundError: when there is none.
        InvalidInputError: naming the field at fault.
    """
    changes = {**members}
    change_state = _CHANGES_OF_STATE.get(changes.pop("state", ""))
    before = _document(tx, subscriptions.get(tx.session, subscription_id))
    row = subscriptions.update_fields(
        tx.session,
        parts.guard,
        subscription_id,
        by_field(changes),
        box=parts.box,
        now=tx.now,
    )
    if change_state is not None:
        row = change_state(tx.session, subscription_id, now=tx.now)
    document = _document(tx, row)
    _log(tx, "webhook.updated", before, document)
    return document


@translated()
def delete_subscription(tx: Transaction, subscription_id: str) -> None:
    """Delete a subscription; what it still waited for becomes dead.

    Raises:
        NotFoundError: when there is none.
    """
    before = _document(tx, subscriptions.get(tx.session, subscription_id))
    subscriptions.delete(tx.session, subscription_id, now=tx.now)
    _log(tx, "webhook.deleted", before, {})


def change_model(tx: Transaction, changes: ChangeModel) -> ModelState:
    """Change a model; those who asked for it by its name follow. As ``ChangeModel``."""
    state = execute(tx, changes)
    if state.row.name != changes.model:
        _follow_rename(tx, changes.model, state.row.name)
    return state


def _follow_rename(tx: Transaction, name: str, new_name: str) -> None:
    """Point Databricks' webhooks of a model to its new name: theirs is the model."""
    for row in list(subscriptions.list_of_format(tx.session, "databricks")):
        if row.subject_pattern == escape(name):
            before = _document(tx, row)
            subscriptions.repoint(tx.session, row, escape(new_name), now=tx.now)
            _log(tx, "webhook.updated", before, _document(tx, row))


@translated()
def rotate_secret(
    tx: Transaction, box: SecretBox, subscription_id: str, *, overlap: timedelta
) -> Document:
    """Give a subscription a new secret; the old ones sign for the overlap.

    Raises:
        NotFoundError: when there is none.
        InvalidInputError: for an overlap out of range.
    """
    secret, key_id = subscriptions.rotate_secret(
        tx.session, box, subscription_id, now=tx.now, overlap=overlap
    )
    row = subscriptions.get(tx.session, subscription_id)
    after = {
        "id": subscription_id,
        "key_id": key_id,
        "overlap_seconds": int(overlap.total_seconds()),
        "public_keys": _document(tx, row)["public_keys"],
    }
    audit.log(tx, Change(action="webhook.secret_rotated", after=after))
    return {**after, "secret": secret}


@translated()
def log_test(tx: Transaction, subscription_id: str) -> None:
    """Note that somebody is about to send a test.

    Raises:
        NotFoundError: when there is no such subscription.
    """
    subscriptions.get(tx.session, subscription_id)
    audit.log(tx, Change(action="webhook.tested", after={"id": subscription_id}))


def subscription_documents(
    session: Session, rows: Iterable[Subscription], now: datetime
) -> Iterator[Document]:
    """Subscriptions as the API shows them; few are read at a time."""
    rest = iter(rows)
    while portion := list(islice(rest, _SHOWN_AT_ONCE)):
        keys = subscriptions.public_keys(session, portion, now)
        for row in portion:
            yield _with_keys(row, keys.get(row.id, []))


def _with_keys(row: Subscription, public_keys: Sequence[str]) -> Document:
    """Return a subscription with placeholders, without secrets."""
    failing_since, until = row.failing_since, row.held_back_until
    return {
        "id": row.id,
        **{FACTS[field].name: getattr(row, field) for field in SHOWN},
        "credential_names": credential_names(row.sealed_credentials),
        "public_keys": list(public_keys),
        "state": str(row.state),
        "state_reason": row.state_reason,
        "consecutive_failures": row.consecutive_failures,
        "failing_since": failing_since and rfc3339(failing_since),
        "held_back_until": until and rfc3339(until),
        "created_at": rfc3339(row.created_at),
        "created_by": row.created_by,
        "updated_at": rfc3339(row.updated_at),
    }


def _document(tx: Transaction, row: Subscription) -> Document:
    (document,) = subscription_documents(tx.session, [row], tx.now)
    return document


def by_field(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return members, by our names of fields, by the fields' own."""
    return {_FIELDS.get(name, name): value for name, value in members.items()}


def _log(tx: Transaction, action: str, before: Document, after: Document) -> None:
    """What changed is named, since the entry does not have all of a webhook."""
    common = (before.keys() & after.keys()) - {"updated_at"}
    sides = {"before": before, "after": after}
    private = {
        side: audit_privacy.private_webhook(document)
        for side, document in sides.items()
        if document
    }
    change = Change(
        action=action,
        before=audit_privacy.public_webhook(before) if before else None,
        after=audit_privacy.public_webhook(after) if after else None,
        details={"changed": sorted(n for n in common if before[n] != after[n])},
        private=private,
    )
    audit.log(tx, change)
