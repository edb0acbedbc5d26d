"""Transition requests: asked for, approved by others, rejected, cancelled."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from registry.domain.actors import ActorKind
from registry.domain.commands.change import Context, Outcome, Snapshot
from registry.domain.commands.moves import Moved, MoveVersion
from registry.domain.commands.requests import (
    ApproveRequest,
    CloseRequest,
    RequestMove,
)
from registry.domain.requests import RequestState
from registry.domain.roles import Role
from registry.domain.rows import ApprovalRow, RequestRow, StageChangeRow, VersionRow
from registry.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PromptStageError,
    SelfApprovalError,
    StaleExpectationError,
    TransitionRefusedError,
)
from tests.unit.commands.every import STAGED, THIRD
from tests.unit.commands.making import (
    APPROVAL,
    ASKED,
    BEFORE,
    CHECK,
    DIGEST,
    HOLD,
    MODEL,
    NOW,
    POLICY,
    PROMPT,
    context,
    events,
    policy,
    seen,
    version,
    written,
)

APPROVED = """
[[override]]
models = "churn"
approval_hours = 2
[[override.moves]]
from = "None"
to = "Staging"
via = "promotion"
[[override.moves]]
from = "Staging"
to = "Production"
via = "promotion"
approvals = 1
checks = ["tests"]
[[override.moves]]
from = "Archived"
to = "Production"
via = "rollback"
approvals = 1
"""
RULES = policy(APPROVED)
TWO = policy(APPROVED.replace("approvals = 1", "approvals = 2"))
BOB: dict[str, Any] = {"name": "bob", "by": "idp#bob", "human": "idp#bob"}
EVE: dict[str, Any] = {"name": "eve", "by": "idp#eve", "human": "idp#eve"}


def asked(rules: Any = RULES, **columns: Any) -> RequestRow:  # noqa: ANN401
    return replace(ASKED, policy_digest=rules.digest, **columns)


def found(request: RequestRow | None, **more: Any) -> Snapshot:  # noqa: ANN401
    given = {"version": STAGED, "checks": {"tests": CHECK}, **more}
    return seen(request=request, **given)


def approver(
    rules: Any = RULES,  # noqa: ANN401
    role: Role = Role.APPROVER,
    **who: Any,  # noqa: ANN401
) -> Context:
    return context(role, rules=rules, **{**BOB, "kind": ActorKind.USER, **who})


def approve(**more: Any) -> ApproveRequest:  # noqa: ANN401
    move = MoveVersion(
        **THIRD,
        to_stage="Production",
        verified_digest=DIGEST,
        transition_id="trn_new",
        **more,
    )
    return ApproveRequest(model="churn", request="req_1", comment="fine", move=move)


def close(state: RequestState = RequestState.REJECTED) -> CloseRequest:
    return CloseRequest(model="churn", request="req_1", state=state, comment="no")


def rows(outcome: Outcome[Any], kind: type[Any]) -> tuple[list[Any], list[Any]]:
    effects = written(outcome)
    return (
        [row for row in effects.added if isinstance(row, kind)],
        [row for row in effects.changed if isinstance(row, kind)],
    )


def promoted(at: Snapshot, **more: Any) -> Outcome[Moved]:  # noqa: ANN401
    move = MoveVersion(**THIRD, to_stage="Production", **more)
    return move.decide(at, context(rules=RULES, human="idp#ann", made_by="o"))


def test_move_that_must_be_approved_becomes_a_request_and_moves_nothing() -> None:
    outcome = promoted(found(None), reason="better")

    (request,), changed = rows(outcome, RequestRow)
    assert changed == []
    assert request == replace(
        asked(),
        id=request.id,
        requested_by="pat",
        requester_kind="token",
        requester="t-pat",
        requester_made_by="o",
        created_at=NOW,
        expires_at=NOW + timedelta(hours=2),
    )
    assert [told for told, _ in events(outcome)] == ["transition_request.created"]
    assert outcome.answer.transition_id is None
    assert outcome.answer.document["request"]["id"] == request.id
    assert (written(outcome).entry.action, written(outcome).entry.version) == (
        "transition_request.created",
        3,
    )


def test_ids_of_requests_sort_by_time() -> None:
    early, late = (
        rows(promoted(found(None, model=model)), RequestRow)[0][0].id
        for model in (MODEL, replace(MODEL, updated_at=NOW + timedelta(microseconds=1)))
    )

    assert early < late


def test_who_asks_for_what_was_asked_for_finds_that_request() -> None:
    outcome = promoted(found(asked()))

    assert outcome.effects is None
    assert outcome.answer.request == asked()


@pytest.mark.parametrize(
    ("earlier", "state", "closed_by"),
    [
        ({"archives_others": True}, "cancelled", "pat"),
        ({"is_rollback": True}, "cancelled", "pat"),
        ({"needed": 2}, "cancelled", "pat"),
        ({"expires_at": NOW}, "expired", None),
        ({"policy_digest": "sha256:old"}, "void", None),
    ],
    ids=str,
)
def test_request_that_is_another_gives_way(
    earlier: dict[str, Any], state: str, closed_by: str | None
) -> None:
    outcome = promoted(found(replace(asked(), **earlier)))

    (new,), (old,) = rows(outcome, RequestRow)
    assert (old.id, old.state, old.closed_by) == ("req_1", state, closed_by)
    assert old.closed_at == NOW
    assert new.state == "open"
    assert f'"ended":{{"req_1":"{state}"}}' in written(outcome).entry.canonical
    told = [name for name, _ in events(outcome)]
    assert ("transition_request.cancelled" in told) is (state == "cancelled")


def test_move_that_needs_no_approval_can_be_asked_for_all_the_same() -> None:
    ask = RequestMove(**THIRD, to_stage="staging", reason="e\u0301")

    outcome = ask.decide(seen(), context(rules=RULES))

    request = outcome.answer
    assert (request.to_stage, request.needed, request.reason) == ("Staging", 1, "é")
    assert ask.want(RULES).asked == "Staging"
    assert ask.want(RULES).number == 3


def test_gates_need_not_pass_when_a_move_is_asked_for() -> None:
    ask = RequestMove(**THIRD, to_stage="Production")

    outcome = ask.decide(seen(version=STAGED), context(rules=TWO))

    assert outcome.answer.needed == 2


def test_move_of_another_version_than_was_shown_is_not_asked_for() -> None:
    ask = RequestMove(**THIRD, to_stage="Production", if_match="old")

    with pytest.raises(StaleExpectationError, match="version 3 has changed since"):
        ask.decide(seen(version=STAGED), context(rules=TWO))


def test_move_that_no_rule_allows_is_not_asked_for() -> None:
    with pytest.raises(TransitionRefusedError, match="is not an allowed move"):
        RequestMove(**THIRD, to_stage="Production").decide(seen(), context())


def test_prompt_is_moved_by_no_request() -> None:
    with pytest.raises(PromptStageError):
        RequestMove(**THIRD, to_stage="Staging").decide(seen(model=PROMPT), context())


def test_move_looks_for_a_request_where_one_may_be_needed() -> None:
    move = MoveVersion(**THIRD, to_stage="Production")

    assert move.want(RULES).asked == "Production"
    assert move.want(POLICY).asked is None
    want = approve().want(RULES)
    assert (want.request, want.checks, want.stage) == ("req_1", True, "Production")
    assert close().want(RULES).request == "req_1"


def test_last_approval_makes_the_move_and_uses_the_request_up() -> None:
    incumbent = version(1, "Production")

    outcome = approve().decide(found(asked(), in_stage=[incumbent]), approver())

    request, moved = outcome.answer
    assert moved is not None
    assert (moved.version.stage, moved.superseded) == ("Production", 1)
    (approval,), _ = rows(outcome, ApprovalRow)
    assert (approval.name, approval.comment, approval.at) == ("bob", "fine", NOW)
    _, (used_up,) = rows(outcome, RequestRow)
    assert request == used_up
    assert used_up == replace(
        asked(),
        state="approved",
        closed_at=NOW,
        closed_by="bob",
        comment="fine",
        transition_id="trn_new",
    )
    assert [told for told, _ in events(outcome)] == [
        *["model_version.stage_changed"] * 2,
        "transition_request.approved",
    ]
    aside, entered, told = (data for _, data in events(outcome))
    assert (aside["request_id"], entered["request_id"]) == (None, "req_1")
    assert (told["version"], told["stage"]) == (3, "Production")
    assert told["request"]["state"] == "approved"
    details = '"approved_by":["bob"],'
    assert details in written(outcome).entry.canonical
    assert '"requested_by":"ci"' in written(outcome).entry.canonical
    lines, _ = rows(outcome, StageChangeRow)
    assert [line.request_id for line in lines] == [None, "req_1"]


def first_approval(at: Snapshot | None = None) -> ApprovalRow:
    """Bob's approval of a request for two, as it was written."""
    outcome = approve().decide(at or found(asked(TWO, needed=2)), approver(TWO))
    ((approval,), _) = rows(outcome, ApprovalRow)
    assert isinstance(approval, ApprovalRow)
    return approval


