"""MLflow's own server and ours, as real processes on 127.0.0.1.

- Each has a directory of its own and is stopped by its own process id.
- Stagegate's is the one of ``tests.server``; here only its policy is chosen.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tests.mlflow.environment import VERSION, MLflowEnvironment
from tests.server import RunningServer, running_server
from tests.services.processes import free_port, is_listening, stop, wait_until_ready

START_SECONDS = 300.0  # on PostgreSQL it migrates through its whole history
ANSWER_SECONDS = 2.0
CONFIG = Path(__file__).resolve().parents[2] / "config"
POLICY_FILES = {
    "strict": CONFIG / "policy.toml",
    "open": CONFIG / "policy-open.toml",
}


@dataclass(frozen=True)
class MLflowServer:
    """MLflow's own server; tracking and registry in one."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path
    token: str = ""  # it asks nobody for one

    @property
    def directory(self) -> Path:
        """Where its database and its artifacts are, unless they are elsewhere."""
        return self.log_file.parent


@contextmanager
def mlflow_server(
    environment: MLflowEnvironment,
    directory: Path,
    *,
    backend_store_uri: str | None = None,
    artifact_root: str | None = None,
    artifacts_destination: str | None = None,
    workers: str = "1",
    **variables: str,
) -> Iterator[MLflowServer]:
    """MLflow's server for the time of the block.

    ``backend_store_uri`` may be a SQLAlchemy URL with our driver's name in it; it
    is SQLite in ``directory`` by default. A SQLite file that is not there yet begins
    with MLflow's tables. Without ``artifact_root`` (``s3://…``) it serves artifacts
    itself, from ``directory`` or ``artifacts_destination``. ``variables`` are further
    environment variables, such as the credentials of the artifact store.
    """
    port = free_port()
    store = backend_store_uri or f"sqlite:///{directory / 'mlflow.db'}"
    scheme, _, file = store.partition(":///")
    if scheme == "sqlite" and not Path(file).exists():
        shutil.copyfile(environment.empty_database, file)
    command: list[str | Path] = [
        *(environment.python, "-m", "mlflow", "server"),
        *("--workers", workers),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", store.replace("+psycopg:", "+psycopg2:")),
        *_artifact_options(directory, artifact_root, artifacts_destination),
    ]
    log_file = directory / "mlflow-server.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            # Its job runner is further processes, and nothing of the registry.
            env=environment.variables(
                directory, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", **variables
            ),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = MLflowServer(f"http://127.0.0.1:{port}", process, log_file)
    try:
        _wait(server)
        version = requests.get(f"{server.url}/version", timeout=START_SECONDS)
        assert version.text == VERSION
        yield server
    finally:
        stop(process)


def _artifact_options(
    directory: Path, root: str | None, destination: str | None
) -> tuple[str, str]:
    if root:
        return "--default-artifact-root", root
    return "--artifacts-destination", destination or str(directory / "mlartifacts")


def _wait(server: MLflowServer) -> None:
    wait_until_ready(
        server.process,
        lambda: _is_answering(server),
        log_file=server.log_file,
    )


def _is_answering(server: MLflowServer) -> bool:
    if not is_listening(urlsplit(server.url).port or 0):
        return False
    try:
        return requests.get(f"{server.url}/health", timeout=ANSWER_SECONDS).ok
    except requests.RequestException:
        return False


@contextmanager
def stagegate_server(
    directory: Path, *options: str, policy: str, **settings: str
) -> Iterator[RunningServer]:
    """Our server under the policy ``strict`` (the default one) or ``open``."""
    with running_server(
        directory, *options, POLICY_FILE=str(POLICY_FILES[policy]), **settings
    ) as server:
        yield server
