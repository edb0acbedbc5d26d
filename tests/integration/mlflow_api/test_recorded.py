"""Every change by MLflow's protocol is audited and announced, as by our own API."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.integration.api.driver import (
    MODEL,
    Document,
    Dump,
)
from tests.integration.mlflow_api.driver import SOURCE, Mlflow
from webhooks.tables import EventRow

CORE = ("models", "versions", "stages", "aliases", "tags")
FIRST = {"name": MODEL, "version": "1"}


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A request that changes something, in the registry of ``prepare``."""

    endpoint: str
    method: str
    path: str
    fields: Document
    action: str
    events: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.endpoint

    @property
    def announced(self) -> list[str]:
        """The types of the events; by default one, as the audit entry's action."""
        return self.events or [self.action]


MUTATIONS = [
    Mutation(
        endpoint="models.create_registered_model",
        method="POST",
        path="/registered-models/create",
        fields={"name": "new"},
        action="registered_model.created",
    ),
    Mutation(
        endpoint="models.update_registered_model",
        method="PATCH",
        path="/registered-models/update",
        fields={"name": MODEL, "description": "x"},
        action="registered_model.updated",
    ),
    Mutation(
        endpoint="models.rename_registered_model",
        method="POST",
        path="/registered-models/rename",
        fields={"name": MODEL, "new_name": "new"},
        action="registered_model.renamed",
    ),
    Mutation(
        endpoint="models.delete_registered_model",
        method="DELETE",
        path="/registered-models/delete",
        fields={"name": "idle"},
        action="registered_model.deleted",
    ),
    Mutation(
        endpoint="versions.create_model_version",
        method="POST",
        path="/model-versions/create",
        fields={"name": MODEL, "source": SOURCE},
        action="model_version.registered",
    ),
    Mutation(
        endpoint="versions.update_model_version",
        method="PATCH",
        path="/model-versions/update",
        fields={**FIRST, "description": "x"},
        action="model_version.updated",
    ),
    Mutation(
        endpoint="versions.delete_model_version",
        method="DELETE",
        path="/model-versions/delete",
        fields=FIRST,
        action="model_version.deleted",
    ),
    Mutation(
        endpoint="stages.transition_model_version_stage",
        method="POST",
        path="/model-versions/transition-stage",
        fields={**FIRST, "stage": "Staging"},
        action="model_version.stage_changed",
    ),
    Mutation(
        endpoint="aliases.set_registered_model_alias",
        method="POST",
        path="/registered-models/alias",
        fields={**FIRST, "alias": "blue"},
        action="model_version.alias_set",
    ),
    Mutation(
        endpoint="aliases.delete_registered_model_alias",
        method="DELETE",
        path="/registered-models/alias",
        fields={"name": MODEL, "alias": "champion"},
        action="model_version.alias_deleted",
    ),
    Mutation(
        endpoint="tags.set_registered_model_tag",
        method="POST",
        path="/registered-models/set-tag",
        fields={"name": MODEL, "key": "team", "value": "abuse"},
        action="registered_model.updated",
    ),
    Mutation(
        endpoint="tags.delete_registered_model_tag",
        method="DELETE",
        path="/registered-models/delete-tag",
        fields={"name": MODEL, "key": "team"},
        action="registered_model.updated",
    ),
    Mutation(
        endpoint="tags.set_model_version_tag",
        method="POST",
        path="/model-versions/set-tag",
        fields={**FIRST, "key": "team", "value": "abuse"},
        action="model_version.updated",
        events=["model_version.updated", "model_version.tag_set"],
    ),
    Mutation(
        endpoint="tags.delete_model_version_tag",
        method="DELETE",
        path="/model-versions/delete-tag",
        fields={**FIRST, "key": "team"},
        action="model_version.updated",
        events=["model_version.updated", "model_version.tag_deleted"],
    ),
]
READS_BY_POST = {"stages.get_latest_versions"}


def event_types(dump: Dump) -> Counter[str]:
    place = list(EventRow.__table__.columns.keys()).index("type")
    return Counter(row[place] for row in dump[EventRow.__tablename__])


def prepare(mlflow: Mlflow) -> None:
    tags = [{"key": "team", "value": "risk"}]
    mlflow.create_model(tags=tags)
    mlflow.create_version(tags=tags)
    mlflow.create_model("idle")
    mlflow.done(
        "POST", "/registered-models/alias", name=MODEL, alias="champion", version="1"
    )


def test_every_route_that_changes_something_is_in_the_table(mlflow: Mlflow) -> None:
    changing = {
        rule.endpoint.removeprefix("mlflow.")
        for rule in mlflow.app.url_map.iter_rules()
        if rule.endpoint.startswith(tuple(f"mlflow.{name}." for name in CORE))
        and (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}
    }

    assert changing == {each.endpoint for each in MUTATIONS} | READS_BY_POST


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_every_change_has_exactly_one_entry_and_its_events(
    mlflow: Mlflow, mutation: Mutation
) -> None:
    prepare(mlflow)
    before = mlflow.api.dump()

    mlflow.done(mutation.method, mutation.path, **mutation.fields)

    after, entry = mlflow.api.dump(), mlflow.api.audit()[-1]
    assert len(after["audit_entries"]) == len(before["audit_entries"]) + 1
    assert entry["action"] == mutation.action
    assert entry["actor"]["name"] == "bootstrap"
    announced = event_types(after) - event_types(before)
    assert announced == Counter(mutation.announced)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_change_without_the_role_is_refused_and_leaves_nothing(
    mlflow: Mlflow, mutation: Mutation
) -> None:
    prepare(mlflow)
    viewer = mlflow.with_role("viewer")
    before = mlflow.api.dump()

    message = viewer.refused(
        "PERMISSION_DENIED", mutation.method, mutation.path, **mutation.fields
    )

    assert message.startswith("a viewer (viewer) may not ")
    assert mlflow.api.dump() == before


def test_writer_may_change_anything_but_a_stage(mlflow: Mlflow) -> None:
    prepare(mlflow)
    writer = mlflow.with_role("writer")

    refused = [
        mutation.endpoint
        for mutation in MUTATIONS
        if writer.send("POST", mutation.path).status_code == 403
    ]

    assert refused == ["stages.transition_model_version_stage"]


def test_promoter_may_change_a_stage(mlflow: Mlflow) -> None:
    prepare(mlflow)

    assert mlflow.with_role("promoter").move(1, "Staging")["version"] == "1"


def test_change_that_fails_in_the_middle_leaves_nothing(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(mlflow)
    before = mlflow.api.dump()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the answer cannot be made")

    monkeypatch.setattr("registry.mlflow_api.stages.execute", fail)
    mlflow.app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = mlflow.send(
        "POST", "/model-versions/transition-stage", **FIRST, stage="Staging"
    )

    assert answer.status_code == 500
    assert answer.get_json()["error_code"] == "INTERNAL_ERROR"
    assert mlflow.api.dump() == before