def test_approval_that_is_not_the_last_is_noted() -> None:
    outcome = approve().decide(found(asked(TWO, needed=2)), approver(TWO))

    assert outcome.answer == (asked(TWO, needed=2), None)
    assert rows(outcome, RequestRow) == ([], [])
    assert [told for told, _ in events(outcome)] == ["transition_request.updated"]
    assert '"approvals":1' in written(outcome).entry.canonical


def test_who_approves_again_counts_once() -> None:
    mine = first_approval()

    outcome = approve().decide(
        found(asked(TWO, needed=2), approvals=[mine]), approver(TWO)
    )

    assert outcome.answer[1] is None
    assert rows(outcome, ApprovalRow) == ([], [mine])


def test_second_person_makes_the_move() -> None:
    at = found(asked(TWO, needed=2), approvals=[first_approval()])

    outcome = approve().decide(at, approver(TWO, **EVE))

    assert outcome.answer[1] is not None
    assert '"approved_by":["eve","bob"]' in written(outcome).entry.canonical


def test_who_had_approved_before_makes_the_move_that_waited_for_a_gate() -> None:
    mine = replace(first_approval(found(asked(TWO, needed=2))), comment="old")

    outcome = approve().decide(
        found(asked(TWO), approvals=[mine], checks={"tests": CHECK}),
        approver(replace(TWO, overrides=RULES.overrides)),
    )

    assert outcome.answer[1] is not None
    added, changed = rows(outcome, ApprovalRow)
    assert (added, [row.comment for row in changed]) == ([], ["fine"])


