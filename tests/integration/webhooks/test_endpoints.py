"""Whose turn it is: a fair share each, and nobody pays for what waits for others."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text, update
from sqlalchemy.orm import Session

from tests.integration.webhooks.conftest import FAILED, LEASE, NOW, World, make_event
from tests.integration.webhooks.failing import HOUR
from webhooks import outbox, statements, subscriptions
from webhooks.queue import claim as claims
from webhooks.queue.claim import claim_due
from webhooks.queue.fairness import Quota
from webhooks.sending.prepare import Claim
from webhooks.tables import Subscription

needs_two_writers = pytest.mark.parametrize(
    "world",
    [pytest.param("postgresql", marks=pytest.mark.service)],
    indirect=True,
)
SECOND = timedelta(seconds=1)
LATER = NOW + HOUR
#: So many that PostgreSQL does not think of reading the whole table.
MANY = 2000
LONG = 250


class PassingOver(Quota):
    """Gives nothing to some."""

    def __init__(self, *passed_over: str) -> None:
        super().__init__(most=MANY, taken=Counter(), slow=(), is_healthy_only=False)
        self.passed_over = {*passed_over}


def subscribe_to(world: World, name: str) -> str:
    """Subscribe to the events of one model."""
    identity, _ = world.subscribe(subject_pattern=name)
    return identity


def announce(
    world: World, name: str, *, count: int = 1, late: int = 0, key: str | None = None
) -> None:
    """Store events of one key, or of one each, due ``late`` seconds after NOW."""
    events = [
        make_event(subject=name, ordering_key=key or f"{name}-{late}-{number}")
        for number in range(count)
    ]
    with world.begin() as session:
        outbox.enqueue_all(session, events, now=NOW + late * SECOND)


def claim_later(world: World, limit: int) -> list[Claim]:
    with world.begin() as session:
        return claim_due(session, now=LATER, limit=limit, lease=LEASE)


def shares_of(claims: Sequence[Claim]) -> Counter[str]:
    return Counter(claim.subscription_id for claim in claims)


def test_each_endpoint_with_something_due_gets_a_share(world: World) -> None:
    busy, quiet = subscribe_to(world, "busy"), subscribe_to(world, "quiet")
    announce(world, "busy", count=20)
    announce(world, "quiet", late=60)

    assert shares_of(claim_later(world, 4)) == {busy: 2, quiet: 1}


def test_what_one_leaves_of_its_share_is_given_by_the_next_claim(world: World) -> None:
    busy, quiet = subscribe_to(world, "busy"), subscribe_to(world, "quiet")
    announce(world, "busy", count=3)
    announce(world, "quiet")

    first, second = claim_later(world, 4), claim_later(world, 4)

    assert shares_of(first) == {busy: 2, quiet: 1}
    assert shares_of(second) == {busy: 1}


def test_where_not_all_get_one_it_is_those_that_waited_longest(world: World) -> None:
    identities = [subscribe_to(world, f"model-{number}") for number in range(4)]
    for number in range(4):
        announce(world, f"model-{number}", late=4 - number)

    taken = [shares_of(claim_later(world, 1)) for _ in identities]

    assert taken == [{identity: 1} for identity in reversed(identities)]


def test_endpoints_whose_heads_wait_for_a_retry_keep_nobody_waiting(
    world: World,
) -> None:
    for name in ("stuck", "stuck too"):
        subscribe_to(world, name)
        announce(world, name)
        announce(world, name)
    for claim in world.claim(limit=2):
        world.record(claim, FAILED, now=LATER)
    well = subscribe_to(world, "well")
    announce(world, "well", late=60)

    assert shares_of(claim_later(world, 1)) == {well: 1}


class OneOfEach(Quota):
    """Refuses the second of an endpoint, and passes over whom it refused."""

    def __init__(self, *generous_to: str) -> None:
        super().__init__(most=MANY, taken=Counter(), slow=(), is_healthy_only=False)
        self._generous_to = generous_to

    def take(self, subscription_id: str, *, is_failing: bool) -> bool:
        if self._taken[subscription_id] and subscription_id not in self._generous_to:
            self.passed_over.add(subscription_id)
            return False
        return super().take(subscription_id, is_failing=is_failing)


def test_what_some_may_not_have_is_given_to_others(world: World) -> None:
    names = ["well", "failing", "failing too"]
    well, failing, too = (subscribe_to(world, name) for name in names)
    for name in names:
        announce(world, name, count=10)

    with world.begin() as session:
        taken = claim_due(
            session, now=LATER, limit=10, lease=LEASE, quota=OneOfEach(well)
        )

    assert shares_of(taken) == {well: 8, failing: 1, too: 1}


class Refusing(Quota):
    """Gives nobody anything, and says so of each anew."""

    def take(self, subscription_id: str, *, is_failing: bool) -> bool:
        del subscription_id, is_failing
        return False


def test_a_claim_that_may_take_nothing_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MAX_ROUNDS", 3)
    subscribe_to(world, "well")
    announce(world, "well")
    nothing = Refusing(most=MANY, taken=Counter(), slow=(), is_healthy_only=False)

    with world.begin() as session:
        assert claim_due(session, now=LATER, limit=2, lease=LEASE, quota=nothing) == []


@needs_two_writers
def test_two_claims_at_once_share_one_endpoint(world: World) -> None:
    identity = subscribe_to(world, "shared")
    announce(world, "shared", count=6)

    with world.begin() as one, world.begin() as other:
        claims = [
            claim_due(session, now=NOW, limit=3, lease=LEASE)
            for session in (one, other)
        ]

    assert [shares_of(each) for each in claims] == [{identity: 3}] * 2
    assert len({claim.delivery_id for each in claims for claim in each}) == 6


@needs_two_writers
def test_a_claim_goes_on_to_the_next_where_another_holds_all_of_one(
    world: World,
) -> None:
    first, second = subscribe_to(world, "first"), subscribe_to(world, "second")
    announce(world, "first")
    announce(world, "second", late=60)

    with world.begin() as one, world.begin() as other:
        claims = [
            claim_due(session, now=LATER, limit=1, lease=LEASE)
            for session in (one, other)
        ]

    assert [shares_of(each) for each in claims] == [{first: 1}, {second: 1}]


def test_a_rest_that_begins_while_a_claim_looks_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a result says between the claim's two looks."""
    tired, well = subscribe_to(world, "tired"), subscribe_to(world, "well")
    for name in ("tired", "well"):
        announce(world, name)
    fetch = statements.fetch

    def looked(cx: Connection, statement: Any, values: Any) -> object:  # noqa: ANN401  # any that returns rows
        rows: Any = fetch(cx, statement, values)
        if len(rows) == 2 and rows[0] in ((tired,), (well,)):
            row = update(Subscription).where(Subscription.id == tired)
            cx.execute(row.values(held_back_until=LATER + HOUR))
        return rows

    monkeypatch.setattr(claims, "fetch", looked)

    assert shares_of(claim_later(world, 2)) == {well: 1}


