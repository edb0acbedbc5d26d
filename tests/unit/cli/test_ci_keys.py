"""Idempotency keys from the environment of a CI job."""

import pytest

from registry.cli.ci_keys import ci_idempotency_key

GITHUB = {"GITHUB_RUN_ID": "1", "GITHUB_JOB": "deploy"}
GITLAB = {"CI_PIPELINE_ID": "1", "CI_JOB_NAME": "deploy"}
JENKINS = {"BUILD_TAG": "jenkins-fraud-1"}
REQUEST = ("promote", "fraud", 7, "Production")


@pytest.mark.parametrize(
    ("environ", "system"),
    [(GITHUB, "github"), (GITLAB, "gitlab"), (JENKINS, "jenkins")],
)
def test_each_ci_system_gives_a_key(environ: dict[str, str], system: str) -> None:
    key = ci_idempotency_key(environ, *REQUEST)

    assert key is not None
    assert key.startswith(f"{system}-")
    assert len(key) <= 255


@pytest.mark.parametrize("environ", [{}, {"GITHUB_RUN_ID": "1"}, {"CI": "true"}])
def test_outside_of_a_job_there_is_no_key(environ: dict[str, str]) -> None:
    assert ci_idempotency_key(environ, *REQUEST) is None


def test_another_attempt_has_the_same_key() -> None:
    first = {**GITHUB, "GITHUB_RUN_ATTEMPT": "1"}
    second = {**GITHUB, "GITHUB_RUN_ATTEMPT": "2"}

    assert ci_idempotency_key(first, *REQUEST) == ci_idempotency_key(second, *REQUEST)


def test_everything_else_makes_another_key() -> None:
    keys = {
        ci_idempotency_key(environ, *request)
        for environ in (
            GITHUB,
            {**GITHUB, "GITHUB_RUN_ID": "2"},
            {**GITHUB, "GITHUB_JOB": "other"},
            {**GITHUB, "GITHUB_REPOSITORY": "alice/fraud"},
        )
        for request in (REQUEST, ("promote", "fraud", 8, "Production"))
    }

    assert len(keys) == 8
