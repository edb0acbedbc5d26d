"""MLflow's prompts beside models: recorded, told of, kept apart, without stages."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    document_of,
    problem_of,
)
from tests.integration.conftest import close_app, make_app
from tests.integration.mlflow_api.driver import SOURCE, Mlflow, mlflow_client
from tests.integration.mlflow_api.test_mlflow_webhooks import (
    SECRET,
    create,
    deliver,
    is_signed,
)
from tests.integration.mlflow_api.test_recorded import event_types
from tests.receiver import Receiver
from tests.tracking_server import FakeTracking

PROMPT = "greet"
FIRST = {"name": PROMPT, "version": "1"}
IS_PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "true"}
TEXT = "Hello {{name}}"
VERSION_TAGS = [
    IS_PROMPT,
    {"key": "mlflow.prompt.text", "value": TEXT},
    {"key": "_mlflow_prompt_type", "value": "text"},
    {"key": "_mlflow_prompt_model_config", "value": '{"temperature": 0.5}'},
    {"key": "a", "value": "b"},
]
OWN_TAGS = {"_mlflow_prompt_model_config": '{"temperature": 0.5}', "a": "b"}
#: It lets nothing be deleted, and has other rules for models of another name.
PROTECTING = """
stages = ["None", "Staging", "Production", "Archived"]

[[moves]]
from = "None"
to = "Staging"
via = "promotion"

