"""How fast a server answers and how much memory it holds.

- Both figures are printed (``pytest -rP``). Memory decides; time does not, since
  a busy machine is not a failing test, and only a generous bound is asserted.
"""

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from registry.domain.token_format import new_token
from tests.receiver import Receiver
from tests.server import RunningServer, server_environment
from tests.services.processes import free_port

pytestmark = pytest.mark.long

BAR_ANSWERING_SECONDS = 2.0
GENEROUS_SECONDS = 30.0
BAR_RESIDENT_MB = 110.0
REQUESTS = 1000


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that was not started yet, on a database that is not there yet."""
    token = new_token()
    server = RunningServer(
        directory=tmp_path,
        environment=server_environment(tmp_path, BOOTSTRAP_TOKEN=token),
        token=token,
        port=free_port(),
    )
    yield server
    if server.process is not None:
        server.stop()


def test_server_answers_soon_after_its_start(fresh_server: RunningServer) -> None:
    first = seconds_to_start(fresh_server)
    fresh_server.stop()
    again = seconds_to_start(fresh_server)

    show(f"answering after {first:.2f} s, when it has to make its database first")
    show(f"answering after {again:.2f} s (bar: {BAR_ANSWERING_SECONDS} s)")
    assert max(first, again) < GENEROUS_SECONDS


def test_memory_after_a_thousand_requests_stays_below_the_bar(
    fresh_server: RunningServer, receiver: Receiver
) -> None:
    fresh_server.start()
    at_start = resident_mb(fresh_server.pid)
    with fresh_server.http() as http:
        subscribe(http, fresh_server.url, receiver.url)
        requests_done = send_mixed_requests(http, fresh_server.url)

    by_process = resident_mb(fresh_server.pid)

    show(f"resident at the start: {listed(at_start)}")
    show(f"resident after {requests_done} requests: {listed(by_process)}")
    show(f"sum: {sum(by_process.values()):.1f} MB; delivered: {len(receiver.requests)}")
    assert requests_done == REQUESTS
    assert len(by_process) == 1
    assert max(by_process.values()) <= BAR_RESIDENT_MB


def seconds_to_start(server: RunningServer) -> float:
    before = time.monotonic()
    server.start()
    return time.monotonic() - before


def show(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def subscribe(http: requests.Session, url: str, receiver_url: str) -> None:
    answer = http.post(f"{url}/api/v1/webhooks", json={"url": receiver_url})
    assert answer.status_code == 201, answer.text


def send_mixed_requests(http: requests.Session, url: str) -> int:
    """Stories of models, whole ones, until there were enough requests."""
    done = 0
    for number in itertools.count():
        for method, path, body in story(f"model-{number}"):
            answer = http.request(method, f"{url}/api/v1{path}", json=body)
            assert answer.status_code < 300, (method, path, answer.text)
            done += 1
            if done == REQUESTS:
                return done
    raise AssertionError("count() does not end")


def story(name: str) -> Iterator[tuple[str, str, dict[str, object] | None]]:
    """Two versions of a model registered and promoted, with reads in between."""
    model = f"/models/{name}"
    yield "POST", "/models", {"name": name, "tags": {"team": "risk"}}
    for number in (1, 2):
        version = f"{model}/versions/{number}"
        yield "POST", f"{model}/versions", {"source": f"s3://elsewhere/{number}"}
        yield "GET", version, None
        yield "PATCH", version, {"description": "better", "tags": {"ok": "yes"}}
        yield "POST", f"{version}/transitions", {"to_stage": "Staging"}
        yield "POST", f"{version}/transitions", {"to_stage": "Production"}
        yield "GET", f"{model}/stages/Production", None
    yield "POST", f"{model}/rollback", {}
    yield "PUT", f"{model}/aliases/champion", {"version": 1}
    yield "GET", f"{model}/aliases/champion", None
    yield "GET", f"{model}/history", None
    yield "GET", f"{model}/versions", None
    yield "GET", "/models?limit=200", None
    yield "GET", f"/audit?model={name}", None
    yield "GET", f"/audit/verify?model={name}", None


def resident_mb(pid: int) -> dict[int, float]:
    """VmRSS of a process and of those it started, by process id."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return {each: _resident_mb(each) for each in (pid, *map(int, children.split()))}


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1000


def listed(by_process: dict[int, float]) -> str:
    return ", ".join(f"{pid}: {mb:.1f} MB" for pid, mb in by_process.items())
