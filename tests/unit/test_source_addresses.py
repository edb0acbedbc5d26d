"""Sources by their text: what each form names, and what is refused."""

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.domain.sources import (
    MAX_SOURCE_CHARACTERS,
    Address,
    LoggedModelSource,
    ProxiedSource,
    RegisteredSource,
    RunSource,
    parse_source,
)
from registry.errors import InvalidInputError

#: What hostile sources are made of.
PIECES = (
    *("models:", "runs:", "mlflow-artifacts:", "s3:", "/", "//", "@", "m-", "latest"),
    *("..", "%2e", "%", "25", "\\", ":", "1", "a", " ", "\0", "ü", "u\u0308"),
)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("s3://bucket/key", "s3"),
        ("S3://bucket/key", "s3"),
        ("s3://a//b", "s3"),
        ("gs://bucket/key", "gs"),
        ("dbfs:/models/1", "dbfs"),
        ("wasbs://container@account.example/key", "wasbs"),
        ("file:///srv/model", "file"),
        ("/srv/model", ""),
        ("./model", ""),
        ("model.bin", ""),
        ("C:\\models\\1", ""),
        ("s3://bucket/100%25", "s3"),
        ("s3://bucket/a..b/...", "s3"),
    ],
)
def test_address_is_known_by_its_scheme(text: str, scheme: str) -> None:
    assert parse_source(text) == Address(text, scheme)


@pytest.mark.parametrize(
    ("text", "run_id", "path"),
    [
        ("runs:/3f2a/model", "3f2a", "model"),
        ("runs:/3f2a/a/b/", "3f2a", "a/b"),
        ("runs:/3f2a", "3f2a", ""),
        ("RUNS:/3f2a/model", "3f2a", "model"),
    ],
)
def test_run_is_named_with_a_path(text: str, run_id: str, path: str) -> None:
    assert parse_source(text) == RunSource(text, run_id, path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models:/fraud/3", {"model": "fraud", "number": 3}),
        ("models:/fraud/003", {"model": "fraud", "number": 3}),
        ("models:/fraud/Production", {"model": "fraud", "stage": "Production"}),
        ("models:/fraud/latest", {"model": "fraud"}),
        ("models:/fraud/LATEST", {"model": "fraud"}),
        ("models:/fraud@champion", {"model": "fraud", "alias": "champion"}),
        ("models:/fraud@latest", {"model": "fraud"}),
        ("models:/fraud@Latest", {"model": "fraud"}),
        ("models:/a@b@c", {"model": "a@b", "alias": "c"}),
        ("models:/a@b/2", {"model": "a@b", "number": 2}),
        ("models:/m-1/2", {"model": "m-1", "number": 2}),
        ("models:/ü ?#&/2", {"model": "ü ?#&", "number": 2}),
        ("models:/u\u0308/2", {"model": "ü", "number": 2}),
        ("models:/fraud@u\u0308", {"model": "fraud", "alias": "ü"}),
        ("models:/fraud/²", {"model": "fraud", "stage": "²"}),
    ],
)
def test_registered_version_has_four_names(
    text: str, expected: dict[str, object]
) -> None:
    expected_source = RegisteredSource(text, **expected)  # type: ignore[arg-type]  # as listed above

    assert parse_source(text) == expected_source


def test_number_that_no_database_holds_is_still_a_number() -> None:
    found = parse_source(f"models:/fraud/{'9' * 500}")

    assert isinstance(found, RegisteredSource)
    assert found.number == 2**31 - 1


def test_logged_model_is_named_by_its_id() -> None:
    text = f"models:/m-{'0' * 32}"

    assert parse_source(text) == LoggedModelSource(text, text.removeprefix("models:/"))


def test_path_of_the_tracking_server_has_no_host() -> None:
    text = "mlflow-artifacts:/1/3f2a/artifacts/model"

    assert parse_source(text) == ProxiedSource(text, "1/3f2a/artifacts/model")


