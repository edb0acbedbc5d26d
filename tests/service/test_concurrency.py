"""Sixteen processes at once, on one server with SQLite and on two with PostgreSQL.

Two servers on one database show that what keeps the order is the database's lock,
not a process's.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.server import RunningServer, running_server
from tests.service.race import RACERS, Answer, Post, race
from tests.services.pgbouncer import run_pgbouncer
from tests.services.postgres import PostgresServer

MODEL = "churn"
SOURCE = {"source": "s3://elsewhere/churn"}


@dataclass(frozen=True)
class Registry:
    """The servers of one registry, and a client that reads from the first."""

    servers: Sequence[RunningServer]
    http: requests.Session

    def get(self, path: str) -> Any:  # noqa: ANN401  # A body may be any JSON value.
        answer = self.http.get(f"{self.servers[0].url}/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, object]) -> None:
        answer = self.http.post(f"{self.servers[0].url}/api/v1{path}", json=body)
        assert answer.status_code < 300, answer.text

    def race(self, posts: Sequence[Post]) -> list[Answer]:
        """Send at once; nobody may be told that the registry failed."""
        answers = race(self.servers, posts)
        assert max(answer.status for answer in answers) < 500, answers
        return answers

    def history(self) -> list[dict[str, Any]]:
        """The stage changes, oldest first."""
        items: list[dict[str, Any]] = self.get(f"/models/{MODEL}/history?limit=200")[
            "items"
        ]
        return items[::-1]

    def entries(self, action: str) -> int:
        """How many audit entries say this."""
        items = self.get("/audit?limit=200")["items"]
        return sum(item["action"] == action for item in items)

    def check_chain(self) -> None:
        report = self.get("/audit/verify")
        assert report["ok"], report


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.service),
        pytest.param("pgbouncer", marks=[pytest.mark.service, pytest.mark.long]),
    ]
)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            servers = [stack.enter_context(running_server(tmp_path))]
        else:
            postgres: PostgresServer = request.getfixturevalue("postgres_server")
            settings = {"DATABASE_URL": stack.enter_context(postgres.fresh_database())}
            if request.param == "pgbouncer":
                pooler = stack.enter_context(run_pgbouncer(postgres))
                settings["DATABASE_URL"] = pooler.through(settings["DATABASE_URL"])
                settings["PGBOUNCER"] = "true"
            servers = [
                stack.enter_context(running_server(directory, **settings))
                for directory in make_directories(tmp_path, "one", "two")
            ]
        http = stack.enter_context(servers[0].http())
        yield Registry(servers, http)


def make_directories(parent: Path, *names: str) -> list[Path]:
    made = [parent / name for name in names]
    for directory in made:
        directory.mkdir()
    return made


@pytest.fixture
def staged(registry: Registry) -> Registry:
    """A model with sixteen versions in Staging."""
    registry.post("/models", {"name": MODEL})
    for number in range(1, RACERS + 1):
        registry.post(f"/models/{MODEL}/versions", {**SOURCE})
        path = f"/models/{MODEL}/versions/{number}/transitions"
        registry.post(path, {"to_stage": "Staging"})
    return registry


def promotions(**body: object) -> list[Post]:
    return [
        Post(
            f"/models/{MODEL}/versions/{number}/transitions",
            {"to_stage": "Production", **body},
        )
        for number in range(1, RACERS + 1)
    ]


def test_sixteen_promotions_at_once_leave_one_incumbent(staged: Registry) -> None:
    answers = staged.race(promotions())

    assert {answer.status for answer in answers} <= {200, 409}
    promoted = [n for n, answer in enumerate(answers, 1) if answer.status == 200]
    check_succession(staged, promoted)
    check_no_gap(staged)
    assert staged.entries("model_version.stage_changed") == RACERS + len(promoted)
    staged.check_chain()


@pytest.mark.long
def test_registering_and_promoting_at_once_by_mlflows_protocol(
    staged: Registry,
) -> None:
    promoting = 8
    posts = [
        mlflow_post("create", name=MODEL, source=SOURCE["source"])
        for _ in range(RACERS)
    ] + [
        mlflow_post(
            "transition-stage",
            name=MODEL,
            version=str(number),
            stage="Production",
            archive_existing_versions=True,
        )
        for number in range(1, promoting + 1)
    ]

    answers = staged.race(posts)

    assert {answer.status for answer in answers} == {200}
    created = [answer.document["model_version"] for answer in answers[:RACERS]]
    numbers = sorted(int(version["version"]) for version in created)
    assert numbers == list(range(RACERS + 1, 2 * RACERS + 1))
    promoted = [answer.document["model_version"] for answer in answers[RACERS:]]
    assert {version["current_stage"] for version in promoted} == {"Production"}
    check_succession(staged, range(1, promoting + 1))
    staged.check_chain()


def mlflow_post(path: str, **fields: object) -> Post:
    return Post(f"/model-versions/{path}", fields, root="/api/2.0/mlflow")


def check_succession(registry: Registry, promoted: Sequence[int]) -> None:
    """Each promoted version entered once, and its successor put it aside."""
    history = registry.history()[RACERS:]  # without the sixteen moves to Staging
    entered = [each for each in history if each["to_stage"] == "Production"]
    aside = [each for each in history if each["to_stage"] == "Archived"]
    order = [each["version"] for each in entered]
    assert sorted(order) == sorted(promoted)
    assert [each["version"] for each in aside] == order[:-1]
    assert [each["transition_id"] for each in aside] == [
        each["transition_id"] for each in entered[1:]
    ]
    assert {each["cause"] for each in aside} <= {"superseded"}
    stages = registry.get(f"/models/{MODEL}")["stages"]
    assert stages["Production"] == order[-1:]
    assert registry.get(f"/models/{MODEL}/stages/Production")["version"] == order[-1]


def check_no_gap(registry: Registry) -> None:
    """Nothing but stage changes was numbered since the moves to Staging."""
    sequences = [each["sequence"] for each in registry.history()[RACERS:]]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


@pytest.mark.long
def test_of_sixteen_that_expect_no_incumbent_one_is_promoted(
    staged: Registry,
) -> None:
    answers = staged.race(promotions(expected_incumbent=None))

    assert Counter(answer.status for answer in answers) == {200: 1, 412: RACERS - 1}
    check_succession(
        staged, [n for n, answer in enumerate(answers, 1) if answer.status == 200]
    )
    check_no_gap(staged)
    staged.check_chain()


@pytest.mark.long
def test_sixteen_registrations_at_once_get_the_numbers_one_to_sixteen(
    registry: Registry,
) -> None:
    registry.post("/models", {"name": MODEL})

    answers = registry.race([Post(f"/models/{MODEL}/versions", SOURCE)] * RACERS)

    assert {answer.status for answer in answers} == {201}
    numbers = sorted(answer.document["version"] for answer in answers)
    assert numbers == list(range(1, RACERS + 1))
    assert registry.entries("model_version.registered") == RACERS
    registry.check_chain()


@pytest.mark.long
def test_one_idempotency_key_sent_by_sixteen_has_one_effect(
    registry: Registry,
) -> None:
    registry.post("/models", {"name": MODEL})
    share_token(registry)
    post = Post(f"/models/{MODEL}/versions", SOURCE, key="build-7")

    answers = registry.race([post] * RACERS)

    assert {answer.status for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers]
    assert Counter(replayed) == {None: 1, "true": RACERS - 1}
    assert len(registry.get(f"/models/{MODEL}/versions")["items"]) == 1
    assert registry.entries("model_version.registered") == 1
    registry.check_chain()


def share_token(registry: Registry) -> None:
    """A key belongs to its caller, so all must be one caller."""
    for server in registry.servers:
        server.token = registry.servers[0].token


@pytest.mark.long
def test_of_sixteen_models_of_one_name_one_is_created(registry: Registry) -> None:
    answers = registry.race([Post("/models", {"name": MODEL})] * RACERS)

    assert Counter(answer.status for answer in answers) == {201: 1, 409: RACERS - 1}
    assert registry.entries("registered_model.created") == 1
    registry.check_chain()
