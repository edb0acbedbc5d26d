"""Pages of a search: what is found, in one statement.

Rules:

- A page is found first, by ids alone (``search_ways``), and what is shown of it is
  read then: the cost of a document is paid for those shown, however many are
  looked at.
- A page begins behind the last row of the page before: the hundredth costs what
  the first does.
- Rows are read as they are asked for, so that who has enough of large ones stops.
- The indexes are those of migration 0005.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, ScalarSelect, Select, select
from sqlalchemy.orm import Session, aliased, load_only
from sqlalchemy.orm.interfaces import ORMOption

from registry.domain.search_filter import Attribute, Search
from registry.persistence.search_conditions import (
    MODELS,
    VERSIONS,
    Conditions,
    Position,
)
from registry.persistence.search_ways import page_of
from registry.persistence.tables import ModelVersion, RegisteredModel
from webhooks.portions import Columns, read_rows

FoundModel = tuple[RegisteredModel, list[ModelVersion]]
FoundVersion = tuple[str, ModelVersion]

_FIELDS = {
    Attribute.NAME: "name",
    Attribute.VERSION_NUMBER: "number",
    Attribute.CREATION_TIMESTAMP: "created_at",
    Attribute.LAST_UPDATED_TIMESTAMP: "mlflow_updated_at",
}

# What MLflow's documents show; to read anything else of these rows is an error, so
# that no list can come to load row by row.
_SHOWN_OF_MODEL = load_only(
    RegisteredModel.name,
    RegisteredModel.description,
    RegisteredModel.created_at,
    RegisteredModel.mlflow_updated_at,
    RegisteredModel.tags,
    RegisteredModel.aliases,
    raiseload=True,
)


def _shown_of(version: type[ModelVersion]) -> ORMOption:
    return load_only(
        version.number,
        version.model_name,
        version.stage,
        version.status,
        version.status_message,
        version.source,
        version.run_id,
        version.run_link,
        version.logged_model_id,
        version.description,
        version.created_at,
        version.created_by,
        version.mlflow_updated_at,
        version.tags,
        raiseload=True,
    )


def find_models(
    session: Session,
    search: Search,
    *,
    after: Position | None,
    limit: int,
    stages: Sequence[str],
) -> Iterator[FoundModel]:
    """Models, each with its latest version of each of ``stages``."""
    conditions = Conditions(MODELS, session.get_bind().dialect.name)
    page = page_of(conditions, search, after=after, limit=limit)
    latest = [aliased(ModelVersion) for _ in stages]
    query = (
        select(RegisteredModel, *latest)
        .select_from(page)
        .outerjoin(RegisteredModel, RegisteredModel.id == page.c.id)
    )
    for version, stage in zip(latest, stages, strict=True):
        query = query.outerjoin(version, version.id == _latest_in(stage))
    shown = query.options(_SHOWN_OF_MODEL, *(_shown_of(version) for version in latest))
    for model, *versions in _rows(
        session, shown, conditions, search=search, limit=limit
    ):
        yield model, [version for version in versions if version is not None]


def _rows(
    session: Session,
    query: Select[*Columns],
    conditions: Conditions,
    *,
    search: Search,
    limit: int,
) -> Iterator[Row[*Columns]]:
    """What is shown of a page, in the order of the page."""
    order = conditions.order(search.ordering)
    return read_rows(
        session, query, limit=limit, joined_in=order, **_kept_if_simple(search)
    )


def _kept_if_simple(search: Search) -> dict[str, Any]:
    """Whether the engine keeps the compiled statement for the next search like it.

    One of many comparisons is seldom asked for twice, and holds up to 4 MB; of the
    500 statements that are kept, 300 of those had taken 1.3 GB.
    """
    return {} if len(search.comparisons) <= 1 else {"compiled_cache": None}


def _latest_in(stage: str) -> ScalarSelect[str]:
    """The id of a model's latest version in a stage: one step in an index.

    One join for each stage, each by an id, leaves no planner the choice to read all
    versions there are.
    """
    return (
        select(ModelVersion.id)
        .where(
            ModelVersion.model_id == RegisteredModel.id,
            ModelVersion.stage == stage,
            ModelVersion.deleted_at.is_(None),
        )
        .order_by(ModelVersion.number.desc())
        .limit(1)
        .correlate(RegisteredModel)
        .scalar_subquery()
    )


def find_versions(
    session: Session, search: Search, *, after: Position | None, limit: int
) -> Iterator[FoundVersion]:
    """Versions with the names of their models."""
    conditions = Conditions(VERSIONS, session.get_bind().dialect.name)
    page = page_of(conditions, search, after=after, limit=limit)
    query = (
        select(RegisteredModel.name, ModelVersion)
        .select_from(page)
        .outerjoin(ModelVersion, ModelVersion.id == page.c.id)
        .outerjoin(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .options(_shown_of(ModelVersion))
    )
    yield from _rows(session, query, conditions, search=search, limit=limit)


def position_of_model(found: FoundModel, search: Search) -> Position:
    """Where a page ends that has this model as its last."""
    model, _ = found
    return tuple(getattr(model, _FIELDS[each.column]) for each in search.ordering)


def position_of_version(found: FoundVersion, search: Search) -> Position:
    """Where a page ends that has this version as its last."""
    name, version = found
    if search.ordering[0].column is Attribute.VERSION_NUMBER:
        # As the index has it: empty where the release before registered the version.
        name = version.model_name
    return tuple(
        name
        if each.column is Attribute.NAME
        else getattr(version, _FIELDS[each.column])
        for each in search.ordering
    )
