"""PostgreSQL finds what is sent and settled by keys, whatever its statistics say."""

from typing import Any

import pytest
from sqlalchemy import event

from tests.integration.webhooks.conftest import NOW, World, make_event
from webhooks import outbox, subscriptions

WAITING = 2000
LIVE = 20

pytestmark = [
    pytest.mark.service,
    pytest.mark.parametrize("world", ["postgresql"], indirect=True),
]


def test_what_waits_is_not_read_by_the_statistics_of_an_idle_time(
    world: World,
) -> None:
    world.subscribe(subject_pattern="live")
    held, _ = world.subscribe(subject_pattern="held")
    with world.begin() as session:
        for table in ("webhook_deliveries", "webhook_queues"):
            session.connection().exec_driver_sql(f"ANALYZE {table}")
        subscriptions.pause(session, held, now=NOW)
        for subject, count in (("held", WAITING), ("live", LIVE)):
            events = [
                make_event(subject=subject, ordering_key=f"{subject}-{number}")
                for number in range(count)
            ]
            outbox.enqueue_all(session, events, now=NOW)

    plans = plans_of_a_claim_and_its_result(world)

    assert len(plans) == 1 + LIVE
    for plan in plans:
        assert "ix_webhook_deliveries_live" not in plan
        assert "ix_webhook_queues_leased" not in plan


def plans_of_a_claim_and_its_result(world: World) -> list[str]:
    """The plans of what reads deliveries and leases by their ids, with no key for them.

    So another index stands in a plan whenever PostgreSQL may take it at all.
    """
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, *asked: Any) -> None:  # noqa: ANN401  # SQLAlchemy's own arguments
        if asked[0].startswith("SELECT webhook_") and " = ANY (" in asked[0]:
            seen.append((asked[0], asked[1]))

    event.listen(world.engine, "before_cursor_execute", note)
    claims = world.claim(limit=LIVE)
    for claim in claims:
        world.record(claim)
    event.remove(world.engine, "before_cursor_execute", note)
    with world.engine.connect() as connection:  # and roll back
        for table in ("webhook_deliveries", "webhook_queues"):
            key = f"ALTER TABLE {table} DROP CONSTRAINT pk_{table} CASCADE"
            connection.exec_driver_sql(key)
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return [
            "\n".join(
                row[0] for row in connection.exec_driver_sql(f"EXPLAIN {sql}", given)
            )
            for sql, given in seen
        ]
