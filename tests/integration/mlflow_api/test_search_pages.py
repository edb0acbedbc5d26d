"""Pages of a search: orders, tokens, limits, and what a page costs."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from registry.mlflow_api import search
from registry.persistence.database import db
from registry.persistence.tables import ModelVersion, RegisteredModel
from registry.search import pages as search_pages
from tests.integration.api.driver import ON_BOTH_DATABASES
from tests.integration.conftest import close_app, make_app
from tests.integration.mlflow_api.driver import Mlflow, mlflow_client
from tests.integration.statements import statements_of
from tests.services.postgres import PostgresServer
from webhooks.statements import fetch

#: Made in this order, each with two versions; no order of names.
NAMES = ["m3", "m1", "M2", "m10", "é", "m2"]
BY_CODE_POINT = ["M2", "m1", "m10", "m2", "m3", "é"]
PROMPT_KEY = "mlflow.prompt.is_prompt"
SIGN_IN_AND_PAGE = 3  # which rows, and what is shown of them


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)],
)
def mlflow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mlflow]:
    """A registry that no test here changes."""
    directory: Path = tmp_path_factory.mktemp("pages")
    if request.param == "sqlite":
        yield from filled(directory)
        return
    template: str = request.getfixturevalue("migrated_postgres")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.fresh_database(template) as url:
        yield from filled(directory, DATABASE_URL=url)


def filled(directory: Path, **settings: str) -> Iterator[Mlflow]:
    app = make_app(directory, **settings)
    client = mlflow_client(app)
    for name in NAMES:
        client.create_model(name, tags=[{"key": "team", "value": "risk"}])
    for number in (1, 2):
        for name in NAMES:
            client.create_version(
                name, run_id=f"r{number}", tags=[{"key": "k", "value": "v"}]
            )
    client.create_model("prompt", tags=[{"key": PROMPT_KEY, "value": "true"}])
    yield client
    close_app(app)


MODELS, VERSIONS = "/registered-models/search", "/model-versions/search"
KEYS = {MODELS: "registered_models", VERSIONS: "model_versions"}


def page(mlflow: Mlflow, path: str, **fields: Any) -> tuple[list[str], str | None]:  # noqa: ANN401  # what JSON can say
    """What a page holds, as ``name`` or ``name:version``, and the next token."""
    answer = mlflow.done("GET", path, **fields)
    found = answer.get(KEYS[path], [])
    shown = [
        each["name"] + (f":{each['version']}" if path == VERSIONS else "")
        for each in found
    ]
    return shown, answer.get("next_page_token")


def pages(mlflow: Mlflow, path: str, **fields: Any) -> list[list[str]]:  # noqa: ANN401  # as above
    """Every page, one token after the other."""
    shown, token = page(mlflow, path, **fields)
    found = [shown]
    while token:
        shown, token = page(mlflow, path, page_token=token, **fields)
        found.append(shown)
    return found


def versions_of(*order: str, numbers: tuple[int, ...] = (2, 1)) -> list[str]:
    return [f"{name}:{number}" for name in order for number in numbers]


NEWEST_VERSIONS = [
    *(f"{name}:2" for name in reversed(NAMES)),
    *(f"{name}:1" for name in reversed(NAMES)),
]
ORDERS: list[tuple[str, list[str], list[str]]] = [
    (MODELS, [], BY_CODE_POINT),
    (MODELS, ["name"], BY_CODE_POINT),
    (MODELS, ["name DESC"], BY_CODE_POINT[::-1]),
    (MODELS, ["timestamp"], NAMES),
    (MODELS, ["last_updated_timestamp DESC", "name DESC"], NAMES[::-1]),
    (VERSIONS, [], NEWEST_VERSIONS),
    (VERSIONS, ["last_updated_timestamp"], NEWEST_VERSIONS[::-1]),
    (VERSIONS, ["creation_timestamp DESC"], NEWEST_VERSIONS),
    (VERSIONS, ["name"], versions_of(*BY_CODE_POINT)),
    (
        VERSIONS,
        ["name DESC", "version_number ASC"],
        versions_of(*BY_CODE_POINT[::-1], numbers=(1, 2)),
    ),
    (
        VERSIONS,
        ["version_number DESC"],
        [f"{name}:{number}" for number in (2, 1) for name in BY_CODE_POINT],
    ),
    (
        VERSIONS,
        ["version_number", "name DESC"],
        [f"{name}:{number}" for number in (1, 2) for name in BY_CODE_POINT[::-1]],
    ),
]
FILTERS = ["", "name LIKE '%'", "tags.{tag} = '{value}' AND name != 'nobody'"]


@pytest.mark.parametrize("case", ORDERS)
@pytest.mark.parametrize("text", FILTERS)
def test_pages_of_any_size_hold_all_once_in_the_order_asked_for(
    mlflow: Mlflow, case: tuple[str, list[str], list[str]], text: str
) -> None:
    path, order_by, expected = case
    tag, value = ("team", "risk") if path == MODELS else ("k", "v")
    fields = {"filter": text.format(tag=tag, value=value), "order_by": order_by}

    for size in (5, len(expected)) if text else (1, 5, len(expected)):
        found = pages(mlflow, path, max_results=size, **fields)

        assert [each for shown in found for each in shown] == expected
        assert [len(shown) for shown in found[:-1]] == [size] * (len(found) - 1)
        assert found[-1]


def test_ties_go_by_name_and_then_from_the_highest_version_down(app: Flask) -> None:
    mlflow = mlflow_client(app)
    for name in ("b", "a"):
        mlflow.create_versions(2, name)
    instant = datetime(2026, 11, 20, 12, tzinfo=UTC)
    with app.app_context():
        for table in (RegisteredModel, ModelVersion):
            db.session.execute(
                update(table).values(mlflow_updated_at=instant, created_at=instant)
            )
        db.session.commit()

    for order_by in ([], ["creation_timestamp"], ["last_updated_timestamp DESC"]):
        found = pages(mlflow, VERSIONS, max_results=1, order_by=order_by)

        assert found == [[each] for each in versions_of("a", "b")]
    assert pages(mlflow, MODELS, max_results=1, order_by="timestamp DESC") == [
        ["a"],
        ["b"],
    ]


def test_version_that_the_release_before_registered_is_on_a_page_once(
    app: Flask,
) -> None:
    mlflow = mlflow_client(app)
    for name in ("b", "a", "c"):
        mlflow.create_version(mlflow.create_model(name)["name"])
    with app.app_context():  # it knew nothing of this column
        unnamed = update(ModelVersion).where(ModelVersion.model_name == "c")
        db.session.execute(unnamed.values(model_name=""))
        db.session.commit()

    for order_by in ("version_number", "version_number DESC"):
        found = pages(mlflow, VERSIONS, max_results=1, order_by=[order_by])

        assert found == [["c:1"], ["a:1"], ["b:1"]]


@pytest.mark.parametrize("path", [MODELS, VERSIONS])
def test_full_last_page_has_no_token(mlflow: Mlflow, path: str) -> None:
    everything = len(NAMES) * (2 if path == VERSIONS else 1)

    assert page(mlflow, path, max_results=everything)[1] is None
    assert page(mlflow, path, max_results=everything - 1)[1] is not None
    assert page(mlflow, path)[1] is None


def test_page_goes_on_behind_what_was_shown_whatever_changed_meanwhile(
    app: Flask,
) -> None:
    mlflow = mlflow_client(app)
    for name in ("b", "d", "f"):
        mlflow.create_model(name)
    first, token = page(mlflow, MODELS, max_results=2)

    mlflow.create_model("a")
    mlflow.create_model("e")
    mlflow.done("DELETE", "/registered-models/delete", name="d")

    assert first == ["b", "d"]
    assert page(mlflow, MODELS, page_token=token) == (["e", "f"], None)


def test_token_goes_with_its_search_however_that_is_spelled(mlflow: Mlflow) -> None:
    _, token = page(mlflow, MODELS, filter="name != 'x'", max_results=2)

    spelled = 'attribute.name   !=   "x"'
    found, _ = page(mlflow, MODELS, filter=spelled, max_results=4, page_token=token)

    assert found == BY_CODE_POINT[2:]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (MODELS, {"filter": "name != 'y'"}),
        (MODELS, {}),
        (MODELS, {"filter": "name != 'x'", "order_by": "name DESC"}),
        (VERSIONS, {"filter": "name != 'x'"}),
    ],
)
def test_token_of_another_search_is_refused(
    mlflow: Mlflow, path: str, fields: dict[str, str]
) -> None:
    _, token = page(mlflow, MODELS, filter="name != 'x'", max_results=2)

    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE", "GET", path, page_token=token, **fields
    )

    assert message == (
        "Invalid value for parameter 'page_token': is a page token of another search"
    )


def forged(mlflow: Mlflow, *values: object) -> str:
    """A token of the default search of versions that says something else."""
    _, token = page(mlflow, VERSIONS, max_results=1)
    assert token is not None
    digest, *_ = json.loads(base64.urlsafe_b64decode(token))
    return encoded(json.dumps([digest, *values]))


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1],
        [1, "a", 2, 3],
        ["1", "a", 2],
        [1.5, "a", 2],
        [None, "a", 2],
        [10**30, "a", 2],
        [-(10**30), "a", 2],
        [1, 1, 2],
        [1, "a\0", 2],
        [1, "\ud800", 2],
        [1, "a", "2"],
        [1, "a", 2**31],
        [1, "a", [2]],
    ],
)
def test_token_that_no_page_has_given_is_refused(
    mlflow: Mlflow, values: list[object]
) -> None:
    token = forged(mlflow, *values)

    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE", "GET", VERSIONS, page_token=token
    )

    assert message.endswith("is not a page token of this search")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "....",
        "ü",
        encoded("{}"),
        encoded("[" * 3_000),
        encoded("{"),
        encoded("1"),
        "A" * 10_000,
    ],
)
def test_token_that_is_none_is_refused(mlflow: Mlflow, token: str) -> None:
    message = mlflow.refused("INVALID_PARAMETER_VALUE", "GET", MODELS, page_token=token)

    assert message.endswith("is not a page token of this search")


def test_empty_token_asks_for_the_first_page(mlflow: Mlflow) -> None:
    assert page(mlflow, MODELS, page_token="")[0] == BY_CODE_POINT


def test_models_come_by_the_hundred_and_versions_in_pages_of_bounded_size(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = mlflow_client(app)
    monkeypatch.setattr(search, "MAX_PAGE_OF_VERSIONS", 3)
    for number in range(101):
        mlflow.create_model(f"m{number:03}")
    for _ in range(4):
        mlflow.create_version("m000")

    assert [len(shown) for shown in pages(mlflow, MODELS)] == [100, 1]
    assert [len(shown) for shown in pages(mlflow, VERSIONS)] == [3, 1]
    assert [len(each) for each in pages(mlflow, VERSIONS, max_results=10_000)] == [3, 1]


@pytest.mark.parametrize(("path", "most"), [(MODELS, 1_000), (VERSIONS, 200_000)])
def test_as_many_may_be_asked_for_as_mlflow_lets(
    mlflow: Mlflow, path: str, most: int
) -> None:
    assert page(mlflow, path, max_results=most)[0]
    assert f"expected 1 to {most}" in mlflow.refused(
        "INVALID_PARAMETER_VALUE", "GET", path, max_results=most + 1
    )


@ON_BOTH_DATABASES
def test_page_ends_early_once_it_has_grown_large(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = mlflow_client(app)
    monkeypatch.setattr(search, "MAX_CHARACTERS", 1_000)
    for name in ("a", "b", "c", "d"):
        mlflow.create_model(name)
    mlflow.create_model("e", description="x" * 600)
    mlflow.create_model("f", tags=[{"key": "k", "value": "x" * 600}])
    mlflow.create_model("g")
    mlflow.create_version("a", description="x" * 1_001)
    mlflow.create_version("b", tags=[{"key": "k", "value": "x" * 600}])
    mlflow.create_version("c", run_link="x" * 600)
    mlflow.create_version("d")

    for asked in (100, 1_000):  # read at once, and in portions
        models = pages(mlflow, MODELS, max_results=asked)
        versions = pages(mlflow, VERSIONS, order_by="name", max_results=asked)

        assert models == [["a"], ["b", "c"], ["d", "e"], ["f", "g"]]
        assert versions == [["a:1"], ["b:1", "c:1"], ["d:1"]]


@ON_BOTH_DATABASES
def test_large_page_is_not_read_to_its_end(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = mlflow_client(app)
    monkeypatch.setattr(search_pages, "PORTION", 2)
    monkeypatch.setattr(search, "MAX_CHARACTERS", 1)
    mlflow.create_versions(9)
    read: list[object] = []

    def noted(*args: Any) -> list[Any]:  # noqa: ANN401  # as fetch has them
        rows = fetch(*args)
        if "ids" in args[2]:  # what is shown, not which are found
            read.extend(rows)
        return rows

    monkeypatch.setattr(search_pages, "fetch", noted)

    shown, token = page(mlflow, VERSIONS, max_results=9)

    assert len(shown) == 1
    assert token
    assert len(read) == 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (MODELS, ""),
        (MODELS, "name LIKE 'm%' AND tags.team = 'risk' AND tags.team LIKE 'r%'"),
        (VERSIONS, ""),
        (VERSIONS, "name LIKE 'm%' AND tags.k = 'v' AND run_id LIKE 'r%'"),
    ],
)
def test_page_takes_two_statements_and_the_sign_in_whatever_it_holds(
    mlflow: Mlflow, path: str, text: str
) -> None:
    page(mlflow, path, filter=text)  # notes that the token was used

    for size in (1, 3):
        with statements_of(mlflow.app) as statements:
            shown, token = page(mlflow, path, filter=text, max_results=size)

        assert len(shown) == size
        assert len(statements) == SIGN_IN_AND_PAGE

        with statements_of(mlflow.app) as statements:
            page(mlflow, path, filter=text, max_results=size, page_token=token)

        assert len(statements) == SIGN_IN_AND_PAGE


def test_searches_of_many_comparisons_leave_nothing_in_memory(mlflow: Mlflow) -> None:
    with mlflow.app.app_context():
        kept = db.engine._compiled_cache  # noqa: SLF001  # what grew by 4 MB a search
    assert kept is not None
    for path in (VERSIONS, MODELS):
        page(mlflow, path, filter="name != 'x'")
    before = len(kept)

    for count in range(2, 12):
        text = " AND ".join(f"tags.t{number} != 'x'" for number in range(count))
        page(mlflow, VERSIONS, filter=text)
        page(mlflow, MODELS, filter=text)

    assert len(kept) == before
