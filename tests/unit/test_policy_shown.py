"""The stage policy as it is drawn and put into words."""

from pathlib import Path

import pytest

from registry.domain.policy import StagePolicy
from registry.domain.policy_file import parse_policy
from registry.ui.policy_shown import conditions_of, picture, window

CONFIG = Path(__file__).parents[2] / "config"
GATED = """
stages = ["None", "Staging", "Production", "Archived"]
[[moves]]
from = "None"
to = "Staging"
via = "promotion"
verify_artifact = true
require_verified = true
required_tags = ["owner"]
checks = ["tests"]
metrics = { auc = { min = 0.9 }, loss = { max = 2 }, bias = { min = -1, max = 1 } }
min_hours_in_stage = 24
approvals = 2
[[moves]]
from = "Archived"
to = "Staging"
via = "rollback"
[[moves]]
from = "Archived"
to = "Staging"
via = "promotion"
[[freeze]]
reason = "weekend"
weekly = "Fri 16:00 - Mon 08:00"
timezone = "Europe/Berlin"
[[freeze]]
reason = "end of year"
from = 2026-12-20T00:00:00Z
until = 2027-01-04T00:00:00Z
"""


def policy_of(text: str) -> StagePolicy:
    return parse_policy(text.encode(), source="p.toml")


def drawn(rules: StagePolicy) -> dict[tuple[str, str], tuple[str, str]]:
    """What stands beside each move, by the stages that its line joins."""
    found = picture(rules)
    middles = {node.stage: node.x + found.node_width / 2 for node in found.nodes}

    def nearest(x: float) -> str:
        return min(middles, key=lambda stage: abs(middles[stage] - x))

    return {
        (
            nearest(float(edge.line[1:].split()[0])),
            nearest(float(edge.arrow.split(",")[0])),
        ): (edge.label, edge.detail)
        for edge in found.edges
    }


def test_every_move_of_the_default_policy_is_drawn() -> None:
    rules = policy_of((CONFIG / "policy.toml").read_text())

    assert drawn(rules) == {
        ("None", "Staging"): ("promotion", "1 gate"),
        ("Staging", "Production"): ("promotion", "1 gate"),
        ("Production", "Archived"): ("archival", ""),
        ("Staging", "Archived"): ("archival", ""),
        ("Archived", "Production"): ("rollback", "1 gate"),
    }
    notes = {node.stage: node.note for node in picture(rules).nodes}
    assert notes["Production"] == "one version"
    assert notes["Staging"] == ""


def test_wildcards_are_drawn_between_all_stages() -> None:
    rules = policy_of((CONFIG / "policy-open.toml").read_text())

    assert len(drawn(rules)) == 12


@pytest.mark.parametrize("name", ["policy.toml", "policy-open.toml"])
def test_all_that_is_drawn_is_within_the_picture(name: str) -> None:
    found = picture(policy_of((CONFIG / name).read_text()))

    for edge in found.edges:
        assert 0 < edge.x < found.width
        assert 10 <= edge.y <= found.height - (13 if edge.detail else 0)
    for node in found.nodes:
        assert node.x + found.node_width <= found.width
        assert 0 <= node.y <= found.height - found.node_height
    labels = [(edge.x, edge.y) for edge in found.edges]
    assert len(set(labels)) == len(labels)


def test_conditions_are_put_into_words() -> None:
    rules = policy_of(GATED)

    assert list(conditions_of(rules.moves[0].asks)) == [
        "the artifact, hashed again, is unchanged",
        "the artifact is verified",
        "it has the tag owner",
        "auc is at least 0.9",
        "loss is at most 2",
        "bias is from -1 to 1",
        "the check tests has passed",
        "it has been where it is for 24 hours",
    ]
    assert drawn(rules) == {
        ("None", "Staging"): ("promotion", "8 gates, 2 approvals"),
        ("Archived", "Staging"): ("promotion or rollback", ""),
    }
    assert [window(freeze) for freeze in rules.freezes] == [
        "each week, Fri 16:00 to Mon 08:00, Europe/Berlin",
        "2026-12-20 00:00 to 2027-01-04 00:00 UTC",
    ]
