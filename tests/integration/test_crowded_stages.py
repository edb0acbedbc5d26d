"""What a move costs does not grow with who is in a shared stage.

More than a hundred who leave do so in parts, between which the lock is free.
"""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, create_engine, func, select, update
from sqlalchemy.orm import Session

from registry.domain.commands.change import Want
from registry.domain.commands.moves import MAX_LEAVING
from registry.mlflow_api.stages import MAX_AT_ONCE
from registry.persistence import queries, snapshot
from registry.persistence.tables import ModelVersion, RegisteredModel, StageChange
from registry.settings import packaged_config
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document
from tests.integration.conftest import close_app, make_app
from tests.integration.crowds import crowd, rows_read
from tests.integration.mlflow_api.driver import SOURCE, Mlflow, mlflow_client
from tests.integration.mlflow_api.test_latest_plan import plans_of
from tests.integration.statements import statements_of
from tests.server import RunningServer, running_server
from tests.services.postgres import PostgresServer
from tests.waiting import wait_for

TRANSITION = "/model-versions/transition-stage"
STAGED_CHANGED = "model_version.stage_changed"
#: Leaves in parts between which others have their turn, and a process may be killed.
CROWD = 7 * MAX_LEAVING


@pytest.fixture
def mlflow(app: Any) -> Mlflow:  # noqa: ANN401
    found = mlflow_client(app)
    found.create_model()
    return found


def entering(number: int, **more: object) -> dict[str, object]:
    return {"name": MODEL, "version": str(number), "stage": "Staging", **more}


def emptying(number: int) -> dict[str, object]:
    return entering(number, archive_existing_versions=True)


