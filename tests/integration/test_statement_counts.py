"""How many statements a request issues, sign-in included.

- A read issues two: the sign-in, and one that fetches all it answers.
- A change issues a fixed number, whatever the registry holds.
- What is counted is what goes to the driver, less BEGIN and COMMIT.
- The note that a token was used, once in five minutes, is not part of a request;
  the first request of each test makes it.
"""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Delete, Insert, Select, Update
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

from registry.persistence.database import db
from registry.persistence.queries import get_model
from registry.persistence.tables import (
    Alias,
    Base,
    Deployment,
    ModelTag,
    ModelVersion,
    RegisteredModel,
    StageChange,
    VersionTag,
)
from tests.integration.api.driver import ON_BOTH_DATABASES
from tests.integration.conftest import signed_in
from tests.integration.statements import statements_of

MODEL = "churn"
MANY = 200
#: Enough for what is done once for each to be counted.
SOME = 20
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

READS = (
    "/models",
    "/models?limit=200",
    f"/models/{MODEL}",
    f"/models/{MODEL}/versions",
    f"/models/{MODEL}/versions?limit=200",
    f"/models/{MODEL}/versions?stage=Archived",
    f"/models/{MODEL}/versions/1",
    f"/models/{MODEL}/versions/1/artifacts",
    f"/models/{MODEL}/stages/Staging",
    f"/models/{MODEL}/stages/Staging?at=2030-01-01T00:00:00Z",
    f"/models/{MODEL}/history",
    f"/models/{MODEL}/history?limit=200",
    f"/models/{MODEL}/history?stage=Archived",
    f"/models/{MODEL}/versions/1/deployments",
    f"/models/{MODEL}/versions/1/deployments?limit=200",
    f"/models/{MODEL}/aliases/champion",
    f"/audit?model={MODEL}",
    "/webhooks",
    "/tokens",
)

# A promotion over an incumbent: sign in (1); lock the model, gather the version and
# the incumbents (3); write the model, both versions, the two lines of the history, the
# audit entry (4); read the subscriptions, store the events (2).
PROMOTION = 10
# Registering: sign in, see that the model is there (2); lock it (1); write it, the
# version, its first line of the history, the audit entry (4); events (2).
REGISTRATION = 9
# A report of a deployment: sign in (1); lock the model; the version, what put it there,
# what is known of the environment, whether the event was sent again (5); write the
# model, the row, the audit entry (3); events (2).
DEPLOYMENT = 11
# Tagging: sign in (1); lock the model, read the version (2); write both, add the tags,
# the audit entry (4); events (2).
TAGGING = 9
# Setting an alias: as tagging, and where it points.
ALIAS = 10
# A change whose events anybody subscribed to: number them, store their deliveries.
DELIVERIES = 2
# A sealed artifact is hashed with nothing locked: the lock and what was gathered, once
# more, and its manifest.
VERIFICATION = 4
# An idempotency key: look it up, keep the answer.
KEY = 2

