"""Probes and metrics: open to all, and silent about models."""

from sqlalchemy import text

from tests.integration.api.driver import ON_BOTH_DATABASES, Driver

pytestmark = ON_BOTH_DATABASES


def test_process_that_answers_is_alive(api: Driver) -> None:
    answer = api.app.test_client().get("/healthz")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_process_with_its_schema_is_ready(api: Driver) -> None:
    answer = api.app.test_client().get("/readyz")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_process_with_another_schema_is_not_ready(api: Driver) -> None:
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))

    answer = api.app.test_client().get("/readyz")

    assert answer.status_code == 503
    assert "the schema is 0000" in answer.get_data(as_text=True)


def test_process_without_a_schema_is_not_ready(api: Driver) -> None:
    with api.engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))

    answer = api.app.test_client().get("/readyz")

    assert answer.status_code == 503
    assert "stagegate db upgrade" in answer.get_data(as_text=True)


def test_metrics_are_in_the_format_of_prometheus_and_name_no_model(
    api: Driver,
) -> None:
    api.create_model("top-secret-model")

    answer = api.app.test_client().get("/metrics")

    assert answer.status_code == 200
    assert answer.mimetype == "text/plain"
    assert b"# HELP" in answer.data
    assert b"top-secret-model" not in answer.data
