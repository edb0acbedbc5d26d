"""Sixteen processes, or more, that ask something of the registry at one moment."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from requests.structures import CaseInsensitiveDict

from tests.server import RunningServer
from tests.waiting import STALL_SECONDS

RACERS = int(os.environ.get("STAGEGATE_TEST_RACERS", "16"))
PROGRAM = Path(__file__).with_name("racer.py")


@dataclass(frozen=True)
class Answer:
    """What one of them was answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def document(self) -> Any:  # noqa: ANN401  # A body may be any JSON value.
        return json.loads(self.text)


@dataclass(frozen=True)
class Post:
    """A POST to be sent by a process of its own."""

    path: str
    body: Mapping[str, object]
    key: str | None = None
    root: str = "/api/v1"


def race(servers: Sequence[RunningServer], posts: Sequence[Post]) -> list[Answer]:
    """Send all of them at once, to the servers in turn; the answers in that order."""
    racers = [
        _start(servers[place % len(servers)], post) for place, post in enumerate(posts)
    ]
    try:
        for racer in racers:
            assert _stream(racer.stdout).readline() == "ready\n"
        for racer in racers:
            _stream(racer.stdin).write("go\n")
            _stream(racer.stdin).flush()
        return [_answer(racer) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def _start(server: RunningServer, post: Post) -> subprocess.Popen[str]:
    headers = {"Authorization": f"Bearer {server.token}"}
    if post.key is not None:
        headers["Idempotency-Key"] = post.key
    request = {
        "port": server.port,
        "path": post.root + post.path,
        "body": post.body,
        "headers": headers,
    }
    racer = subprocess.Popen(
        # Isolated and without site-packages: it starts in a fraction of the time.
        [sys.executable, "-I", "-S", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _stream(racer.stdin).write(json.dumps(request) + "\n")
    _stream(racer.stdin).flush()
    return racer


def _answer(racer: subprocess.Popen[str]) -> Answer:
    output, _ = racer.communicate(timeout=STALL_SECONDS)
    assert racer.returncode == 0
    report = json.loads(output)
    report["headers"] = CaseInsensitiveDict(report["headers"])
    return Answer(**report)


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
