"""What the stage policy allows: every pair of stages, every gate, every reason."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from registry.domain.gates import Evidence, GateKind
from registry.domain.holds import Hold
from registry.domain.policy import Cause, StagePolicy
from registry.domain.policy_file import parse_policy
from registry.domain.rows import VersionRow, VersionStatus
from registry.errors import InvalidInputError, TransitionRefusedError
from registry.settings import packaged_config
from tests.unit.commands.making import version

STAGES = ("None", "Staging", "Production", "Archived")
SEEN = Evidence(now=datetime(2026, 11, 28, tzinfo=UTC))
PAIRS = tuple(itertools.product(STAGES, repeat=2))

# What a transition may do. All else is refused.
TRANSITIONS = {
    ("None", "Staging"): Cause.PROMOTION,
    ("Staging", "Production"): Cause.PROMOTION,
    ("Production", "Archived"): Cause.ARCHIVAL,
    ("Staging", "Archived"): Cause.ARCHIVAL,
}
ALLOWED = {
    "None": ("Staging",),
    "Staging": ("Production", "Archived"),
    "Production": ("Archived",),
    "Archived": (),
}


def packaged_policy(name: str = "policy.toml") -> StagePolicy:
    path = packaged_config(name)
    return parse_policy(path.read_bytes(), source=path.name)


def make_version(
    stage: str = "None",
    *,
    is_verified: bool = True,
    **columns: Any,  # noqa: ANN401  # a version's
) -> VersionRow:
    state = "verified" if is_verified else "unverified"
    return version(7, stage, artifact_state=state, **columns)


def policy_with(text: str) -> StagePolicy:
    head = 'stages = ["None", "Staging", "Production", "Archived"]\n'
    return parse_policy((head + text).encode(), source="policy.toml")


def refusal(
    policy: StagePolicy,
    moved: VersionRow,
    to_stage: str,
    stages_before: set[str] | None = None,
) -> TransitionRefusedError:
    with pytest.raises(TransitionRefusedError) as caught:
        policy.decide(moved, to_stage, SEEN, stages_before=stages_before)
    return caught.value


@pytest.mark.parametrize(("from_stage", "to_stage"), PAIRS)
def test_transition_is_allowed_exactly_where_the_design_says(
    from_stage: str, to_stage: str
) -> None:
    policy, moved = packaged_policy(), make_version(from_stage)

    if (from_stage, to_stage) in TRANSITIONS:
        decision = policy.decide(moved, to_stage, SEEN)

        assert decision.cause is TRANSITIONS[from_stage, to_stage]
    else:
        refused = refusal(policy, moved, to_stage)

        assert (refused.from_stage, refused.to_stage) == (from_stage, to_stage)
        assert refused.allowed == ALLOWED[from_stage]
        assert len(refused.reasons) == 1
        is_return = (from_stage, to_stage) == ("Archived", "Production")
        assert refused.is_rollback_only == is_return


@pytest.mark.parametrize(("from_stage", "to_stage"), PAIRS)
def test_rollback_reaches_production_from_archived_and_what_a_transition_may(
    from_stage: str, to_stage: str
) -> None:
    policy, moved = packaged_policy(), make_version(from_stage)

    if (from_stage, to_stage) in {*TRANSITIONS, ("Archived", "Production")}:
        decision = policy.decide(moved, to_stage, SEEN, stages_before=STAGES)

        assert decision.cause is Cause.ROLLBACK
    else:
        refusal(policy, moved, to_stage, {*STAGES})


def test_archived_version_returns_to_production_by_rollback_only() -> None:
    moved = make_version("Archived")

    refused = refusal(packaged_policy(), moved, "Production")

    assert refused.reasons == ("Archived to Production is allowed by rollback only",)
    assert refused.is_rollback_only
    assert "Allowed from Archived: none" in refused.message


def test_rollback_to_a_version_that_never_served_is_refused() -> None:
    moved = make_version("Archived")

    refused = refusal(packaged_policy(), moved, "Production", {"Archived", "Staging"})

    assert refused.reasons == ("version 7 has never been in Production",)


def test_rollback_of_a_version_that_no_move_allows_names_both_reasons() -> None:
    refused = refusal(packaged_policy(), make_version("None"), "Production", {"None"})

    assert refused.reasons == (
        "None to Production is not an allowed move",
        "version 7 has never been in Production",
    )


def test_stage_that_a_version_has_already_is_refused_as_such() -> None:
    refused = refusal(packaged_policy(), make_version("Staging"), "Staging")

    assert refused.reasons == ("it is in Staging already",)
    assert refused.facts == {
        "from_stage": "Staging",
        "to_stage": "Staging",
        "allowed": ["Production", "Archived"],
        "reasons": ["it is in Staging already"],
    }


def test_production_is_exclusive_and_its_incumbent_is_archived() -> None:
    decision = packaged_policy().decide(make_version("Staging"), "Production", SEEN)

    assert decision.is_exclusive
    assert decision.incumbent_to == "Archived"
    assert decision.verify_artifact


def test_staging_is_shared() -> None:
    decision = packaged_policy().decide(make_version("None"), "Staging", SEEN)

    assert not decision.is_exclusive
    assert decision.incumbent_to is None


def test_archival_needs_no_look_at_the_artifact() -> None:
    decision = packaged_policy().decide(make_version("Production"), "Archived", SEEN)

    assert not decision.verify_artifact


@pytest.mark.parametrize(
    "status", [VersionStatus.PENDING_REGISTRATION, VersionStatus.FAILED_REGISTRATION]
)
def test_version_that_is_not_ready_may_not_move(status: VersionStatus) -> None:
    refused = refusal(packaged_policy(), make_version(status=status), "Staging")

    assert refused.reasons == (f"its status is {status}, not READY",)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if len({*pair}) == 2])
def test_open_policy_allows_every_move_into_shared_stages(
    pair: tuple[str, str],
) -> None:
    policy = packaged_policy("policy-open.toml")

    decision = policy.decide(make_version(pair[0]), pair[1], SEEN)

    assert decision.incumbent_to is None
    expected = Cause.ARCHIVAL if pair[1] == "Archived" else Cause.PROMOTION
    assert decision.cause is expected


@pytest.mark.parametrize("stage", STAGES)
def test_open_policy_still_refuses_the_stage_a_version_has(stage: str) -> None:
    policy = packaged_policy("policy-open.toml")

    refused = refusal(policy, make_version(stage), stage)

    assert refused.allowed == tuple(other for other in STAGES if other != stage)


@pytest.mark.parametrize(
    ("pair", "is_rollback"),
    [
        (("None", "Staging"), False),
        (("Staging", "Production"), False),
        (("Archived", "Production"), True),
    ],
)
def test_strict_policy_lets_nothing_serve_that_nobody_here_verified(
    pair: tuple[str, str], *, is_rollback: bool
) -> None:
    policy = packaged_policy("policy-strict.toml")
    unread = make_version(pair[0], is_verified=False)
    read, before = make_version(pair[0]), {pair[1]} if is_rollback else None

    with pytest.raises(TransitionRefusedError) as refused:
        policy.decide(unread, pair[1], SEEN, stages_before=before)

    assert refused.value.reasons == ("its artifact is not verified",)
    assert policy.decide(read, pair[1], SEEN, stages_before=before).verify_artifact


def test_strict_policy_is_the_default_one_but_for_that_gate() -> None:
    default, strict = map(packaged_policy, ("policy.toml", "policy-strict.toml"))

    ungated = tuple(
        replace(move, asks=replace(move.asks, require_verified=False))
        for move in strict.moves
    )

    assert replace(strict, moves=ungated, digest=default.digest) == default


GATED = """
[[moves]]
from = "None"
to = "Staging"
via = "promotion"
require_verified = true
required_tags = ["reviewed", "owner"]
metrics = { accuracy = { min = 0.9 }, latency_ms = { max = 50, min = 1 } }
"""


def test_every_gate_that_fails_is_named_at_once() -> None:
    moved = make_version(
        status=VersionStatus.FAILED_REGISTRATION,
        is_verified=False,
        tags={"owner": "alice"},
        metrics={"latency_ms": 80},
    )

    refused = refusal(policy_with(GATED), moved, "Staging")

    assert refused.reasons == (
        "its status is FAILED_REGISTRATION, not READY",
        "its artifact is not verified",
        "tag 'reviewed' is missing",
        "metric 'accuracy' is missing",
        "metric 'latency_ms' is 80, above 50.0",
    )
    assert all(reason in refused.message for reason in refused.reasons)


def test_version_that_passes_every_gate_moves() -> None:
    moved = make_version(
        tags={"owner": "alice", "reviewed": ""},
        metrics={"accuracy": 0.9, "latency_ms": 50.0},
    )

    decision = policy_with(GATED).decide(moved, "Staging", SEEN)

    assert decision.cause is Cause.PROMOTION


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        (
            {"accuracy": 0.89, "latency_ms": 2.0},
            "metric 'accuracy' is 0.89, below 0.9",
        ),
        (
            {"accuracy": 0.9, "latency_ms": 0.5},
            "metric 'latency_ms' is 0.5, below 1.0",
        ),
        (
            {"accuracy": float("nan"), "latency_ms": 2.0},
            "metric 'accuracy' is nan, below 0.9",
        ),
        (
            {"accuracy": 0.9, "latency_ms": float("nan")},
            "metric 'latency_ms' is nan, below 1.0",
        ),
    ],
)
def test_metric_outside_its_bounds_is_refused(
    metrics: dict[str, float], reason: str
) -> None:
    moved = make_version(tags={"owner": "a", "reviewed": "b"}, metrics=metrics)

    assert refusal(policy_with(GATED), moved, "Staging").reasons == (reason,)


OVERRIDDEN = """
[exclusive]
Production = "Archived"

