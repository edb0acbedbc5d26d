"""The audit log of the release before is whole after the upgrade, and goes on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from registry.domain.audit_chain import Head, seal
from registry.domain.audit_export import verify_export
from registry.persistence import schema
from registry.persistence.database import prepare_engine
from tests.integration.api.driver import Driver
from tests.integration.conftest import close_app, make_app, signed_in
from tests.integration.test_mlflow_times_migrate import upgrade_to

BEFORE = "0008"
ADDRESS = "192.0.2.77"


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'old.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def old(url: str) -> Iterator[Engine]:
    """A database of the release before, with an entry that has an address in it."""
    engine = create_engine(url, poolclass=NullPool)
    prepare_engine(engine)
    upgrade_to(engine, BEFORE)
    write_as_before(engine)
    yield engine
    engine.dispose()


def write_as_before(engine: Engine) -> None:
    """Append to the chain ``system`` as a process of that release does."""
    find = "SELECT n, hash FROM audit_chains WHERE chain = 'system'"
    insert = """
        INSERT INTO audit_entries
            (chain, n, at, action, actor, prev_hash, hash, canonical)
        VALUES ('system', :n, '2026-11-20', 'token.created', 'old', :prev, :hash, :text)
    """
    move = "UPDATE audit_chains SET n = :n, hash = :hash WHERE chain = 'system'"
    with engine.begin() as connection:
        n, head_hash = connection.execute(text(find)).one()
        document = {
            "v": 1,
            "at": "2026-11-20",
            "action": "token.created",
            "actor": {"kind": "token", "name": "old", "role": "admin"},
            "source_ip": ADDRESS,
        }
        head = Head(chain="system", n=n, hash=head_hash)
        sealed = seal("system", head, document)
        values = {
            "n": sealed.n,
            "prev": sealed.prev_hash,
            "hash": sealed.hash,
            "text": sealed.canonical,
        }
        connection.execute(text(insert), values)
        connection.execute(text(move), {"n": sealed.n, "hash": sealed.hash})


@pytest.fixture
def app(old: Engine, url: str, tmp_path: Path) -> Iterator[Flask]:
    """The present release on that database, upgraded."""
    schema.upgrade(old)
    app = make_app(tmp_path, DATABASE_URL=url)
    yield app
    close_app(app)


def test_log_of_the_release_before_is_verifiable_beside_new_entries(app: Flask) -> None:
    api = Driver(app, signed_in(app))
    viewer = api.with_role("viewer")

    exports = [
        each.get("/audit/export").get_data(as_text=True).splitlines()
        for each in (api, viewer)
    ]

    assert api.read("/audit/verify")["ok"] is True
    whole, redacted = map(verify_export, exports)
    assert (whole.ok, whole.redacted) == (True, 0)
    assert (redacted.ok, redacted.redacted) == (True, 1)
    assert [ADDRESS in "".join(lines) for lines in exports] == [True, False]
    versions = [json.loads(entry["entry"])["v"] for entry in api.audit()]
    assert versions[0] == 1
    assert set(versions[1:]) == {3}


def test_release_before_goes_on_writing_to_the_log_after_the_upgrade(
    app: Flask, old: Engine
) -> None:
    write_as_before(old)
    api = Driver(app, signed_in(app))
    api.create_model()

    assert api.read("/audit/verify")["ok"] is True
