"""Each gate: whether it passes, why not, and what it looked at."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from registry.domain.freezes import Freeze
from registry.domain.gates import (
    Evidence,
    Gate,
    Requirements,
    freeze_gates,
    hold_gates,
)
from registry.domain.holds import Hold
from tests.unit.commands.making import BEFORE, CHECK, DIGEST, NOW, version

HOUR = timedelta(hours=1)
SEEN = Evidence(now=NOW)
BY_HAND = Hold(stage="Production", reason="audit", by="ann", at=BEFORE)
ROLLED_BACK = replace(BY_HAND, version=3, reason="slow")
AFTER_ROLLBACK = (
    "Production is held after the rollback of version 3 by ann: a person lifts it, or "
    "approves a newer version (slow)"
)


def told(gate: Gate) -> tuple[str, str, str, str]:
    return gate.kind.value, gate.name, gate.state.value, gate.message


@pytest.mark.parametrize(
    ("asks", "columns", "gate"),
    [
        ({}, {}, ("status", "", "passed", "")),
        (
            {},
            {"status": "PENDING_REGISTRATION"},
            ("status", "", "pending", "its status is PENDING_REGISTRATION, not READY"),
        ),
        (
            {},
            {"status": "FAILED_REGISTRATION"},
            ("status", "", "failed", "its status is FAILED_REGISTRATION, not READY"),
        ),
        (
            {"verify_artifact": True},
            {"artifact_state": "changed"},
            ("artifact", "", "passed", ""),
        ),
        (
            {"require_verified": True},
            {"artifact_state": "changed"},
            ("artifact", "", "failed", "its artifact is not verified"),
        ),
        ({"require_verified": True}, {}, ("artifact", "", "passed", "")),
        (
            {"required_tags": ("owner",)},
            {},
            ("tag", "owner", "failed", "tag 'owner' is missing"),
        ),
        (
            {"required_tags": ("owner",)},
            {"tags": {"owner": ""}},
            ("tag", "owner", "passed", ""),
        ),
    ],
)
def test_gate_looks_at_the_version(
    asks: dict[str, Any], columns: dict[str, Any], gate: tuple[str, ...]
) -> None:
    *_, last = Requirements(**asks).gates(version(**columns), SEEN)

    assert told(last) == gate


@pytest.mark.parametrize(
    ("status", "state", "message", "evidence"),
    [
        (None, "pending", "check 'tests' is missing", ""),
        ("pending", "pending", "check 'tests' is pending", "pending 2030-01-01T12:"),
        ("failed", "failed", "check 'tests' has failed", "failed 2030-01-01T12:"),
        ("passed", "passed", "", "passed 2030-01-01T12:00:00.000000Z"),
    ],
)
def test_check_passes_once_it_was_reported_so(
    status: str | None, state: str, message: str, evidence: str
) -> None:
    checks = {"tests": replace(CHECK, status=status)} if status else {}

    _, gate = Requirements(checks=("tests",)).gates(
        version(), replace(SEEN, checks=checks)
    )

    assert told(gate) == ("check", "tests", state, message)
    assert gate.evidence.startswith(evidence)


@pytest.mark.parametrize("ago", [None, HOUR, 24 * HOUR], ids=str)
def test_version_stays_where_it_is_for_so_long(ago: timedelta | None) -> None:
    entered_at = None if ago is None else NOW - ago
    _, gate = Requirements(min_time_in_stage=24 * HOUR).gates(
        version(stage="Staging"), replace(SEEN, entered_at=entered_at)
    )

    until = {None: "2030-01-03T12", HOUR: "2030-01-03T11"}.get(ago)
    assert gate.passes is (until is None)
    stay = f"it must stay in Staging until {until}:00:00.000000Z"
    assert told(gate)[2:] == (("pending", stay) if until else ("passed", ""))


def test_gate_tells_what_an_approval_depends_on() -> None:
    asks = Requirements(verify_artifact=True, required_tags=("owner", "team"))
    gates = asks.gates(version(tags={"owner": "ann"}), SEEN)

    assert [gate.evidence for gate in gates] == ["", DIGEST, "ann", ""]
    unpinned = asks.gates(version(artifact_digest=None), SEEN)
    assert [gate.evidence for gate in unpinned][1] == ""


def test_freeze_says_until_when_and_why() -> None:
    freeze = Freeze(reason="rest", begins=BEFORE, ends=NOW)

    (frozen,) = freeze_gates([freeze], BEFORE)
    (thawed,) = freeze_gates([freeze], NOW)

    assert told(frozen) == (
        *("freeze", "rest", "pending"),
        "frozen until 2030-01-02T12:00:00.000000Z: rest",
    )
    assert told(thawed) == ("freeze", "rest", "passed", "")


@pytest.mark.parametrize(
    ("hold", "who", "number", "message"),
    [
        (BY_HAND, "a person", 4, "Production is held by ann (audit)"),
        (replace(BY_HAND, reason=""), "approved CI", 4, "Production is held by ann"),
        (
            replace(BY_HAND, until=NOW + HOUR),
            *("approved CI", 4),
            "Production is held by ann until 2030-01-02T13:00:00.000000Z (audit)",
        ),
        (ROLLED_BACK, "a person", 3, ""),
        (ROLLED_BACK, "approved CI", 3, AFTER_ROLLBACK),
        (ROLLED_BACK, "CI", 4, AFTER_ROLLBACK),
        (ROLLED_BACK, "approved CI", 4, ""),
    ],
)
def test_hold_by_hand_is_for_all_and_after_a_rollback_for_automation_alone(
    hold: Hold, who: str, number: int, message: str
) -> None:
    seen = replace(SEEN, holds=[hold], is_automation="CI" in who)

    (gate,) = hold_gates(
        "Production", version(number), seen, is_approved="approved" in who
    )

    assert (gate.passes, gate.message) == (not message, message)


@pytest.mark.parametrize(
    "hold", [replace(BY_HAND, stage="Staging"), replace(BY_HAND, until=NOW)]
)
def test_hold_of_another_stage_or_one_that_has_ended_is_no_gate(hold: Hold) -> None:
    seen = replace(SEEN, holds=[hold])

    assert not list(hold_gates("Production", version(), seen, is_approved=False))
