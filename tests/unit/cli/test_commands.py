"""Commands about models and versions."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.pages import page
from tests.unit.fake_registry import (
    Answer,
    FakeRegistry,
    model_document,
    version_document,
)


def test_models_are_listed(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/models", page(model_document("a"), model_document("b")))

    assert "Production=2" in run("models", "list").stdout.splitlines()[1]
    assert len(run("models", "list", "--limit", "1").stdout.splitlines()) == 2
    shown = json.loads(run("models", "list", "-o", "json").stdout)
    assert shown == {"items": [model_document("a"), model_document("b")]}


def test_a_model_is_created_with_its_tags(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", "/models", model_document())

    result = run("models", "create", "fraud", "--description", "d", "--tag", "a=b=c")

    assert result.stdout == "Created model fraud.\n"
    assert fake.asked[0].json == {
        "name": "fraud",
        "description": "d",
        "tags": {"a": "b=c"},
    }


@pytest.mark.parametrize("tags", [["a"], ["=b"], ["a=1", "a=2"]])
def test_a_tag_that_is_none_is_a_usage_error(
    fake: FakeRegistry, run: Run, tags: list[str]
) -> None:
    options = [part for tag in tags for part in ("--tag", tag)]

    assert run("models", "create", "fraud", *options).exit_code == 2
    assert fake.asked == []


def test_a_model_is_shown(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/models/fraud", model_document(description="spots fraud"))

    assert "spots fraud" in run("models", "show", "fraud").stdout


@pytest.mark.parametrize(
    ("arguments", "path", "said"),
    [
        (["models", "delete", "fraud"], "/models/fraud", "Deleted model fraud."),
        (["webhooks", "delete", "w1"], "/webhooks/w1", "Deleted webhook w1."),
        (["tokens", "revoke", "t1"], "/tokens/t1", "Revoked token t1."),
    ],
)
def test_what_cannot_be_undone_is_confirmed(
    fake: FakeRegistry,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    *,
    arguments: list[str],
    path: str,
    said: str,
) -> None:
    fake.json("DELETE", path, {})

    unconfirmed = run(*arguments)
    confirmed = run(*arguments, "--yes")

    assert unconfirmed.exit_code == 2
    assert "--yes" in unconfirmed.stderr
    assert confirmed.stdout.strip() == said
    assert len(fake.asked) == 1

    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("registry.cli.client_command.sys", terminal)
    monkeypatch.setattr("click.confirm", lambda *_args, **_options: False)
    assert run(*arguments).exit_code == 1
    monkeypatch.setattr("click.confirm", lambda *_args, **_options: True)
    assert run(*arguments).exit_code == 0
    assert len(fake.asked) == 2


def test_versions_are_listed(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/models/fraud/versions", page(version_document()))

    result = run("versions", "list", "fraud", "--stage", "None", "--limit", "3")

    assert "READY" in result.stdout
    assert fake.asked[0].query["stage"] == "None"


@pytest.mark.parametrize("selector", [[], ["2", "--stage", "Production"]])
def test_a_version_is_selected_in_one_way(run: Run, selector: list[str]) -> None:
    result = run("versions", "show", "fraud", *selector)

    assert result.exit_code == 2
    assert "exactly one of" in result.stderr


@pytest.mark.parametrize("sha256", [None, hashlib.sha256(b"abc").hexdigest()])
def test_an_artifact_is_downloaded(
    fake: FakeRegistry,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    sha256: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = {"path": "m.bin", "size_bytes": 3, "sha256": sha256}
    fake.json("GET", "/models/fraud/stages/Production", version_document(2))
    fake.json("GET", "/models/fraud/versions/2/artifacts", page(file))
    fake.on(
        "GET",
        "/api/v1/models/fraud/versions/2/artifacts/m.bin",
        lambda _: Answer(200, b"abc"),
    )

    result = run("versions", "download", "fraud", "--stage", "Production")
    elsewhere = run(
        "versions", "download", "fraud", "--stage", "Production",
        "--to", "there", "--file", "m.bin",
    )  # fmt: skip

    assert (tmp_path / "fraud-2" / "m.bin").read_bytes() == b"abc"
    assert (tmp_path / "there" / "m.bin").read_bytes() == b"abc"
    assert "1 file(s) of fraud version 2" in result.stdout
    assert "to there." in elsewhere.stdout
    assert ("no digest" in result.stderr) is (sha256 is None)


def test_a_directory_is_to_be_named_for_a_model_with_a_long_name(
    fake: FakeRegistry, run: Run, tmp_path: Path
) -> None:
    file = {"path": "m.bin", "size_bytes": 3, "sha256": None}
    model = "m" * 254
    fake.json("GET", f"/models/{model}/versions/1", version_document(model=model))
    fake.json("GET", f"/models/{model}/versions/1/artifacts", page(file))
    path = f"/api/v1/models/{model}/versions/1/artifacts/m.bin"
    fake.on("GET", path, lambda _: Answer(200, b"abc"))

    without = run("versions", "download", model, "1")
    named = run("versions", "download", model, "1", "--to", str(tmp_path / "to"))

    assert (without.exit_code, named.exit_code) == (2, 0)
    assert "--to" in without.stderr


def test_a_version_is_registered_with_everything_known_of_it(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", "/models/fraud/versions", version_document())

    result = run(
        "register", "fraud", "s3://models/fraud/1", "--run-id", "r1",
        "--tag", "team=risk", "--metric", "auc=0.93", "--param", "depth=3",
        "--git-commit", "abc123", "--dataset", "digits", "--dataset", "more",
        "--description", "first",
    )  # fmt: skip

    assert result.exit_code == 0
    assert result.stdout.startswith("Registered fraud version 1 (sha256:")
    assert fake.asked[0].json == {
        "source": "s3://models/fraud/1",
        "run_id": "r1",
        "tags": {"team": "risk"},
        "metrics": {"auc": 0.93},
        "params": {"depth": "3"},
        "git_commit": "abc123",
        "datasets": [{"name": "digits"}, {"name": "more"}],
        "description": "first",
    }


def test_registering_creates_a_model_that_does_not_exist(
    fake: FakeRegistry, run: Run
) -> None:
    fake.problem("POST", "/models/fraud/versions", "not-found", status=404)
    fake.json("POST", "/models/fraud/versions", version_document())
    fake.problem("GET", "/models/fraud", "not-found", status=404)
    fake.json("POST", "/models", model_document())

    assert run("register", "fraud", "s3://models/fraud/1").exit_code == 0
    assert len(fake.asked_for("POST", "/models")) == 1


@pytest.mark.parametrize(
    ("slug", "options"), [("not-found", ["--no-create"]), ("artifact-not-found", [])]
)
def test_registering_creates_no_model_when_it_should_not(
    fake: FakeRegistry, run: Run, slug: str, options: list[str]
) -> None:
    fake.problem("POST", "/models/fraud/versions", slug, status=404)

    assert run("register", "fraud", "s3://m/1", *options).exit_code == 5
    assert len(fake.asked) == 1


def test_hidden_files_are_named_once_before_they_are_uploaded(
    fake: FakeRegistry, run: Run, tmp_path: Path
) -> None:
    for number in range(24):
        (tmp_path / f".hidden-{number:02}").write_bytes(b"")
    fake.json("POST", "/uploads/check", {})
    fake.problem("POST", "/models/fraud/versions", "not-found", status=404)
    fake.problem("POST", "/models/fraud/versions", "forbidden", status=403)
    fake.json("GET", "/models/fraud", model_document())

    result = run("register", "fraud", str(tmp_path))

    (warning,) = [one for one in result.stderr.splitlines() if "hidden" in one]
    assert warning.startswith("Warning: hidden files are uploaded as well: .hidden-00,")
    assert warning.endswith(".hidden-19 and 4 more")
    assert result.exit_code == 6


def test_a_link_that_leads_out_is_refused_and_can_be_followed(
    fake: FakeRegistry, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    fake.problem("POST", "/uploads/check", "invalid", status=422)

    refused = run("register", "fraud", str(tmp_path))
    assert fake.asked == []
    run("register", "fraud", str(tmp_path), "--follow-links")

    assert refused.exit_code == 2
    assert "/etc/passwd, outside of" in refused.stderr
    assert "--follow-links" in refused.stderr
    assert fake.asked[0].json == {"paths": ["passwd"]}


@pytest.mark.parametrize("metric", ["auc=high", "auc=nan", "auc=inf"])
def test_a_metric_is_a_number(fake: FakeRegistry, run: Run, metric: str) -> None:
    result = run("register", "fraud", "s3://models/1", "--metric", metric)

    assert result.exit_code == 2
    assert "is not a number" in result.stderr
    assert fake.asked == []


def test_a_path_that_does_not_exist_is_a_usage_error(
    fake: FakeRegistry, run: Run
) -> None:
    result = run("register", "fraud", "absent/model")

    assert result.exit_code == 2
    assert "absent/model does not exist" in result.stderr
    assert fake.asked == []


def test_an_artifact_is_verified_again(fake: FakeRegistry, run: Run) -> None:
    path = "/models/fraud/versions/1/verify"
    fake.json("POST", path, version_document())

    result = run("versions", "verify", "fraud", "1")

    said = "The artifact of fraud version 1 is as it was registered.\n"
    assert result.stdout == said
    assert [asked.path for asked in fake.asked] == [f"/api/v1{path}"]
