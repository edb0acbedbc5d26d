"""Who may do what to which model, on every route there is.

The routes come from the URL map: a new one is tried with the others, by bearers of each
role and of each scope, for its model and for another one.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import and_, select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from registry.auth import permissions
from registry.auth.permissions import MANY, NONE, Permission, permission_of
from registry.domain.roles import OF_MODELS, Action, Role
from registry.persistence.statements import VERSIONS
from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MLFLOW = ("/api/2.0/", "/ajax-api/2.0/", "/model-versions/")
CANARY = "canary-of-a-foreign-model"
#: No model's, whoever calls: each is to be thought about before it stands here.
OF_NO_MODEL = {
    *("ui.policy.show", "ui.account.show", "ui.account.sign_out_everywhere"),
    *("tokens.whoami", "policy.get_policy", "artifacts.check_upload"),
    "sign_in.sign_in_by_token",
    *("event_types.list_event_types", "event_types.get_event_type"),
    *("mlflow.artifacts.refuse_change", "mlflow_ajax.artifacts.refuse_change"),
}
#: They leave out what may not be read (``test_readable_lists``).
LISTS = {
    *("ui.now.show", "ui.models.index", "ui.requests.index", "ui.consumers.index"),
    *("ui.audit.index", "ui.audit.entry", "ui.audit.as_of"),
    *("models.list_models", "audit.list_audit_entries", "audit.export_audit"),
    *("events.list_events", "requests.list_transition_requests"),
    *(f"{tree}.search.search_registered_models" for tree in ("mlflow", "mlflow_ajax")),
    *(f"{tree}.search.search_model_versions" for tree in ("mlflow", "mlflow_ajax")),
}
#: Whom they refuse is another matter than a role: nobody may, or whose it is.
NOT_BY_ROLE = (
    *(".refuse_change", "edit_comment", "cancel_transition_request"),
    *("ui.sign_in.sign_in_by_token", "ui.sign_in.sign_in_once"),
    "ui.requests.cancel",
)
BY_PATTERN = [role for role in Role if not role.is_global]
CALLERS: dict[str, tuple[frozenset[Action], Document]] = {
    **{role: (role.actions, {"role": role, "models": "{}*"}) for role in BY_PATTERN},
    **{
        f"{action} in scope": (
            frozenset({action, Action.READ}),
            {"role": "admin", "scopes": [f"{action}:{{}}*"]},
        )
        for action in OF_MODELS
    },
}
#: Who may what is decided in Python; what a database answers differs with what a route
#: asks and with a pattern or scopes: both are asked by who may and by who may not.
ON_SQLITE = [*BY_PATTERN, f"{Action.PROMOTE} in scope"]
ON_POSTGRESQL = [Role.PROMOTER, *(name for name in CALLERS if "in scope" in name)]
callers = pytest.mark.parametrize(
    ("database", "actions", "members"),
    [
        *(
            pytest.param("sqlite", *CALLERS[name], id=f"{name}-sqlite")
            for name in ON_SQLITE
        ),
        *(
            pytest.param(
                "postgresql",
                *CALLERS[name],
                id=f"{name}-postgresql",
                marks=pytest.mark.service,
            )
            for name in ON_POSTGRESQL
        ),
    ],
    indirect=["database"],
)


@dataclasses.dataclass(frozen=True)
class Route:
    """A method of a rule, and what its view declares."""

    rule: Rule
    method: str
    permission: Permission
    judge: object

    @property
    def is_page(self) -> bool:
        return str(self.rule.endpoint).startswith("ui.")

    @property
    def is_of_one_model(self) -> bool:
        return self.permission.value in OF_MODELS and self.judge not in {MANY, NONE}


@dataclasses.dataclass(frozen=True)
class Things:
    """What the model has that a request may name by an id."""

    model: str
    version_id: str = "absent"
    transition_id: str = "absent"
    comment: str = "absent"
    model_id: str = "absent"
    asked: str = "absent"

    def request(self, route: Route) -> dict[str, Any]:
        """What is sent: a path, and the model's name wherever it may be named."""
        parts = {"name": self.model, "number": "1", "path": "model.bin"}
        parts |= {"model_id": self.model_id, "request_id": self.asked}
        is_mlflow = route.rule.rule.startswith(MLFLOW)
        if is_mlflow:
            parts["path"] = f"{self.version_id}/model.bin"
        path = re.sub(r"<any\('?([\w.-]+).*?>", r"\1", route.rule.rule)
        path = re.sub(
            r"<(?:\w+:)?(\w+)>", lambda found: parts.get(found[1], "absent"), path
        )
        fields = {"name": self.model, "model": self.model}
        if is_mlflow:
            fields |= {
                "new_name": f"{self.model}-2",
                "version": "1",
                "path": parts["path"],
            }
            fields |= {"id": self.comment}
        if route.method != "GET":
            kind = "data" if route.is_page else "json"
            return {"path": path, "method": route.method, kind: fields}
        of_ids = {"model": self.model, "transition_id": self.transition_id}
        return {"path": path, "query_string": fields if is_mlflow else of_ids}


