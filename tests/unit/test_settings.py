"""Settings: read once, every problem reported at once, no secret shown."""

import ipaddress
import re
from pathlib import Path

import pytest

from registry.errors import ConfigurationError
from registry.settings import (
    SETTING_NAMES,
    Settings,
    packaged_config,
    read_secret,
)
from webhooks.sending.guard import AllowedNetwork

README = Path(__file__).parents[2] / "README.md"
KEY = "k" * 32
S3 = {
    "STAGEGATE_ARTIFACT_ROOT": "s3://models/prefix",
    "STAGEGATE_S3_ENDPOINT_URL": "http://minio:9000/",
    "STAGEGATE_S3_ACCESS_KEY": "access-of-no-value",
    "STAGEGATE_S3_SECRET_KEY": "secret-of-no-value",
}


def problems_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(environ)
    return list(caught.value.problems)


def test_nothing_set_is_the_embedded_default() -> None:
    settings = Settings.from_env({"PATH": "/bin"})

    here = Path("stagegate-data").absolute()
    assert settings.data_dir == here
    assert settings.database_url == f"sqlite:///{here / 'stagegate.db'}"
    assert settings.artifact_root == str(here / "artifacts")
    assert settings.policy_file == packaged_config("policy.toml")
    assert settings.is_embedded
    assert settings.deliver
    assert not settings.webhook_allow_http
    assert settings.secret_keys == ()


def test_every_setting_is_read() -> None:
    settings = Settings.from_env(
        {
            **S3,
            "STAGEGATE_DATA_DIR": "/srv/data",
            "STAGEGATE_DATABASE_URL": "postgres://u:p@db/stagegate?sslmode=require",
            "STAGEGATE_S3_REGION": "eu-west-1",
            "STAGEGATE_POLICY_FILE": "/srv/policy.toml",
            "STAGEGATE_SECRET_KEY": f"{KEY}, {KEY}2",
            "STAGEGATE_BOOTSTRAP_TOKEN": "token-of-no-value",
            "STAGEGATE_WEBHOOK_ALLOWED_NETWORKS": "10.0.0.0/8:8080, fd00::/8",
            "STAGEGATE_WEBHOOK_ALLOW_HTTP": "Yes",
            "STAGEGATE_ALLOWED_HOSTS": "a.example,b.example",
            "STAGEGATE_SERVE_ARTIFACTS": "true",
            "STAGEGATE_TRACKING_URI": "https://mlflow.example/",
            "STAGEGATE_TRACKING_USERNAME": "reader",
            "STAGEGATE_TRACKING_PASSWORD": "password-of-no-value",
            "STAGEGATE_DELIVER": "0",
            "STAGEGATE_LOG_LEVEL": "debug",
        }
    )

    assert settings == Settings(
        data_dir=Path("/srv/data"),
        database_url="postgresql+psycopg://u:p@db/stagegate?sslmode=require",
        artifact_root="s3://models/prefix",
        s3_endpoint_url="http://minio:9000",
        s3_access_key="access-of-no-value",
        s3_secret_key="secret-of-no-value",
        s3_region="eu-west-1",
        policy_file=Path("/srv/policy.toml"),
        secret_keys=(KEY, KEY + "2"),
        bootstrap_token="token-of-no-value",
        webhook_allowed_networks=(
            AllowedNetwork(ipaddress.ip_network("10.0.0.0/8"), 8080),
            AllowedNetwork(ipaddress.ip_network("fd00::/8")),
        ),
        webhook_allow_http=True,
        allowed_hosts=("a.example", "b.example"),
        serve_artifacts=True,
        tracking_uri="https://mlflow.example",
        tracking_username="reader",
        tracking_password="password-of-no-value",
        deliver=False,
        log_level="DEBUG",
    )
    assert not settings.is_embedded


