"""An artifact is hashed by one request at a time, whoever asks for it."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from registry.artifacts import hashing
from registry.settings import packaged_config
from tests.integration.api.driver import MODEL, Driver, document_of, problem_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.integration.mlflow_api.driver import Mlflow, refusal_of
from tests.waiting import STALL_SECONDS

BUSY = "the artifact is being verified; try again"
TRANSITION = "/model-versions/transition-stage"
STAGING = {"name": MODEL, "version": "1", "stage": "Staging"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    policy = tmp_path / "policy.toml"
    rule = 'automatic_rollback = ["Production"]\n'
    policy.write_text(rule + packaged_config("policy.toml").read_text())
    app = make_app(tmp_path, POLICY_FILE=str(policy))
    yield app
    close_app(app)


@pytest.fixture
def api(app: Flask) -> Driver:
    """A client signed in as admin."""
    return Driver(app, signed_in(app))


def somebody_else(api: Driver) -> Driver:
    return Driver(api.app, signed_in(api.app))


def hashing_calls(
    monkeypatch: pytest.MonkeyPatch, during_the_first: Callable[[], object]
) -> list[str]:
    """The addresses that are hashed from now on; the first time, this happens."""
    calls: list[str] = []
    verify = hashing.verify_manifest

    def observed(store: object, source: str, manifest: object) -> list[str]:
        calls.append(source)
        if len(calls) == 1:
            during_the_first()
        return verify(store, source, manifest)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(hashing, "verify_manifest", observed)
    return calls


def test_move_during_a_long_verification_is_told_to_come_again(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(1)
    other = somebody_else(api)
    answers: list[TestResponse] = []

    def meanwhile() -> None:
        answers.append(other.move(1, "Staging"))
        answers.append(Mlflow(other).send("POST", TRANSITION, **STAGING))

    monkeypatch.setattr("registry.web.verification.WAIT_SECONDS", 0.0)
    calls = hashing_calls(monkeypatch, meanwhile)

    assert api.move(1, "Staging").status_code == 200

    ours, mlflows = answers
    assert problem_of(ours, 503, "unavailable")["detail"] == BUSY
    assert refusal_of(mlflows, "TEMPORARILY_UNAVAILABLE") == BUSY
    assert [int(each.headers["Retry-After"]) for each in answers] == [2, 2]
    assert len(calls) == 1
    assert api.stages() == {1: "Staging"}


def test_move_that_is_sent_again_waits_for_the_verification_of_the_first(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(1)
    begun, joined = threading.Event(), threading.Event()

    def until_the_second_waits() -> None:
        begun.set()
        assert joined.wait(STALL_SECONDS)

    def wait(running: list[Future[object]], timeout: float) -> object:
        joined.set()
        return futures.wait(running, timeout)

    def move(mlflow: Mlflow) -> TestResponse:
        return mlflow.send("POST", TRANSITION, **STAGING)

    monkeypatch.setattr("registry.web.single_flight.wait", wait)
    calls = hashing_calls(monkeypatch, until_the_second_waits)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(move, Mlflow(api))
        assert begun.wait(STALL_SECONDS)
        second = threads.submit(move, Mlflow(somebody_else(api)))
        answers = [first.result(), second.result()]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(calls) == 1
    assert [each["action"] for each in api.audit(MODEL)].count(
        "model_version.stage_changed"
    ) == 1


def test_report_of_a_failure_during_a_verification_comes_again_and_rolls_back(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    path = f"/models/{MODEL}/versions/2/deployments"
    body = {"status": "failed", "environment": "eu"}
    other = somebody_else(api)
    answers: list[TestResponse] = []
    monkeypatch.setattr("registry.web.verification.WAIT_SECONDS", 0.0)
    hashing_calls(monkeypatch, lambda: answers.append(other.post(path, body)))

    made = api.post(path, body)

    assert problem_of(answers[0], 503, "unavailable")["detail"] == BUSY
    assert document_of(made)["automatic_rollback"]["to_version"] == 1
    assert api.stages() == {1: "Production", 2: "Archived"}
