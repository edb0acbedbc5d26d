"""PostgreSQL after a fail-over: it answers, and takes no changes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from registry.logs import configure_logging
from tests.integration.api.driver import MODEL, Driver, problem_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.integration.mlflow_api.driver import mlflow_client, refusal_of
from tests.receiver import Receiver
from tests.waiting import wait_for

pytestmark = pytest.mark.service

SECRETS = ("token-that-nobody-reads", "value-that-nobody-reads")


_END_SESSIONS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :database"
)


@pytest.fixture
def api(postgres_url: str, tmp_path: Path) -> Iterator[Driver]:
    app = make_app(tmp_path, DATABASE_URL=postgres_url)
    yield Driver(app, signed_in(app))
    close_app(app)


@contextmanager
def read_only(api: Driver) -> Iterator[None]:
    """The database as a standby is, for every session from now on."""
    url = api.engine.url
    admin = create_engine(
        make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    )
    change = f'ALTER DATABASE "{url.database}"'
    with admin.connect() as connection:
        connection.execute(text(f"{change} SET default_transaction_read_only = on"))
        # As in a fail-over: to give up the pool would leave open what is lent just now.
        connection.execute(_END_SESSIONS, {"database": url.database})
        try:
            yield
        finally:
            connection.execute(text(f"{change} RESET default_transaction_read_only"))
    admin.dispose()


def test_changes_are_told_to_come_back_and_reads_go_on(api: Driver) -> None:
    api.create_model()
    assert len(api.read("/events")["items"]) == 1
    mlflow = mlflow_client(api.app)
    with read_only(api):
        for answer in (
            api.post("/models", {"name": "lost"}),
            api.post("/models", {"name": "lost"}, headers={"Idempotency-Key": "k"}),
            api.delete(f"/models/{MODEL}"),
        ):
            problem_of(answer, 503, "unavailable")
            assert answer.headers["Retry-After"]
        answer = mlflow.send("POST", "/registered-models/create", name="lost")
        refusal_of(answer, "TEMPORARILY_UNAVAILABLE")
        assert answer.headers["Retry-After"]
        assert [item["name"] for item in api.read("/models")["items"]] == [MODEL]
        assert len(api.read("/events")["items"]) == 1

    # Who meets a session that can only read has it closed, and all others with it.
    statuses = [api.post("/models", {"name": "kept"}).status_code for _ in range(3)]
    assert statuses in ([201, 409, 409], [503, 201, 409])


def test_process_is_not_ready_meanwhile(api: Driver) -> None:
    probe = api.app.test_client()
    with read_only(api):
        answer = probe.get("/readyz")

        assert answer.status_code == 503
        assert "takes no changes" in answer.get_data(as_text=True)
        assert probe.get("/healthz").status_code == 200
    wait_for(lambda: probe.get("/readyz").status_code == 200)


def test_deliveries_wait_and_go_out_afterwards(api: Driver, receiver: Receiver) -> None:
    assert api.post("/webhooks", {"url": receiver.url}).status_code == 201
    api.create_model()
    dispatcher = api.parts.dispatcher
    dispatcher.start()
    try:
        receiver.wait_for(1)
        with read_only(api):
            assert api.post("/models", {"name": "lost"}).status_code == 503
        wait_for(lambda: api.post("/models", {"name": "kept"}).status_code == 201)
        receiver.wait_for(2)
    finally:
        dispatcher.stop()
    assert [each.json()["data"]["model"] for each in receiver.requests] == [
        MODEL,
        "kept",
    ]


def test_no_value_of_a_statement_reaches_the_log(
    api: Driver, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = logging.getLogger().handlers[:]
    configure_logging("INFO")
    with api.engine.begin() as connection:
        connection.execute(
            text("CREATE UNIQUE INDEX narrow ON version_tags (value)"),
        )
    try:
        with read_only(api):
            api.post("/tokens", {"name": SECRETS[0], "role": "viewer"})
        api.create_model()
        tags = {"one": SECRETS[1], "two": SECRETS[1]}
        answer = api.post(
            f"/models/{MODEL}/versions", {"source": "s3://a/b", "tags": tags}
        )
    finally:
        logging.getLogger().handlers[:] = handlers

    problem_of(answer, 500, "internal")
    written = capfd.readouterr().err
    assert "cannot execute INSERT in a read-only transaction" in written
    assert 'violates unique constraint \\"narrow\\"' in written
    assert not [secret for secret in SECRETS if secret in written]
