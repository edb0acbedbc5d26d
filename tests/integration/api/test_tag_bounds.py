"""How many tags a model or version may have, by both APIs, and what a change costs."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from werkzeug.test import TestResponse

from registry.domain.names import (
    MAX_TAG_VALUE_CHARACTERS,
    MAX_TAGS,
    MAX_TAGS_CHARACTERS,
)
from tests.integration.api.driver import MODEL, Driver, problem_of
from tests.integration.mlflow_api.driver import SOURCE, Mlflow, refusal_of

ONE = f"/models/{MODEL}/versions/1"
TOO_MANY = {f"tag-{number}": "x" for number in range(MAX_TAGS + 1)}
LONGEST = "x" * MAX_TAG_VALUE_CHARACTERS
Send = Callable[[Driver, dict[str, str]], TestResponse]


def mlflow_tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


CHANGES: dict[str, Send] = {
    "new model": lambda api, tags: api.post("/models", {"name": "n", "tags": tags}),
    "model": lambda api, tags: api.patch(f"/models/{MODEL}", {"tags": tags}),
    "new version": lambda api, tags: api.post(
        f"/models/{MODEL}/versions", {"source": SOURCE, "tags": tags}
    ),
    "version": lambda api, tags: api.patch(ONE, {"tags": tags}),
    "version, removed": lambda api, tags: api.patch(ONE, {"tags": dict.fromkeys(tags)}),
}
MLFLOW_CHANGES: dict[str, Send] = {
    "new model": lambda api, tags: Mlflow(api).send(
        "POST", "/registered-models/create", name="n", tags=mlflow_tags(tags)
    ),
    "new version": lambda api, tags: Mlflow(api).send(
        "POST",
        "/model-versions/create",
        name=MODEL,
        source=SOURCE,
        tags=mlflow_tags(tags),
    ),
}


@pytest.fixture
def tagged(api: Driver) -> Driver:
    api.create_model()
    api.register(source=SOURCE)
    return api


@contextmanager
def locked(api: Driver) -> Iterator[None]:
    """The database, held by somebody else's change."""
    with closing(sqlite3.connect(str(api.engine.url.database))) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.rollback()


@pytest.mark.parametrize("send", CHANGES.values(), ids=CHANGES)
def test_more_tags_than_a_change_may_have_are_refused_before_anything_is_locked(
    tagged: Driver, send: Send
) -> None:
    before = tagged.dump()

    with locked(tagged):
        started = time.monotonic()
        problem = problem_of(send(tagged, TOO_MANY), 422, "invalid")
        seconds = time.monotonic() - started

    assert "5,000 tags" in str(problem["errors"]["tags"])
    assert seconds < 5
    assert tagged.dump() == before


@pytest.mark.parametrize("send", MLFLOW_CHANGES.values(), ids=MLFLOW_CHANGES)
def test_mlflow_s_clients_are_refused_before_anything_is_locked(
    tagged: Driver, send: Send
) -> None:
    before = tagged.dump()

    with locked(tagged):
        message = refusal_of(send(tagged, TOO_MANY), "INVALID_PARAMETER_VALUE")

    assert "5,000 tags" in message
    assert tagged.dump() == before


@pytest.mark.parametrize("what", [f"/models/{MODEL}", ONE], ids=["model", "version"])
def test_as_many_tags_as_a_change_may_have_are_taken_and_no_more_added(
    tagged: Driver, what: str
) -> None:
    most = dict(list(TOO_MANY.items())[:MAX_TAGS])

    assert tagged.patch(what, {"tags": most}).status_code == 200
    one_more = problem_of(tagged.patch(what, {"tags": {"more": ""}}), 422, "invalid")
    exchange = tagged.patch(what, {"tags": {"tag-0": None, "more": "", "tag-1": "y"}})

    assert "5,001 with" in str(one_more["errors"]["tags"])
    assert exchange.status_code == 200
    assert len(tagged.read(what)["tags"]) == MAX_TAGS


@pytest.mark.parametrize("what", ["model", "version"])
def test_tags_have_a_bound_in_all_however_many_changes_bring_them(
    tagged: Driver, what: str
) -> None:
    mlflow = Mlflow(tagged)
    path = {"model": "/registered-models", "version": "/model-versions"}[what]
    fields = {"name": MODEL} | ({"version": "1"} if what == "version" else {})
    fitting = MAX_TAGS_CHARACTERS // (MAX_TAG_VALUE_CHARACTERS + 3)

    for number in range(fitting):
        tag = {"key": f"{number:03}", "value": LONGEST}
        mlflow.done("POST", f"{path}/set-tag", **fields, **tag)
    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE",
        "POST",
        f"{path}/set-tag",
        **fields,
        key="one-more",
        value=LONGEST,
    )
    mlflow.done("DELETE", f"{path}/delete-tag", **fields, key="000")
    mlflow.done("POST", f"{path}/set-tag", **fields, key="one-more", value=LONGEST)

    assert "2,000,000 characters" in message
