"""What takes long has a few places: others are told to come back, not kept waiting."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from werkzeug.test import TestResponse

from registry.web.parts import Room
from tests.integration.api.driver import Driver, document_of, problem_of
from tests.integration.conftest import signed_in
from tests.integration.mlflow_api.driver import refusal_of
from tests.receiver import Receiver

MLFLOW = "/api/2.0/mlflow"
Ask = Callable[[Driver], TestResponse]


def by_our_api(api: Driver, url: str) -> Ask:
    made = document_of(api.post("/webhooks", {"url": url}))
    return lambda asking: asking.post(f"/webhooks/{made['id']}/test")


def by_mlflow(api: Driver, url: str) -> Ask:
    event = {"entity": "MODEL_VERSION", "action": "CREATED"}
    body = {"name": "slow", "url": url, "events": [event]}
    made = document_of(api.client.post(f"{MLFLOW}/webhooks", json=body))["webhook"]
    path = f"{MLFLOW}/webhooks/{made['webhook_id']}/test"
    return lambda asking: asking.client.post(path, json={})


def by_databricks(api: Driver, url: str) -> Ask:
    body = {"events": ["MODEL_VERSION_CREATED"], "http_url_spec": {"url": url}}
    path = f"{MLFLOW}/registry-webhooks"
    made = document_of(api.client.post(f"{path}/create", json=body))["webhook"]
    return lambda asking: asking.client.post(f"{path}/test", json={"id": made["id"]})


@pytest.mark.parametrize("subscribe", [by_our_api, by_mlflow, by_databricks])
def test_two_test_sends_go_at_a_time_and_the_third_is_told_to_come_back(
    api: Driver, receiver: Receiver, subscribe: Callable[[Driver, str], Ask]
) -> None:
    test = subscribe(api, receiver.url)
    with ThreadPoolExecutor(2) as others, receiver.holding():
        sends = [
            others.submit(test, Driver(api.app, signed_in(api.app))) for _ in range(2)
        ]
        receiver.wait_for(2)

        refused = [test(api) for _ in range(6)]

        assert not any(send.done() for send in sends)
    assert [send.result().status_code for send in sends] == [200, 200]
    for answer in refused:
        assert answer.headers["Retry-After"]
        if subscribe is by_our_api:
            problem_of(answer, 503, "busy")
        else:
            refusal_of(answer, "TEMPORARILY_UNAVAILABLE")
    assert test(api).status_code == 200
    assert len(receiver.requests) == 3


@contextmanager
def full(room: Room, places: int) -> Iterator[None]:
    if not places:
        yield
        return
    with room.place(), full(room, places - 1):
        yield


def test_search_waits_a_moment_for_a_place_and_is_then_told_to_come_back(
    api: Driver,
) -> None:
    with full(api.parts.rooms.searches, 4):
        for path in ("registered-models/search", "model-versions/search"):
            answer = api.client.get(f"{MLFLOW}/{path}")

            assert "too many searches" in refusal_of(answer, "TEMPORARILY_UNAVAILABLE")
            assert answer.headers["Retry-After"]
        assert api.get("/models").status_code == 200
    assert api.client.get(f"{MLFLOW}/registered-models/search").status_code == 200


def test_audit_log_is_verified_for_two_at_a_time(api: Driver) -> None:
    with full(api.parts.rooms.audits, 2):
        problem_of(api.get("/audit/verify"), 503, "busy")
        assert api.get("/audit").status_code == 200
    assert api.read("/audit/verify")["ok"]


def test_export_that_is_read_slowly_has_one_of_the_places(api: Driver) -> None:
    answer = api.get("/audit/export", buffered=False)

    with full(api.parts.rooms.audits, 1):
        problem_of(api.get("/audit/export"), 503, "busy")
        answer.close()
        assert api.get("/audit/export").status_code == 200
