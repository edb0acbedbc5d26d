"""Approvals tell by a check's instant that it was reported again."""

from datetime import timedelta

import pytest

from registry.domain.commands.checks import ReportCheck
from registry.domain.rows import CheckRow, CheckStatus
from tests.unit.commands.making import MODEL, NOW, context, seen

REPORTS = ReportCheck(
    model=MODEL.name, number=3, name="tests", status=CheckStatus.PASSED
)


def test_check_is_reported_at_the_present_instant() -> None:
    assert REPORTS.decide(seen(), context()).answer.updated_at == NOW


@pytest.mark.parametrize("back", [timedelta(), timedelta(hours=1)])
def test_t7_check_is_reported_later_than_before_though_the_clock_went_back(
    back: timedelta,
) -> None:
    first: CheckRow = REPORTS.decide(seen(), context()).answer

    again = REPORTS.decide(seen(checks={"tests": first}), context(now=NOW - back))

    assert again.answer.updated_at > first.updated_at
    assert again.answer.created_at == first.created_at
