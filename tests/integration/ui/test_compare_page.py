"""Versions beside each other."""

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver
from tests.integration.ui.reading import read, said, section

COMPARE = f"/models/{MODEL}/compare"
INPUTS = """signature:
  inputs: '[{{"type": "{kind}", "name": "amount"}}]'
"""


@ON_BOTH_DATABASES
def test_differences_come_first_and_what_is_equal_is_folded(api: Driver) -> None:
    api.create_model()
    for number, (depth, auc, kind) in enumerate(
        [("4", 0.5, "long"), ("6", 0.75, "double"), ("4", 0.5, "long")], start=1
    ):
        api.register(
            params={"depth": depth, "seed": "7"},
            metrics={"auc": auc, "rows": 1000},
            datasets=[{"name": "train", "digest": f"d{depth}"}],
            tags={"team": "risk", **({"note": "new"} if number == 2 else {})},
        )
        mlmodel = INPUTS.format(kind=kind).encode()
        files = {"MLmodel": mlmodel, "same.txt": b"same"}
        api.upload(number, files | ({"new.txt": b"x"} if number == 2 else {}))

    page = read(api, f"{COMPARE}?v=1&v=2&v=3")

    metrics = section(page, "metrics")
    assert "Differing Version 1 Version 2 Version 3 auc 0.5 0.75 +0.25 0.5" in metrics
    assert "1 equal Equal Version 1 Version 2 Version 3 rows 1,000 1,000" in metrics
    assert "depth 4 6 4 1 equal" in section(page, "params")
    assert "note \N{EN DASH} new \N{EN DASH} 1 equal" in section(page, "tags")
    assert "train d4 d6 d4" in section(page, "data-sets")
    assert "inputs: amount long double long" in section(page, "schema")
    before, after = section(page, "files").split("1 equal")
    assert "MLmodel" in before
    assert "new.txt \N{EN DASH}" in before
    assert "same.txt" in after


def test_what_has_no_differences_stands_behind_what_has_some(api: Driver) -> None:
    api.create_model()
    for auc in (0.5, 0.75):
        api.register(source="s3://elsewhere/x", metrics={"auc": auc}, params={"a": "1"})

    page = read(api, f"{COMPARE}?v=1&v=2")

    assert page.index('id="metrics"') < page.index('id="params"')
    assert "No differences. 1 equal" in section(page, "params")
    with_tag = {"tags": {"note": "new"}}
    api.patch(f"/models/{MODEL}/versions/1", with_tag)
    page = read(api, f"{COMPARE}?v=1&v=2")
    assert page.index('id="tags"') < page.index('id="params"')


@ON_BOTH_DATABASES
def test_files_that_differ_are_told_page_by_page(api: Driver) -> None:
    api.create_model()
    for number in (1, 2):
        api.register()
        content = b"%d" % number
        api.upload(number, {f"part-{place:03}": content for place in range(120)})

    page = read(api, f"{COMPARE}?v=1&v=2")
    (following,) = [
        line.split('href="')[1].split('"')[0]
        for line in page.splitlines()
        if 'rel="next"' in line
    ]
    last = read(api, following.replace("&amp;", "&").partition("#")[0])

    assert section(page, "files").count("part-") == 100
    assert section(last, "files").count("part-") == 20


def test_version_whose_files_are_not_known_says_so(api: Driver) -> None:
    api.ready_versions(2)
    api.register(source="s3://elsewhere/churn")

    assert "not read" in section(read(api, f"{COMPARE}?v=1&v=2&v=3"), "files")


@pytest.mark.parametrize("asked", ["", "?v=1", "?v=&v=1", "?v=1&v=1"])
def test_who_names_fewer_than_two_is_asked_which(api: Driver, asked: str) -> None:
    api.ready_versions(2)

    page = read(api, f"{COMPARE}{asked}")

    assert "Choose two to five versions." in said(page)
    assert f'href="{COMPARE}?v=1&amp;v=2">Compare 1 and 2</a>' in page


@pytest.mark.parametrize(
    ("asked", "status", "why"),
    [
        ("?v=1&v=two", 422, "a version is a whole number"),
        ("?v=1&v=99999999999999999999", 422, "a version is a whole number"),
        ("?v=1&v=2&v=3&v=4&v=5&v=6", 422, "at most 5 versions"),
        ("?v=1&v=9", 404, "there is no version 9"),
        ("?v=1&v=2&files=x", 422, "is not a next_cursor"),
    ],
)
def test_what_cannot_be_compared_is_told(
    api: Driver, asked: str, status: int, why: str
) -> None:
    api.ready_versions(2)

    page = read(api, f"{COMPARE}{asked}", status)

    assert why in said(page)
    assert 'value="1"' in page


def test_model_that_is_not_there_has_no_comparison(api: Driver) -> None:
    assert "there is no model" in said(read(api, "/models/absent/compare?v=1&v=2", 404))
