"""The audit log: one entry for each change, guarded, and tampering is found."""

import json
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from registry.domain.audit_chain import LIMITS, DamageKind, Head, seal
from registry.domain.audit_export import verify_export
from registry.persistence.database import db
from registry.services.audit import verify_database
from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    ROOT,
    Document,
    Driver,
    problem_of,
)
from tests.integration.api.mutations import (
    EXCHANGES,
    MUTATIONS,
    REHEARSALS,
    UPLOADS,
    Mutation,
    prepare,
    resolve,
)

GUARDS = {
    "sqlite": [
        "DROP TRIGGER audit_entries_no_update",
        "DROP TRIGGER audit_entries_no_delete",
        "DROP TRIGGER audit_entries_no_replace",
    ],
    "postgresql": [
        "DROP TRIGGER audit_entries_no_change ON audit_entries",
        "DROP TRIGGER audit_entries_no_truncate ON audit_entries",
    ],
}


def test_every_route_that_changes_something_is_in_the_table(api: Driver) -> None:
    changing = {
        rule.endpoint
        for rule in api.app.url_map.iter_rules()
        if rule.rule.startswith(ROOT)
        and (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}
    }

    listed = {mutation.endpoint for mutation in MUTATIONS}
    assert changing == listed | UPLOADS | REHEARSALS | EXCHANGES


@ON_BOTH_DATABASES
@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_every_change_has_exactly_one_entry_and_its_events(
    api: Driver, mutation: Mutation
) -> None:
    prepare(api)
    path = resolve(api, mutation.path)
    before = api.dump()

    answer = mutation.send(api, path)

    after, entry = api.dump(), api.audit()[-1]
    added = {table: len(after[table]) - len(before[table]) for table in after}
    assert answer.status_code == mutation.status
    assert added["audit_entries"] == 1
    assert added["webhook_events"] == mutation.events
    assert entry["action"] == mutation.action
    assert api.read("/audit/verify")["damage"] == []


def test_entry_says_who_did_what_from_where_and_when(api: Driver) -> None:
    api.ready_versions(1)

    api.move(1, "Staging", reason="good")

    entry = api.audit(MODEL)[-1]
    assert set(json.loads(entry["entry"])) == {
        *("v", "n", "at", "chain", "action", "outcome", "actor", "credential"),
        "on_behalf_of",
        *("request_id", "private_sha256", "user_agent", "idempotency_key_hash"),
        *("model", "version", "before", "after", "reason"),
        *("transition_id", "cause", "artifact_digest", "verified", "policy"),
    }
    credential = entry["credential"]
    assert entry["actor"] == {
        "kind": "token",
        "name": "bootstrap",
        "id": credential["id"],
        "roles": ["admin"],
    }
    assert credential["kind"] == "token"
    assert entry["on_behalf_of"] is None
    assert entry["source_ip"] == "127.0.0.1"
    assert entry["user_agent"].startswith("Werkzeug/")
    assert entry["before"] == {"stage": "None"}
    assert entry["after"] == {"stage": "Staging", "superseded": []}
    assert entry["reason"] == "good"
    assert entry["policy"] == api.parts.policy.digest
    assert entry["artifact_digest"] == api.version(1)["artifact_digest"]


def test_no_credential_is_in_any_entry(api: Driver) -> None:
    prepare(api)
    secrets = [
        json.loads(api.post("/tokens", {"name": "a", "role": "viewer"}).data)["token"],
        json.loads(api.post("/webhooks", {"url": "http://127.0.0.1:9"}).data)["secret"],
        "test-token-of-no-value",
    ]

    log = api.get("/audit/export").get_data(as_text=True)

    assert not [secret for secret in secrets if secret in log]


def test_each_model_has_a_chain_and_the_rest_shares_one(api: Driver) -> None:
    for name in ("fraud", "churn"):
        api.create_model(name)

    chains = {entry["chain"]: entry["model"] for entry in api.audit()}

    assert len(chains) == 3
    assert chains["system"] is None
    assert [entry["n"] for entry in api.audit("fraud")] == [1]


def test_entries_are_listed_newest_first_by_model_and_paged(api: Driver) -> None:
    api.ready_versions(2)
    api.create_model("churn")

    pages = [api.read(f"/audit?model={MODEL}&limit=3")]
    while pages[-1]["next_cursor"]:
        cursor = pages[-1]["next_cursor"]
        pages.append(api.read(f"/audit?model={MODEL}&limit=3&cursor={cursor}"))

    numbers = [item["n"] for page in pages for item in page["items"]]
    assert numbers == [5, 4, 3, 2, 1]
    assert api.read("/audit?model=absent%00")["items"] == []


