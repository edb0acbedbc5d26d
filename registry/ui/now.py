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
from registry.persistence import across_models
from registry.persistence.database import reading
from registry.ui.pages import page
from registry.ui.requests import waiting
from registry.web.commands import parts
from webhooks.endpoints import COUNTED, Standing, read_standings
from webhooks.endpoints import waiting as waiting_of
from webhooks.tables import SubscriptionState

blueprint = Blueprint("now", __name__)

_MOST = 10
_MOST_MOVES = 15
_ACTIVE = SubscriptionState.ACTIVE


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
        deployments=across_models.unfinished_deployments(
            cx, now, limit=_MOST + 1, readable=of_mine
        ),
        held=across_models.held_models(cx, now, limit=_MOST + 1, readable=of_mine),
        freezes=freezes_in_force(parts().policy, now),
        moves=across_models.last_moves(cx, limit=_MOST_MOVES, readable=of_mine),
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
    """A receiver that somebody should look at, and why.

    Attributes:
        words: each with its tone.
        waiting: how many deliveries wait for it, ``COUNTED`` at most.
    """

    endpoint: Standing
    words: Sequence[tuple[str, str]]
    waiting: int


def _endpoints(now: datetime) -> list[Trouble] | None:
    """Return the receivers in trouble; None for who may not see any."""
    if not may(current_caller().actor, Action.ADMINISTER):
        return None
    cx = reading()
    found = [each for each in read_standings(cx) if each.is_in_trouble(now)]
    counts = waiting_of(cx, [each.id for each in found[:_MOST]]) if found else {}
    return [
        Trouble(each, _words(each, now), counts.get(each.id, COUNTED)) for each in found
    ]


def _words(endpoint: Standing, now: datetime) -> Sequence[tuple[str, str]]:
    is_off = endpoint.state == SubscriptionState.DISABLED
    said = [
        (endpoint.state, "bad" if is_off else "warn", endpoint.state != _ACTIVE),
        ("resting", "bad", endpoint.is_resting(now)),
        ("failing", "bad", endpoint.failing_since is not None),
        (f"{endpoint.blocked} blocked", "bad", endpoint.blocked > 0),
        ("late", "warn", endpoint.is_late(now)),
    ]
    return [(text, tone) for text, tone, holds in said if holds]
