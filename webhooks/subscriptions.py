"""Who is told, from the first day to the last.

Rules:

- Functions work in the caller's transaction, flush, and never commit. An id to find or
  to change that no subscription has raises ``UnknownSubscriptionError``.
- Credentials, client keys and signing secrets are sealed in the database; a signing
  secret is returned in clear once, when it is made. The public half of a key is stored
  beside it in clear.
- A subscription has a symmetric secret always, and an ed25519 key once it asks for
  ``v1a``. Which of them sign is its choice (``signatures``).
- What may be chosen, ``webhooks.roster.specs`` and ``spec_checks`` say.
- Whoever changes a subscription locks its row first, and has everybody read it anew
  (``webhooks.roster.members``). Events wait for none of this.
- A subscription is disabled by what its receiver answers (``webhooks.queue.health``).
- Pausing is a state of the subscription, whose deliveries no claim takes then;
  resuming has them sent in order, with a fresh budget of attempts for what was tried
  before. What is being sent at that instant is settled by its result.
- What is rendered keeps its bytes, and with another format is still signed in, signed
  and understood by the one that rendered it.
- What failed at one place says nothing of another: with a new URL, header, credential
  or certificate the failures are forgotten, and what waits for a retry is due now,
  in its order and with a fresh budget. What is blocked stays a person's decision.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from webhooks.errors import (
    InvalidSubscriptionError,
    TooManySubscriptionsError,
    UnknownSubscriptionError,
)
from webhooks.events import new_sortable_id
from webhooks.queue.row import try_now
from webhooks.roster.members import NEWEST_FIRST, change
from webhooks.roster.secrets import SecretBox, apply_changes, columns_of, place_of
from webhooks.roster.spec_checks import check_spec
from webhooks.roster.specs import FACTS, Scheme, SubscriptionSpec
from webhooks.sending.guard import AddressGuard
from webhooks.sending.prepare import new_private_key, new_secret, public_key_of
from webhooks.statements import read_rows
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    DeliveryState,
    Queue,
    Subscription,
    SubscriptionSecret,
    SubscriptionState,
    state_in,
)

#: Every event is held against each of them, in the transaction of the change.
MAX_SUBSCRIPTIONS = 1000
MAX_OVERLAP = timedelta(days=30)
#: Of each scheme.
MAX_LIVE_SECRETS = 10
REASON_DELETED = "the subscription was deleted"
BURIED_AT_ONCE = 1_000

_PRESENT = select(Subscription).where(Subscription.deleted_at.is_(None))


def create(
    session: Session,
    box: SecretBox,
    guard: AddressGuard,
    spec: SubscriptionSpec,
    *,
    created_by: str,
    now: datetime,
) -> tuple[Subscription, str]:
    """Store a subscription; return it with its secret in clear.

    Raises:
        InvalidSubscriptionError: names the field at fault.
        TooManySubscriptionsError: there are ``MAX_SUBSCRIPTIONS``, give or take those
            made in the same instant.
    """
    spec = check_spec(guard, spec)
    _require_room(session)
    subscription = Subscription(
        id=new_sortable_id("sub", now),
        **columns_of(box, spec),
        created_by=created_by,
        created_at=now,
        updated_at=now,
    )
    session.add(subscription)
    session.flush()
    secret, _ = _add_keys(session, box, subscription, now=now)[Scheme.V1]
    change(session)
    return subscription, secret


def get(session: Session, subscription_id: str) -> Subscription:
    """Find a subscription that was not deleted."""
    subscription = session.get(Subscription, subscription_id)
    if subscription is None or subscription.deleted_at is not None:
        raise UnknownSubscriptionError
    return subscription


def list_page(
    session: Session, *, limit: int, after: str | None = None
) -> Iterator[Subscription]:
    """List subscriptions by id, oldest first, those after ``after``."""
    query = _PRESENT
    if after is not None:
        query = query.where(Subscription.id > after)
    return _rows(session, query.order_by(Subscription.id), limit)


def list_of_format(
    session: Session,
    name: str,
    *,
    limit: int = MAX_SUBSCRIPTIONS,
    before: str | None = None,
) -> Iterator[Subscription]:
    """List those of a format by id, newest first, those before ``before``."""
    query = _PRESENT.where(Subscription.format == name)
    if before is not None:
        query = query.where(Subscription.id < before)
    return _rows(session, query.order_by(Subscription.id.desc()), limit)


def _rows(
    session: Session, query: Select[Subscription], limit: int
) -> Iterator[Subscription]:
    return (row for (row,) in read_rows(session, query.limit(limit), limit=limit))


def update_fields(
    session: Session,
    guard: AddressGuard,
    subscription_id: str,
    changes: Mapping[str, Any],
    *,
    box: SecretBox,
    now: datetime,
) -> Subscription:
    """Change fields of ``SubscriptionSpec`` by name; waiting bodies stay as stored.

    ``credentials`` are merged by name, and one that is None is removed. Without its
    certificate, a client key is removed too.

    Raises:
        InvalidSubscriptionError: names the field at fault.
    """
    subscription = _lock(session, subscription_id)
    if not changes:
        return subscription
    for name in changes:
        if name not in FACTS:
            raise InvalidSubscriptionError(name, f"there is no field {name!r}")
    before = apply_changes(box, subscription, {})
    spec = check_spec(guard, apply_changes(box, subscription, changes))
    for name, value in columns_of(box, spec).items():
        setattr(subscription, name, value)
    if spec.rate_per_minute != before.rate_per_minute:
        subscription.open_from = None
    subscription.updated_at = now
    session.flush()
    present = {row.scheme for row in _live_keys(session, [subscription_id], now)}
    _add_keys(session, box, subscription, present=present, now=now)
    if place_of(spec) != place_of(before):
        _start_anew(session, subscription, now)
    change(session)
    return subscription


def repoint(
    session: Session, subscription: Subscription, pattern: str, *, now: datetime
) -> None:
    """Let a subscription's glob follow what it asks for."""
    subscription.subject_pattern = pattern
    subscription.updated_at = now
    change(session)