@pytest.mark.parametrize(
    "scheme",
    [
        *("abfss", "b2", "ftp", "hdfs", "http", "https", "r2", "sftp", "viewfs"),
        *("data", "javascript", "vbscript", "git+http", "git+ssh", "jar", "zip"),
        *("gopher", "ldap", "rsync", "unknown", "s3a", "s3n", "azureml", "x" * 300),
    ],
)
def test_scheme_that_no_client_loads_from_a_store_is_refused(scheme: str) -> None:
    for text in (f"{scheme}://host/x", f"{scheme.upper()}:x"):
        with pytest.raises(InvalidInputError, match="must not be a") as caught:
            parse_source(text)
        assert caught.value.field == "source"


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a/../b",
        "s3://bucket/..",
        "s3://bucket/a/%2e%2e/b",
        "s3://bucket/a/..%2fb",
        "s3://bucket/a/%252e%252E%25252fb",
        "s3://bucket/a\\..\\b",
        "s3://bucket/a%5c..%5cb",
        "..",
        "runs:/3f2a/../../x",
        "models:/../1",
        "mlflow-artifacts:/1/../2",
        "s3://bucket/a%00b",
        "s3://bucket/a%2500b",
    ],
)
def test_way_up_or_nul_is_refused_however_it_is_encoded(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"'\.\.' as a part"):
        parse_source(text)


@pytest.mark.parametrize(
    "text",
    ["s3://bucket", "s3://bucket/", "gs://x", "dbfs:", "dbfs:/", "/", "runs:/"],
)
def test_source_without_a_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="must name a path"):
        parse_source(text)


@pytest.mark.parametrize("text", ["", " ", "x" * (MAX_SOURCE_CHARACTERS + 1)])
def test_source_of_no_or_endless_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="characters"):
        parse_source(text)


@pytest.mark.parametrize("text", ["s3://b/\0", "s3://b/\ud800"])
def test_text_that_cannot_be_stored_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="NUL"):
        parse_source(text)


@pytest.mark.parametrize(
    "text",
    [
        "models:/fraud",
        "models:/fraud/",
        "models:/fraud/1/2",
        "models:/ /1",
        "models:/fraud/ ",
        "models:/@champion",
        "models:/fraud@",
        "models:/m-",
    ],
)
def test_name_of_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="must be models:/NAME/VERSION"):
        parse_source(text)


@pytest.mark.parametrize(
    "text",
    [
        "models://host/fraud/1",
        "runs://host/3f2a/model",
        "mlflow-artifacts://host/1/3f2a",
        "runs:3f2a/model",
    ],
)
def test_name_in_mlflow_has_no_host(text: str) -> None:
    with pytest.raises(InvalidInputError, match="without a host"):
        parse_source(text)


@pytest.mark.parametrize("text", ["runs:/ /model", "runs:/a%20b/model", "runs:/-/m"])
def test_run_has_an_id_that_can_be_asked_for(text: str) -> None:
    with pytest.raises(InvalidInputError, match="no id of a run"):
        parse_source(text)


@given(
    st.builds(
        "".join,
        st.lists(
            st.sampled_from(PIECES) | st.text(max_size=3),
            max_size=12,
        ),
    )
)
@example("s3://b/%" + "25" * 990)
def test_any_text_is_a_source_or_refused(text: str) -> None:
    try:
        found = parse_source(text)
    except InvalidInputError:
        return
    assert found.text == text
    readings = [text]
    while (decoded := unquote(readings[-1], errors="replace")) != readings[-1]:
        readings.append(decoded)
    assert not any(".." in reading.split("/") for reading in readings)


@pytest.mark.parametrize(
    "text",
    [
        "s3://key:pw-1@bucket/model",
        "gs://:pw-1@bucket/model",
        "GS://key:p@pw-1@bucket/model",
        "dbfs://user:pw-1@workspace/model",
    ],
)
def test_source_with_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError, match="password") as refusal:
        parse_source(text)

    assert "pw-1" not in str(refusal.value)


def test_container_of_an_account_is_no_password() -> None:
    text = "wasbs://models@account.blob.core.windows.net/fraud:1@a"

    assert parse_source(text) == Address(text, "wasbs")
