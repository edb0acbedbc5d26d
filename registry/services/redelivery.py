"""What a subscription was sent is sent again, chosen by a filter.

The package ``webhooks`` calls ``subject_pattern`` what is ``model_pattern`` here.
"""

from collections.abc import Mapping
from typing import Any

from registry.domain.documents import Document
from registry.domain.entries import Change
from registry.domain.timestamps import parse_rfc3339
from registry.errors import InvalidInputError
from registry.services import audit
from registry.services.subscriptions import REDELIVERED, translated
from registry.services.transaction import Transaction
from webhooks import redelivery
from webhooks.redelivery import DeliveryFilter
from webhooks.tables import DeliveryState

_INSTANTS = ("since", "until", "again_before")


def count(tx: Transaction, subscription_id: str, members: Mapping[str, Any]) -> int:
    """Return how many deliveries would be sent again; nothing is sent.

    Raises:
        NotFoundError: when there is no such subscription.
        InvalidInputError: naming the field at fault.
    """
    with translated():
        return redelivery.count(tx.session, subscription_id, _filter(members))


def send(
    tx: Transaction,
    subscription_id: str,
    members: Mapping[str, Any],
    *,
    after: int | None,
) -> tuple[int, int | None]:
    """Send the next portion again; return how many, and behind which position to go on.

    Raises:
        NotFoundError: when there is no such subscription.
        InvalidInputError: naming the field at fault.
    """
    with translated():
        portion = redelivery.send_portion(
            tx.session, subscription_id, _filter(members), after=after, now=tx.now
        )
    chosen = {name: value for name, value in members.items() if value is not None}
    entry: Document = {"id": subscription_id, "count": portion.count, "filter": chosen}
    audit.log(tx, Change(action=REDELIVERED, after=entry))
    return portion.count, portion.next_position


def _filter(members: Mapping[str, Any]) -> DeliveryFilter:
    instants = {
        name: parse_rfc3339(members[name], field=name)
        for name in _INSTANTS
        if members[name] is not None
    }
    if {"since", "until"} <= set(instants) and instants["until"] < instants["since"]:
        raise InvalidInputError("must not lie before the beginning", field="until")
    return DeliveryFilter(
        **instants,
        event_types=members["event_types"],
        subject_pattern=members["model_pattern"],
        states=members["states"]
        and [DeliveryState(state) for state in members["states"]],
    )
