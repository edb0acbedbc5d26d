"""Every case of ``conformance`` against every server, one test for each server.

- MLflow's own server is one of them: a case that it does not pass expects something
  that the protocol is not.
- Each policy and each database is there by default, the second pair with the cases
  whose answers may depend on either; ``make long`` has all the pairs and all cases.
"""

import inspect
from pathlib import Path

import pytest

from tests.mlflow.conformance.catalogue import (
    BY_POLICY_OR_DATABASE,
    all_cases,
    cases_with,
)
from tests.mlflow.conformance.running import MLFLOWS, OURS, Cell, Report, run_cell

pytestmark = pytest.mark.service

CASES = all_cases()
BY_DEFAULT = "stagegate-strict-postgresql"
IN_PART = Cell("stagegate", "open", "sqlite")
MOST_STRICTER = 0.15

EVERYWHERE = [
    pytest.param(
        cell,
        (),
        marks=() if str(cell) == BY_DEFAULT else pytest.mark.long,
        id=str(cell),
    )
    for cell in (*OURS, MLFLOWS)
]


@pytest.fixture
def report(
    cell: Cell, only: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path
) -> Report:
    """What came of every case, or of those with one of ``only`` in their names."""
    environment = request.getfixturevalue("mlflow_environment")
    url = None
    if cell.database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return run_cell(cell, environment, tmp_path, database_url=url, only=only)


@pytest.mark.parametrize(
    ("cell", "only"),
    [
        *EVERYWHERE,
        pytest.param(IN_PART, BY_POLICY_OR_DATABASE, id=f"{IN_PART}, what differs"),
    ],
)
def test_every_case_passes(
    only: tuple[str, ...], report: Report, subtests: pytest.Subtests
) -> None:
    assert set(report) == {case.identity for case in cases_with(only)}
    for identity, result in report.items():
        if result.error is not None:
            with subtests.test(identity):
                pytest.fail(str(result))


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
