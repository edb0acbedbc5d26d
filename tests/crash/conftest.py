"""One driver for each kind of database: the template is prepared once."""

from collections.abc import Iterator

import pytest

from tests.crash.driver import Driver
from tests.crash.session import driver_for
from tests.services.postgres import PostgresServer


@pytest.fixture(scope="session")
def sqlite_driver() -> Iterator[Driver]:
    """A driver on SQLite."""
    with driver_for(None) as driver:
        yield driver


@pytest.fixture(scope="session")
def postgresql_driver(postgres_server: PostgresServer) -> Iterator[Driver]:
    """A driver on the PostgreSQL of this test run."""
    with driver_for(postgres_server) as driver:
        yield driver
