"""A name that stands twice in a query is refused, on every route of both APIs."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from registry.api.converters import NumberConverter
from tests.integration.api.driver import Driver, problem_of
from tests.integration.mlflow_api.driver import mlflow_client, refusal_of

OURS, MLFLOWS = "/api/v1/", ("/api/2.0/", "/ajax-api/", "/api/3.0/", "/model-versions/")
#: The description of the API and its page are files.
FILES = ("/api/v1/docs", "/api/v1/openapi.json")


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    """Method and path of every route of both APIs."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith((OURS, *MLFLOWS)) or rule.rule.startswith(FILES):
            continue
        values = {
            name: 1
            if isinstance(converter, NumberConverter)
            else next(iter(getattr(converter, "items", ["a"])))
            for name, converter in rule._converters.items()  # noqa: SLF001  # told nowhere else
        }
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, adapter.build(rule.endpoint, values, method=method)


def test_every_route_refuses_what_stands_twice(app: Flask, client: FlaskClient) -> None:
    asked = set(routes(app))
    assert len(asked) > 100
    for method, path in asked:
        for query in ("limit=1&limit=2", "nobody=1&nobody=1", "a=&b=2&%61="):
            answer = client.open(f"{path}?{query}", method=method)

            if path.startswith(OURS):
                detail = problem_of(answer, 400, "malformed")["detail"]
            else:
                detail = refusal_of(answer, "INVALID_PARAMETER_VALUE")
            assert "stands more than once" in detail, (method, path)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("registered-models/search", "order_by=name&order_by=timestamp"),
        ("registered-models/search", "orderBy=name&orderBy=timestamp"),
        (
            "registry-webhooks/list",
            "events=COMMENT_CREATED&events=MODEL_VERSION_CREATED",
        ),
    ],
)
def test_lists_of_mlflow_may_stand_several_times(
    app: Flask, path: str, query: str
) -> None:
    mlflow = mlflow_client(app)
    assert mlflow.api.client.get(f"{mlflow.root}/{path}?{query}").status_code == 200


def test_stages_of_mlflow_may_stand_several_times(app: Flask) -> None:
    mlflow = mlflow_client(app)
    mlflow.create_versions(1)

    asked = mlflow.api.client.get(
        f"{mlflow.root}/registered-models/get-latest-versions"
        "?name=fraud&stages=None&stages=Production"
    )

    assert asked.status_code == 200


def test_who_is_not_signed_in_is_told_that_first(app: Flask) -> None:
    answer = Driver(app, app.test_client()).get("/models?limit=1&limit=2")

    problem_of(answer, 401, "unauthenticated")