@pytest.mark.parametrize(
    "changed",
    [
        {"binding": "other"},
        {"human": "idp#eve", "approver": "t-eve"},
        {"made_by": "idp#eve", "approver": "t-other", "human": ""},
    ],
    ids=["of another state of gates", "by the same person", "by a credential of hers"],
)
def test_approval_that_counts_no_more_or_not_beside_this_one_is_none(
    changed: Mapping[str, str],
) -> None:
    earlier = replace(first_approval(), **changed)  # type: ignore[arg-type]
    at = found(asked(TWO, needed=2), approvals=[earlier])

    assert approve().decide(at, approver(TWO, **EVE)).answer[1] is None


def test_check_that_is_reported_again_ends_the_approvals_before() -> None:
    again = {"tests": replace(CHECK, updated_at=NOW)}
    at = found(asked(TWO, needed=2), approvals=[first_approval()], checks=again)

    assert approve().decide(at, approver(TWO, **EVE)).answer[1] is None


def test_who_was_shown_something_else_does_not_approve_what_is_there() -> None:
    shown = first_approval().binding
    again = {"tests": replace(CHECK, updated_at=NOW)}
    command = replace(approve(), bound_to=shown)

    noted = command.decide(found(asked(TWO, needed=2)), approver(TWO))
    assert rows(noted, ApprovalRow) == ([first_approval()], [])
    with pytest.raises(StaleExpectationError, match="has changed since"):
        command.decide(found(asked(TWO, needed=2), checks=again), approver(TWO))


def test_approvals_are_as_many_as_the_policy_asks_for_the_present_name() -> None:
    """A model may be renamed once it was asked for: other rules hold for it then."""
    outcome = approve().decide(found(asked(TWO, needed=1)), approver(TWO))

    assert outcome.answer[1] is None


@pytest.mark.parametrize(
    "who",
    [
        {"by": "github#1"},
        {"by": "t-ann", "human": "idp#ann"},
        {"by": "idp#root", "human": ""},
        {"by": "t-1", "human": "", "made_by": "github#1"},
        {"by": "t-1", "human": "", "made_by": "idp#ann"},
    ],
    ids=str,
)
def test_nobody_approves_what_they_asked_for(who: dict[str, Any]) -> None:
    with pytest.raises(SelfApprovalError, match="ci asked for this"):
        approve().decide(found(asked()), approver(**who))


def test_approval_is_given_by_people_who_may() -> None:
    with pytest.raises(PermissionDeniedError, match="may not approve model 'churn'"):
        approve().decide(found(asked()), approver(role=Role.PROMOTER))
    with pytest.raises(PermissionDeniedError, match="a person approves, not a CI job"):
        approve().decide(found(asked()), approver(kind=ActorKind.CI))


def test_who_approves_sees_every_other_gate_pass() -> None:
    with pytest.raises(TransitionRefusedError, match="check 'tests' is missing"):
        approve().decide(found(asked(), checks={}), approver())


