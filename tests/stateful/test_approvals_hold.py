"""Threat T7: nobody brings a version into Production by their own approval alone.

The long run: ``make long LONG_ARGS=tests/stateful STATEFUL_STEPS=10000``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from registry.settings import packaged_config
from tests.integration.api.driver import Driver
from tests.integration.api.gated import ci_job, person
from tests.integration.conftest import close_app, make_app, signed_in
from tests.lengths import Lengths, short_and_long
from tests.stateful.approvals import REVISIONS, Approvals, World
from tests.stateful.approvals_log import NEEDED

STEPS_OF_A_STORY = 10
REQUESTS_OF_A_STEP = 4  # with what it asks for besides, many more
GATED = """
[[override]]
models = "{models}*"
[[override.moves]]
from = "None"
to = "Staging"
via = "promotion"
[[override.moves]]
from = "Archived"
to = "Staging"
via = "promotion"
[[override.moves]]
from = "*"
to = "Archived"
via = "archival"
[[override.moves]]
from = "Staging"
to = "Production"
via = "promotion"
verify_artifact = true
required_tags = ["owner"]
checks = ["tests"]
approvals = {approvals}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One database under two revisions of the policy; everybody signed in at both."""
    gated = [GATED.format(models=m, approvals=n) for m, n in NEEDED.items()]
    apps = {}
    for revision in REVISIONS:
        policy = tmp_path / f"{revision}.toml"
        text = packaged_config("policy.toml").read_text()
        policy.write_text(f"# {revision}\n{text}{''.join(gated)}")
        apps[revision] = make_app(tmp_path, POLICY_FILE=str(policy))
    first = Driver(apps[REVISIONS[0]], signed_in(apps[REVISIONS[0]]))
    people = everybody(first)
    yield World(
        {
            (revision, name): Driver(app, signed_in(app, secret_of(who)))
            for revision, app in apps.items()
            for name, who in people.items()
        }
    )
    for app in apps.values():
        close_app(app)


def everybody(api: Driver) -> dict[str, Driver]:
    alice = api.with_token(name="alice", role="admin")
    return {
        "alice": alice,
        "alice-2": alice.with_token(name="alice-2", role="admin"),
        "alice-3": alice.with_role("admin").with_token(name="alice-3", role="admin"),
        "job": ci_job(api, "admin", "job", human="https://idp#pat"),
        "pat": person(api, "https://idp#pat", name="pat", role="admin"),
        "bob": api.with_token(name="bob", role="admin"),
        "carol": api.with_token(name="carol", role="admin"),
    }


def secret_of(who: Driver) -> str:
    header: str = who.client.environ_base["HTTP_AUTHORIZATION"]
    return header.removeprefix("Bearer ")


@short_and_long()
def test_t7_no_version_moves_by_its_askers_or_a_stale_approval(
    world: World, lengths: Lengths
) -> None:
    steps = lengths.stateful_steps // REQUESTS_OF_A_STEP

    @seed(lengths.seed)
    class Story(Approvals):
        def __init__(self) -> None:
            super().__init__(world)

    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=max(1, steps // STEPS_OF_A_STORY),
            stateful_step_count=STEPS_OF_A_STORY,
            derandomize=False,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert world.seen["promoted"] > 0
    assert world.seen["approve 403"] > 0
    assert world.seen["approve 409"] > 0