def routes(app: Flask) -> Iterator[Route]:
    """Every method of every rule; what deletes comes last."""
    found = []
    for rule in app.url_map.iter_rules():
        declared = getattr(
            app.view_functions[rule.endpoint],
            permissions._ATTRIBUTE,  # noqa: SLF001
        )
        found += [
            Route(rule, method, declared.permission, declared.judge)
            for method in METHODS
            if method in (rule.methods or set())
        ]
    yield from sorted(
        found, key=lambda route: (route.method == "DELETE", route.rule.rule)
    )


def sent(caller: Driver, things: Things, route: Route) -> TestResponse:
    answer = caller.client.open(**things.request(route))
    answer.get_data()
    answer.close()
    return answer


def refusal_of(answer: TestResponse) -> str:
    if answer.mimetype == "text/html":
        (detail,) = re.findall(r'<p class="lead[^>]*>(.*?)</p>', answer.text)
        return str(detail)
    said = document_of(answer)
    return str(said.get("detail") or said["message"])


def things_of(api: Driver, caller: Driver, model: str) -> Things:
    """A model with a version that is not in use, and a comment of the caller's."""
    api.create_model(model, description=CANARY, tags={"secret": CANARY})
    api.ready(model, description=CANARY)
    moved = api.moved(1, "Staging", "Archived", model=model)
    asked = {"model": model, "version": api.ready(model), "to_stage": "Staging"}
    other = api.with_role("admin").with_role("writer")
    request = document_of(other.post("/transition-requests", asked))
    of_model = and_(VERSIONS.c.model_name == model, VERSIONS.c.number == 1)
    with api.engine.connect() as cx:
        ids = select(VERSIONS.c.id, VERSIONS.c.model_id).where(of_model)
        version_id, model_id = cx.execute(ids).one()
    made = caller.client.post(
        "/api/2.0/mlflow/comments/create",
        json={"name": model, "version": "1", "comment": CANARY},
    ).get_json()
    return Things(
        model=model,
        version_id=version_id,
        model_id=model_id,
        transition_id=moved["transition_id"],
        asked=request["id"],
        comment=made.get("comment", {}).get("id", "absent"),
    )


def bearer(api: Driver, members: Mapping[str, Any], of: str) -> Driver:
    """The bearer of a token whose pattern or scopes are of models that begin so."""
    return api.with_token(
        **{
            name: [text.format(of) for text in value]
            if isinstance(value, list)
            else value.format(of)
            for name, value in members.items()
        }
    )


@callers
def test_t22_bearer_may_do_to_a_model_what_the_role_and_scopes_are_for(
    api: Driver, actions: frozenset[Action], members: Document
) -> None:
    caller = bearer(api, members, MODEL)
    things = things_of(api, caller, MODEL)

    for route in routes(api.app):
        if route.rule.endpoint.endswith(NOT_BY_ROLE):
            continue
        if route.rule.endpoint.endswith("_comment") and route.method == "DELETE":
            continue  # each comment is deleted once; below
        status = sent(caller, things, route).status_code

        action = route.permission.value
        is_allowed = action is None or action in actions
        assert (status == 403) is not is_allowed, (route, status)
        assert status not in {401, 500}, route
    left = caller.client.delete(
        "/api/2.0/mlflow/comments/delete", query_string={"id": things.comment}
    )
    assert (left.status_code == 403) is (Action.WRITE not in actions)