@pytest.mark.parametrize(("number", "is_held"), [(3, True), (2, False)])
def test_newer_version_that_is_approved_goes_past_a_hold_and_ends_it(
    number: int,
    *,
    is_held: bool,
) -> None:
    held = replace(MODEL, holds=[replace(HOLD, version=number).document])
    at = found(asked(), model=held)

    if is_held:
        with pytest.raises(TransitionRefusedError, match="is held after the rollback"):
            approve().decide(at, approver())
    else:
        assert written(approve().decide(at, approver())).model.holds == []


def test_approved_rollback_goes_where_the_version_has_been() -> None:
    request = asked(from_stage="Archived", is_rollback=True)
    at = found(request, version=version(stage="Archived"))

    with pytest.raises(TransitionRefusedError, match="has never been in Production"):
        approve(is_rollback=True).decide(at, approver())
    been = replace(at, stages_before=frozenset({"Production"}))
    outcome = approve(is_rollback=True).decide(been, approver())
    assert outcome.answer[1] is not None
    assert outcome.answer[1].cause == "rollback"


def test_room_for_an_approved_move_uses_nothing_up() -> None:
    crowd = [version(number, "Production") for number in range(10, 111)]
    at = found(asked(), in_stage=crowd)

    outcome = approve(makes_room=True).decide(at, approver())

    assert rows(outcome, RequestRow) == ([], [])
    assert rows(outcome, ApprovalRow) == ([], [])
    request, moved = outcome.answer
    assert request == asked()
    assert moved is not None
    assert moved.version.stage == "Staging"


@pytest.mark.parametrize(
    ("request_of_it", "there", "why"),
    [
        ({"state": "rejected", "closed_by": "eve"}, STAGED, "rejected (by eve)"),
        ({"expires_at": NOW}, STAGED, "expired (nobody approved it in time)"),
        ({"policy_digest": "sha256:old"}, STAGED, "void (version, artifact or policy"),
        ({}, replace(STAGED, stage="Archived"), "void (version, artifact or policy"),
        ({}, replace(STAGED, artifact_digest="sha256:b"), "void (version, artifact"),
        ({}, None, "void (version, artifact or policy"),
    ],
)
def test_request_that_does_not_stand_is_neither_approved_nor_closed(
    request_of_it: dict[str, Any],
    there: VersionRow | None,
    why: str,
) -> None:
    at = found(replace(asked(), **request_of_it), version=there)

    for command in (approve(), close()):
        with pytest.raises(ConflictError) as refused:
            command.decide(at, approver())
        assert f"request req_1 is {why}" in refused.value.message


def test_request_that_is_not_there_is_not_found() -> None:
    for command in (approve(), close()):
        with pytest.raises(NotFoundError, match="no transition request 'req_1'"):
            command.decide(seen(), approver())


@pytest.mark.parametrize(
    ("state", "who", "told"),
    [
        (RequestState.REJECTED, BOB, "transition_request.rejected"),
        (
            RequestState.CANCELLED,
            {"by": "t-ann", "human": "idp#ann", "role": Role.READER},
            "transition_request.cancelled",
        ),
        (
            RequestState.CANCELLED,
            {"role": Role.ADMIN},
            "transition_request.cancelled",
        ),
    ],
    ids=["who may approve", "who asked", "an admin"],
)
def test_request_is_closed_by_who_may(
    state: RequestState, who: dict[str, Any], told: str
) -> None:
    outcome = close(state).decide(found(asked()), approver(**who))

    assert outcome.answer == replace(
        asked(), state=state.value, closed_at=NOW, closed_by="bob", comment="no"
    )
    assert rows(outcome, RequestRow) == ([], [outcome.answer])
    ((name, data),) = events(outcome)
    assert (name, data["request"]["state"]) == (told, state.value)
    assert '"before":{' in written(outcome).entry.canonical


@pytest.mark.parametrize(
    ("state", "role"),
    [
        (RequestState.REJECTED, Role.PROMOTER),
        (RequestState.CANCELLED, Role.APPROVER),
    ],
)
def test_request_of_others_is_left_to_who_may_close_it(
    state: RequestState, role: Role
) -> None:
    with pytest.raises(PermissionDeniedError):
        close(state).decide(found(asked()), approver(role=role))


def test_what_becomes_of_a_request_is_never_earlier_than_what_was_before() -> None:
    behind = replace(approver(), now=BEFORE - timedelta(hours=1))

    _, (used_up,) = rows(approve().decide(found(asked()), behind), RequestRow)
    _, (rejected,) = rows(close().decide(found(asked()), behind), RequestRow)

    assert (used_up.closed_at, rejected.closed_at) == (BEFORE, BEFORE)


def test_approval_row_is_bound_to_who_gives_it() -> None:
    given = first_approval()

    assert replace(given, binding="", comment="", at=BEFORE) == APPROVAL
    assert len(given.binding) == 64
