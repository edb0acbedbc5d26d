"""A load of MLflow's registry protocol, for any server that speaks it.

- A closed loop: each connection has one request under way. Connections are opened one
  after the other, since a burst of them meets but one of a server's processes.
- Two processes of their own send it, and httptools parses: the load takes little of the
  processor from the server beside it. How much the busier one took is said.
- What is counted was answered, and rightly, within one span of time.
"""

import asyncio
import json
import multiprocessing
import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools
import uvloop

from tests.bench.figures import percentile
from tests.bench.operations import OPERATIONS, Registry, Request, Script, seeding

ROOT = "/api/2.0/mlflow/"
PROCESSES = 2
#: The load ends so long after its span, whatever the server does.
PATIENCE_SECONDS = 60.0
_SEEDING_SECONDS = 1800.0
_SEEDING_CLIENTS = 8
_STAGGER_SECONDS = 0.02
_WARM_UP_SECONDS = 1.0


@dataclass
class Figures:
    """What a load measured, over one span of time."""

    seconds: float
    times: list[float] = field(default_factory=list)
    failed: int = 0
    failure: str = ""  #: what one of them was
    busy: float = 0.0  #: the share of a processor that the load's busier process took

    @property
    def per_second(self) -> float:
        return len(self.times) / self.seconds

    def milliseconds(self, share: float) -> float:
        return percentile(self.times, share) * 1000

    def fail(self, what: str) -> None:
        self.failed += 1
        self.failure = what

    def add(self, other: "Figures") -> None:
        self.times += other.times
        self.failed += other.failed
        self.failure = self.failure or other.failure
        self.busy = max(self.busy, other.busy)


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


@dataclass(frozen=True)
class _Load:
    """What the clients of one process ask, and when it counts."""

    address: Address
    operation: str
    registry: Registry
    begin: float
    end: float

    def script(self, number: int) -> Script:
        chance = random.Random(f"{self.begin} {number}")  # noqa: S311  it chooses models
        return OPERATIONS[self.operation](self.registry, chance)


def drive(
    address: Address,
    operation: str,
    registry: Registry,
    *,
    clients: int,
    seconds: float,
    warm_up: bool,
    on_start: Callable[[], None],
) -> Figures:
    """Put a server under one load; ``on_start`` is called as its span begins."""
    context = multiprocessing.get_context("fork")
    processes = min(clients, PROCESSES)
    results = context.SimpleQueue()
    begin = time.monotonic()
    if warm_up:
        begin += clients * _STAGGER_SECONDS + min(_WARM_UP_SECONDS, seconds / 3)
    load = _Load(address, operation, registry, begin, begin + seconds)
    children = [
        context.Process(
            target=_drive_some, args=(results, load, range(start, clients, processes))
        )
        for start in range(processes)
    ]
    for child in children:
        child.start()
    time.sleep(max(0.0, begin - time.monotonic()))
    on_start()
    figures = Figures(seconds)
    for _ in children:
        figures.add(results.get())
    for child in children:
        child.join()
    return figures


def _drive_some(
    results: Any,  # noqa: ANN401  multiprocessing's queue
    load: _Load,
    numbers: Sequence[int],
) -> None:
    figures = Figures(load.end - load.begin)
    began, used = time.monotonic(), time.process_time()
    try:
        uvloop.run(_drive_all(load, numbers, figures))
    except OSError as error:  # a time-out too
        figures.fail(repr(error))
    figures.busy = (time.process_time() - used) / (time.monotonic() - began)
    results.put(figures)


async def _drive_all(load: _Load, numbers: Sequence[int], figures: Figures) -> None:
    async with asyncio.timeout(load.end - time.monotonic() + PATIENCE_SECONDS):
        await asyncio.gather(*(_drive_one(load, each, figures) for each in numbers))


async def _drive_one(load: _Load, number: int, figures: Figures) -> None:
    await asyncio.sleep(number * _STAGGER_SECONDS)
    script = load.script(number)
    client = await load.address.connect()
    request = next(script)
    while (before := time.monotonic()) < load.end:
        status, body = await client.ask(load.address.message(request))
        after = time.monotonic()
        if load.begin <= after < load.end:
            if status == 200 and request.holds.encode() in body:
                figures.times.append(after - before)
            else:
                figures.fail(f"{request.path}: {status} {body[:200]!r}")
        request = script.send(body)
    client.close()


def seed(address: Address, registry: Registry) -> None:
    """Fill a server with what the operations ask for."""
    uvloop.run(_seed(address, registry))


async def _seed(address: Address, registry: Registry) -> None:
    scripts = seeding(registry)

    async def fill() -> None:
        client = await address.connect()
        for script in scripts:
            for request in script:
                status, body = await client.ask(address.message(request))
                if status != 200:
                    raise RuntimeError(f"{request.path}: {status} {body[:200]!r}")
        client.close()

    async with asyncio.timeout(_SEEDING_SECONDS):
        await asyncio.gather(*(fill() for _ in range(_SEEDING_CLIENTS)))