@callers
def test_t22_foreign_model_is_open_by_none_of_its_ids(
    api: Driver, actions: frozenset[Action], members: Document
) -> None:
    foreign = things_of(api, api, MODEL)
    caller = bearer(api, members, "churn")
    before = api.dump()

    for route in routes(api.app):
        if route.rule.endpoint == "sign_in.sign_in_by_token":
            continue  # a session of the caller's own
        answer = sent(caller, foreign, route)

        if route.is_of_one_model:
            assert answer.status_code == 403, route
        elif route.permission.value in actions and "refuse" not in route.rule.endpoint:
            assert answer.status_code not in {401, 403, 500}, route
        assert CANARY not in answer.get_data(as_text=True), route
    assert api.dump() == before


def test_t22_what_is_not_there_is_refused_as_what_may_not_be_read(
    api: Driver,
) -> None:
    caller = bearer(api, {"role": "promoter", "models": "{}*"}, "churn")
    there, absent = things_of(api, api, MODEL), Things(model="ghost")

    for route in routes(api.app):
        if not route.is_of_one_model:
            continue
        answers = [sent(caller, things, route) for things in (there, absent)]
        said = {
            (answer.status_code, re.sub("fraud|ghost", "X", refusal_of(answer)))
            for answer in answers
        }
        assert len(said) == 1, (route, said)


def test_routes_of_no_model_and_lists_are_those_that_were_thought_about(
    api: Driver,
) -> None:
    of_models = [r for r in routes(api.app) if r.permission.value in OF_MODELS]

    assert {r.rule.endpoint for r in of_models if r.judge is NONE} == OF_NO_MODEL
    assert {r.rule.endpoint for r in of_models if r.judge is MANY} == LISTS


def test_refusal_names_the_model_and_what_it_takes(api: Driver) -> None:
    api.create_model()
    caller = api.with_token(name="ci", role="promoter", models="churn-*")

    problem = problem_of(caller.move(1, "Staging"), 403, "forbidden")

    assert problem["detail"] == (
        "ci (promoter:churn-*) may not promote model 'fraud'; "
        "that takes one of: admin, promoter, break-glass"
    )


@pytest.mark.parametrize(
    "members",
    [
        {"role": "writer", "models": "churn-*"},
        {"role": "admin", "scopes": ["write:churn-*"]},
    ],
)
def test_model_of_another_name_is_not_created_nor_named_so(
    api: Driver, members: Document
) -> None:
    caller = api.with_token(**members)
    mlflow = "/api/2.0/mlflow/registered-models"
    renamed = {"name": "churn-1", "new_name": MODEL}

    caller.create_model("churn-1")
    problem_of(caller.post("/models", {"name": MODEL}), 403, "forbidden")
    problem_of(caller.patch("/models/churn-1", {"name": MODEL}), 403, "forbidden")
    by_mlflow = [
        caller.client.post(f"{mlflow}/rename", json=renamed),
        caller.client.post(f"{mlflow}/create", json={"name": MODEL}),
    ]

    assert [answer.status_code for answer in by_mlflow] == [403, 403]
    assert caller.patch("/models/churn-1", {"name": "churn-2"}).status_code == 200
    assert [m["name"] for m in api.read("/models")["items"]] == ["churn-2"]


def test_name_in_another_form_is_judged_as_it_is_stored(api: Driver) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    caller = api.with_token(role="writer", models="caf?")

    assert caller.create_model(decomposed)["name"] == composed
    assert caller.get(f"/models/{decomposed}").status_code == 200
    assert fnmatchcase(composed, "caf?")


SOURCES = [f"models:/{MODEL}/1", f"models:/{MODEL}@best", f"models:/{MODEL}/latest"]


