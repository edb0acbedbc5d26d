"""Deliveries that are under way when the schema is upgraded are sent afterwards."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import (
    Engine,
    create_engine,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.pool import NullPool

from registry.persistence import schema
from registry.persistence.database import prepare_engine
from tests.integration.test_mlflow_times_migrate import upgrade_to
from tests.integration.test_prompts_migrate import as_it_was
from tests.integration.webhooks.conftest import FAILED, World, embedded_engine
from tests.receiver import Receiver
from webhooks import feed
from webhooks.tables import Base, EventRow, Feed, Subscription

FIRST, BEFORE_THE_FEEDS_END, WITHOUT_ORDER = "0001", "0003", "0013"
TABLES = (
    *("webhook_subscriptions", "webhook_subscription_secrets", "webhook_events"),
    *("webhook_ordering_keys", "webhook_deliveries", "webhook_attempts"),
)
HOUR = timedelta(hours=1)


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
    for name in TABLES:
        older = as_it_was(target, name)
        columns = [c for c in Base.metadata.tables[name].columns if c.name in older.c]
        with source.connect() as reading:
            rows = [dict(row) for row in reading.execute(select(*columns)).mappings()]
        if rows:
            with target.begin() as writing:
                writing.execute(insert(older), rows)


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
