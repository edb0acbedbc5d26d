"""Commands about who may do what."""

import json

from registry.cli.tokens import ROLES
from registry.domain.roles import Role
from tests.unit.cli.conftest import Run
from tests.unit.cli.pages import page
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


BINDING = {"id": "b1", "subject": "leads", "role": "promoter", "models": "fraud-*"}


def test_role_is_granted_to_a_group_and_listed(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", "/role-bindings", BINDING)
    fake.json("GET", "/role-bindings", page(BINDING))

    granted = run(
        *("roles", "grant", "promoter", "--group", "leads", "--models", "fraud-*")
    )

    assert granted.stdout == "Granted promoter to leads (b1).\n"
    assert fake.asked[0].json == {
        "subject_kind": "group",
        "subject": "leads",
        "role": "promoter",
        "models": "fraud-*",
    }
    assert "fraud-*" in run("roles", "list").stdout.splitlines()[1]


def test_role_is_granted_to_somebody(run: Run) -> None:
    for whom in ((), ("--user", "a", "--group", "b")):
        refused = run("roles", "grant", "viewer", *whom)

        assert refused.exit_code == 2
        assert "either --user or --group" in refused.stderr


def test_role_is_revoked(fake: FakeRegistry, run: Run) -> None:
    fake.json("DELETE", "/role-bindings/b1", {})

    assert run("roles", "revoke", "b1").exit_code == 2
    said = run("roles", "revoke", "b1", "--yes").stdout
    assert said == "Revoked role binding b1.\n"
