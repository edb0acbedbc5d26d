"""Pages of a search: what is found, in one statement.

Rules:

- A page is found first, by ids alone (``search_ways``), and what is shown of it is
  read then: the cost of a document is paid for those shown, however many are
  looked at.
- A page begins behind the last row of the page before: the hundredth costs what
  the first does.
- A page ends early once it holds ``MAX_CHARACTERS``, and one of many rows is read
  in portions, so that what it takes in memory is bounded whatever the rows hold.
- The indexes are those of migration 0005.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Result, ScalarSelect, select
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

FoundModel = tuple[RegisteredModel, list[ModelVersion]]
FoundVersion = tuple[str, ModelVersion]
Found = TypeVar("Found")

#: Of descriptions, addresses and tags: what a document can have much of.
MAX_CHARACTERS = 8_000_000
# More than are usually asked for: a portion is one more exchange with PostgreSQL.
_READ_AT_ONCE = 100

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


@dataclass(frozen=True, slots=True)
class Page(Generic[Found]):
    """What is shown of a search: at least one row if there is any."""

    shown: list[Found]
    is_last: bool


def find_models(
    session: Session,
    search: Search,
    *,
    after: Position | None,
    limit: int,
    stages: Sequence[str],
) -> Page[FoundModel]:
    """A page of models, each with its latest version of each of ``stages``."""
    conditions = Conditions(MODELS, session.get_bind().dialect.name)
    page = page_of(conditions, search, after=after, limit=limit + 1)
    latest = [aliased(ModelVersion) for _ in stages]
    query = select(RegisteredModel, *latest).join(page, page.c.id == RegisteredModel.id)
    for version, stage in zip(latest, stages, strict=True):
        query = query.outerjoin(version, version.id == _latest_in(stage))
    rows = session.execute(
        query.order_by(*conditions.order(search.ordering)).options(
            _SHOWN_OF_MODEL, *(_shown_of(version) for version in latest)
        ),
        execution_options=_options(search, limit),
    )
    return _page(rows, limit, _found_model, _characters_of_model)


def _found_model(row: Sequence[Any]) -> FoundModel:
    model, *versions = row
    return model, [version for version in versions if version is not None]


def _page(
    rows: Result[*tuple[Any, ...]],
    limit: int,
    read: Callable[[Sequence[Any]], Found],
    characters: Callable[[Found], int],
) -> Page[Found]:
    """As many of the rows as a page holds; there is one more than ``limit`` if any."""
    shown: list[Found] = []
    size = 0
    with rows:
        for row in rows:
            if len(shown) == limit or size > MAX_CHARACTERS:
                return Page(shown, is_last=False)
            shown.append(read(row))
            size += characters(shown[-1])
    return Page(shown, is_last=True)


def _characters_of_model(found: FoundModel) -> int:
    model, latest = found
    return (
        len(model.description)
        + _characters_of_tags(model.tags)
        + sum(_characters(version) for version in latest)
    )


def _characters_of_version(found: FoundVersion) -> int:
    return _characters(found[1])


def _characters(version: ModelVersion) -> int:
    texts = (version.description, version.source, version.run_link)
    return sum(map(len, texts)) + _characters_of_tags(version.tags)


def _characters_of_tags(tags: Mapping[str, str] | None) -> int:
    return sum(len(key) + len(value) for key, value in (tags or {}).items())


def _options(search: Search, limit: int) -> dict[str, Any]:
    portions = {"yield_per": _READ_AT_ONCE} if limit > _READ_AT_ONCE else {}
    return {**_kept_if_simple(search), **portions}


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
) -> Page[FoundVersion]:
    """A page of versions with the names of their models."""
    conditions = Conditions(VERSIONS, session.get_bind().dialect.name)
    page = page_of(conditions, search, after=after, limit=limit + 1)
    rows = session.execute(
        select(RegisteredModel.name, ModelVersion)
        .join(page, page.c.id == ModelVersion.id)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .order_by(*conditions.order(search.ordering))
        .options(_shown_of(ModelVersion)),
        execution_options=_options(search, limit),
    )
    return _page(rows, limit, _found_version, _characters_of_version)


def _found_version(row: Sequence[Any]) -> FoundVersion:
    name, version = row
    return name, version


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
