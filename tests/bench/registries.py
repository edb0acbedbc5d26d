"""Registries of any size, stored in bulk: past the services, without history.

- Models are named ``model-00000`` on, in no order of time.
- A model is tagged ``team`` (one of 8) and ``owner`` (its own); its versions
  ``framework`` (one of 4) and ``git_sha`` (their own).
- Of the versions, the last is in Staging, the one before in Production, the rest
  are archived.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from registry.domain.policy import ARCHIVED, PRODUCTION, STAGING
from registry.domain.rows import VersionStatus
from registry.persistence.tables import (
    ModelTag,
    ModelVersion,
    RegisteredModel,
    VersionTag,
)

VERSIONS_OF_A_MODEL = 5
TEAMS = 8
FRAMEWORKS = ("sklearn", "torch", "xgboost", "lightgbm")
_BATCH = 1_000
_START = datetime(2026, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


def model_name(number: int) -> str:
    """The name of the model with this number, from 0."""
    return f"model-{number:05}"


def seed(
    engine: Engine, models: int, *, name: Callable[[int], str] = model_name
) -> None:
    """Store ``models`` models with their versions, the same ones every time."""
    chance = random.Random(models)  # noqa: S311  # It guards nothing.
    with Session(engine) as session:
        for start in range(0, models, _BATCH):
            numbers = range(start, min(start + _BATCH, models))
            rows = [_model(chance, name(number)) for number in numbers]
            session.execute(insert(RegisteredModel), rows)
            versions = [version for row in rows for version in _versions(chance, row)]
            session.execute(insert(ModelVersion), versions)
            session.execute(insert(ModelTag), list(_model_tags(rows, start)))
            session.execute(insert(VersionTag), list(_version_tags(versions)))
        session.commit()


def _model(chance: random.Random, name: str) -> Row:
    at = _instant(chance)
    return {
        "id": uuid.UUID(int=chance.getrandbits(128)).hex,
        "name": name,
        "description": "",
        "created_at": at,
        "created_by": "bench",
        "updated_at": at,
        "mlflow_updated_at": at,
        "row_version": 1,
        "last_number": VERSIONS_OF_A_MODEL,
        "last_event": 0,
        "last_history": 0,
    }


def _versions(chance: random.Random, model: Row) -> Iterator[Row]:
    for number in range(1, VERSIONS_OF_A_MODEL + 1):
        stage = {VERSIONS_OF_A_MODEL: STAGING, VERSIONS_OF_A_MODEL - 1: PRODUCTION}.get(
            number, ARCHIVED
        )
        run_id = uuid.UUID(int=chance.getrandbits(128)).hex
        at = _instant(chance)
        yield {
            "id": uuid.UUID(int=chance.getrandbits(128)).hex,
            "model_id": model["id"],
            "model_name": model["name"],
            "number": number,
            "stage": stage,
            "exclusive_stage": stage if stage == PRODUCTION else None,
            "status": VersionStatus.READY,
            "status_message": "",
            "source": f"s3://models/1/{run_id}/artifacts/model",
            "artifact_state": "unverified",
            "run_id": run_id,
            "run_link": "",
            "description": "",
            "params": {},
            "metrics": {},
            "datasets": [],
            "created_at": at,
            "created_by": "bench",
            "updated_at": at,
            "mlflow_updated_at": at,
            "row_version": 1,
        }


def _instant(chance: random.Random) -> datetime:
    return _START + timedelta(seconds=chance.uniform(0, 300 * 24 * 3600))


def _model_tags(models: list[Row], first: int) -> Iterator[Row]:
    for number, model in enumerate(models, first):
        yield {"model_id": model["id"], "key": "team", "value": f"t{number % TEAMS}"}
        yield {"model_id": model["id"], "key": "owner", "value": f"owner-{number}"}


def _version_tags(versions: list[Row]) -> Iterator[Row]:
    for number, version in enumerate(versions):
        framework = FRAMEWORKS[number % len(FRAMEWORKS)]
        yield {"version_id": version["id"], "key": "framework", "value": framework}
        yield {
            "version_id": version["id"],
            "key": "git_sha",
            "value": version["run_id"][::-1],
        }
