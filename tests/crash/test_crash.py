"""The crash test: killed anywhere, nothing is lost, invented or out of order.

Ten runs each by default; ``make long`` makes the 1,000 that the bar asks for, and so
does ``python -m tests.crash --database postgresql --runs 1000 --seed 1``.
"""

import os

import pytest

from tests.crash.driver import Driver
from tests.crash.session import run_all
from tests.lengths import Lengths

LENGTHS = Lengths.from_env(os.environ)


@pytest.mark.parametrize(
    "runs", [10, pytest.param(LENGTHS.crash_runs, marks=pytest.mark.long)]
)
@pytest.mark.parametrize(
    "database",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.service)],
)
def test_kills_lose_invent_and_reorder_nothing(
    database: str, runs: int, request: pytest.FixtureRequest
) -> None:
    driver: Driver = request.getfixturevalue(f"{database}_driver")

    totals = run_all(driver, LENGTHS.seed, runs, report=lambda _: None)

    print(totals.report)  # noqa: T201  # The figures of a long run are its result.
    assert totals.violations == []
    assert totals.kills >= runs * 0.9
