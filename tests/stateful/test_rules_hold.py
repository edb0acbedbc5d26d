"""Random stories of models, on both databases, against the rules in ``rules``.

The long run: ``make long LONG_ARGS=tests/stateful STATEFUL_STEPS=10000``.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from registry.doctor import examine
from registry.persistence.database import begin_snapshot, db
from tests.integration.conftest import close_app, make_app
from tests.lengths import Lengths
from tests.services.postgres import PostgresServer
from tests.stateful.machine import RegistryMachine
from tests.stateful.tally import Tally
from tests.stateful.world import World, make_world

pytestmark = pytest.mark.long

STEPS_OF_AN_EXAMPLE = 50


@pytest.fixture
def sqlite_app(tmp_path: Path) -> Iterator[Flask]:
    app = make_app(tmp_path)
    yield app
    close_app(app)


@pytest.fixture
def postgres_app(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[Flask]:
    with postgres_server.fresh_database() as url:
        app = make_app(tmp_path, DATABASE_URL=url)
        yield app
        close_app(app)


def test_rules_hold_on_sqlite(sqlite_app: Flask) -> None:
    run("SQLite", sqlite_app)


@pytest.mark.service
def test_rules_hold_on_postgresql(postgres_app: Flask) -> None:
    run("PostgreSQL", postgres_app)


def run(database: str, app: Flask) -> None:
    """Make exactly as many steps as asked for; then examine the whole registry."""
    lengths = Lengths.from_env(os.environ)
    world, tally = make_world(app), Tally(lengths.stateful_steps)
    rounds = 0
    try:
        while tally.is_open:
            run_round(world, tally, round_seed=lengths.seed + rounds)
            rounds += 1
        with tally.failures_noted():
            with app.app_context():
                session = db.session()
                begin_snapshot(session)
                kept = timedelta(days=90)
                examination = examine(session, keep=kept, now=datetime.now(UTC))
            assert examination.problems == []
    finally:
        tally.show(database, lengths.seed)
    assert tally.done == tally.wanted


def run_round(world: World, tally: Tally, *, round_seed: int) -> None:
    """As many examples as the missing steps take; an example may end early."""

    @seed(round_seed)
    class Machine(RegistryMachine):
        def __init__(self) -> None:
            super().__init__(world, tally)

    missing = tally.wanted - tally.done
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=missing // STEPS_OF_AN_EXAMPLE + 1,
            stateful_step_count=STEPS_OF_AN_EXAMPLE,
            derandomize=False,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
