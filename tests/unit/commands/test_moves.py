"""A move: the policy's word, who leaves for it, and what it waits for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from registry.domain.actors import SYSTEM, ActorKind, Caller
from registry.domain.commands.change import Context, Outcome, Snapshot
from registry.domain.commands.moves import MAX_LEAVING, Moved, MoveVersion, rollback
from registry.domain.holds import Hold
from registry.domain.policy import Decision, StagePolicy
from registry.domain.roles import Role
from registry.domain.rows import StageChangeRow, VersionRow
from registry.errors import (
    ConflictError,
    CrowdedStageError,
    InvalidInputError,
    PermissionDeniedError,
    PromptStageError,
    StaleExpectationError,
    TransitionRefusedError,
    VerificationNeededError,
)
from tests.unit.commands.making import (
    BEFORE,
    CHECK,
    DIGEST,
    HOLD,
    MODEL,
    NOW,
    OPEN,
    POLICY,
    PROMPT,
    context,
    events,
    policy,
    seen,
    version,
    written,
)

STAGED = version(3, "Staging")
HELD = version(1, "Production")
SERVED_BEFORE = frozenset({"None", "Staging", "Production", "Archived"})
#: Both may be entered from anywhere, Archived only after the artifact was verified.
SHARED = policy(
    """