def counts(engine: Engine, model: str = MODEL) -> Counter[str]:
    """How many versions of the model are in each stage."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(ModelVersion.stage, func.count())
            .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
            .where(RegisteredModel.name == model)
            .group_by(ModelVersion.stage)
        )
        return Counter(dict(rows.all()))


def cost_of(mlflow: Mlflow, **fields: object) -> tuple[int, int]:
    """How many statements a promotion runs, and how many rows it reads."""
    number = int(mlflow.create_version()["version"])
    path = f"/models/{MODEL}/versions/{number}/transitions"
    with statements_of(mlflow.app) as seen, rows_read() as rows:
        answer = mlflow.api.post(path, {"to_stage": "Staging", **fields})
    assert answer.status_code == 200, answer.text
    return len(seen), len(rows)


@ON_BOTH_DATABASES
def test_promotion_into_a_shared_stage_costs_the_same_however_many_are_there(
    mlflow: Mlflow,
) -> None:
    last = crowd(mlflow.api.engine, 1, "Staging")[-1]
    cost_of(mlflow)
    few = [cost_of(mlflow), cost_of(mlflow, expected_incumbent=last + 2)]
    crowd(mlflow.api.engine, 1000, "Staging")
    many = cost_of(mlflow)
    last = int(mlflow.create_version()["version"]) - 1
    expecting = cost_of(mlflow, expected_incumbent=last)

    assert [many, expecting] == few


@ON_BOTH_DATABASES
def test_expected_incumbent_of_a_shared_stage_is_who_entered_last(
    mlflow: Mlflow,
) -> None:
    _, last_there, left = crowd(mlflow.api.engine, 3, "Staging")
    mlflow.move(left, "Production")
    number = int(mlflow.create_version()["version"])

    stale = [
        mlflow.api.move(number, "Staging", expected_incumbent=expected).status_code
        for expected in (left, last_there - 1, None)
    ]
    answer = mlflow.api.move(number, "Staging", expected_incumbent=last_there)

    assert stale == [412, 412, 412]
    assert answer.status_code == 200, answer.text


@ON_BOTH_DATABASES
def test_versions_in_a_stage_are_found_by_indexes(mlflow: Mlflow) -> None:
    crowd(mlflow.api.engine, 3000, "Archived")
    crowd(mlflow.api.engine, 2000, "Staging")
    with Session(mlflow.api.engine) as session:
        model = queries.get_model(session.connection(), MODEL).row
    want = Want(number=1, stage="Staging", limit=101, last_in="Staging")

    _, first, last = plans_of(
        mlflow.api.engine,
        lambda cx: snapshot.gather(cx, model, want),
    )

    assert "model_versions_by_stage" in first, first
    assert "stage_changes_by_stage" in last, last
    for plan in (first, last):
        assert "Seq Scan on model_versions" not in plan, plan
        assert "Seq Scan on stage_changes" not in plan, plan
        assert "SCAN model_versions" not in plan, plan
        assert "SCAN stage_changes" not in plan, plan


@ON_BOTH_DATABASES
def test_many_others_are_archived_with_all_that_belongs_to_it(mlflow: Mlflow) -> None:
    others = crowd(mlflow.api.engine, 250, "Staging")
    number = int(mlflow.create_version()["version"])
    api = mlflow.api
    answer = api.post(
        "/webhooks", {"url": "http://127.0.0.1:9/", "event_types": [STAGED_CHANGED]}
    )
    assert answer.status_code == 201, answer.text
    before = len(api.audit(MODEL))

    moved = mlflow.keyed(TRANSITION, **emptying(number))
    again = mlflow.keyed(TRANSITION, **emptying(number))

    assert (moved.status_code, again.status_code) == (200, 200), moved.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert counts(api.engine) == {"Archived": 250, "Staging": 1}
    dump = api.dump()
    changes = history(api.engine)[-251:]
    assert [each.number for each in changes] == [*others, number]
    assert [each.cause for each in changes] == ["superseded"] * 250 + ["promotion"]
    announced = {each.event_id for each in changes}
    for table, column in (("webhook_events", 0), ("webhook_deliveries", 2)):
        assert announced <= {row[column] for row in dump[table]}
    check_entries(api.audit(MODEL)[before:], number)
    assert is_chained(api.read("/audit/verify"))


def is_chained(report: Document) -> bool:
    """Whether nothing is wrong but that the log knows nothing of the crowd."""
    return {each["kind"] for each in report["damage"]} == {"contradicted"}


def check_entries(entries: list[Document], number: int) -> None:
    """One for each part, about the version that the others make room for."""
    assert [
        (
            each["version"],
            each["before"]["stage"],
            each["after"]["stage"],
            len(each["after"]["superseded"]),
            each["cause"],
        )
        for each in entries
    ] == [
        (number, "None", "None", 100, "superseded"),
        (number, "None", "None", 100, "superseded"),
        (number, "None", "Staging", 50, "promotion"),
    ]


def history(engine: Engine) -> list[Any]:
    query = select(StageChange.__table__).order_by(StageChange.sequence)
    with engine.connect() as connection:
        return list(connection.execute(query))


@ON_BOTH_DATABASES
def test_who_entered_last_leaves_with_the_move_itself(mlflow: Mlflow) -> None:
    """Its number is the lowest, and so the first to be read."""
    first = int(mlflow.create_version()["version"])
    crowd(mlflow.api.engine, 150, "Staging")
    mlflow.move(first, "Staging")
    number = int(mlflow.create_version()["version"])

    mlflow.move(number, "Staging", archive_existing_versions=True)

    left, moved = history(mlflow.api.engine)[-2:]
    assert (left.number, moved.number) == (first, number)
    assert left.transition_id == moved.transition_id


@ON_BOTH_DATABASES
def test_no_transaction_moves_more_than_a_hundred_aside(mlflow: Mlflow) -> None:
    crowd(mlflow.api.engine, 250, "Staging")
    number = int(mlflow.create_version()["version"])

    with rows_read() as rows, statements_of(mlflow.app) as seen:
        mlflow.move(number, "Staging", archive_existing_versions=True)

    written = Counter(each.transition_id for each in history(mlflow.api.engine)[-251:])
    assert max(written.values()) == MAX_LEAVING
    # SQLite numbers the lines of the history one by one.
    assert len(seen) < 120 + 251
    assert len(rows) < 1500


@ON_BOTH_DATABASES
def test_emptying_the_stage_that_a_version_is_in_goes_in_parts_too(
    mlflow: Mlflow,
) -> None:
    number = crowd(mlflow.api.engine, 251, "Staging")[0]
    before = len(history(mlflow.api.engine))

    mlflow.done("POST", TRANSITION, **emptying(number))

    assert counts(mlflow.api.engine) == {"Archived": 250, "Staging": 1}
    assert mlflow.version(number)["current_stage"] == "Staging"
    changes = history(mlflow.api.engine)[before:]
    assert Counter(each.cause for each in changes) == {"archival": 250}
    together = Counter(each.at for each in changes)  # the instant of a transaction
    assert max(together.values()) == MAX_AT_ONCE
    assert is_chained(mlflow.api.read("/audit/verify"))


def set_status(engine: Engine, status: str, *numbers: int) -> None:
    with engine.begin() as connection:
        connection.execute(
            update(ModelVersion)
            .where(ModelVersion.number.in_(numbers))
            .values(status=status)
        )


@ON_BOTH_DATABASES
def test_refused_move_archives_nobody(mlflow: Mlflow) -> None:
    others = crowd(mlflow.api.engine, 250, "Staging")
    number = int(mlflow.create_version()["version"])
    set_status(mlflow.api.engine, "FAILED_REGISTRATION", number, others[5])
    before = mlflow.api.dump()

    mlflow.refused("INVALID_STATE_TRANSITION", "POST", TRANSITION, **emptying(number))
    set_status(mlflow.api.engine, "READY", number)
    also_refused = mlflow.refused(
        "INVALID_STATE_TRANSITION", "POST", TRANSITION, **emptying(number)
    )

    assert f"version {others[5]} may not move" in also_refused
    after = mlflow.api.dump()
    assert after["stage_changes"] == before["stage_changes"]
    assert after["audit_entries"] == before["audit_entries"]
    assert counts(mlflow.api.engine) == {"None": 1, "Staging": 250}


@ON_BOTH_DATABASES
def test_deleting_a_model_costs_the_same_however_many_versions_it_has(
    mlflow: Mlflow,
) -> None:
    costs = []
    for name, count in (("few", 1), ("many", 1000)):
        mlflow.create_model(name)
        crowd(mlflow.api.engine, count, "Archived", model=name)
        with statements_of(mlflow.app) as seen, rows_read() as rows:
            answer = mlflow.api.delete(f"/models/{name}")
        assert answer.status_code == 204
        costs.append((len(seen), len(rows)))

    assert costs[0] == costs[1]
    with mlflow.api.engine.connect() as connection:
        left = select(func.count()).where(ModelVersion.deleted_at.is_(None))
        assert connection.scalar(left) == 0


@ON_BOTH_DATABASES
def test_refused_deletion_names_the_first_of_many_versions(mlflow: Mlflow) -> None:
    crowd(mlflow.api.engine, 30, "Staging")

    detail = mlflow.api.delete(f"/models/{MODEL}").get_json()["detail"]

    assert detail.startswith(f"versions {', '.join(map(str, range(1, 21)))} are in use")


@pytest.fixture
def exclusive(tmp_path: Path, database: dict[str, str]) -> Iterator[Mlflow]:
    """Under a policy that has made Staging exclusive, whoever was in it before."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'automatic_rollback = ["Staging"]\n'
        + packaged_config("policy.toml")
        .read_text()
        .replace("[exclusive]", '[exclusive]\nStaging = "Archived"')
        + '[[moves]]\nfrom = "Archived"\nto = "Staging"\nvia = "rollback"\n'
    )
    app = make_app(tmp_path, POLICY_FILE=str(policy), **database)
    found = mlflow_client(app)
    found.create_model()
    yield found
    close_app(app)


