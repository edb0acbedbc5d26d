"""The start: key, first token, policy and parts; and the work in the background."""

import logging
import os
import secrets
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from flask import Flask

from registry.app import create_app
from registry.domain.token_format import is_well_formed
from registry.errors import ArtifactStoreError, ConfigurationError
from registry.first_start import ensure_first_token, prepare_store, with_secret_key
from registry.logs import configure_logging
from registry.persistence import schema
from registry.persistence.database import db
from registry.serving.run import application
from registry.settings import Settings
from registry.worker import BackgroundWork, run_worker
from tests.integration.api.driver import Driver, document_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.receiver import Receiver
from tests.server import running_server, server_environment, started_server


def settings_of(directory: Path, **settings: str) -> Settings:
    return Settings.from_env(server_environment(directory, **settings))


def test_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SECRET_KEY="")

    first, second = with_secret_key(settings), with_secret_key(settings)

    file = tmp_path / "data" / "secret-key"
    assert first.secret_keys == second.secret_keys == (file.read_text().strip(),)
    assert len(first.secret_keys[0]) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_servers_that_start_at_once_have_one_whole_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one starts while the first is writing."""
    settings = settings_of(tmp_path, SECRET_KEY="")
    make, others = secrets.token_urlsafe, []

    def start_another(size: int) -> str:
        monkeypatch.setattr("secrets.token_urlsafe", make)
        others.append(with_secret_key(settings))
        return make(size)

    monkeypatch.setattr("secrets.token_urlsafe", start_another)

    (key,) = with_secret_key(settings).secret_keys

    assert len(key) >= 32
    assert others[0].secret_keys == (key,)
    assert [one.name for one in (tmp_path / "data").iterdir()] == ["secret-key"]


def test_given_key_is_used_and_none_is_made(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    assert with_secret_key(settings) == settings
    assert not (tmp_path / "data" / "secret-key").exists()


def test_data_directory_that_cannot_be_made_is_a_wrong_setting(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").write_text("a file")

    with pytest.raises(ConfigurationError, match="STAGEGATE_DATA_DIR: cannot use"):
        with_secret_key(settings_of(tmp_path))


def test_first_token_is_made_and_shown_once(tmp_path: Path) -> None:
    app = create_app(with_secret_key(settings_of(tmp_path)))
    with app.app_context():
        schema.upgrade(db.engine)

    first, second = ensure_first_token(app), ensure_first_token(app)

    assert first is not None
    assert is_well_formed(first)
    assert second is None
    who = signed_in(app, first).get("/api/v1/whoami")
    assert document_of(who)["name"] == "bootstrap"
    close_app(app)


def test_short_bootstrap_token_is_a_wrong_setting(tmp_path: Path) -> None:
    app = create_app(with_secret_key(settings_of(tmp_path, BOOTSTRAP_TOKEN="short")))

    with pytest.raises(ConfigurationError, match="needs at least 16 random"):
        ensure_first_token(app)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "STAGEGATE_POLICY_FILE: cannot read"), ("stages = 1", "Not a valid list")],
)
def test_policy_that_cannot_be_used_stops_the_start(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "policy.toml"
    if content is not None:
        file.write_text(content)
    settings = settings_of(tmp_path, POLICY_FILE=str(file))

    with pytest.raises(ConfigurationError, match=problem):
        create_app(with_secret_key(settings))


def test_artifact_root_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file")
    settings = settings_of(tmp_path, ARTIFACT_ROOT=str(tmp_path / "artifacts"))
    app = create_app(with_secret_key(settings))

    with pytest.raises(ArtifactStoreError, match="cannot be created"):
        prepare_store(app)


def test_policy_of_the_operator_is_the_one_that_is_kept(tmp_path: Path) -> None:
    policy = Path(__file__).parents[2] / "config" / "policy-open.toml"
    app = make_app(tmp_path, POLICY_FILE=str(policy))
    api = Driver(app, signed_in(app))
    api.ready_versions(2)

    api.moved(1, "Production")
    api.moved(2, "Production", "None", "Archived", "Production")

    assert api.stages() == {1: "Production", 2: "Production"}
    assert api.read("/models/fraud/stages/Production")["version"] == 2
    assert api.delete("/models/fraud").status_code == 204
    close_app(app)


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, as it was before when the test is over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_log_is_one_line_of_json_an_event(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO")

    root_logger.info("model_registered name=%s", "fraud")

    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert '"event": "model_registered name=fraud"' in line
    assert '"level": "info"' in line


def test_web_process_is_built_from_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root_logger: logging.Logger
) -> None:
    for name, value in server_environment(tmp_path, LOG_LEVEL="error").items():
        monkeypatch.setenv(name, value)

    app = cast("Flask", application().wsgi)

    assert app.test_client().get("/healthz").status_code == 200
    assert root_logger.level == logging.ERROR
    close_app(app)


def test_background_delivers_and_completes_registrations(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 0)
    app = make_app(tmp_path)
    api = Driver(app, signed_in(app))
    api.post("/webhooks", {"url": receiver.url, "event_types": ["model_version.*"]})
    work = BackgroundWork(app)
    work.start()
    try:
        api.create_model()
        api.upload(api.register())
        requests = receiver.wait_for(3)
    finally:
        work.stop()

    assert [request.json()["data"]["status"] for request in requests] == [
        "PENDING_REGISTRATION",
        "PENDING_REGISTRATION",
        "READY",
    ]
    close_app(app)


def test_server_loads_nothing_that_only_others_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have a schema to upgrade, an S3 store, or PostgreSQL."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "stagegate.db").touch()
    with running_server(tmp_path):
        pass  # it has made the schema
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")

    with started_server(tmp_path) as server:
        assert server.is_answering()

    loaded = {
        line.rpartition("|")[2].strip()
        for line in server.log_file.read_text("utf-8").splitlines()
        if line.startswith("import time:")
    }
    assert {"registry.app", "sqlalchemy", "uvicorn"} <= loaded
    assert not {"alembic", "minio", "psycopg", "registry.client"} & loaded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_ends_when_it_is_asked_to(
    tmp_path: Path, number: signal.Signals
) -> None:
    app = make_app(tmp_path)
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    timer = threading.Timer(0.5, os.kill, (os.getpid(), number))

    try:
        timer.start()
        run_worker(app)
    finally:
        timer.join()
        for each, handler in before.items():
            signal.signal(each, handler)

    close_app(app)
