"""A command in a CI job that has no token, and what its platform signs for it."""

import json
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest
from click.testing import Result

from registry.cli.ci_job import job_token
from registry.client import RegistryClient
from registry.client.ci_jobs import RENEW_AFTER_SECONDS
from registry.errors import NotSignedInError
from tests.unit.cli.conftest import Run
from tests.unit.fake_registry import Answer, Asked, FakeRegistry, json_answer

EXCHANGE = "/api/v1/oidc/exchange"
GIVEN = {"publisher": "fraud-ci", "expires_at": "2030-01-01T00:15:00Z"}
Environment = Mapping[str, str | None]


@pytest.fixture
def github() -> Iterator[FakeRegistry]:
    """Where GitHub's runner asks for a job's token: each time it is another one."""
    numbers = count(1)
    with FakeRegistry() as running:
        running.on(
            "GET",
            "/token",
            lambda _: json_answer({"value": f"job-jwt-{next(numbers)}"}),
        )
        yield running


def in_github(github: FakeRegistry) -> dict[str, str | None]:
    return {
        "STAGEGATE_TOKEN": None,
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{github.url}/token?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-runner",
    }


def in_gitlab(token: str = "job-jwt") -> dict[str, str | None]:  # noqa: S107  # not one
    return {"STAGEGATE_TOKEN": None, "STAGEGATE_ID_TOKEN": token}


def exchanging(fake: FakeRegistry) -> None:
    """Let the registry give a token for each one that it is shown."""
    fake.on("POST", EXCHANGE, _exchange)
    fake.json("GET", "/models", {"items": []})


def _exchange(asked: Asked) -> Answer:
    return json_answer({"token": f"sg_ci_for_{asked.json['token']}", **GIVEN})


def signed(fake: FakeRegistry) -> list[str | None]:
    """How each request was signed, in their order."""
    return [asked.headers.get("Authorization") for asked in fake.asked]


def test_a_job_of_github_actions_needs_no_token(
    fake: FakeRegistry, github: FakeRegistry, run: Run
) -> None:
    exchanging(fake)

    result = run("models", "list", env=in_github(github))

    assert result.exit_code == 0, result.stderr
    assert signed(fake) == [None, "Bearer sg_ci_for_job-jwt-1"]
    (asked,) = github.asked
    assert asked.headers["Authorization"] == "Bearer of-the-runner"
    assert asked.query == {"api-version": "2.0", "audience": fake.url}


@pytest.mark.parametrize("ending", ["", "/", "/api/v1", "/api/v1/"])
def test_the_audience_is_the_address_however_it_is_written(
    fake: FakeRegistry, github: FakeRegistry, run: Run, ending: str
) -> None:
    exchanging(fake)

    run("models", "list", "--url", fake.url + ending, env=in_github(github))

    assert github.asked[0].query["audience"] == fake.url


def test_another_audience_is_a_setting_of_the_job_and_never_the_servers_word(
    fake: FakeRegistry, github: FakeRegistry, run: Run
) -> None:
    exchanging(fake)
    audience = {"STAGEGATE_OIDC_AUDIENCE": "https://ml.example"}

    run("models", "list", env={**in_github(github), **audience})

    assert github.asked[0].query["audience"] == "https://ml.example"


def test_a_token_of_gitlab_is_exchanged(fake: FakeRegistry, run: Run) -> None:
    exchanging(fake)

    result = run("models", "list", env=in_gitlab())

    assert result.exit_code == 0, result.stderr
    assert signed(fake) == [None, "Bearer sg_ci_for_job-jwt"]
    assert "Idempotency-Key" not in fake.asked[0].headers