def test_one_model_is_verified_alone(api: Driver) -> None:
    api.ready_versions(1)
    api.create_model("churn")

    whole = api.read("/audit/verify")
    one = api.read(f"/audit/verify?model={MODEL}")

    intact = {"ok": True, "damage": [], "limits": LIMITS}
    assert whole == {**intact, "entries": 5, "chains": 3}
    assert one == {**intact, "entries": 3, "chains": 1}


@ON_BOTH_DATABASES
def test_export_is_of_one_instant_and_leaves_no_connection(api: Driver) -> None:
    api.create_model("before")
    answer = api.get("/audit/export", buffered=False)
    lines = iter(answer.iter_encoded())
    begun = next(lines) + next(lines)
    for name in ("churn", "spam"):
        api.create_model(name)

    report = verify_export((begun + b"".join(lines)).decode().splitlines())
    answer.close()

    assert report.ok
    assert report.chains == 2  # the system's, and the one that was there
    assert "Current Checked out connections: 0" in api.engine.pool.status()


def test_export_verifies_without_the_database(api: Driver) -> None:
    prepare(api)

    answer = api.get("/audit/export")

    report = verify_export(answer.get_data(as_text=True).splitlines())
    assert answer.mimetype == "application/x-ndjson"
    assert report.ok
    assert report.entries == api.read("/audit/verify")["entries"]


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'mallory' WHERE n = 1",
        "UPDATE audit_entries SET canonical = ''",
        "DELETE FROM audit_entries WHERE n = 1",
        "DELETE FROM audit_entries",
    ],
)
def test_database_refuses_to_change_or_remove_an_entry(
    api: Driver, statement: str
) -> None:
    refuses(api, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO audit_entries SELECT * FROM audit_entries",
        """
        REPLACE INTO audit_entries
            (chain, n, at, action, actor, prev_hash, hash, canonical)
        SELECT chain, n, at, action, 'mallory', prev_hash, hash, canonical
        FROM audit_entries
        """,
    ],
)
def test_sqlite_refuses_to_replace_an_entry(api: Driver, statement: str) -> None:
    refuses(api, statement)


@pytest.mark.service
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_postgresql_refuses_to_empty_the_log(api: Driver) -> None:
    refuses(api, "TRUNCATE audit_entries CASCADE")


def refuses(api: Driver, statement: str) -> None:
    api.create_model()

    with (
        pytest.raises(DBAPIError, match="the audit log is append-only"),
        api.engine.begin() as connection,
    ):
        connection.execute(text(statement))

    assert api.read("/audit/verify")["damage"] == []


def tamper(api: Driver, statements: Sequence[str], **values: object) -> None:
    """Change the log as somebody would who owns the database."""
    guards = GUARDS[api.engine.dialect.name]
    with api.engine.begin() as connection:
        for statement in guards:
            connection.execute(text(statement))
        for statement in statements:
            used = {k: v for k, v in values.items() if f":{k}" in statement}
            connection.execute(text(statement), used)


_COPY = """
    INSERT INTO audit_entries
        (chain, n, at, action, actor, model, version, prev_hash, hash, canonical,
        private)
    SELECT chain, {n}, at, action, actor, model, version, prev_hash, hash, canonical,
        private
    FROM audit_entries WHERE chain = :chain AND n = 3
"""

