"""What of the audit log only admins see, and that others can verify it all the same."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from registry.domain.audit_chain import Head, seal
from registry.domain.audit_export import verify_export
from tests.integration.api.driver import ON_BOTH_DATABASES, Driver, document_of

PLACE = "https://hooks.example.com/"
SECRET_URL = f"{PLACE}services/path-secret?token=query-secret"
HEADERS = {"x-route": "header-secret"}
OPTIONS = {
    "dispatch": "workflow",
    "ref": "main",
    "inputs": {"key": "data.model"},
}
ADDRESS = "192.0.2.77"


def export_of(api: Driver) -> list[str]:
    return api.get("/audit/export").get_data(as_text=True).splitlines()


def all_shown_to(api: Driver) -> str:
    return api.get("/audit").get_data(as_text=True) + "\n".join(export_of(api))


def from_address(api: Driver) -> Driver:
    api.client.environ_base["REMOTE_ADDR"] = ADDRESS
    return api


def change_webhooks(api: Driver) -> None:
    created = api.post("/webhooks", {"url": SECRET_URL, "headers": HEADERS})
    assert created.status_code == 201, created.text
    path = f"/webhooks/{document_of(created)['id']}"
    changed = api.patch(path, {"url": SECRET_URL + "&more=query-secret"})
    assert changed.status_code == 200, changed.text
    assert api.delete(path).status_code == 204


@ON_BOTH_DATABASES
@pytest.mark.parametrize("role", ["viewer", "writer", "promoter"])
def test_source_addresses_are_for_admins_in_lists_and_exports(
    api: Driver, role: str
) -> None:
    other = api.with_role(role)
    from_address(api).create_model()

    of_admin = api.read("/audit")["items"][0]
    of_other = other.read("/audit")["items"][0]

    assert (of_admin["source_ip"], of_other["source_ip"]) == (ADDRESS, None)
    assert of_other["private"] is None
    assert ADDRESS in "\n".join(export_of(api))
    assert ADDRESS not in all_shown_to(other)
    for lines in (export_of(other), export_of(api)):
        report = verify_export(lines)
        assert (report.ok, report.is_sealed, report.redacted) == (True, True, 0)


def test_secrets_of_a_webhook_are_in_no_entry_and_its_path_is_for_admins(
    api: Driver,
) -> None:
    change_webhooks(api)

    to_admins = all_shown_to(api)
    to_others = all_shown_to(api.with_role("viewer"))

    assert "query-secret" not in to_admins + to_others
    assert "header-secret" not in to_admins + to_others
    assert "path-secret" not in to_others
    made, changed, deleted = (
        entry for entry in api.audit() if entry["action"].startswith("webhook.")
    )
    shown = {"url": f"{PLACE}…", "headers": {"x-route": "…"}}
    for document in (made["after"], changed["before"], deleted["before"]):
        assert {**document, **shown} == document
    private = json.loads(made["private"])
    assert private["after"] == {"url": f"{PLACE}services/path-secret?…"}
    # What cannot be seen to have changed is named.
    assert changed["before"]["url"] == changed["after"]["url"]
    assert changed["changed"] == ["url"]


def test_texts_that_a_format_sends_are_in_no_entry(api: Driver) -> None:
    body = {
        "url": "https://api.github.com/repos/a/b/actions/workflows/c/dispatches",
        "format": "github",
        "options": OPTIONS,
        "credentials": {"token": "github-secret"},
    }

    answer = api.post("/webhooks", body)

    assert answer.status_code == 201, answer.text
    after = next(e for e in api.audit() if e["action"] == "webhook.created")["after"]
    assert after["options"] == {**OPTIONS, "inputs": {"key": "…"}}
    assert after["url"] == "https://api.github.com/…"


def former_entry(api: Driver, **members: Any) -> str:  # noqa: ANN401  # any JSON
    """Append to the chain ``system`` as the former release did; answers the text."""
    last = [e for e in api.audit() if e["chain"] == "system"][-1]
    head = Head(chain="system", n=last["n"], hash=last["hash"])
    at = datetime.now(UTC).isoformat()
    document = {
        "v": 1,
        "at": at,
        "action": "token.created",
        "actor": {"kind": "token", "name": "old"},
        "source_ip": ADDRESS,
        **members,
    }
    sealed = seal("system", head, document)
    values = {
        "n": sealed.n,
        "at": at,
        "action": document["action"],
        "prev": sealed.prev_hash,
        "hash": sealed.hash,
        "text": sealed.canonical,
    }
    insert = """
        INSERT INTO audit_entries
            (chain, n, at, action, actor, prev_hash, hash, canonical)
        VALUES ('system', :n, :at, :action, 'old', :prev, :hash, :text)
    """
    move = "UPDATE audit_chains SET n = :n, hash = :hash WHERE chain = 'system'"
    with api.engine.begin() as connection:
        connection.execute(text(insert), values)
        connection.execute(text(move), {"n": sealed.n, "hash": sealed.hash})
    return sealed.canonical


@ON_BOTH_DATABASES
def test_entries_of_the_former_release_stay_verifiable_and_are_redacted(
    api: Driver,
) -> None:
    viewer = api.with_role("viewer")
    former_entry(api)
    document = {"url": SECRET_URL, "headers": HEADERS, "options": {}}
    last = former_entry(api, action="webhook.created", before=None, after=document)

    shown = viewer.read("/audit")["items"][0]
    of_admin = api.read("/audit")["items"][0]

    assert api.read("/audit/verify")["ok"] is True
    whole, redacted = verify_export(export_of(api)), verify_export(export_of(viewer))
    assert (whole.ok, whole.redacted) == (True, 0)
    assert (redacted.ok, redacted.redacted) == (True, 2)
    for secret in (ADDRESS, "query-secret", "header-secret", "path-secret"):
        assert secret not in all_shown_to(viewer)
    assert json.loads(shown["entry"])["after"]["url"] == f"{PLACE}…"
    assert (shown["actor"], shown["source_ip"]) == ("old", None)
    assert shown["is_redacted"] is True
    assert (of_admin["entry"], of_admin["source_ip"]) == (last, ADDRESS)


def test_redacted_entry_that_was_edited_is_found_in_the_export_of_a_viewer(
    api: Driver,
) -> None:
    viewer = api.with_role("viewer")
    former_entry(api)
    n = api.audit()[-1]["n"]
    with api.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_entries_no_update"))
        connection.execute(
            text(
                "UPDATE audit_entries SET canonical = replace(canonical, 'old', 'new')"
                " WHERE actor = 'old'"
            )
        )

    (damage,) = verify_export(export_of(viewer)).damage

    assert (damage.chain, damage.kind, damage.n) == ("system", "edited", n)
    assert ADDRESS not in all_shown_to(viewer)
