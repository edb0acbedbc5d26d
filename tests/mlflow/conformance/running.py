"""Run all cases against one server and tell what came of each.

A cell is a server with a policy and a database; one server and one process of
MLflow's environment run all cases of a cell.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mlflow.environment import MLflowEnvironment
from tests.mlflow.servers import mlflow_server, stagegate_server

CHECKOUT = Path(__file__).resolve().parents[3]
RUN_SECONDS = 900.0


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


@contextlib.contextmanager
def _serving(
    cell: Cell,
    environment: MLflowEnvironment,
    directory: Path,
    database_url: str | None,
) -> Iterator[tuple[str, str]]:
    """The address of the cell's server, and the token that signs in there."""
    if cell.server == "mlflow":
        with mlflow_server(
            environment, directory, backend_store_uri=database_url
        ) as theirs:
            yield theirs.url, ""
        return
    settings = {"DATABASE_URL": database_url} if database_url else {}
    # The cases about addresses expect what an operator has who allows nothing.
    settings |= {"WEBHOOK_ALLOWED_NETWORKS": "", "WEBHOOK_ALLOW_HTTP": "false"}
    with stagegate_server(directory, policy=cell.policy, **settings) as ours:
        yield ours.url, ours.token


def run_cell(
    cell: Cell,
    environment: MLflowEnvironment,
    directory: Path,
    *,
    database_url: str | None = None,
    only: str = "",
) -> Report:
    """Run the cases, or those with ``only`` in their names.

    ``database_url`` is that of an empty PostgreSQL database; without it the
    server has SQLite in ``directory``.
    """
    with _serving(cell, environment, directory, database_url) as (url, token):
        report = directory / "report.json"
        signed_in = {"MLFLOW_TRACKING_TOKEN": token} if token else {}
        variables = environment.variables(directory, **signed_in)
        log_file = directory / "driver.log"
        with log_file.open("wb") as log:
            ended = subprocess.run(
                [
                    *(environment.python, "-m", "tests.mlflow.conformance.driver"),
                    *("--url", url, "--server", cell.server, "--policy", cell.policy),
                    *("--report", report, "--only", only),
                ],
                # Whatever MLflow makes beside itself stays out of the checkout.
                cwd=directory,
                env=variables | {"PYTHONPATH": str(CHECKOUT)},
                check=False,
                timeout=RUN_SECONDS,
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
