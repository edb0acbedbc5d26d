"""Whatever a field holds, no call ends in a failure of ours."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document
from tests.integration.mlflow_api.driver import ROOT, SOURCE, Mlflow

VERSION = {"name": MODEL, "version": "1"}
NEW = {"name": MODEL, "source": SOURCE}
CALLS: tuple[tuple[str, str, Document], ...] = (
    (
        "POST",
        "/registered-models/create",
        {"name": "other", "description": "d", "tags": [{"key": "a", "value": "b"}]},
    ),
    ("GET", "/registered-models/get", {"name": MODEL}),
    ("PATCH", "/registered-models/update", {"name": MODEL, "description": "d"}),
    ("POST", "/registered-models/rename", {"name": MODEL, "new_name": MODEL}),
    ("DELETE", "/registered-models/delete", {"name": "absent"}),
    ("GET", "/registered-models/get-latest-versions", {"name": MODEL, "stages": "x"}),
    ("POST", "/registered-models/get-latest-versions", {"name": MODEL, "stages": []}),
    ("POST", "/registered-models/set-tag", {"name": MODEL, "key": "a", "value": "b"}),
    ("DELETE", "/registered-models/delete-tag", {"name": MODEL, "key": "a"}),
    ("POST", "/registered-models/alias", {**VERSION, "alias": "a"}),
    ("GET", "/registered-models/alias", {"name": MODEL, "alias": "a"}),
    ("DELETE", "/registered-models/alias", {"name": MODEL, "alias": "a"}),
    (
        "POST",
        "/model-versions/create",
        {
            "name": MODEL,
            "source": SOURCE,
            "run_id": "r",
            "run_link": "l",
            "description": "d",
            "model_id": "m",
            "tags": [],
        },
    ),
    ("GET", "/model-versions/get", VERSION),
    ("PATCH", "/model-versions/update", {**VERSION, "description": "d"}),
    (
        "POST",
        "/model-versions/transition-stage",
        {**VERSION, "stage": "Staging", "archive_existing_versions": False},
    ),
    ("DELETE", "/model-versions/delete", {"name": MODEL, "version": "9"}),
    ("POST", "/model-versions/set-tag", {**VERSION, "key": "a", "value": "b"}),
    ("DELETE", "/model-versions/delete-tag", {**VERSION, "key": "a"}),
)
TEXTS = (
    *("", " ", "\0", "a\0b", "\ud800", "\n", "/", "..", "%00", "'; --", "\\", "%", "_"),
    *(
        "x" * 300,
        "9" * 40,
        "-1",
        "1_0",
        "٣",
        "NaN",
        "1e9",
        "s3://",
        "s3://[",
        "models:/x",
    ),
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    *(None, 0, -1, 2**63, 10**40, 1.5, True, [], [None], [[]], [{}], {}, {"a": {}}),
    *([{"key": "\0", "value": "x"}], [{"key": "a", "value": "\ud800"}], [1], ["\0"]),
)


def send_body(mlflow: Mlflow, method: str, path: str, fields: Document) -> int:
    answer = mlflow.api.client.open(
        ROOT + path,
        method=method,
        data=json.dumps(fields),
        content_type="application/json",
    )
    assert isinstance(answer.get_json(), dict)
    return answer.status_code


def send_query(mlflow: Mlflow, path: str, fields: Document) -> int:
    query = "&".join(
        f"{name}={quote(str(value).encode(errors='surrogatepass'))}"
        for name, value in fields.items()
    )
    return mlflow.api.client.get(f"{ROOT}{path}?{query}").status_code


@ON_BOTH_DATABASES
def test_no_value_of_a_field_makes_the_registry_fail(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    statuses: dict[tuple[str, ...], int] = {}
    for method, path, fields in CALLS:
        for field in fields:
            for value in VALUES:
                sent = {**fields, field: value}
                where = (method, path, field, repr(value)[:40])
                statuses[where] = send_body(mlflow, method, path, sent)
                if method == "GET":
                    statuses[*where, "query"] = send_query(mlflow, path, sent)

    assert {each: s for each, s in statuses.items() if s not in {200, 400, 404}} == {}


@ON_BOTH_DATABASES
def test_fields_that_are_all_wrong_store_nothing(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    before = mlflow.api.dump()

    for method, path, fields in CALLS:
        for value in (5, {"a": 1}, "\0", [["x"]]):
            wrong = dict.fromkeys(fields, value)
            assert send_body(mlflow, method, path, wrong) == 400

    assert mlflow.api.dump() == before


@pytest.mark.parametrize(
    ("place", "field", "most"),
    [
        (("POST", "/registered-models/create", {"name": "n"}), "description", 20_000),
        (
            ("PATCH", "/registered-models/update", {"name": MODEL}),
            "description",
            20_000,
        ),
        (("POST", "/model-versions/create", NEW), "description", 20_000),
        (("POST", "/model-versions/create", NEW), "run_id", 1_000),
        (("POST", "/model-versions/create", NEW), "model_id", 1_000),
        (("POST", "/model-versions/create", NEW), "run_link", 2_000),
        (("PATCH", "/model-versions/update", VERSION), "description", 20_000),
        (
            (
                "POST",
                "/databricks/model-versions/transition-stage",
                {**VERSION, "stage": "Staging"},
            ),
            "comment",
            20_000,
        ),
        (("POST", "/comments/create", VERSION), "comment", 65_535),
    ],
)
def test_text_has_the_bound_that_it_has_elsewhere(
    mlflow: Mlflow, place: tuple[str, str, Document], field: str, most: int
) -> None:
    mlflow.create_versions(1)
    method, path, fields = place
    longer = {**fields, field: "é" * (most + 1)}

    message = mlflow.refused("INVALID_PARAMETER_VALUE", method, path, **longer)

    assert f"'{field}'" in message
    assert str(most) in message
    mlflow.done(method, path, **{**fields, field: "é" * most})
