"""What a registry is asked in a load, by MLflow's protocol, and what it holds before.

- Names are made of an index, so that nothing is listed to be found. Reads go to the
  first four fifths of the models, whose answers never change; writes to the last one.
- A request fails whose status is not 200 or whose body lacks what it must hold.
"""

import random
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

BIG = "bench-big"
TRIVIAL = "trivial"  #: the route of ``limits``
_NEXT_PAGE = re.compile(rb'"next_page_token":\s*"([^"]+)"')


@dataclass(frozen=True, kw_only=True)
class Registry:
    """What a server holds once it is seeded."""

    models: int = 1000
    versions: int = 5
    big_versions: int = 500

    @property
    def read_only(self) -> int:
        return self.models * 4 // 5


@dataclass(frozen=True)
class Request:
    """One request and what its answer must hold."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    holds: str = ""


#: Asks for one thing after the other; is sent each answer.
Script = Generator[Request, bytes, None]


def model_name(index: int) -> str:
    """The name of a model: a hundred of them share a part."""
    return f"bench-{index // 100:04d}-{index % 100:02d}"


def read_model(registry: Registry, chance: random.Random) -> Script:
    while True:
        yield _get_model(model_name(chance.randrange(registry.read_only)))


def read_version(registry: Registry, chance: random.Random) -> Script:
    while True:
        yield _get_version(chance.randrange(registry.read_only), registry, chance)


def read_latest(registry: Registry, chance: random.Random) -> Script:
    while True:
        yield _get_latest(chance.randrange(registry.read_only), "Production")


def search_versions(registry: Registry, chance: random.Random) -> Script:
    while True:
        name = model_name(chance.randrange(registry.read_only))
        fields = {"filter": f"name='{name}'", "max_results": 10000}
        yield _search("model-versions", fields, name)


def search_like(registry: Registry, chance: random.Random) -> Script:
    """A hundred models of a name, in pages of 25."""
    while True:
        hundred = chance.randrange(max(1, registry.read_only // 100))
        like: dict[str, object] = {
            "filter": f"name LIKE '%-{hundred:04d}-%'",
            "max_results": 25,
        }
        yield from _pages(like, at_most=4)


def list_models(_registry: Registry, _chance: random.Random) -> Script:
    """All models, in pages of 100, as far as the tenth."""
    while True:
        yield from _pages({"max_results": 100}, at_most=10)


def _pages(fields: dict[str, object], *, at_most: int) -> Script:
    token = None
    for _ in range(at_most):
        here = fields | {"page_token": token} if token else fields
        answer = yield _search("registered-models", here, '"name"')
        found = _NEXT_PAGE.search(answer)  # to parse it all would be a load itself
        if found is None:
            return
        token = found[1].decode()


def read_big_model(_registry: Registry, _chance: random.Random) -> Script:
    while True:
        yield _get_model(BIG)


def create_version(registry: Registry, chance: random.Random) -> Script:
    while True:
        yield new_version(_written(registry, chance), chance.randrange(10**9))


def move_version(registry: Registry, chance: random.Random) -> Script:
    while True:
        name = _written(registry, chance)
        number = chance.randrange(1, registry.versions + 1)
        for stage in ("Staging", "Production", "Archived"):
            yield transition(name, number, stage, archives=stage != "Archived")


def trivial(_registry: Registry, _chance: random.Random) -> Script:
    while True:
        yield Request("GET", TRIVIAL, holds=TRIVIAL)


def mixed(registry: Registry, chance: random.Random) -> Script:
    """40 % latest, 40 % a version, 10 % new versions, 10 % moves, of some models."""
    created, moved = create_version(registry, chance), move_version(registry, chance)
    while True:
        share = chance.random()
        index = chance.randrange(registry.read_only, registry.models)
        if share < 0.4:
            yield _get_latest(index, "")
        elif share < 0.8:
            yield _get_version(index, registry, chance)
        else:
            yield next(created if share < 0.9 else moved)  # neither wants an answer


OPERATIONS: Mapping[str, Callable[[Registry, random.Random], Script]] = {
    "get model": read_model,
    "get version": read_version,
    "latest by stage": read_latest,
    "search versions": search_versions,
    "search LIKE": search_like,
    "page of 100 models": list_models,
    "model of 500 versions": read_big_model,
    "create version": create_version,
    "transition": move_version,
    "mixed": mixed,
    TRIVIAL: trivial,
}


def _written(registry: Registry, chance: random.Random) -> str:
    return model_name(chance.randrange(registry.read_only, registry.models))


def _get_model(name: str) -> Request:
    return Request("GET", f"registered-models/get?name={name}", holds=name)


def _get_version(index: int, registry: Registry, chance: random.Random) -> Request:
    name, number = model_name(index), chance.randrange(1, registry.versions + 1)
    path = f"model-versions/get?name={name}&version={number}"
    return Request("GET", path, holds=name)


def _get_latest(index: int, holds: str) -> Request:
    fields = {"name": model_name(index), "stages": ["Production"]}
    return Request("POST", "registered-models/get-latest-versions", fields, holds)


def _search(kind: str, fields: Mapping[str, object], holds: str) -> Request:
    return Request("GET", f"{kind}/search?{urlencode(fields)}", holds=holds)


def new_version(name: str, mark: int) -> Request:
    """The next version of a model, with two tags."""
    fields = {
        "name": name,
        "source": f"s3://bench-bucket/{name}/{mark}/artifacts/model",
        "tags": [
            {"key": "git_sha", "value": f"{mark:040x}"},
            {"key": "trained_by", "value": "ci-pipeline"},
        ],
        "description": f"candidate {mark} of {name}, trained by the nightly pipeline",
    }
    return Request("POST", "model-versions/create", fields, '"version"')


def transition(name: str, number: int, stage: str, *, archives: bool) -> Request:
    """A move; ``archives`` whoever is in the stage."""
    fields = {
        "name": name,
        "version": str(number),
        "stage": stage,
        "archive_existing_versions": archives,
    }
    return Request("POST", "model-versions/transition-stage", fields, stage)


def seeding(registry: Registry) -> Iterator[Script]:
    """What fills a server; each model in order, and the models in any."""
    sizes = {model_name(index): registry.versions for index in range(registry.models)}
    for name, versions in {BIG: registry.big_versions, **sizes}.items():
        yield _seed_model(name, versions)


def _seed_model(name: str, versions: int) -> Script:
    """A model with an archived, a staged and a serving version."""
    fields = {
        "name": name,
        "description": f"benchmark model {name}",
        "tags": [{"key": "team", "value": "bench"}],
    }
    yield Request("POST", "registered-models/create", fields)
    for number in range(1, versions + 1):
        yield new_version(name, number)
    stages = {1: "Archived", versions - 2: "Staging", versions - 1: "Production"}
    for number, stage in stages.items():
        yield transition(name, number, stage, archives=False)
