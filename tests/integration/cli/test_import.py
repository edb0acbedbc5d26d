"""``stagegate import mlflow``: from a server in MLflow's shapes into a real one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from registry.importing.states import PLACEHOLDER_TAG
from tests.integration.here import Here, registry_in, serving
from tests.unit.fake_registry import FakeRegistry
from tests.unit.importing.mlflow_pages import MlflowPages, error_answer

CONFIG = Path(__file__).parents[3] / "config"
REFUSED, CONFLICT, NOT_ALLOWED, UNREACHABLE = 3, 4, 6, 8


@pytest.fixture
def here(app: Flask) -> Iterator[Here]:
    with serving(app) as here:
        yield here


@pytest.fixture
def pages() -> Iterator[MlflowPages]:
    with FakeRegistry() as running:
        yield MlflowPages(running)


def fill(pages: MlflowPages) -> None:
    pages.model(
        "fraud",
        *("Archived", None, "Production", "Production", "Staging", "None"),
        aliases={"champion": 4, "next": 5},
    )
    pages.model("naïve & co/"[:-1], "Production")
    pages.model("bare")


def test_models_arrive_as_they_are_at_the_source(
    here: Here, pages: MlflowPages
) -> None:
    fill(pages)

    report = here.imported(pages.fake.url)

    found = here.versions("fraud")
    assert here.stages("fraud") == {
        1: "Archived",
        3: "Archived",  # Production holds one version here
        4: "Production",
        5: "Staging",
        6: "None",
    }
    assert here.stages("naïve & co") == {1: "Production"}
    assert found[4].source == "gs://models/fraud/4"
    assert found[4].run_id == "run-4"
    assert found[4].aliases == ["champion"]
    assert found[4].tags == {
        "stagegate.import.from": pages.fake.url,
        "stagegate.import.created_at": "2026-11-21T12:00:00.123Z",
    }
    with here.client() as client:
        model = client.get_model("fraud")
    assert model.description == "about fraud"
    assert model.tags["team"] == "risk"
    assert model.aliases == {"champion": 4, "next": 5}
    assert (report["models_created"], report["versions_registered"]) == (3, 6)
    assert report["numbers_left_empty"] == 1
    assert [one["version"] for one in report["notes"]] == [3]


def test_prompts_arrive_as_they_are_at_the_source(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("fraud", "None")
    pages.prompt("greet", "Hello {{name}}", None, "Hi", aliases={"champion": 3})

    report = here.imported(pages.fake.url)

    found = here.versions("greet")
    texts = {n: one.tags["mlflow.prompt.text"] for n, one in found.items()}
    assert texts == {1: "Hello {{name}}", 3: "Hi"}
    assert (found[1].status, found[1].source) == ("READY", "dummy-source")
    with here.client() as client:
        assert [one.name for one in client.models()] == ["fraud"]
        (prompt,) = client.models(prompts=True)
    assert (prompt.name, prompt.aliases) == ("greet", {"champion": 3})
    assert (report["models_created"], report["versions_registered"]) == (2, 3)
    assert report["numbers_left_empty"] == 1
    assert here.imported(pages.fake.url)["changes"] == 0
    assert here.imported(pages.fake.url, "--dry-run")["changes"] == 0


def test_every_step_is_audited_with_where_it_came_from(
    here: Here, pages: MlflowPages
) -> None:
    fill(pages)
    here.imported(pages.fake.url)

    with here.client() as client:
        actions = [one.action for one in client.audit.entries(model="fraud")]
        reasons = {one.reason for one in client.history("fraud")}
        verdict = client.audit.verify()

    assert actions.count("model_version.registered") == 6  # with the placeholder
    assert actions.count("model_version.deleted") == 1
    assert reasons == {f"imported from {pages.fake.url}"}
    assert verdict["ok"] is True


def test_who_was_in_production_at_the_source_can_be_rolled_back_to(
    here: Here, pages: MlflowPages
) -> None:
    fill(pages)
    here.imported(pages.fake.url)

    back = here.run("rollback", "fraud")

    assert "fraud version 3 is now in Production" in back.stdout
    again = here.imported(pages.fake.url, code=CONFLICT)
    assert again["changes"] == 0
    assert {one["reason"] for one in again["conflicts"]} == {
        "was moved to Production here, and is in Archived there",
        "was moved to Archived here, and is in Production there",
    }
    assert here.stages("fraud")[3] == "Production"


def test_a_second_run_changes_nothing_and_says_so(
    here: Here, pages: MlflowPages
) -> None:
    fill(pages)
    here.imported(pages.fake.url)
    before = here.entries()

    again = here.run("import", "mlflow", "--from", pages.fake.url)

    assert again.exit_code == 0
    assert "Nothing was changed." in again.stdout
    assert here.entries() == before


def test_a_dry_run_tells_the_same_and_changes_nothing(
    here: Here, pages: MlflowPages
) -> None:
    fill(pages)
    before = here.entries()

    foretold = here.imported(pages.fake.url, "--dry-run")

    assert here.entries() == before
    with here.client() as client:
        assert list(client.models()) == []
    assert {**foretold, "dry_run": False} == here.imported(pages.fake.url)


GATED = """
stages = ["None", "Staging", "Production", "Archived"]
[exclusive]
Production = "Archived"
[[moves]]
from = "None"
to = "Staging"
via = "promotion"
required_tags = ["approved"]
[[moves]]
from = "Staging"
to = "Production"
via = "promotion"
metrics = { auc = { min = 0.9 } }
require_verified = true
[deletion]
stages = ["None"]
"""


def test_a_dry_run_misses_no_refusal_of_the_run(
    tmp_path: Path, pages: MlflowPages
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(GATED)
    approved = [{"key": "approved", "value": "yes"}]
    pages.model("fraud", "Staging", aliases={"latest": 1, "champion": 2})
    pages.version("fraud", 2, current_stage="Staging", tags=approved)
    pages.version("fraud", 3, current_stage="Production", tags=approved)
    pages.version("fraud", 4, tags=[{"key": "k" * 300, "value": "v"}])
    for name, source in (
        ("http", "https://models.example/m"),
        ("absent", (tmp_path / "data" / "artifacts" / "absent").as_uri()),
        ("local", "file:///etc/model"),
        ("copy", "models:/nothing/1"),
        ("password", "s3://key:hidden-1@bucket/m"),
    ):
        pages.model(name)
        pages.version(name, 1, source=source)

    with registry_in(tmp_path, POLICY_FILE=str(policy)) as here:
        report = here.imported(pages.fake.url, code=REFUSED)

    refused = {(one["model"], one["version"]) for one in report["refused"]}
    assert refused == {
        *(("fraud", number) for number in (1, 3, 4)),
        *((name, 1) for name in ("http", "absent", "local", "copy", "password")),
    }


def test_a_copy_of_what_the_same_run_brings_is_foretold(
    here: Here, pages: MlflowPages
) -> None:
    """Base comes first in the alphabet, and is here when its copy comes; or not."""
    pages.model("a")
    pages.version("a", 1, source="models:/base/1")
    copy_behind_a_proxy(pages, "prod")

    report = here.imported(pages.fake.url, code=REFUSED)

    assert [one["model"] for one in report["refused"]] == ["a"]
    assert here.versions("prod")[1].source == "models:/base/1"


@pytest.mark.parametrize("role", ["viewer", "writer"])
def test_a_dry_run_needs_the_role_that_the_run_needs(
    here: Here, pages: MlflowPages, role: str
) -> None:
    pages.model("fraud", "Staging")
    with here.client() as client:
        token = client.tokens.create("somebody", role).token
    assert token is not None
    command = ("import", "mlflow", "--from", pages.fake.url)

    foretold = here.run(*command, "--dry-run", token=token)
    done = here.run(*command, token=token)

    assert (foretold.exit_code, done.exit_code) == (NOT_ALLOWED, NOT_ALLOWED)


def test_changes_at_the_source_follow_later(here: Here, pages: MlflowPages) -> None:
    pages.model("fraud", "Archived", "Production", "Staging")
    here.imported(pages.fake.url)
    pages.versions[1]["current_stage"] = "Archived"
    pages.versions[2]["current_stage"] = "Production"
    pages.version("fraud", 5)
    pages.models[0]["tags"].append({"key": "owner", "value": "ann"})

    report = here.imported(pages.fake.url)

    assert here.stages("fraud") == {
        1: "Archived",
        2: "Archived",
        3: "Production",
        5: "None",
    }
    with here.client() as client:
        assert client.get_model("fraud").tags["owner"] == "ann"
    assert report["stage_changes"] == 1  # 2 was superseded


def test_people_get_a_table_and_what_should_be_known(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("fraud", "Production", "Production")

    trial = here.run("import", "mlflow", "--from", pages.fake.url, "--dry-run")
    done = here.run("import", "mlflow", "--from", pages.fake.url)

    assert "7 changes would be made; nothing was changed." in trial.stdout
    assert "7 changes were made." in done.stdout
    assert "note  fraud  1        Production holds one version here: 2" in done.stdout
    assert trial.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]


def test_what_was_promoted_here_is_not_moved_aside(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("fraud", "Staging")
    here.imported(pages.fake.url)
    assert here.run("promote", "fraud", "1", "--to", "Production").exit_code == 0
    pages.version("fraud", 2, current_stage="Production")

    report = here.imported(pages.fake.url, code=CONFLICT)

    assert here.stages("fraud") == {1: "Production", 2: "None"}
    assert report["versions_registered"] == 1
    assert "version 1 was put into Production here" in {
        one["reason"] for one in report["conflicts"]
    }


def test_a_number_that_was_deleted_here_is_not_given_again(
    here: Here, pages: MlflowPages
) -> None:
    """The audit log knows of it, though no version has it."""
    pages.model("fraud", "None", "None")
    here.imported(pages.fake.url)
    with here.client() as client:
        client.delete_version("fraud", 2)
    pages.version("fraud", 3)

    report = here.imported(pages.fake.url, code=CONFLICT)

    assert sorted(here.stages("fraud")) == [1, 3]
    assert [(one["version"], one["reason"]) for one in report["conflicts"]] == [
        (2, "number 2 was given here before and is free no more")
    ]


def test_a_model_that_was_deleted_here_comes_anew_with_its_numbers(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("fraud", None, "None")
    here.imported(pages.fake.url)
    with here.client() as client:
        client.delete_model("fraud")
        client.create_model("fraud")

    here.imported(pages.fake.url, code=0)

    assert sorted(here.stages("fraud")) == [2]


def test_sources_that_are_refused_are_told_for_each_version(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("fraud", "None")
    pages.version("fraud", 2, source="https://models.example/fraud")
    pages.version("fraud", 3, source="/mlruns/1/fraud")
    pages.version("fraud", 4, current_stage="Staging")

    waiting = here.imported(pages.fake.url, code=REFUSED)
    skipped = here.imported(pages.fake.url, "--skip-refused", code=REFUSED)

    assert [one["version"] for one in waiting["refused"]] == [2, 3, 4]
    assert [one["version"] for one in skipped["refused"]] == [2, 3]
    assert here.stages("fraud") == {1: "None", 4: "Staging"}
    table = here.run("import", "mlflow", "--from", pages.fake.url)
    assert table.exit_code == CONFLICT
    assert "conflict  fraud  2" in table.stdout


def test_a_model_whose_name_is_refused_does_not_keep_the_others_out(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("a\tb", "None")
    pages.model("fraud", "None")
    pages.model("nai\u0308ve", "None")
    pages.model("na\u00efve", "None")

    report = here.imported(pages.fake.url, code=CONFLICT)

    assert [one["model"] for one in report["refused"]] == ["a\tb"]
    assert [one["model"] for one in report["conflicts"]] == ["na\u00efve"]
    with here.client() as client:
        assert {one.name for one in client.models()} == {"fraud", "na\u00efve"}
    assert here.versions("na\u00efve")[1].source == "gs://models/na\u00efve/1"


def test_only_models_of_the_given_names_come(here: Here, pages: MlflowPages) -> None:
    for name in ("fraud-eu", "fraud-us", "churn", "other"):
        pages.model(name, "None")

    report = here.imported(pages.fake.url, "--model", "fraud-*", "--model", "churn")

    assert report["models"] == 3
    with here.client() as client:
        assert {one.name for one in client.models()} == {
            "fraud-eu",
            "fraud-us",
            "churn",
        }


@pytest.mark.parametrize(
    "change",
    [2, 4, 10, 13, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 5, 8, 12))],
)
def test_a_run_that_is_killed_at_a_change_is_continued(
    here: Here, pages: MlflowPages, change: int
) -> None:
    """Create, version 1, placeholder and its end, 3 and 4, eight moves, an alias."""
    pages.model(
        "fraud", "Archived", None, "Production", "Production", aliases={"best": 4}
    )

    here.import_killed_at(change, pages.fake.url)
    here.imported(pages.fake.url)

    assert here.stages("fraud") == {1: "Archived", 3: "Archived", 4: "Production"}
    with here.client() as client:
        assert client.get_model("fraud").aliases == {"best": 4}
        assert [one.cause for one in client.history("fraud")].count("superseded") == 1
    assert here.imported(pages.fake.url)["changes"] == 0


def test_an_artifact_behind_a_logged_model_is_registered_where_it_lies(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("fraud")
    pages.version("fraud", 1, source="models:/m-4", current_stage="Production")
    pages.addresses["fraud", "1"] = "gs://bytes/fraud"

    here.imported(pages.fake.url)

    version = here.versions("fraud")[1]
    assert version.source == "gs://bytes/fraud"
    assert version.raw["logged_model_id"] == "m-4"
    assert version.tags["stagegate.import.source"] == "models:/m-4"
    assert here.imported(pages.fake.url)["changes"] == 0


def copy_behind_a_proxy(pages: MlflowPages, name: str) -> None:
    """A copy of ``base`` 1 in artifacts that only the old server hands out."""
    pages.model("base")
    pages.version("base", 1, source="mlflow-artifacts:/1/run-1/artifacts/model")
    pages.model(name)
    pages.version(name, 1, source="models:/base/1")
    pages.addresses[name, "1"] = "mlflow-artifacts:/1/run-1/artifacts/model"


def test_a_copy_is_not_taken_for_one_of_another_model_of_that_name_here(
    here: Here, pages: MlflowPages
) -> None:
    copy_behind_a_proxy(pages, "prod")
    with here.client() as client:
        client.create_model("base")
        client.begin_version("base", "gs://elsewhere/base", run_id="run-1")

    report = here.imported(pages.fake.url, code=CONFLICT)

    assert here.stages("prod") == {}
    ((refused),) = report["refused"]
    assert (refused["model"], refused["version"]) == ("prod", 1)
    assert "is not the one at" in refused["reason"]


@pytest.mark.parametrize("name", ["a-copy", "prod"])
def test_a_copy_comes_when_what_it_is_a_copy_of_is_here(
    here: Here, pages: MlflowPages, name: str
) -> None:
    copy_behind_a_proxy(pages, name)

    alone = here.imported(
        *(pages.fake.url, "--model", name, "--skip-refused"), code=REFUSED
    )
    assert "which is not here yet" in alone["refused"][0]["reason"]
    here.imported(pages.fake.url, "--model", "base")
    here.imported(pages.fake.url)

    assert here.versions(name)[1].source == "models:/base/1"
    assert here.imported(pages.fake.url)["changes"] == 0


def test_a_version_whose_place_is_not_told_for_now_comes_later(
    here: Here, pages: MlflowPages
) -> None:
    """Registered meanwhile by its source, it would never be pinned."""
    pages.model("fraud")
    pages.version("fraud", 1, source="models:/m-4")
    pages.addresses["fraud", "1"] = "gs://bytes/fraud"
    pages.no_address = error_answer(503, "TEMPORARILY_UNAVAILABLE", "later")

    waiting = here.imported(pages.fake.url, "--skip-refused", code=REFUSED)
    pages.no_address = None
    here.imported(pages.fake.url)

    assert "503: later" in waiting["refused"][0]["reason"]
    assert here.versions("fraud")[1].source == "gs://bytes/fraud"


def test_a_placeholder_that_a_killed_run_left_is_deleted(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("fraud", None, "None")
    with here.client() as client:
        client.create_model("fraud")
        client.begin_version("fraud", tags={PLACEHOLDER_TAG: pages.fake.url})

    here.imported(pages.fake.url)

    assert sorted(here.stages("fraud")) == [2]


def test_the_open_policy_takes_several_versions_in_production(
    tmp_path: Path, pages: MlflowPages
) -> None:
    pages.model("fraud", "Production", "Production", "Archived")
    with registry_in(tmp_path, POLICY_FILE=str(CONFIG / "policy-open.toml")) as here:
        report = here.imported(pages.fake.url)

        assert here.stages("fraud") == {
            1: "Production",
            2: "Production",
            3: "Archived",
        }
    assert report["stage_changes"] == 3
    assert report["notes"] == []


def test_a_gate_is_told_and_the_rest_goes_on(
    tmp_path: Path, pages: MlflowPages
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        (CONFIG / "policy.toml")
        .read_text("utf-8")
        .replace(
            'to = "Production"\nvia = "promotion"',
            'to = "Production"\nvia = "promotion"\nrequired_tags = ["approved"]',
        ),
        encoding="utf-8",
    )
    pages.model("churn", "Production")
    pages.model("fraud")
    pages.version(
        "fraud",
        1,
        current_stage="Production",
        tags=[{"key": "approved", "value": "by ann"}],
    )

    with registry_in(tmp_path, POLICY_FILE=str(policy)) as here:
        report = here.imported(pages.fake.url, code=REFUSED)

        assert here.stages("churn") == {1: "Staging"}
        assert here.stages("fraud") == {1: "Production"}
    ((refused),) = report["refused"]
    assert "tag 'approved' is missing" in refused["reason"]


def test_a_token_that_may_not_promote_ends_the_run_with_what_was_done(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("churn", "None")
    pages.model("fraud", "Staging")
    with here.client() as client:
        writer = client.tokens.create("w", "writer").token

    done = here.run(
        *("import", "mlflow", "--from", pages.fake.url, "-o", "json"),
        token=str(writer),
    )

    assert done.exit_code == NOT_ALLOWED
    report = json.loads(done.stdout)
    assert report["versions_registered"] == 2
    assert report["stage_changes"] == 0


def test_a_source_that_is_gone_is_no_empty_source(here: Here) -> None:
    with FakeRegistry() as gone:
        url = gone.url

    done = here.run("import", "mlflow", "--from", url)

    assert done.exit_code == UNREACHABLE
    assert url in done.stderr


def test_a_database_as_source_is_a_usage_error(here: Here) -> None:
    done = here.run("import", "mlflow", "--from", "sqlite:///mlflow.db")

    assert done.exit_code == 2
    assert "mlflow server --backend-store-uri" in done.stderr


def test_a_model_that_the_source_cannot_show_does_not_keep_the_others_out(
    here: Here, pages: MlflowPages
) -> None:
    pages.model("churn", "None")
    pages.model("fraud", "None")
    pages.broken = "churn"

    report = here.imported(pages.fake.url, code=REFUSED)

    assert [(one["model"], one["version"]) for one in report["refused"]] == [
        ("churn", None)
    ]
    assert here.stages("fraud") == {1: "None"}


def test_a_registry_that_is_gone_ends_the_run(app: Flask, pages: MlflowPages) -> None:
    pages.model("fraud", "None")
    with FakeRegistry() as gone:
        nobody = Here(gone.url, app)

    done = nobody.run("import", "mlflow", "--from", pages.fake.url)

    assert done.exit_code == UNREACHABLE
    assert nobody.url in done.stderr
