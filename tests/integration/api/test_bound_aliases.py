"""Aliases that the default policy binds to stages: to set one is the move."""

import pytest

from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.api.gated import events_of
from tests.integration.api.test_transitions import artifact_file, overwrite

ALIASES = f"/models/{MODEL}/aliases"
MLFLOW = "/api/2.0/mlflow/registered-models/alias"


def pointed_at(api: Driver, alias: str) -> int | None:
    """Where it points, by both APIs and as the source of a copy."""
    ours = api.get(f"{ALIASES}/{alias}")
    fields = {"name": MODEL, "alias": alias}
    mlflows = api.client.get(MLFLOW, query_string=fields)
    source = {"name": "copies", "source": f"models:/{MODEL}@{alias}"}
    api.post("/models", {"name": "copies"})
    copied = api.client.post("/api/2.0/mlflow/model-versions/create", json=source)
    if ours.status_code == 404:
        assert (mlflows.status_code, copied.status_code) == (400, 404)
        return None
    number = int(document_of(ours)["version"])
    assert int(document_of(mlflows)["model_version"]["version"]) == number
    copy = document_of(copied)["model_version"]["version"]
    digest = api.version(int(copy), "copies")["artifact_digest"]
    assert digest == api.version(number)["artifact_digest"]
    return number


@ON_BOTH_DATABASES
def test_bound_alias_is_set_by_the_move_and_points_at_the_incumbent(
    api: Driver,
) -> None:
    api.ready_versions(2)
    assert pointed_at(api, "production") is None

    api.moved(1, "Staging")
    answer = api.put(f"{ALIASES}/production", json={"version": 1})
    again = api.put(f"{ALIASES}/Production", json={"version": 1})
    entries = len(api.audit(MODEL))
    api.moved(2, "Staging")
    sent = {"name": MODEL, "alias": "PRODUCTION", "version": "2"}
    assert api.client.post(MLFLOW, json=sent).status_code == 200

    assert (answer.status_code, again.status_code) == (200, 200)
    assert [pointed_at(api, each) for each in ("production", "PRODUCTION")] == [2, 2]
    assert api.stages() == {1: "Archived", 2: "Production"}
    *_, moved = api.audit(MODEL)
    assert len(api.audit(MODEL)) == entries + 2
    assert moved["action"] == "model_version.stage_changed"
    assert moved["reason"] == "alias PRODUCTION was set"
    assert "alias" not in " ".join(event["type"] for event in events_of(api))


def test_bound_alias_is_refused_as_the_move_is(api: Driver) -> None:
    api.ready_versions(1)
    writer = api.with_role("writer")

    refusal = problem_of(
        api.put(f"{ALIASES}/production", json={"version": 1}), 409, "transition-refused"
    )
    api.moved(1, "Staging")
    problem_of(
        writer.put(f"{ALIASES}/production", json={"version": 1}), 403, "forbidden"
    )

    assert refusal["allowed"] == ["Staging"]
    assert api.stages() == {1: "Staging"}
    assert writer.put(f"{ALIASES}/champion", json={"version": 1}).status_code == 200


def test_bound_alias_of_a_changed_artifact_is_refused(api: Driver) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging")
    overwrite(artifact_file(api, 1), b"other")

    answer = api.put(f"{ALIASES}/production", json={"version": 1})

    problem_of(answer, 409, "artifact-changed")
    assert api.stages() == {1: "Staging"}


def test_bound_alias_of_a_shared_stage_is_not_set_to_who_came_before(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.moved(1, "Staging")
    api.moved(2, "Staging")

    refusal = problem_of(
        api.put(f"{ALIASES}/staging", json={"version": 1}), 409, "conflict"
    )

    assert "version 2 entered it last" in refusal["detail"]
    assert api.put(f"{ALIASES}/staging", json={"version": 2}).status_code == 200
    assert pointed_at(api, "staging") == 2


@pytest.mark.parametrize("is_mlflow", [False, True], ids=["ours", "MLflow's"])
def test_bound_alias_is_not_deleted(api: Driver, *, is_mlflow: bool) -> None:
    api.ready_versions(1)
    api.serve(1)

    if is_mlflow:
        fields = {"name": MODEL, "alias": "production"}
        answer = api.client.delete(MLFLOW, json=fields)
    else:
        answer = api.delete(f"{ALIASES}/production")

    assert answer.status_code in {400, 409}
    assert "move the version out of it" in answer.text
    assert pointed_at(api, "production") == 1


def test_alias_of_a_prompt_is_bound_to_no_stage(api: Driver) -> None:
    is_prompt = {"mlflow.prompt.is_prompt": "true"}
    api.create_model(tags=is_prompt)
    text = {**is_prompt, "mlflow.prompt.text": "Hello {{name}}"}
    api.register(source="prompt-template", tags=text)
    writer = api.with_role("writer")

    assert writer.put(f"{ALIASES}/production", json={"version": 1}).status_code == 200
    assert api.read(f"{ALIASES}/production")["version"] == 1
    assert writer.delete(f"{ALIASES}/production").status_code == 204
    assert api.get(f"{ALIASES}/production").status_code == 404
