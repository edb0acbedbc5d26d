"""Every error is a problem document, and says no more than it should."""

import logging
import shutil
from pathlib import Path

import pytest
from flask import Response
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from registry.api.problems import http_problem
from tests.integration.api.driver import MODEL, Driver, problem_of
from tests.integration.conftest import close_app, make_app, signed_in


def test_unknown_url_is_not_found_with_or_without_a_token(api: Driver) -> None:
    for client in (api.client, api.app.test_client()):
        for path in (
            "/nothing",
            "/api/v1/nothing",
            "/api/v2/models",
            "/api/v1/models/",
        ):
            problem = problem_of(client.get(path), 404, "not-found")
            assert problem["instance"] == path


def test_method_that_is_not_allowed_is_answered_with_those_that_are(
    api: Driver,
) -> None:
    answer = api.delete("/models")

    problem_of(answer, 405, "method-not-allowed")
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


def test_failure_is_logged_with_its_reason_and_answered_without_it(
    api: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("registry.persistence.queries.list_models", fail)
    with caplog.at_level(logging.ERROR):
        answer = api.get("/models")

    problem = problem_of(answer, 500, "internal")
    assert "hunter2" not in answer.get_data(as_text=True)
    assert f"request_id={problem['request_id']}" in caplog.text
    assert "hunter2" in caplog.text


def test_stored_data_that_contradicts_itself_is_a_failure_of_ours(
    api: Driver,
) -> None:
    api.ready_versions(1)
    with api.engine.begin() as connection:
        connection.execute(text("DELETE FROM manifest_files"))

    problem_of(api.get(f"/models/{MODEL}/versions/1/artifacts"), 500, "internal")
    problem_of(api.move(1, "Staging"), 500, "internal")


def test_database_that_is_away_is_answered_503(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    client = signed_in(app)
    close_app(app)
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")

    answer = client.get("/api/v1/models")

    problem_of(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_pool_without_a_free_connection_is_answered_503(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PoolTimeoutError("QueuePool limit reached")

    monkeypatch.setattr("registry.persistence.queries.list_models", fail)

    problem_of(api.get("/models"), 503, "unavailable")


def test_request_for_a_host_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    app = make_app(tmp_path, ALLOWED_HOSTS="registry.example")
    client = signed_in(app)

    for path in ("/api/v1/whoami", "/api/v1/nothing"):
        problem_of(client.get(path), 400, "malformed")
    answer = client.get("/api/v1/whoami", headers={"Host": "registry.example"})
    assert answer.status_code == 200
    close_app(app)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probe_that_asks_by_the_address_of_the_pod_is_answered(
    tmp_path: Path, path: str
) -> None:
    app = make_app(tmp_path, ALLOWED_HOSTS="registry.example")

    answer = app.test_client().get(path, headers={"Host": "10.1.2.3:8000"})

    assert answer.status_code == 200
    close_app(app)


def test_answer_that_comes_as_an_exception_is_passed_on(api: Driver) -> None:
    redirect = Response(status=308, headers={"Location": "/elsewhere"})

    with api.app.test_request_context():
        answer = http_problem(HTTPException(response=redirect))

    assert answer is redirect


def test_every_answer_carries_the_headers_that_keep_browsers_out(api: Driver) -> None:
    for path in ("/api/v1/models", "/api/v1/nothing", "/healthz"):
        headers = api.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


def test_page_to_try_the_api_loads_nothing_from_elsewhere(api: Driver) -> None:
    for path in ("", "/start.js", "/swagger-ui-bundle.js"):
        with api.app.test_client().get(f"/api/v1/docs{path}") as answer:
            assert answer.status_code == 200
            assert b"//cdn" not in answer.data[:2000]
    page = api.get("/docs")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert b"http" not in page.data
