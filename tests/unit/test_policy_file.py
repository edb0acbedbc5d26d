"""Which policy files are refused, and that every problem is named at once."""

import hashlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from registry.domain.freezes import Freeze, parse_weekly
from registry.domain.gates import NOTHING, MetricThreshold, Requirements
from registry.domain.policy import AliasRule
from registry.domain.policy_file import parse_policy
from registry.domain.roles import Action
from registry.errors import ConfigurationError
from registry.settings import packaged_config

HEAD = 'stages = ["None", "Staging", "Production", "Archived"]\n'
MOVE = '[[moves]]\nfrom = "None"\nto = "Staging"\nvia = "promotion"\n'


def problems_of(text: str | bytes) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(content, source="p.toml")
    assert all(problem.startswith("p.toml: ") for problem in caught.value.problems)
    return [problem.removeprefix("p.toml: ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    "name", ["policy.toml", "policy-open.toml", "policy-strict.toml"]
)
def test_packaged_policy_is_read_and_its_digest_is_that_of_the_file(name: str) -> None:
    content = packaged_config(name).read_bytes()

    policy = parse_policy(content, source=name)

    assert policy.digest == "sha256:" + hashlib.sha256(content).hexdigest()
    assert policy.stages == ("None", "Staging", "Production", "Archived")


def test_least_policy_is_shared_stages_and_nothing_may_be_deleted() -> None:
    policy = parse_policy((HEAD + MOVE).encode(), source="p.toml")

    assert policy.exclusive == {}
    assert policy.deletable == frozenset()
    assert policy.overrides == ()


STAGES = "stages = {}\n" + MOVE
FREEZE = '[[freeze]]\nreason = "rest"\n'
MALFORMED = {
    "not TOML": ("stages = [", "not valid TOML"),
    "a key twice": (HEAD + HEAD + MOVE, "not valid TOML"),
    "not UTF-8": (b"\xff\xfe", "not valid TOML"),
    "empty": ("", "stages: Missing data for required field."),
    "no moves": (HEAD, "moves: Missing data for required field."),
    "stages no list": ('stages = "None"\n' + MOVE, "stages: Not a valid list."),
    "stages of numbers": (STAGES.format("[1, 2]"), "stages.0: Not a valid string."),
    "no stages": (
        STAGES.format("[]"),
        "stages: None, Staging, Production, Archived must be listed",
    ),
    "a stage missing": (
        STAGES.format('["None", "Staging", "Archived"]'),
        "stages: Production must be listed",
    ),
    "stages out of order": (
        STAGES.format('["Staging", "None", "Production", "Archived"]'),
        "stages: None must stand first and Archived last",
    ),
    "a stage behind Archived": (
        STAGES.format('["None", "Staging", "Production", "Archived", "Gone"]'),
        "stages: None must stand first and Archived last",
    ),
    "a stage twice in another case": (
        STAGES.format('["None", "Staging", "staging", "Production", "Archived"]'),
        "stages: a stage stands there twice",
    ),
    "a stage with a blank": (
        STAGES.format('["None", "Staging", "On hold", "Production", "Archived"]'),
        "stages: a stage is named by letters, digits and '_'",
    ),
    "a move without an end": (
        HEAD + '[[moves]]\nfrom = "None"\nvia = "promotion"',
        "moves.0.to: Missing data for required field.",
    ),
    "an unknown way": (
        HEAD + MOVE.replace("promotion", "teleport"),
        "moves.0.via: Must be one of: promotion, archival, rollback.",
    ),
    "a way that is not for policies": (
        HEAD + MOVE.replace("promotion", "superseded"),
        "moves.0.via: Must be one of: promotion, archival, rollback.",
    ),
    "a misspelt gate": (
        HEAD + MOVE + "verfy_artifact = true",
        "moves.0.verfy_artifact: Unknown field.",
    ),
    "an unknown table": (HEAD + MOVE + "[gates]\n", "gates: Unknown field."),
    "a gate that is no boolean": (
        HEAD + MOVE + "verify_artifact = 7",
        "moves.0.verify_artifact: Not a valid boolean.",
    ),
    "tags that are no list": (
        HEAD + MOVE + 'required_tags = "reviewed"',
        "moves.0.required_tags: Not a valid list.",
    ),
    "a metric without bounds": (
        HEAD + MOVE + "metrics = { accuracy = {} }",
        "moves.0.metrics.accuracy.value: expected { min = … } or { max = … }",
    ),
    "a metric with an unknown bound": (
        HEAD + MOVE + "metrics = { accuracy = { least = 1 } }",
        "moves.0.metrics.accuracy.value.least: Unknown field.",
    ),
    "a bound that is no number": (
        HEAD + MOVE + 'metrics = { accuracy = { min = "high" } }',
        "moves.0.metrics.accuracy.value.min: Not a valid number.",
    ),
    "a bound that nothing passes": (
        HEAD + MOVE + "metrics = { accuracy = { min = nan } }",
        "moves.0.metrics.accuracy.value.min: Special numeric values",
    ),
    "a move to an unknown stage": (
        HEAD + MOVE.replace("Staging", "Canary"),
        "file: not among the stages: Canary",
    ),
    "deletion in an unknown stage": (
        HEAD + MOVE + '[deletion]\nstages = ["Gone"]',
        "file: not among the stages: Gone",
    ),
    "deletion in any stage": (
        HEAD + MOVE + '[deletion]\nstages = ["*"]',
        "file: not among the stages: *",
    ),
    "deletion without stages": (
        HEAD + MOVE + "[deletion]\n",
        "deletion.stages: Missing data for required field.",
    ),
    "an incumbent that goes nowhere": (
        HEAD + MOVE + '[exclusive]\nProduction = "Gone"',
        "file: not among the stages: Gone",
    ),
    "an incumbent that goes anywhere": (
        HEAD + MOVE + '[exclusive]\nProduction = "*"',
        "file: not among the stages: *",
    ),
    "an incumbent that stays": (
        HEAD + MOVE + '[exclusive]\nProduction = "Production"',
        "exclusive: an incumbent must leave for a shared stage",
    ),
    "an incumbent that meets another": (
        HEAD + MOVE + '[exclusive]\nProduction = "Staging"\nStaging = "Archived"',
        "exclusive: an incumbent must leave for a shared stage",
    ),
    "None exclusive": (
        HEAD + MOVE + '[exclusive]\nNone = "Archived"',
        "exclusive: an incumbent must leave for a shared stage",
    ),
    "a rollback in a shared stage": (
        'automatic_rollback = ["Staging"]\n' + HEAD + MOVE,
        "automatic_rollback: only an exclusive stage has one version",
    ),
    "a rollback in a stage that an override shares": (
        'automatic_rollback = ["Production"]\n'
        + HEAD
        + MOVE
        + '[exclusive]\nProduction = "Archived"\n'
        + '[[override]]\nmodels = "a"\n[override.exclusive]\n',
        "automatic_rollback: only an exclusive stage has one version",
    ),
    "a rollback in an unknown stage": (
        'automatic_rollback = ["Gone"]\n' + HEAD + MOVE,
        "file: not among the stages: Gone",
    ),
    "a rollback that is no list": (
        'automatic_rollback = "Production"\n' + HEAD + MOVE,
        "automatic_rollback: Not a valid list.",
    ),
    "no approval that could be given": (
        HEAD + MOVE + "approvals = 11",
        "moves.0.approvals: Must be greater than or equal to 0 and less than or equal",
    ),
    "half an approval": (
        HEAD + MOVE + "approvals = 1.5",
        "moves.0.approvals: Not a valid integer.",
    ),
    "a check that is no list": (
        HEAD + MOVE + 'checks = "tests"',
        "moves.0.checks: Not a valid list.",
    ),
    "a stay that never ends": (
        HEAD + MOVE + "min_hours_in_stage = 1e6",
        "moves.0.min_hours_in_stage: Must be greater than or equal to 0 and less",
    ),
    "a hold in an unknown stage": (
        'hold_after_rollback = ["Gone"]\n' + HEAD + MOVE,
        "file: not among the stages: Gone",
    ),
    "approvals that are never in time": (
        "approval_hours = 0\n" + HEAD + MOVE,
        "approval_hours: Must be greater than or equal to 1",
    ),
    "an alias without a name": (
        HEAD + MOVE + '[[aliases]]\nstage = "Production"',
        "aliases.0.name: Missing data for required field.",
    ),
    "an alias bound to an unknown stage": (
        HEAD + MOVE + '[[aliases]]\nname = "live"\nstage = "Live"',
        "file: not among the stages: Live",
    ),
    "an alias guarded by an unknown stage": (
        HEAD + MOVE + '[[aliases]]\nname = "live"\nstages = ["Live"]',
        "file: not among the stages: Live",
    ),
    "an alias guarded by an unknown action": (
        HEAD + MOVE + '[[aliases]]\nname = "live"\naction = "administer"',
        "aliases.0.action: Must be one of: read, write, promote, approve, break-glass.",
    ),
    "an alias that asks for approvals": (
        HEAD + MOVE + '[[aliases]]\nname = "live"\napprovals = 1',
        "aliases.0.approvals: Unknown field.",
    ),
    "an alias both bound and guarded": (
        HEAD + MOVE + '[[aliases]]\nname = "a"\nstage = "Staging"\nchecks = ["b"]',
        "aliases.0.stage: bound to a stage, whose moves ask for all",
    ),
    "a freeze without a reason": (
        HEAD + MOVE + '[[freeze]]\nweekly = "Fri 16:00 - Mon 08:00"',
        "freeze.0.reason: Missing data for required field.",
    ),
    "a freeze of an unknown stage": (
        HEAD + MOVE + FREEZE + 'weekly = "Fri 16:00 - Mon 08:00"\nstages = ["Live"]',
        "file: not among the stages: Live",
    ),
    "a freeze in no time zone": (
        HEAD + MOVE + FREEZE + 'weekly = "Fri 16:00 - Mon 08:00"\ntimezone = "Oz"',
        "freeze.0: 'No time zone found with key Oz'",
    ),
    "a freeze in a continent": (
        HEAD + MOVE + FREEZE + 'weekly = "Fri 16:00 - Mon 08:00"\ntimezone = "Europe"',
        "freeze.0: ",
    ),
    "a freeze that cannot be read": (
        HEAD + MOVE + FREEZE + 'weekly = "weekends"',
        "freeze.0: expected 'Fri 16:00 - Mon 08:00', got 'weekends'",
    ),
    "a freeze at an hour that there is not": (
        HEAD + MOVE + FREEZE + 'weekly = "Fri 25:00 - Mon 08:00"',
        "freeze.0: hour must be in 0..23",
    ),
    **{
        f"a freeze {name}": (
            HEAD + MOVE + FREEZE + times,
            "freeze.0: expected from and",
        )
        for name, times in {
            "at no time": "",
            "without an end": "from = 2026-12-20T00:00:00Z",
            "on a day": "from = 2026-12-20\nuntil = 2026-12-21",
            "without an offset": (
                "from = 2026-12-20T00:00:00\nuntil = 2026-12-21T00:00:00Z"
            ),
            "that ends before it begins": (
                "from = 2026-12-20T00:00:00Z\nuntil = 2026-12-20T00:30:00+01:00"
            ),
            "that ends after all time": (
                "from = 2026-12-20T00:00:00Z\nuntil = 9999-12-31T23:59:59-05:00"
            ),
            "once and weekly": (
                "from = 2026-12-20T00:00:00Z\nuntil = 2026-12-21T00:00:00Z\n"
                'weekly = "Fri 16:00 - Mon 08:00"'
            ),
        }.items()
    },
    "an override with an alias to an unknown stage": (
        HEAD + MOVE + '[[override]]\nmodels = "a"\n'
        '[[override.aliases]]\nname = "live"\nstage = "Live"',
        "file: not among the stages: Live",
    ),
    "an override for nobody": (
        HEAD + MOVE + "[[override]]\n",
        "override.0.models: Missing data for required field.",
    ),
    "an override with an empty pattern": (
        HEAD + MOVE + '[[override]]\nmodels = ""',
        "override.0.models: Shorter than minimum length 1.",
    ),
    "an override with stages of its own": (
        HEAD + MOVE + '[[override]]\nmodels = "a"\nstages = ["None"]',
        "override.0.stages: Unknown field.",
    ),
    "an override with an unknown stage": (
        HEAD + MOVE + '[[override]]\nmodels = "a"\n[override.exclusive]\nQ = "None"',
        "file: not among the stages: Q",
    ),
}


@pytest.mark.parametrize(("text", "expected"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_file_is_refused_with_the_place_named(
    text: str | bytes, expected: str
) -> None:
    problems = problems_of(text)

    assert any(problem.startswith(expected) for problem in problems)


def test_every_problem_of_a_file_is_named_at_once() -> None:
    problems = problems_of(
        """
        stages = ["None", 5]
        surprise = true
        [[moves]]
        from = "None"
        via = "by hand"
        [deletion]
        stages = "None"
        [[override]]
        models = ""
        """
    )

    assert {problem.partition(": ")[0] for problem in problems} == {
        "stages.1",
        "surprise",
        "moves.0.to",
        "moves.0.via",
        "deletion.stages",
        "override.0.models",
    }


def test_rules_that_contradict_the_stages_are_named_at_once() -> None:
    problems = problems_of(
        """
        stages = ["Staging", "None", "no good", "none", "Production", "Archived"]
        [[moves]]
        from = "Here"
        to = "There"
        via = "promotion"
        [exclusive]
        Production = "Production"
        [[override]]
        models = "a"
        [override.deletion]
        stages = ["Elsewhere"]
        """
    )

    assert set(problems) == {
        "stages: None must stand first and Archived last",
        "stages: a stage stands there twice",
        "stages: a stage is named by letters, digits and '_'",
        "file: not among the stages: Here, There",
        "file: not among the stages: Elsewhere",
        "exclusive: an incumbent must leave for a shared stage, and None has none",
    }


def test_stages_that_roll_back_by_themselves_may_differ_by_model() -> None:
    text = (
        'automatic_rollback = ["Production"]\n'
        + HEAD
        + MOVE
        + '[exclusive]\nProduction = "Archived"\n'
        + '[[override]]\nmodels = "by-hand-*"\nautomatic_rollback = []\n'
    )

    policy = parse_policy(text.encode(), source="p.toml")

    assert policy.for_model("fraud").automatic_rollback == {"Production"}
    assert policy.for_model("by-hand-1").automatic_rollback == frozenset()


def test_nothing_rolls_back_by_itself_unless_the_file_says_so() -> None:
    content = packaged_config("policy.toml").read_bytes()

    assert parse_policy(content, source="policy.toml").automatic_rollback == frozenset()


GATES = """
hold_after_rollback = ["Production"]
approval_hours = 2
stages = ["None", "Staging", "Production", "Archived"]
[[moves]]
from = "Staging"
to = "Production"
via = "promotion"
checks = ["tests"]
min_hours_in_stage = 0.5
approvals = 2
[[aliases]]
name = "live"
stage = "Production"
[[aliases]]
name = "champion*"
action = "promote"
stages = ["Production"]
checks = ["tests"]
metrics = { auc = { min = 0.9 } }
[[aliases]]
name = "*"
[[freeze]]
reason = "weekend"
stages = ["Production"]
weekly = "Fri 16:00 - Mon 08:00"
timezone = "Europe/Berlin"
[[freeze]]
reason = "end of year"
from = 2026-12-20T00:00:00+01:00
until = 2027-01-04T00:00:00Z
[[override]]
models = "lab-*"
approval_hours = 1
aliases = []
freeze = []
hold_after_rollback = []
"""


def test_moves_ask_for_checks_time_and_approvals() -> None:
    (move,) = parse_policy(GATES.encode(), source="p.toml").moves

    assert move.approvals == 2
    assert move.asks == Requirements(
        checks=("tests",), min_time_in_stage=timedelta(minutes=30)
    )


def test_aliases_are_bound_guarded_or_free() -> None:
    live, champion, others = parse_policy(GATES.encode(), source="p.toml").aliases

    assert live == AliasRule(pattern="live", stage="Production")
    assert champion == AliasRule(
        pattern="champion*",
        action=Action.PROMOTE,
        stages=("Production",),
        asks=Requirements(
            checks=("tests",), metrics=(MetricThreshold(name="auc", minimum=0.9),)
        ),
    )
    assert others == AliasRule(pattern="*")


def test_freezes_come_back_each_week_or_once() -> None:
    weekend, once = parse_policy(GATES.encode(), source="p.toml").freezes

    assert weekend == Freeze(
        reason="weekend",
        stages=("Production",),
        weekly=parse_weekly("Fri 16:00 - Mon 08:00"),
        zone=ZoneInfo("Europe/Berlin"),
    )
    assert once == Freeze(
        reason="end of year",
        begins=datetime(2026, 12, 19, 23, tzinfo=UTC),
        ends=datetime(2027, 1, 4, tzinfo=UTC),
        zone=ZoneInfo("UTC"),
    )


def test_override_has_gates_of_its_own_in_place_of_those_of_the_file() -> None:
    policy = parse_policy(GATES.encode(), source="p.toml")
    lab = policy.for_model("lab-1")

    assert (policy.approval_hours, lab.approval_hours) == (2, 1)
    assert policy.held_after_rollback == {"Production"}
    assert lab.held_after_rollback == frozenset()
    assert (lab.aliases, lab.freezes, lab.moves) == ((), (), policy.moves)


def test_policy_that_does_not_speak_of_gates_has_none() -> None:
    policy = parse_policy((HEAD + MOVE).encode(), source="p.toml")

    assert policy.moves[0].asks == NOTHING
    assert policy.moves[0].approvals == 0
    assert (policy.aliases, policy.freezes) == ((), ())
    assert policy.held_after_rollback == frozenset()
    assert policy.approval_hours == 30 * 24


def test_default_binds_the_names_of_stages_and_holds_production() -> None:
    content = packaged_config("policy.toml").read_bytes()

    policy = parse_policy(content, source="policy.toml")

    assert policy.held_after_rollback == {"Production"}
    for alias in ("staging", "Production", "ARCHIVED"):
        assert policy.bound_stage(alias) == alias.title()
    assert policy.bound_stage("champion") is None
