"""What consumers report: the last word, and the rollback that a failure asks for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from registry.domain.actors import SYSTEM
from registry.domain.commands.change import DeploymentFacts, Outcome
from registry.domain.commands.deployments import (
    DeploymentGrant,
    ReportDeployment,
)
from registry.domain.documents import DeploymentStatus
from registry.domain.policy import Cause
from registry.domain.roles import Role
from registry.domain.rows import DeploymentRow
from registry.errors import ConflictError, InvalidInputError, NotFoundError
from tests.unit.commands.every import REPORT
from tests.unit.commands.making import (
    BEFORE,
    DEPLOYED,
    ENTERED,
    NOW,
    POLICY,
    context,
    events,
    seen,
    version,
    written,
)

GRANT = DeploymentGrant(
    model="churn",
    number=3,
    transition_id="trn_5",
    event_id="evt_5",
    subscription_id="sub_1",
    delivery_id="dlv_5",
)
EARLIER = replace(ENTERED, sequence=4, transition_id="trn_4", event_id="evt_4")
FAILS = replace(REPORT, status=DeploymentStatus.FAILED)
SUCCEEDS = replace(REPORT, status=DeploymentStatus.SUCCEEDED)
ROLLS_BACK = replace(POLICY, automatic_rollback=frozenset({"Production"}))


def standing(*rows: DeploymentRow, **more: Any) -> DeploymentFacts:  # noqa: ANN401
    found = {row.transition_id: row for row in rows}
    return replace(DeploymentFacts(present=ENTERED, rows=found), **more)


def reported(
    report: ReportDeployment,
    *rows: DeploymentRow,
    **more: Any,  # noqa: ANN401
) -> Outcome[DeploymentRow]:
    return report.decide(seen(deployment=standing(*rows, **more)), context())


def test_first_report_makes_a_row_and_the_next_its_last_word() -> None:
    first = reported(REPORT)
    second = reported(replace(FAILS, description="no memory"), first.answer)

    assert (written(first).added, written(first).changed) == ([first.answer], [])
    assert (written(second).added, written(second).changed) == ([], [second.answer])
    assert first.answer.id == second.answer.id
    assert (second.answer.status, second.answer.description) == ("failed", "no memory")
    assert second.answer.transition_id == "trn_5"
    ((name, data),) = events(second)
    assert (name, data["deployment"]["status"]) == ("deployment.updated", "failed")


def test_what_a_report_leaves_out_stays_as_it_was_said() -> None:
    row = reported(FAILS, DEPLOYED).answer

    assert (row.url, row.description, row.delivery_id) == (
        DEPLOYED.url,
        "done",
        "dlv_5",
    )
    assert (row.created_at, row.updated_at) == (BEFORE, NOW)


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ({}, False),
        ({"url": DEPLOYED.url, "description": "done"}, False),
        ({"url": "https://ci.example/2"}, True),
        ({"description": "all of it"}, True),
        ({"rolls_back": True}, True),
    ],
    ids=str,
)
def test_report_that_repeats_the_last_word_changes_nothing(
    said: dict[str, Any],
    changes: bool,  # noqa: FBT001
) -> None:
    outcome = reported(replace(SUCCEEDS, **said), DEPLOYED)

    assert (outcome.effects is not None) == changes
    assert outcome.answer.id == DEPLOYED.id


@pytest.mark.parametrize("status", ["pending", "in_progress"])
@pytest.mark.parametrize("sent_again", [None, BEFORE, BEFORE + timedelta(seconds=1)])
def test_what_has_succeeded_begins_anew_only_once_it_was_sent_again(
    status: str,
    sent_again: Any,  # noqa: ANN401
) -> None:
    report = replace(REPORT, status=DeploymentStatus(status))
    sent = {"evt_5": sent_again} if sent_again else {}

    if sent_again and sent_again > DEPLOYED.updated_at:
        assert reported(report, DEPLOYED, sent_again=sent).answer.status == status
    else:
        with pytest.raises(ConflictError, match="to eu has succeeded already"):
            reported(report, DEPLOYED, sent_again=sent)


def test_of_success_and_failure_the_last_one_counts() -> None:
    assert reported(FAILS, DEPLOYED).answer.status == "failed"
    failed = replace(DEPLOYED, status="failed")
    assert reported(SUCCEEDS, failed).answer.status == "succeeded"
    assert reported(REPORT, failed).answer.status == "pending"


@pytest.mark.parametrize(
    "named", [{"delivery_id": "dlv_4"}, {"webhook_id": "evt_4"}], ids=str
)
def test_report_is_about_the_change_that_its_delivery_announced(
    named: dict[str, Any],
) -> None:
    report = replace(FAILS, **named)

    row = reported(report, announced=EARLIER).answer

    assert row.transition_id == "trn_4"
    assert row.delivery_id == named.get("delivery_id")
    with pytest.raises(NotFoundError, match="announced a stage change of version 3"):
        reported(report)


@pytest.mark.parametrize(
    ("webhook_id", "announced", "row_is_of", "delivery"),
    [
        (None, None, "trn_5", "dlv_5"),
        ("evt_5", ENTERED, "trn_5", "dlv_5"),
        ("evt_4", EARLIER, "trn_4", None),
    ],
    ids=["by token", "same event", "another event"],
)
def test_grant_says_which_delivery_was_meant_if_it_is_of_that_event(
    webhook_id: str | None,
    announced: Any,  # noqa: ANN401
    row_is_of: str,
    delivery: str | None,
) -> None:
    report = replace(FAILS, grant=GRANT, webhook_id=webhook_id)

    row = reported(report, announced=announced).answer

    assert (row.transition_id, row.delivery_id) == (row_is_of, delivery)
    reported_on = report.want(POLICY).reported
    assert reported_on
    assert (reported_on.transition_id, reported_on.granted_event_id) == (
        "trn_5",
        "evt_5",
    )


def test_version_that_was_never_moved_may_be_deployed_too() -> None:
    row = reported(REPORT, present=None).answer

    assert (row.transition_id, row.delivery_id) == (None, None)


def test_place_without_a_name_is_none() -> None:
    with pytest.raises(InvalidInputError):
        replace(REPORT, environment=" ").want(POLICY)


def test_grant_is_for_one_version_and_no_role() -> None:
    assert GRANT.allows("churn", 3)
    assert not GRANT.allows("churn", 4)
    assert GRANT.actor.grants == ()


def due(
    report: ReportDeployment = FAILS,
    role: Role = Role.PROMOTER,
    *,
    stage: str = "Production",
    **more: Any,  # noqa: ANN401
) -> tuple[Any, str | None]:
    found = seen(version=version(stage=stage), deployment=standing(**more))
    return report.due_rollback(found, ROLLS_BACK, context(role).caller.actor)


def test_failure_rolls_back_what_is_still_there() -> None:
    move, refusal = due()

    assert refusal is None
    assert (move.number, move.to_stage, move.is_rollback) == (None, "Production", True)
    assert (move.expects_incumbent, move.expected_incumbent) == (True, 3)
    assert move.reason == "deployment to eu failed"


@pytest.mark.parametrize(
    "how",
    [
        {"report": SUCCEEDS},
        {"present": None},
        {"stage": "Staging"},
        {"report": replace(FAILS, webhook_id="evt_4"), "announced": EARLIER},
        {
            "present": replace(
                ENTERED, cause=Cause.ROLLBACK.value, actor_kind=SYSTEM.kind
            )
        },
    ],
    ids=["succeeded", "never moved", "no such rule", "earlier change", "rolled back"],
)
def test_nothing_is_rolled_back_where_no_failure_asks_for_it(
    how: dict[str, Any],
) -> None:
    assert due(**how) == (None, None)


def test_rollback_that_somebody_made_may_be_rolled_back() -> None:
    move, _ = due(present=replace(ENTERED, cause=Cause.ROLLBACK.value))

    assert move


@pytest.mark.parametrize(
    ("grant", "role", "moves"),
    [
        (None, Role.WRITER, False),
        (None, Role.PROMOTER, True),
        (GRANT, Role.VIEWER, True),
        (replace(GRANT, transition_id="trn_4"), Role.VIEWER, False),
    ],
    ids=["writer", "promoter", "own delivery", "another delivery"],
)
def test_rollback_takes_the_changes_own_delivery_or_a_promoter(
    grant: DeploymentGrant | None,
    role: Role,
    moves: bool,  # noqa: FBT001
) -> None:
    report = replace(FAILS, grant=grant, webhook_id="evt_5")

    move, refusal = due(report, role, announced=ENTERED)

    assert bool(move) == moves
    assert (refusal is None) == moves
    assert moves or "moves no version by a report" in str(refusal)