[[override]]
models = "other-*"
deletion = { stages = ["None"] }
"""


def create_prompt(mlflow: Mlflow, name: str = PROMPT) -> None:
    tags = [IS_PROMPT, {"key": "team", "value": "care"}]
    mlflow.create_model(name, tags=tags, description="greets")


def create_version(mlflow: Mlflow, name: str = PROMPT, **fields: object) -> Document:
    sent = {"source": "dummy-source", "tags": VERSION_TAGS, **fields}
    return mlflow.create_version(name, **sent)


def prepare(mlflow: Mlflow) -> None:
    """A prompt with a version that has an alias, and a model."""
    create_prompt(mlflow)
    create_version(mlflow, description="first")
    mlflow.done("POST", "/registered-models/alias", **FIRST, alias="champion")
    mlflow.create_model()
    mlflow.create_version()


def names(items: Sequence[Document]) -> list[str]:
    return [item["name"] for item in items]


#: Method, path, fields, and the types of the events, the audit entry's first.
CHANGES: list[tuple[str, str, Document, list[str]]] = [
    (
        "POST",
        "/registered-models/create",
        {"name": "new", "tags": [IS_PROMPT]},
        ["prompt.created"],
    ),
    (
        "PATCH",
        "/registered-models/update",
        {"name": PROMPT, "description": "x"},
        ["prompt.updated"],
    ),
    (
        "POST",
        "/registered-models/rename",
        {"name": PROMPT, "new_name": "new"},
        ["prompt.renamed"],
    ),
    ("DELETE", "/registered-models/delete", {"name": PROMPT}, ["prompt.deleted"]),
    (
        "POST",
        "/registered-models/set-tag",
        {"name": PROMPT, "key": "k", "value": "v"},
        ["prompt.updated", "prompt.tag_set"],
    ),
    (
        "DELETE",
        "/registered-models/delete-tag",
        {"name": PROMPT, "key": "team"},
        ["prompt.updated", "prompt.tag_deleted"],
    ),
    (
        "POST",
        "/model-versions/create",
        {"name": PROMPT, "source": "prompt-template", "tags": VERSION_TAGS},
        ["prompt_version.created"],
    ),
    (
        "PATCH",
        "/model-versions/update",
        {**FIRST, "description": "x"},
        ["prompt_version.updated"],
    ),
    ("DELETE", "/model-versions/delete", FIRST, ["prompt_version.deleted"]),
    (
        "POST",
        "/model-versions/set-tag",
        {**FIRST, "key": "k", "value": "v"},
        ["prompt_version.updated", "prompt_version.tag_set"],
    ),
    (
        "DELETE",
        "/model-versions/delete-tag",
        {**FIRST, "key": "a"},
        ["prompt_version.updated", "prompt_version.tag_deleted"],
    ),
    (
        "POST",
        "/registered-models/alias",
        {**FIRST, "alias": "best"},
        ["prompt_version.alias_set"],
    ),
    (
        "DELETE",
        "/registered-models/alias",
        {"name": PROMPT, "alias": "champion"},
        ["prompt_version.alias_deleted"],
    ),
    (
        "POST",
        "/comments/create",
        {**FIRST, "comment": "good"},
        ["prompt_version.commented"],
    ),
]


@pytest.mark.parametrize("change", CHANGES, ids=[each[3][-1] for each in CHANGES])
def test_every_change_of_a_prompt_is_audited_and_announced_as_one(
    mlflow: Mlflow, change: tuple[str, str, Document, list[str]]
) -> None:
    method, path, fields, types = change
    prepare(mlflow)
    before = mlflow.api.dump()

    mlflow.done(method, path, **fields)

    after, entry = mlflow.api.dump(), mlflow.api.audit()[-1]
    assert len(after["audit_entries"]) == len(before["audit_entries"]) + 1
    assert entry["action"] == types[0]
    announced = event_types(after) - event_types(before)
    assert sorted(announced.elements()) == sorted(types)
    assert mlflow.api.read("/audit/verify")["ok"]


@ON_BOTH_DATABASES
def test_prompts_are_in_no_list_of_models_and_models_in_none_of_prompts(
    mlflow: Mlflow,
) -> None:
    prepare(mlflow)
    create_prompt(mlflow, "ask")

    assert names(mlflow.api.read("/models")["items"]) == [MODEL]
    assert names(mlflow.api.read("/models?prompts=false")["items"]) == [MODEL]
    first = mlflow.api.read("/models?prompts=true&limit=1")
    assert names(first["items"]) == ["ask"]
    path = f"/models?prompts=true&limit=1&cursor={first['next_cursor']}"
    assert mlflow.api.read(path)["items"][0]["name"] == PROMPT
    assert mlflow.api.get("/models?prompts=maybe").status_code == 422


def test_a_prompts_version_has_no_artifact(mlflow: Mlflow) -> None:
    prepare(mlflow)

    found = mlflow.api.version(1, PROMPT)

    assert (found["status"], found["verified"]) == ("READY", False)
    assert (found["artifact_digest"], found["artifact_size_bytes"]) == (None, None)
    assert found["tags"]["mlflow.prompt.text"] == TEXT
    path = f"/models/{PROMPT}/versions/1"
    assert mlflow.api.get(f"{path}/artifacts").get_json()["items"] == []
    problem_of(mlflow.api.get(f"{path}/artifacts/x"), 404, "artifact-not-found")
    problem_of(mlflow.api.put(f"{path}/artifacts/x", data=b"x"), 409, "conflict")


def test_prompts_are_made_by_our_own_api_as_well(mlflow: Mlflow) -> None:
    api = mlflow.api
    tags = {tag["key"]: tag["value"] for tag in VERSION_TAGS}
    api.create_model(PROMPT, tags={"mlflow.prompt.is_prompt": "true"})

    assert api.register(PROMPT, tags=tags) == 1
    assert api.register(PROMPT, tags=tags, source="dummy-source") == 2

    assert api.version(1, PROMPT)["source"] == "prompt-template"
    body = {"tags": tags, "source": SOURCE}
    answer = api.post(f"/models/{PROMPT}/versions", body)
    assert "Invalid prompt source" in str(problem_of(answer, 422, "invalid"))


@pytest.mark.parametrize("policy", ["mlflow", "open_mlflow"])
def test_a_move_of_a_prompt_is_refused_in_words_of_its_own(
    policy: str, request: pytest.FixtureRequest
) -> None:
    mlflow: Mlflow = request.getfixturevalue(policy)
    prepare(mlflow)
    before = mlflow.api.dump()

    for stage in ("Staging", "Production", "None"):
        problem = problem_of(
            mlflow.api.move(1, stage, model=PROMPT), 409, "transition-refused"
        )
        assert problem["detail"].startswith("A prompt has no stages; point an alias")
        assert (problem["allowed"], problem["to_stage"]) == ([], stage)
        message = mlflow.refused(
            "INVALID_STATE_TRANSITION",
            *("POST", "/model-versions/transition-stage"),
            **FIRST,
            stage=stage,
        )
        assert message == problem["detail"]
    for members in ({}, {"to_version": 1}):
        problem = problem_of(
            mlflow.api.rollback(PROMPT, **members), 409, "transition-refused"
        )
        assert problem["reasons"] == ["prompts have no stages"]
    assert mlflow.api.dump() == before


def test_what_the_policy_protects_does_not_keep_a_prompt(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(PROTECTING, encoding="utf-8")
    app = make_app(tmp_path, POLICY_FILE=str(policy))
    mlflow = mlflow_client(app)
    prepare(mlflow)
    create_version(mlflow)

    mlflow.done("POST", "/registered-models/rename", name=PROMPT, new_name="other-1")
    mlflow.done("DELETE", "/model-versions/delete", name="other-1", version="1")
    renamed = {"name": "other-1", "new_name": PROMPT}
    mlflow.done("POST", "/registered-models/rename", **renamed)
    mlflow.done("DELETE", "/registered-models/delete", name=PROMPT)

    mlflow.refused("INVALID_STATE", "DELETE", "/registered-models/delete", name=MODEL)
    close_app(app)


def test_no_tracking_server_is_asked_about_a_prompt(
    tracked: Mlflow, tracking: FakeTracking
) -> None:
    create_prompt(tracked)

    made = create_version(tracked, run_id="r1", model_id="m-1")

    assert tracking.asked == []
    assert (made["run_id"], made["model_id"]) == ("r1", "m-1")
    assert tracked.api.version(1, PROMPT)["run"] is None


@ON_BOTH_DATABASES
def test_a_name_that_is_taken_is_told_with_what_has_it(mlflow: Mlflow) -> None:
    prepare(mlflow)
    create = ("POST", "/registered-models/create")
    code = "RESOURCE_ALREADY_EXISTS"

    of_prompt = mlflow.refused(code, *create, name=PROMPT)
    of_model = mlflow.refused(code, *create, name=MODEL, tags=[IS_PROMPT])
    answer = mlflow.api.post("/models", {"name": PROMPT})

    assert of_prompt == f"Prompt (name={PROMPT}) already exists."
    assert of_model == f"Registered Model (name={MODEL}) already exists."
    detail = problem_of(answer, 409, "conflict")["detail"]
    assert detail == f"a prompt named '{PROMPT}' exists already"
    renamed = mlflow.api.patch(f"/models/{MODEL}", {"name": PROMPT})
    assert problem_of(renamed, 409, "conflict")["detail"] == detail


def test_a_version_of_the_other_kind_is_refused_and_leaves_nothing(
    mlflow: Mlflow,
) -> None:
    prepare(mlflow)
    before = mlflow.api.dump()
    code, path = "INVALID_PARAMETER_VALUE", "/model-versions/create"

    for fields, said in (
        ({"name": PROMPT, "source": SOURCE}, f"'{PROMPT}' is a prompt"),
        (
            {"name": MODEL, "source": "dummy-source", "tags": VERSION_TAGS},
            f"'{MODEL}' is a model",
        ),
        ({"name": MODEL, "source": f"models:/{PROMPT}/1"}, "is a prompt"),
        ({"name": MODEL, "source": f"models:/{PROMPT}@champion"}, "is a prompt"),
    ):
        assert said in mlflow.refused(code, "POST", path, **fields)
    # Neither does a prompt wait for an upload.
    answer = mlflow.api.post(f"/models/{PROMPT}/versions", {})
    assert "is a prompt" in str(problem_of(answer, 422, "invalid"))
    assert mlflow.api.dump() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mlflow.prompt.text", "Bye"),
        ("mlflow.prompt.text", None),
        ("_mlflow_prompt_type", "chat"),
        ("_mlflow_prompt_response_format", "{}"),
        ("mlflow.prompt.is_prompt", None),
    ],
)
def test_what_a_version_was_registered_with_stays(
    mlflow: Mlflow, key: str, value: str | None
) -> None:
    prepare(mlflow)
    path = f"/models/{PROMPT}/versions/1"
    before = mlflow.api.dump()

    answer = mlflow.api.patch(path, {"tags": {"free": "1", key: value}})

    assert key in str(problem_of(answer, 422, "invalid"))
    assert mlflow.api.dump() == before
    again = {"mlflow.prompt.text": TEXT, "_mlflow_prompt_response_format": None}
    assert mlflow.api.patch(path, {"tags": again}).status_code == 200


def test_what_has_no_version_yet_may_become_a_prompt_and_a_model_again(
    mlflow: Mlflow,
) -> None:
    mlflow.create_model()
    tag = {"name": MODEL, "key": IS_PROMPT["key"]}

    mlflow.done("POST", "/registered-models/set-tag", **tag, value="true")
    assert names(mlflow.api.read("/models")["items"]) == []
    assert mlflow.api.audit()[-1]["action"] == "prompt.updated"
    mlflow.done("DELETE", "/registered-models/delete-tag", **tag)

    assert names(mlflow.api.read("/models")["items"]) == [MODEL]
    mlflow.create_version()
    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE",
        *("POST", "/registered-models/set-tag"),
        **tag,
        value="TRUE",
    )
    assert "stays the prompt or the model that it is" in message
    mlflow.done("POST", "/registered-models/set-tag", **tag, value="no")


EVENTS = [
    {"entity": entity, "action": action}
    for entity, action in (
        ("PROMPT", "CREATED"),
        ("PROMPT_VERSION", "CREATED"),
        ("PROMPT_TAG", "SET"),
        ("PROMPT_TAG", "DELETED"),
        ("PROMPT_VERSION_TAG", "SET"),
        ("PROMPT_VERSION_TAG", "DELETED"),
        ("PROMPT_ALIAS", "CREATED"),
        ("PROMPT_ALIAS", "DELETED"),
    )
]


def test_receivers_are_told_of_prompts_as_mlflow_tells_it(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    create(mlflow, receiver.url, events=EVENTS, secret=SECRET)
    tag = {"name": PROMPT, "key": "k"}

    create_prompt(mlflow)
    create_version(mlflow)
    mlflow.done("POST", "/registered-models/set-tag", **tag, value="v")
    mlflow.done("DELETE", "/registered-models/delete-tag", **tag)
    mlflow.done("POST", "/model-versions/set-tag", **tag, version="1", value="v")
    mlflow.done("DELETE", "/model-versions/delete-tag", **tag, version="1")
    mlflow.done("POST", "/registered-models/alias", **FIRST, alias="champion")
    mlflow.done("DELETE", "/registered-models/alias", name=PROMPT, alias="champion")
    mlflow.done("PATCH", "/model-versions/update", **FIRST, description="better")
    mlflow.done("DELETE", "/registered-models/delete", name=PROMPT)
    deliver(mlflow)

    assert all(is_signed(request, SECRET) for request in receiver.requests)
    told = [request.json() for request in receiver.requests]
    assert [(each["entity"].upper(), each["action"].upper()) for each in told] == [
        (each["entity"], each["action"]) for each in EVENTS
    ]
    of, version = {"name": PROMPT}, {"name": PROMPT, "version": "1"}
    assert [each["data"] for each in told] == [
        {**of, "tags": {"team": "care"}, "description": "greets"},
        {**version, "template": TEXT, "tags": OWN_TAGS, "description": None},
        {**of, "key": "k", "value": "v"},
        {**of, "key": "k"},
        {**version, "key": "k", "value": "v"},
        {**version, "key": "k"},
        {**version, "alias": "champion"},
        {**of, "alias": "champion"},
    ]


EXAMPLE = {"name": "example_prompt", "version": "1"}
EXAMPLES = [
    {
        "name": "example_prompt",
        "tags": {"example_key": "example_value"},
        "description": "An example prompt",
    },
    {
        **EXAMPLE,
        "template": "Hello {{name}}!",
        "tags": {"example_key": "example_value"},
        "description": "An example prompt version",
    },
    {"name": "example_prompt", "key": "example_key", "value": "example_value"},
    {"name": "example_prompt", "key": "example_key"},
    {**EXAMPLE, "key": "example_key", "value": "example_value"},
    {**EXAMPLE, "key": "example_key"},
    {**EXAMPLE, "alias": "example_alias"},
    {"name": "example_prompt", "alias": "example_alias"},
]


def test_a_test_of_a_prompts_event_has_mlflows_own_example(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    webhook = create(mlflow, receiver.url, events=EVENTS)

    for event in EVENTS:
        mlflow.done("POST", f"/webhooks/{webhook['webhook_id']}/test", event=event)

    assert [request.json()["data"] for request in receiver.requests] == EXAMPLES


def test_our_own_events_say_the_text_of_a_prompt(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    for asked in (["prompt.*", "prompt_version.*"], ["model_version.*"]):
        body = {"url": receiver.url, "event_types": asked}
        document_of(mlflow.api.post("/webhooks", body))

    create_prompt(mlflow)
    create_version(mlflow, description="first")
    mlflow.done("POST", "/registered-models/alias", **FIRST, alias="champion")
    mlflow.done("DELETE", "/model-versions/delete", **FIRST)
    deliver(mlflow)

    told = [request.json() for request in receiver.requests]
    assert [each["type"] for each in told] == [
        "prompt.created",
        "prompt_version.created",
        "prompt_version.alias_set",
        "prompt_version.deleted",
    ]
    created, *of_version = (each["data"] for each in told)
    assert (created["model"], created["tags"]) == (PROMPT, {"team": "care"})
    for data in of_version:
        assert (data["model"], data["version"]) == (PROMPT, 1)
        assert (data["template"], data["prompt_type"]) == (TEXT, "text")
        assert data["tags"] == OWN_TAGS
        assert {"stage", "source", "artifact_digest"}.isdisjoint(data)
    assert of_version[0]["description"] == "first"
    assert of_version[1]["alias"] == "champion"


def test_receivers_of_databricks_webhooks_hear_of_no_prompt(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    body = {"url": receiver.url, "format": "databricks"}
    document_of(mlflow.api.post("/webhooks", body))

    prepare(mlflow)
    deliver(mlflow)

    told = [json.loads(request.body)["event"] for request in receiver.requests]
    assert told == ["REGISTERED_MODEL_CREATED", "MODEL_VERSION_CREATED"]
