"""What each route asks of its caller. A route that asks nothing stops the start.

MLflow's CVE-2026-2652 is the reason: its sign-in let every route pass that it
had no rule for. Here a route without a declared permission cannot be served.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from flask import Flask

from registry.domain.roles import Action
from registry.errors import ConfigurationError

View = TypeVar("View", bound=Callable[..., Any])

_ATTRIBUTE = "stagegate_permission"
_ADMITS_DELIVERIES = "stagegate_admits_deliveries"


class Permission(Enum):
    """What a route does, as the action that its caller must be allowed."""

    PUBLIC = None  #: no sign-in: probes, the API's description
    READ = Action.READ
    WRITE = Action.WRITE
    PROMOTE = Action.PROMOTE
    APPROVE = Action.APPROVE
    AUDIT = Action.AUDIT
    ADMIN = Action.ADMINISTER


def requires(permission: Permission) -> Callable[[View], View]:
    """Declare the permission of a view."""

    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, permission)
        return view

    return declare


def permission_of(app: Flask, endpoint: str) -> Permission | None:
    """Return the permission that the view behind an endpoint declares."""
    declared = getattr(app.view_functions[endpoint], _ATTRIBUTE, None)
    return declared if isinstance(declared, Permission) else None


def admits_deliveries(view: View) -> View:
    """Let the token of a delivery in too, for the version that it speaks of.

    The route's path names the version as ``name`` and ``number``.
    """
    setattr(view, _ADMITS_DELIVERIES, True)
    return view


def is_open_to_deliveries(app: Flask, endpoint: str) -> bool:
    """Whether the view behind an endpoint takes the token of a delivery."""
    return getattr(app.view_functions[endpoint], _ADMITS_DELIVERIES, False) is True


def check_every_route(app: Flask) -> None:
    """Refuse to start with a route that declares no permission.

    Raises:
        ConfigurationError: naming each such route.
    """
    undeclared = sorted(
        rule.rule
        for rule in app.url_map.iter_rules()
        if permission_of(app, rule.endpoint) is None
    )
    if undeclared:
        raise ConfigurationError(
            [f"route {rule} declares no permission" for rule in undeclared]
        )
