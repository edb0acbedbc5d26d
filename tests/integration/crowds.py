"""Many versions of one model in one stage, put there at once."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    String,
    cast,
    event,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.orm import Session

from registry.persistence.tables import Base, ModelVersion, RegisteredModel, StageChange
from tests.integration.api.driver import MODEL

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def crowd(engine: Engine, count: int, stage: str, *, model: str = MODEL) -> range:
    """So many READY versions more, that entered the stage one after the other.

    Returns:
        Their numbers.
    """
    with Session(engine) as session:
        row = session.scalars(
            select(RegisteredModel).where(RegisteredModel.name == model)
        ).one()
        numbers = range(row.last_number + 1, row.last_number + 1 + count)
        first = add_versions(session, row.id, numbers, stage)
        entries = [
            _entry(first, row.last_history + 1, "None"),
            _entry(first, row.last_history + 2, stage),
        ]
        session.execute(insert(StageChange), entries)
        number = _each_but_the_first(numbers)
        version_id = _id_of(first["id"], number)
        _repeat(
            session,
            StageChange.__table__,
            StageChange.version_id == first["id"],
            number=number,
            version_id=version_id,
            sequence=StageChange.sequence + 2 * (number - numbers.start),
            transition_id="trn_" + version_id + "_" + StageChange.to_stage,
        )
        row.last_number += count
        row.last_history += 2 * count
        session.commit()
        session.execute(text("ANALYZE"))
        session.commit()
    return numbers


def add_versions(
    session: Session, model_id: str, numbers: range, stage: str
) -> dict[str, Any]:
    """Versions with these numbers.

    Returns:
        The first; the ids of the others begin as its own.
    """
    first = version_row(model_id, numbers.start, stage)
    session.execute(insert(ModelVersion), [first])
    number = _each_but_the_first(numbers)
    _repeat(
        session,
        ModelVersion.__table__,
        ModelVersion.id == first["id"],
        number=number,
        id=_id_of(first["id"], number),
    )
    return first


def _each_but_the_first(numbers: range) -> Any:  # noqa: ANN401  # a column, of a subquery
    """As a column of a table that holds nothing else."""
    first = select(literal(numbers.start).label("n")).cte(recursive=True)
    each = first.union_all(select(first.c.n + 1).where(first.c.n < numbers[-1]))
    return select(each.c.n).where(each.c.n > numbers.start).subquery().c.n


def _id_of(first: str, number: Column[int]) -> ColumnElement[str]:
    return literal(first[:24]) + cast(number + 10_000_000, String)


def _repeat(
    session: Session,
    table: Any,  # noqa: ANN401  # a class of tables is said to have less
    which: ColumnElement[bool],
    *,
    number: Column[int],
    **replaced: ColumnElement[Any],
) -> None:
    """Write rows once more for each number: to send them takes a second."""
    values = {c.name: c for c in table.columns if c is not table.autoincrement_column}
    values |= {"number": number, **replaced}
    rows = select(*values.values()).join_from(table, number.table, which)
    session.execute(insert(table).from_select(list(values), rows))


def version_row(model_id: str, number: int, stage: str) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "model_id": model_id,
        "number": number,
        "stage": stage,
        "status": "READY",
        "source": "s3://elsewhere/model",
        "created_at": NOW,
        "created_by": "ci",
        "updated_at": NOW,
        "mlflow_updated_at": NOW,
    }


def _entry(version: dict[str, Any], sequence: int, to_stage: str) -> dict[str, Any]:
    is_first = to_stage == "None"
    return {
        "model_id": version["model_id"],
        "version_id": version["id"],
        "number": version["number"],
        "sequence": sequence,
        "transition_id": f"trn_{version['id']}_{to_stage}",
        "from_stage": None if is_first else "None",
        "to_stage": to_stage,
        "cause": "registration" if is_first else "promotion",
        "actor_kind": "token",
        "actor_name": "ci",
        "at": NOW,
        "event_id": None,
    }


@contextmanager
def rows_read() -> Iterator[list[object]]:
    """Every row of the registry's tables that the block reads, each time it does."""
    seen: list[object] = []

    def note(row: object, *_: object) -> None:
        seen.append(row)

    for happening in ("load", "refresh"):
        event.listen(Base, happening, note, propagate=True)
    try:
        yield seen
    finally:
        for happening in ("load", "refresh"):
            event.remove(Base, happening, note)
