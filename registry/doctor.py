"""The proof that every change has all that belongs to it: ``stagegate doctor``.

Rules:

- All is read as it was at one instant: a change under way is there whole, or not at
  all. It is read in portions, by statements that are short.
- A stage change and its event, the event and its deliveries are one transaction, and
  so are a version and its manifest: what is missing is a defect, of this program or of
  hands that changed the database.
- What waits for a webhook is found by its queue's row; a row that does not know it
  would have it wait for ever.
- What retention may have removed is not missed: what is older than it keeps things,
  and what is older than the first event that it has left.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, and_, bindparam, func, select
from sqlalchemy.orm import Session

from registry.domain.audit_chain import VerificationReport
from registry.errors import IntegrityViolationError
from registry.persistence.manifests import manifest_of
from registry.persistence.statements import CHANGES, MODELS, VERSIONS
from registry.services.audit import verify_database
from webhooks.queue.row import first_live
from webhooks.statements import walk
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    DeliveryKind,
    EventRow,
    Feed,
    Queue,
    Subscription,
    state_in,
)

_ROWS_AT_ONCE = 1000
#: By which clocks may differ.
_MARGIN = timedelta(hours=1)
_EVENTS = cast("Table", EventRow.__table__)
_DELIVERIES = cast("Table", Delivery.__table__)
_SINCE = bindparam("since", type_=_EVENTS.c.created_at.type)

_STAGE_CHANGES = (
    select(CHANGES, MODELS.c.name, _EVENTS.c.id.label("announced_by"))
    .join(MODELS, MODELS.c.id == CHANGES.c.model_id)
    .outerjoin(
        _EVENTS,
        and_(
            _EVENTS.c.id == CHANGES.c.event_id,
            _EVENTS.c.ordering_key == CHANGES.c.model_id,
        ),
    )
    # A registration is announced as such, and its line names no event.
    .where(CHANGES.c.at >= _SINCE, CHANGES.c.from_stage.is_not(None))
)
_STORED = (
    select(func.count())
    .where(Delivery.event_id == _EVENTS.c.id, Delivery.kind == DeliveryKind.EVENT)
    .scalar_subquery()
)
_ANNOUNCED = select(
    *(_EVENTS.c.id, _EVENTS.c.created_at, _EVENTS.c.type, _EVENTS.c.subject),
    *(_EVENTS.c.fanout, _STORED.label("stored")),
).where(_EVENTS.c.created_at >= _SINCE)
_FIRST_LEFT = (
    select(_EVENTS.c.created_at)
    .where(_EVENTS.c.position > bindparam("removed"))
    .order_by(_EVENTS.c.position)
    .limit(1)
)
_PINNED = select(
    *(VERSIONS.c.id, VERSIONS.c.model_name, VERSIONS.c.number),
    VERSIONS.c.artifact_digest,
).where(VERSIONS.c.artifact_digest.is_not(None), VERSIONS.c.deleted_at.is_(None))


_WAITING = (
    select(
        *(Delivery.id, Delivery.subscription_id, Delivery.ordering_key),
        *(Delivery.sequence, Queue.head_id, first_live("id").label("first_id")),
    )
    .select_from(Delivery)
    .join(Subscription, Subscription.id == Delivery.subscription_id)
    .outerjoin(
        Queue,
        and_(
            Queue.subscription_id == Delivery.subscription_id,
            Queue.ordering_key == Delivery.ordering_key,
        ),
    )
    .where(state_in(Delivery.state, *LIVE_STATES), Subscription.deleted_at.is_(None))
)
_PLACE_IN_QUEUE = [
    _DELIVERIES.c[name] for name in ("subscription_id", "ordering_key", "sequence")
]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is not as it must be, and where."""

    check: str
    place: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was looked at, and what was found.

    Attributes:
        counts: how many stage changes, events and manifests were looked at.
        since: from when on changes and events were looked at.
    """

    audit: VerificationReport
    counts: Counter[str]
    since: datetime
    problems: Sequence[Problem]


def examine(session: Session, *, keep: timedelta, now: datetime) -> Examination:
    """Look at the whole registry; the session sees one instant.

    ``keep`` is how long retention leaves what was settled.
    """
    audit = verify_database(session)
    since = _kept_since(session, now - keep + _MARGIN, now)
    counts: Counter[str] = Counter()
    problems = [
        *_damage(audit),
        *_unannounced(session, since, counts),
        *_undelivered(session, since, counts),
        *_stalled(session),
        *_unpinned(session, counts),
    ]
    return Examination(audit=audit, counts=counts, since=since, problems=problems)


def _kept_since(session: Session, since: datetime, now: datetime) -> datetime:
    """From when on nothing was removed: retention may have kept less than now."""
    removed = session.scalar(select(Feed.removed_position))
    if not removed:
        return since
    return max(since, session.scalar(_FIRST_LEFT, {"removed": removed}) or now)


def _damage(report: VerificationReport) -> Iterator[Problem]:
    for damage in report.damage:
        message = f"{damage.kind}: {damage.message}"
        yield Problem(check="audit", place=damage.place, message=message)


def _unannounced(
    session: Session, since: datetime, counts: Counter[str]
) -> Iterator[Problem]:
    keys, limit = (CHANGES.c.at, CHANGES.c.id), _ROWS_AT_ONCE
    for row in walk(session, _STAGE_CHANGES, *keys, limit=limit, since=since):
        counts["stage_changes"] += 1
        if row.announced_by is None:
            yield Problem(
                check="event",
                place=f"version {row.number} of {row.name}",
                message=f"no event announces that it entered {row.to_stage} "
                f"({row.transition_id})",
            )


def _undelivered(
    session: Session, since: datetime, counts: Counter[str]
) -> Iterator[Problem]:
    keys, limit = (_EVENTS.c.created_at, _EVENTS.c.id), _ROWS_AT_ONCE
    for row in walk(session, _ANNOUNCED, *keys, limit=limit, since=since):
        counts["events"] += 1
        if row.stored != row.fanout:
            yield Problem(
                check="deliveries",
                place=f"event {row.id} ({row.type}) of {row.subject}",
                message=f"it was stored with {row.fanout} deliveries, "
                f"{row.stored} are there",
            )


def _stalled(session: Session) -> Iterator[Problem]:
    for row in walk(session, _WAITING, *_PLACE_IN_QUEUE, limit=_ROWS_AT_ONCE):
        is_first = row.id == row.first_id or row.first_id is None
        if is_first and row.head_id != row.id:
            yield Problem(
                check="queue",
                place=f"delivery {row.id} to webhook {row.subscription_id}",
                message=f"it is the next of its queue, which waits for {row.head_id}",
            )


def _unpinned(session: Session, counts: Counter[str]) -> Iterator[Problem]:
    for row in walk(session, _PINNED, VERSIONS.c.id, limit=_ROWS_AT_ONCE):
        counts["manifests"] += 1
        version: Any = row  # it has the columns by which manifests are read
        try:
            manifest_of(session.connection(), version)
        except IntegrityViolationError as error:
            place = f"version {row.number} of {row.model_name}"
            yield Problem(check="manifest", place=place, message=str(error))
