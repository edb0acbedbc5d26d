"""What runs where: each rule of what is in step and what drifts."""

import html
import re
from typing import Any

import pytest

from registry.persistence import consumers
from registry.web.paging import encode_cursor
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver
from tests.integration.statements import statements_of

pytestmark = ON_BOTH_DATABASES


def rows(api: Driver, query: str = "", *, all_pages: bool = True) -> list[list[str]]:
    """The rows of the page, and of those behind it: what each cell says."""
    found, path = [], f"/consumers?{query}"
    while path:
        answer = api.client.get(path)
        assert answer.status_code == 200, answer.text
        for row in re.findall(r"<tr>(.*?)</tr>", answer.text, re.DOTALL)[1:]:
            cells = re.findall(r"<t[dh][ >](.*?)</t[dh]>", row, re.DOTALL)
            found.append([_text(cell) for cell in cells])
        (path,) = re.findall(r'href="([^"]+)" rel="next"', answer.text) or [""]
        path = html.unescape(path) if all_pages else ""
    return found


def _text(cell: str) -> str:
    bare = re.sub(r"<[^>]*>", " ", cell.partition(">")[2] if ">" in cell else cell)
    return " ".join(html.unescape(bare).split())


def report(
    api: Driver,
    number: int,
    status: str = "succeeded",
    model: str = MODEL,
    **more: Any,  # noqa: ANN401  # JSON
) -> None:
    body = {"status": status, "environment": "eu", **more}
    answer = api.post(f"/models/{model}/versions/{number}/deployments", body)
    assert answer.status_code == 200, answer.text


def standing(api: Driver) -> str:
    """The state of the one environment."""
    ((state, *_),) = rows(api)
    return state.split(" ", 1)[1]


def test_who_runs_what_holds_the_stage_is_in_step_until_another_holds_it(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1)
    assert rows(api) == []
    report(api, 1, "in_progress")
    assert standing(api) == "deploying"
    report(api, 1)
    assert standing(api) == "in step"

    api.serve(2)
    ((state, environment, model, last, runs, should),) = rows(api)
    assert (state, environment, model) == ("▲ drift", "eu", MODEL)
    assert last.startswith("version 1")
    assert runs.startswith("version 1")
    assert should.startswith("version 2")
    assert "in Production" in should

    report(api, 2, "failed")
    ((state, _, _, last, runs, _),) = rows(api)
    assert state == "✕ failed"
    assert last.startswith("version 2")
    assert runs.startswith("version 1")
    report(api, 2)
    assert standing(api) == "in step"


def test_rollback_makes_drift_of_what_was_in_step(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    report(api, 2)

    api.rollback()

    assert standing(api) == "drift"
    report(api, 1)
    assert standing(api) == "in step"


def test_staging_follows_staging_and_nobody_has_to_follow_a_version_that_went_on(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.moved(1, "Staging")
    report(api, 1, environment="staging")
    assert standing(api) == "in step"
    api.moved(1, "Production")
    assert standing(api) == "in step"

    api.moved(2, "Staging")

    ((state, *_, should),) = rows(api)
    assert state == "▲ drift"
    assert "in Staging" in should


def test_what_was_put_away_should_run_nowhere(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)
    report(api, 1)
    api.moved(1, "Archived")
    ((state, *_, should),) = rows(api)
    assert state == "▲ drift"
    assert should == "Nothing is in ● Production"

    report(api, 1)  # of the archival

    assert standing(api) == "in step"


def test_without_a_stage_change_production_is_meant(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1)
    report(api, 2)

    ((state, *_, should),) = rows(api)

    assert state == "▲ drift"
    assert should.startswith("version 1")


def test_drift_comes_first_then_names_page_by_page(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.ui.consumers._SHOWN", 2)
    for name in ("a", "b", "c"):
        api.ready_versions(1, model=name)
        api.moved(1, "Staging", "Production", model=name)
        report(api, 1, model=name, environment="eu")
        report(api, 1, "failed" if name == "b" else "succeeded", name, environment="us")

    shown = [(row[2], row[1]) for row in rows(api)]

    in_step = [("a", "eu"), ("a", "us"), ("b", "eu"), ("c", "eu"), ("c", "us")]
    assert shown == [("b", "us"), *in_step]
    monkeypatch.setattr(consumers, "LOOKED_AT", 2)
    assert sorted((row[2], row[1]) for row in rows(api)) == sorted(shown)


def test_filters_and_rights_leave_others_out(api: Driver) -> None:
    for name in ("Fraud-eu", "fraud-us", "churn"):
        api.ready_versions(1, model=name)
        api.moved(1, "Staging", "Production", model=name)
        report(api, 1, model=name, environment="west" if name == "churn" else "eu")
    api.create_model("quiet")

    def names(driver: Driver, query: str = "") -> list[str]:
        return [row[2] for row in rows(driver, query)]

    assert names(api, "model=fraud") == ["Fraud-eu", "fraud-us"]
    assert names(api, "environment=west") == ["churn"]
    assert names(api, "model=fraud&environment=west") == []
    other = api.with_token(role="reader", models="fraud*")
    assert names(other) == ["fraud-us"]
    assert names(other, "model=churn") == []
    api.delete("/models/churn/versions/1")
    places = ("x", "{}", '[["", ""], [1e99, "", ""]]', '[["", "\\u0000"], [0, "", ""]]')
    for bad in ("model=%00", *(f"cursor={encode_cursor(place)}" for place in places)):
        assert api.client.get(f"/consumers?{bad}").status_code == 422, bad


def test_many_environments_cost_no_statement_more(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)
    report(api, 1)
    rows(api)

    def counted() -> int:
        with statements_of(api.app) as statements:
            rows(api, all_pages=False)
        return len(statements)

    before = counted()
    for number in range(10):
        report(api, 1, environment=f"site-{number}")

    assert counted() == before
    assert before <= 4