def pause(session: Session, subscription_id: str, *, now: datetime) -> Subscription:
    """Hold every waiting delivery, and the ones to come."""
    subscription = _lock(session, subscription_id)
    subscription.state = SubscriptionState.PAUSED
    subscription.state_reason = None
    subscription.updated_at = now
    session.flush()
    return subscription


def resume(session: Session, subscription_id: str, *, now: datetime) -> Subscription:
    """Release every held delivery, oldest first within each ordering key.

    What waits for a retry is due now too. What waits behind a blocked one goes on
    waiting for it.
    """
    subscription = _lock(session, subscription_id)
    subscription.state = SubscriptionState.ACTIVE
    subscription.state_reason = None
    subscription.updated_at = now
    _start_anew(session, subscription, now)
    return subscription


def delete(session: Session, subscription_id: str, *, now: datetime) -> None:
    """Delete a subscription; what it still waits for becomes dead with the reason.

    Of much only the first does so here, for a short transaction: ``bury`` does the
    rest. None of it is sent.

    Its record stays readable. Its secrets are removed.
    """
    subscription = _lock(session, subscription_id)
    subscription.deleted_at = now
    subscription.updated_at = now
    subscription.sealed_credentials = None
    subscription.sealed_client_key = None
    session.flush()
    bury(session, subscription_id, now=now)
    change(session)
    session.execute(
        delete_rows(SubscriptionSecret).where(
            SubscriptionSecret.subscription_id == subscription_id
        )
    )


def has_unburied(session: Session) -> bool:
    """Whether deleted subscriptions still wait for something."""
    return session.scalar(_unburied().limit(1)) is not None


