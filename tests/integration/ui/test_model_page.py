"""The page of one model: its stages, who held them when, a metric, its versions."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver
from tests.integration.statements import statements_of
from tests.integration.ui.reading import read, said

pytestmark = ON_BOTH_DATABASES
PAGE = f"/models/{MODEL}"
#: Names that a path into JSON, or SQL, would take for something else.
ODD_METRICS = ("auc", 'a"b', "a.b", "$.auc", "it's", "items", "100 %", "ä 模")


def column(api: Driver, stage: str) -> str:
    """What the board says of a stage."""
    head = f'<section class="board-column" aria-labelledby="stage-{stage}">'
    found = re.search(f"{head}(.*?)</section>", read(api, PAGE), re.DOTALL)
    assert found
    return said(found[1])


def changes(markup: str) -> list[str]:
    """The lines of the history, newest first."""
    part = markup[markup.index('id="history"') : markup.index('id="versions"')]
    rows = re.findall(r"<tr>\s*<td(.*?)</tr>", part, re.DOTALL)
    return [said(f"<td{row}") for row in rows]


def numbers(markup: str) -> list[int]:
    """The versions of the table, in its order."""
    return [int(n) for n in re.findall(r'name="v" value="(\d+)"', markup)]


def table(api: Driver, **asked: Any) -> list[int]:  # noqa: ANN401  # of an address
    return numbers(read(api, f"{PAGE}?{urlencode(asked, doseq=True)}"))


def linked(api: Driver, **members: Any) -> int:  # noqa: ANN401  # of a version
    return api.register(source="s3://elsewhere/model", **members)


def test_the_board_shows_who_is_where_and_why(api: Driver) -> None:
    one, two = api.ready_versions(2)
    api.moved(one, "Staging", "Production")
    api.with_token(name="bob", role="promoter").move(two, "Staging", reason="recall")
    api.put(f"/models/{MODEL}/aliases/best", json={"version": one})
    report = {"environment": "eu", "status": "failed"}
    api.post(f"/models/{MODEL}/versions/{one}/deployments", report)

    assert "Version 1 @best" in column(api, "Production")
    assert "✕ failed" in column(api, "Production")
    staging = column(api, "Staging")
    assert "Version 2" in staging
    assert "by bob" in staging
    assert "recall" in staging
    assert "No version" in column(api, "Archived")


def test_moves_are_offered_to_those_who_may_make_them(api: Driver) -> None:
    one, _ = api.ready_versions(2)
    api.moved(one, "Staging")

    offered = re.findall(r'href="([^"]+/move\?to=\w+)"', read(api, PAGE))
    assert offered == [
        f"{PAGE}/versions/1/move?to=Production",
        f"{PAGE}/versions/1/move?to=Archived",
        f"{PAGE}/versions/2/move?to=Staging",
    ]
    to_others = read(api.with_role("writer"), PAGE)
    assert "/move" not in to_others
    assert f"{PAGE}/rollback" not in to_others


def test_a_stage_of_many_shows_some_and_leads_to_all(api: Driver) -> None:
    api.create_model()
    for _ in range(5):
        linked(api)

    in_none = column(api, "None")

    assert "Version 5" in in_none
    assert "Version 2" not in in_none
    assert "All 5 in None" in in_none
    assert table(api, stage="None") == [5, 4, 3, 2, 1]


def test_the_history_tells_each_change_with_actor_and_reason(api: Driver) -> None:
    one, two = api.ready_versions(2)
    api.serve(one)
    api.moved(two, "Staging")
    api.move(two, "Production", reason="wins by two points")
    api.with_token(name="bob", role="promoter").rollback(reason="too slow")

    markup = read(api, PAGE)

    rollback, aside, promotion, *_ = changes(markup)
    assert "1 □ Archived → to ● Production rollback bob too slow" in rollback
    assert "2 ● Production → to □ Archived superseded bob" in aside
    assert "2 ◐ Staging → to ● Production promotion" in promotion
    assert "wins by two points" in promotion
    drawn = unescape(markup)
    assert re.search(
        "Version 1 in Production from [^<]* to [^<]*, promotion by bootstrap", drawn
    )
    assert re.search("Version 1 in Production from [^<]*, rollback by bob: too", drawn)
    assert f'href="{PAGE}/versions/1#history"' in markup


def test_what_was_delivered_and_deployed_stands_beside_a_change(api: Driver) -> None:
    api.post("/webhooks", {"url": "http://127.0.0.1:9/"})
    (one,) = api.ready_versions(1)
    api.moved(one, "Staging")
    report = {"environment": "eu-west", "status": "succeeded"}
    api.post(f"/models/{MODEL}/versions/{one}/deployments", report)

    (line,) = changes(read(api, PAGE))

    assert "0 of 1" in line
    assert "eu-west: succeeded" in line


def test_earlier_parts_of_a_long_history_are_a_page_away(api: Driver) -> None:
    one, two = api.ready_versions(2)
    api.serve(one, two)
    for _ in range(15):
        api.rollback()

    newest = read(api, PAGE)
    path = re.search(r'href="([^"]*below=\d+)#history"', newest)
    assert path is not None
    earlier = read(api, unescape(path[1]))

    assert len(changes(newest)) == 20
    assert len(changes(earlier)) == 15
    assert "promotion by bootstrap" in earlier
    # Who stood there before the part begins is drawn from its left edge on.
    assert newest.count('<rect class="bar') == 11


def test_an_alias_is_offered_for_removal_to_those_who_may(api: Driver) -> None:
    api.ready_versions(1)
    api.put(f"/models/{MODEL}/aliases/best", json={"version": 1})
    writer, reader = api.with_role("writer"), api.with_role("reader")

    assert 'aria-label="Remove alias best"' in read(writer, PAGE)
    assert 'aria-label="Remove alias best"' not in read(reader, PAGE)


def test_a_version_that_is_gone_is_told_of_and_leads_nowhere(api: Driver) -> None:
    (one,) = api.ready_versions(1)
    api.moved(one, "Staging", "Archived")
    api.delete(f"/models/{MODEL}/versions/1")

    markup = read(api, PAGE)

    assert "1 (deleted)" in said(markup)
    assert f"{PAGE}/versions/1" not in markup


def test_any_metric_is_plotted_and_sorted_by(api: Driver) -> None:
    api.create_model()
    for values in ((0.5, 3), (0.9, 1), (0.7, 2)):
        linked(
            api,
            metrics={
                name: value
                for name in ODD_METRICS
                for value in [values[ODD_METRICS.index(name) % 2]]
            },
        )
    linked(api)

    for place, name in enumerate(ODD_METRICS):
        key = f"metric:{name}"
        down = [2, 3, 1] if place % 2 == 0 else [1, 3, 2]
        assert table(api, sort=f"-{key}", c=key) == [*down, 4], name
        assert table(api, sort=key, c=key) == [*down[::-1], 4], name
        markup = unescape(read(api, f"{PAGE}?{urlencode({'metric': name})}"))
        assert f"{name} over versions" in markup
        assert markup.count("<use href=") == 3


def test_columns_are_chosen_and_kept_by_the_address(api: Driver) -> None:
    api.create_model()
    linked(api, metrics={"auc": 0.912345678}, run_id="r" * 32, description="October")

    usual = read(api, PAGE)
    chosen = read(api, f"{PAGE}?c=metric:auc&c=commit&sort=-metric:auc")

    assert "0.912346" in usual
    assert "October" in usual
    heads = re.findall(r'<a class="sort" href="([^"]+)">(.*?)</a>', chosen)
    assert [said(text).split()[0] for _, text in heads] == ["Version", "auc", "Commit"]
    assert all("c=metric:auc" in unescape(path) for path, _ in heads)
    assert "October" not in chosen[chosen.index('id="versions"') :]


@pytest.mark.parametrize("by", ["number", "stage", "activity", "registered"])
def test_the_table_goes_by_its_other_columns(api: Driver, by: str) -> None:
    one, _, _ = api.ready_versions(3)
    api.moved(one, "Staging")
    expected = {
        "number": [3, 2, 1],
        "stage": [1, 3, 2],
        "activity": [1, 3, 2],
        "registered": [3, 2, 1],
    }

    assert table(api, sort=f"-{by}") == expected[by]


def test_the_table_goes_on_from_page_to_page(api: Driver) -> None:
    api.create_model()
    for _ in range(27):
        linked(api)

    assert table(api) == [*range(27, 2, -1)]
    assert table(api, page=2) == [2, 1]
    assert table(api, page=2, sort="number") == [26, 27]
    assert "page=2" in read(api, PAGE)
    assert "No version here" in read(api, f"{PAGE}?page=7")


@pytest.mark.parametrize(
    "asked",
    ["sort=nothing", "page=0", "page=x", "stage=Nowhere", "below=-1", "sort=metric:"],
)
def test_an_address_that_asks_for_nothing_there_is_is_refused(
    api: Driver, asked: str
) -> None:
    api.create_model()

    read(api, f"{PAGE}?{asked}", 422)


def test_what_others_wrote_makes_no_link_that_runs(api: Driver) -> None:
    api.create_model()
    made = api.client.post(
        "/api/2.0/mlflow/model-versions/create",
        json={
            "name": MODEL,
            "source": "s3://elsewhere/model",
            "run_id": "r1",
            "run_link": "javascript:alert(1)",
        },
    )
    assert made.status_code == 200, made.text

    markup = read(api, PAGE)

    assert "javascript:" not in markup
    assert "r1" in markup


def test_a_model_without_versions_says_what_comes_next(api: Driver) -> None:
    api.create_model()

    assert f"stagegate register {MODEL} PATH" in said(read(api, PAGE))


def test_a_model_that_is_not_there_is_not_found(api: Driver) -> None:
    read(api, "/models/ghost", 404)


def test_thousands_of_tags_are_a_link_away(api: Driver) -> None:
    long = "x" * 2_000
    api.create_model(tags={f"tag-{number:04}": long for number in range(300)})

    some, every = read(api, PAGE), read(api, f"{PAGE}?all=1")

    assert "All 300" in said(some)
    assert "tag-0100" not in some
    assert long not in some
    assert "tag-0299" in every
    assert every.count(long) == 300


def test_a_prompt_shows_the_texts_of_its_versions(api: Driver) -> None:
    marked = {"mlflow.prompt.is_prompt": "true"}
    api.create_model(MODEL, tags={**marked, "owner": "ann"})
    for text in ("Answer: {{question}}", "Be <brief>.\n{{question}}"):
        made = api.client.post(
            "/api/2.0/mlflow/model-versions/create",
            json={
                "name": MODEL,
                "source": "prompt-template",
                "tags": [
                    {"key": "mlflow.prompt.is_prompt", "value": "true"},
                    {"key": "mlflow.prompt.text", "value": text},
                ],
            },
        )
        assert made.status_code == 200, made.text
    api.put(f"/models/{MODEL}/aliases/production", json={"version": 1})

    markup = read(api, PAGE)

    assert "Be &lt;brief&gt;.\n{{question}}" in markup
    assert markup.index("Version 2") < markup.index("Version 1")
    assert "Version 1 @production" in said(markup)
    assert "is_prompt" not in markup
    assert "board-column" not in markup


def test_a_page_takes_no_more_statements_for_more_versions(api: Driver) -> None:
    def count() -> int:
        with statements_of(api.app) as seen:
            read(api, PAGE)
        return len(seen)

    (one,) = api.ready_versions(1)
    api.serve(one)
    linked(api, metrics={"auc": 1})
    read(api, PAGE)
    few = count()
    for _ in range(20):
        api.serve(api.ready())
        linked(api, metrics={"auc": 2})

    assert count() == few <= 13
