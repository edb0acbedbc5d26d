"""What each route asks of its caller. A route that asks nothing stops the start.

MLflow's CVE-2026-2652 is the reason: its sign-in let every route pass that it
had no rule for. Here a route without a declared permission cannot be served.

Rules:

- A route for an action on models says where its model is named, too: in the path, which
  ``<name:name>`` says by itself, or by what ``requires`` is told.
- Who may act on every model is asked nothing more: no body is read for it.
- Who is not, is told the same of a model that is not there as of one that is.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from flask import Flask, request
from werkzeug.routing import Rule

from registry.domain.actors import Actor, authorize, may, may_with_every_model
from registry.domain.names import clean_text
from registry.domain.roles import OF_MODELS, Action
from registry.errors import (
    ConfigurationError,
    InvalidInputError,
    PermissionDeniedError,
)

View = TypeVar("View", bound=Callable[..., Any])
#: Judges the model that the present request names.
Judge = Callable[[Actor, Action], None]

_ATTRIBUTE = "stagegate_permission"
_ADMITS_DELIVERIES = "stagegate_admits_deliveries"
_IN_PATH = "name"


class Permission(Enum):
    """What a route does, as the action that its caller must be allowed."""

    PUBLIC = None  #: no sign-in: probes, the API's description
    READ = Action.READ
    WRITE = Action.WRITE
    PROMOTE = Action.PROMOTE
    APPROVE = Action.APPROVE
    AUDIT = Action.AUDIT
    ADMIN = Action.ADMINISTER


class _Declared(NamedTuple):
    permission: Permission
    judge: Judge | None


def requires(
    permission: Permission, *, model: Judge | None = None
) -> Callable[[View], View]:
    """Declare the permission of a view, and where its model is named.

    Args:
        permission: what its caller must be allowed.
        model: ``named``, ``in_body``, ``in_query`` or ``known_by`` where the path does
            not name it; ``MANY`` for a list that leaves out what may not be read;
            ``NONE`` for what is no model's.
    """

    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, _Declared(permission, model))
        return view

    return declare


def MANY(actor: Actor, action: Action) -> None:  # noqa: N802  # a constant to its users
    """Let in whoever may act on some models: the view shows those and no others."""
    del actor, action


def NONE(actor: Actor, action: Action) -> None:  # noqa: N802  # as above
    """Let in whoever may act on some models: this is no model's."""
    del actor, action


def named(names: Callable[[], Iterable[str]]) -> Judge:
    """Ask for the action on each model that ``names`` finds in the request."""

    def judge(actor: Actor, action: Action) -> None:
        for name in names():
            authorize(actor, action, name)

    return judge


def in_path(actor: Actor, action: Action) -> None:
    """Ask for the action on the model of ``<name:name>``."""
    authorize(actor, action, (request.view_args or {})[_IN_PATH])


def in_body(member: str) -> Judge:
    """Ask for the action on the model that a member of the JSON body names."""

    def names() -> Iterable[str]:
        name = _member(member)
        if name is None:
            raise InvalidInputError("must name a model", field=member)
        yield name

    return named(names)


def in_path_and_body(member: str) -> Judge:
    """Ask for it on the model of the path, and on the one that is named besides."""

    def names() -> Iterable[str]:
        yield (request.view_args or {})[_IN_PATH]
        name = _member(member)
        if name is not None:
            yield name

    return named(names)


def in_query(argument: str) -> Judge:
    """Ask for it on the model of an argument, or without that on all models."""

    def judge(actor: Actor, action: Action) -> None:
        name = request.args.get(argument)
        if name is None:
            raise PermissionDeniedError(
                f"{actor.name} may not {action.value} every model: say which {argument}"
            )
        authorize(actor, action, clean_text(name, field=argument))

    return judge


def known_by(find: Callable[[], str | None]) -> Judge:
    """Ask for it on the model that something belongs to, which ``find`` looks up.

    A refusal does not name the model, nor say that there is one.
    """

    def judge(actor: Actor, action: Action) -> None:
        name = find()
        if name is None or not may(actor, action, name):
            raise PermissionDeniedError(
                f"{actor.name} may {action.value} no model that has this"
            )

    return judge


def _member(member: str) -> str | None:
    """Return a member of the body that is a text; the view refuses any other."""
    body = request.get_json(silent=True)
    text = body.get(member) if isinstance(body, dict) else None
    return clean_text(text, field=member) if isinstance(text, str) else None


def permission_of(app: Flask, endpoint: str) -> Permission | None:
    """Return the permission that the view behind an endpoint declares."""
    declared = _declared(app, endpoint)
    return declared and declared.permission


def is_free_with_models(app: Flask, endpoint: str, actor: Actor) -> bool:
    """Whether no model's name can keep the actor from what a view does."""
    action = _of_models(permission_of(app, endpoint))
    return action is None or may_with_every_model(actor, action)


def authorize_model(app: Flask, endpoint: str, actor: Actor) -> None:
    """Let the actor do to the model that the present request names what the view does.

    Raises:
        PermissionDeniedError: when they may not.
        InvalidInputError: when the request names none and has to.
    """
    declared = _declared(app, endpoint)
    action = _of_models(declared and declared.permission)
    if declared is not None and action is not None:
        (declared.judge or in_path)(actor, action)


def _of_models(permission: Permission | None) -> Action | None:
    action = permission and permission.value
    return action if action in OF_MODELS else None


def _declared(app: Flask, endpoint: str) -> _Declared | None:
    declared = getattr(app.view_functions[endpoint], _ATTRIBUTE, None)
    return declared if isinstance(declared, _Declared) else None


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
    """Refuse to start with a route that does not say who may call it.

    Raises:
        ConfigurationError: naming each such route.
    """
    found = (_problem(app, rule) for rule in app.url_map.iter_rules())
    problems = sorted(filter(None, found))
    if problems:
        raise ConfigurationError(problems)


def _problem(app: Flask, rule: Rule) -> str | None:
    declared = _declared(app, rule.endpoint)
    if declared is None:
        return f"route {rule.rule} declares no permission"
    is_of_models = _of_models(declared.permission) is not None
    if is_of_models and declared.judge is None and _IN_PATH not in rule.arguments:
        return f"route {rule.rule} does not say where its model is named"
    return None
