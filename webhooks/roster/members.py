"""The subscriptions as events and senders see them, read once until one changes.

Rules:

- Whoever changes a subscription or its secrets calls ``change`` in the same
  transaction. What deliveries do to a subscription (its health, its pace) is no change.
- A reader asks for the revision, which is one row, and reads the rest when it is
  another one than before.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.orm import Session

from webhooks.statements import fetch
from webhooks.tables import Roster, Subscription, SubscriptionSecret


@dataclass(frozen=True, slots=True)
class Member:
    """A subscription that was not deleted.

    ``keys``: its sealed signing secrets, the newest first, each with when it ends.
    """

    id: str
    url: str
    format: str
    options: Mapping[str, Any]
    event_types: Sequence[str]
    subject_pattern: str | None
    targets: Sequence[str] | None
    on_poison: str
    schedule_seconds: Sequence[int] | None
    rate_per_minute: int | None
    headers: Mapping[str, str]
    sealed_credentials: str | None
    signatures: Sequence[str]
    ca_certificate: str | None
    client_certificate: str | None
    sealed_client_key: str | None
    keys: Sequence[tuple[str, datetime | None]] = ()

    def sealed_secrets(self, now: datetime) -> tuple[str, ...]:
        """Return the signing secrets that are live."""
        return tuple(
            sealed
            for sealed, not_after in self.keys
            if not_after is None or not_after > now
        )


Members = Mapping[str, Member]  #: by id, in the order of their ids

NEWEST_FIRST = (
    SubscriptionSecret.not_after.is_not(None),
    SubscriptionSecret.created_at.desc(),
    SubscriptionSecret.id.desc(),
)
_REVISION = select(Roster.revision)
_SUBSCRIPTIONS: Any = (
    select(*(getattr(Subscription, field.name) for field in fields(Member)[:-1]))
    .where(Subscription.deleted_at.is_(None))
    .order_by(Subscription.id)
)
_KEYS = select(
    SubscriptionSecret.subscription_id,
    SubscriptionSecret.sealed,
    SubscriptionSecret.not_after,
).order_by(*NEWEST_FIRST)
_read: WeakKeyDictionary[Engine, tuple[str, Members]] = WeakKeyDictionary()


def read_members(cx: Connection) -> Members:
    """Return the subscriptions as they are in this transaction."""
    ((revision,),) = fetch(cx, _REVISION, {})
    known = _read.get(cx.engine)
    if known is None or known[0] != revision:
        known = _read[cx.engine] = revision, _read_all(cx)
    return known[1]


def change(session: Session) -> None:
    """Have everybody read the subscriptions anew once this is committed."""
    session.flush()
    session.execute(update(Roster).values(revision=uuid4().hex))


def _read_all(cx: Connection) -> Members:
    keys = defaultdict(list)
    for subscription_id, sealed, not_after in fetch(cx, _KEYS, {}):
        keys[subscription_id].append((sealed, not_after))
    return {
        row[0]: Member(*(*row, keys[row[0]])) for row in fetch(cx, _SUBSCRIPTIONS, {})
    }
