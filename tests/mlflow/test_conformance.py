"""Every case of ``conformance`` against every server, one test for each.

- A cell's server is started, and all its cases are run, when its first test asks.
- MLflow's own server is a cell as well: a case that it does not pass expects
  something that the protocol is not.
"""

import inspect
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.mlflow.conformance.cases import Case
from tests.mlflow.conformance.catalogue import all_cases
from tests.mlflow.conformance.running import (
    MLFLOWS,
    OURS,
    Cell,
    Report,
    run_cell,
)
from tests.mlflow.environment import MLflowEnvironment
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service

CASES = all_cases()
CELLS = (MLFLOWS, *OURS)
MOST_STRICTER = 0.15


@pytest.fixture(scope="session")
def reports(
    request: pytest.FixtureRequest,
    mlflow_environment: MLflowEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Cell], Report]:
    """The report of a cell, made when it is first asked for."""
    made: dict[Cell, Report] = {}

    def report(cell: Cell) -> Report:
        if cell not in made:
            directory = tmp_path_factory.mktemp(str(cell))
            with ExitStack() as stack:
                url = None
                if cell.database == "postgresql":
                    postgres: PostgresServer = request.getfixturevalue(
                        "postgres_server"
                    )
                    url = stack.enter_context(postgres.fresh_database())
                made[cell] = run_cell(
                    cell, mlflow_environment, directory, database_url=url
                )
        return made[cell]

    return report


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.identity)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_case(cell: Cell, case: Case, reports: Callable[[Cell], Report]) -> None:
    result = reports(cell)[case.identity]

    assert result.error is None, str(result)


def test_every_case_has_a_name_of_its_own() -> None:
    identities = [case.identity for case in CASES]

    assert len(set(identities)) == len(identities)


def test_a_case_that_asks_for_the_server_says_why() -> None:
    asking = {
        case.identity
        for case in CASES
        if "is_mlflow" in inspect.getsource(case.function) and not case.stricter
    }

    assert asking == set()


def test_few_cases_expect_more_than_mlflow_does() -> None:
    stricter = [case for case in CASES if case.stricter]

    assert len(stricter) < MOST_STRICTER * len(CASES)
