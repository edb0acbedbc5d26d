"""Deliveries that are under way when the schema is upgraded are sent afterwards."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    MetaData,
    Table,
    Text,
    bindparam,
    case,
    create_engine,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.pool import NullPool

from registry.persistence import schema
from registry.persistence.database import prepare_engine
from tests.integration.test_mlflow_times_migrate import upgrade_to
from tests.integration.webhooks.conftest import FAILED, World, embedded_engine
from tests.receiver import Receiver
from webhooks import feed, record, redelivery, subscriptions
from webhooks.queue.schedule import MAX_ATTEMPTS
from webhooks.redelivery import DeliveryFilter
from webhooks.tables import (
    Base,
    Delivery,
    EventRow,
    Feed,
    Queue,
    Subscription,
    UTCDateTime,
)

FIRST, BEFORE_THE_FEEDS_END, BEFORE_FILTERS = "0001", "0003", "0013"
WITHOUT_ORDER, WITHOUT_QUEUES = "0014", "0015"
#: The tables, and what the older schema had in place of a column.
TABLES: dict[str, dict[str, ColumnElement[Any]]] = {
    "webhook_subscriptions": {},
    "webhook_subscription_secrets": {},
    "webhook_events": {},
    "webhook_queues": {"is_blocked": Queue.state == "blocked"},
    "webhook_deliveries": {
        "state": Delivery.shown_state.expression,
        "reason": Delivery.shown_reason.expression,
        "lease_token": case((Delivery.state == "sending", "t")),
        "lease_until": case((Delivery.state == "sending", Delivery.updated_at)),
    },
    "webhook_attempts": {},
}
OLDER_NAMES = {"webhook_queues": "webhook_ordering_keys"}
HOUR = timedelta(hours=1)
THEN = datetime.now(UTC) - HOUR
RUNNING_REPLAY = text(
    "INSERT INTO webhook_replays (id, subscription_id, until, per_second, state, total,"
    " done, cursor, next_at, created_at, created_by, updated_at) VALUES ('rpl_1',"
    " :subscription, :now, 1.0, 'running', 3, 1, '1', :now, :now, 'alice', :now)"
).bindparams(bindparam("now", type_=UTCDateTime()))


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)]
)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database, of the kind that is asked for."""
    url = (
        f"sqlite:///{tmp_path / 'old.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = create_engine(url, poolclass=NullPool)
    prepare_engine(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[World]:
    """Rows to be put into an older schema."""
    engine = embedded_engine(tmp_path / "source.db")
    Base.metadata.create_all(engine)
    yield World(engine)
    engine.dispose()


def copy_rows(source: Engine, target: Engine) -> None:
    """Copy what the older schema has columns for."""
    for name, replaced in TABLES.items():
        values = {c.name: c for c in Base.metadata.tables[name].columns} | replaced
        older = older_table(target, OLDER_NAMES.get(name, name), values)
        shown = [
            values[column].label(column) for column in older.c.keys() & values.keys()
        ]
        with source.connect() as reading:
            rows = [dict(row) for row in reading.execute(select(*shown)).mappings()]
        if rows:
            with target.begin() as writing:
                writing.execute(insert(older), rows)


def older_table(
    target: Engine, name: str, values: Mapping[str, ColumnElement[Any]]
) -> Table:
    """A table as it was, with a value for what is gone since."""
    present = [column["name"] for column in inspect(target).get_columns(name)]
    columns = [Column(c, values[c].type) for c in present if c in values]
    if "ordering" in present:
        columns.append(Column("ordering", Text, default="key"))
    return Table(name, MetaData(), *columns)


def test_what_waits_is_retried_or_being_sent_arrives_after_the_upgrade(
    source: World, old: Engine
) -> None:
    with Receiver() as receiver:
        _, secret = source.subscribe(receiver.url)
        receiver.accept_secret(secret)
        then = datetime.now(UTC) - HOUR
        rows = [source.enqueue(now=then) for _ in range(3)]
        other = source.enqueue(ordering_key="other", now=then)
        for claim in source.claim(now=then):
            if claim.event_id == other.id:
                continue  # Its process ended while it was being sent.
            source.record(claim, now=then)
        (retried,) = source.claim(now=then)
        source.record(retried, FAILED, now=then)
        upgrade_to(old, FIRST)
        copy_rows(source.engine, old)

        schema.upgrade(old)

        upgraded = World(old, source.box, source.guard)
        while upgraded.dispatcher().run_once():
            pass
        arrived = [request.message_id for request in receiver.verified]
        assert arrived.index(rows[1].id) < arrived.index(rows[2].id)
        assert sorted(arrived) == sorted([rows[1].id, rows[2].id, other.id])
    assert set(upgraded.states()) == {"delivered"}
    with upgraded.begin() as session:
        assert feed.place(session) == len(rows) + 1


@pytest.mark.parametrize("killed_while_sending", [True, False])
def test_deliveries_in_every_state_go_on_in_order(
    source: World, old: Engine, *, killed_while_sending: bool
) -> None:
    with Receiver() as receiver:
        paused, held = hold_and_supersede(source, receiver)
        blocked, behind = block(source, receiver)
        sent, after_it = send_first(source, is_killed=killed_while_sending)
        before = {row.event_id: row.state for row in source.deliveries()}
        upgrade_to(old, WITHOUT_QUEUES)
        copy_rows(source.engine, old)

        schema.upgrade(old)

        upgraded = World(old, source.box, source.guard)
        after = {row.event_id: row.state for row in upgraded.deliveries()}
        drain(upgraded)
        assert arrived(receiver) == [sent, after_it]
        now = datetime.now(UTC)
        with upgraded.begin() as session:
            subscriptions.resume(session, paused, now=now)
            (head,) = record.list_page(session, event_id=blocked, limit=2)
            redelivery.redeliver(session, head.id, now=now)
        drain(upgraded)
        rest = arrived(receiver)[2:]
    assert after == before
    assert set(before.values()) == {
        *("pending", "held", "blocked", "superseded"),
        *(("sending",) if killed_while_sending else ()),
    }
    assert [event for event in rest if event != held] == [blocked, behind]
    assert rest.count(held) == 1


def hold_and_supersede(source: World, receiver: Receiver) -> tuple[str, str]:
    """A subscription that is paused, and the one event that it is still to hear of."""
    subscription_id, secret = source.subscribe(
        receiver.url, subject_pattern="iris", on_poison="latest_wins"
    )
    receiver.accept_secret(secret)
    with source.begin() as session:
        subscriptions.pause(session, subscription_id, now=THEN)
    _, held = (
        source.enqueue(now=THEN, subject="iris", ordering_key="iris") for _ in range(2)
    )
    return subscription_id, held.id


def block(source: World, receiver: Receiver) -> tuple[str, str]:
    """An event whose attempts are used up, and the one that waits for it."""
    _, secret = source.subscribe(receiver.url, subject_pattern="fraud")
    receiver.accept_secret(secret)
    events = [source.enqueue(now=THEN).id for _ in range(2)]
    with source.begin() as session:
        session.execute(update(Delivery).values(attempt_count=MAX_ATTEMPTS - 1))
    (claim,) = source.claim(now=THEN)
    source.record(claim, FAILED, now=THEN)
    return events[0], events[1]


def send_first(source: World, *, is_killed: bool) -> tuple[str, str]:
    """Two events, the first of which has failed, or was being sent by who died."""
    first = source.enqueue(now=THEN, ordering_key="sent")
    (claim,) = source.claim(now=THEN)
    if not is_killed:
        source.record(claim, FAILED, now=THEN)
    return first.id, source.enqueue(now=THEN, ordering_key="sent").id


def drain(world: World) -> None:
    while world.dispatcher().run_once():
        pass


def arrived(receiver: Receiver) -> list[str]:
    return [request.message_id for request in receiver.verified]


#: Of its time with an order something is blocked still, and something held by that.
FORGET_ORDER = """
UPDATE webhook_subscriptions SET ordering = 'none', max_age_seconds = 60;
UPDATE webhook_deliveries SET state = 'blocked', reason = 'failed'
WHERE ordering_key = 'fraud' AND sequence = 1;
UPDATE webhook_deliveries SET state = 'held', reason = 'an earlier delivery is blocked'
WHERE ordering_key = 'fraud' AND sequence = 2;
UPDATE webhook_ordering_keys SET is_blocked = true WHERE ordering_key = 'fraud';
UPDATE webhook_deliveries SET state = 'expired', reason = 'too old'
WHERE ordering_key = 'old';
UPDATE webhook_deliveries SET ordering_key = event_id WHERE ordering_key <> 'fraud'
"""


def test_a_subscription_without_order_sends_what_waits_and_then_keeps_order(
    source: World, old: Engine
) -> None:
    with Receiver() as receiver:
        _, secret = source.subscribe(receiver.url)
        receiver.accept_secret(secret)
        then = datetime.now(UTC) - HOUR
        being_sent = source.enqueue(ordering_key="sent", now=then)
        source.claim(now=then)  # Its process ended while it was being sent.
        expired, waiting, blocked, held = (
            source.enqueue(ordering_key=key, now=then)
            for key in ("old", "waiting", "fraud", "fraud")
        )
        upgrade_to(old, WITHOUT_ORDER)
        copy_rows(source.engine, old)
        with old.begin() as connection:
            for change in FORGET_ORDER.split(";"):
                connection.execute(text(change))

        schema.upgrade(old)

        upgraded = World(old, source.box, source.guard)
        new = [upgraded.enqueue(now=then).id for _ in range(3)]
        while upgraded.dispatcher().run_once():
            pass
        arrived = [request.message_id for request in receiver.verified]
    assert {*arrived} == {being_sent.id, waiting.id, held.id, *new}
    assert [event for event in arrived if event in new] == new
    reasons = {row.event_id: row.reason for row in upgraded.deliveries() if row.reason}
    assert reasons == {expired.id: "too old", blocked.id: "failed"}
    assert set(upgraded.states()) == {"delivered", "dead"}
    with upgraded.begin() as session:
        assert session.scalars(select(Subscription.on_poison)).all() == ["skip"]


def test_a_feed_that_was_cut_off_before_says_where_it_begins(
    source: World, old: Engine
) -> None:
    source.subscribe()
    source.enqueue()
    with source.begin() as session:
        session.execute(update(EventRow).values(position=7))
    upgrade_to(old, BEFORE_THE_FEEDS_END)
    copy_rows(source.engine, old)
    with old.begin() as connection:
        connection.execute(text("UPDATE webhook_feed SET last_position = 9"))

    schema.upgrade(old)

    with World(old).begin() as session:
        found = session.get_one(Feed, 1)
        assert (found.last_position, found.removed_position) == (9, 6)


def run_replay(source: World, old: Engine, url: str) -> tuple[str, list[str]]:
    """A replay that has taken its first step of three; whose it is, and its events."""
    subscription_id, _ = source.subscribe(url)
    then = datetime.now(UTC) - HOUR
    events = [
        source.enqueue(now=then, occurred_at=then, sequence=number).id
        for number in range(3)
    ]
    for _ in events:
        (claim,) = source.claim(now=then)
        source.record(claim, now=then)
    first = source.deliveries()[0]
    with source.begin() as session:
        copy = redelivery.redeliver(session, first.id, now=then)
        copy.ordering_key = f"rpl_1:{first.ordering_key}"
    upgrade_to(old, BEFORE_FILTERS)
    copy_rows(source.engine, old)
    with old.begin() as connection:
        values = {"subscription": subscription_id, "now": then}
        connection.execute(RUNNING_REPLAY, values)
    return subscription_id, events


def test_a_running_replay_ends_and_a_filter_sends_the_rest(
    source: World, old: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver() as receiver:
        subscription_id, events = run_replay(source, old, receiver.url)

        schema.upgrade(old)

        upgraded = World(old, source.box, source.guard)
        upgraded.dispatcher().run_once()
        everything, then = DeliveryFilter(), datetime.now(UTC) - HOUR
        with upgraded.begin() as session:
            portion = redelivery.send_portion(
                session, subscription_id, everything, after=None, now=then
            )
        while upgraded.dispatcher().run_once():
            pass
        arrived = [request.message_id for request in receiver.requests]
    assert "webhook_replays" not in inspect(old).get_table_names()
    assert "replay_ended replay=rpl_1" in caplog.text
    assert "done=1 total=3" in caplog.text
    assert (portion.count, arrived) == (2, events)
