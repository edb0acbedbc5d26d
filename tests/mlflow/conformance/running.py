"""Run all cases against one server and tell what came of each.

A cell is a server with a policy and a database; one process of MLflow's environment
runs all cases of a cell. Its server is two processes on one database: one that may
reach nothing inside the network, as cases about addresses expect it, and one that may
reach a receiver here.
"""

import base64
import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.mlflow.conformance.catalogue import cases_with
from tests.mlflow.environment import MLflowEnvironment
from tests.mlflow.servers import MLflowServer, mlflow_server, stagegate_server
from tests.server import RunningServer
from tests.services.processes import free_port

CHECKOUT = Path(__file__).resolve().parents[3]


#: What an operator has who allows nothing; the other process delivers.
_DELIVERS_NOTHING = {
    "WEBHOOK_ALLOWED_NETWORKS": "",
    "WEBHOOK_ALLOW_HTTP": "false",
    "DELIVER": "false",
}
#: Otherwise each process makes its own, and cannot read the other's webhooks.
_MLFLOWS_KEY = {
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(b"k" * 32).decode()
}
_MLFLOW_DELIVERS = {
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "0",
}


@dataclass(frozen=True)
class Cell:
    """One server that the cases run against."""

    server: str  # mlflow or stagegate
    policy: str  # strict or open; MLflow's own server is always open
    database: str  # sqlite or postgresql

    def __str__(self) -> str:
        return f"{self.server}-{self.policy}-{self.database}"


OURS = tuple(
    Cell("stagegate", policy, database)
    for policy in ("strict", "open")
    for database in ("sqlite", "postgresql")
)
MLFLOWS = Cell("mlflow", "open", "sqlite")


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    error: str | None
    exchanges: tuple[str, ...]

    def __str__(self) -> str:
        lines = "\n".join(f"  {line}" for line in self.exchanges)
        return f"{self.error}\nthe last requests:\n{lines}"


Report = dict[str, Result]
Server = MLflowServer | RunningServer


@contextlib.contextmanager
def _serving(
    cell: Cell,
    environment: MLflowEnvironment,
    directory: Path,
    database_url: str | None,
    *,
    delivers: bool,
) -> Iterator[tuple[str, str, str]]:
    """The addresses of the cell's processes, and the token that signs in there.

    The two are one where no case ``delivers``.
    """
    url = database_url or f"sqlite:///{directory / 'registry.db'}"

    def start(place: Path, *, delivering: bool) -> AbstractContextManager[Server]:
        if cell.server == "mlflow":
            more = _MLFLOWS_KEY | (_MLFLOW_DELIVERS if delivering else {})
            return mlflow_server(environment, place, backend_store_uri=url, **more)
        more = {} if delivering else _DELIVERS_NOTHING
        return stagegate_server(
            place, policy=cell.policy, **{"DATABASE_URL": url, **more}
        )

    with contextlib.ExitStack() as stack:
        first = second = stack.enter_context(start(directory, delivering=False))
        if delivers:
            other = directory / "delivering"
            other.mkdir()
            second = stack.enter_context(start(other, delivering=True))
        yield first.url, second.url, first.token


def run_cell(
    cell: Cell,
    environment: MLflowEnvironment,
    directory: Path,
    *,
    database_url: str | None = None,
    only: Sequence[str] = (),
) -> Report:
    """Run the cases, or those with one of ``only`` in their names.

    ``database_url`` is that of an empty PostgreSQL database; without it the
    server has SQLite in ``directory``.
    """
    delivers = any(case.delivers for case in cases_with(only))
    with _serving(
        cell, environment, directory, database_url, delivers=delivers
    ) as served:
        url, delivering_url, token = served
        report = directory / "report.json"
        signed_in = {"MLFLOW_TRACKING_TOKEN": token} if token else {}
        variables = environment.variables(directory, **signed_in)
        log_file = directory / "driver.log"
        with log_file.open("wb") as log:
            ended = subprocess.run(
                [
                    *(environment.python, "-m", "tests.mlflow.conformance.driver"),
                    *("--url", url, "--delivering-url", delivering_url),
                    *("--receiver-port", str(free_port())),
                    *("--server", cell.server, "--policy", cell.policy),
                    *("--report", report, "--only"),
                    *only,
                ],
                # Whatever MLflow makes beside itself stays out of the checkout.
                cwd=directory,
                env=variables | {"PYTHONPATH": str(CHECKOUT)},
                check=False,
                stdout=log,
                stderr=log,
            )
        assert ended.returncode == 0, log_file.read_text(encoding="utf-8")[-4000:]
    return read_report(report)


def read_report(path: Path) -> Report:
    """The results that a driver wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        identity: Result(result["error"], tuple(result["exchanges"]))
        for identity, result in found.items()
    }