AS_IT_WAS: dict[str, Any] = {
    "held_back_until": None,
    "consecutive_failures": 0,
    "rate_per_minute": None,
    "open_from": None,
}
WAYS_TO_WAIT: dict[str, dict[str, Any]] = {
    "rests": {"held_back_until": LATER + HOUR},
    "rests after many failures": {
        "consecutive_failures": 9,
        "held_back_until": LATER + HOUR,
    },
    "gets probes only": {"consecutive_failures": 9, "held_back_until": NOW},
    "had all it may have in a minute": {
        "rate_per_minute": 1,
        "open_from": LATER + HOUR,
    },
    "has its share of the senders": {},
}


def test_what_waits_for_an_endpoint_costs_a_claim_for_others_nothing(
    world: World, subtests: pytest.Subtests
) -> None:
    subscribe_to(world, "well")
    announce(world, "well", count=40)
    waiting = subscribe_to(world, "waiting")
    announce(world, "waiting", count=MANY // 2, late=-1)
    for number in range(MANY // 2 // LONG):
        announce(world, "waiting", count=LONG, late=-1, key=f"of one key {number}")
    beside = {}
    for way, columns in WAYS_TO_WAIT.items():
        with world.begin() as session:
            row = update(Subscription).where(Subscription.id == waiting)
            session.execute(row.values(AS_IT_WAS | columns))
        passed_over = waiting if "share" in way else "none"
        beside[way] = work_of_a_claim(world, passed_over=passed_over)

    with world.begin() as session:
        subscriptions.delete(session, waiting, now=NOW)
    alone = work_of_a_claim(world, passed_over=waiting)
    for way, work in beside.items():
        with subtests.test(way):
            assert work < alone + MANY / 4


def test_a_claim_costs_no_more_the_more_is_due(world: World) -> None:
    subscribe_to(world, "well")
    announce(world, "well", count=20)
    few = work_of_a_claim(world, passed_over="none")
    announce(world, "well", count=MANY, late=1)

    many = work_of_a_claim(world, passed_over="none")

    assert many < few + MANY / 4


@needs_two_writers
def test_a_table_without_statistics_is_not_read_through(world: World) -> None:
    """PostgreSQL's planner takes it for one with a row for each endpoint."""
    subscribe_to(world, "new")
    with world.begin() as session:
        for table in ("webhook_deliveries", "webhook_queues"):
            session.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = off)"))
    announce(world, "new", count=MANY)

    with world.begin() as session:
        count = start_counting(session)
        taken = claim_due(session, now=LATER, limit=5, lease=LEASE)
        assert len(taken) == 5
        assert count() < MANY / 4


def work_of_a_claim(world: World, *, passed_over: str) -> int:
    """Count the deliveries that PostgreSQL reads, or what SQLite does.

    SQLite does many steps for each row that it reads.
    """
    with world.begin() as session:
        # As PostgreSQL does by itself once a table has grown.
        session.execute(text("ANALYZE"))
    with world.begin() as session:
        count = start_counting(session)
        taken = claim_due(
            session,
            now=LATER,
            limit=5,
            lease=LEASE,
            quota=PassingOver(passed_over),
        )
        assert len(taken) == 5
        return count()


def start_counting(session: Session) -> Callable[[], int]:
    if session.get_bind().dialect.name == "postgresql":
        reads = text(
            "SELECT sum(coalesce(idx_tup_fetch, 0) + CASE relname WHEN"
            # Queues are few: by their numbers they are read in one go.
            " 'webhook_deliveries' THEN coalesce(seq_tup_read, 0) ELSE 0 END)"
            " FROM pg_stat_xact_user_tables"
            " WHERE relname IN ('webhook_deliveries', 'webhook_queues')"
        )
        return lambda: int(session.execute(reads).scalar_one())
    steps: list[None] = []
    connection = session.connection().connection.driver_connection
    assert connection is not None
    connection.set_progress_handler(lambda: steps.append(None), 1)
    return lambda: len(steps)