@ON_BOTH_DATABASES
def test_stage_that_has_become_exclusive_is_emptied_in_parts(
    exclusive: Mlflow,
) -> None:
    others = crowd(exclusive.api.engine, 250, "Staging")
    number = int(exclusive.create_version()["version"])

    stale = exclusive.api.move(number, "Staging", expected_incumbent=others[0])
    rehearsed = exclusive.api.post(
        "/rehearsals", {"name": MODEL, "number": number, "through": ["Staging"]}
    )
    assert (stale.status_code, rehearsed.status_code) == (412, 200)
    assert counts(exclusive.api.engine) == {"None": 1, "Staging": 250}
    answer = exclusive.api.move(number, "Staging", expected_incumbent=others[-1])

    assert answer.status_code == 200, answer.text
    assert answer.get_json()["superseded"] == others[-1]
    assert counts(exclusive.api.engine) == {"Archived": 250, "Staging": 1}


@ON_BOTH_DATABASES
def test_rollback_from_a_crowd_is_to_a_version_by_name(exclusive: Mlflow) -> None:
    """Who served before would be another once the first have left."""
    api = exclusive.api
    served, failing = (int(exclusive.create_version()["version"]) for _ in range(2))
    for number in (served, failing):
        exclusive.move(number, "Staging")
    crowd(api.engine, 150, "Staging")
    with api.engine.begin() as connection:  # the crowd was there before
        connection.execute(
            update(StageChange)
            .where(StageChange.number == failing)
            .values(sequence=StageChange.sequence + 1000)
        )

    answer = api.post(
        f"/models/{MODEL}/versions/{failing}/deployments",
        {"status": "failed", "environment": "eu"},
    )

    assert answer.status_code == 200, answer.text
    refusal = answer.get_json()["automatic_rollback"]["refused"]
    assert "name the one that is to enter it" in refusal
    assert counts(api.engine) == {"Archived": 1, "Staging": 151}


