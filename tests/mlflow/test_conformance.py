"""Every case of ``conformance`` against every server, one test for each server.

- MLflow's own server is one of them: a case that it does not pass expects something
  that the protocol is not.
- Each policy and each database is there by default; ``make long`` has all the pairs.
"""

import inspect
from pathlib import Path

import pytest

from tests.mlflow.conformance.catalogue import all_cases
from tests.mlflow.conformance.running import MLFLOWS, OURS, Cell, Report, run_cell

pytestmark = pytest.mark.service

CASES = all_cases()
BY_DEFAULT = ("stagegate-strict-postgresql", "stagegate-open-sqlite")
MOST_STRICTER = 0.15

EVERYWHERE = [
    pytest.param(
        cell,
        "",
        marks=() if str(cell) in BY_DEFAULT else pytest.mark.long,
        id=str(cell),
    )
    for cell in (*OURS, MLFLOWS)
]


@pytest.fixture
def report(
    cell: Cell, only: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Report:
    """What came of every case with ``only`` in its name."""
    environment = request.getfixturevalue("mlflow_environment")
    url = None
    if cell.database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return run_cell(cell, environment, tmp_path, database_url=url, only=only)


@pytest.mark.parametrize(
    ("cell", "only"),
    [*EVERYWHERE, pytest.param(MLFLOWS, "stages/", id=f"stages of {MLFLOWS}")],
)
def test_every_case_passes(
    only: str, report: Report, subtests: pytest.Subtests
) -> None:
    assert set(report) == {case.identity for case in CASES if only in case.identity}
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
