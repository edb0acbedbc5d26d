"""Pages of a search: what is found, in one statement.

Rules:

- A page is found first, by ids alone (``search_ways``), and what is shown of it is
  read then: the cost of a document is paid for those shown, however many are
  looked at.
- A page begins behind the last row of the page before: the hundredth costs what
  the first does.
- The indexes are those of migration 0005.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from registry.domain.search_filter import Attribute, Search
from registry.persistence.latest import is_latest_in
from registry.persistence.search_conditions import (
    MODELS,
    VERSIONS,
    Conditions,
    Position,
)
from registry.persistence.search_ways import page_of
from registry.persistence.tables import ModelVersion, RegisteredModel

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
_SHOWN_OF_VERSION = load_only(
    ModelVersion.number,
    ModelVersion.stage,
    ModelVersion.status,
    ModelVersion.status_message,
    ModelVersion.source,
    ModelVersion.run_id,
    ModelVersion.run_link,
    ModelVersion.logged_model_id,
    ModelVersion.description,
    ModelVersion.created_at,
    ModelVersion.created_by,
    ModelVersion.mlflow_updated_at,
    ModelVersion.tags,
    raiseload=True,
)


def find_models(
    session: Session,
    search: Search,
    *,
    after: Position | None,
    limit: int,
    stages: Sequence[str],
) -> list[FoundModel]:
    """A page of models, each with its latest version of each of ``stages``."""
    conditions = Conditions(MODELS, session.get_bind().dialect.name)
    page = page_of(conditions, search, after=after, limit=limit)
    rows = session.execute(
        select(RegisteredModel, ModelVersion)
        .join(page, page.c.id == RegisteredModel.id)
        .outerjoin(ModelVersion, is_latest_in(stages))
        .order_by(*conditions.order(search.ordering))
        .options(_SHOWN_OF_MODEL, _SHOWN_OF_VERSION)
    )
    found: dict[str, FoundModel] = {}
    for model, version in rows:
        _, versions = found.setdefault(model.id, (model, []))
        if version is not None:
            versions.append(version)
    for _, versions in found.values():
        versions.sort(key=lambda version: stages.index(version.stage))
    return list(found.values())


def find_versions(
    session: Session, search: Search, *, after: Position | None, limit: int
) -> list[FoundVersion]:
    """A page of versions with the names of their models."""
    conditions = Conditions(VERSIONS, session.get_bind().dialect.name)
    page = page_of(conditions, search, after=after, limit=limit)
    rows = session.execute(
        select(RegisteredModel.name, ModelVersion)
        .join(page, page.c.id == ModelVersion.id)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .order_by(*conditions.order(search.ordering))
        .options(_SHOWN_OF_VERSION)
    )
    return [(name, version) for name, version in rows]


def position_of_model(found: FoundModel, search: Search) -> Position:
    """Where a page ends that has this model as its last."""
    model, _ = found
    return tuple(getattr(model, _FIELDS[each.column]) for each in search.ordering)


def position_of_version(found: FoundVersion, search: Search) -> Position:
    """Where a page ends that has this version as its last."""
    name, version = found
    return tuple(
        name
        if each.column is Attribute.NAME
        else getattr(version, _FIELDS[each.column])
        for each in search.ordering
    )
