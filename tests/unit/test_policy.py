"""What the stage policy allows: every pair of stages, every gate, every reason."""

import itertools
from dataclasses import replace

import pytest

from registry.domain.policy import Cause, StagePolicy, VersionFacts, VersionStatus
from registry.domain.policy_file import parse_policy
from registry.errors import InvalidInputError, TransitionRefusedError
from registry.settings import packaged_config

STAGES = ("None", "Staging", "Production", "Archived")
PAIRS = tuple(itertools.product(STAGES, repeat=2))

# Design, section 4: what a transition may do. All else is refused.
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


def make_facts(  # each fact has a default of its own
    stage: str = "None",
    *,
    status: VersionStatus = VersionStatus.READY,
    is_verified: bool = True,
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
    before: frozenset[str] = frozenset(),
) -> VersionFacts:
    return VersionFacts(
        number=7,
        stage=stage,
        status=status,
        is_verified=is_verified,
        tags=tags or {},
        metrics=metrics or {},
        stages_before=before | {stage},
    )


def policy_with(text: str) -> StagePolicy:
    head = 'stages = ["None", "Staging", "Production", "Archived"]\n'
    return parse_policy((head + text).encode(), source="policy.toml")


def refusal(
    policy: StagePolicy, facts: VersionFacts, to_stage: str, *, rollback: bool = False
) -> TransitionRefusedError:
    with pytest.raises(TransitionRefusedError) as caught:
        policy.decide(facts, to_stage, rollback=rollback)
    return caught.value


@pytest.mark.parametrize(("from_stage", "to_stage"), PAIRS)
def test_transition_is_allowed_exactly_where_the_design_says(
    from_stage: str, to_stage: str
) -> None:
    policy, facts = packaged_policy(), make_facts(from_stage, before=frozenset(STAGES))

    if (from_stage, to_stage) in TRANSITIONS:
        decision = policy.decide(facts, to_stage)

        assert decision.cause is TRANSITIONS[from_stage, to_stage]
    else:
        refused = refusal(policy, facts, to_stage)

        assert (refused.from_stage, refused.to_stage) == (from_stage, to_stage)
        assert refused.allowed == ALLOWED[from_stage]
        assert len(refused.reasons) == 1
        is_return = (from_stage, to_stage) == ("Archived", "Production")
        assert refused.is_rollback_only == is_return


@pytest.mark.parametrize(("from_stage", "to_stage"), PAIRS)
def test_rollback_reaches_production_from_archived_and_what_a_transition_may(
    from_stage: str, to_stage: str
) -> None:
    policy, facts = packaged_policy(), make_facts(from_stage, before=frozenset(STAGES))

    if (from_stage, to_stage) in {*TRANSITIONS, ("Archived", "Production")}:
        decision = policy.decide(facts, to_stage, rollback=True)

        assert decision.cause is Cause.ROLLBACK
    else:
        refusal(policy, facts, to_stage, rollback=True)


def test_archived_version_returns_to_production_by_rollback_only() -> None:
    facts = make_facts("Archived", before=frozenset({"Production"}))

    refused = refusal(packaged_policy(), facts, "Production")

    assert refused.reasons == ("Archived to Production is allowed by rollback only",)
    assert refused.is_rollback_only
    assert "Allowed from Archived: none" in refused.message


def test_rollback_to_a_version_that_never_served_is_refused() -> None:
    facts = make_facts("Archived", before=frozenset({"Staging"}))

    refused = refusal(packaged_policy(), facts, "Production", rollback=True)

    assert refused.reasons == ("version 7 has never been in Production",)


def test_rollback_of_a_version_that_no_move_allows_names_both_reasons() -> None:
    refused = refusal(
        packaged_policy(), make_facts("None"), "Production", rollback=True
    )

    assert refused.reasons == (
        "None to Production is not an allowed move",
        "version 7 has never been in Production",
    )


