"""A load of MLflow's registry protocol, for any server that speaks it.

- A closed loop: each connection has one request under way. Connections are opened one
  after the other, since a burst of them meets but one of a server's processes.
- Names are made of an index, so that nothing is listed to be found. Reads go to the
  first four fifths of the models, whose answers never change; writes to the last one.
- Two processes of their own send it, and httptools parses: the load takes little of the
  processor from the server beside it.
- A request fails whose status is not 200 or whose body lacks what it must hold.
"""

import asyncio
import json
import multiprocessing
import random
import socket
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httptools
import uvloop

from tests.bench.figures import percentile

ROOT = "/api/2.0/mlflow/"
BIG = "bench-big"
TRIVIAL = "trivial"  #: the route of ``limits``
PROCESSES = 2
_STAGGER_SECONDS = 0.02
_WARM_UP_SECONDS = 1.0


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
        token = json.loads(answer).get("next_page_token")
        if not token:
            return


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


@dataclass
class Figures:
    """What a load measured, over one span of time."""

    seconds: float
    times: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.times) / self.seconds

    def milliseconds(self, share: float) -> float:
        return percentile(self.times, share) * 1000 if self.times else float("nan")


class _Client(asyncio.Protocol):
    """One kept-alive connection with one request under way."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  asyncio's or uvloop's
        self._transport = transport
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._parser = httptools.HttpResponseParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        assert self._answer is not None
        self._answer.set_result((self._parser.get_status_code(), bytes(self._body)))
        self._body.clear()
        self._parser = httptools.HttpResponseParser(self)

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        # A server that writes head and body apart would wait 40 ms for our
        # acknowledgement, which says nothing of the server.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return await self._answer

    def close(self) -> None:
        self._transport.close()


@dataclass(frozen=True)
class Address:
    """A server and who is signed in there."""

    port: int
    token: str = ""

    def message(self, request: Request) -> bytes:
        """The request as it is sent."""
        body = b"" if request.body is None else json.dumps(request.body).encode()
        lines = [
            f"{request.method} {ROOT}{request.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            *([f"Authorization: Bearer {self.token}"] if self.token else []),
            *(["Content-Type: application/json"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def connect(self) -> _Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(_Client, "127.0.0.1", self.port)
        return client


def drive(
    address: Address,
    operation: str,
    registry: Registry,
    *,
    clients: int,
    seconds: float,
    on_start: Callable[[], None] = lambda: None,
) -> Figures:
    """Put a server under one load; ``on_start`` is called once it is warm."""
    context = multiprocessing.get_context("fork")
    processes = min(clients, PROCESSES)
    results = context.SimpleQueue()
    begin = time.monotonic() + clients * _STAGGER_SECONDS + _WARM_UP_SECONDS
    span = (begin, begin + seconds)
    children = [
        context.Process(
            target=_drive_some,
            args=(
                results,
                (address, operation, registry),
                range(start, clients, processes),
                span,
            ),
        )
        for start in range(processes)
    ]
    for child in children:
        child.start()
    time.sleep(max(0.0, begin - time.monotonic()))
    on_start()
    figures = Figures(seconds)
    for _ in children:
        times, failures = results.get()
        figures.times += times
        figures.failures += failures
    for child in children:
        child.join()
    return figures


def _drive_some(
    results: Any,  # noqa: ANN401  multiprocessing's queue
    load: tuple[Address, str, Registry],
    clients: Sequence[int],
    span: tuple[float, float],
) -> None:
    times: list[float] = []
    failures: list[str] = []
    try:
        uvloop.run(_drive_all(load, clients, span, (times, failures)))
    except OSError as error:
        failures.append(repr(error))
    results.put((times, failures[:5]))


async def _drive_all(
    load: tuple[Address, str, Registry],
    clients: Sequence[int],
    span: tuple[float, float],
    found: tuple[list[float], list[str]],
) -> None:
    await asyncio.gather(*(_drive_one(load, each, span, found) for each in clients))


async def _drive_one(
    load: tuple[Address, str, Registry],
    number: int,
    span: tuple[float, float],
    found: tuple[list[float], list[str]],
) -> None:
    address, operation, registry = load
    times, failures = found
    begin, end = span
    await asyncio.sleep(number * _STAGGER_SECONDS)
    chance = random.Random(f"{begin} {number}")  # noqa: S311  it chooses models
    script = OPERATIONS[operation](registry, chance)
    client = await address.connect()
    request = next(script)
    while (before := time.monotonic()) < end:
        status, body = await client.ask(address.message(request))
        after = time.monotonic()
        if begin <= after < end:
            times.append(after - before)
            if status != 200 or request.holds.encode() not in body:
                failures.append(f"{request.path}: {status} {body[:200]!r}")
        request = script.send(body)
    client.close()


def seed(address: Address, registry: Registry) -> None:
    """Fill a server: each model with an archived, a staged and a serving version."""
    uvloop.run(_seed(address, registry))


async def _seed(address: Address, registry: Registry) -> None:
    rest = iter(range(registry.models))

    async def fill() -> None:
        client = await address.connect()
        for index in rest:
            name = model_name(index)
            await _seed_model(address, client, name, registry.versions)
        client.close()

    await asyncio.gather(*(fill() for _ in range(8)))
    client = await address.connect()
    await _seed_model(address, client, BIG, registry.big_versions)
    client.close()


async def _seed_model(
    address: Address, client: _Client, name: str, versions: int
) -> None:
    fields = {"name": name, "tags": [{"key": "team", "value": "bench"}]}
    stages = {1: "Archived", versions - 2: "Staging", versions - 1: "Production"}
    for request in (
        Request("POST", "registered-models/create", fields),
        *(new_version(name, number) for number in range(1, versions + 1)),
        *(
            transition(name, number, stage, archives=False)
            for number, stage in stages.items()
        ),
    ):
        status, body = await client.ask(address.message(request))
        if status != 200:
            raise RuntimeError(f"{request.path}: {status} {body[:200]!r}")
