"""Who is told, and the secrets it is signed with.

Rules:

- Functions work in the caller's transaction, flush, and never commit.
- A secret is returned in clear once, when it is made; the database has it sealed.
- The host of a URL is judged here without asking the network; what it resolves
  to is judged at every send.
- Whoever changes a subscription's state locks its row (FOR UPDATE) first, and
  ``outbox.enqueue`` reads it FOR KEY SHARE: an event is either held or released
  with the others, whichever commits first.
- Pausing holds what waits; resuming releases it in order with a fresh budget of
  attempts. What is being sent at that instant is settled by its result.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from webhooks.address_guard import AddressGuard
from webhooks.errors import InvalidSubscriptionError, UnknownSubscriptionError
from webhooks.events import EVENT_TYPE_FILTER, new_sortable_id
from webhooks.formats import FORMATS
from webhooks.sealing import SecretBox
from webhooks.signing import new_secret
from webhooks.tables import (
    Delivery,
    DeliveryState,
    OnPoison,
    Ordering,
    Subscription,
    SubscriptionSecret,
    SubscriptionState,
    state_in,
)

logger = logging.getLogger(__name__)

MAX_TEXT_LENGTH = 1000
MAX_LIST_LENGTH = 50
MAX_LIVE_SECRETS = 10
MAX_AGE_SECONDS = 366 * 24 * 3600
MAX_OVERLAP = timedelta(days=30)
DEFAULT_OVERLAP = timedelta(hours=24)
REASON_DELETED = "the subscription was deleted"


@dataclass(frozen=True)
class SubscriptionSpec:
    """What the owner of a subscription chooses."""

    url: str
    description: str = ""
    event_types: Sequence[str] = ("*",)
    subject_pattern: str | None = None
    targets: Sequence[str] | None = None
    format: str = "standard"
    ordering: str = Ordering.KEY
    on_poison: str = OnPoison.HOLD
    max_age_seconds: int | None = None


_FIELDS = tuple(entry.name for entry in fields(SubscriptionSpec))


def create(
    session: Session,
    box: SecretBox,
    guard: AddressGuard,
    spec: SubscriptionSpec,
    *,
    created_by: str,
    now: datetime,
) -> tuple[Subscription, str]:
    """Store a subscription and give it with its secret in clear.

    Raises:
        InvalidSubscriptionError: names the field at fault.
    """
    _check(guard, spec)
    subscription = Subscription(
        id=new_sortable_id("sub", now),
        **_columns(spec),
        created_by=created_by,
        created_at=now,
        updated_at=now,
    )
    session.add(subscription)
    session.flush()
    secret, _ = _add_secret(session, box, subscription.id, now)
    return subscription, secret


def get(session: Session, subscription_id: str) -> Subscription:
    """Find a subscription that was not deleted.

    Raises:
        UnknownSubscriptionError: there is none.
    """
    found = session.get(Subscription, subscription_id)
    if found is None or found.deleted_at is not None:
        raise UnknownSubscriptionError
    return found


def list_page(
    session: Session, *, limit: int, after: str | None = None
) -> Sequence[Subscription]:
    """List subscriptions by id, oldest first, those after ``after``."""
    query = select(Subscription).where(Subscription.deleted_at.is_(None))
    if after is not None:
        query = query.where(Subscription.id > after)
    return session.scalars(query.order_by(Subscription.id).limit(limit)).all()


def update_fields(
    session: Session,
    guard: AddressGuard,
    subscription_id: str,
    changes: Mapping[str, Any],
    *,
    now: datetime,
) -> Subscription:
    """Change fields of ``SubscriptionSpec`` by name; waiting bodies stay as stored.

    Raises:
        UnknownSubscriptionError: there is none.
        InvalidSubscriptionError: names the field at fault.
    """
    subscription = _lock(session, subscription_id)
    present = {name: getattr(subscription, name) for name in _FIELDS}
    for name in changes:
        if name not in present:
            raise InvalidSubscriptionError(name, f"there is no field {name!r}")
    spec = SubscriptionSpec(**{**present, **changes})
    _check(guard, spec)
    for name, value in _columns(spec).items():
        setattr(subscription, name, value)
    subscription.updated_at = now
    session.flush()
    return subscription


def pause(session: Session, subscription_id: str, *, now: datetime) -> Subscription:
    """Hold every waiting delivery, and the ones to come.

    Raises:
        UnknownSubscriptionError: there is none.
    """
    subscription = _lock(session, subscription_id)
    subscription.state = SubscriptionState.PAUSED
    subscription.updated_at = now
    session.flush()
    _move(
        session,
        subscription_id,
        (DeliveryState.PENDING,),
        {"state": DeliveryState.HELD, "reason": "paused", "updated_at": now},
    )
    return subscription


def resume(session: Session, subscription_id: str, *, now: datetime) -> Subscription:
    """Release every held delivery, oldest first within each ordering key.

    Raises:
        UnknownSubscriptionError: there is none.
    """
    subscription = _lock(session, subscription_id)
    subscription.state = SubscriptionState.ACTIVE
    subscription.consecutive_failures = 0
    subscription.failing_since = None
    subscription.breaker_until = None
    subscription.updated_at = now
    session.flush()
    _move(
        session,
        subscription_id,
        (DeliveryState.HELD,),
        {
            "state": DeliveryState.PENDING,
            "reason": None,
            "next_attempt_at": now,
            "attempts_forgiven": Delivery.attempt_count,
            "updated_at": now,
        },
    )
    return subscription


def disable(session: Session, subscription_id: str, *, now: datetime) -> None:
    """Hold everything because the receiver said that it is gone (410)."""
    subscription = _lock(session, subscription_id)
    subscription.state = SubscriptionState.DISABLED
    subscription.updated_at = now
    session.flush()
    _move(
        session,
        subscription_id,
        (DeliveryState.PENDING,),
        {
            "state": DeliveryState.HELD,
            "reason": "the receiver answered 410",
            "updated_at": now,
        },
    )
    logger.warning("webhook_subscription_disabled subscription=%s", subscription_id)


def delete(session: Session, subscription_id: str, *, now: datetime) -> None:
    """Delete a subscription; what it still waits for becomes dead with the reason.

    Its record stays readable. Its secrets are removed.

    Raises:
        UnknownSubscriptionError: there is none.
    """
    subscription = _lock(session, subscription_id)
    subscription.deleted_at = now
    subscription.updated_at = now
    session.flush()
    _move(
        session,
        subscription_id,
        (DeliveryState.PENDING, DeliveryState.HELD, DeliveryState.BLOCKED),
        {"state": DeliveryState.DEAD, "reason": REASON_DELETED, "updated_at": now},
    )
    for row in _secrets(session, subscription_id):
        session.delete(row)
    session.flush()


def rotate_secret(
    session: Session,
    box: SecretBox,
    subscription_id: str,
    *,
    now: datetime,
    overlap: timedelta = DEFAULT_OVERLAP,
) -> tuple[str, str]:
    """Make a new secret; the present ones go on signing for the overlap.

    The overlap is at most 30 days; zero revokes the old secrets now.

    Returns:
        The new secret in clear, and its key id.

    Raises:
        UnknownSubscriptionError: there is none.
        InvalidSubscriptionError: the overlap is out of range.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise InvalidSubscriptionError("overlap", "must be 0 to 30 days")
    _lock(session, subscription_id)
    live = [
        row
        for row in _secrets(session, subscription_id)
        if row.not_after is None or row.not_after > now
    ]
    for index, row in enumerate(live):
        is_kept = index < MAX_LIVE_SECRETS - 1
        ends_at = now + overlap if is_kept else now
        row.not_after = min(row.not_after or ends_at, ends_at)
    return _add_secret(session, box, subscription_id, now)


