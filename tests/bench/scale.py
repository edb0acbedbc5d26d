"""What size costs: a deep backlog, and a thousand endpoints of which most are dead."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click
from sqlalchemy import create_engine, select, text

from tests.bench.databases import on_database
from tests.bench.delivery import PATIENCE_SECONDS
from tests.bench.figures import describe_machine, describe_seconds, percentile
from tests.bench.outboxes import Outbox, dispatching, opened_outbox
from tests.bench.receiving import BenchReceiver, running_receiver
from webhooks.queue.claim import claim_due
from webhooks.queue.row import advance
from webhooks.queue.settle import settle_results
from webhooks.sending.sender import SendResult
from webhooks.tables import AttemptOutcome, Delivery, Queue

LEASE = timedelta(seconds=60)
CLAIMED_AT_ONCE = 20
TRANSACTION_SIZE = 500
EVENT_SECONDS = 0.2
#: For PostgreSQL not to keep the plans of an empty database.
WARM_EVENTS = 20
_DELIVERED = SendResult(AttemptOutcome.DELIVERED, status=200)


@click.command()
@on_database
@click.option("--count", default=100_000, show_default=True, help="that wait")
@click.option("--claims", default=100, show_default=True, help="of 20 each")
@click.option("--behind", type=click.Choice(("blocked", "resting")), default="blocked")
def backlog(*, database: str, count: int, claims: int, behind: str) -> None:
    """Time claims beside deliveries that wait for what does not get well.

    That is one before them that is blocked, or their own endpoint that rests. On
    PostgreSQL a session stays idle in a transaction meanwhile, so that nothing dead
    can be cleared away.
    """
    click.echo(describe_machine())
    with opened_outbox(database) as outbox:
        outbox.subscribe("https://ci.example/hook", subject_pattern="claims-*")
        alone = _time_claims(outbox, claims, "claims-alone")
        _pile_up(outbox, count, behind)
        with _idle_transaction(outbox.database_url):
            beside = _time_claims(outbox, claims, "claims-beside")
    click.echo(f"{database}: claim of {CLAIMED_AT_ONCE}: {describe_seconds(alone)}")
    click.echo(f"{database}: beside {count} ({behind}): {describe_seconds(beside)}")


def _pile_up(outbox: Outbox, count: int, behind: str) -> None:
    """Store ``count`` deliveries of one key that are not sent."""
    if behind == "resting":
        key = "stuck"
        outbox.trip(outbox.subscribe("https://ci.example/stuck", subject_pattern=key))
    else:
        key = "claims-stuck"
        _block(outbox, *outbox.announce([key]))
    for _ in range(0, count, TRANSACTION_SIZE):
        outbox.announce([key] * TRANSACTION_SIZE)


def _block(outbox: Outbox, event_id: str) -> None:
    with outbox.begin() as session:
        row = session.query(Delivery).filter_by(event_id=event_id).one()
        row.reason = "every attempt failed"
        session.flush()
        advance(session.connection(), session.scalars(select(Queue.id)).all())


@contextmanager
def _idle_transaction(database_url: str) -> Iterator[None]:
    if database_url.startswith("sqlite"):
        yield
        return
    engine = create_engine(database_url, isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        connection.execute(text("SELECT count(*) FROM webhook_deliveries"))
        yield
    engine.dispose()


def _time_claims(outbox: Outbox, claims: int, name: str) -> list[float]:
    """Deliver ``claims`` claims' worth; give the seconds of each claim."""
    total = claims * CLAIMED_AT_ONCE
    for start in range(0, total, TRANSACTION_SIZE):
        size = min(TRANSACTION_SIZE, total - start)
        outbox.announce([f"{name}-{start + number}" for number in range(size)])
    seconds = []
    for _ in range(claims):
        began_at = time.monotonic()
        with outbox.begin() as session:
            taken = claim_due(
                session, now=datetime.now(UTC), limit=CLAIMED_AT_ONCE, lease=LEASE
            )
        seconds.append(time.monotonic() - began_at)
        assert len(taken) == CLAIMED_AT_ONCE
        with outbox.begin() as session:
            settle_results(
                session,
                [(claim, _DELIVERED) for claim in taken],
                now=datetime.now(UTC),
                jitter=lambda: 0.5,
            )
    return seconds


@click.command()
@on_database
@click.option("--healthy", default=100, show_default=True)
@click.option("--dead", default=900, show_default=True)
@click.option("--events", default=100, show_default=True, help="events for each")
def fleet(*, database: str, healthy: int, dead: int, events: int) -> None:
    """Compare healthy endpoints alone with as many beside many that are dead.

    Each has a database and a dispatcher of its own, and they get their events in
    turns, first the one and then the other: a machine that becomes slower meanwhile
    becomes so for both, and what an event leaves to be recorded falls on both.
    """
    click.echo(describe_machine())
    with (
        opened_outbox(database) as alone,
        opened_outbox(database) as beside,
        running_receiver(0.0) as receiver,
    ):
        for outbox in (alone, beside):
            for number in range(healthy):
                outbox.subscribe(f"{receiver.url}/live/{number}")
        for number in range(dead):
            beside.trip(beside.subscribe(f"{receiver.url}/dead/{number}"))
        with dispatching(alone) as wake_alone, dispatching(beside) as wake_beside:
            in_turns = [("alone", alone, wake_alone), ("beside", beside, wake_beside)]
            _announce_in_turns(
                in_turns, receiver, healthy=healthy, prefix="warm", count=WARM_EVENTS
            )
            alone.analyze()
            beside.analyze()
            waits = _announce_in_turns(
                in_turns, receiver, healthy=healthy, prefix="model", count=events
            )
    click.echo(f"{database}: {healthy} alone: {describe_seconds(waits['alone'])}")
    click.echo(f"{database}: beside {dead} dead: {describe_seconds(waits['beside'])}")
    for share in (0.5, 0.99):
        cost = percentile(waits["beside"], share) / percentile(waits["alone"], share)
        click.echo(f"{database}: p{share * 100:.0f}, beside : alone {cost:.2f}")


def _announce_in_turns(
    in_turns: list[tuple[str, Outbox, Callable[[], None]]],
    receiver: BenchReceiver,
    *,
    healthy: int,
    prefix: str,
    count: int,
) -> dict[str, list[float]]:
    """Give, by name, what each healthy endpoint waited for each of its events."""
    waits: dict[str, list[float]] = {name: [] for name, _, _ in in_turns}
    for number in range(count):
        for name, outbox, wake in in_turns:
            outbox.announce([f"{prefix}-{number}"])
            committed_at = time.monotonic()
            wake()
            found = receiver.wait_for(healthy, PATIENCE_SECONDS)
            waits[name] += [one.at - committed_at for one in found]
            time.sleep(EVENT_SECONDS)
        in_turns.reverse()
    return waits
