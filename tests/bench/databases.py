"""Where the benches keep what they measure: a SQLite file, or PostgreSQL in earnest."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
import psycopg

from tests.services import postgres

DATABASES = ("sqlite", "postgresql")

on_database = click.option(
    "--database", type=click.Choice(DATABASES), default="sqlite", show_default=True
)


def postgresql_programs() -> postgres.PostgresBinaries:
    found = postgres.find_binaries()
    if found is None:
        raise click.ClickException("there is no PostgreSQL on this machine")
    return found


@contextmanager
def running_postgresql() -> Iterator[postgres.PostgresServer]:
    """A server that waits for its disk, as those of tests do not."""
    with postgres.run_server(
        postgresql_programs(),
        fsync="on",
        full_page_writes="on",
        shared_buffers="512MB",
    ) as server:
        yield server


@contextmanager
def own_database(database: str) -> Iterator[dict[str, str]]:
    """The settings by which a server of ours has an empty database of this kind."""
    if database == "sqlite":
        yield {}
        return
    with running_postgresql() as server, server.fresh_database() as url:
        yield {"DATABASE_URL": url}


def vacuum(url: str) -> None:
    """Do at once what the autovacuum of PostgreSQL would do in time."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def plain_url(url: str) -> str:
    """A URL of SQLAlchemy as PostgreSQL's own programs read it."""
    return url.replace("+psycopg", "")