def _lock(session: Session, subscription_id: str) -> Subscription:
    query = (
        select(Subscription)
        .where(Subscription.id == subscription_id, Subscription.deleted_at.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = session.scalars(query).one_or_none()
    if found is None:
        raise UnknownSubscriptionError
    return found


def _move(
    session: Session,
    subscription_id: str,
    states: tuple[DeliveryState, ...],
    values: Mapping[str, Any],
) -> None:
    session.execute(
        update(Delivery)
        .where(
            Delivery.subscription_id == subscription_id,
            state_in(Delivery.state, *states),
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()


def _secrets(session: Session, subscription_id: str) -> Sequence[SubscriptionSecret]:
    """Give every stored secret, newest first."""
    return session.scalars(
        select(SubscriptionSecret)
        .where(SubscriptionSecret.subscription_id == subscription_id)
        .order_by(
            SubscriptionSecret.not_after.is_not(None),
            SubscriptionSecret.created_at.desc(),
            SubscriptionSecret.id.desc(),
        )
    ).all()


def _add_secret(
    session: Session, box: SecretBox, subscription_id: str, now: datetime
) -> tuple[str, str]:
    secret = new_secret()
    row = SubscriptionSecret(
        id=new_sortable_id("key", now),
        subscription_id=subscription_id,
        sealed=box.seal(secret),
        created_at=now,
    )
    session.add(row)
    session.flush()
    return secret, row.id


def _columns(spec: SubscriptionSpec) -> dict[str, Any]:
    values = {name: getattr(spec, name) for name in _FIELDS}
    values["event_types"] = list(spec.event_types)
    values["targets"] = None if spec.targets is None else list(spec.targets)
    return values


def _check(guard: AddressGuard, spec: SubscriptionSpec) -> None:
    """Refuse a specification that breaks a rule, naming the field."""
    try:
        guard.check_url(spec.url)
    except ValueError as error:
        raise InvalidSubscriptionError("url", str(error)) from error
    _check_text("description", spec.description)
    _check_list("event_types", spec.event_types)
    for entry in spec.event_types:
        if not EVENT_TYPE_FILTER.fullmatch(entry):
            raise InvalidSubscriptionError(
                "event_types", f"{entry!r} is not an event type, 'prefix.*' or '*'"
            )
    if spec.subject_pattern is not None:
        _check_text("subject_pattern", spec.subject_pattern)
    if spec.targets is not None:
        _check_list("targets", spec.targets)
    _check_choice("format", spec.format, FORMATS)
    _check_choice("ordering", spec.ordering, list(Ordering))
    _check_choice("on_poison", spec.on_poison, list(OnPoison))
    age = spec.max_age_seconds
    if age is not None and not 0 < age <= MAX_AGE_SECONDS:
        raise InvalidSubscriptionError(
            "max_age_seconds", f"must be 1 to {MAX_AGE_SECONDS}"
        )


def _check_text(field: str, text: str) -> None:
    if len(text) > MAX_TEXT_LENGTH or "\0" in text:
        raise InvalidSubscriptionError(
            field, f"must have at most {MAX_TEXT_LENGTH} characters and no NUL"
        )


def _check_list(field: str, entries: Sequence[str]) -> None:
    if not 0 < len(entries) <= MAX_LIST_LENGTH:
        raise InvalidSubscriptionError(
            field, f"must have 1 to {MAX_LIST_LENGTH} entries"
        )
    for entry in entries:
        _check_text(field, entry)


def _check_choice(
    field: str, value: str, choices: Mapping[str, object] | Sequence[str]
) -> None:
    if value not in choices:
        raise InvalidSubscriptionError(
            field, f"must be one of {', '.join(sorted(choices))}"
        )
