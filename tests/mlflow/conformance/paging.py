"""Pages of both searches."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

MODELS = "/registered-models/search"
VERSIONS = "/model-versions/search"
BAD_TOKENS = ("garbage", "====", "AAAA", "eyJvZmZzZXQiOiAieCJ9")
NO_NUMBERS = ("many", "1.5", "")


def seven(world: World) -> tuple[str, list[str]]:
    """A filter and the names of the seven models that it finds."""
    start = world.name("")
    made = [f"{start}{number}" for number in range(7)]
    for name in made:
        world.client.create_registered_model(name)
    return f"name LIKE '{start}%'", made


def follow(
    call: Callable[..., Any], text: str, size: int, **options: object
) -> list[list[Any]]:
    """Every page, by the client's own tokens."""
    pages, token = [], None
    while True:
        page = call(text, max_results=size, page_token=token, **options)
        pages.append(list(page))
        token = page.token
        if not token:
            return pages


@CASES.case
def pages_of_models_hold_each_one_once(world: World) -> None:
    text, made = seven(world)
    pages = follow(world.client.search_registered_models, text, 3)
    assert [[model.name for model in page] for page in pages] == [
        made[:3],
        made[3:6],
        made[6:],
    ]


@CASES.case
def pages_of_versions_hold_each_one_once(world: World) -> None:
    name = world.model()
    for _ in range(7):
        world.version(name)
    pages = follow(
        world.client.search_model_versions,
        f"name = '{name}'",
        3,
        order_by=["version_number ASC"],
    )
    assert [[int(version.version) for version in page] for page in pages] == [
        [1, 2, 3],
        [4, 5, 6],
        [7],
    ]


@CASES.case
def pages_in_the_default_order_hold_each_version_once(world: World) -> None:
    name = world.model()
    for _ in range(7):
        world.version(name)
    pages = follow(world.client.search_model_versions, f"name = '{name}'", 2)
    found = [int(version.version) for page in pages for version in page]
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7]


@CASES.case
def pages_in_another_order_hold_each_model_once(world: World) -> None:
    text, made = seven(world)
    for order in ("name DESC", "timestamp ASC", "timestamp DESC"):
        pages = follow(world.client.search_registered_models, text, 2, order_by=[order])
        found = [model.name for page in pages for model in page]
        assert sorted(found) == made


@CASES.case
def pages_may_grow_from_one_to_the_next(world: World) -> None:
    text, _ = seven(world)
    find = world.client.search_registered_models
    name = world.model()
    for _ in range(7):
        world.version(name)
    versions = partial(
        world.client.search_model_versions, order_by=["version_number ASC"]
    )
    for call, asked in ((find, text), (versions, f"name = '{name}'")):
        first = call(asked, max_results=1)
        second = call(asked, max_results=2, page_token=first.token)
        last = call(asked, max_results=100, page_token=second.token)
        assert [len(page) for page in (first, second, last)] == [1, 2, 4]
        assert not last.token


@CASES.case
def a_last_page_that_is_full_has_no_token(world: World) -> None:
    text, _ = seven(world)
    answer = world.get(MODELS, filter=text, max_results=7).document
    assert len(answer["registered_models"]) == 7
    assert "next_page_token" not in answer
    answer = world.get(MODELS, filter=text, max_results=6).document
    assert len(answer["registered_models"]) == 6
    assert answer["next_page_token"]


@CASES.each(BAD_TOKENS)
def a_token_that_is_none_is_refused(world: World, token: str) -> None:
    for path in (MODELS, VERSIONS):
        answer = world.get(path, page_token=token)
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(NO_NUMBERS)
def a_size_that_is_no_number_is_refused(world: World, size: str) -> None:
    for path in (MODELS, VERSIONS):
        answer = world.get(path, max_results=size)
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(
    ({"page_token": "🚀"}, {"max_results": "1e3"}, {"max_results": "9" * 30}),
    stricter="MLflow fails at signs that it does not expect",
)
def odd_signs_are_refused(world: World, query: dict[str, str]) -> None:
    for path in (MODELS, VERSIONS):
        answer = world.get(path, **query)
        if not world.is_mlflow:
            answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_size_beyond_the_limit_is_refused(world: World) -> None:
    answer = world.get(MODELS, max_results=1001)
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "max_results")
    answer = world.get(VERSIONS, max_results=200_001)
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "max_results")


@CASES.case
def the_limit_itself_is_taken(world: World) -> None:
    text, made = seven(world)
    answer = world.get(MODELS, filter=text, max_results=1000).document
    assert len(answer["registered_models"]) == len(made)
    name = world.version().name
    found = world.get(VERSIONS, filter=f"name = '{name}'", max_results=200_000)
    assert len(found.document["model_versions"]) == 1


@CASES.each((0, -1), stricter="MLflow gives an empty page with a token, without end")
def a_page_of_no_models_is_refused(world: World, size: int) -> None:
    answer = world.get(MODELS, max_results=size)
    if not world.is_mlflow:
        answer.refuses(400, "INVALID_PARAMETER_VALUE", "max_results")


@CASES.each((0, -1))
def a_page_of_no_versions_is_refused(world: World, size: int) -> None:
    answer = world.get(VERSIONS, max_results=size)
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "max_results")


@CASES.case
def a_hundred_models_are_a_page_unless_told_otherwise(world: World) -> None:
    start = world.name("")
    for number in range(101):
        name = f"{start}{number:03}"
        world.post("/registered-models/create", {"name": name}).succeeds()
    answer = world.get(MODELS, filter=f"name LIKE '{start}%'").document
    assert len(answer["registered_models"]) == 100
    last = world.get(
        MODELS,
        filter=f"name LIKE '{start}%'",
        page_token=answer["next_page_token"],
    ).document
    assert len(last["registered_models"]) == 1
    assert "next_page_token" not in last