BAD: dict[str, tuple[dict[str, str], str]] = {
    "a typing error": ({"STAGEGATE_DATADIR": "x"}, "STAGEGATE_DATADIR is not a"),
    "a file for what is no secret": (
        {"STAGEGATE_LOG_LEVEL_FILE": "/x"},
        "STAGEGATE_LOG_LEVEL_FILE is not a setting",
    ),
    "a flag": ({"STAGEGATE_DELIVER": "maybe"}, "STAGEGATE_DELIVER: expected true"),
    "a flag of its own default": (
        {"STAGEGATE_SERVE_ARTIFACTS": "maybe"},
        "STAGEGATE_SERVE_ARTIFACTS: expected true",
    ),
    "a tracking server with a credential": (
        {"STAGEGATE_TRACKING_URI": "https://reader:pw-1@mlflow.example"},
        "STAGEGATE_TRACKING_URI: expected http(s)://host[:port][/path], without user",
    ),
    "a network": (
        {"STAGEGATE_WEBHOOK_ALLOWED_NETWORKS": "10.0.0.1/8"},
        "STAGEGATE_WEBHOOK_ALLOWED_NETWORKS: 10.0.0.1/8 has host bits",
    ),
    "a port of a network": (
        {"STAGEGATE_WEBHOOK_ALLOWED_NETWORKS": "10.0.0.0/8:http"},
        "STAGEGATE_WEBHOOK_ALLOWED_NETWORKS: '10.0.0.0/8:http' does not end with a",
    ),
    "a URL without a scheme": (
        {"STAGEGATE_TRACKING_URI": "mlflow:5000"},
        "STAGEGATE_TRACKING_URI: expected http(s)://",
    ),
    "a URL that cannot be parsed": (
        {"STAGEGATE_S3_ENDPOINT_URL": "http://[x"},
        "STAGEGATE_S3_ENDPOINT_URL: ",
    ),
    "a log level": ({"STAGEGATE_LOG_LEVEL": "loud"}, "STAGEGATE_LOG_LEVEL: expected"),
    "another database": (
        {"STAGEGATE_DATABASE_URL": "mysql://db/x", "STAGEGATE_SECRET_KEY": KEY},
        "STAGEGATE_DATABASE_URL: expected sqlite:///file or",
    ),
    "a database in memory": (
        {"STAGEGATE_DATABASE_URL": "sqlite://"},
        "STAGEGATE_DATABASE_URL: expected",
    ),
    "a short key": ({"STAGEGATE_SECRET_KEY": "short"}, "STAGEGATE_SECRET_KEY: each"),
    "one short key of two": (
        {"STAGEGATE_SECRET_KEY": f"{KEY},short"},
        "STAGEGATE_SECRET_KEY: each key needs at least 32 characters",
    ),
    "no key for a database of one's own": (
        {"STAGEGATE_DATABASE_URL": "postgresql://u:p@db/x"},
        "STAGEGATE_SECRET_KEY is required",
    ),
    "an artifact root elsewhere": (
        {"STAGEGATE_ARTIFACT_ROOT": "gs://bucket"},
        "STAGEGATE_ARTIFACT_ROOT: expected a directory or s3://bucket/prefix",
    ),
    "an artifact root without a bucket": (
        {"STAGEGATE_ARTIFACT_ROOT": "s3:///prefix"},
        "STAGEGATE_ARTIFACT_ROOT: expected",
    ),
}


@pytest.mark.parametrize(("environ", "expected"), BAD.values(), ids=BAD)
def test_bad_value_is_refused_with_the_setting_named(
    environ: dict[str, str], expected: str
) -> None:
    (problem,) = problems_of(environ)

    assert problem.startswith(expected)


def test_every_problem_is_reported_at_once() -> None:
    bad = [environ for environ, _ in BAD.values()]
    everything: dict[str, str] = {}
    for environ in bad:
        everything |= environ

    problems = problems_of(everything | {"STAGEGATE_DATABASE_URL": "mysql://db/x"})

    named = {problem.split()[0].strip(":") for problem in problems}
    assert named == {name for environ in bad for name in environ}