pytestmark = ON_BOTH_DATABASES


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Signed in, with a model that has a version in Staging and one in Production."""
    client = signed_in(app)
    post(client, "/models", {"name": MODEL, "tags": {"team": "risk"}})
    for to_stages in (["Staging", "Production"], ["Staging"]):
        register_and_move(client, to_stages)
    answer = client.put(f"/api/v1/models/{MODEL}/aliases/champion", json={"version": 2})
    assert answer.status_code == 200, answer.text
    return client


def post(
    client: FlaskClient, path: str, body: dict[str, object], key: str | None = None
) -> dict[str, object]:
    headers = {"Idempotency-Key": key} if key else {}
    answer = client.post(f"/api/v1{path}", json=body, headers=headers)
    assert answer.status_code in {200, 201}, answer.text
    document: dict[str, object] = answer.get_json()
    return document


def register_and_move(client: FlaskClient, to_stages: list[str]) -> int:
    version = post(
        client, f"/models/{MODEL}/versions", {"source": "s3://elsewhere/churn"}
    )
    number = int(str(version["version"]))
    for stage in to_stages:
        move(client, number, stage)
    return number


def move(
    client: FlaskClient, number: int, to_stage: str, key: str | None = None
) -> None:
    path = f"/models/{MODEL}/versions/{number}/transitions"
    post(client, path, {"to_stage": to_stage}, key)


def subscribe(client: FlaskClient, count: int) -> None:
    for number in range(count):
        post(client, "/webhooks", {"url": f"http://127.0.0.1:9/{number}"})
    # The next event reads the subscriptions; those after it know them.
    post(client, "/models", {"name": "read-them"})


def fill(app: Flask, count: int) -> None:
    """So many of everything that a list may hold, with tags and aliases."""
    with app.app_context(), Session(db.engine) as session:
        model_id = get_model(session.connection(), MODEL).row.id
        models = [new_model(number) for number in range(1000, 1000 + count)]
        versions = [new_version(model_id, 1000 + number) for number in range(count)]
        # At once: what is flushed one by one takes longer than all the test counts.
        session.add_all((*models, *versions))
        session.flush()
        for model in models:
            session.add(ModelTag(model_id=model.id, key="team", value="risk"))
        for version in versions:
            session.add_all(belongings(version))
        session.commit()


def new_model(number: int) -> RegisteredModel:
    return RegisteredModel(
        id=uuid.uuid4().hex,
        name=f"model-{number}",
        created_at=NOW,
        created_by="ci",
        updated_at=NOW,
        mlflow_updated_at=NOW,
    )


def new_version(model_id: str, number: int) -> ModelVersion:
    return ModelVersion(
        id=uuid.uuid4().hex,
        model_id=model_id,
        number=number,
        stage="Archived",
        status="READY",
        source="s3://elsewhere/churn",
        created_at=NOW,
        created_by="ci",
        updated_at=NOW,
        mlflow_updated_at=NOW,
    )


def belongings(version: ModelVersion) -> Iterator[Base]:
    """What an archived version has that was in Production and is deployed."""
    its = {
        "model_id": version.model_id,
        "version_id": version.id,
        "number": version.number,
    }
    yield VersionTag(version_id=version.id, key="team", value="risk")
    yield Alias(alias=f"alias-{version.number}", **its)
    for environment in ("eu", "us"):
        yield Deployment(
            id=uuid.uuid4().hex,
            transition_id=f"trn_{version.number}",
            environment=environment,
            status="succeeded",
            reported_by="ci",
            created_at=NOW,
            updated_at=NOW,
            **its,
        )
    yield StageChange(
        sequence=version.number,
        transition_id=f"trn_{version.number}",
        from_stage="Production",
        to_stage="Archived",
        cause="archival",
        actor_kind="token",
        actor_name="ci",
        at=NOW,
        **its,
    )


def test_a_read_issues_two_statements_for_one_row_and_for_many(
    app: Flask, client: FlaskClient
) -> None:
    with_few = statements_by_read(app, client)
    fill(app, MANY)
    with_many = statements_by_read(app, client)

    assert with_few == dict.fromkeys(READS, 2)
    assert with_many == dict.fromkeys(READS, 2)


def statements_by_read(app: Flask, client: FlaskClient) -> dict[str, int]:
    counts = {}
    for path in READS:
        with statements_of(app) as seen:
            answer = client.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        counts[path] = len(seen)
    return counts


def confined(app: Flask, client: FlaskClient) -> FlaskClient:
    """Signed in by a token for some models, which has been used."""
    new: dict[str, object] = {"name": "ci", "role": "promoter", "models": "c*"}
    of_some = signed_in(app, str(post(client, "/tokens", new)["token"]))
    of_some.get("/api/v1/events")  # which gives the events their places
    return of_some


def test_a_read_issues_no_more_for_who_may_read_some_models(
    app: Flask, client: FlaskClient
) -> None:
    fill(app, MANY)
    of_some = confined(app, client)

    for path in (*READS, "/audit", "/events"):
        with statements_of(app) as seen:
            answer = of_some.get(f"/api/v1{path}")
        is_for_admins = path in {"/webhooks", "/tokens"}
        assert answer.status_code == (403 if is_for_admins else 200), answer.text
        assert len(seen) == (1 if is_for_admins else 2), seen


def test_an_empty_list_takes_no_more_than_a_full_one(
    app: Flask, client: FlaskClient
) -> None:
    post(client, "/models", {"name": "empty"})

    with statements_of(app) as seen:
        for path in ("versions", "history"):
            answer = client.get(f"/api/v1/models/empty/{path}")
            assert answer.get_json()["items"] == []

    assert len(seen) == 4, seen


@pytest.mark.parametrize("subscriptions", [0, 1, 20])
def test_a_promotion_issues_a_fixed_number_of_statements(
    app: Flask, client: FlaskClient, subscriptions: int
) -> None:
    subscribe(client, subscriptions)
    sent = DELIVERIES if subscriptions else 0
    expected = PROMOTION + sent

    with statements_of(app) as early:
        move(client, 2, "Production")
    lengthen_history(app, client)
    late_number = register_and_move(client, ["Staging"])
    with statements_of(app) as late:
        move(client, late_number, "Production")

    assert len(early) == expected, "\n".join(early)
    assert len(late) == expected, "\n".join(late)


def lengthen_history(app: Flask, client: FlaskClient) -> None:
    """More versions, stage changes, audit entries, events and deliveries."""
    fill(app, SOME)
    for _ in range(5):
        post(client, f"/models/{MODEL}/rollback", {"to_version": 1})
        post(client, f"/models/{MODEL}/rollback", {"to_version": 2})


@pytest.mark.parametrize("subscriptions", [0, 1, 20])
def test_registering_issues_a_fixed_number_of_statements(
    app: Flask, client: FlaskClient, subscriptions: int
) -> None:
    subscribe(client, subscriptions)
    expected = REGISTRATION + (DELIVERIES if subscriptions else 0)

    with statements_of(app) as early:
        register_and_move(client, [])
    fill(app, SOME)
    with statements_of(app) as late:
        register_and_move(client, [])

    assert len(early) == expected, "\n".join(early)
    assert len(late) == expected, "\n".join(late)


@pytest.mark.parametrize("count", [1, 500])
def test_tagging_issues_a_fixed_number_of_statements(
    app: Flask, client: FlaskClient, count: int
) -> None:
    """Also where a subscription is told of each tag."""
    post(
        client,
        "/webhooks",
        {"url": "http://127.0.0.1:1/", "event_types": ["*", "model_version.tag_set"]},
    )
    post(client, "/models", {"name": "read-it"})
    tags = {f"tag-{number}": "x" for number in range(count)}

    with statements_of(app) as seen:
        answer = client.patch(f"/api/v1/models/{MODEL}/versions/1", json={"tags": tags})

    assert answer.status_code == 200, answer.text
    assert len(seen) == TAGGING + DELIVERIES, "\n".join(seen)


def test_setting_an_alias_issues_a_fixed_number_of_statements(
    app: Flask, client: FlaskClient
) -> None:
    with statements_of(app) as seen:
        client.put(f"/api/v1/models/{MODEL}/aliases/champion", json={"version": 1})

    assert len(seen) == ALIAS, "\n".join(seen)


@pytest.mark.parametrize("is_confined", [False, True])
def test_no_request_builds_or_compiles_a_statement(
    app: Flask,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_confined: bool,
) -> None:
    """Once each kind was there twice; a search of several comparisons may."""
    if is_confined:
        client = confined(app, client)
    every_kind(client, 3)
    every_kind(client, 4)
    built: list[str] = []
    for kind in (Select, Insert, Update, Delete, SQLCompiler):
        monkeypatch.setattr(kind, "__init__", noting(kind.__init__, built))

    every_kind(client, 5)

    assert built == []


def every_kind(client: FlaskClient, number: int) -> None:
    assert register_and_move(client, ["Staging", "Production"]) == number
    path, mlflow = f"/api/v1/models/{MODEL}", "/api/2.0/mlflow"
    for answer in (
        client.put(f"{path}/aliases/champion", json={"version": number}),
        client.get(path),
        client.get(f"{path}/versions/{number}"),
        client.get(f"{path}/versions/{number}/artifacts"),
        client.get(f"{path}/aliases/champion"),
        client.get("/api/v1/models"),
        client.get(f"{path}/versions"),
        client.get(f"{path}/history"),
        client.get(f"{path}/stages/Production"),
        client.get(f"{path}/versions/{number}/deployments"),
        client.get(f"/api/v1/audit?model={MODEL}"),
        client.get(f"{mlflow}/registered-models/get?name={MODEL}"),
        client.get(f"{mlflow}/registered-models/get-latest-versions?name={MODEL}"),
        client.get(
            f"{mlflow}/registered-models/search?filter=name LIKE 'm{number}%25'"
        ),
        client.get(f"{mlflow}/registered-models/search?filter=tags.t{number} = 'x'"),
        client.get(f"{mlflow}/model-versions/search?filter=name = '{MODEL}{number}'"),
        client.get(f"{mlflow}/model-versions/search?filter=run_id = 'r{number}'"),
    ):
        assert answer.status_code == 200, answer.text


def noting(begin: Callable[..., None], built: list[str]) -> Callable[..., None]:
    def noted(self: object, *args: object, **options: object) -> None:
        built.append(f"{type(self).__name__} {args}")
        begin(self, *args, **options)

    return noted


def deploy(client: FlaskClient, status: str) -> None:
    body = {"status": status, "environment": "production", "url": "https://ci/1"}
    post(client, f"/models/{MODEL}/versions/1/deployments", {**body})


@pytest.mark.parametrize("subscriptions", [0, 1, 20])
def test_reporting_a_deployment_issues_a_fixed_number_of_statements(
    app: Flask, client: FlaskClient, subscriptions: int
) -> None:
    subscribe(client, subscriptions)
    expected = DEPLOYMENT + (DELIVERIES if subscriptions else 0)

    with statements_of(app) as first:
        deploy(client, "pending")
    move(client, 2, "Production")
    lengthen_history(app, client)
    with statements_of(app) as next_one:
        deploy(client, "failed")

    assert len(first) == expected, "\n".join(first)
    assert len(next_one) == expected, "\n".join(next_one)


def test_what_a_promotion_is_asked_for_besides_costs_a_few_statements(
    app: Flask, client: FlaskClient
) -> None:
    subscribe(client, 1)
    number = register_sealed(client)
    move(client, number, "Staging")

    with statements_of(app) as seen:
        move(client, number, "Production", key="build-7")

    expected = PROMOTION + DELIVERIES + VERIFICATION + KEY
    assert len(seen) == expected, "\n".join(seen)


def register_sealed(client: FlaskClient) -> int:
    """A version whose artifact lies in our store."""
    version = post(client, f"/models/{MODEL}/versions", {})
    path = f"/models/{MODEL}/versions/{version['version']}"
    upload = client.put(f"/api/v1{path}/artifacts/model.bin", data=b"")
    assert upload.status_code == 201, upload.text
    post(client, f"{path}/finalize", {"files": [upload.get_json()]})
    return int(str(version["version"]))
