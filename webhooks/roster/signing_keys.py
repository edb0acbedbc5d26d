"""The signing secrets of a subscription: made, rotated, sealed.

Rules:

- A subscription has a symmetric secret always, and an ed25519 key once it asks for
  ``v1a``. Which of them sign is its choice (``signatures``).
- A secret is given in clear once, when it is made; the database has it sealed. The
  public half of a key is stored beside it in clear.
- Up to ten secrets of each scheme are live at a time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from webhooks.events import new_sortable_id
from webhooks.roster.secrets import SecretBox
from webhooks.roster.specs import Scheme
from webhooks.sending.signing import new_private_key, new_secret, public_key_of
from webhooks.tables import Subscription, SubscriptionSecret

MAX_LIVE_SECRETS = 10


def add_key(
    session: Session,
    box: SecretBox,
    subscription_id: str,
    scheme: Scheme,
    *,
    now: datetime,
) -> tuple[str, SubscriptionSecret]:
    """Make and store a secret of the scheme; give it in clear, and its row."""
    is_pair = scheme is Scheme.V1A
    secret = new_private_key() if is_pair else new_secret()
    row = SubscriptionSecret(
        id=new_sortable_id("key", now),
        subscription_id=subscription_id,
        scheme=scheme,
        sealed=box.seal(secret),
        public_key=public_key_of(secret) if is_pair else None,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return secret, row


def add_missing_keys(
    session: Session, box: SecretBox, subscription: Subscription, *, now: datetime
) -> None:
    """Make a key for each scheme that the subscription asks for and has none of."""
    present = {row.scheme for row in _live_keys(session, [subscription.id], now)}
    for scheme in subscription.signatures:
        if scheme not in present:
            add_key(session, box, subscription.id, Scheme(scheme), now=now)


def rotate_keys(
    session: Session,
    box: SecretBox,
    subscription: Subscription,
    *,
    now: datetime,
    overlap: timedelta,
) -> tuple[str, str]:
    """Make a new secret of each scheme; the present ones sign along for the overlap.

    Returns:
        The new symmetric secret in clear, and its id.
    """
    live = _live_keys(session, [subscription.id], now)
    for scheme in Scheme:
        of_scheme = [row for row in live if row.scheme == scheme]
        for index, row in enumerate(of_scheme):
            is_kept = index < MAX_LIVE_SECRETS - 1
            ends_at = now + overlap if is_kept else now
            row.not_after = min(row.not_after or ends_at, ends_at)
    if Scheme.V1A in subscription.signatures:
        add_key(session, box, subscription.id, Scheme.V1A, now=now)
    secret, row = add_key(session, box, subscription.id, Scheme.V1, now=now)
    return secret, row.id


def _live_keys(
    session: Session, subscription_ids: Sequence[str], now: datetime
) -> Sequence[SubscriptionSecret]:
    """Return the secrets that may sign now, newest first."""
    return session.scalars(
        select(SubscriptionSecret)
        .where(
            SubscriptionSecret.subscription_id.in_(subscription_ids),
            or_(
                SubscriptionSecret.not_after.is_(None),
                SubscriptionSecret.not_after > now,
            ),
        )
        .order_by(
            SubscriptionSecret.not_after.is_not(None),
            SubscriptionSecret.created_at.desc(),
            SubscriptionSecret.id.desc(),
        )
    ).all()


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
