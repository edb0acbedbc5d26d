"""The pages of the audit log: filtered, entry by entry, verified, as of an instant."""

import html
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from registry.ui.audit_shown import ACTIONS
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver
from tests.integration.api.mutations import MUTATIONS, prepare
from tests.integration.statements import statements_of

HOUR = timedelta(hours=1)


def page(api: Driver, path: str, status: int = 200) -> str:
    """What a page says, its tags and white space left out."""
    answer = api.client.get(path)
    assert answer.status_code == status, answer.text
    return said(answer)


def said(answer: TestResponse) -> str:
    assert answer.mimetype == "text/html"
    body = answer.text.partition("<main")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def titles(api: Driver, query: str) -> list[str]:
    """The titles of the entries that a filter leaves."""
    answer = api.client.get(f"/audit?{query}")
    assert answer.status_code == 200, answer.text
    return re.findall(r'<span class="title">(.*?)</span>', answer.text)


@pytest.fixture
def served(api: Driver) -> Driver:
    """A version that was promoted twice, with reasons, and another model."""
    api.ready_versions(2)
    api.moved(1, "Staging")
    api.move(1, "Production", reason="passed the <b>shadow</b> test")
    api.create_model("churn")
    return api


@ON_BOTH_DATABASES
def test_log_is_filtered_by_model_actor_action_and_time(served: Driver) -> None:
    served.with_token(name="ci", role="admin").create_model("pricing")
    now = datetime.now(UTC)
    soon, before = ((now + by).isoformat() for by in (HOUR, -HOUR))
    soon, before = soon.replace("+00:00", "Z"), before.replace("+00:00", "Z")

    assert titles(served, "actor=ci") == ["Created a model"]
    assert titles(served, "model=churn") == ["Created a model"]
    assert titles(served, "actor=ci&model=churn") == []
    assert len(titles(served, "action=model_version.stage_changed")) == 2
    tokens = titles(served, f"action=token.created&since={before}&until={soon}")
    assert tokens == ["Created a token"] * 2
    assert titles(served, f"since={soon}") == []
    assert titles(served, f"until={before}&model={MODEL}") == []
    assert len(titles(served, f"since={before}&model={MODEL}")) == len(
        titles(served, f"model={MODEL}")
    )


@ON_BOTH_DATABASES
def test_instants_bound_the_log_exactly(served: Driver) -> None:
    entries = served.audit()
    at = [entry["at"] for entry in entries]

    for place in (0, 3, len(at) - 1):
        assert len(titles(served, f"since={at[place]}")) == len(at) - place
        assert len(titles(served, f"until={at[place]}")) == place


@ON_BOTH_DATABASES
def test_pages_of_a_filter_have_no_gap_and_no_repeat(api: Driver) -> None:
    for n in range(60):
        api.create_model(f"m{n:02}")

    address, found = "/audit?action=registered_model.created", []
    while address:
        answer = api.client.get(address)
        found += re.findall(r"/models/(m\d\d)", answer.text)
        following = re.search(r'href="([^"]+)" rel="next"', answer.text)
        address = html.unescape(following[1]) if following else ""

    assert found == [f"m{n:02}" for n in reversed(range(60))]


@ON_BOTH_DATABASES
def test_a_change_of_stage_leads_to_its_entries(served: Driver) -> None:
    changes = served.read(f"/models/{MODEL}/history")["items"]

    for change in changes:
        transition = change["transition_id"]
        assert titles(served, f"transition={transition}") == ["Changed the stage"]
    assert "Nothing matches" in page(served, "/audit?transition=none")


def test_entry_shows_who_what_and_why(served: Driver) -> None:
    entry = served.audit(MODEL)[-1]

    shown = page(served, f"/audit/entries/{entry['chain']}/{entry['n']}")

    for told in (
        *("Changed the stage", MODEL, "version 1", "Staging to", "Production"),
        *("passed the <b>shadow</b> test", "bootstrap", "by API token", "127.0.0.1"),
        *(entry["hash"], entry["prev_hash"], entry["entry"], entry["transition_id"]),
    ):
        assert told in shown
    page(served, f"/audit/entries/{entry['chain']}/{entry['n'] + 1}", 404)


