"""Statements that changes are made of: built once, when this module is imported.

A row of the domain (``domain.rows``) has one statement to read it, to insert it, to
update what of it may change and to delete it. Its fields are the table's columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Delete,
    Insert,
    String,
    Table,
    Update,
    bindparam,
    column,
    func,
    literal,
    select,
)
from sqlalchemy import cast as sql_cast

from registry.domain.commands.models import ModelState
from registry.domain.documents import ModelFacts
from registry.domain.entries import EntryRow
from registry.domain.policy import ARCHIVED, NONE
from registry.domain.rows import (
    AliasRow,
    ApprovalRow,
    CheckRow,
    CommentRow,
    DeclaredRow,
    DeploymentRow,
    ManifestRow,
    ModelRow,
    ModelTagRow,
    PublisherRow,
    RequestRow,
    RoleBindingRow,
    SessionRow,
    StageChangeRow,
    TokenRow,
    UsedJtiRow,
    VersionRow,
    VersionTagRow,
)
from registry.persistence.aggregates import (
    JSONArrayAggregate,
    JSONFiles,
    JSONObjectAggregate,
)
from registry.persistence.tables import (
    Alias,
    AuditEntry,
    Base,
    BrowserSession,
    Deployment,
    ManifestFile,
    ModelTag,
    ModelVersion,
    RegisteredModel,
    RoleBinding,
    StageChange,
    Token,
    TransitionApproval,
    TransitionRequest,
    TrustedPublisher,
    UsedJti,
    VersionCheck,
    VersionComment,
    VersionTag,
)

Kind = TypeVar("Kind")

_TABLES: dict[type, type[Base]] = {
    ModelRow: RegisteredModel,
    ModelTagRow: ModelTag,
    VersionRow: ModelVersion,
    VersionTagRow: VersionTag,
    AliasRow: Alias,
    StageChangeRow: StageChange,
    DeclaredRow: ModelVersion,
    CommentRow: VersionComment,
    DeploymentRow: Deployment,
    CheckRow: VersionCheck,
    RequestRow: TransitionRequest,
    ApprovalRow: TransitionApproval,
    RoleBindingRow: RoleBinding,
    TokenRow: Token,
    SessionRow: BrowserSession,
    PublisherRow: TrustedPublisher,
    UsedJtiRow: UsedJti,
    EntryRow: AuditEntry,
}

MODELS = cast("Table", RegisteredModel.__table__)
MODEL_TAGS = cast("Table", ModelTag.__table__)
VERSIONS = cast("Table", ModelVersion.__table__)
ALIASES = cast("Table", Alias.__table__)
CHANGES = cast("Table", StageChange.__table__)
DEPLOYMENTS = cast("Table", Deployment.__table__)
COMMENTS = cast("Table", VersionComment.__table__)
CHECKS = cast("Table", VersionCheck.__table__)
REQUESTS = cast("Table", TransitionRequest.__table__)
APPROVALS = cast("Table", TransitionApproval.__table__)
FILES = cast("Table", ManifestFile.__table__)
_VERSION_TAGS = cast("Table", VersionTag.__table__)


def table_of(kind: type) -> Table:
    """The table whose rows these are."""
    return cast("Table", _TABLES[kind].__table__)


def columns_of(kind: type) -> tuple[str, ...]:
    """The fields of a row that are columns of its table."""
    table = table_of(kind)
    return tuple(each.name for each in fields(kind) if each.name in table.c)


def selected(kind: type) -> list[ColumnElement[Any]]:
    """What to select for a row, in the order of its fields."""
    table = table_of(kind)
    read = _READ_OF_OTHERS.get(kind, {})
    return [
        read[each.name].label(each.name) if each.name in read else table.c[each.name]
        for each in fields(kind)
    ]


def _insert(kind: type) -> Insert:
    table = table_of(kind)
    return table.insert().values({name: bindparam(name) for name in columns_of(kind)})


def _update(kind: type) -> Update:
    table = table_of(kind)
    changes: tuple[str, ...] = kind.CHANGES  # type: ignore[attr-defined]
    return (
        table.update()
        .where(*(column == bindparam(f"key_{column.name}") for column in _keys(table)))
        .values({name: bindparam(name) for name in changes})
    )


def _delete(kind: type) -> Delete:
    table = table_of(kind)
    return table.delete().where(
        *(column == bindparam(f"key_{column.name}") for column in _keys(table))
    )


def _keys(table: Table) -> list[ColumnElement[Any]]:
    return list(table.primary_key.columns)


def key_names(kind: type) -> tuple[str, ...]:
    """The columns of a row's key."""
    return tuple(column.name for column in table_of(kind).primary_key.columns)


