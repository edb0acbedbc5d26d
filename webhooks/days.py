"""How receivers fared, day by day: attempts counted as they end.

Rules:

- A day is one of UTC. What is counted is an attempt at an event or at a resend of it;
  one whose end nobody saw counts as failed.
- Rows are written last in their transaction and in one order, so that nobody waits
  for anybody in a circle.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache

from sqlalchemy import Connection, Insert, Select, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webhooks.statements import fetch, is_among, write
from webhooks.tables import AttemptDay

SHOWN_DAYS = 14


@dataclass(frozen=True)
class Day:
    """The attempts of one day."""

    day: date
    delivered: int = 0
    failed: int = 0


def count(cx: Connection, ended: Collection[tuple[str, bool]], now: datetime) -> None:
    """Count attempts, each by its subscription and whether it was acknowledged."""
    counted = Counter(ended)
    rows = [
        {
            "subscription_id": subscription_id,
            "day": now.date(),
            "delivered": counted[subscription_id, True],
            "failed": counted[subscription_id, False],
        }
        for subscription_id in sorted({subscription_id for subscription_id, _ in ended})
    ]
    if rows:
        write(cx, _adding(cx.dialect.name), rows)


def read(
    cx: Connection, subscription_ids: Sequence[str], today: date
) -> Mapping[str, Sequence[Day]]:
    """Return the last days of each subscription, oldest first, days of rest too."""
    span = [today - timedelta(days=back) for back in reversed(range(SHOWN_DAYS))]
    values = {"ids": list(subscription_ids), "since": span[0]}
    found = {
        (row[0], row[1]): Day(*row[1:])
        for row in fetch(cx, _since(cx.dialect.name), values)
    }
    return {
        subscription_id: [found.get((subscription_id, day), Day(day)) for day in span]
        for subscription_id in subscription_ids
    }


def remove(session: Session, *, before: date) -> None:
    """Remove what was counted on days before that one."""
    session.execute(
        delete(AttemptDay)
        .where(AttemptDay.day < before)
        .execution_options(synchronize_session=False)
    )


@cache
def _adding(database: str) -> Insert:
    insert = postgresql.insert if database == "postgresql" else sqlite.insert
    columns = AttemptDay.__table__.c
    new = insert(AttemptDay).values({c.name: bindparam(c.name) for c in columns})
    return new.on_conflict_do_update(
        index_elements=["subscription_id", "day"],
        set_={
            "delivered": AttemptDay.delivered + new.excluded.delivered,
            "failed": AttemptDay.failed + new.excluded.failed,
        },
    )


@cache
def _since(database: str) -> Select[str, date, int, int]:
    return select(
        AttemptDay.subscription_id,
        AttemptDay.day,
        AttemptDay.delivered,
        AttemptDay.failed,
    ).where(
        is_among(AttemptDay.subscription_id, "ids", database),
        AttemptDay.day >= bindparam("since"),
    )
