"""The tracking server as it is asked, and how it may fail."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from registry.errors import ArtifactStoreError, NotFoundError, TrackingServerError
from registry.tracking import client as tracking_client
from registry.tracking.client import TrackingAccess, TrackingServer
from tests.tracking_server import (
    MODEL_ID,
    PREFIX,
    RUN_ID,
    FakeTracking,
    run_document,
)
from tests.unit.fake_registry import Answer, json_answer

LONG = 30.0


@pytest.fixture
def fake() -> Iterator[FakeTracking]:
    with FakeTracking() as running:
        yield running


@pytest.fixture
def server(fake: FakeTracking) -> TrackingServer:
    return TrackingServer(TrackingAccess(url=fake.url), total_seconds=LONG)


def failure_of(server: TrackingServer) -> TrackingServerError:
    with pytest.raises(TrackingServerError) as caught:
        server.get_run(RUN_ID)
    return caught.value


def test_run_is_asked_for_by_its_id(fake: FakeTracking, server: TrackingServer) -> None:
    fake.add_run(params={"depth": "6"})

    run = server.get_run(RUN_ID)

    assert (run.run_id, run.params) == (RUN_ID, {"depth": "6"})
    (asked,) = fake.asked
    assert asked.query == {"run_id": RUN_ID}
    assert "Authorization" not in asked.headers


def test_logged_model_is_asked_for_by_its_id(
    fake: FakeTracking, server: TrackingServer
) -> None:
    fake.add_logged_model()

    assert server.get_logged_model(MODEL_ID).run_id == RUN_ID


def test_person_is_led_to_the_run() -> None:
    server = TrackingServer(TrackingAccess(url="https://mlflow.example/base"))

    assert server.run_url("1", "a/b") == (
        "https://mlflow.example/base/#/experiments/1/runs/a%2Fb"
    )


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        ({"token": "abc"}, "Bearer abc"),
        (
            {"username": "ü", "password": "pä:ss"},
            "Basic " + base64.b64encode("ü:pä:ss".encode()).decode(),
        ),
    ],
)
def test_credential_is_sent(
    fake: FakeTracking, credential: dict[str, str], expected: str
) -> None:
    fake.add_run()

    access = TrackingAccess(url=fake.url, **credential)
    TrackingServer(access, total_seconds=LONG).get_run(RUN_ID)

    assert fake.asked[0].headers["Authorization"] == expected
    assert "abc" not in repr(access)
    assert "pä" not in repr(access)


def test_what_does_not_exist_is_not_found(server: TrackingServer) -> None:
    with pytest.raises(NotFoundError, match="has no run 'absent'"):
        server.get_run("absent")
    with pytest.raises(NotFoundError, match="has no logged model 'm-absent'"):
        server.get_logged_model("m-absent")


@pytest.mark.parametrize(
    ("status", "is_temporary"),
    [
        (500, True),
        (503, True),
        (429, True),
        (408, True),
        (401, False),
        (403, False),
        (400, False),
        (302, False),
        (204, False),
    ],
)
def test_refusal_says_whether_it_may_pass(
    fake: FakeTracking, server: TrackingServer, *, status: int, is_temporary: bool
) -> None:
    fake.failing = Answer(status, headers={"Location": f"{fake.url}/elsewhere"})

    error = failure_of(server)

    assert isinstance(error, ArtifactStoreError)
    assert error.is_temporary is is_temporary
    assert str(status) in error.message
    assert [each.path for each in fake.asked] == [f"{PREFIX}/runs/get"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"{",
        b"[" * 100_000,
        b"{}",
        b'{"run": {"info": {}}}',
        json.dumps(run_document("another")).encode(),
    ],
)
def test_answer_that_is_no_run_is_for_good(
    fake: FakeTracking, server: TrackingServer, body: bytes
) -> None:
    fake.failing = Answer(200, body)

    assert failure_of(server).is_temporary is False


def test_answer_that_is_no_logged_model_is_for_good(
    fake: FakeTracking, server: TrackingServer
) -> None:
    fake.failing = json_answer({"model": {"info": {"model_id": "m-other"}}})

    with pytest.raises(TrackingServerError) as caught:
        server.get_logged_model(MODEL_ID)
    assert caught.value.is_temporary is False


def test_endless_answer_is_cut(
    fake: FakeTracking, server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_client, "MAX_ANSWER_BYTES", 1000)
    fake.failing = Answer(200, b"x" * 1001)

    error = failure_of(server)

    assert "more than 1000 bytes" in error.message
    assert error.is_temporary is False


def test_answer_that_breaks_off_may_be_asked_for_again(
    fake: FakeTracking, server: TrackingServer
) -> None:
    fake.failing = Answer(200, b"x" * 100, cut_at=10)

    assert failure_of(server).is_temporary is True


def test_server_that_is_not_there_may_come_back() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        error = failure_of(TrackingServer(TrackingAccess(url=url), total_seconds=LONG))

    assert error.is_temporary is True
    assert url in error.message


def test_server_that_never_answers_is_left_alone_for_a_while(
    fake: FakeTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def wait(_: object) -> Answer:
        released.wait(LONG)
        return Answer(200, b"{}")

    fake.on("GET", f"{PREFIX}/logged-models/m-slow", wait)
    server = TrackingServer(TrackingAccess(url=fake.url), total_seconds=0.05)
    try:
        with pytest.raises(TrackingServerError, match="in time") as caught:
            server.get_logged_model("m-slow")
    finally:
        released.set()
    assert caught.value.is_temporary is True
    fake.add_run()
    error = failure_of(server)
    assert (error.is_temporary, "hung a moment ago" in error.message) == (True, True)
    assert "runs/get" not in fake.asked[-1].path
    monkeypatch.setattr(tracking_client, "time", _Later())
    monkeypatch.setattr(server, "_total_seconds", LONG)
    assert server.get_run(RUN_ID).run_id == RUN_ID


class _Later:
    """The clock as it will be when the rest is over."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() + tracking_client.REST_SECONDS


def test_read_that_takes_too_long_has_hung(
    fake: FakeTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def wait(_: object) -> Answer:
        released.wait(LONG)
        return Answer(200, b"{}")

    fake.on("GET", f"{PREFIX}/logged-models/m-slow", wait)
    monkeypatch.setattr(tracking_client, "READ_SECONDS", 0.05)
    server = TrackingServer(TrackingAccess(url=fake.url), total_seconds=LONG)
    try:
        with pytest.raises(TrackingServerError, match="in time"):
            server.get_logged_model("m-slow")
    finally:
        released.set()
    assert "hung a moment ago" in failure_of(server).message


def test_time_is_up_while_the_body_arrives(
    fake: FakeTracking, server: TrackingServer
) -> None:
    fake.add_run()

    with pytest.raises(TimeoutError):
        server._exchanged(  # noqa: SLF001  # its thread would be left alone before
            f"{fake.url}{PREFIX}/runs/get",
            {"run_id": RUN_ID},
            time.monotonic() - 1,
        )
