"""What a command decided, written. Nothing else writes these tables."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam
from sqlalchemy.exc import IntegrityError

from registry.domain.commands.change import Effects
from registry.domain.entries import EntryRow
from registry.domain.rows import ModelRow
from registry.persistence.statements import (
    ALIASES,
    COLUMNS,
    DELETE,
    INSERT,
    KEYS,
    UPDATE,
    VERSIONS,
)
from webhooks.statements import pipelined, write

_LIVE_VERSIONS = VERSIONS.update().where(
    VERSIONS.c.model_id == bindparam("of_model"), VERSIONS.c.deleted_at.is_(None)
)
#: A rename is an update of each version too, in MLflow's terms.
_RENAME_VERSIONS = _LIVE_VERSIONS.values(
    mlflow_updated_at=bindparam("at"), model_name=bindparam("name")
)
_DELETE_VERSIONS = _LIVE_VERSIONS.values(
    deleted_at=bindparam("at"), exclusive_stage=None
)
_LEASE = (
    VERSIONS.update()
    .where(VERSIONS.c.id == bindparam("of_version"))
    .values(seal_after=bindparam("until"))
)
_DELETE_ALIASES = ALIASES.delete().where(ALIASES.c.model_id == bindparam("of_model"))


class NameIsTakenError(Exception):
    """Another model has that name; the transaction is of no more use."""


def apply(cx: Connection, effects: Effects) -> None:
    """Write the effects of a change.

    Raises:
        NameIsTakenError: when the model's name is.
    """
    _write_model(cx, effects)
    for rows in _by_kind(effects.removed):
        write(cx, DELETE[type(rows[0])], [_key(row) for row in rows])
    for rows in _by_kind(effects.changed):
        write(cx, UPDATE[type(rows[0])], [_key(r) | _changes(r) for r in rows])
    for rows in _by_kind(effects.added):
        write(cx, INSERT[type(rows[0])], [_columns(row) for row in rows])
    append(cx, effects.entry)


def add(cx: Connection, row: object) -> None:
    """Insert a row."""
    write(cx, INSERT[type(row)], [_columns(row)])


def change(cx: Connection, row: object) -> None:
    """Write what may change of a row."""
    write(cx, UPDATE[type(row)], [_key(row) | _changes(row)])


def remove(cx: Connection, row: object) -> None:
    """Delete a row."""
    write(cx, DELETE[type(row)], [_key(row)])


def lease_sealing(cx: Connection, version_id: str, until: datetime) -> None:
    """Keep others from completing a version; no change of it that anybody is told."""
    write(cx, _LEASE, [{"of_version": version_id, "until": until}])


def append(cx: Connection, entry: EntryRow) -> None:
    """Append a sealed entry to the audit log."""
    write(cx, INSERT[EntryRow], [_columns(entry)])


def _write_model(cx: Connection, effects: Effects) -> None:
    model = effects.model
    if effects.is_new or effects.renamed:
        try:
            with pipelined(cx):  # the answer is waited for: the name may be taken
                _put_model(cx, effects)
        except IntegrityError as error:
            raise NameIsTakenError from error
    else:
        _put_model(cx, effects)
    of_model = {"of_model": model.id, "at": model.updated_at}
    if effects.renamed:
        write(cx, _RENAME_VERSIONS, [{**of_model, "name": model.name}])
    if effects.emptied:
        write(cx, _DELETE_VERSIONS, [of_model])
        write(cx, _DELETE_ALIASES, [of_model])


def _put_model(cx: Connection, effects: Effects) -> None:
    model = effects.model
    if effects.is_new:
        write(cx, INSERT[ModelRow], [_columns(model)])
    else:
        write(cx, UPDATE[ModelRow], [_key(model) | _changes(model)])


def _by_kind(rows: Sequence[Any]) -> Iterable[list[Any]]:
    """Rows that one statement writes, in their order."""
    return (list(group) for _, group in groupby(rows, key=type))


def _key(row: object) -> dict[str, Any]:
    return {f"key_{name}": getattr(row, name) for name in KEYS[type(row)]}


def _changes(row: Any) -> dict[str, Any]:  # noqa: ANN401  # a row with ``CHANGES``
    return {name: getattr(row, name) for name in row.CHANGES}


def _columns(row: object) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COLUMNS[type(row)]}
