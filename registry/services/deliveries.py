"""Deliveries of webhooks: those of a stage change, one sent again, many by a filter.

The package ``webhooks`` calls ``subject_pattern`` what is ``model_pattern`` here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session

from registry.domain.documents import Document
from registry.domain.entries import Change
from registry.domain.timestamps import parse_rfc3339
from registry.errors import InvalidInputError
from registry.persistence.tables import StageChange
from registry.services import audit
from registry.services.subscriptions import REDELIVERED, translated
from registry.services.transaction import Transaction
from webhooks import record, redelivery
from webhooks.redelivery import DeliveryFilter
from webhooks.statements import fetch
from webhooks.tables import Delivery, ShownState

_INSTANTS = ("since", "until", "again_before")


@translated()
def redeliver(tx: Transaction, delivery_id: str) -> Delivery:
    """Send a delivery again; return the one that will be sent.

    Raises:
        NotFoundError: when there is none.
        ConflictError: while it is still on its way.
    """
    delivery = redelivery.redeliver(tx.session, delivery_id, now=tx.now)
    after = {"delivery": delivery_id, "sent_as": delivery.id}
    audit.log(tx, Change(action=REDELIVERED, after=after))
    return delivery


def deliveries_of_transition(
    session: Session, transition_id: str, *, after: str | None, limit: int
) -> Sequence[Delivery]:
    """Return what a stage change sends to anybody, from behind ``after`` on."""
    events = select(StageChange.event_id).where(
        StageChange.transition_id == transition_id
    )
    return session.scalars(
        select(Delivery)
        .where(Delivery.event_id.in_(events), Delivery.id > (after or ""))
        .order_by(Delivery.id)
        .limit(limit)
        .options(*record.WITHOUT_CONTENT)
    ).all()


def events_of(cx: Connection, transition_id: str) -> Sequence[str]:
    """Return the ids of the events that announced a stage change."""
    values = {"transition_id": transition_id}
    return [event_id for (event_id,) in fetch(cx, _EVENTS, values) if event_id]


_EVENTS = select(StageChange.event_id).where(
    StageChange.transition_id == bindparam("transition_id")
)


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
        states=members["states"] and [ShownState(state) for state in members["states"]],
    )
