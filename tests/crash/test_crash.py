"""The crash test: killed anywhere, nothing is lost, invented or out of order.

``make long`` makes the 1,000 runs that the bar asks for; so does
``python -m tests.crash --database postgresql --runs 1000 --seed 1``.
"""

import os

import pytest

from tests.crash.driver import Driver
from tests.crash.session import Totals, run_all
from tests.lengths import Lengths

LENGTHS = Lengths.from_env(os.environ)


def _run(driver: Driver) -> Totals:
    totals = run_all(driver, LENGTHS.seed, LENGTHS.crash_runs, report=lambda _: None)
    print(totals.report)  # noqa: T201  # The figures of a long run are its result.
    return totals


@pytest.mark.long
def test_kills_lose_invent_and_reorder_nothing_on_sqlite(
    sqlite_driver: Driver,
) -> None:
    totals = _run(sqlite_driver)

    assert totals.violations == []
    assert totals.kills >= LENGTHS.crash_runs * 0.9


@pytest.mark.long
@pytest.mark.service
def test_kills_lose_invent_and_reorder_nothing_on_postgresql(
    postgresql_driver: Driver,
) -> None:
    totals = _run(postgresql_driver)

    assert totals.violations == []
    assert totals.kills >= LENGTHS.crash_runs * 0.9
