"""What actors may do: roles for models by pattern, and credentials' scopes."""

from dataclasses import replace

import pytest

from registry.domain.actors import (
    BETWEEN_MAKERS,
    MAX_MAKERS,
    SYSTEM,
    Actor,
    ActorKind,
    Caller,
    authorize,
    makers_by,
    may,
    may_with_every_model,
    readable,
)
from registry.domain.roles import Action, Grant, Role, Scope
from registry.errors import InvalidInputError, PermissionDeniedError

NOBODY = Actor(kind=ActorKind.TOKEN, name="ci")


def actor(*grants: Grant, scopes: str | None = None) -> Actor:
    confined = None if scopes is None else tuple(map(Scope.parse, scopes.split()))
    return replace(NOBODY, grants=grants, scopes=confined)


@pytest.mark.parametrize(
    ("role", "actions"),
    [
        (Role.VIEWER, "read"),
        (Role.AUDITOR, "read audit"),
        (Role.READER, "read"),
        (Role.WRITER, "read write"),
        (Role.PROMOTER, "read write promote"),
        (Role.APPROVER, "read approve"),
        (Role.BREAK_GLASS, "read promote break-glass"),
        (Role.ADMIN, " ".join(Action)),
    ],
)
def test_role_is_for_its_actions_and_no_others(role: Role, actions: str) -> None:
    bearer = actor(Grant(role))

    allowed = {action for action in Action if may(bearer, action, "churn")}

    assert allowed == set(map(Action, actions.split()))


def test_role_holds_for_the_models_of_its_pattern() -> None:
    bearer = actor(Grant(Role.PROMOTER, "fraud-*"), Grant(Role.READER, "churn?"))

    assert may(bearer, Action.PROMOTE, "fraud-eu")
    assert may(bearer, Action.READ, "churn2")
    assert not may(bearer, Action.PROMOTE, "churn2")
    assert not may(bearer, Action.READ, "churn")
    assert not may(bearer, Action.READ, "Fraud-eu")
    assert may(bearer, Action.PROMOTE)
    assert not may_with_every_model(bearer, Action.READ)


def test_credential_does_nothing_outside_its_scopes() -> None:
    bearer = actor(Grant(Role.ADMIN), scopes="promote:fraud-* write:*")

    assert may(bearer, Action.PROMOTE, "fraud-eu")
    assert may(bearer, Action.WRITE, "churn")
    assert may(bearer, Action.READ, "churn")
    assert not may(bearer, Action.PROMOTE, "churn")
    assert not may(bearer, Action.ADMINISTER)
    assert may_with_every_model(bearer, Action.WRITE)
    assert not may_with_every_model(bearer, Action.PROMOTE)


def test_scopes_widen_no_role() -> None:
    bearer = actor(Grant(Role.READER, "fraud"), scopes="promote:*")

    assert may(bearer, Action.READ, "fraud")
    assert not may(bearer, Action.READ, "churn")
    assert not may(bearer, Action.PROMOTE, "fraud")


def test_refusal_names_who_may_not_do_what_and_what_it_takes() -> None:
    bearer = actor(Grant(Role.PROMOTER, "fraud-*"), scopes="read:*")

    with pytest.raises(PermissionDeniedError) as refused:
        authorize(bearer, Action.PROMOTE, "fraud-eu")

    assert refused.value.message == (
        "ci (promoter:fraud-*, confined to read:*) may not promote model 'fraud-eu'; "
        "that takes one of: admin, promoter, break-glass"
    )
    with pytest.raises(PermissionDeniedError, match=r"ci \(no role\) may not read;"):
        authorize(NOBODY, Action.READ)


@pytest.mark.parametrize(
    ("bearer", "patterns"),
    [
        (actor(Grant(Role.VIEWER)), []),
        (actor(Grant(Role.READER, "a"), Grant(Role.WRITER, "b*")), [["a", "b*"]]),
        (actor(Grant(Role.VIEWER), scopes="write:a read:b"), [["a", "b"]]),
        (actor(Grant(Role.READER, "a*"), scopes="read:*b"), [["a*"], ["*b"]]),
        (NOBODY, [[]]),
    ],
)
def test_what_may_be_read_is_said_by_patterns(
    bearer: Actor, patterns: list[list[str]]
) -> None:
    assert [list(of_set) for of_set in readable(bearer)] == patterns


@pytest.mark.parametrize(
    "text", ["", "promote", "fly:*", "administer:*", "read:", "read:[a]"]
)
def test_malformed_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Scope.parse(text)

    assert refused.value.field == "scopes"


def test_pattern_is_in_the_form_that_names_are_in() -> None:
    composed, decomposed = "caf\u00e9*", "cafe\u0301*"

    assert Grant.parse("reader", decomposed).models == composed
    assert str(Scope.parse(f"read:{decomposed}")) == f"read:{composed}"


def test_grant_is_written_as_it_is_read() -> None:
    assert str(Grant.parse("promoter", "fraud-*")) == "promoter:fraud-*"
    assert str(Grant.parse("admin")) == "admin"
    assert str(Scope.parse("read:a:b")) == "read:a:b"


@pytest.mark.parametrize(
    ("role", "models", "field"),
    [("root", "*", "role"), ("admin", "fraud", "models"), ("reader", "[a]", "models")],
)
def test_malformed_grant_is_refused(role: str, models: str, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Grant.parse(role, models)

    assert refused.value.field == field


def test_system_does_everything_without_a_credential() -> None:
    caller = Caller(actor=SYSTEM)

    assert all(may(caller.actor, action, "churn") for action in Action)
    assert caller.actor.credential == "none"


def test_makers_of_a_credential_are_kept_from_the_last_on_and_not_without_end() -> None:
    maker = Actor(kind=ActorKind.TOKEN, name="t", principal="0")
    for number in range(1, MAX_MAKERS + 2):
        made_by = makers_by(maker)
        maker = Actor(
            kind=ActorKind.TOKEN, name="t", principal=str(number), made_by=made_by
        )

    assert makers_by(SYSTEM) == ""
    kept = makers_by(maker).split(BETWEEN_MAKERS)
    assert kept == [str(number) for number in range(MAX_MAKERS + 1, 1, -1)]
