"""Freezes that are in force."""

from datetime import UTC, datetime, timedelta

from registry.domain.policy_file import parse_policy
from registry.settings import packaged_config
from registry.ui.now import freezes_in_force

FREEZES = """
[[freeze]]
reason = "end of the year"
from = 2026-12-20T00:00:00Z
until = 2027-01-02T00:00:00Z

[[override]]
models = "fraud*"
[[override.freeze]]
reason = "audit"
from = 2026-12-24T00:00:00Z
until = 2026-12-25T00:00:00Z
"""
POLICY = packaged_config("policy.toml").read_text() + FREEZES


def test_freezes_are_told_while_they_last_each_of_the_models_it_is_of() -> None:
    policy = parse_policy(POLICY.encode(), source="policy.toml")
    eve = datetime(2026, 12, 24, 12, tzinfo=UTC)

    def told(at: datetime) -> list[tuple[str | None, str]]:
        found = freezes_in_force(policy, at)
        return [(each.models, each.freeze.reason) for each in found]

    assert told(eve) == [(None, "end of the year"), ("fraud*", "audit")]
    assert told(eve + timedelta(days=1)) == [(None, "end of the year")]
    assert told(eve + timedelta(days=30)) == []
    assert freezes_in_force(policy, eve)[0].until == datetime(2027, 1, 2, tzinfo=UTC)


def test_freeze_that_an_override_takes_over_is_told_once() -> None:
    before_its_own, _, _ = POLICY.partition("[[override.freeze]]")
    policy = parse_policy(before_its_own.encode(), source="policy.toml")

    found = freezes_in_force(policy, datetime(2026, 12, 24, tzinfo=UTC))

    assert [each.models for each in found] == [None]
