"""Commands about who may do what."""

import json

from registry.cli.tokens import ROLES
from registry.domain.roles import Role
from tests.unit.cli.conftest import Run
from tests.unit.fake_registry import FakeRegistry

CALLER = {
    "name": "ci",
    "kind": "token",
    "roles": ["promoter:fraud-*"],
    "scopes": ["promote:fraud-eu", "read:*"],
}


def test_token_is_confined_to_the_scopes_that_are_given(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", "/tokens", {"id": "t1", "name": "ci", "token": "sg_pat_x"})

    run(
        *("tokens", "create", "ci", "--role", "promoter", "--models", "fraud-*"),
        *("--scope", "promote:fraud-eu", "--scope", "read:*"),
    )

    assert fake.asked[0].json == {
        "name": "ci",
        "role": "promoter",
        "models": "fraud-*",
        "scopes": ["promote:fraud-eu", "read:*"],
    }


def test_every_role_can_be_given() -> None:
    assert set(ROLES) == set(Role)


def test_caller_is_shown_with_what_they_may_do(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/whoami", CALLER)

    shown = run("whoami").stdout

    assert "promoter:fraud-*" in shown
    assert "promote:fraud-eu" in shown
    assert json.loads(run("whoami", "-o", "json").stdout) == CALLER
