"""``GET /policy``: the rules as those see them who plan stage changes."""

from pathlib import Path

import pytest
from flask import Flask

from tests.integration.api.driver import Driver, document_of, problem_of
from tests.integration.conftest import close_app, make_app, signed_in

CONFIG = Path(__file__).parents[3] / "config"


def driver_with(directory: Path, policy: Path) -> Driver:
    app = make_app(directory, POLICY_FILE=str(policy))
    return Driver(app, signed_in(app))


def test_the_default_policy_shows_where_versions_may_move(api: Driver) -> None:
    found = api.read("/policy")

    assert found == {
        "stages": ["None", "Staging", "Production", "Archived"],
        "transitions": {
            "None": ["Staging"],
            "Staging": ["Production", "Archived"],
            "Production": ["Archived"],
            "Archived": [],  # back to Production by rollback only
        },
        "exclusive": {"Production": "Archived"},
        "deletable": ["Archived", "None"],
        "digest": api.parts.policy.digest,
    }


def test_every_stage_of_the_open_policy_leads_to_every_other(tmp_path: Path) -> None:
    api = driver_with(tmp_path, CONFIG / "policy-open.toml")

    found = api.read("/policy")

    for stage, reachable in found["transitions"].items():
        assert {stage, *reachable} == set(found["stages"])
    assert found["exclusive"] == {}
    close_app(api.app)


@pytest.mark.parametrize(
    ("name", "reachable"),
    [("credit-eu", ["Production"]), ("cre\u0301dit", ["Production"]), ("x", [])],
    ids=["by its name", "by its name in another form", "of no override"],
)
def test_a_model_that_is_not_there_yet_has_the_rules_of_its_name(
    tmp_path: Path, name: str, reachable: list[str]
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'stages = ["None", "Staging", "Production", "Archived"]\n'
        "moves = []\n"
        "[[override]]\n"
        'models = "cr[eé]dit*"\n'
        '[[override.moves]]\nfrom = "None"\nto = "Production"\nvia = "promotion"\n',
        encoding="utf-8",
    )
    api = driver_with(tmp_path, policy)

    answer = api.get("/policy", query_string={"model": name})

    assert document_of(answer)["transitions"]["None"] == reachable
    close_app(api.app)


def test_what_has_nothing_to_do_with_a_policy_is_refused(
    api: Driver, app: Flask
) -> None:
    assert problem_of(api.get("/policy?model="), 422, "invalid")["errors"]["model"]
    assert problem_of(api.get("/policy?stage=x"), 422, "invalid")["errors"]["stage"]
    assert app.test_client().get("/api/v1/policy").status_code == 401
