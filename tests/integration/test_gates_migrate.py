"""What the release before made of moves and models, after it had no gates to pass."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from registry.persistence import schema
from registry.persistence.database import prepare_engine
from registry.persistence.tables import Base
from tests.integration.releases.filling import HERE
from tests.integration.test_mlflow_times_migrate import upgrade_to
from tests.integration.test_prompts_migrate import as_it_was
from tests.integration.test_release_before_migrates import BEFORE as FILLED
from tests.integration.test_release_before_migrates import write_rows

BEFORE = "0019"
CHANGED = ("registered_models", "stage_changes")
ADDED = {"transition_requests", "transition_approvals", "version_checks"}
ASKED = {
    "id": "req_1",
    "is_rollback": False,
    "archives_others": False,
    "from_stage": "Staging",
    "to_stage": "Production",
    "reason": "",
    "state": "open",
    "needed": 1,
    "entered": 1,
    "policy_digest": "p",
    "requested_by": "ann",
    "requester_kind": "token",
    "requester": "t-ann",
    "requester_human": "",
    "requester_made_by": "",
    "comment": "",
}

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Old:
    """A database of the release before: its tables as that knew them, and rows."""

    engine: Engine
    tables: dict[str, Table]
    rows: dict[str, Rows]


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)]
)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Old]:
    kind: str = request.param
    url = (
        f"sqlite:///{tmp_path / 'old.db'}"
        if kind == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    told = json.loads((HERE / f"{FILLED}-{kind}.json").read_text(encoding="utf-8"))
    engine = create_engine(url, poolclass=NullPool)
    prepare_engine(engine)
    upgrade_to(engine, FILLED)
    write_rows(url, told)
    upgrade_to(engine, BEFORE)
    tables = {name: as_it_was(engine, name) for name in CHANGED}
    yield Old(engine, tables, {name: read(engine, tables[name]) for name in CHANGED})
    engine.dispose()


def read(engine: Engine, table: Table) -> Rows:
    with engine.connect() as cx:
        rows = [dict(row) for row in cx.execute(select(table)).mappings()]
    return sorted(rows, key=lambda row: str(row.get("id")))


def now_known(name: str) -> Table:
    return Base.metadata.tables[name]


def test_models_and_history_are_what_they_were(old: Old) -> None:
    schema.upgrade(old.engine)

    for name, rows in old.rows.items():
        assert rows, name
        assert read(old.engine, old.tables[name]) == rows


def test_nothing_is_held_and_no_move_was_approved_or_forced(old: Old) -> None:
    schema.upgrade(old.engine)

    models = read(old.engine, now_known("registered_models"))
    moves = read(old.engine, now_known("stage_changes"))
    assert {json.dumps(row["holds"]) for row in models} == {"[]"}
    new = {(row["request_id"], row["broke_glass"], row["held"]) for row in moves}
    assert new == {(None, False, False)}


def test_nobody_has_asked_approved_or_checked_yet(old: Old) -> None:
    before = set(inspect(old.engine).get_table_names())

    schema.upgrade(old.engine)

    assert not ADDED & before
    for name in ADDED:
        assert read(old.engine, now_known(name)) == []


def test_release_before_goes_on_moving_versions(old: Old) -> None:
    last = old.rows["stage_changes"][-1]
    sequence = max(row["sequence"] for row in old.rows["stage_changes"]) + 1
    moved = {**last, "sequence": sequence, "transition_id": "trn_a", "event_id": "e_a"}
    del moved["id"]
    schema.upgrade(old.engine)

    with old.engine.begin() as cx:
        cx.execute(old.tables["stage_changes"].insert(), moved)

    found = read(old.engine, now_known("stage_changes"))
    (row,) = (each for each in found if each["sequence"] == sequence)
    assert (row["request_id"], row["broke_glass"], row["held"]) == (None, False, False)


def test_one_request_for_a_version_and_stage_is_open(old: Old) -> None:
    schema.upgrade(old.engine)
    requests = now_known("transition_requests")
    with old.engine.begin() as cx:
        version = cx.execute(text("SELECT id, model_id FROM model_versions")).first()
    assert version is not None
    at = old.rows["registered_models"][0]["created_at"]
    row = {
        **ASKED,
        "version_id": version.id,
        "model_id": version.model_id,
        "number": 1,
        "created_at": at,
        "expires_at": at,
    }
    asked = {name: row[name] for name in requests.c.keys() & row.keys()}
    with old.engine.begin() as cx:
        cx.execute(requests.insert(), {**asked, "id": "req_0", "state": "void"})
        cx.execute(requests.insert(), asked)

    with pytest.raises(IntegrityError), old.engine.begin() as cx:
        cx.execute(requests.insert(), {**asked, "id": "req_2"})
    with pytest.raises(IntegrityError), old.engine.begin() as cx:
        cx.execute(requests.insert(), {**asked, "id": "req_3", "state": "lost"})