[[moves]]
from = "None"
to = "Staging"
via = "promotion"

[[override]]
models = "risk-*"
[[override.moves]]
from = "None"
to = "Production"
via = "promotion"
required_tags = ["approved"]

[[override]]
models = "risk-lab"
[override.exclusive]
"""


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("fraud", ("Staging",)),
        ("risk-credit", ("Production",)),
        ("risk-lab", ("Production",)),  # the first override that matches
        ("Risk-credit", ("Staging",)),  # patterns heed case
    ],
)
def test_first_override_whose_pattern_fits_the_name_decides(
    name: str, allowed: tuple[str, ...]
) -> None:
    policy = policy_with(OVERRIDDEN).for_model(name)

    assert policy.allowed_from("None") == allowed


def test_override_keeps_what_it_does_not_replace() -> None:
    policy = policy_with(OVERRIDDEN)

    moved = make_version(tags={"approved": "yes"})
    decision = policy.for_model("risk-credit").decide(moved, "Production", SEEN)

    assert decision.incumbent_to == "Archived"
    assert policy.for_model("risk-credit").digest == policy.digest


CANARY = """
stages = ["None", "Staging", "Shadow", "Canary", "Production", "Archived"]
[exclusive]
Canary = "Archived"
Production = "Archived"
[[moves]]
from = "*"
to = "Shadow"
via = "promotion"
[[moves]]
from = "Shadow"
to = "Canary"
via = "promotion"
[[moves]]
from = "Canary"
to = "*"
via = "archival"
"""


def test_stages_may_stand_between_the_built_in_ones() -> None:
    policy = parse_policy(CANARY.encode(), source="canary.toml")

    decision = policy.decide(make_version("Shadow"), "Canary", SEEN)

    assert decision.is_exclusive
    assert decision.incumbent_to == "Archived"
    assert policy.allowed_from("Staging") == ("Shadow",)
    assert policy.allowed_from("Shadow") == ("Canary",)
    assert policy.allowed_from("Canary") == (
        "None",
        "Staging",
        "Shadow",
        "Production",
        "Archived",
    )


@pytest.mark.parametrize("text", ["production", "PRODUCTION", "Production"])
def test_stage_is_found_whatever_its_case(text: str) -> None:
    assert packaged_policy().stage(text) == "Production"


def test_unknown_stage_is_refused_with_the_known_ones_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        packaged_policy().stage("Prod" * 100, field="stage")

    assert caught.value.field == "stage"
    assert "None, Staging, Production, Archived" in caught.value.message
    assert len(caught.value.message) < 200


GUARDED = """
[[moves]]
from = "None"
to = "Staging"
via = "promotion"
checks = ["tests"]
min_hours_in_stage = 1
approvals = 2

