"""What the owner chose, as columns and back.

Secrets are sealed in the columns and open in the specification.
"""

import operator
from collections.abc import Mapping
from typing import Any

from webhooks.credentials import open_credentials, seal_credentials
from webhooks.errors import UnsealError
from webhooks.sealing import SecretBox
from webhooks.specs import SubscriptionSpec
from webhooks.tables import Subscription

#: What is stored as it was given.
_PLAIN_FIELDS = (
    *("url", "description", "event_types", "subject_pattern", "targets"),
    *("format", "options", "headers", "signatures", "ca_certificate"),
    *("client_certificate", "schedule_seconds", "on_poison", "rate_per_minute"),
)
#: What a change may name.
FIELDS = frozenset({*_PLAIN_FIELDS, "credentials", "client_key"})
#: Where a request goes, and what opens the door there.
place_of = operator.attrgetter(
    *("url", "headers", "credentials"),
    *("ca_certificate", "client_certificate", "client_key"),
)


def spec_of(box: SecretBox, subscription: Subscription) -> SubscriptionSpec:
    """Give what is stored as a specification, its secrets opened."""
    return changed(box, subscription, {})


def changed(
    box: SecretBox, subscription: Subscription, changes: Mapping[str, Any]
) -> SubscriptionSpec:
    """Lay changes, by names of ``FIELDS``, over what is stored.

    Credentials are merged by name, and one that is None is left out. What cannot be
    opened is as if it had not been stored.
    """
    given = dict(changes)
    present: dict[str, Any] = {
        name: getattr(subscription, name) for name in _PLAIN_FIELDS
    }
    credentials: dict[str, str | None] = {
        **_opened_credentials(box, subscription),
        **(given.pop("credentials", None) or {}),
    }
    present["credentials"] = {
        name: value for name, value in credentials.items() if value is not None
    }
    present["client_key"] = _opened_key(box, subscription, given)
    return SubscriptionSpec(**{**present, **given})


def _opened_credentials(box: SecretBox, subscription: Subscription) -> dict[str, str]:
    """Open what is stored; what cannot be opened must be given again."""
    try:
        return open_credentials(box, subscription.sealed_credentials)
    except UnsealError:
        return {}


def _opened_key(
    box: SecretBox, subscription: Subscription, given: Mapping[str, Any]
) -> str | None:
    sealed = subscription.sealed_client_key
    is_dropped = given.get("client_certificate", "") is None
    if sealed is None or is_dropped or "client_key" in given:
        return None
    try:
        return box.open(sealed)
    except UnsealError:
        return None


def columns_of(box: SecretBox, spec: SubscriptionSpec) -> dict[str, Any]:
    """Give a specification as columns, its secrets sealed."""
    values = {name: getattr(spec, name) for name in _PLAIN_FIELDS}
    for name in ("event_types", "signatures", "targets", "schedule_seconds"):
        values[name] = None if values[name] is None else list(values[name])
    for name in ("options", "headers"):
        values[name] = dict(values[name])
    key = spec.client_key
    values["sealed_credentials"] = seal_credentials(box, spec.credentials)
    values["sealed_client_key"] = None if key is None else box.seal(key)
    return values
