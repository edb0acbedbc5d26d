"""A receiver in a process of its own that notes when each request began to arrive.

- It costs little, so that what is measured is the sender.
- The instants are ``time.monotonic()``, which all processes of a machine share.
- A path under ``/dead`` takes the connection and never answers.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

from tests.services.processes import free_port

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Arrival:
    """A request: its path, its id, and when its first byte was there."""

    path: str
    message_id: str
    at: float


class _Exchange(asyncio.Protocol):
    def __init__(self, arrivals: list[Arrival], delay_seconds: float) -> None:
        self._arrivals = arrivals
        self._delay_seconds = delay_seconds
        self._received = b""
        self._began_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._began_at = self._began_at or time.monotonic()
        self._received += data
        head, end, body = self._received.partition(_END_OF_HEAD)
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        if len(body) < int(headers.get("content-length", "0")):
            return
        path = first.split()[1]
        self._arrivals.append(
            Arrival(path, headers.get("webhook-id", ""), self._began_at)
        )
        if not path.startswith("/dead"):
            asyncio.get_running_loop().call_later(self._delay_seconds, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)
            self._transport.close()


def _serve(pipe: Connection, port: int, delay_seconds: float) -> None:
    arrivals: list[Arrival] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def obey() -> None:
            wish = pipe.recv()
            if wish == "end":
                ended.set()
            elif wish == "count":
                pipe.send(sum(not one.path.startswith("/dead") for one in arrivals))
            else:
                pipe.send(arrivals.copy())
                arrivals.clear()

        loop.add_reader(pipe.fileno(), obey)
        await loop.create_server(
            lambda: _Exchange(arrivals, delay_seconds), "127.0.0.1", port, backlog=512
        )
        pipe.send("ready")
        await ended.wait()

    asyncio.run(run())


class BenchReceiver:
    """The receiver as the bench sees it."""

    def __init__(self, pipe: Connection, port: int) -> None:
        self._pipe = pipe
        self.url = f"http://127.0.0.1:{port}"

    def take(self) -> list[Arrival]:
        """Give what arrived since the last call."""
        self._pipe.send("take")
        return cast("list[Arrival]", self._pipe.recv())

    def wait_for(self, count: int, seconds: float) -> list[Arrival]:
        """Wait for ``count`` arrivals that live paths got.

        Raises:
            TimeoutError: fewer came in time.
        """
        give_up_at = time.monotonic() + seconds
        while (found := self.count()) < count:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{found} of {count} arrived in {seconds} s")
            # Asking is work for the machine that is being measured.
            time.sleep(0.01 if count < 100 else 0.05)
        return self.take()

    def count(self) -> int:
        """How many live paths have got since the last ``take``."""
        self._pipe.send("count")
        return cast("int", self._pipe.recv())


@contextmanager
def running_receiver(delay_seconds: float) -> Iterator[BenchReceiver]:
    """Run a receiver that takes ``delay_seconds`` over each answer."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    port = free_port()
    process = context.Process(target=_serve, args=(theirs, port, delay_seconds))
    process.start()
    try:
        ours.recv()
        yield BenchReceiver(ours, port)
        ours.send("end")
        process.join(5)
    finally:
        process.terminate()
        process.join()
