"""The page of one model: a board, what became of its stages, a metric, its versions."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, request, url_for
from sqlalchemy import Connection

from registry.domain.commands.models import ModelState
from registry.domain.holds import Hold
from registry.domain.policy import ARCHIVED, NONE, UNUSED_STAGES, StagePolicy
from registry.domain.prompts import content, own_tags
from registry.persistence import boards, queries
from registry.persistence.boards import METRIC, VersionLine
from registry.persistence.database import reading
from registry.persistence.history import list_history
from registry.ui.model_view import COLUMNS, ModelView
from registry.ui.pages import page
from registry.ui.plot import plot
from registry.ui.timeline import draw, tenures
from registry.web.commands import parts
from registry.web.paging import decode_cursor, encode_cursor

#: So many cards a stage, lines of the history, rows of the table, points of the plot.
_CARDS, _LINES, _ROWS, _POINTS = 5, 20, 25, 500
#: So many cards of a stage that nothing is in use in.
_UNUSED_CARDS = 3
#: So many tags and aliases, unless all are asked for: a model may have thousands.
_FIRST, _ALL = 100, 10**6
_PROMPTS = 20
#: What a page says once something was done.
_DONE = {
    "created": "The model is registered. It has no version yet.",
    "described": "The description is changed.",
    "tagged": "The tag is set.",
    "untagged": "The tag is removed.",
    "aliased": "The alias is set.",
    "unaliased": "The alias is removed.",
    "held": "The stage is held.",
    "lifted": "The hold is lifted.",
    "version-deleted": "The version is deleted. Its history and audit entries stay.",
}


def model_page(name: str, *, status: int = 200, **more: Any) -> Response:  # noqa: ANN401  # what templates take
    """Show a model, or a prompt; ``more`` is of a form that was refused."""
    cx, policy = reading(), parts().policy.for_model(name)
    model = queries.get_model(cx, name)
    known = _of_both(model, policy)
    if model.row.is_prompt:
        shown = _prompt(cx, name)
        return page("prompt.html", status=status, **known, **shown, **more)
    view = ModelView.of(name, request.args, policy)
    shown = {
        "view": view,
        # Written once: to ask for the address of each of 600 takes longer than all SQL.
        "version_at": url_for("ui.versions.show", name=name, number=1)[:-1],
        "counts": boards.stage_counts(cx, model.row.id),
        **_board(cx, model, policy),
        **_history(cx, model, view, policy),
        **_metrics_and_versions(cx, model, view),
    }
    return page("model.html", status=status, **known, **shown, **more)


def _of_both(model: ModelState, policy: StagePolicy) -> dict[str, Any]:
    """Return what is known of models and prompts alike."""
    is_prompt, now = model.row.is_prompt, datetime.now(UTC)
    tags = model.facts.tags
    return {
        "model": model.row,
        "facts": model.facts,
        "tags_shown": own_tags(tags) if is_prompt else tags,
        "stages": policy.stages,
        "bound": {} if is_prompt else _bound(model, policy),
        "most": _ALL if request.args.get("all") else _FIRST,
        "holds": [
            hold for hold in map(Hold.of, model.row.holds) if hold.stands_at(now)
        ],
        "done": _DONE.get(request.args.get("done", "")),
    }


def _bound(model: ModelState, policy: StagePolicy) -> dict[str, int]:
    """Return the aliases that are bound to a stage which one version is in."""
    holders: dict[str, list[int]] = {}
    for number, stage in model.facts.held_stages.items():
        holders.setdefault(stage, []).append(number)
    return {
        rule.pattern: holders[rule.stage][0]
        for rule in policy.aliases
        if rule.stage and len(holders.get(rule.stage, ())) == 1
    }


def _board(cx: Connection, model: ModelState, policy: StagePolicy) -> dict[str, Any]:
    cards = boards.board(cx, model.row.id, policy.stages, most=_CARDS)
    order = [*reversed(policy.stages_in_use), NONE, ARCHIVED]
    by_stage: dict[str, list[VersionLine]] = {stage: [] for stage in order}
    for card in cards:
        most = _UNUSED_CARDS if card.stage in UNUSED_STAGES else _CARDS
        if len(by_stage[card.stage]) < most:
            by_stage[card.stage].append(card)
    aliases: dict[int, list[str]] = {}
    for alias, number in sorted(model.facts.aliases.items()):
        aliases.setdefault(number, []).append(alias)
    return {
        "board": by_stage,
        "aliases_of": aliases,
        "deployments": boards.deployment_counts(cx, cards),
        "moves": {stage: policy.allowed_from(stage) for stage in policy.stages},
    }


def _history(
    cx: Connection, model: ModelState, view: ModelView, policy: StagePolicy
) -> dict[str, Any]:
    found = list_history(
        cx, model.row.name, below=view.below, stage=None, limit=_LINES + 1
    )
    lines = list(found)
    shown, is_more = lines[:_LINES], len(lines) > _LINES
    stages = policy.stages_in_use[::-1]
    if not shown:
        return {"lines": [], "timeline": None, "gone": {}, "earlier": None}
    changes = [line.change for line in reversed(shown)]
    numbers = sorted({change.number for change in changes})
    gone = boards.deletions(cx, model.row.id, numbers)
    standing = boards.standing(cx, model.row.id, stages, before=changes[0].sequence)
    held = tenures(changes, standing=standing, deletions=gone, stages=stages)
    return {
        "lines": shown,
        "timeline": draw(held, stages),
        "gone": gone,
        "earlier": changes[0].sequence if is_more else None,
    }


def _metrics_and_versions(
    cx: Connection, model: ModelState, view: ModelView
) -> dict[str, Any]:
    names = boards.metric_names(cx, model.row.id)
    metric = view.metric or (names[0] if names else None)
    points = (
        boards.metric_points(cx, model.row.id, metric, most=_POINTS) if metric else []
    )
    rows = boards.version_lines(
        cx,
        model.row.id,
        view.order,
        stage=view.stage,
        skip=(view.page - 1) * _ROWS,
        limit=_ROWS + 1,
    )
    return {
        "metric": metric,
        "metrics": names,
        "plot": plot(points),
        "points": points,
        "rows": rows[:_ROWS],
        "has_more": len(rows) > _ROWS,
        "a_page": _ROWS,
        "columns": view.columns(names),
        "all_columns": [*COLUMNS.items(), *((METRIC + each, each) for each in names)],
    }


def _prompt(cx: Connection, name: str) -> dict[str, Any]:
    below = decode_cursor(request.args.get("cursor"), int)
    found = list(
        queries.list_versions(cx, name, below=below, stage=None, limit=_PROMPTS + 1)
    )
    shown = found[:_PROMPTS]
    return {
        "versions": [(each, content(each.tags)) for each in shown],
        "next": encode_cursor(shown[-1].number) if len(found) > _PROMPTS else None,
        "is_first": below is None,
    }
