"""PostgreSQL behind something that stops passing bytes and says nothing of it."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from flask import Flask
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from registry.persistence import postgresql
from registry.persistence.database import engine_options, prepare_engine
from registry.web import readiness
from registry.worker import BackgroundWork
from tests.integration.api.driver import MODEL, Driver
from tests.integration.conftest import close_app, make_app, signed_in
from tests.receiver import Receiver
from tests.server import RunningServer, running_server
from tests.services.postgres import PostgresServer
from tests.silent_proxy import SilentProxy
from tests.waiting import wait_for

pytestmark = pytest.mark.service

PROBES = 8  # as many as a web process has threads


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[SilentProxy]:
    with SilentProxy(postgres_server.port) as started:
        yield started


@pytest.fixture
def url(proxy: SilentProxy, postgres_url: str) -> str:
    """The database's address through the proxy."""
    through = make_url(postgres_url).set(port=proxy.port)
    return through.render_as_string(hide_password=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds of our end, made short."""
    connection = postgresql.ImpatientConnection
    monkeypatch.setattr(connection, "patience_seconds", 2.0)
    monkeypatch.setattr(postgresql, "SILENCE_SECONDS", 2.0)
    monkeypatch.setattr(postgresql, "PING_SECONDS", 0.5)
    monkeypatch.setitem(postgresql._NETWORK, "connect_timeout", 2)  # noqa: SLF001  # to be quicker


@pytest.fixture
def app(url: str, tmp_path: Path, impatient: None) -> Iterator[Flask]:
    del impatient
    app = make_app(tmp_path, DATABASE_URL=url)
    yield app
    close_app(app)


@pytest.fixture
def api(app: Flask) -> Driver:
    return Driver(app, signed_in(app))


@pytest.mark.usefixtures("impatient")
def test_statement_under_way_is_given_up_and_its_connection_closed(
    proxy: SilentProxy, url: str
) -> None:
    engine = create_engine(url, **engine_options(url))
    prepare_engine(engine)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        driver = connection.connection.driver_connection
        threading.Timer(0.2, proxy.fall_silent).start()
        began = time.monotonic()

        with pytest.raises(OperationalError, match="has said nothing for 2 s"):
            connection.execute(text("SELECT pg_sleep(1)"))

        assert 1.5 < time.monotonic() - began < 10
        assert driver is not None
        assert driver.closed
    proxy.speak()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 2")) == 2
    engine.dispose()


def test_network_is_asked_whether_the_peer_is_still_there(postgres_url: str) -> None:
    engine = create_engine(postgres_url, **engine_options(postgres_url))
    prepare_engine(engine)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, postgresql.ImpatientConnection)
        with socket.socket(fileno=driver.pgconn.socket) as ours:
            probes, unacknowledged = (
                ours.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            )
            idle = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            keeps_alive = ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            ours.detach()
    engine.dispose()

    assert keeps_alive
    assert (idle, probes, unacknowledged) == (10, 4, 30_000)


def test_what_an_address_says_of_the_network_goes_before(postgres_url: str) -> None:
    url = f"{postgres_url}?keepalives_idle=77"
    engine = create_engine(url, **engine_options(url))
    prepare_engine(engine)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=driver.pgconn.socket) as ours:
            idle = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            ours.detach()
    engine.dispose()

    assert idle == 77


def test_requests_are_answered_while_the_database_is_silent_and_served_after(
    api: Driver, proxy: SilentProxy
) -> None:
    api.create_model()
    proxy.fall_silent()
    began = time.monotonic()

    reading, changing = api.get("/models"), api.post("/models", {"name": "lost"})

    assert time.monotonic() - began < 20
    for answer in (reading, changing):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
    proxy.speak()
    assert [item["name"] for item in api.read("/models")["items"]] == [MODEL]
    assert api.post("/models", {"name": "kept"}).status_code == 201


def test_probes_are_answered_at_once_and_take_one_thread_in_all(
    api: Driver, proxy: SilentProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a probe waits, as it is outside of these tests.
    monkeypatch.setattr(postgresql, "PING_SECONDS", readiness.WAIT_SECONDS + 2)
    assert api.app.test_client().get("/readyz").status_code == 200
    proxy.fall_silent()
    with ThreadPoolExecutor(PROBES) as asking:
        began = time.monotonic()
        answers = [
            asking.submit(api.app.test_client().get, "/readyz") for _ in range(PROBES)
        ]
        assert {answer.result().status_code for answer in answers} == {503}
        assert time.monotonic() - began < readiness.WAIT_SECONDS + 3
        names = [thread.name for thread in threading.enumerate()]
        assert names.count(readiness.THREAD) == 1
    assert "has not answered" in answers[0].result().get_data(as_text=True)
    proxy.speak()
    wait_for(lambda: api.app.test_client().get("/readyz").status_code == 200)


def test_dispatcher_and_jobs_live_through_a_silence_and_deliver_after(
    api: Driver, proxy: SilentProxy, receiver: Receiver
) -> None:
    answer = api.post("/webhooks", {"url": receiver.url})
    assert answer.status_code == 201
    work = BackgroundWork(api.app)
    work.start()
    try:
        api.create_model("before")
        receiver.wait_for(1)
        proxy.fall_silent()
        time.sleep(6)
        assert api.parts.dispatcher.silent_seconds() < 6
        assert work.problem() is None
        proxy.speak()
        api.create_model("after")
        receiver.wait_for(2)
    finally:
        work.stop()


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path, DATABASE_URL=url) as started:
        yield started


@pytest.mark.long
def test_server_with_its_own_bounds_comes_back_by_itself(
    server: RunningServer, proxy: SilentProxy
) -> None:
    def status(path: str) -> int:
        with server.http() as http:
            return http.get(server.url + path, timeout=60).status_code

    with ThreadPoolExecutor(PROBES) as asking:
        assert set(asking.map(status, ["/api/v1/models"] * PROBES)) == {200}
        proxy.fall_silent()
        began = time.monotonic()
        assert set(asking.map(status, ["/api/v1/models"] * PROBES)) == {503}
        assert time.monotonic() - began < postgresql.SILENCE_SECONDS + 15
        assert status("/readyz") == 503
        assert status("/healthz") == 200
        proxy.speak()
        wait_for(lambda: requests.get(f"{server.url}/readyz", timeout=60).ok)
        assert set(asking.map(status, ["/api/v1/models"] * PROBES)) == {200}