@ON_BOTH_DATABASES
def test_rollback_by_name_makes_room_in_production(
    tmp_path: Path, database: dict[str, str]
) -> None:
    app = make_app(tmp_path, **database)
    mlflow = mlflow_client(app)
    mlflow.create_versions(2)
    mlflow.api.serve(1, 2)
    crowd(mlflow.api.engine, 150, "Production")

    unnamed = mlflow.api.rollback()
    named = mlflow.api.rollback(to_version=1)

    assert (unnamed.status_code, named.status_code) == (409, 200), named.text
    assert "name the one that is to enter it" in unnamed.get_json()["detail"]
    assert counts(mlflow.api.engine) == {"Archived": 151, "Production": 1}
    close_app(app)


class Live:
    """A model on a server, with a crowd in Staging, and one that wants in."""

    def __init__(self, server: RunningServer, engine: Engine) -> None:
        self.server = server
        self.engine = engine
        self.http = server.http()
        self.model = f"crowded-{uuid.uuid4().hex}"
        self.post("registered-models/create", name=self.model)
        crowd(engine, CROWD, "Staging", model=self.model)
        self.number = int(
            self.post("model-versions/create", name=self.model, source=SOURCE).json()[
                "model_version"
            ]["version"]
        )

    def post(self, path: str, **fields: object) -> requests.Response:
        url = f"{self.server.url}/api/2.0/mlflow/{path}"
        answer = self.http.post(url, json=fields, timeout=120)
        assert answer.status_code == 200, answer.text
        return answer

    def empty_the_stage(self) -> requests.Response:
        http = self.server.http()
        return http.post(
            f"{self.server.url}/api/2.0/mlflow{TRANSITION}",
            json={**emptying(self.number), "name": self.model},
            timeout=120,
        )

    def counts(self) -> Counter[str]:
        return counts(self.engine, self.model)


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)],
)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, Engine]]:
    place = tmp_path_factory.mktemp("server")
    if request.param == "sqlite":
        with running_server(place) as server:
            engine = create_engine(f"sqlite:///{place}/data/stagegate.db")
            yield server, engine
            engine.dispose()
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    template = request.getfixturevalue("migrated_postgres")
    with (
        postgres.fresh_database(template) as url,
        running_server(place, DATABASE_URL=url) as server,
    ):
        engine = create_engine(url)
        yield server, engine
        engine.dispose()


@pytest.fixture
def live(served: tuple[RunningServer, Engine]) -> Live:
    return Live(*served)


def test_others_have_their_turn_while_a_stage_is_emptied(live: Live) -> None:
    ended = threading.Event()
    url = f"{live.server.url}/api/v1"

    def describe() -> int:
        done = 0
        while not ended.is_set():
            body = {"description": f"{done}"}
            answer = live.http.patch(f"{url}/models/{live.model}", json=body)
            assert answer.status_code == 200, answer.text
            done += 1
        return done

    with ThreadPoolExecutor() as pool:
        describing = pool.submit(describe)
        answer = live.empty_the_stage()
        ended.set()

    assert answer.status_code == 200, answer.text
    assert describing.result() > 0
    assert live.counts() == {"Archived": CROWD, "Staging": 1}
    audit = f"{url}/audit?limit=200&model={live.model}"
    items = live.http.get(audit).json()["items"]
    actions = [json.loads(each["entry"])["action"] for each in reversed(items)]
    parts = [n for n, action in enumerate(actions) if action == STAGED_CHANGED]
    assert len(parts) == CROWD / MAX_LEAVING
    between = actions[parts[0] : parts[-1]]
    assert between.count("registered_model.updated") >= 3


def test_request_that_was_killed_in_between_is_finished_by_the_next(
    live: Live,
) -> None:
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(live.empty_the_stage)
        wait_for(lambda: live.counts()["Archived"] >= MAX_LEAVING)
        live.server.kill()
        assert isinstance(killed.exception(), requests.ConnectionError)
    left = live.counts()
    assert left["Archived"] % MAX_LEAVING == 0
    assert 0 < left["Staging"] < CROWD
    live.server.start()

    answer = live.empty_the_stage()

    assert answer.status_code == 200, answer.text
    assert live.counts() == {"Archived": CROWD, "Staging": 1}
    url = f"{live.server.url}/api/v1/audit/verify"
    assert is_chained(live.http.get(url).json())
