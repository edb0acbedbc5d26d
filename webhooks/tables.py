"""The schema of the outbox, in one read.

Rules:

- An own declarative base: the tables commit in the caller's session and carry no
  foreign key to anything outside this package.
- A delivery's state says what happened to it, and nothing else:

      pending ─claim→ sending ─2xx→ delivered
         ↑               ├─lease over, failed→ pending
         └───────────────┴─given up→ dead, or pending with the reason (``hold``)

- Whether a delivery may go now is said by its queue and its subscription, once each:
  what is ``held`` or ``blocked`` is told of their rows (``shown_state``).
- A queue is what one subscription is told about one ordering key. Its row is the
  mutex: it has the first live delivery, when that is due, and the lease of whoever
  sends it.
- Predicates on states use literal SQL (``state_in``): SQLite can match a partial
  index only with what it sees when it plans, which a bound value is not.
"""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SQLColumnExpression,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    case,
    event,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from webhooks.roster.specs import OnPoison


class SubscriptionState(StrEnum):
    """Whether deliveries are sent or held."""

    ACTIVE = "active"
    PAUSED = "paused"  #: by a person
    DISABLED = "disabled"  #: by the receiver's 410


class DeliveryState(StrEnum):
    """What happened to a delivery."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"


class ShownState(StrEnum):
    """Where a delivery stands, as people see it."""

    PENDING = "pending"
    SENDING = "sending"
    HELD = "held"  #: its subscription is not active, or an earlier one is blocked
    BLOCKED = "blocked"  #: given up, and holds what comes after it
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPERSEDED = "superseded"  #: dead, since a newer one took its place


class QueueState(StrEnum):
    """Whether the first delivery of a queue waits for a person."""

    OPEN = "open"
    BLOCKED = "blocked"


class DeliveryKind(StrEnum):
    """Why a delivery exists."""

    EVENT = "event"  #: the event itself, in order
    REPLAY = "replay"  #: a resend on request, outside the order
    TEST = "test"  #: a ping on request, tried once


class AttemptOutcome(StrEnum):
    """What is known of an attempt."""

    STARTED = "started"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"  #: its process ended before it could say


LIVE_STATES = (DeliveryState.PENDING, DeliveryState.SENDING)
FINAL_STATES = (DeliveryState.DELIVERED, DeliveryState.DEAD)
REASON_SUPERSEDED = "a newer event took its place"
REASON_BEHIND = "an earlier delivery is blocked"


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC instant; refuses a naive one.

    PostgreSQL stores ``timestamptz``; SQLite stores naive UTC text of fixed width, so
    that comparing the text compares the instants.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Turn any aware instant into UTC.

        Raises:
            ValueError: the datetime is naive.
        """
        del dialect  # SQLite's type writes no zone.
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a stored instant must be aware, got {value!r}")
        return value.astimezone(UTC)

    def process_result_value(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Return an aware instant in UTC."""
        if value is None:
            return None
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return value.replace(tzinfo=UTC)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Return an index of the rows for which ``where``, as literal SQL, holds."""
    condition = text(where)
    return Index(
        name,
        *columns,
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )


def _sql_list(values: type[StrEnum] | tuple[StrEnum, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({_sql_list(values)})", name=column)


class Base(DeclarativeBase):
    """The declarative base of this package alone."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        datetime: UTCDateTime,
        **dict.fromkeys(
            (list[str], list[int], dict[str, str], dict[str, float], dict[str, Any]),
            JSON(none_as_null=True),
        ),
    }
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Subscription(Base):
    """Who wants to hear of which events, and how."""

    __tablename__ = "webhook_subscriptions"
    __table_args__ = (
        _one_of("state", SubscriptionState),
        _one_of("on_poison", OnPoison),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    # What its owner chose: ``webhooks.roster.specs`` says the rest of it.
    url: Mapped[str]
    description: Mapped[str]
    event_types: Mapped[list[str]]
    subject_pattern: Mapped[str | None]
    targets: Mapped[list[str] | None]
    format: Mapped[str]
    options: Mapped[dict[str, Any]]
    headers: Mapped[dict[str, str]]
    sealed_credentials: Mapped[str | None]
    signatures: Mapped[list[str]]
    ca_certificate: Mapped[str | None]
    client_certificate: Mapped[str | None]
    sealed_client_key: Mapped[str | None]
    on_poison: Mapped[str]
    rate_per_minute: Mapped[int | None]
    schedule_seconds: Mapped[list[int] | None]
    #: When the next request may be sent (``webhooks.queue.fairness``).
    open_from: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(default=SubscriptionState.ACTIVE)
    state_reason: Mapped[str | None]
    consecutive_failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[datetime | None]
    held_back_until: Mapped[datetime | None] = mapped_column("breaker_until")
    #: How often the breaker opened since the last success.
    breaker_trips: Mapped[int] = mapped_column(default=0, server_default="0")
    #: How many warnings were announced since the last success.
    warnings: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    @property
    def is_open(self) -> bool:
        """Whether its deliveries may be sent now."""
        return self.deleted_at is None and self.state == SubscriptionState.ACTIVE


class SubscriptionSecret(Base):
    """A signing secret, sealed; live until ``not_after``."""

    __tablename__ = "webhook_subscription_secrets"

    id: Mapped[str] = mapped_column(primary_key=True)
    subscription_id: Mapped[str] = mapped_column(
        ForeignKey(Subscription.id), index=True
    )
    scheme: Mapped[str] = mapped_column(default="v1", server_default="v1")
    sealed: Mapped[str]
    #: What a receiver verifies with, where the scheme is asymmetric.
    public_key: Mapped[str | None]
    created_at: Mapped[datetime]
    not_after: Mapped[datetime | None]


class EventRow(Base):
    """An event as it was committed; its id is the webhook-id of every attempt."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index("uq_webhook_events_position", "position", unique=True),
        partial_index(
            "ix_webhook_events_unplaced",
            "occurred_at",
            "sequence",
            where="position IS NULL",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    ordering_key: Mapped[str]
    subject: Mapped[str]
    #: A JSON list of the other names that filters find it by.
    former_subjects: Mapped[str | None]
    target: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    #: How many deliveries of kind ``event`` were stored with it.
    fanout: Mapped[int]
    #: The caller's number of the event within its ordering key.
    sequence: Mapped[int] = mapped_column(default=0, server_default="0")
    #: Its place in the feed, given after the commit (``webhooks.feed``).
    position: Mapped[int | None] = mapped_column(BigInteger)
    occurred_at: Mapped[datetime]
    created_at: Mapped[datetime]


class Feed(Base):
    """The last position given in the feed; its one row is the lock for giving."""

    __tablename__ = "webhook_feed"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_position: Mapped[int] = mapped_column(BigInteger, default=0)
    #: Behind it nothing is missing that was shown; before it something may be.
    removed_position: Mapped[int] = mapped_column(
        BigInteger, default=0, server_default="0"
    )


class Roster(Base):
    """Another revision after each change of a subscription or of its secrets."""

    __tablename__ = "webhook_roster"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Random, so that it is nobody else's, not even after a restored backup.
    revision: Mapped[str] = mapped_column(default="")


@event.listens_for(Feed.__table__, "after_create")
@event.listens_for(Roster.__table__, "after_create")
def _store_the_row(table: Table, connection: Connection, **_: object) -> None:
    connection.execute(insert(table).values(id=1))


class Queue(Base):
    """What one subscription is told about one ordering key, in order.

    ``head_id`` and ``next_at`` are of the first live delivery; None without one.
    """

    __tablename__ = "webhook_queues"
    __table_args__ = (
        _one_of("state", QueueState),
        CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name="lease"),
        # In this order, for claims to have one index that begins with the subscription:
        # of two PostgreSQL would, with statistics of an idle time, take either.
        UniqueConstraint("ordering_key", "subscription_id"),
        partial_index(
            "ix_webhook_queues_due",
            "subscription_id",
            "next_at",
            "id",
            where="state = 'open' AND lease_token IS NULL AND next_at IS NOT NULL",
        ),
        partial_index(
            "ix_webhook_queues_blocked", "subscription_id", where="state = 'blocked'"
        ),
        partial_index(
            "ix_webhook_queues_leased",
            "lease_until",
            where="lease_token IS NOT NULL",
        ),
    )

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True
    )
    subscription_id: Mapped[str] = mapped_column(ForeignKey(Subscription.id))
    ordering_key: Mapped[str]
    #: The number of the next delivery.
    next_sequence: Mapped[int]
    state: Mapped[str] = mapped_column(default=QueueState.OPEN)
    head_id: Mapped[str | None]
    next_at: Mapped[datetime | None]
    lease_token: Mapped[str | None]
    lease_until: Mapped[datetime | None]


def _literal(state: StrEnum) -> ColumnElement[str]:
    return literal_column(f"'{state}'")


def state_in(column: SQLColumnExpression[str], *states: StrEnum) -> ColumnElement[bool]:
    """Compare a state with literals, so that partial indexes serve the query."""
    if len(states) == 1:  # as the index has it
        return column == _literal(states[0])
    return column.in_([_literal(state) for state in states])


def is_given_up(
    state: SQLColumnExpression[str], reason: SQLColumnExpression[str | None]
) -> ColumnElement[bool]:
    """Whether a delivery was given up and waits for a person."""
    return and_(state_in(state, DeliveryState.PENDING), reason.is_not(None))


def shown_state(
    state: SQLColumnExpression[str],
    reason: SQLColumnExpression[str | None],
    queue_state: SQLColumnExpression[str],
    subscription_state: SQLColumnExpression[str],
) -> ColumnElement[str]:
    """Return a delivery's ``ShownState``, with those of its queue and subscription."""
    is_held = or_(
        queue_state == QueueState.BLOCKED,
        subscription_state != SubscriptionState.ACTIVE,
    )
    return case(
        (is_given_up(state, reason), _literal(ShownState.BLOCKED)),
        (
            and_(state_in(state, DeliveryState.PENDING), is_held),
            _literal(ShownState.HELD),
        ),
        (
            and_(state_in(state, DeliveryState.DEAD), reason == REASON_SUPERSEDED),
            _literal(ShownState.SUPERSEDED),
        ),
        else_=state,
    )


def _queue_state(
    subscription_id: SQLColumnExpression[str], ordering_key: SQLColumnExpression[str]
) -> ColumnElement[str]:
    return (
        select(Queue.state)
        .where(
            Queue.subscription_id == subscription_id,
            Queue.ordering_key == ordering_key,
        )
        .correlate_except(Queue)
        .scalar_subquery()
    )


def _of_subscription(
    column: SQLColumnExpression[Any], subscription_id: SQLColumnExpression[str]
) -> ColumnElement[Any]:
    return (
        select(column)
        .where(Subscription.id == subscription_id)
        .correlate_except(Subscription)
        .scalar_subquery()
    )


#: Why nothing is sent to a subscription; None where it is active.
_WHY_HELD = case(
    (Subscription.state == SubscriptionState.ACTIVE, None),
    else_=func.coalesce(Subscription.state_reason, Subscription.state),
)


class Delivery(Base):
    """One event on its way to one subscription.

    ``shown_state`` and ``shown_reason`` are what people see of it.

    Its rows change state a few times each. On PostgreSQL the migration gives the
    table a fill factor of 70: room on the page keeps the updates of unindexed
    columns from touching the indexes.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        _one_of("state", DeliveryState),
        _one_of("kind", DeliveryKind),
        UniqueConstraint("subscription_id", "ordering_key", "sequence"),
        # Without it the search for the next live delivery of a queue would read the
        # queue's whole history.
        partial_index(
            "ix_webhook_deliveries_live",
            "subscription_id",
            "ordering_key",
            "sequence",
            where=f"state IN ({_sql_list(LIVE_STATES)})",
        ),
        partial_index(
            "ix_webhook_deliveries_final",
            "updated_at",
            where=f"state IN ({_sql_list(FINAL_STATES)})",
        ),
        Index(None, "subscription_id", "id"),
        # Few of very many: without it who looks for them walks past all others.
        partial_index(
            "ix_webhook_deliveries_dead", "id", where=f"state = '{DeliveryState.DEAD}'"
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    subscription_id: Mapped[str] = mapped_column(ForeignKey(Subscription.id))
    event_id: Mapped[str] = mapped_column(ForeignKey(EventRow.id), index=True)
    event_type: Mapped[str]
    target: Mapped[str | None]
    kind: Mapped[str] = mapped_column(default=DeliveryKind.EVENT)
    replay_of: Mapped[str | None]
    # Some say their type: the expressions below are made before annotations are read.
    ordering_key: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int]
    state: Mapped[str] = mapped_column(Text)
    #: Why it is dead; of one that is pending, why it was given up.
    reason: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes]
    content_type: Mapped[str]
    #: Headers that the format rendered, frozen with the body.
    headers: Mapped[dict[str, str]] = mapped_column(default=dict, server_default="{}")
    #: Format and options that rendered it; its subscription may have others by now.
    rendered_as: Mapped[dict[str, Any] | None]
    #: What the receiver started because of it: an address or an id.
    receipt: Mapped[str | None]
    attempt_count: Mapped[int] = mapped_column(default=0)
    #: The attempts made before the present budget began.
    attempts_forgiven: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    shown_state: Mapped[str] = column_property(
        shown_state(
            state,
            reason,
            _queue_state(subscription_id, ordering_key),
            _of_subscription(Subscription.state, subscription_id),
        )
    )
    shown_reason: Mapped[str | None] = column_property(
        case(
            (reason.is_not(None), reason),
            (~state_in(state, DeliveryState.PENDING), None),
            (
                _queue_state(subscription_id, ordering_key) == QueueState.BLOCKED,
                REASON_BEHIND,
            ),
            else_=_of_subscription(_WHY_HELD, subscription_id),
        )
    )


class Attempt(Base):
    """One try at one delivery; written before the request, never removed."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (_one_of("outcome", AttemptOutcome),)

    delivery_id: Mapped[str] = mapped_column(ForeignKey(Delivery.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str]
    #: The address that was connected to.
    address: Mapped[str | None]
    status: Mapped[int | None]
    error: Mapped[str | None]
    duration_seconds: Mapped[float | None]
    #: Seconds of each part: name, connect, tls, first_byte.
    timings: Mapped[dict[str, float] | None]
    request_headers: Mapped[dict[str, str] | None]
    response_headers: Mapped[dict[str, str] | None]
    response_body: Mapped[bytes | None]


class AttemptDay(Base):
    """How many attempts at a subscription's deliveries ended on a day of UTC, and how.

    Counted as they end, so that nobody has to go through them; tests are not counted.
    """

    __tablename__ = "webhook_attempt_days"

    subscription_id: Mapped[str] = mapped_column(
        ForeignKey(Subscription.id), primary_key=True
    )
    day: Mapped[date] = mapped_column(primary_key=True)
    delivered: Mapped[int]
    failed: Mapped[int]


def is_untried_copy() -> ColumnElement[bool]:
    """Whether it is a resend that waits for its turn, and for no retry."""
    return and_(Delivery.kind == DeliveryKind.REPLAY, Delivery.attempt_count == 0)


def is_shown_as(*states: ShownState) -> ColumnElement[bool]:
    """Whether a delivery stands in one of these states, by its own columns first."""
    stored = {_STORED.get(state, state) for state in states}
    return and_(
        Delivery.state.in_(map(_literal, sorted(stored))),
        Delivery.shown_state.in_(states),
    )


_STORED = {
    ShownState.HELD: DeliveryState.PENDING,
    ShownState.BLOCKED: DeliveryState.PENDING,
    ShownState.SUPERSEDED: DeliveryState.DEAD,
}