@pytest.mark.parametrize("source", SOURCES)
def test_version_is_copied_only_from_a_model_that_may_be_read(
    api: Driver, source: str
) -> None:
    api.ready_versions(1)
    api.put(f"/models/{MODEL}/aliases/best", json={"version": 1})
    api.create_model("churn-1")
    writer = {"role": "promoter", "models": "churn-*"}
    caller = api.with_token(**writer)
    rehearsal = {"name": "churn-1", "version": {"source": source}}
    create = "/api/2.0/mlflow/model-versions/create"
    body = {"name": "churn-1", "source": source}

    refused = caller.post("/models/churn-1/versions", {"source": source})
    assert MODEL in problem_of(refused, 403, "forbidden")["detail"]
    problem_of(caller.post("/rehearsals", rehearsal), 403, "forbidden")
    assert caller.client.post(create, json=body).status_code == 403
    assert api.stages("churn-1") == {}
    assert api.client.post(create, json=body).status_code == 200


def test_changed_rights_hold_from_the_next_request_on(api: Driver) -> None:
    api.create_model()
    caller = api.with_token(role="reader", models="fraud*")
    assert caller.get(f"/models/{MODEL}").status_code == 200

    with api.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tokens SET models = 'x' WHERE models <> '*'")

    assert caller.get(f"/models/{MODEL}").status_code == 403


def test_whole_log_is_verified_by_whoever_reads_all_of_it(api: Driver) -> None:
    api.create_model()
    caller = api.with_token(role="reader", models="fraud*")

    problem = problem_of(caller.get("/audit/verify"), 403, "forbidden")

    assert "say which model" in problem["detail"]
    assert document_of(caller.get(f"/audit/verify?model={MODEL}"))["ok"]


@pytest.mark.parametrize("body", [{}, {"name": None}, {"name": 7}, []])
def test_body_that_names_no_model_is_refused(api: Driver, body: object) -> None:
    caller = api.with_token(role="writer", models="fraud*")

    assert caller.post("/models", body).status_code == 422


def test_every_rule_is_tried(api: Driver) -> None:
    tried = {route.rule.rule for route in routes(api.app)}

    assert tried == {rule.rule for rule in api.app.url_map.iter_rules()}
    assert all(permission_of(api.app, r.rule.endpoint) for r in routes(api.app))


def test_what_others_uploaded_is_not_linked_by_its_address(
    api: Driver, tmp_path: Path
) -> None:
    """Whoever may read one model alone would be handed the others' artifacts."""
    api.ready_versions(1)
    uploaded = api.version(1)["source"]
    root = api.parts.store.root_uri
    api.create_model("churn-1")
    caller = api.with_token(role="promoter", models="churn-*")
    elsewhere = tmp_path / "data" / "artifacts" / "of-a-run"
    elsewhere.mkdir(parents=True)
    (elsewhere / "model.bin").write_bytes(b"1")

    for address in (
        *(uploaded, uploaded.rpartition("/")[0], f"{root}/artifacts/", root),
        *(f"{root}//artifacts", f"{root}/%61rtifacts", f"{root}/./artifacts"),
    ):
        answer = caller.post("/models/churn-1/versions", {"source": address})
        assert answer.status_code in {403, 422}, address
    problem_of(answer, 403, "forbidden")
    assert api.stages("churn-1") == {}
    assert caller.register("churn-1", source=f"{root}/of-a-run") == 1
    assert api.register("churn-1", source=uploaded) == 2


@ON_BOTH_DATABASES
@pytest.mark.parametrize("text", ["\0", "a" * 3000, "\U0001f600", "%00", "..", ""])
def test_ids_that_no_database_can_hold_are_refused(api: Driver, text: str) -> None:
    caller = api.with_token(role="promoter", models="fraud*")
    strange = Things(text, text, text, text, text)

    for route in routes(api.app):
        if "<name" not in route.rule.rule:
            status = sent(caller, strange, route).status_code
            assert status not in {500, 503}, (route, status)