def test_only_admins_and_auditors_see_private_parts(served: Driver) -> None:
    entry = served.audit(MODEL)[-1]
    address = f"/audit/entries/{entry['chain']}/{entry['n']}"

    for role, sees in (("viewer", False), ("auditor", True)):
        shown = page(served.with_role(role), address)
        assert ("127.0.0.1" in shown) is sees
        assert "passed the <b>shadow</b> test" in shown


@ON_BOTH_DATABASES
def test_who_may_not_read_a_model_sees_nothing_of_it(served: Driver) -> None:
    reader = served.with_token(role="reader", models="churn")
    (chain,) = {entry["chain"] for entry in served.audit(MODEL)}

    assert titles(reader, "") == ["Created a model"]
    assert titles(reader, f"model={MODEL}") == []
    assert titles(reader, f"chain={chain}") == []
    assert titles(reader, "chain=system") == []
    page(reader, f"/audit/entries/{chain}/1", 404)
    page(reader, "/audit/entries/system/1", 404)
    page(reader, "/audit/verify", 403)
    page(reader, f"/audit/verify?model={MODEL}", 403)
    assert "whole up to entry 1" in page(reader, "/audit/verify?model=churn")
    then = page(reader, "/audit/as-of?at=2100-01-01")
    assert "churn" in then
    assert MODEL not in then
    assert "No model" in page(reader, f"/audit/as-of?at=2100-01-01&model={MODEL}")


def test_bad_instant_is_refused_with_what_was_typed(served: Driver) -> None:
    answer = served.client.get("/audit?since=yesterday&actor=ci")

    assert answer.status_code == 422
    assert "expected a time such as" in said(answer)
    assert 'value="yesterday"' in answer.text
    assert 'value="ci"' in answer.text
    assert served.client.get("/audit/as-of?at=soon").status_code == 422
    assert served.client.get("/audit?cursor=soon").status_code == 422


@pytest.mark.parametrize(
    "at", ["2026-11-20", "2026-11-20T12:00", "0001-01-01T00:00Z", "9999-12-31T23:59Z"]
)
def test_instants_are_taken_as_utc_or_with_their_offset(api: Driver, at: str) -> None:
    for path in (f"/audit?since={at}&until={at}", f"/audit/as-of?at={at}"):
        page(api, path)


@ON_BOTH_DATABASES
def test_stages_are_as_they_were(api: Driver) -> None:
    api.ready_versions(2)
    api.create_model("churn")
    moves = [(1, "Staging"), (1, "Production"), (2, "Staging"), (2, "Production")]
    instants = []
    for number, stage in moves:
        api.moved(number, stage)
        instants.append(datetime.now(UTC))

    def held(at: datetime, query: str = "") -> set[tuple[str, str]]:
        answer = api.client.get(
            f"/audit/as-of?at={at.isoformat().replace('+00:00', 'Z')}{query}"
        )
        rows = re.findall(r"<tr>(.*?)</tr>", answer.text, re.DOTALL)
        cells = [html.unescape(re.sub(r"<[^>]*>", " ", row)).split() for row in rows]
        stages = {"Staging", "Production"}
        return {
            (cell, row[place + 1])
            for row in cells
            for place, cell in enumerate(row)
            if cell in stages
        }

    assert held(instants[0]) == {("Staging", "1")}
    assert held(instants[1]) == {("Production", "1")}
    assert held(instants[2]) == {("Production", "1"), ("Staging", "2")}
    assert held(instants[3]) == {("Production", "2")}
    assert held(instants[3], "&model=churn") == set()
    assert held(instants[0] - HOUR) == set()
    api.delete("/models/churn")
    assert "deleted since" in page(
        api, f"/audit/as-of?at={instants[3].isoformat().replace('+00:00', 'Z')}"
    )