def test_a_projected_token_of_kubernetes_is_read_from_its_file(
    fake: FakeRegistry, run: Run, tmp_path: Path
) -> None:
    exchanging(fake)
    (tmp_path / "token").write_text("projected-jwt\n")
    file = {"STAGEGATE_ID_TOKEN_FILE": str(tmp_path / "token")}

    run("models", "list", env={"STAGEGATE_TOKEN": None, **file})

    assert signed(fake)[-1] == "Bearer sg_ci_for_projected-jwt"


def test_what_a_job_names_itself_comes_before_what_github_offers(
    fake: FakeRegistry, github: FakeRegistry, run: Run
) -> None:
    exchanging(fake)

    run("models", "list", env={**in_github(github), **in_gitlab()})

    assert signed(fake)[-1] == "Bearer sg_ci_for_job-jwt"
    assert github.asked == []


@pytest.mark.parametrize("by", ["environment", "option"])
def test_a_token_that_is_given_is_used_as_it_is(
    fake: FakeRegistry, github: FakeRegistry, run: Run, by: str
) -> None:
    exchanging(fake)
    environment = {**in_github(github), "STAGEGATE_ID_TOKEN": "job-jwt"}
    given = {"STAGEGATE_TOKEN": "sg_pat_given"} if by == "environment" else {}
    option = () if given else ("--token", "sg_pat_given")

    run("models", "list", *option, env={**environment, **given})

    assert signed(fake) == ["Bearer sg_pat_given"]
    assert github.asked == []


def test_a_refused_exchange_ends_with_6_and_says_why(
    fake: FakeRegistry, run: Run
) -> None:
    fake.problem(
        "POST", "/oidc/exchange", "unauthenticated",
        status=401, detail="fraud-ci: another environment",
    )  # fmt: skip

    result = run("models", "list", env=in_gitlab())

    assert result.exit_code == 6
    assert result.stderr.startswith("Error: fraud-ci: another environment")
    assert "job-jwt" not in result.output
    assert len(fake.asked) == 1, "the command goes no further"


def test_a_refused_exchange_is_not_tried_again(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", "/oidc/exchange", {}, status=503)

    result = run("models", "list", env=in_gitlab())

    assert result.exit_code not in {0, 6}
    assert len(fake.asked) == 1, "a second time would be a replay"


def test_a_registry_that_exchanges_none_is_an_error_for_who_named_a_token(
    fake: FakeRegistry, run: Run
) -> None:
    fake.problem("POST", "/oidc/exchange", "not-found", status=404)

    result = run("models", "list", env=in_gitlab())

    assert result.exit_code == 6
    assert "exchanges no tokens of CI jobs" in result.stderr


def test_a_registry_that_exchanges_none_is_asked_without_in_github_actions(
    fake: FakeRegistry, github: FakeRegistry, run: Run
) -> None:
    fake.problem("POST", "/oidc/exchange", "not-found", status=404)
    fake.json("GET", "/models", {"items": []})

    result = run("models", "list", env=in_github(github))

    assert result.exit_code == 0
    assert signed(fake) == [None, None]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, b'{"value": "job-jwt"}', {"Content-Type": "application/json"}),
        Answer(302, b"", {"Location": "http://127.0.0.1:1/"}),
        json_answer({}),
        json_answer({"value": ""}),
        json_answer({"value": 7}),
    ],
    ids=["forbidden", "elsewhere", "nothing", "empty", "number"],
)
def test_github_giving_no_token_ends_with_6(
    fake: FakeRegistry, run: Run, answer: Answer
) -> None:
    with FakeRegistry() as github:
        github.on("GET", "/token", lambda _: answer)

        result = run("models", "list", env=in_github(github))

    assert result.exit_code == 6
    assert "GitHub Actions gave this job no token" in result.stderr
    assert fake.asked == []