def test_stage_that_a_version_has_already_is_refused_as_such() -> None:
    refused = refusal(packaged_policy(), make_facts("Staging"), "Staging")

    assert refused.reasons == ("it is in Staging already",)
    assert refused.facts == {
        "from_stage": "Staging",
        "to_stage": "Staging",
        "allowed": ["Production", "Archived"],
        "reasons": ["it is in Staging already"],
    }


def test_production_is_exclusive_and_its_incumbent_is_archived() -> None:
    decision = packaged_policy().decide(make_facts("Staging"), "Production")

    assert decision.is_exclusive
    assert decision.incumbent_to == "Archived"
    assert decision.verify_artifact


def test_staging_is_shared() -> None:
    decision = packaged_policy().decide(make_facts("None"), "Staging")

    assert not decision.is_exclusive
    assert decision.incumbent_to is None


def test_archival_needs_no_look_at_the_artifact() -> None:
    decision = packaged_policy().decide(make_facts("Production"), "Archived")

    assert not decision.verify_artifact


@pytest.mark.parametrize(
    "status", [VersionStatus.PENDING_REGISTRATION, VersionStatus.FAILED_REGISTRATION]
)
def test_version_that_is_not_ready_may_not_move(status: VersionStatus) -> None:
    refused = refusal(packaged_policy(), make_facts(status=status), "Staging")

    assert refused.reasons == (f"its status is {status}, not READY",)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if len({*pair}) == 2])
def test_open_policy_allows_every_move_into_shared_stages(
    pair: tuple[str, str],
) -> None:
    policy = packaged_policy("policy-open.toml")

    decision = policy.decide(make_facts(pair[0]), pair[1])

    assert decision.incumbent_to is None
    expected = Cause.ARCHIVAL if pair[1] == "Archived" else Cause.PROMOTION
    assert decision.cause is expected


@pytest.mark.parametrize("stage", STAGES)
def test_open_policy_still_refuses_the_stage_a_version_has(stage: str) -> None:
    policy = packaged_policy("policy-open.toml")

    refused = refusal(policy, make_facts(stage), stage)

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
    unread = make_facts(pair[0], is_verified=False, before=frozenset({pair[1]}))
    read = make_facts(pair[0], before=frozenset({pair[1]}))

    with pytest.raises(TransitionRefusedError) as refused:
        policy.decide(unread, pair[1], rollback=is_rollback)

    assert refused.value.reasons == ("its artifact is not verified",)
    assert policy.decide(read, pair[1], rollback=is_rollback).verify_artifact


def test_strict_policy_is_the_default_one_but_for_that_gate() -> None:
    default, strict = map(packaged_policy, ("policy.toml", "policy-strict.toml"))

    ungated = tuple(replace(move, require_verified=False) for move in strict.moves)

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
    facts = make_facts(
        status=VersionStatus.FAILED_REGISTRATION,
        is_verified=False,
        tags={"owner": "alice"},
        metrics={"latency_ms": 80},
    )

    refused = refusal(policy_with(GATED), facts, "Staging")

    assert refused.reasons == (
        "its status is FAILED_REGISTRATION, not READY",
        "its artifact is not verified",
        "tag 'reviewed' is missing",
        "metric 'accuracy' is missing",
        "metric 'latency_ms' is 80, above 50.0",
    )
    assert all(reason in refused.message for reason in refused.reasons)


def test_version_that_passes_every_gate_moves() -> None:
    facts = make_facts(
        tags={"owner": "alice", "reviewed": ""},
        metrics={"accuracy": 0.9, "latency_ms": 50.0},
    )

    decision = policy_with(GATED).decide(facts, "Staging")

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
    facts = make_facts(tags={"owner": "a", "reviewed": "b"}, metrics=metrics)

    assert refusal(policy_with(GATED), facts, "Staging").reasons == (reason,)


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

    facts = make_facts(tags={"approved": "yes"})
    decision = policy.for_model("risk-credit").decide(facts, "Production")

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

    decision = policy.decide(make_facts("Shadow"), "Canary")

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