def _insert_files() -> Insert:
    """All files of a manifest: 50,000 take PostgreSQL half of what their rows would."""
    file = JSONFiles(bindparam("canonical")).table_valued(column("value", JSON)).c.value
    return FILES.insert().from_select(
        list(FILES.c),
        select(
            bindparam("version_id", type_=String),
            file["path"].as_string(),
            sql_cast(file["size"].as_string(), BigInteger),
            file["sha256"].as_string(),
        ),
    )


COLUMNS = {kind: columns_of(kind) for kind in _TABLES}
COLUMNS[ManifestRow] = ("version_id", "canonical")
KEYS = {kind: key_names(kind) for kind in _TABLES}
#: Insert rows, given as their columns.
INSERT = {kind: _insert(kind) for kind in _TABLES}
INSERT[ManifestRow] = _insert_files()
#: Update what may change of rows, given as those columns and ``key_<column>``.
UPDATE = {kind: _update(kind) for kind in _TABLES if hasattr(kind, "CHANGES")}
#: Delete rows, given as ``key_<column>``.
DELETE = {kind: _delete(kind) for kind in _TABLES}


def _of_version(aggregate: Any, table: Table, version: Any = VERSIONS) -> Any:  # noqa: ANN401  # SQLAlchemy's
    return (
        select(aggregate)
        .where(table.c.version_id == version.c.id)
        .correlate(version)
        .scalar_subquery()
    )


def version_tags(version: Any = VERSIONS) -> Any:  # noqa: ANN401  # SQLAlchemy's
    """The tags of a row of ``VERSIONS``, or of an alias of it, as an object."""
    tags = JSONObjectAggregate(_VERSION_TAGS.c.key, _VERSION_TAGS.c.value)
    return _of_version(tags, _VERSION_TAGS, version)


_READ_OF_OTHERS: dict[type, dict[str, Any]] = {
    VersionRow: {
        "tags": version_tags(),
        "aliases": _of_version(JSONArrayAggregate(ALIASES.c.alias), ALIASES),
        "entered": _of_version(func.max(CHANGES.c.sequence), CHANGES),
    }
}


def _of_model(aggregate: Any, table: Table, *conditions: Any) -> Any:  # noqa: ANN401  # SQLAlchemy's
    return (
        select(aggregate)
        .where(table.c.model_id == MODELS.c.id, *conditions)
        .correlate(MODELS)
        .scalar_subquery()
    )


TAGS_AND_ALIASES: Sequence[Any] = (
    _of_model(
        JSONObjectAggregate(MODEL_TAGS.c.key, MODEL_TAGS.c.value), MODEL_TAGS
    ).label("model_tags"),
    _of_model(JSONObjectAggregate(ALIASES.c.alias, ALIASES.c.number), ALIASES).label(
        "model_aliases"
    ),
)
#: A version's stage is neither None nor Archived.
IS_HELD = VERSIONS.c.stage.not_in([literal(NONE), literal(ARCHIVED)])
_LIVE_VERSION = VERSIONS.c.deleted_at.is_(None)
#: What to select for a model with its facts; ``model_state`` makes it of that.
MODEL_STATE: Sequence[Any] = (
    *selected(ModelRow),
    *TAGS_AND_ALIASES,
    _of_model(
        JSONObjectAggregate(VERSIONS.c.number, VERSIONS.c.stage),
        VERSIONS,
        _LIVE_VERSION,
        IS_HELD,
    ).label("held_stages"),
    _of_model(func.max(VERSIONS.c.number), VERSIONS, _LIVE_VERSION).label("latest"),
)


def model_state(found: Sequence[Any]) -> ModelState:
    """A model with its facts, from what ``MODEL_STATE`` selected."""
    *columns, tags, aliases, held, latest = found
    return ModelState(
        row=row_of(ModelRow, columns),
        facts=model_facts(tags, aliases, held, latest),
    )


def model_facts(
    tags: Mapping[str, str] | None,
    aliases: Mapping[str, int] | None,
    held: Mapping[str, str] | None,
    latest: int | None,
) -> ModelFacts:
    """A model's facts, from what the databases' aggregates give."""
    return ModelFacts(
        tags=tags or {},
        aliases=aliases or {},
        held_stages={int(number): stage for number, stage in (held or {}).items()},
        latest_version=latest,
    )


#: What a database gives for an aggregate over no rows.
_EMPTY: dict[str, Any] = {"tags": {}, "aliases": (), "entered": 0}


def row_of(kind: type[Kind], found: Sequence[Any]) -> Kind:
    """A row, from what ``selected`` selected."""
    values = dict(zip(_NAMES[kind], found, strict=True))
    for name in _READ_OF_OTHERS.get(kind, ()):
        values[name] = values[name] or _EMPTY[name]
    return kind(**values)


_NAMES = {kind: tuple(each.name for each in fields(kind)) for kind in _TABLES}