def test_no_answer_of_github_ends_with_8(
    run: Run, github: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "registry.client.connection.BoundedRetry.sleep", lambda *_: None
    )
    gone = {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:1/token"}

    result = run("models", "list", env={**in_github(github), **gone})

    assert result.exit_code == 8
    assert "No usable answer from GitHub Actions" in result.stderr
    assert "of-the-runner" not in result.output


def test_a_command_that_takes_long_gets_a_new_token_in_time(
    fake: FakeRegistry, github: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanging(fake)
    now = 0.0
    monkeypatch.setattr("registry.client.ci_jobs.time.monotonic", lambda: now + 1)
    environment = {name: text for name, text in in_github(github).items() if text}
    with RegistryClient(fake.url, job_token(environment, fake.url)) as client:
        list(client.models())
        list(client.models())
        now = RENEW_AFTER_SECONDS + 1
        list(client.models())

    first, second = "Bearer sg_ci_for_job-jwt-1", "Bearer sg_ci_for_job-jwt-2"
    assert signed(fake) == [None, first, first, None, second]


def test_a_token_that_stays_the_same_is_exchanged_once(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanging(fake)
    now = 1.0
    monkeypatch.setattr("registry.client.ci_jobs.time.monotonic", lambda: now)
    job = job_token({"STAGEGATE_ID_TOKEN": "job-jwt"}, fake.url)
    with RegistryClient(fake.url, job) as client:
        list(client.models())
        now = RENEW_AFTER_SECONDS + 2
        list(client.models())

    assert [asked.path for asked in fake.asked].count(EXCHANGE) == 1
    assert signed(fake)[-1] == "Bearer sg_ci_for_job-jwt"


def test_a_registrys_odd_token_is_sent_nowhere(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", "/oidc/exchange", {"token": "sg_ci_\r\nHost: evil"})

    result = run("models", "list", env=in_gitlab())

    assert result.exit_code == 2
    assert len(fake.asked) == 1


def test_a_job_of_several_commands_exchanges_once_for_all(
    fake: FakeRegistry, run: Run
) -> None:
    exchanging(fake)

    result = run("tokens", "exchange", env=in_gitlab())

    assert result.stdout == "sg_ci_for_job-jwt\n"
    assert result.stderr == "For fraud-ci, until 2030-01-01T00:15:00Z.\n"
    document = run("tokens", "exchange", "-o", "json", env=in_gitlab())
    assert json.loads(document.stdout) == {"token": "sg_ci_for_job-jwt", **GIVEN}


def test_exchanging_outside_of_a_job_ends_with_6(fake: FakeRegistry, run: Run) -> None:
    def refused(result: Result) -> bool:
        return result.exit_code == 6 and result.stdout == ""

    assert refused(run("tokens", "exchange", env={"STAGEGATE_TOKEN": None}))
    assert refused(
        run("tokens", "exchange", env={**in_gitlab(), "STAGEGATE_TOKEN": "t"})
    )
    assert fake.asked == []


def test_exchanging_where_the_registry_exchanges_none_ends_with_6(
    fake: FakeRegistry, github: FakeRegistry, run: Run
) -> None:
    fake.problem("POST", "/oidc/exchange", "not-found", status=404)

    result = run("tokens", "exchange", env=in_github(github))

    assert result.exit_code == 6
    assert result.stdout == ""


def test_outside_of_ci_nothing_is_asked_for() -> None:
    half = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://github.example"}

    assert job_token({}, "http://127.0.0.1:1") is None
    assert job_token(half, "http://127.0.0.1:1") is None


def test_an_address_that_is_none_is_refused_as_ever(
    github: FakeRegistry, run: Run
) -> None:
    result = run("models", "list", "--url", "ftp://ml.example", env=in_github(github))

    assert result.exit_code == 2
    assert github.asked == []


def test_a_function_gives_a_client_its_token(fake: FakeRegistry) -> None:
    fake.json("GET", "/models", {"items": []})

    def refuse() -> str:
        raise NotSignedInError("no")

    with (
        RegistryClient(fake.url, refuse) as client,
        pytest.raises(NotSignedInError, match="no"),
    ):
        list(client.models())
    assert fake.asked == []
