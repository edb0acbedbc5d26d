"""A subscription's secrets: sealed in the database, laid over by changes, rotated.

- Each operator's string becomes one Fernet key through HKDF-SHA256 (RFC 5869). It must
  carry its own entropy (32 random bytes): HKDF separates and shapes keys, it does not
  slow down guessing.
- The first key encrypts, every key decrypts: put the new key first, and drop the old
  one when nothing is sealed with it any more.
- Credentials are a JSON object from name to sealed value, so that the names can be
  shown without the means to open the values.
- A subscription has a symmetric secret always, and an ed25519 key once it asks for
  ``v1a``. Which of them sign is its choice (``signatures``).
- A signing secret is given in clear once, when it is made. The public half of a key
  is stored beside it in clear.
- Up to ten secrets of each scheme are live at a time.
"""

import base64
import json
import operator
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from webhooks.errors import UnsealError
from webhooks.events import new_sortable_id
from webhooks.roster.specs import SHOWN, Scheme, SubscriptionSpec
from webhooks.signing import new_private_key, new_secret, public_key_of
from webhooks.tables import Subscription, SubscriptionSecret

MAX_LIVE_SECRETS = 10
_PURPOSE = b"webhooks.sealing v1"

#: Where a request goes, and what opens the door there.
place_of = operator.attrgetter(
    *("url", "headers", "credentials"),
    *("ca_certificate", "client_certificate", "client_key"),
)


class SecretBox:
    """Seals text for the database and opens it again.

    Raises:
        ValueError: no key was given, or an empty one.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys or not all(keys):
            raise ValueError("at least one key is needed, and none may be empty")
        self._fernet = MultiFernet([_derive_key(key) for key in keys])

    def seal(self, clear: str) -> str:
        """Encrypt with the first key."""
        return self._fernet.encrypt(clear.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt with whichever key fits.

        Raises:
            UnsealError: no key fits, or the text was changed.
        """
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise UnsealError from None


def _derive_key(text: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE)
    return Fernet(base64.urlsafe_b64encode(derived.derive(text.encode())))


def seal_credentials(box: SecretBox, credentials: Mapping[str, str]) -> str | None:
    """Seal each value; None where there is none."""
    sealed = {name: box.seal(value) for name, value in sorted(credentials.items())}
    return json.dumps(sealed) if sealed else None


def open_credentials(box: SecretBox, stored: str | None) -> dict[str, str]:
    """Open each value.

    Raises:
        UnsealError: no present key fits one of them.
    """
    return {name: box.open(value) for name, value in json.loads(stored or "{}").items()}


def credential_names(stored: str | None) -> list[str]:
    """Name the credentials, sorted."""
    return sorted(json.loads(stored or "{}"))


def columns_of(box: SecretBox, spec: SubscriptionSpec) -> dict[str, Any]:
    """Return a specification as columns, its secrets sealed."""
    key = spec.client_key
    return {
        **{name: _as_json(getattr(spec, name)) for name in SHOWN},
        "sealed_credentials": seal_credentials(box, spec.credentials),
        "sealed_client_key": None if key is None else box.seal(key),
    }


def _as_json(value: Any) -> Any:  # noqa: ANN401  # of any field
    if isinstance(value, Mapping):
        return dict(value)
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return list(value) if is_list else value


def spec_of(box: SecretBox, subscription: Subscription) -> SubscriptionSpec:
    """Return what is stored as a specification, its secrets opened."""
    return apply_changes(box, subscription, {})


def apply_changes(
    box: SecretBox, subscription: Subscription, changes: Mapping[str, Any]
) -> SubscriptionSpec:
    """Lay changes, by names of fields, over what is stored.

    Credentials are merged by name, and one that is None is left out. What cannot be
    opened is as if it had not been stored, and must be said again.
    """
    stored: dict[str, Any] = {name: getattr(subscription, name) for name in SHOWN}
    credentials: dict[str, str | None] = {}
    with suppress(UnsealError):
        credentials |= open_credentials(box, subscription.sealed_credentials)
    credentials |= changes.get("credentials") or {}
    is_certificate_kept = changes.get("client_certificate", "") is not None
    if is_certificate_kept and subscription.sealed_client_key is not None:
        with suppress(UnsealError):
            stored["client_key"] = box.open(subscription.sealed_client_key)
    kept = {name: value for name, value in credentials.items() if value is not None}
    return SubscriptionSpec(**{**stored, **changes, "credentials": kept})


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
