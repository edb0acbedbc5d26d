"""``stagegate serve`` as a process, and ``stagegate …`` commands against it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import requests

from registry.domain.token_format import new_token
from registry.errors import RegistryError
from registry.settings import DEFAULT_URL, PREFIX

START_SECONDS = 30
STOP_SECONDS = 30
_POLL_SECONDS = 0.05
_STAGEGATE = (sys.executable, "-m", "registry.cli.main")


class DemoServer:
    """A server on the embedded default, with a directory and token of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.token = new_token()
        self.port = _usual_port_or_a_free_one()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process to stop, once there is one."""
        return self._process.pid if self._process else None

    def start(self) -> float:
        """Start it; answers the seconds until ``/healthz`` did.

        Raises:
            RegistryError: when it does not come up, with the end of its log.
        """
        before = time.monotonic()
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter
                [*_STAGEGATE, "serve", "--port", str(self.port)],
                env=self._server_environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the story, which then stops the server itself.
                start_new_session=True,
            )
        while not self._is_answering():
            seconds = time.monotonic() - before
            if self._process.poll() is not None or seconds > START_SECONDS:
                end = self.log_file.read_text(encoding="utf-8", errors="replace")[
                    -2000:
                ]
                raise RegistryError(f"the server did not start:\n{end}")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - before

    def stop(self) -> None:
        """Ask it to drain and end."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run one client command in the directory, signed in, and catch its output."""
        return subprocess.run(  # noqa: S603  # our own interpreter
            [*_STAGEGATE, *arguments],
            cwd=self.directory,
            env=self._environment(URL=self.url, TOKEN=self.token),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def _server_environment(self) -> dict[str, str]:
        return self._environment(
            DATA_DIR=str(self.directory / "data"),
            BOOTSTRAP_TOKEN=self.token,
            # The consumer of the story listens on this machine, without TLS.
            WEBHOOK_ALLOW_HTTP="true",
            WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8",
        )

    def _environment(self, **settings: str) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            # The story's own server, whatever the shell is set up for.
            if not name.startswith(PREFIX)
        }
        return inherited | {PREFIX + name: value for name, value in settings.items()}

    def _is_answering(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/healthz", timeout=2).ok
        return False


def _usual_port_or_a_free_one() -> int:
    usual = int(DEFAULT_URL.rpartition(":")[2])
    for port in (usual, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise RegistryError("no TCP port is free on 127.0.0.1")
