"""Commands about CI jobs that are trusted."""

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.pages import page
from tests.unit.fake_registry import FakeRegistry

MADE = {"id": "p1", "name": "training", "role": "promoter", "models": "fraud-*"}
OF_ALL = ("--role", "promoter", "--models", "fraud-*")


@pytest.mark.parametrize(
    ("arguments", "provider", "claims", "issuer"),
    [
        (
            (
                *("add-github", "training", "--repository", "acme/fraud"),
                *("--owner-id", "7", "--workflow", "train.yml"),
                *("--environment", "registry"),
            ),
            "github",
            {
                "repository": "acme/fraud",
                "repository_owner_id": "7",
                "workflow": "train.yml",
                "environment": "registry",
            },
            None,
        ),
        (
            (
                *("add-gitlab", "training", "--project-id", "20"),
                *("--namespace-id", "72", "--config", ".gitlab-ci.yml"),
                *("--ref", "refs/heads/main", "--issuer", "https://git.example.com"),
            ),
            "gitlab",
            {
                "project_id": "20",
                "namespace_id": "72",
                "config": ".gitlab-ci.yml",
                "ref": "refs/heads/main",
            },
            "https://git.example.com",
        ),
        (
            (
                *("add-kubernetes", "training", "--namespace", "ml"),
                *("--service-account", "train", "--issuer", "https://c.example.com"),
            ),
            "kubernetes",
            {"namespace": "ml", "service_account": "train"},
            "https://c.example.com",
        ),
    ],
)
def test_publisher_of_each_platform_is_added(
    fake: FakeRegistry,
    run: Run,
    *,
    arguments: tuple[str, ...],
    provider: str,
    claims: dict[str, str],
    issuer: str | None,
) -> None:
    fake.json("POST", "/trusted-publishers", MADE)

    added = run("publishers", *arguments, *OF_ALL)

    assert added.stdout == "Trusted training as promoter of fraud-* (p1).\n"
    assert fake.asked[0].json == {
        "provider": provider,
        "name": "training",
        "claims": claims,
        "role": "promoter",
        "models": "fraud-*",
        **({"issuer": issuer} if issuer else {}),
    }


def test_job_is_given_no_more_than_promoter(run: Run) -> None:
    said = ("training", "--project-id", "20", "--role", "admin")

    assert run("publishers", "add-gitlab", *said).exit_code == 2


def test_publishers_are_listed_and_removed(fake: FakeRegistry, run: Run) -> None:
    claims = {"project_id": "20"}
    fake.json("GET", "/trusted-publishers", page({**MADE, "claims": claims}))
    fake.json("DELETE", "/trusted-publishers/p1", {})

    assert "training" in run("publishers", "list").stdout.splitlines()[1]
    assert run("publishers", "remove", "p1").exit_code == 2
    removed = run("publishers", "remove", "p1", "--yes")
    assert removed.stdout == "Removed publisher p1.\n"


def test_outside_of_ci_there_is_no_token_to_exchange(
    fake: FakeRegistry, run: Run
) -> None:
    refused = run("ci-token")

    assert refused.exit_code == 6
    assert "id-token: write" in refused.stderr
    assert fake.asked == []
