"""What a search finds: MLflow's filters, answered as MLflow's own server does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import close_app, make_app
from tests.integration.mlflow_api.driver import (
    AJAX_ROOT,
    SOURCE,
    Mlflow,
    mlflow_client,
)
from tests.services.postgres import PostgresServer

PROMPT = "tags.`mlflow.prompt.is_prompt`"
HEAD = "x" * 200  # what an index holds of a long text
#: Name, and tags of the model and of its version.
WORLD: dict[str, dict[str, str]] = {
    "a": {"k": "x", "long": HEAD},
    "B": {"k": "Y", "long": HEAD + "y"},
    "a%b": {"we ird": "1", "k": "it's"},
    "a_b": {"long": HEAD[1:]},
    "a*b": {},
    "a[b]?": {},
    "axb": {"mlflow.prompt.is_prompt": "true"},
    "c": {"mlflow.prompt.is_prompt": "false", "k": "x"},
    "d": {"mlflow.prompt.is_prompt": "True"},
    "it's": {"sub/key:1.0-b": "v"},
    'say "so"': {"k": ""},
    "back\\slash": {"k": "a\\%"},
    "Äpfel": {"k": "Ä"},
    "äpfel": {},
    "Ωmega😀": {"k": "😀"},
    "' OR ''='": {},
}
PROMPTS = {"axb"}
ALL = set(WORLD) - PROMPTS
#: Two versions of one model, with runs and sources that differ at their ends.
RUNS = {1: "run-1", 2: HEAD + "-2"}
SOURCES = {1: "s3://models/one", 2: f"s3://models/{HEAD}/two"}


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)],
)
def mlflow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mlflow]:
    """A registry that no test here changes."""
    directory: Path = tmp_path_factory.mktemp("search")
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
    for name, tags in WORLD.items():
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        client.create_model(name, tags=listed)
        is_prompt = tags.get("mlflow.prompt.is_prompt", "").lower() == "true"
        source = "dummy-source" if is_prompt else SOURCE
        client.create_version(name, tags=listed, source=source)
    client.create_model("runs")
    for number, run_id in RUNS.items():
        client.create_version("runs", run_id=run_id, source=SOURCES[number])
    deleted = {"name": "deleted"}
    client.create_model(**deleted)
    client.create_version(**deleted)
    client.done("DELETE", "/registered-models/delete", **deleted)
    client.create_version("a")
    client.done("DELETE", "/model-versions/delete", name="a", version="2")
    yield client
    close_app(app)


def models(mlflow: Mlflow, text: str) -> set[str]:
    answer = mlflow.done("GET", "/registered-models/search", filter=text)
    names = [model["name"] for model in answer.get("registered_models", [])]
    assert len(names) == len(set(names))
    return set(names) - {"runs"}


def versions(mlflow: Mlflow, text: str) -> set[str]:
    answer = mlflow.done("GET", "/model-versions/search", filter=text)
    found = [
        f"{version['name']}:{version['version']}"
        for version in answer.get("model_versions", [])
    ]
    assert len(found) == len(set(found))
    return set(found)


FOUND = [
    ("name = 'a'", {"a"}),
    ("name = 'A'", set()),
    ("name = 'nobody'", set()),
    ("name = ''", set()),
    ('name = "it\'s"', {"it's"}),
    ("name = 'say \"so\"'", {'say "so"'}),
    ("name = 'back\\slash'", {"back\\slash"}),
    ("name = \"' OR ''='\"", {"' OR ''='"}),
    ("name != 'a'", ALL - {"a"}),
    ("name IN ('a', 'B', 'nobody', 'axb')", {"a", "B"}),
    ("name NOT IN ('a', 'B')", ALL - {"a", "B"}),
    ("name LIKE 'a'", {"a"}),
    ("name LIKE 'A%'", set()),
    ("name LIKE 'a%'", {"a", "a%b", "a_b", "a*b", "a[b]?"}),
    ("name LIKE 'a_b'", {"a%b", "a_b", "a*b"}),
    ("name LIKE 'a*b'", {"a*b"}),
    ("name LIKE 'a[b]?'", {"a[b]?"}),
    ("name LIKE 'a[%'", {"a[b]?"}),
    ("name LIKE '%b'", {"a%b", "a_b", "a*b"}),
    ("name LIKE 'a\\%'", set()),
    ("name LIKE 'back\\%'", {"back\\slash"}),
    ("name LIKE '%\\\\%'", set()),
    ("name LIKE '%😀'", {"Ωmega😀"}),
    ("name LIKE 'Ω%'", {"Ωmega😀"}),
    ("name LIKE '_'", {"a", "B", "c", "d"}),
    ("name LIKE ''", set()),
    ("name LIKE '%'", ALL),
    ("name ILIKE 'A%'", {"a", "a%b", "a_b", "a*b", "a[b]?"}),
    ("name ILIKE 'b'", {"B"}),
    ("name ILIKE 'A[B]?'", {"a[b]?"}),
    ("name ILIKE 'IT''S'", set()),
    ("name LIKE 'a%' AND name LIKE '%b'", {"a%b", "a_b", "a*b"}),
    ("name LIKE 'a%' AND name != 'a'", {"a%b", "a_b", "a*b", "a[b]?"}),
    ("tags.k = 'x'", {"a", "c"}),
    ("tag.k = 'X'", set()),
    ("tags.k != 'x'", {"B", "a%b", 'say "so"', "back\\slash", "Äpfel", "Ωmega😀"}),
    ("tags.nobody != 'x'", set()),
    ("tags.k = ''", {'say "so"'}),
    ('tags.k = "it\'s"', {"a%b"}),
    ("tags.k LIKE 'x%'", {"a", "c"}),
    ("tags.k LIKE 'X%'", set()),
    ("tags.k LIKE '%'", set(WORLD) & {n for n in ALL if "k" in WORLD[n]}),
    ("tags.k LIKE 'a\\%'", {"back\\slash"}),
    ("tags.k LIKE '_'", {"a", "B", "c", "Äpfel", "Ωmega😀"}),
    ("tags.k ILIKE 'y'", {"B"}),
    ("tags.`we ird` = '1'", {"a%b"}),
    ("tags.\"we ird\" LIKE '1'", {"a%b"}),
    ("tags.`sub/key:1.0-b` = 'v'", {"it's"}),
    ("tags.k = 'x' AND tags.k LIKE '%x'", {"a", "c"}),
    ("tags.k = 'x' AND tags.k = 'Y'", set()),
    ("tags.k = 'x' AND name = 'c'", {"c"}),
    ("tags.k = 'x' AND tags.long != 'y' AND name LIKE 'a%'", {"a"}),
    (f"tags.long = '{HEAD}'", {"a"}),
    (f"tags.long = '{HEAD}y'", {"B"}),
    (f"tags.long = '{HEAD[1:]}'", {"a_b"}),
    (f"tags.long LIKE '{HEAD}_'", {"B"}),
    (f"tags.long LIKE '{HEAD}%'", {"a", "B"}),
    (f"{PROMPT} != 'true'", ALL),
    (f"{PROMPT} = 'false'", ALL),
    (f"{PROMPT} LIKE 'true'", ALL),
    (f"{PROMPT} = 'true'", {"axb"}),
    (f"{PROMPT} = 'True'", {"d"}),
    (f"{PROMPT} != 'false'", {"axb", "d"}),
    (f"{PROMPT} = 'true' AND {PROMPT} != 'true'", set()),
    (f"{PROMPT} != 'true' AND {PROMPT} = 'true'", ALL),
    (f"name LIKE 'a_b' AND {PROMPT} = 'true'", {"axb"}),
    (
        "name LIKE 'a_b' AND tag.`mlflow.prompt.is_prompt` != 'true'",
        {"a%b", "a_b", "a*b"},
    ),
]


@pytest.mark.parametrize(("text", "names"), FOUND)
def test_filter_finds_models(mlflow: Mlflow, text: str, names: set[str]) -> None:
    assert models(mlflow, text) == names


@pytest.mark.parametrize(("text", "names"), FOUND)
def test_filter_finds_versions_by_their_own_tags_and_the_name_of_their_model(
    mlflow: Mlflow, text: str, names: set[str]
) -> None:
    found = versions(mlflow, text)

    assert found - {"runs:1", "runs:2"} == {f"{name}:1" for name in names}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("run_id = 'run-1'", {1}),
        (f"run_id = '{RUNS[2]}'", {2}),
        (f"run_id = '{HEAD}'", set()),
        (f"run_id = '{HEAD}-3'", set()),
        ("run_id != 'run-1' AND name = 'runs'", {2}),
        ("run_id IN ('run-1', 'run-2')", {1}),
        (f"run_id IN ('run-1', '{RUNS[2]}', '{HEAD}')", {1, 2}),
        ("run_id NOT IN ('run-1') AND name = 'runs'", {2}),
        ("run_id LIKE 'run-%'", {1}),
        ("run_id LIKE '%-2'", {2}),
        (f"run_id LIKE '{HEAD}-%'", {2}),
        (f"run_id LIKE '{HEAD}_%' AND name LIKE 'r%'", {2}),
        ("run_id LIKE 'RUN-%'", set()),
        ("run_id ILIKE 'RUN-%'", {1}),
        ("source_path = 's3://models/one'", {1}),
        ("source_path != 's3://models/one' AND name = 'runs'", {2}),
        (f"source_path = '{SOURCES[2]}'", {2}),
        ("source_path LIKE 's3://models/%'", {1, 2}),
        ("source_path LIKE '%/two'", {2}),
        ("source_path ILIKE 'S3://MODELS/%'", {1, 2}),
        ("name = 'runs'", {1, 2}),
        ("name = 'runs' AND version_number = 1", {1}),
        ("name = 'runs' AND version_number != 1", {2}),
        ("name = 'runs' AND version_number > 1", {2}),
        ("name = 'runs' AND version_number >= '1'", {1, 2}),
        ("name = 'runs' AND version_number < 2", {1}),
        ("name = 'runs' AND version_number <= 1", {1}),
        ("name = 'runs' AND version_number = -1", set()),
        ("version_number > 1", {2}),
        ("version_number = 999999999999999999", set()),
        ("name = 'runs' AND version_number < 999999999999999999", {1, 2}),
    ],
)
def test_filter_finds_versions_by_what_only_they_have(
    mlflow: Mlflow, text: str, numbers: set[int]
) -> None:
    assert versions(mlflow, text) == {f"runs:{number}" for number in numbers}


def test_no_filter_finds_all_but_prompts_and_what_is_deleted(mlflow: Mlflow) -> None:
    assert models(mlflow, "") == ALL
    assert versions(mlflow, "") == {f"{name}:1" for name in ALL} | {"runs:1", "runs:2"}


@pytest.mark.parametrize(
    ("text", "finds"),
    [
        ("run_id = ''", True),
        ("run_id = 'x'", False),
        ("run_id != 'x'", True),
        ("run_id != ''", False),
        ("run_id IN ('x', '')", True),
        ("run_id IN ('x')", False),
        ("run_id NOT IN ('x')", True),
        ("run_id NOT IN ('x', '')", False),
        ("run_id LIKE '%'", True),
        ("run_id LIKE ''", True),
        ("run_id ILIKE '%%'", True),
        ("run_id LIKE '_%'", False),
    ],
)
def test_version_without_a_run_has_an_empty_one(
    mlflow: Mlflow, text: str, *, finds: bool
) -> None:
    without_run = {f"{name}:1" for name in ALL}

    assert versions(mlflow, text) & without_run == (without_run if finds else set())


def test_names_compare_without_case_in_every_alphabet_on_sqlite(
    mlflow: Mlflow,
) -> None:
    if mlflow.api.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL folds what the locale of its database folds")

    assert models(mlflow, "name ILIKE 'äPFEL'") == {"Äpfel", "äpfel"}
    assert models(mlflow, "name ILIKE 'ωMEGA_'") == {"Ωmega😀"}
    assert models(mlflow, "name LIKE 'äp%'") == {"äpfel"}


def test_decomposed_name_in_a_filter_finds_the_composed_one(mlflow: Mlflow) -> None:
    assert models(mlflow, "name = 'A\u0308pfel'") == {"Äpfel"}


def test_found_model_has_what_showing_it_shows(mlflow: Mlflow) -> None:
    answer = mlflow.done("GET", "/registered-models/search", filter="name = 'a'")

    shown = mlflow.model("a")
    assert answer == {"registered_models": [shown]}
    assert shown["latest_versions"][0]["tags"]


def test_found_version_has_what_showing_it_shows_but_aliases(mlflow: Mlflow) -> None:
    answer = mlflow.done(
        "GET", "/model-versions/search", filter="name = 'runs' AND version_number = 1"
    )

    assert answer == {"model_versions": [mlflow.version(1, "runs")]}


def test_nothing_found_is_an_empty_object(mlflow: Mlflow) -> None:
    for kind in ("registered-models", "model-versions"):
        assert mlflow.done("GET", f"/{kind}/search", filter="name = 'nobody'") == {}


def test_search_is_mounted_for_pages_in_a_browser_too(mlflow: Mlflow) -> None:
    pages = Mlflow(mlflow.api, root=AJAX_ROOT)

    assert models(pages, "name = 'a'") == {"a"}


def test_everybody_signed_in_may_search_and_nobody_else(mlflow: Mlflow) -> None:
    path = f"{mlflow.root}/model-versions/search"

    assert models(mlflow.with_role("viewer"), "name = 'a'") == {"a"}
    assert mlflow.app.test_client().get(path).status_code == 401


def test_search_may_be_asked_in_a_json_body(mlflow: Mlflow) -> None:
    answer = mlflow.api.client.get(
        f"{mlflow.root}/registered-models/search",
        json={"filter": "name LIKE 'a_b'", "orderBy": ["name DESC"], "maxResults": 2},
    )

    found = [model["name"] for model in answer.get_json()["registered_models"]]
    assert found == ["a_b", "a*b"]


@pytest.mark.parametrize("kind", ["registered-models", "model-versions"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"filter": "name = 'a' OR name = 'b'"},
            "parameter 'filter': at character 12, found \"OR name = 'b'\": expected",
        ),
        ({"filter": "stage = 'Production'"}, "expected one of name"),
        ({"filter": "name = 'a\0'"}, "NUL"),
        ({"order_by": "description"}, "parameter 'order_by'"),
        ({"order_by": ["name", "name DESC"]}, "name is named twice"),
        ({"max_results": "0"}, "parameter 'max_results'"),
        ({"max_results": "-1"}, "parameter 'max_results'"),
        ({"max_results": "200001"}, "parameter 'max_results'"),
        ({"max_results": "many"}, "max_results"),
        ({"filter": ["name = 'a'", "name = 'b'"]}, "more than once"),
    ],
)
def test_search_that_cannot_be_read_is_refused_with_the_reason(
    mlflow: Mlflow, kind: str, fields: dict[str, object], message: str
) -> None:
    code = "INVALID_PARAMETER_VALUE"

    assert message in mlflow.refused(code, "GET", f"/{kind}/search", **fields)


@pytest.mark.parametrize(
    "text",
    [
        "name LIKE '" + "%a" * 1_000 + "'",
        "name ILIKE '" + "ǆ" * 2_000 + "'",
        "name LIKE '" + "[" * 2_000 + "'",
        "tags.k LIKE '" + "_%" * 1_000 + "'",
        " AND ".join(["tags.k != 'x'"] * 100),
        " AND ".join([f"tags.t{number} = 'x'" for number in range(100)]),
        " AND ".join([f"tags.t{number} LIKE 'x%'" for number in range(100)]),
        "name IN (" + ",".join(f"'{number}'" for number in range(1_000)) + ")",
        "name NOT IN ("
        + ",".join(f"'{n}'" for n in range(1_000))
        + ") AND tags.k = ''",
        "name LIKE '\U0010ffff%' AND name LIKE '\ud7ff%'",
    ],
)
def test_search_at_the_limits_is_answered(mlflow: Mlflow, text: str) -> None:
    for kind in ("registered-models", "model-versions"):
        answer = mlflow.api.client.get(
            f"{mlflow.root}/{kind}/search", json={"filter": text}
        )

        assert answer.status_code == 200, answer.get_data(as_text=True)
