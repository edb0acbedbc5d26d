"""Deliveries of webhooks: those of a stage change, and one sent again."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.domain.entries import Change
from registry.persistence.tables import StageChange
from registry.services import audit
from registry.services.subscriptions import REDELIVERED, translated
from registry.services.transaction import Transaction
from webhooks import deliveries
from webhooks.tables import Delivery


@translated()
def redeliver(tx: Transaction, delivery_id: str) -> Delivery:
    """Send a delivery again; return the one that will be sent.

    Raises:
        NotFoundError: when there is none.
        ConflictError: while it is still on its way.
    """
    delivery = deliveries.redeliver(tx.session, delivery_id, now=tx.now)
    after = {"delivery": delivery_id, "sent_as": delivery.id}
    audit.log(tx, Change(action=REDELIVERED, after=after))
    return delivery


def deliveries_of_transition(
    session: Session, transition_id: str, *, after: str | None, limit: int
) -> Sequence[Delivery]:
    """What a stage change sends, to every subscription, from behind ``after`` on."""
    events = select(StageChange.event_id).where(
        StageChange.transition_id == transition_id
    )
    return session.scalars(
        select(Delivery)
        .where(Delivery.event_id.in_(events), Delivery.id > (after or ""))
        .order_by(Delivery.id)
        .limit(limit)
        .options(*deliveries.WITHOUT_CONTENT)
    ).all()