[[override]]
models = "*"
moves = [
  { from = "*", to = "Production", via = "promotion" },
  { from = "*", to = "Archived", via = "archival", verify_artifact = true },
]
[override.exclusive]
"""
)


def promotion(to_stage: str = "Production", **more: Any) -> MoveVersion:  # noqa: ANN401
    given = {"model": "churn", "number": 3, "verified_digest": DIGEST, **more}
    return MoveVersion(to_stage=to_stage, transition_id="trn_new", **given)


def promoted(
    found: Snapshot,
    rules: StagePolicy = POLICY,
    **more: Any,  # noqa: ANN401
) -> Outcome[Moved]:
    return promotion(**more).decide(found, context(rules=rules))


def lines(outcome: Outcome[Moved]) -> list[StageChangeRow]:
    return [row for row in written(outcome).added if isinstance(row, StageChangeRow)]


def crowd(count: int) -> list[Any]:
    """Those in Production, who came in the other order than that of their numbers."""
    return [
        version(number, "Production", entered=1000 - number)
        for number in range(10, 10 + count)
    ]


def test_incumbent_leaves_before_the_version_enters() -> None:
    outcome = promoted(seen(version=STAGED, in_stage=[HELD]))

    assert [
        (row.number, row.stage, row.exclusive_stage) for row in written(outcome).changed
    ] == [(1, "Archived", None), (3, "Production", "Production")]
    assert [
        (line.number, line.sequence, line.from_stage, line.to_stage, line.cause)
        for line in lines(outcome)
    ] == [
        (1, 6, "Production", "Archived", "superseded"),
        (3, 7, "Staging", "Production", "promotion"),
    ]
    assert written(outcome).model.last_history == 7
    assert outcome.answer.superseded == 1


def test_each_that_moved_has_its_event_and_its_line_names_it() -> None:
    outcome = promoted(seen(version=STAGED, in_stage=[HELD]), reason="better")

    told = [
        (data["version"], data["cause"], data["previous_version"], data["reason"])
        for _, data in events(outcome)
    ]
    assert told == [(1, "superseded", None, "better"), (3, "promotion", 1, "better")]
    assert {data["transition_id"] for _, data in events(outcome)} == {"trn_new"}
    assert [line.event_id for line in lines(outcome)] == [
        event.id for event in written(outcome).events
    ]


def test_entry_of_a_move_says_by_which_policy_and_who_left() -> None:
    entry = written(promoted(seen(version=STAGED, in_stage=[HELD]))).entry

    after = '"superseded":[1],"superseded_to":"Archived"}'
    assert f'"after":{{"stage":"Production",{after}' in entry.canonical
    assert f'"policy":"{POLICY.digest}"' in entry.canonical
    assert f'"artifact_digest":"{DIGEST}"' in entry.canonical


def test_policy_is_asked_once_and_of_what_was_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, decide = [], StagePolicy.decide

    def asking(rules: StagePolicy, moved: VersionRow, *a: Any, **b: Any) -> Decision:  # noqa: ANN401
        asked.append((moved.number, moved.stage))
        return decide(rules, moved, *a, **b)

    monkeypatch.setattr(StagePolicy, "decide", asking)

    promoted(seen(version=STAGED, in_stage=[HELD]))

    assert asked == [(3, "Staging")]


def test_policy_refuses_before_any_expectation_is_compared() -> None:
    with pytest.raises(TransitionRefusedError, match="None to Production is not an"):
        promoted(seen(), if_match="old", expects_incumbent=True, verified_digest=None)


def test_model_moves_by_the_rules_that_its_name_has() -> None:
    rules = policy('[[override]]\nmodels = "churn"\nmoves = []\n')

    with pytest.raises(TransitionRefusedError, match="Allowed from Staging: none"):
        promoted(seen(version=STAGED), rules)
    assert promotion().want(SHARED).stage is None


@pytest.mark.parametrize(
    ("expected", "last_in"), [(None, 1), (1, None), (2, 1)], ids=str
)
def test_other_incumbent_than_expected_stops_the_move(
    expected: int | None, last_in: int | None
) -> None:
    found = seen(version=STAGED, in_stage=[HELD], last_in=last_in)
    asked: Any = {"expects_incumbent": True, "expected_incumbent": expected}

    with pytest.raises(StaleExpectationError, match=r"expected (no )?version"):
        promoted(found, **asked)
    assert promoted(replace(found, last_in=expected), **asked).effects


def test_artifact_that_was_not_hashed_is_to_be_hashed_first() -> None:
    with pytest.raises(VerificationNeededError) as caught:
        promoted(seen(version=STAGED), verified_digest=None)

    assert caught.value.version == STAGED


@pytest.mark.parametrize("digest", ["sha256:other", None])
def test_artifact_that_is_another_than_was_hashed_is_not_moved(
    digest: str | None,
) -> None:
    changed = replace(STAGED, artifact_digest=digest)

    with pytest.raises(ConflictError, match="changed while its artifact was being"):
        promoted(seen(version=changed))


def test_artifact_that_was_hashed_is_verified_from_then_on() -> None:
    outcome = promoted(seen(version=replace(STAGED, artifact_state="changed")))

    assert outcome.answer.version.is_verified
    assert outcome.answer.document["verified"] is True


def test_version_without_a_digest_moves_as_it_is() -> None:
    unpinned = replace(STAGED, artifact_digest=None, artifact_state="unverified")

    outcome = promoted(seen(version=unpinned), verified_digest=None)

    assert outcome.answer.version.artifact_state == "unverified"


def test_in_a_shared_stage_only_who_is_asked_to_leaves() -> None:
    found = seen(version=STAGED, in_stage=[version(1, "Staging")])

    outcome = promoted(found, OPEN, archives_others=True)

    assert [row.stage for row in written(outcome).changed] == ["Archived", "Production"]
    assert outcome.answer.version.exclusive_stage is None
    assert promotion().want(OPEN).stage is None
    assert promotion(archives_others=True).want(OPEN).stage == "Production"


def test_who_is_verified_to_be_archived_is_not_archived_with_another() -> None:
    with pytest.raises(ConflictError, match="version 1 must be archived by itself"):
        promoted(seen(in_stage=[HELD]), SHARED, archives_others=True)


def test_version_that_is_there_already_says_who_is_beside_it() -> None:
    there = version(3, "Production")

    outcome = promoted(seen(version=there, in_stage=[HELD, there]), may_be_there=True)

    assert outcome.effects is None
    assert outcome.answer.beside == [1]
    with pytest.raises(TransitionRefusedError, match="it is in Production already"):
        promoted(seen(version=there))


def test_stage_that_too_many_must_leave_is_not_entered() -> None:
    with pytest.raises(CrowdedStageError):
        promoted(seen(version=STAGED, in_stage=crowd(MAX_LEAVING + 1)))

    outcome = promoted(seen(version=STAGED, in_stage=crowd(MAX_LEAVING)))
    assert len(written(outcome).changed) == MAX_LEAVING + 1
    assert outcome.answer.superseded == 10


def test_room_is_made_by_those_who_came_first() -> None:
    in_stage = crowd(MAX_LEAVING + 1)

    outcome = promoted(seen(version=STAGED, in_stage=in_stage), makes_room=True)

    left = [row.number for row in written(outcome).changed]
    assert left == list(range(9 + len(in_stage), 10, -1))
    assert {row.stage for row in written(outcome).changed} == {"Archived"}
    assert outcome.answer.version == STAGED
    assert written(outcome).entry.version == 3


def test_rollback_without_a_number_goes_to_who_held_the_stage_before() -> None:
    back = replace(rollback("churn", None, "slow"), verified_digest=DIGEST)
    old = version(2, "Archived")
    found = seen(
        version=old, in_stage=[HELD], holder_before=2, stages_before=SERVED_BEFORE
    )

    outcome = back.decide(found, context())

    assert [line.cause for line in lines(outcome)] == ["superseded", "rollback"]
    assert outcome.answer.version.number == 2
    want = back.want(POLICY)
    assert (want.number, want.holder_before) == (None, "Production")
    assert want.stages_before


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "there is nothing to roll back to"),
        ({"holder_before": 2}, "version 2 was in Production before, but has been del"),
    ],
    ids=["nobody", "deleted"],
)
def test_rollback_is_never_a_guess(found: dict[str, Any], why: str) -> None:
    with pytest.raises(ConflictError, match=why):
        rollback("churn", None, "").decide(seen(version=None, **found), context())


def test_rollback_goes_where_the_version_has_been() -> None:
    with pytest.raises(TransitionRefusedError, match="has never been in Production"):
        rollback("churn", 3, "").decide(seen(version=version(3, "Archived")), context())


@pytest.mark.parametrize("number", [3, None])
def test_prompt_has_no_stages(number: int | None) -> None:
    with pytest.raises(PromptStageError):
        promoted(seen(model=PROMPT), number=number)


def test_stage_is_named_in_any_case_and_must_be_one() -> None:
    outcome = promoted(seen(version=STAGED), to_stage="production")

    assert outcome.answer.version.stage == "Production"
    with pytest.raises(InvalidInputError, match="unknown stage 'Live'"):
        promotion("Live").want(POLICY)


def test_move_changes_version_and_model_for_mlflow_too() -> None:
    outcome = promoted(seen(version=STAGED))

    assert outcome.answer.version.mlflow_updated_at == NOW
    assert written(outcome).model.mlflow_updated_at == NOW
    assert outcome.answer.version.row_version == STAGED.row_version + 1
    assert written(outcome).model.id == MODEL.id


def test_who_is_expected_is_looked_for_only_if_asked() -> None:
    assert promotion().want(POLICY).last_in is None
    want = promotion(expects_incumbent=True).want(POLICY)
    assert (want.stage, want.last_in) == ("Production", "Production")
    assert want.limit == MAX_LEAVING + 2


GATED = policy(
    """
