"""A registry that the release before filled is the same after the upgrade, and goes on.

``releases/filling.py`` says how its rows were written down.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from registry.cli.main import stagegate
from registry.domain.manifests import FileEntry
from registry.persistence import manifests, schema
from registry.persistence.database import prepare_engine
from registry.persistence.queries import get_version
from tests.integration.api.driver import Driver, document_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.integration.releases.filling import (
    EVENTS,
    HERE,
    HOOK,
    MANY,
    PATHS,
    PLACE,
    answers,
    content_of,
    move_with_key,
)
from tests.integration.test_mlflow_times_migrate import upgrade_to
from tests.integration.world import keep
from tests.receiver import Receiver
from tests.server import server_environment
from tests.services.fresh_database import Contents, connect
from tests.services.postgres import PostgresServer

BEFORE = "0011"
#: Members of documents that it did not have.
NEW = {"holds", "request_id", "broke_glass", "held", "models", "scopes", "owner"}
_MANIFESTS = text(
    "SELECT model_name, number, artifact_digest, canonical FROM version_manifests"
    " JOIN model_versions ON id = version_id WHERE deleted_at IS NULL"
)
_FILES = text(
    "SELECT COALESCE(download_uri, source), COALESCE(canonical, declared_manifest)"
    " FROM model_versions LEFT JOIN version_manifests ON id = version_id"
)
_MOVE = (
    "UPDATE model_versions SET source = replace(source, :old, :new),"
    " download_uri = replace(download_uri, :old, :new)"
)


@dataclass(frozen=True)
class Upgraded:
    """A registry on that database, and what the release before said of it.

    Attributes:
        canonical: the canonical JSON and the digest of each manifest, by version.
        chains: the last entry of each chain of the audit log.
    """

    api: Driver
    environment: dict[str, str]
    answers: dict[str, Any]
    canonical: dict[tuple[str, int], tuple[str, str]]
    chains: dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Kept:
    """What the tests begin with, each as it was after the upgrade."""

    place: Path
    settings: dict[str, str]
    answers: dict[str, Any]
    canonical: dict[tuple[str, int], tuple[str, str]]
    chains: dict[str, tuple[int, str]]
    put_back: Callable[[], None]


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)],
)
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kept]:
    kind: str = request.param
    place = tmp_path_factory.mktemp(kind)
    if kind == "sqlite":
        (place / "data").mkdir()
        yield upgrade(kind, f"sqlite:///{place}/data/stagegate.db", place, {})
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    with postgres.fresh_database() as url:
        yield upgrade(kind, url, place, {"DATABASE_URL": url})


def upgrade(kind: str, url: str, place: Path, settings: dict[str, str]) -> Kept:
    """Write the rows of the release before, and upgrade their schema."""
    told = json.loads((HERE / f"{BEFORE}-{kind}.json").read_text(encoding="utf-8"))
    engine = create_engine(url, poolclass=NullPool)
    prepare_engine(engine)
    upgrade_to(engine, BEFORE)
    write_rows(url, told)
    old, new = (each / "data/artifacts" for each in (PLACE / kind, place))
    place_artifacts(engine, old.as_uri(), new)
    with engine.connect() as connection:
        found = connection.execute(_MANIFESTS).all()
        heads = connection.execute(text("SELECT chain, n, hash FROM audit_chains"))
        chains = {chain: (n, head) for chain, n, head in heads}
    schema.upgrade(engine)
    engine.dispose()
    said = json.dumps({**told["answers"], EVENTS: None})
    return Kept(
        place=place,
        settings=settings,
        answers=json.loads(said.replace(old.as_uri(), new.as_uri()))
        | {EVENTS: told["answers"][EVENTS]},
        canonical={
            (name, number): (digest, text) for name, number, digest, text in found
        },
        chains=chains,
        put_back=keep(engine.url, new),
    )


@pytest.fixture
def upgraded(kept: Kept) -> Iterator[Upgraded]:
    kept.put_back()
    app = make_app(kept.place, **kept.settings)
    yield Upgraded(
        api=Driver(app, signed_in(app)),
        environment=server_environment(kept.place, **kept.settings),
        answers=kept.answers,
        canonical=kept.canonical,
        chains=kept.chains,
    )
    close_app(app)


def write_rows(url: str, told: dict[str, Any]) -> None:
    """Put all rows in the place of those that a new database has."""
    if not url.startswith("sqlite"):
        rows = {name: "\n".join(each).encode() for name, each in told["rows"].items()}
        with connect(url) as connected:
            Contents(rows, told["numbers"]).write(connected)
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        tables = {row.split('"')[1] for row in told["rows"]} - {"audit_entries"}
        emptied = [f"DELETE FROM {table};" for table in tables]  # noqa: S608  # constants
        connection.executescript("".join([*emptied, *told["rows"]]))


def place_artifacts(engine: Engine, old: str, new: Path) -> None:
    """Move the directory of the artifacts, as an operator may have."""
    with engine.begin() as connection:
        connection.execute(text(_MOVE), {"old": old, "new": new.as_uri()})
        found = connection.execute(_FILES).all()
    for source, manifest in found:
        place = new / source.removeprefix(f"{new.as_uri()}/")
        for each in json.loads(manifest)["files"] if manifest else ():
            file = place / each["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content_of(each["path"]))


def without(document: Any, members: set[str]) -> Any:  # noqa: ANN401  # any part of one
    """A document without members that the release before did not have."""
    if isinstance(document, list):
        return [without(item, members) for item in document]
    if not isinstance(document, dict):
        return document
    return {
        name: without(value, members)
        for name, value in document.items()
        if name not in members
    }


def test_it_answers_as_it_did(upgraded: Upgraded) -> None:
    assert without(answers(upgraded.api), NEW) == upgraded.answers


def test_manifests_and_their_digests_are_what_they_were(upgraded: Upgraded) -> None:
    found = {}
    with upgraded.api.engine.connect() as cx:
        for name, number in upgraded.canonical:
            version = get_version(cx, name, number)
            manifest = manifests.manifest_of(cx, version)
            found[name, number] = (manifest.digest, manifest.canonical)

    assert found == upgraded.canonical


def test_artifacts_are_verified_listed_and_downloaded(upgraded: Upgraded) -> None:
    api = upgraded.api
    lengths = set()
    for name, number in upgraded.canonical:
        path = f"/models/{name}/versions/{number}"
        assert api.post(f"{path}/verify").status_code == 200
        page = api.read(f"{path}/artifacts?limit=200")
        files = page["items"]
        while page["next_cursor"]:
            cursor = page["next_cursor"]
            page = api.read(f"{path}/artifacts?limit=200&cursor={cursor}")
            files += page["items"]
        listed = [FileEntry(**file) for file in files]
        assert [file.path for file in listed] == sorted(file.path for file in listed)
        for file in listed[:20]:
            answer = api.client.get(f"/api/v1{path}/artifacts/{quote(file.path)}")
            assert answer.data == content_of(file.path)
        lengths.add(len(files))
    assert lengths == {1, 2, len(PATHS), len(MANY)}


def test_upload_that_was_under_way_is_completed(upgraded: Upgraded) -> None:
    before = upgraded.api.version(2, "many")

    upgraded.api.work_in_background()

    after = upgraded.api.version(2, "many")
    assert (before["status"], after["status"]) == ("PENDING_REGISTRATION", "READY")
    assert after["artifact_digest"] == upgraded.canonical["many", 1][0]


def test_audit_log_is_whole_and_goes_on(upgraded: Upgraded) -> None:
    api, before = upgraded.api, len(upgraded.api.audit())

    document_of(api.rollback("fraud", reason="after the upgrade"))
    api.create_model("new")
    done = api.moved(5, "Production")

    assert done["version"]["stage"] == "Production", done
    rolled_back, _, promoted = api.audit()[before:]
    n, head = upgraded.chains[rolled_back["chain"]]
    assert (rolled_back["n"], rolled_back["prev_hash"]) == (n + 1, head)
    assert (promoted["n"], promoted["prev_hash"]) == (n + 2, rolled_back["hash"])
    assert api.read("/audit/verify")["ok"] is True
    result = CliRunner().invoke(stagegate, ["doctor"], env=upgraded.environment)
    assert result.exit_code == 0, result.output
    assert f"in {len(upgraded.chains) + 1} chains, " in result.output


def test_key_of_a_request_before_is_answered_as_then(upgraded: Upgraded) -> None:
    api = upgraded.api
    with api.engine.begin() as connection:
        now = text("UPDATE idempotency_keys SET created_at = CURRENT_TIMESTAMP")
        connection.execute(now)
    before = api.dump()

    answer = move_with_key(api)

    assert answer.status_code == 200, answer.text
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert api.dump() == before


def test_deliveries_that_waited_arrive_in_their_order(upgraded: Upgraded) -> None:
    api = upgraded.api
    with Receiver() as receiver:
        with api.engine.begin() as connection:
            moved = "UPDATE webhook_subscriptions SET url = :url WHERE url = :old"
            values = {"url": receiver.url, "old": HOOK["url"]}
            assert connection.execute(text(moved), values).rowcount == 1
            waiting = "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'"
            pending = connection.scalar(text(waiting))
        while api.parts.dispatcher.run_once():
            pass
        arrived = [request.json() for request in receiver.requests]

    by_model: dict[str, list[int]] = {}
    for event in arrived:
        by_model.setdefault(event["data"]["model"], []).append(
            event["data"]["sequence"]
        )
    assert len(arrived) == pending
    assert all(numbers == sorted(numbers) for numbers in by_model.values())


def test_it_has_no_holds_checks_and_requests_and_takes_them(upgraded: Upgraded) -> None:
    api, version = upgraded.api, "/models/fraud/versions/5"
    assert api.read("/models/fraud")["holds"] == []
    assert api.read(f"{version}/checks")["items"] == []
    assert api.read("/transition-requests?state=all")["items"] == []
    history = api.read("/models/fraud/history?limit=200")["items"]
    assert {(line["request_id"], line["held"]) for line in history} == {(None, False)}
    assert {line["broke_glass"] for line in history} == {False}

    document_of(api.post(f"{version}/checks", {"name": "a", "status": "passed"}))
    move = {"model": "fraud", "version": 5, "to_stage": "Production"}
    document_of(api.post("/transition-requests", move))
    document_of(api.rollback("fraud", reason="after the upgrade"))

    assert [check["name"] for check in api.read(f"{version}/checks")["items"]] == ["a"]
    (asked,) = api.read("/transition-requests")["items"]
    assert (asked["version"], asked["state"]) == (5, "open")
    (hold,) = api.read("/models/fraud")["holds"]
    assert (hold["stage"], hold["reason"]) == ("Production", "after the upgrade")
