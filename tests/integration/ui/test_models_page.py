"""The list of models: found, with what is in use of each, and added to."""

import re
from html import unescape
from urllib.parse import urlencode

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver
from tests.integration.statements import statements_of
from tests.integration.ui.reading import gone_on, read, said, send

pytestmark = ON_BOTH_DATABASES


def rows(markup: str) -> dict[str, str]:
    """What the list says of each model."""
    found = re.findall(r"<tr>\s*<th scope=\"row\".*?</tr>", markup, re.DOTALL)
    texts = [said(row).strip() for row in found]
    return {text.partition(" ")[0]: text for text in texts}


def found(api: Driver, q: str, **asked: str) -> list[str]:
    return list(rows(read(api, f"/models?{urlencode({'q': q, **asked})}")))


def following(markup: str) -> str | None:
    found = re.search(r'href="([^"]+)" rel="next"', markup)
    return unescape(found[1]) if found else None


def test_a_model_is_listed_with_what_is_in_use_and_who_changed_it_last(
    api: Driver,
) -> None:
    api.create_model(MODEL, tags={"owner": "ann", "colour": "red"})
    one, two = api.ready(), api.ready()
    api.moved(one, "Staging", "Production")
    api.with_token(name="bob", role="promoter").moved(two, "Staging")

    row = rows(read(api, "/models"))[MODEL]

    assert "Version 2 moved → Staging bob, " in row
    assert "● 1" in row
    assert "◐ 2" in row
    assert "owner: ann" in row
    assert "red" not in row


def test_what_shares_a_stage_is_counted(api: Driver) -> None:
    for number in api.ready_versions(3):
        api.moved(number, "Staging")

    assert "◐ 3 and 2 more" in rows(read(api, "/models"))[MODEL]


@pytest.mark.parametrize(
    ("url", "health"),
    [("http://127.0.0.1:9/", "waiting"), (None, "\u2013")],
    ids=["told", "untold"],
)
def test_how_it_is_with_deliveries_is_shown(
    api: Driver, url: str | None, health: str
) -> None:
    if url:
        api.post("/webhooks", {"url": url})
    api.ready_versions(1)

    assert health in rows(read(api, "/models"))[MODEL].removeprefix(MODEL)


def test_deliveries_of_a_paused_webhook_are_held(api: Driver) -> None:
    made = api.post("/webhooks", {"url": "http://127.0.0.1:9/"}).get_json()
    api.patch(f"/webhooks/{made['id']}", {"state": "paused"})
    api.ready_versions(1)

    assert "held" in rows(read(api, "/models"))[MODEL]


def test_the_worst_deployment_of_what_is_in_use_is_shown(api: Driver) -> None:
    one, two = api.ready_versions(2)
    report = f"/models/{MODEL}/versions/{{}}/deployments"
    api.serve(one)
    api.post(report.format(one), {"environment": "eu", "status": "failed"})
    assert "failed" in rows(read(api, "/models"))[MODEL]

    api.serve(two)
    api.post(report.format(two), {"environment": "eu", "status": "in_progress"})
    api.post(report.format(two), {"environment": "us", "status": "succeeded"})

    row = rows(read(api, "/models"))[MODEL]
    assert "in progress" in row
    assert "failed" not in row, "that was of a version that left"


def test_words_find_the_names_that_have_all_of_them(api: Driver) -> None:
    for name in ("fraud-eu", "fraud-us", "churn-eu"):
        api.create_model(name)

    assert found(api, "fraud") == ["fraud-eu", "fraud-us"]
    assert found(api, " EU  fraud ") == ["fraud-eu"]
    assert found(api, 'it\'s "quoted"') == []


def test_a_filter_finds_what_the_api_finds_by_it(api: Driver) -> None:
    api.create_model("fraud", tags={"team": "risk"})
    api.create_model("churn", tags={"team": "growth"})

    assert found(api, "tags.team = 'risk'") == ["fraud"]
    assert found(api, "name LIKE 'c%'") == ["churn"]
    assert found(api, "tags.team = 'risk' AND name = 'churn'") == []


@pytest.mark.parametrize("q", ["name = fraud", "tags.team ~ 'x'", "name LIKE"])
def test_a_filter_that_is_none_is_refused_where_it_was_typed(
    api: Driver, q: str
) -> None:
    is_filter = "~" not in q
    markup = read(api, f"/models?{urlencode({'q': q})}", 422 if is_filter else 200)

    assert f'value="{q}"' in unescape(markup).replace("'", "'")
    assert ("Filter: at character" in said(markup)) is is_filter


def test_pages_follow_each_other_whatever_the_order(api: Driver) -> None:
    names = [f"model-{number:02}" for number in range(53)]
    for name in names:
        api.create_model(name)

    for order, expected in (("name", names), ("changed", names[::-1])):
        first = read(api, f"/models?order={order}")
        path = following(first)
        assert path is not None
        second = read(api, path)
        assert [*rows(first), *rows(second)] == expected
        assert following(second) is None


def test_a_page_of_another_list_is_refused(api: Driver) -> None:
    for number in range(51):
        api.create_model(f"model-{number:02}")
    path = following(read(api, "/models"))

    assert path is not None
    assert "page token" in said(read(api, f"{path}&q=model", 422))


def test_prompts_have_a_list_of_their_own(api: Driver) -> None:
    api.create_model("answer", tags={"mlflow.prompt.is_prompt": "true"})
    api.create_model("fraud")

    assert found(api, "") == ["fraud"]
    assert found(api, "", kind="prompts") == ["answer"]
    assert found(api, "fraud", kind="prompts") == []


def test_models_that_may_not_be_read_are_left_out(api: Driver) -> None:
    for name in ("fraud-eu", "churn-eu"):
        api.create_model(name)
    of_some = api.with_token(role="reader", models="churn-*")

    assert found(of_some, "eu") == ["churn-eu"]
    assert "New model" not in read(of_some, "/models")


def test_a_model_is_created(api: Driver) -> None:
    form = {"name": " fraud ", "description": "Payments"}

    path = gone_on(send(api, "/models", form))

    assert path == "/models/fraud?done=created"
    assert "The model is registered" in said(read(api, path))
    assert api.read("/models/fraud")["description"] == "Payments"


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        (MODEL, 409, "fraud"),
        ("a/b", 422, "Name: must not be blank or contain"),
        ("", 422, "Name: "),
    ],
)
def test_a_model_that_cannot_be_created_is_refused_in_its_form(
    api: Driver, name: str, status: int, told: str
) -> None:
    api.create_model()

    answer = send(api, "/models", {"name": name, "description": "what I typed"})

    assert answer.status_code == status
    assert told in said(answer.text)
    assert "what I typed" in answer.text
    assert "<details open>" in answer.text


def test_models_are_created_by_those_alone_who_may(api: Driver) -> None:
    writer = api.with_token(role="writer", models="churn-*")

    assert send(writer, "/models", {"name": "fraud"}).status_code == 403
    assert send(writer, "/models", {"name": "churn-eu"}).status_code == 303
    assert "New model" in read(writer, "/models")


def test_a_list_takes_no_more_statements_for_more_models(api: Driver) -> None:
    def count() -> int:
        with statements_of(api.app) as seen:
            read(api, "/models")
        return len(seen)

    api.ready_versions(1)
    read(api, "/models")
    few = count()
    for number in range(20):
        api.ready_versions(1, f"model-{number}")

    assert count() == few <= 7
