"""A real ``stagegate serve``, for tests that talk HTTP.

- It is forked from a process that has loaded it, or started as its users start it.
- Each server has a directory, a port and a bootstrap token of its own.
- Webhooks may reach 127.0.0.1, where the tests' receivers are.
- It is stopped, or killed, by its own process id.
- Its database has its schema already: to make that takes as much as a third of a start.
"""

import functools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from registry.app import create_app
from registry.client import RegistryClient
from registry.domain.token_format import new_token
from registry.persistence import schema
from registry.persistence.database import db
from registry.settings import Settings
from tests.fork_server import Forked
from tests.services.processes import free_port, is_listening, stop, wait_until_ready

ANSWER_SECONDS = 2.0
COMMAND = (sys.executable, "-m", "registry.cli.main")
KEY = "test-key-" * 4  # seals webhook secrets of databases that tests throw away


def server_environment(directory: Path, **settings: str) -> dict[str, str]:
    """The environment of a server of its own; ``settings`` without the prefix."""
    own = {
        "DATA_DIR": str(directory / "data"),
        "SECRET_KEY": KEY,
        "WEBHOOK_ALLOW_HTTP": "true",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        **settings,
    }
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("STAGEGATE_")
    }
    return inherited | {f"STAGEGATE_{name}": value for name, value in own.items()}


@dataclass(kw_only=True)
class RunningServer:
    """A server process and how to reach it."""

    directory: Path
    environment: Mapping[str, str]
    token: str
    port: int
    below: str = ""
    command: tuple[str, ...] | None = COMMAND  #: None: forked, loaded already
    options: tuple[str, ...] = ()  #: of ``serve``
    process: subprocess.Popen[bytes] | Forked | None = None
    log_file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log_file = self.directory / "server.log"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}{self.below}"

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        serve = ["serve", "--port", str(self.port), *self.options]
        self.log_file.touch()
        if self.command is None:
            self.process = Forked.start(
                serve,
                env=self.environment,
                cwd=self.directory,
                log_file=self.log_file,
            )
        else:
            with self.log_file.open("ab") as log:
                self.process = subprocess.Popen(
                    [*self.command, *serve],
                    env=dict(self.environment),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.directory,
                    start_new_session=True,
                )
        wait_until_ready(
            self.process,
            self.is_answering,
            log_file=self.log_file,
        )

    def is_answering(self) -> bool:
        """Whether ``/healthz`` answers 200 now."""
        if not is_listening(self.port):
            return False
        try:
            answer = requests.get(f"{self.url}/healthz", timeout=ANSWER_SECONDS)
        except requests.RequestException:
            return False
        return answer.status_code == 200

    def stop(self) -> None:
        """Ask it to end, as Kubernetes does."""
        assert self.process is not None
        stop(self.process)

    def kill(self) -> None:
        """End it and its workers at once, as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def client(self) -> RegistryClient:
        """A client signed in as admin."""
        return RegistryClient(self.url, self.token)

    def http(self) -> requests.Session:
        """A plain session signed in as admin."""
        session = requests.Session()
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {self.token}"
        return session


@contextmanager
def running_server(
    directory: Path, *options: str, below: str = "", **settings: str
) -> Iterator[RunningServer]:
    """A server that answers.

    Args:
        directory: where its data are, and its log.
        options: of ``stagegate serve``.
        below: the path at which it is, or nothing.
        settings: ``STAGEGATE_`` names without the prefix.
    """
    with _serving(directory, options, below=below, settings=settings) as server:
        yield server


@contextmanager
def started_server(
    directory: Path, *options: str, below: str = "", **settings: str
) -> Iterator[RunningServer]:
    """As ``running_server``, for those who ask how it starts or what it needs."""
    with _serving(
        directory, options, below=below, settings=settings, command=COMMAND
    ) as server:
        yield server


@contextmanager
def _serving(
    directory: Path,
    options: tuple[str, ...],
    *,
    below: str,
    settings: Mapping[str, str],
    command: tuple[str, ...] | None = None,
) -> Iterator[RunningServer]:
    token = new_token()
    environment = server_environment(directory, BOOTSTRAP_TOKEN=token, **settings)
    server = RunningServer(
        directory=directory,
        environment=environment | {"SCRIPT_NAME": below},
        token=token,
        port=free_port(),
        command=command,
        options=options,
        below=below,
    )
    if "DATABASE_URL" in settings:  # else the server would upgrade its own
        upgrade(server.environment)
    else:
        write_migrated(directory / "data" / "stagegate.db")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def upgrade(environment: Mapping[str, str]) -> None:
    """Do as ``stagegate db upgrade`` does, in this process: it has loaded all of it."""
    app = create_app(Settings.from_env(environment))
    with app.app_context():
        schema.upgrade(db.engine)
        db.engine.dispose()


def write_migrated(file: Path) -> None:
    """Make an embedded database with the present schema and nothing in it."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(_migrated())


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "data").mkdir()
        upgrade(server_environment(Path(name)))
        return (Path(name) / "data" / "stagegate.db").read_bytes()
