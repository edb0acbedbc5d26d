"""What happened to a version, step by step."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from registry.domain.requests import RequestState
from registry.domain.rows import DeploymentRow, RequestRow, StageChangeRow
from registry.persistence.version_story import Deliveries, Line, Story
from registry.ui.steps import Evidence, Happening, Step, happenings
from tests.unit.commands.making import APPROVAL, ASKED, BEFORE, DEPLOYED, ENTERED

RUN = "https://ci.example/runs/7"
APPROVED = replace(
    ASKED, state="approved", closed_at=BEFORE, closed_by="bob", transition_id="trn_5"
)
BY_REQUEST = replace(ENTERED, request_id="req_1")


def story_told(
    *changes: StageChangeRow,
    deployments: tuple[DeploymentRow, ...] = (),
    state: RequestState = RequestState.OPEN,
    counted: int | None = None,
    **members: Any,  # noqa: ANN401  # of Story
) -> list[Happening]:
    story = Story(lines=[Line(change, None, None) for change in changes], **members)
    states = {row.id: state for row in story.requests}
    known = {} if counted is None else dict.fromkeys(states, counted)
    return happenings(story, deployments, states, known)


def steps_of(*changes: StageChangeRow, **members: Any) -> dict[str, Step]:  # noqa: ANN401  # as above
    (happening,) = story_told(*changes, **members)
    return {step.name: step for step in happening.steps}


def test_change_that_nobody_had_to_approve_has_all_five_steps() -> None:
    steps = steps_of(ENTERED)

    assert [(step.name, step.tone, step.text) for step in steps.values()] == [
        ("Requested", "plain", "not needed"),
        ("Approved", "plain", "not needed"),
        ("Committed", "good", "by pat"),
        ("Delivered", "plain", "no deliveries on record"),
        ("Deployed", "plain", "nothing reported"),
    ]
    assert steps["Committed"].at == BEFORE
    assert steps["Committed"].evidence == (Evidence("audit", "audit entry", "trn_5"),)


def test_change_that_was_asked_for_names_who_asked_and_who_approved() -> None:
    other = replace(APPROVAL, name="eve")
    steps = steps_of(
        BY_REQUEST, requests=[APPROVED], approvals={"req_1": [APPROVAL, other]}
    )

    assert (steps["Requested"].tone, steps["Requested"].text) == ("good", "by ci")
    assert steps["Requested"].evidence == (Evidence("request", "request", "req_1"),)
    assert (steps["Approved"].tone, steps["Approved"].text) == ("good", "by bob, eve")
    assert steps["Approved"].evidence == (Evidence("request", "approvals", "req_1"),)


def test_runs_of_ci_jobs_are_evidence_of_what_they_did() -> None:
    job = {"on_behalf_of": {"run_url": RUN}}
    entries = [
        json.dumps({**job, "transition_id": "trn_5"}),
        json.dumps({**job, "after": {"id": "req_1"}}),
        json.dumps({"on_behalf_of": None, "transition_id": "trn_6"}),
        "no JSON",
    ]
    steps = steps_of(BY_REQUEST, requests=[APPROVED], entries=entries)

    assert steps["Committed"].evidence[1] == Evidence("web", "CI run", RUN)
    assert steps["Requested"].evidence[1] == Evidence("web", "CI run", RUN)


def test_broken_glass_is_told_in_place_of_an_approval() -> None:
    step = steps_of(replace(ENTERED, broke_glass=True))["Approved"]

    assert (step.tone, step.text) == ("bad", "gone past: glass broken")


@pytest.mark.parametrize(
    ("deliveries", "tone", "text"),
    [
        (Deliveries(2, 2, 0, 0, BEFORE), "good", "2 of 2"),
        (Deliveries(2, 1, 1, 0, BEFORE), "good", "1 of 2, 1 superseded"),
        (Deliveries(2, 1, 0, 0, BEFORE), "waiting", "1 of 2"),
        (Deliveries(3, 1, 0, 1, BEFORE), "bad", "1 of 3, 1 failed"),
        (Deliveries(1, 0, 0, 0, None), "waiting", "0 of 1"),
    ],
)
def test_deliveries_are_counted(deliveries: Deliveries, tone: str, text: str) -> None:
    step = steps_of(ENTERED, deliveries={"evt_5": deliveries})["Delivered"]

    assert (step.tone, step.text, step.at) == (tone, text, deliveries.last_delivered_at)
    assert step.evidence == (Evidence("deliveries", "deliveries", "trn_5"),)


def test_deployments_are_those_of_the_change() -> None:
    later = BEFORE + timedelta(hours=1)
    us = replace(DEPLOYED, environment="us", status="in_progress", url=None)
    step = steps_of(
        ENTERED,
        deployments=(
            DEPLOYED,
            replace(us, updated_at=later),
            replace(us, environment="asia", transition_id="trn_4"),
            replace(us, environment="test", transition_id=None),
        ),
    )["Deployed"]

    assert (step.tone, step.text) == ("waiting", "eu: succeeded\nus: in progress")
    assert step.at == later
    assert step.evidence == [Evidence("web", "eu", "https://ci.example/1")]


@pytest.mark.parametrize(
    ("statuses", "tone"),
    [
        (("succeeded", "succeeded"), "good"),
        (("succeeded", "failed"), "bad"),
        (("pending", "succeeded"), "waiting"),
    ],
)
def test_one_failure_makes_a_deployment_one(
    statuses: tuple[str, ...], tone: str
) -> None:
    rows = tuple(replace(DEPLOYED, status=status) for status in statuses)

    assert steps_of(ENTERED, deployments=rows)["Deployed"].tone == tone


def left(request: RequestRow, state: RequestState, **members: Any) -> Step:  # noqa: ANN401  # of Story
    (happening,) = story_told(state=state, requests=[request], **members)
    assert happening.line is None
    return happening.steps[-1]


@pytest.mark.parametrize(("counted", "text"), [(1, "1 of 2"), (None, "needs 2")])
def test_request_that_is_open_tells_how_many_approvals_count(
    counted: int | None, text: str
) -> None:
    request, given = replace(ASKED, needed=2), {"req_1": [APPROVAL]}
    step = left(request, RequestState.OPEN, approvals=given, counted=counted)

    assert (step.name, step.tone, step.text) == ("Approved", "waiting", text)


@pytest.mark.parametrize(
    ("state", "by", "told"),
    [
        (RequestState.REJECTED, "bob", ("Rejected", "bad", "by bob")),
        (RequestState.CANCELLED, "ann", ("Cancelled", "plain", "by ann")),
        (RequestState.EXPIRED, None, ("Expired", "plain", "")),
        (RequestState.VOID, None, ("Void", "plain", "")),
    ],
)
def test_request_that_led_nowhere_ends_as_it_was_left(
    state: RequestState, by: str | None, told: tuple[str, str, str]
) -> None:
    step = left(replace(ASKED, closed_by=by), state)

    assert (step.name, step.tone, step.text) == told


def test_what_happened_last_stands_first() -> None:
    registered = replace(ENTERED, from_stage=None, to_stage="None", sequence=1)
    request = replace(ASKED, created_at=BEFORE + timedelta(hours=2))
    found = story_told(
        replace(ENTERED, at=BEFORE + timedelta(hours=1)),
        registered,
        requests=[request],
    )

    assert [each.request is not None for each in found] == [True, False, False]
    assert found[2].steps == ()