def test_artifacts_in_s3_need_all_of_their_access() -> None:
    problems = problems_of({"STAGEGATE_ARTIFACT_ROOT": "s3://bucket"})

    assert [problem.split()[0] for problem in problems] == [
        "STAGEGATE_S3_ENDPOINT_URL",
        "STAGEGATE_S3_ACCESS_KEY",
        "STAGEGATE_S3_SECRET_KEY",
    ]


def test_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")

    settings = Settings.from_env({"STAGEGATE_SECRET_KEY_FILE": str(file)})

    assert settings.secret_keys == (KEY,)


def test_secret_given_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    environ = {
        "STAGEGATE_TOKEN": "two",
        "STAGEGATE_TOKEN_FILE": str(file),
    }

    with pytest.raises(ConfigurationError, match="are both set; keep one"):
        read_secret(environ, "TOKEN")


def test_secret_file_that_cannot_be_read_is_a_problem_like_others(
    tmp_path: Path,
) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")

    problems = problems_of(
        {
            "STAGEGATE_SECRET_KEY_FILE": str(tmp_path / "absent"),
            "STAGEGATE_BOOTSTRAP_TOKEN_FILE": str(binary),
        }
    )

    assert sorted(problem.split(":")[0] for problem in problems) == [
        "STAGEGATE_BOOTSTRAP_TOKEN_FILE",
        "STAGEGATE_SECRET_KEY_FILE",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "STAGEGATE_PORT",
        "STAGEGATE_PORT_80_TCP",
        "STAGEGATE_PORT_80_TCP_ADDR",
        "STAGEGATE_SERVICE_HOST",
        "STAGEGATE_SERVICE_PORT",
        "STAGEGATE_SERVICE_PORT_HTTP",
        "STAGEGATE_WEB_SERVICE_HOST",
        "STAGEGATE_WEB_PORT_8000_TCP_PROTO",
        "STAGEGATE_TEST_CRASH_RUNS",
    ],
)
def test_variables_that_kubernetes_and_the_tests_set_are_no_typing_errors(
    name: str,
) -> None:
    assert Settings.from_env({name: "tcp://10.0.0.1:80"}).is_embedded


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    settings = Settings.from_env(
        {
            **S3,
            "STAGEGATE_DATABASE_URL": "postgresql://u:hidden-password@db/x",
            "STAGEGATE_SECRET_KEY": KEY,
            "STAGEGATE_BOOTSTRAP_TOKEN": "hidden-token",
        }
    )

    text = f"{settings!r} {settings}"

    for secret in ("hidden-password", KEY, "hidden-token", "of-no-value"):
        assert secret not in text


def test_readme_lists_every_setting() -> None:
    listed = set(re.findall(r"`(?:STAGEGATE_)?([A-Z0-9_]+)`", README.read_text()))

    bare = {name.removeprefix("STAGEGATE_") for name in SETTING_NAMES}
    files = {f"{name}_FILE" for name in bare}

    assert not (bare - files) - listed


def test_artifacts_are_served_from_a_directory_and_not_from_a_bucket() -> None:
    assert Settings.from_env({}).serve_artifacts is True
    assert Settings.from_env(S3).serve_artifacts is False
    asked = {**S3, "STAGEGATE_SERVE_ARTIFACTS": "true"}
    assert Settings.from_env(asked).serve_artifacts is True


def test_credential_in_an_address_is_not_repeated() -> None:
    (problem,) = problems_of(
        {"STAGEGATE_TRACKING_URI": "https://reader:pw-1@mlflow.example"}
    )

    assert "pw-1" not in problem


def test_tracking_server_is_signed_in_to_in_one_way() -> None:
    user = {
        "STAGEGATE_TRACKING_USERNAME": "reader",
        "STAGEGATE_TRACKING_PASSWORD": "password-of-no-value",
    }

    (both,) = problems_of({**user, "STAGEGATE_TRACKING_TOKEN": "token-of-no-value"})
    (half,) = problems_of({"STAGEGATE_TRACKING_USERNAME": "reader"})

    assert "TRACKING_TOKEN and STAGEGATE_TRACKING_USERNAME are both set" in both
    assert "go together" in half
