"""Roles: each includes the ones before it."""

import pytest

from registry.auth.permissions import Permission
from registry.domain.actors import SYSTEM, Actor, Caller, Role

ORDER = (Role.VIEWER, Role.WRITER, Role.PROMOTER, Role.ADMIN)


@pytest.mark.parametrize("role", ORDER)
@pytest.mark.parametrize("other", ORDER)
def test_role_includes_itself_and_the_ones_before_it(role: Role, other: Role) -> None:
    assert role.includes(other) is (ORDER.index(role) >= ORDER.index(other))


@pytest.mark.parametrize(
    ("permission", "least"),
    [
        (Permission.READ, Role.VIEWER),
        (Permission.WRITE, Role.WRITER),
        (Permission.PROMOTE, Role.PROMOTER),
        (Permission.ADMIN, Role.ADMIN),
    ],
)
def test_permission_is_granted_from_its_least_role_on(
    permission: Permission, least: Role
) -> None:
    granted = [role for role in ORDER if permission.is_granted_to(role)]

    assert granted == list(ORDER[ORDER.index(least) :])


def test_what_is_public_is_granted_to_everybody() -> None:
    assert all(Permission.PUBLIC.is_granted_to(role) for role in ORDER)


def test_system_acts_without_a_credential() -> None:
    caller = Caller(actor=SYSTEM)

    assert caller.actor == Actor(kind="system", name="stagegate", role=Role.ADMIN)
    assert caller.actor.token_id == ""
