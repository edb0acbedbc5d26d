"""``stagegate serve`` on a terminal prints a link that signs in once."""

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.server import RunningServer, server_environment, write_migrated
from tests.services.processes import free_port, stop
from tests.waiting import wait_for

LINK = re.compile(r"http://127\.0\.0\.1:\d+\S*/signin/once\?ticket=\S+")


@dataclass
class Terminal:
    """What a person sees who started the server."""

    text: str = ""

    def listen(self, descriptor: int) -> None:
        while True:
            try:
                read = os.read(descriptor, 65536)
            except OSError:  # the last process that had it ended
                return
            self.text += read.decode()


@contextmanager
def started_on_a_terminal(directory: Path, **settings: str) -> Iterator[Terminal]:
    """A server whose stderr is a terminal, once it serves."""
    write_migrated(directory / "data" / "stagegate.db")
    ours, theirs = pty.openpty()
    terminal = Terminal()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "registry.cli.main",
            "serve",
            "--port",
            f"{free_port()}",
        ],
        env=server_environment(directory, **settings),
        stdout=theirs,
        stderr=theirs,
        cwd=directory,
        start_new_session=True,
    )
    os.close(theirs)
    listening = threading.Thread(target=terminal.listen, args=(ours,))
    listening.start()
    try:
        wait_for(lambda: terminal.text, lambda text: "Stagegate serves on" in text)
        yield terminal
    finally:
        stop(process)
        listening.join()
        os.close(ours)


@pytest.mark.parametrize("settings", [{}, {"BOOTSTRAP_TOKEN": "given-by-the-operator"}])
def test_link_signs_a_browser_in_once_and_is_said_nowhere_else(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with started_on_a_terminal(tmp_path, LOG_LEVEL="DEBUG", **settings) as terminal:
        link = wait_for(lambda: LINK.search(terminal.text), bool)
        assert link is not None
        root = link[0].partition("/signin")[0]
        browser, other = requests.Session(), requests.Session()

        first = browser.get(link[0], allow_redirects=False)
        again = other.get(link[0], allow_redirects=False)
        who = browser.get(f"{root}/api/v1/whoami").json()

        assert (first.status_code, again.status_code) == (303, 401)
        assert (who["name"], who["roles"]) == ("bootstrap", ["admin"])
        assert not other.cookies
    ticket = link[0].rpartition("=")[2]
    assert terminal.text.count(ticket) == 1
    assert "this link has been used already" in terminal.text  # in the log, without it


def test_link_is_for_a_terminal_alone(server: RunningServer) -> None:
    log = server.log_file.read_text()

    assert "Stagegate serves on" in log
    assert "signin/once" not in log


@pytest.mark.parametrize(
    "settings", [{"INSECURE_DEV": "true"}, {"PUBLIC_URL": "https://ml.example"}]
)
def test_link_is_where_it_is_needed_and_where_the_server_is(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with started_on_a_terminal(tmp_path, **settings) as terminal:
        root = re.search(r"serves on (http://\S+)", terminal.text)
        assert root is not None
        wait_for(
            lambda: requests.get(f"{root[1]}/healthz", timeout=2).status_code,
            lambda status: status == 200,
        )

        is_public = "https://ml.example/signin/once?ticket=" in terminal.text
        assert is_public is ("PUBLIC_URL" in settings)
        assert LINK.search(terminal.text) is None
