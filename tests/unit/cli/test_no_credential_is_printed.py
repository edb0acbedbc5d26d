"""Credentials in addresses are never printed, whoever put them there."""

import json
import traceback

import pytest
from click.testing import CliRunner, Result

from registry.cli.main import stagegate
from registry.errors import ConfigurationError, RegistryError
from registry.settings import Settings
from tests.unit.cli.conftest import Run
from tests.unit.fake_registry import Answer, FakeRegistry

SECRET = "hidden-1"
ADDRESSES = [
    f"http://user:{SECRET}@127.0.0.1:1",
    f"https://user:{SECRET}@registry.example/below",
    f"http://:{SECRET}@127.0.0.1:1",
    f"http://{SECRET}@127.0.0.1:1",
    f"http://user:{SECRET}",
    f"http://user:a/{SECRET}@127.0.0.1:1",
    f"http://user:a#{SECRET}@127.0.0.1:1",
    f"http://user:a@{SECRET}@127.0.0.1:1",
    f"http:/user:{SECRET}@127.0.0.1:1",
    f"user:{SECRET}@127.0.0.1:1",
    f"http://127.0.0.1:1/?access_token={SECRET}",
    f"http://user:{SECRET}@[::1",
]
COMMANDS = [
    ("models", "list"),
    ("promote", "fraud", "1", "--to", "Staging"),
    ("audit", "verify"),
    ("import", "mlflow", "--from", "http://127.0.0.1:1"),
]


def printed(result: Result) -> str:
    """All that the command leaves behind, also when it broke."""
    assert result.exc_info is not None
    return "".join(
        [result.output, result.stderr, *traceback.format_exception(*result.exc_info)]
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_address_of_the_registry_is_refused_and_its_credential_not_shown(
    run: Run, command: tuple[str, ...]
) -> None:
    for address in ADDRESSES:
        for result in (
            run(*command, env={"STAGEGATE_URL": address}),
            run(*command, "--url", address),
            run(*command, "--url", address, "-o", "json"),
        ):
            assert result.exit_code == 2, address
            assert "http(s)://host" in result.stderr
            assert SECRET not in printed(result)


def test_address_of_an_mlflow_server_is_refused_and_its_credential_not_shown(
    run: Run,
) -> None:
    for address in ADDRESSES:
        result = run("import", "mlflow", "--from", address)

        assert result.exit_code == 2, address
        assert SECRET not in printed(result)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, address)
            for name in ("PUBLIC_URL", "TRACKING_URI", "S3_ENDPOINT_URL")
            for address in ADDRESSES
        ),
        ("ARTIFACT_ROOT", f"s3://key:{SECRET}@bucket/models"),
        ("ARTIFACT_ROOT", f"http://key:{SECRET}@minio/models"),
        ("DATABASE_URL", f"mysql://user:{SECRET}@db/models"),
        ("DATABASE_URL", f"postgresql://user:a@{SECRET}@db/models"),
        ("DATABASE_URL", f"postgresql://user:{SECRET}"),
        ("DATABASE_URL", f"postgresql://us/er:{SECRET}@db/models"),
    ],
)
def test_setting_with_a_credential_where_none_belongs_is_not_quoted(
    name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_env({f"STAGEGATE_{name}": value})

    assert f"STAGEGATE_{name}:" in str(refused.value)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "rest",
    [
        "u:p@db/x",
        "u:a/b?c#d:e@db:5432/x?sslmode=require",
        "u@db",
        "/x?host=/run/postgresql&user=a@b",
        "u:p@[::1]:5432/x",
        "db,other/x",
        "",
    ],
)
def test_addresses_of_databases_that_can_be_read_are_taken(rest: str) -> None:
    settings = Settings.from_env(
        {
            "STAGEGATE_DATABASE_URL": f"postgresql://{rest}",
            "STAGEGATE_SECRET_KEY": "k" * 32,
        }
    )

    assert settings.database_url == f"postgresql+psycopg://{rest}"


def test_credential_in_what_a_server_says_is_not_shown(
    fake: FakeRegistry, run: Run
) -> None:
    elsewhere = f"https://user:{SECRET}@login.example/?state={SECRET}"
    fake.on(
        "GET", "/api/v1/models", lambda _: Answer(302, headers={"Location": elsewhere})
    )
    fake.problem(
        "GET", "/models/fraud", "conflict", status=409,
        detail=f"see http://user:{SECRET}@store/x?sig={SECRET}",
    )  # fmt: skip

    redirected = run("models", "list")
    refused = run("models", "show", "fraud", "-o", "json")

    assert "redirects to https://***@login.example/;" in redirected.stderr
    assert json.loads(refused.stderr)["detail"] == "see http://***@store/x?***"
    assert SECRET not in redirected.output + refused.output


def test_database_that_cannot_be_connected_to_keeps_its_password() -> None:
    environment: dict[str, str | None] = {
        "STAGEGATE_DATABASE_URL": f"postgresql://user:{SECRET}@127.0.0.1:1/models",
        "STAGEGATE_SECRET_KEY": "k" * 32,
        "STAGEGATE_URL": None,
    }
    for command in (("db", "upgrade"), ("audit", "verify"), ("doctor",)):
        result = CliRunner().invoke(stagegate, command, env=environment)

        assert result.exit_code == 1
        assert SECRET not in printed(result)


def test_what_an_error_quotes_is_masked_where_it_is_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RegistryError(f"cannot reach http://proxy:{SECRET}@proxy:3128")

    monkeypatch.setattr("registry.client.RegistryClient.get_model", fail)

    result = run("models", "show", "fraud")

    assert result.stderr == "Error: cannot reach http://***@proxy:3128\n"