# The chain has five entries. The damage is what the first bad entry is called.
_HEAD = "UPDATE registered_models SET {} WHERE 'model:' || id = :chain"  # constants
TAMPERING: dict[str, tuple[list[str], DamageKind, int]] = {
    "an edited text": (
        [
            """UPDATE audit_entries SET canonical = replace(canonical, 'd', 'e')
            WHERE chain = :chain AND n = 2"""
        ],
        DamageKind.EDITED,
        2,
    ),
    "an edited hash": (
        ["UPDATE audit_entries SET hash = prev_hash WHERE chain = :chain AND n = 4"],
        DamageKind.EDITED,
        4,
    ),
    "an edited link": (
        ["UPDATE audit_entries SET prev_hash = hash WHERE chain = :chain AND n = 1"],
        DamageKind.EDITED,
        1,
    ),
    "a removed entry": (
        ["DELETE FROM audit_entries WHERE chain = :chain AND n = 3"],
        DamageKind.REMOVED,
        3,
    ),
    "a removed first entry": (
        ["DELETE FROM audit_entries WHERE chain = :chain AND n = 1"],
        DamageKind.REMOVED,
        1,
    ),
    "a removed entry, the rest renumbered": (
        [
            "DELETE FROM audit_entries WHERE chain = :chain AND n = 3",
            "UPDATE audit_entries SET n = 3 WHERE chain = :chain AND n = 4",
            "UPDATE audit_entries SET n = 4 WHERE chain = :chain AND n = 5",
        ],
        DamageKind.REORDERED,
        3,
    ),
    "a cut tail": (
        ["DELETE FROM audit_entries WHERE chain = :chain AND n = 5"],
        DamageKind.TRUNCATED,
        5,
    ),
    "everything removed": (
        ["DELETE FROM audit_entries WHERE chain = :chain"],
        DamageKind.TRUNCATED,
        1,
    ),
    "everything removed, the head set to zero": (
        [
            "DELETE FROM audit_entries WHERE chain = :chain",
            _HEAD.format("chain_n = 0, chain_hash = :zeros"),
        ],
        DamageKind.TRUNCATED,
        1,
    ),
    "the head set to zero": (
        [_HEAD.format("chain_n = 0, chain_hash = :zeros")],
        DamageKind.INSERTED,
        1,
    ),
    "an edited private part": (
        ["UPDATE audit_entries SET private = '{}' WHERE chain = :chain AND n = 4"],
        DamageKind.EDITED,
        4,
    ),
    "a removed private part": (
        ["UPDATE audit_entries SET private = NULL WHERE chain = :chain AND n = 4"],
        DamageKind.EDITED,
        4,
    ),
    "an edited head": (
        [_HEAD.format("chain_hash = :zeros")],
        DamageKind.EDITED,
        5,
    ),
    "two entries swapped": (
        [
            "UPDATE audit_entries SET n = 2147483647 WHERE chain = :chain AND n = 2",
            "UPDATE audit_entries SET n = 2 WHERE chain = :chain AND n = 3",
            "UPDATE audit_entries SET n = 3 WHERE chain = :chain AND n = 2147483647",
        ],
        DamageKind.REORDERED,
        2,
    ),
    "an entry copied to the end": ([_COPY.format(n=6)], DamageKind.REORDERED, 6),
}


@ON_BOTH_DATABASES
@pytest.mark.parametrize(("statements", "kind", "n"), TAMPERING.values(), ids=TAMPERING)
def test_tampering_is_found_in_the_database_and_in_an_export(
    api: Driver, statements: list[str], kind: DamageKind, n: int
) -> None:
    api.ready_versions(2)
    api.create_model("untouched")
    chain = api.audit(MODEL)[0]["chain"]

    tamper(api, statements, chain=chain, zeros="0" * 64)

    for damage in (
        damage_in(api.read("/audit/verify")),
        damage_in(api.read(f"/audit/verify?model={MODEL}")),
        damage_in_export(api),
        damage_in_export(api.with_role("viewer")),
    ):
        assert damage == [(chain, kind, n)]
    assert api.read("/audit/verify?model=untouched")["ok"] is True


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "head",
    [
        "UPDATE audit_chains SET n = 0 WHERE chain = 'system'",
        "DELETE FROM audit_chains WHERE chain = 'system'",
        "SELECT 1",
    ],
)
def test_chain_of_the_system_cannot_be_removed_unnoticed(
    api: Driver, head: str
) -> None:
    api.create_model()

    tamper(api, ["DELETE FROM audit_entries WHERE chain = 'system'", head])

    expected = [("system", DamageKind.TRUNCATED, 1)]
    assert damage_in(api.read("/audit/verify")) == expected
    assert damage_in_export(api) == expected


def test_log_that_nobody_could_have_written_to_is_whole(api: Driver) -> None:
    tamper(
        api,
        [
            "DELETE FROM tokens",
            "DELETE FROM audit_entries",
            "UPDATE audit_chains SET n = 0 WHERE chain = 'system'",
        ],
    )

    with api.app.app_context():
        report = verify_database(db.session())

    assert (report.ok, report.entries) == (True, 0)


def damage_in_export(api: Driver) -> list[tuple[str, str, int]]:
    lines = api.get("/audit/export").get_data(as_text=True).splitlines()
    report = verify_export(lines)
    assert report.is_sealed
    return [(each.chain, each.kind, each.n) for each in report.damage]


