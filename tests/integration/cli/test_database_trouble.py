"""A database that cannot be used: one line says why, and what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from registry.domain.token_format import new_token
from tests.fork_server import Forked
from tests.server import server_environment
from tests.services.postgres import PostgresServer
from tests.services.processes import free_port
from tests.waiting import STALL_SECONDS

SERVE = ("serve", "--port", "0")


def failure_of(directory: Path, command: tuple[str, ...], **settings: str) -> str:
    """The one line that the command ends with, and that it ends as failed."""
    output = directory / "output"
    program = Forked.start(
        command,
        env=server_environment(directory, BOOTSTRAP_TOKEN=new_token(), **settings),
        cwd=directory,
        log_file=output,
    )
    assert program.wait(STALL_SECONDS) == 1, output.read_text("utf-8")
    (line,) = output.read_text("utf-8").splitlines()
    return line


@pytest.mark.parametrize("command", [SERVE, ("worker",)])
def test_database_without_its_schema_is_answered_by_what_to_run(
    tmp_path: Path, command: tuple[str, ...], postgres_url: str
) -> None:
    line = failure_of(tmp_path, command, DATABASE_URL=postgres_url)

    assert line.startswith("Error: the database ")
    assert line.endswith("has no schema: run stagegate db upgrade")


@pytest.mark.parametrize("command", [SERVE, ("worker",), ("db", "upgrade")])
def test_database_that_does_not_answer_is_named_by_its_setting(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    url = f"postgresql://stagegate:open-sesame@127.0.0.1:{free_port()}/stagegate"

    line = failure_of(tmp_path, command, DATABASE_URL=url)

    assert line.startswith("Error: the database cannot be connected to: see STAGEGATE_")
    assert "Connection refused" in line
    assert "open-sesame" not in line


def test_wrong_password_is_said_and_not_shown(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    url = postgres_server.url("postgres").replace(
        postgres_server.password, "open-sesame"
    )

    line = failure_of(tmp_path, SERVE, DATABASE_URL=url)

    assert line.startswith("Error: the database cannot be connected to: see STAGEGATE_")
    assert "password authentication failed" in line
    assert "open-sesame" not in line


@pytest.mark.parametrize("command", [SERVE, ("db", "upgrade")])
def test_file_that_is_no_database_is_said_to_be_none(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "stagegate.db").write_text("not a database, but long" * 99)

    line = failure_of(tmp_path, command)

    assert "file is not a database" in line


@pytest.fixture
def reader_url(postgres_url: str) -> Iterator[str]:
    """An empty database in which this user may sign in, but make no table."""
    address = make_url(postgres_url)
    name = f"reader_of_{address.database}"
    engine = create_engine(address, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'reads'"))
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    yield address.set(username=name, password="reads").render_as_string(
        hide_password=False
    )
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {name}"))


def test_statement_that_is_refused_is_told_without_its_text(
    tmp_path: Path, reader_url: str
) -> None:
    line = failure_of(tmp_path, ("db", "upgrade"), DATABASE_URL=reader_url)

    assert line.startswith("Error: the database failed: permission denied")
    assert "CREATE TABLE" not in line