@ON_BOTH_DATABASES
def test_models_of_an_instant_are_paged(api: Driver) -> None:
    names = [f"m{n:02}" for n in range(30)]
    for name in names:
        api.create_model(name)

    address, found = "/audit/as-of?at=2100-01-01", []
    while address:
        answer = api.client.get(address)
        found += re.findall(r'href="/models/(m\d\d)"', answer.text)
        following = re.search(r'href="([^"]+)" rel="next"', answer.text)
        address = html.unescape(following[1]) if following else ""

    assert found == names


def test_damage_is_said_in_words_and_leads_to_the_entry(served: Driver) -> None:
    assert "The log is intact" in page(served, "/audit/verify")
    chain = served.audit(MODEL)[2]["chain"]
    with served.engine.begin() as cx:
        cx.execute(text("DROP TRIGGER audit_entries_no_update"))
        cx.execute(
            text(
                "UPDATE audit_entries SET canonical = replace(canonical, 'a', 'b')"
                " WHERE chain = :chain AND n = 3"
            ),
            {"chain": chain},
        )

    answer = served.client.get("/audit/verify")

    shown = said(answer)
    assert "The log is damaged" in shown
    assert f"{MODEL} 3 Its text or hash was changed expected hash" in shown
    assert f'href="/audit/entries/{chain}/3"' in answer.text
    assert "The log is intact" in page(served, "/audit/verify?model=churn")
    page(served, f"/audit/entries/{chain}/3")


@pytest.mark.parametrize("value", ["seven", 5, True, ["m"], {"m": 1}])
def test_entry_with_an_edited_member_is_shown_still(api: Driver, value: object) -> None:
    api.create_model(MODEL)
    reader, entry = api.with_role("viewer"), api.audit(MODEL)[-1]
    whole = json.loads(entry["entry"])
    with api.engine.begin() as cx:
        cx.execute(text("DROP TRIGGER audit_entries_no_update"))

    for name in [*whole, "on_behalf_of", "before"]:
        edit(api, entry, {**whole, name: value})
        show_everywhere(api, entry)
        show_everywhere(reader, entry)
    for name in whole["actor"]:
        edit(api, entry, {**whole, "actor": {**whole["actor"], name: value}})
        show_everywhere(api, entry)


def test_webhook_entry_with_edited_options_is_shown_still(api: Driver) -> None:
    reader, entry = api.with_role("viewer"), api.audit()[0]
    with api.engine.begin() as cx:
        cx.execute(text("DROP TRIGGER audit_entries_no_update"))

    edit(api, entry, {"action": "webhook.x", "after": {"url": 5, "options": 5}})

    show_everywhere(reader, entry)


def show_everywhere(by: Driver, entry: Mapping[str, Any]) -> None:
    page(by, "/audit")
    page(by, f"/audit/entries/{entry['chain']}/{entry['n']}")
    assert by.read("/audit")["items"]


def edit(api: Driver, entry: Mapping[str, Any], sealed: Mapping[str, Any]) -> None:
    with api.engine.begin() as cx:
        cx.execute(
            text("UPDATE audit_entries SET canonical = :sealed WHERE id = :id"),
            {"sealed": json.dumps(sealed), "id": entry["id"]},
        )


def test_verifying_has_a_few_places(api: Driver) -> None:
    room = api.parts.rooms.audits

    with room.place(), room.place():
        answer = api.client.get("/audit/verify")

    assert answer.status_code == 503
    assert "try again" in said(answer).lower()


def test_every_action_has_its_words(api: Driver) -> None:
    prepare(api)

    logged = {entry["action"] for entry in api.audit()}

    assert logged | {mutation.action for mutation in MUTATIONS} <= set(ACTIONS)


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "path",
    ["/audit", "/audit?model=fraud&actor=bootstrap", "/audit/as-of?at=2100-01-01"],
)
def test_page_costs_the_sign_in_what_waits_and_one_statement(
    served: Driver, path: str
) -> None:
    served.client.get(path)

    with statements_of(served.app) as statements:
        served.client.get(path)

    assert len(statements) == 3, statements
