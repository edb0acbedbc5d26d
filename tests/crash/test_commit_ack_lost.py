"""The acknowledgement of COMMIT is lost; the retry with the same key has one effect.

On PostgreSQL the process dies after COMMIT went out and before its answer was read:
the change is committed and nobody knows. SQLite commits inside the process: it dies
at several instants within the commit, where either outcome is right, and at once
after it, where the change is committed and the client was not answered.
"""

import pytest

from tests.crash.driver import Driver, RunPlan, RunResult
from tests.crash.points import Plan

INSTANTS = (0.0, 0.0002, 0.0005, 0.001, 0.003)


def _crash_first_change(driver: Driver, point: str, seconds: float = 0.0) -> RunResult:
    result = driver.run(RunPlan(11, (Plan(point, 1, seconds),)))
    assert result.died_at == [point]
    return result


def test_retry_after_a_crash_at_the_end_of_commit_has_one_effect_on_sqlite(
    sqlite_driver: Driver,
) -> None:
    result = _crash_first_change(sqlite_driver, "change after commit")

    assert result.verdict.violations == []
    assert result.replayed == 1


@pytest.mark.parametrize("seconds", INSTANTS)
def test_retry_after_a_crash_within_commit_has_one_effect_on_sqlite(
    sqlite_driver: Driver, seconds: float
) -> None:
    result = _crash_first_change(sqlite_driver, "change during commit", seconds)

    assert result.verdict.violations == []


@pytest.mark.service
@pytest.mark.parametrize("point", ["change during commit", "change after commit"])
def test_retry_after_a_lost_acknowledgement_has_one_effect_on_postgresql(
    postgresql_driver: Driver, point: str
) -> None:
    result = _crash_first_change(postgresql_driver, point)

    assert result.verdict.violations == []
    assert result.replayed == 1
