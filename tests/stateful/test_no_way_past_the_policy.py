"""No sequence of calls brings a version where the policy would not let it be.

The long run: ``make long LONG_ARGS=tests/stateful STATEFUL_STEPS=10000``.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.integration.api.driver import Driver
from tests.integration.api.gated import ci_job
from tests.integration.conftest import close_app, make_app, signed_in
from tests.lengths import Lengths, short_and_long
from tests.stateful.ways_in import Registry, Story

STEPS_OF_A_STORY = 25
REQUESTS_OF_A_STEP = 4  # what is asked to check it among them


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    app = make_app(tmp_path)
    admin = Driver(app, signed_in(app))
    people = {
        "writer": admin.with_token(name="writer", role="writer"),
        "promoter": admin.with_token(name="promoter", role="promoter"),
        "ci": ci_job(admin),
        "approver": admin.with_token(name="approver", role="approver"),
        "other": admin.with_token(name="other", role="approver"),
    }
    yield Registry(admin, people)
    close_app(app)


@short_and_long()
def test_no_calls_bring_a_version_past_the_policy(
    registry: Registry, lengths: Lengths
) -> None:
    steps = lengths.stateful_steps // REQUESTS_OF_A_STEP

    for number in range(max(1, steps // STEPS_OF_A_STORY)):
        rng = Random(lengths.seed + number)  # noqa: S311  # nothing secret
        story = Story(registry, rng, f"story-{number}")
        for _ in range(STEPS_OF_A_STORY):
            story.step()

    for way in ("transition", "mlflow_transition", "set_alias", "approve"):
        assert registry.seen[way] > 0
