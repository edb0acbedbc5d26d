"""What the owner chose, as columns and back.

Secrets are sealed in the columns and open in the specification.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from webhooks.errors import UnsealError
from webhooks.sealing import SecretBox, open_credentials, seal_credentials
from webhooks.specs import SHOWN, SubscriptionSpec
from webhooks.tables import Subscription

T = TypeVar("T")

#: Where a request goes, and what opens the door there.
place_of = operator.attrgetter(
    *("url", "headers", "credentials"),
    *("ca_certificate", "client_certificate", "client_key"),
)


def spec_of(box: SecretBox, subscription: Subscription) -> SubscriptionSpec:
    """Return what is stored as a specification, its secrets opened."""
    return apply_changes(box, subscription, {})


def apply_changes(
    box: SecretBox, subscription: Subscription, changes: Mapping[str, Any]
) -> SubscriptionSpec:
    """Lay changes, by names of fields, over what is stored.

    Credentials are merged by name, and one that is None is left out. What cannot be
    opened is as if it had not been stored.
    """
    stored: dict[str, Any] = {name: getattr(subscription, name) for name in SHOWN}
    credentials: dict[str, str | None] = {
        **(_opened(open_credentials, box, subscription.sealed_credentials) or {}),
        **(changes.get("credentials") or {}),
    }
    if changes.get("client_certificate", "") is not None:
        stored["client_key"] = _opened(
            SecretBox.open, box, subscription.sealed_client_key
        )
    kept = {name: value for name, value in credentials.items() if value is not None}
    return SubscriptionSpec(**{**stored, **changes, "credentials": kept})


def _opened(
    open_it: Callable[[SecretBox, str], T], box: SecretBox, sealed: str | None
) -> T | None:
    """Open what is stored; what cannot be opened must be said again."""
    try:
        return None if sealed is None else open_it(box, sealed)
    except UnsealError:
        return None


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