[[override]]
models = "churn"
[[override.moves]]
from = "Staging"
to = "Production"
via = "promotion"
verify_artifact = true
checks = ["tests"]
approvals = 2
[[override.moves]]
from = "*"
to = "Archived"
via = "archival"
"""
)
GLASS: dict[str, Any] = {"breaks_glass": True, "reason": "down"}
BROKEN = ["check 'tests' is missing", "it takes 2 approvals"]


def test_broken_glass_is_named_in_entry_history_and_an_event_of_its_own() -> None:
    found = seen(version=STAGED, in_stage=[HELD])

    outcome = promotion(**GLASS).decide(found, context(Role.BREAK_GLASS, rules=GATED))

    types = [told for told, _ in events(outcome)]
    assert types == [*["model_version.stage_changed"] * 2, "model_version.broke_glass"]
    _, told = events(outcome)[-1]
    assert (told["version"], told["stage"]) == (3, "Production")
    assert (told["gates"], told["reason"]) == (BROKEN, "down")
    assert told["transition_id"] == "trn_new"
    assert [line.broke_glass for line in lines(outcome)] == [False, True]
    assert '"broke_glass":["check' in written(outcome).entry.canonical


def test_glass_that_nothing_stood_behind_is_not_broken() -> None:
    found = seen(version=STAGED)

    outcome = promotion(**GLASS).decide(found, context(Role.BREAK_GLASS))

    assert [line.broke_glass for line in lines(outcome)] == [False]
    assert [told for told, _ in events(outcome)] == ["model_version.stage_changed"]


@pytest.mark.parametrize("glass", [{}, GLASS], ids=["", "glass"])
def test_gates_that_are_others_than_were_shown_stop_the_move(
    glass: dict[str, Any],
) -> None:
    found = seen(version=STAGED, checks={CHECK.name: CHECK})
    asked = context(Role.BREAK_GLASS, rules=GATED)
    shown = promotion().consider(found, asked, STAGED, None).gates

    move = promotion(**glass, expected_gates=shown)

    assert move.decide(found, asked).effects
    later = replace(CHECK, updated_at=NOW + timedelta(minutes=1))
    with pytest.raises(StaleExpectationError, match="what the gates say has changed"):
        move.decide(replace(found, checks={CHECK.name: later}), asked)


def test_room_behind_broken_glass_is_told_of_the_version_that_it_is_for() -> None:
    found = seen(version=STAGED, in_stage=crowd(MAX_LEAVING + 1))

    outcome = promotion(**GLASS, makes_room=True).decide(
        found, context(Role.BREAK_GLASS, rules=GATED)
    )

    name, told = events(outcome)[-1]
    assert (name, told["version"]) == ("model_version.broke_glass", 3)


@pytest.mark.parametrize(
    ("role", "reason", "refused"),
    [
        (Role.PROMOTER, "down", PermissionDeniedError),
        (Role.BREAK_GLASS, " ", InvalidInputError),
    ],
)
def test_glass_is_broken_by_who_may_and_for_a_reason(
    role: Role, reason: str, refused: type[Exception]
) -> None:
    glass = promotion(breaks_glass=True, reason=reason)

    with pytest.raises(refused):
        glass.decide(seen(version=STAGED), context(role, rules=GATED))


def test_broken_glass_spares_no_look_at_the_artifact() -> None:
    with pytest.raises(VerificationNeededError):
        promotion(**GLASS, verified_digest=None).decide(
            seen(version=STAGED), context(Role.BREAK_GLASS, rules=GATED)
        )


def by(kind: ActorKind, rules: StagePolicy = POLICY) -> Context:
    """A change that somebody asks for, or the system itself."""
    made = context(rules=rules, kind=kind)
    return made if kind is not ActorKind.SYSTEM else replace(made, caller=ITSELF)


ITSELF = Caller(actor=SYSTEM)
BEEN_THERE: dict[str, Any] = {"stages_before": SERVED_BEFORE, "holder_before": 2}


def rolled_back(asked: Context, **model: Any) -> Outcome[Moved]:  # noqa: ANN401
    back = replace(rollback("churn", None, "slow"), verified_digest=DIGEST)
    found = seen(
        model=replace(MODEL, **model),
        version=version(2, "Archived"),
        in_stage=[version(3, "Production")],
        **BEEN_THERE,
    )
    return back.decide(found, asked)


@pytest.mark.parametrize("kind", [ActorKind.USER, ActorKind.TOKEN], ids=str)
def test_rollback_by_a_person_holds_the_stage(kind: ActorKind) -> None:
    outcome = rolled_back(by(kind))

    held = Hold(stage="Production", version=3, reason="slow", by="pat", at=NOW)
    assert written(outcome).model.holds == [held.document]
    assert [line.held for line in lines(outcome)] == [False, True]
    assert [data["held"] for _, data in events(outcome)] == [False, True]


@pytest.mark.parametrize("kind", [ActorKind.SYSTEM, ActorKind.CI], ids=str)
def test_rollback_by_the_system_or_a_ci_job_holds_nothing(kind: ActorKind) -> None:
    assert written(rolled_back(by(kind))).model.holds == ()


def test_rollback_holds_no_stage_that_the_policy_does_not_name() -> None:
    rules = policy('[[override]]\nmodels = "churn"\nhold_after_rollback = []\n')

    assert written(rolled_back(by(ActorKind.USER, rules))).model.holds == []


def test_rollback_that_puts_nobody_aside_holds_nothing() -> None:
    back = replace(rollback("churn", 2, "back"), verified_digest=DIGEST)
    found = seen(version=version(2, "Archived"), **BEEN_THERE)

    assert written(back.decide(found, context())).model.holds == []


def test_hold_after_a_rollback_stands_when_the_system_rolls_back_too() -> None:
    holds = [replace(HOLD, version=4).document]

    assert written(rolled_back(by(ActorKind.SYSTEM), holds=holds)).model.holds == holds


def test_next_rollback_takes_the_place_of_the_hold_before() -> None:
    outcome = rolled_back(by(ActorKind.USER), holds=[HOLD.document])

    (hold,) = written(outcome).model.holds
    assert (hold["version"], hold["by"]) == (3, "pat")


def test_ci_job_puts_nothing_where_a_rollback_was() -> None:
    found = seen(model=replace(MODEL, holds=[HOLD.document]), version=STAGED)

    with pytest.raises(TransitionRefusedError, match="held after the rollback of ver"):
        promotion().decide(found, by(ActorKind.CI))


def test_person_who_puts_a_version_there_ends_the_hold_of_a_rollback_alone() -> None:
    by_hand = replace(HOLD, version=None, until=NOW + timedelta(hours=1)).document
    elsewhere = replace(HOLD, stage="Staging").document
    holds = [HOLD.document, elsewhere, by_hand]
    found = seen(model=replace(MODEL, holds=holds), version=STAGED)

    outcome = promotion(**GLASS).decide(found, context(Role.BREAK_GLASS))

    assert written(outcome).model.holds == [elsewhere, by_hand]


def test_room_that_a_person_makes_leaves_the_hold() -> None:
    found = seen(
        model=replace(MODEL, holds=[HOLD.document]),
        version=STAGED,
        in_stage=crowd(MAX_LEAVING + 1),
    )

    outcome = promotion(makes_room=True).decide(found, context())

    assert written(outcome).model.holds == [HOLD.document]


def test_who_needs_no_approval_leaves_no_request_behind() -> None:
    crowded = seen(version=STAGED, in_stage=crowd(MAX_LEAVING + 1))
    room = promotion(makes_room=True, reason="r")
    checked = replace(crowded, checks={"tests": CHECK})

    outcome = room.decide(checked, context(rules=GATED))

    assert outcome.answer.request is None
    assert {row.stage for row in written(outcome).changed} == {"Archived"}


@pytest.mark.parametrize(
    "asks", ['checks = ["tests"]', "min_hours_in_stage = 1", "approvals = 1"]
)
def test_who_is_looked_at_closer_to_be_archived_is_not_archived_with_another(
    asks: str,
) -> None:
    """What was seen is of the version that enters: its checks are not theirs."""
    rules = policy(
        '[[override]]\nmodels = "churn"\n[override.exclusive]\n[[override.moves]]\n'
        'from = "*"\nto = "Production"\nvia = "promotion"\n[[override.moves]]\n'
        f'from = "*"\nto = "Archived"\nvia = "archival"\n{asks}\n'
    )
    found = seen(in_stage=[HELD], checks={"tests": CHECK}, entered_at=BEFORE)

    with pytest.raises(ConflictError, match="version 1 must be archived by itself"):
        promoted(found, rules, archives_others=True)


def test_others_are_archived_only_where_the_policy_lets_them() -> None:
    found = seen(version=STAGED, in_stage=[version(1, "Staging", status="PENDING")])

    with pytest.raises(TransitionRefusedError, match="version 1 may not move from Sta"):
        promoted(found, OPEN, archives_others=True)
