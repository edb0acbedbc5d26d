"""``stagegate serve`` as a process: who stalls, who ends it, and how many serve."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.fork_server import Forked
from tests.server import (
    COMMAND,
    RunningServer,
    server_environment,
    started_server,
    write_migrated,
)
from tests.stalled_clients import FILE, FILE_BYTES, MODEL, SORTS, Target, prepare
from tests.stalled_clients import stalled as stalled_clients
from tests.waiting import STALL_SECONDS

CLIENTS = 200
READS = 50
FILE_PATH = f"/api/v1/models/{MODEL}/versions/1/artifacts/{FILE}"


@pytest.fixture(scope="module")
def prepared_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    with started_server(tmp_path_factory.mktemp("serve")) as server:
        with server.http() as http:
            prepare(http, server.url)
        yield server


def target_of(server: RunningServer) -> Target:
    return Target(port=server.port, token=server.token)


@pytest.mark.long
@pytest.mark.parametrize("sort", SORTS)
def test_others_are_answered_beside_clients_that_stall(
    prepared_server: RunningServer, sort: str
) -> None:
    server = prepared_server
    with (
        stalled_clients(sort, target_of(server), count=CLIENTS),
        server.http() as http,
    ):
        for _ in range(READS):
            url = f"{server.url}/api/v1/models/{MODEL}/versions/1"
            assert http.get(url, timeout=STALL_SECONDS).status_code == 200
        assert requests.get(f"{server.url}/readyz", timeout=STALL_SECONDS).ok


@pytest.mark.long
@pytest.mark.parametrize("sort", ["silent", "no upload", "download not read"])
def test_whoever_stalls_deliveries_are_drained_and_the_server_ends(
    tmp_path: Path, sort: str
) -> None:
    with started_server(tmp_path, "--grace", "2") as server:
        with server.http() as http:
            prepare(http, server.url)
        with stalled_clients(sort, target_of(server), count=20):
            assert ended(server) == 0

        log = server.log_file.read_text(encoding="utf-8")
        assert "webhook_dispatcher_stopped drained=True" in log


@pytest.mark.long
def test_a_download_ends_within_the_grace(tmp_path: Path) -> None:
    with started_server(tmp_path, "--grace", "60") as server:
        with server.http() as http:
            prepare(http, server.url)
            with http.get(f"{server.url}{FILE_PATH}", stream=True) as answer:
                begun = next(answer.iter_content(1000))
                process = terminated(server)
                rest = answer.raw.read(decode_content=False)

        assert len(begun) + len(rest) == FILE_BYTES
        assert process.wait(STALL_SECONDS) == 0


@pytest.mark.long
def test_a_download_that_takes_longer_is_seen_to_break_off(tmp_path: Path) -> None:
    with started_server(tmp_path, "--grace", "1") as server, server.http() as http:
        prepare(http, server.url)
        with http.get(f"{server.url}{FILE_PATH}", stream=True) as answer:
            next(answer.iter_content(1000))
            assert ended(server) == 0
            with pytest.raises(requests.RequestException):
                answer.content  # noqa: B018


def test_several_processes_serve_and_end_together(tmp_path: Path) -> None:
    with started_server(tmp_path, "--workers", "2") as server:
        with server.http() as http:
            for _ in range(20):
                answer = http.get(
                    f"{server.url}/api/v1/models", headers={"Connection": "close"}
                )
                assert answer.status_code == 200

        assert ended(server) == 0
        log = server.log_file.read_text(encoding="utf-8")
        assert log.count("webhook_dispatcher_stopped drained=True") == 2


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    write_migrated(tmp_path / "data" / "stagegate.db")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        second = subprocess.run(
            [*COMMAND, "serve", "--port", str(port)],
            env=server_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    assert second.returncode == 1
    expected = f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert expected in second.stderr


def test_a_wrong_number_of_processes_is_said(tmp_path: Path) -> None:
    wrong = subprocess.run(
        [*COMMAND, "serve"],
        env={"WEB_CONCURRENCY": "many", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert wrong.returncode == 2
    assert "WEB_CONCURRENCY" in wrong.stderr


def terminated(server: RunningServer) -> subprocess.Popen[bytes] | Forked:
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    return server.process


def ended(server: RunningServer) -> int:
    """Its exit code, once it was asked to end."""
    return terminated(server).wait(STALL_SECONDS)
