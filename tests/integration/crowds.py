"""Many versions of one model in one stage, put there at once."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, event, insert, select, text
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
        versions = [version_row(row.id, number, stage) for number in numbers]
        session.execute(insert(ModelVersion), versions)
        session.execute(
            insert(StageChange),
            [
                _entry(version, sequence, to_stage)
                for place, version in enumerate(versions)
                for sequence, to_stage in (
                    (row.last_history + 2 * place + 1, "None"),
                    (row.last_history + 2 * place + 2, stage),
                )
            ],
        )
        row.last_number += count
        row.last_history += 2 * count
        session.commit()
        session.execute(text("ANALYZE"))
        session.commit()
    return numbers


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
