"""What CI found out about a version, and what keeps versions out of a stage."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from registry.domain.actors import ActorKind
from registry.domain.commands.checks import (
    MAX_CHECKS,
    MAX_NAME_CHARACTERS,
    ReportCheck,
)
from registry.domain.commands.holds import LiftHold, SetHold
from registry.domain.holds import Hold
from registry.domain.rows import CheckRow, CheckStatus
from registry.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    PromptStageError,
)
from tests.unit.commands.every import THIRD
from tests.unit.commands.making import (
    BEFORE,
    CHECK,
    HOLD,
    MODEL,
    NOW,
    POLICY,
    PROMPT,
    context,
    events,
    seen,
    written,
)

SET = SetHold(model="churn", stage="production", reason="audit")
LIFT = LiftHold(model="churn", stage="PRODUCTION", reason="found")
BY_HAND = Hold(stage="Production", reason="audit", by="pat", at=NOW)
HELD = replace(MODEL, holds=[HOLD.document])


def report(name: str = "tests", **more: Any) -> ReportCheck:  # noqa: ANN401
    return ReportCheck(**THIRD, name=name, status=CheckStatus.FAILED, **more)


def test_check_is_added_once_and_its_last_result_counts() -> None:
    first = report(url="https://ci.example/1", description="e\u0301").decide(
        seen(), context()
    )
    again = report().decide(seen(checks={"tests": CHECK}), context())

    row = CheckRow(
        version_id="v3",
        name="tests",
        status="failed",
        url="https://ci.example/1",
        description="é",
        reported_by="pat",
        created_at=NOW,
        updated_at=NOW,
    )
    assert first.answer == row
    assert (written(first).added, written(first).changed) == ([row], [])
    assert (written(again).added, written(again).changed) == ([], [again.answer])
    assert (again.answer.created_at, again.answer.updated_at) == (BEFORE, NOW)
    assert report().want(POLICY).checks


def test_check_is_announced_and_logged_with_what_it_said_before() -> None:
    first = report().decide(seen(), context())
    again = report().decide(seen(checks={"tests": CHECK}), context())

    ((name, data),) = events(again)
    assert name == "model_version.check_reported"
    assert (data["version"], data["check"]["status"]) == (3, "failed")
    entries = [written(outcome).entry.canonical for outcome in (first, again)]
    assert ['"before":null' in text for text in entries] == [True, False]
    assert '"status":"passed"' in entries[1]


@pytest.mark.parametrize("name", ["", " ", "x" * (MAX_NAME_CHARACTERS + 1)], ids=len)
def test_check_has_a_name_of_some_length(name: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        report(name).decide(seen(), context())

    assert refused.value.field == "name"


def test_checks_of_a_version_are_so_many_at_most() -> None:
    full = {f"c{number}": CHECK for number in range(MAX_CHECKS)}

    with pytest.raises(ConflictError, match="version 3 has 100 checks, as many as it"):
        report().decide(seen(checks=full), context())
    assert report("c1").decide(seen(checks=full), context()).effects


def test_hold_by_hand_is_kept_announced_and_logged() -> None:
    until = NOW + timedelta(hours=1)
    outcome = replace(SET, until=until).decide(seen(), context())

    assert outcome.answer == replace(BY_HAND, until=until)
    (stored,) = written(outcome).model.holds
    assert Hold.of(stored) == outcome.answer
    ((name, data),) = events(outcome)
    assert (name, data["hold"]) == ("registered_model.hold_set", stored)
    assert '"reason":"audit"' in written(outcome).entry.canonical


def test_hold_takes_the_place_of_one_of_its_stage_and_kind() -> None:
    """Who may set one by hand must not end that of a rollback by it."""
    elsewhere = replace(BY_HAND, stage="Staging").document
    before = [HOLD.document, elsewhere, replace(BY_HAND, reason="old").document]

    outcome = SET.decide(seen(model=replace(MODEL, holds=before)), context())

    assert written(outcome).model.holds == [HOLD.document, elsewhere, BY_HAND.document]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"stage": "Live"}, "stage"),
        ({"reason": " "}, "reason"),
        ({"until": NOW}, "until"),
    ],
    ids=str,
)
def test_hold_by_hand_has_a_stage_a_reason_and_no_end_that_is_over(
    more: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        replace(SET, **more).decide(seen(), context())

    assert refused.value.field == field


def test_prompt_has_no_stage_to_hold() -> None:
    with pytest.raises(PromptStageError):
        SET.decide(seen(model=PROMPT), context())


@pytest.mark.parametrize("command", [SET, LIFT], ids=["set", "lift"])
def test_stage_of_a_hold_is_looked_up_before_the_model(
    command: SetHold | LiftHold,
) -> None:
    assert command.want(POLICY).number is None
    with pytest.raises(InvalidInputError, match="unknown stage 'Live'"):
        replace(command, stage="Live").want(POLICY)


def test_lifted_hold_leaves_those_of_other_stages() -> None:
    elsewhere = replace(HOLD, stage="Staging").document
    model = replace(MODEL, holds=[elsewhere, HOLD.document])

    outcome = LIFT.decide(seen(model=model), context())

    assert written(outcome).model.holds == [elsewhere]
    ((name, data),) = events(outcome)
    assert (name, data["hold"]) == ("registered_model.hold_lifted", HOLD.document)
    assert '"reason":"found"' in written(outcome).entry.canonical


def test_both_holds_of_a_stage_are_lifted_at_once() -> None:
    both = [HOLD.document, BY_HAND.document]

    outcome = LIFT.decide(seen(model=replace(MODEL, holds=both)), context())

    assert written(outcome).model.holds == []
    assert [data["hold"] for _, data in events(outcome)] == both
    assert '"besides":[{' in written(outcome).entry.canonical


def test_hold_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="nothing holds Production of model"):
        LIFT.decide(seen(), context())


def test_ci_job_lifts_no_hold() -> None:
    with pytest.raises(PermissionDeniedError, match="a person lifts a hold, not a CI"):
        LIFT.decide(seen(model=HELD), context(kind=ActorKind.CI))


def test_ci_job_sets_a_hold_where_none_by_hand_stands() -> None:
    by_ci = context(kind=ActorKind.CI)
    over = replace(BY_HAND, until=NOW)

    with pytest.raises(PermissionDeniedError, match="a person changes a hold, not a"):
        SET.decide(seen(model=replace(MODEL, holds=[BY_HAND.document])), by_ci)
    for hold in (over, HOLD, replace(BY_HAND, stage="Staging")):
        found = seen(model=replace(MODEL, holds=[hold.document]))
        assert SET.decide(found, by_ci).effects
