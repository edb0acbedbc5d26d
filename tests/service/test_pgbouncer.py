"""Changes and deliveries through PgBouncer in transaction mode, which goes away."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text

from registry.persistence.database import engine_options, prepare_engine
from tests.receiver import Receiver
from tests.server import RunningServer, running_server, server_environment
from tests.services.pgbouncer import Pgbouncer, run_pgbouncer
from tests.services.postgres import PostgresServer
from tests.waiting import wait_for

pytestmark = pytest.mark.service

MODELS = ("churn", "fraud", "spam")
STAGES = ("Staging", "Production", "Archived")


@pytest.fixture
def pooler(postgres_server: PostgresServer) -> Iterator[Pgbouncer]:
    with run_pgbouncer(postgres_server) as started:
        yield started


@pytest.fixture
def pooled_url(pooler: Pgbouncer, postgres_url: str) -> str:
    return pooler.through(postgres_url)


@pytest.fixture
def server(pooled_url: str, tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path, DATABASE_URL=pooled_url, PGBOUNCER="true") as started:
        yield started


def ask(http: requests.Session, url: str, key: str, body: dict[str, Any]) -> bool:
    """Whether the change was made; no other answer than that it may be asked again."""
    answer = http.post(url, json=body, headers={"Idempotency-Key": key})
    assert answer.status_code < 300 or answer.status_code == 503, answer.text
    return answer.status_code < 300


def test_what_is_changed_while_the_pooler_goes_away_arrives_once_and_in_order(
    pooler: Pgbouncer, server: RunningServer, receiver: Receiver
) -> None:
    with ExitStack() as stack:
        http = stack.enter_context(server.http())
        api = f"{server.url}/api/v1"
        body = {"url": receiver.url, "event_types": ["model_version.stage_changed"]}
        assert ask(http, f"{api}/webhooks", "hook", body)
        for model in MODELS:
            assert ask(http, f"{api}/models", model, {"name": model})
            versions = f"{api}/models/{model}/versions"
            source = {"source": f"s3://elsewhere/{model}"}
            assert ask(http, versions, f"{model}/version", source)

        def move(model: str, stage: str) -> bool:
            url = f"{api}/models/{model}/versions/1/transitions"
            return ask(http, url, f"{model}/{stage}", {"to_stage": stage})

        for stage in STAGES:
            pooler.end()
            assert not any(move(model, stage) for model in MODELS)
            pooler.start()
            for model in MODELS:
                wait_for(partial(move, model, stage))
        receiver.wait_for(len(MODELS) * len(STAGES))

    arrived = defaultdict(list)
    for request in receiver.requests:
        data = request.json()["data"]
        arrived[data["model"]].append(data["to_stage"])
    assert arrived == {model: list(STAGES) for model in MODELS}


def test_waits_are_bounded_in_every_transaction(pooled_url: str) -> None:
    engine = create_engine(
        pooled_url, **engine_options(pooled_url, through_pgbouncer=True)
    )
    prepare_engine(engine)
    for _ in range(5):
        with engine.begin() as connection:
            bounds = [
                connection.execute(text(f"SHOW {name}")).scalar_one()
                for name in ("lock_timeout", "statement_timeout")
            ]
        assert bounds == ["15s", "30s"]
    engine.dispose()


def test_who_forgot_the_setting_is_told_of_it(pooled_url: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "registry.cli.main", "db", "upgrade"],
        env=server_environment(tmp_path, DATABASE_URL=pooled_url),
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert "see STAGEGATE_PGBOUNCER (" in ended.stderr
