"""A move: the policy's word, who leaves for it, and what it waits for."""

from dataclasses import replace
from typing import Any

import pytest

from registry.domain.commands.change import Outcome, Snapshot
from registry.domain.commands.moves import MAX_LEAVING, Moved, MoveVersion, rollback
from registry.domain.policy import Decision, StagePolicy
from registry.domain.rows import StageChangeRow, VersionRow
from registry.errors import (
    ConflictError,
    CrowdedStageError,
    InvalidInputError,
    PromptStageError,
    StaleExpectationError,
    TransitionRefusedError,
    VerificationNeededError,
)
from tests.unit.commands.making import (
    DIGEST,
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

    assert '"after":{"stage":"Production","superseded":[1]}' in entry.canonical
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