[[moves]]
from = "*"
to = "Archived"
via = "archival"

[[aliases]]
name = "Live"
stage = "Production"

[[aliases]]
name = "champ*"
stages = ["Staging", "Production"]
required_tags = ["owner"]

[[freeze]]
reason = "rest"
stages = ["Staging", "Archived"]
from = 2026-11-28T00:00:00Z
until = 2026-11-29T00:00:00Z
"""
STOPPED = (
    "check 'tests' is missing",
    "it must stay in None until 2026-11-28T01:00:00.000000Z",
    "frozen until 2026-11-29T00:00:00.000000Z: rest",
    "Staging is held by ann (audit)",
)
HELD = replace(
    SEEN,
    holds=[Hold(stage="Staging", reason="audit", by="ann", at=SEEN.now)],
)


def test_move_says_what_must_be_seen_for_it() -> None:
    policy = policy_with(GUARDED)

    assert policy.wants("Staging") == (True, True, True)
    assert policy.wants("Archived") == (False, False, False)


def test_move_waits_for_checks_time_freezes_and_holds() -> None:
    with pytest.raises(TransitionRefusedError) as refused:
        policy_with(GUARDED).decide(make_version(), "Staging", HELD)

    assert refused.value.reasons == STOPPED


def test_broken_glass_is_gone_past_every_gate_but_the_status() -> None:
    policy, waiting = policy_with(GUARDED), make_version(status="PENDING_REGISTRATION")

    broken = policy.decide(make_version(), "Staging", HELD, breaks_glass=True)
    with pytest.raises(TransitionRefusedError) as refused:
        policy.decide(waiting, "Staging", HELD, breaks_glass=True)

    assert tuple(gate.message for gate in broken.broken) == STOPPED
    assert (broken.cause, broken.approvals) == (Cause.PROMOTION, 2)
    assert refused.value.reasons == ("its status is PENDING_REGISTRATION, not READY",)


def test_broken_glass_opens_no_way_that_the_policy_does_not_have() -> None:
    with pytest.raises(TransitionRefusedError, match="is not an allowed move"):
        policy_with(GUARDED).decide(
            make_version(), "Production", SEEN, breaks_glass=True
        )


def test_freeze_stops_promotion_alone() -> None:
    policy, before = policy_with(GUARDED), {"None", "Staging"}
    kinds = [
        {gate.kind for gate in policy.consider(*move, SEEN, stages_before=been).gates}
        for move, been in (
            ((make_version(), "Staging"), None),
            ((make_version("Staging"), "Archived"), None),
            ((make_version(), "Staging"), before),
        )
    ]

    assert [GateKind.FREEZE in each for each in kinds] == [True, False, False]


def test_automation_passes_a_hold_where_its_move_will_be_approved() -> None:
    hold = Hold(stage="Staging", version=6, reason="", by="ann", at=SEEN.now)
    seen = replace(SEEN, holds=[hold], is_automation=True)
    gates = policy_with(GUARDED).consider(make_version(), "Staging", seen).gates

    assert [gate.passes for gate in gates if gate.kind is GateKind.HOLD] == [True]
    glass = policy_with(GUARDED).decide(
        make_version(), "Staging", seen, breaks_glass=True
    )
    assert [gate.kind for gate in glass.broken][-1] is GateKind.HOLD


def test_alias_is_looked_up_by_pattern_in_any_case() -> None:
    policy = policy_with(GUARDED)

    assert policy.bound_stage("LIVE") == "Production"
    assert policy.bound_stage("Champion") is None
    assert policy.bound_stage("best") is None
    assert policy.alias_rule("Champion") == policy.aliases[1]
    assert policy.alias_rule("best") is None


def test_guarded_alias_names_each_reason() -> None:
    rule = policy_with(GUARDED).aliases[1]

    assert rule.refusals(make_version(), SEEN) == [
        "tag 'owner' is missing",
        "it is in None, not in Staging or Production",
    ]
    assert not rule.refusals(make_version("Staging", tags={"owner": "ann"}), SEEN)