def damage_in(report: Document) -> list[tuple[str, str, int]]:
    assert report["ok"] is False
    assert all(each["message"] for each in report["damage"])
    return [(each["chain"], each["kind"], each["n"]) for each in report["damage"]]


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET action = 'x' WHERE chain = :chain AND n = 2",
        "UPDATE audit_entries SET actor = 'x' WHERE chain = :chain AND n = 2",
        "UPDATE audit_entries SET model = 'x' WHERE chain = :chain AND n = 2",
        "UPDATE audit_entries SET version = 9 WHERE chain = :chain AND n = 2",
        "UPDATE audit_entries SET at = 'x' WHERE chain = :chain AND n = 2",
    ],
)
def test_column_that_contradicts_the_sealed_text_is_found(
    api: Driver, statement: str
) -> None:
    api.ready_versions(1)
    chain = api.audit(MODEL)[0]["chain"]

    tamper(api, [statement], chain=chain)

    expected = [(chain, DamageKind.EDITED, 2)]
    assert damage_in(api.read("/audit/verify")) == expected
    assert damage_in_export(api) == expected
    assert damage_in_export(api.with_role("viewer")) == expected


@ON_BOTH_DATABASES
@pytest.mark.parametrize("model", ["churn", "a", "z", None])
def test_lists_go_by_what_was_sealed_and_not_by_the_columns(
    api: Driver, model: str | None
) -> None:
    api.ready_versions(1)
    api.create_model("churn")
    chain = api.audit(MODEL)[0]["chain"]
    before = api.read(f"/audit?model={MODEL}")["items"]

    tamper(
        api,
        [
            """UPDATE audit_entries SET model = :model, actor = 'mallory', at = '9',
            action = 'x', version = 7 WHERE chain = :chain AND n = 2"""
        ],
        chain=chain,
        model=model,
    )

    assert api.read(f"/audit?model={MODEL}")["items"] == before
    assert [item["n"] for item in api.read("/audit?model=churn")["items"]] == [1]
    listed = [i for i in api.read("/audit")["items"] if i["chain"] == chain]
    assert listed == before


def test_pages_of_a_model_go_on_past_what_was_hidden(api: Driver) -> None:
    api.ready_versions(2)
    chain = api.audit(MODEL)[0]["chain"]
    tamper(
        api,
        ["UPDATE audit_entries SET model = 'x' WHERE chain = :chain AND n IN (2, 4)"],
        chain=chain,
    )

    pages = [api.read(f"/audit?model={MODEL}&limit=2")]
    while pages[-1]["next_cursor"]:
        cursor = pages[-1]["next_cursor"]
        pages.append(api.read(f"/audit?model={MODEL}&limit=2&cursor={cursor}"))

    assert [item["n"] for page in pages for item in page["items"]] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("text_", ["", "{", "[]", "[" * 5000, '{"n": NaN}'])
def test_entry_whose_text_was_destroyed_is_listed_as_such(
    api: Driver, text_: str
) -> None:
    api.create_model()
    tamper(
        api,
        ["UPDATE audit_entries SET canonical = :text_ WHERE model IS NOT NULL"],
        text_=text_,
    )

    for caller in (api, api.with_role("viewer")):
        (item,) = caller.read(f"/audit?model={MODEL}")["items"]
        assert (item["action"], item["actor"], item["model"]) == (None, None, None)


@ON_BOTH_DATABASES
def test_entry_appended_by_hand_is_found_however_well_it_is_sealed(
    api: Driver,
) -> None:
    api.ready_versions(1)
    last = api.audit(MODEL)[-1]
    head = Head(chain=last["chain"], n=last["n"], hash=last["hash"])
    sealed_text = json.loads(last["entry"]) | {"reason": "forged"}
    del sealed_text["chain"], sealed_text["n"]
    forged = seal(head.chain, head, sealed_text)

    tamper(
        api,
        [
            _COPY.format(n=forged.n),
            """UPDATE audit_entries
            SET prev_hash = :prev, hash = :hash, canonical = :canonical,
                private = :secret
            WHERE chain = :chain AND n = :n""",
        ],
        chain=head.chain,
        n=forged.n,
        prev=forged.prev_hash,
        hash=forged.hash,
        canonical=forged.canonical,
        secret=last["private"],
    )

    assert damage_in(api.read("/audit/verify")) == [
        (head.chain, DamageKind.INSERTED, forged.n)
    ]


def test_chain_of_a_renamed_model_is_verified_by_its_new_name(api: Driver) -> None:
    api.ready_versions(1)
    api.patch(f"/models/{MODEL}", {"name": "card-fraud"})

    assert api.read("/audit/verify?model=card-fraud")["entries"] == 4
    problem_of(api.get(f"/audit/verify?model={MODEL}"), 404, "not-found")