def bury(session: Session, subscription_id: str | None = None, *, now: datetime) -> int:
    """Give up the first of what deleted subscriptions still wait for; return how many.

    What is being sent at that instant is settled by its result.
    """
    # Queues before deliveries, as everybody locks them.
    is_deleted = Subscription.deleted_at.is_not(None)
    session.execute(
        update(Queue)
        .where(
            Queue.subscription_id.in_(select(Subscription.id).where(is_deleted)),
            Queue.lease_token.is_(None),
            Queue.next_at.is_not(None),
        )
        .values(head_id=None, next_at=None)
        .execution_options(synchronize_session=False)
    )
    query = _unburied()
    if subscription_id is not None:
        query = query.where(Subscription.id == subscription_id)
    ids = session.scalars(
        query.limit(BURIED_AT_ONCE).with_for_update(skip_locked=True, of=Delivery)
    ).all()
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_(ids))
        .values(state=DeliveryState.DEAD, reason=REASON_DELETED, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()
    return len(ids)


def _unburied() -> Select[str]:
    return (
        select(Delivery.id)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(
            Subscription.deleted_at.is_not(None),
            # Both live states, and one taken off, for SQLite to know its index by.
            state_in(Delivery.state, *LIVE_STATES),
            Delivery.state != DeliveryState.SENDING,
        )
    )


def rotate_secret(
    session: Session,
    box: SecretBox,
    subscription_id: str,
    *,
    now: datetime,
    overlap: timedelta,
) -> tuple[str, str]:
    """Make a new secret of each scheme; the present ones sign along for the overlap.

    The overlap is at most 30 days; zero revokes the old secrets now.

    Returns:
        The new symmetric secret in clear, and its key id.

    Raises:
        InvalidSubscriptionError: the overlap is out of range.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise InvalidSubscriptionError("overlap", "must be 0 to 30 days")
    subscription = _lock(session, subscription_id)
    live = _live_keys(session, [subscription_id], now)
    for scheme in Scheme:
        of_scheme = [row for row in live if row.scheme == scheme]
        for index, row in enumerate(of_scheme):
            is_kept = index < MAX_LIVE_SECRETS - 1
            ends_at = now + overlap if is_kept else now
            row.not_after = min(row.not_after or ends_at, ends_at)
    made = _add_keys(session, box, subscription, now=now)
    change(session)
    return made[Scheme.V1]


def public_keys(
    session: Session, subscriptions: Sequence[Subscription], now: datetime
) -> Mapping[str, list[str]]:
    """Return what ``v1a`` signatures are verified with now, newest first, by id.

    Asks the database only when one of the subscriptions signs so.
    """
    keys: defaultdict[str, list[str]] = defaultdict(list)
    signing = [row.id for row in subscriptions if Scheme.V1A in row.signatures]
    if signing:
        for row in _live_keys(session, signing, now):
            if row.public_key is not None:
                keys[row.subscription_id].append(row.public_key)
    return keys


def _live_keys(
    session: Session, subscription_ids: Sequence[str], now: datetime
) -> Sequence[SubscriptionSecret]:
    """Return the secrets that may sign now, newest first."""
    not_after = SubscriptionSecret.not_after
    return session.scalars(
        select(SubscriptionSecret)
        .where(
            SubscriptionSecret.subscription_id.in_(subscription_ids),
            or_(not_after.is_(None), not_after > now),
        )
        .order_by(*NEWEST_FIRST)
    ).all()


def _add_keys(
    session: Session,
    box: SecretBox,
    subscription: Subscription,
    *,
    present: Collection[str] = (),
    now: datetime,
) -> Mapping[str, tuple[str, str]]:
    """Make a key of each scheme that a subscription has, but for those ``present``.

    Returns:
        By scheme, the secret in clear and its id.
    """
    made = {}
    for scheme in {Scheme.V1, *subscription.signatures}.difference(present):
        is_pair = scheme == Scheme.V1A
        secret = new_private_key() if is_pair else new_secret()
        row = SubscriptionSecret(
            id=new_sortable_id("key", now),
            subscription_id=subscription.id,
            scheme=scheme,
            sealed=box.seal(secret),
            public_key=public_key_of(secret) if is_pair else None,
            created_at=now,
        )
        session.add(row)
        made[str(scheme)] = secret, row.id
    session.flush()
    return made


def _require_room(session: Session) -> None:
    present = session.scalars(_PRESENT.with_only_columns(func.count())).one()
    if present >= MAX_SUBSCRIPTIONS:
        raise TooManySubscriptionsError(
            f"there are {MAX_SUBSCRIPTIONS} subscriptions, which is as many as there"
            " may be: one receiver can pass events on to many"
        )


def _lock(session: Session, subscription_id: str) -> Subscription:
    query = (
        _PRESENT.where(Subscription.id == subscription_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    subscription = session.scalars(query).one_or_none()
    if subscription is None:
        raise UnknownSubscriptionError
    return subscription


def _start_anew(session: Session, subscription: Subscription, now: datetime) -> None:
    """Forget the failures, and have what waits tried now, with every attempt."""
    subscription.consecutive_failures = 0
    subscription.failing_since = None
    subscription.held_back_until = None
    subscription.breaker_trips = 0
    subscription.warnings = 0
    session.flush()
    try_now(session.connection(), subscription.id, now=now, is_fresh=True)
