"""``/``: what waits for whoever looks, what is wrong, and what happened last."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Blueprint, Response

from registry.auth.permissions import MANY, Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import may, readable
from registry.domain.freezes import Freeze
from registry.domain.policy import StagePolicy
from registry.domain.roles import Action
from registry.persistence import overview
from registry.persistence.database import reading
from registry.ui.pages import page
from registry.ui.requests import waiting
from registry.web.commands import parts
from webhooks.tables import SubscriptionState
from webhooks.trouble import Endpoint, read_endpoints

blueprint = Blueprint("now", __name__)

_MOST = 10
_MOST_MOVES = 15


class InForce(NamedTuple):
    """A freeze that keeps versions from being promoted at present.

    Attributes:
        models: the pattern of an override; None for all models that have none.
    """

    models: str | None
    freeze: Freeze
    until: datetime


@blueprint.get("/")
@requires(Permission.READ, model=MANY)
def show() -> Response:
    """Show what is to be done, what is wrong, and the last changes."""
    now, cx = datetime.now(UTC), reading()
    of_mine = list(readable(current_caller().actor))
    return page(
        "now.html",
        waiting=waiting(),
        endpoints=_endpoints(now),
        deployments=overview.unfinished_deployments(
            cx, now, limit=_MOST, readable=of_mine
        ),
        held=overview.held_models(cx, now, limit=_MOST, readable=of_mine),
        freezes=freezes_in_force(parts().policy, now),
        moves=overview.last_moves(cx, limit=_MOST_MOVES, readable=of_mine),
        most=_MOST,
    )


def freezes_in_force(policy: StagePolicy, now: datetime) -> list[InForce]:
    """Return the freezes that hold at an instant; what an override takes over, once."""
    rules: list[tuple[str | None, StagePolicy]] = [(None, policy), *policy.overrides]
    return [
        InForce(models, freeze, until)
        for models, own in rules
        for freeze in own.freezes
        if models is None or freeze not in policy.freezes
        if (until := freeze.ends_at(now)) is not None
    ]


class Trouble(NamedTuple):
    """An endpoint that somebody should look at, and why, in a word each."""

    endpoint: Endpoint
    words: Sequence[tuple[str, str]]


def _endpoints(now: datetime) -> list[Trouble] | None:
    """Return the endpoints in trouble; None for who may not see any."""
    if not may(current_caller().actor, Action.ADMINISTER):
        return None
    found = [each for each in read_endpoints(reading()) if each.is_in_trouble(now)]
    return [Trouble(each, _words(each, now)) for each in found]


def _words(endpoint: Endpoint, now: datetime) -> Sequence[tuple[str, str]]:
    """Return what is wrong, each with its tone."""
    is_active = endpoint.state == SubscriptionState.ACTIVE
    is_off = endpoint.state == SubscriptionState.DISABLED
    said = [
        (endpoint.state, "bad" if is_off else "warn", not is_active),
        ("resting", "bad", endpoint.is_resting(now)),
        ("failing", "bad", endpoint.failing_since is not None),
        (f"{endpoint.blocked} blocked", "bad", endpoint.blocked > 0),
        ("late", "warn", is_active and endpoint.is_late(now)),
    ]
    return [(text, tone) for text, tone, holds in said if holds]
