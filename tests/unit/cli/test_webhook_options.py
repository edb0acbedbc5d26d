"""What the options of a subscription become in the request."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from registry.cli.webhook_options import members_of


def options(*entries: str) -> Any:  # noqa: ANN401  # A JSON value.
    return members_of({"options": entries})["options"]


def test_options_nest_at_their_first_dot() -> None:
    assert options(
        "ref=main",
        "return_run_details=false",
        "inputs.model=data.model",
        'inputs.env={"value":"prod"}',
        "inputs.a.b=id",
    ) == {
        "ref": "main",
        "return_run_details": False,
        "inputs": {"model": "data.model", "env": {"value": "prod"}, "a.b": "id"},
    }


def test_a_chat_text_may_begin_with_a_brace() -> None:
    assert options("text={data.model} moved") == {"text": "{data.model} moved"}


def test_headers_keep_everything_behind_the_first_equals_sign() -> None:
    given = members_of({"headers": ("X-Key=a=b=${C}",)})

    assert given == {"headers": {"X-Key": "a=b=${C}"}}


def test_credentials_come_from_file_environment_or_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from a file\n")
    monkeypatch.setenv("FROM_ENV", "from the environment")

    given = members_of(
        {"credentials": ("a=plain", f"b=@{tmp_path}/token", "FROM_ENV", "gone=")}
    )

    assert given["credentials"] == {
        "a": "plain",
        "b": "from a file",
        "FROM_ENV": "from the environment",
        "gone": None,
    }


def test_pem_files_are_read_and_the_schedule_is_numbers(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")

    given = members_of(
        {
            "ca_certificate": tmp_path / "ca.pem",
            "schedule_seconds": "0,5",
            "format": None,
        }
    )

    assert given == {"ca_certificate": "PEM", "schedule_seconds": [0, 5]}
    assert json.dumps(given)


@pytest.mark.parametrize(("given", "member"), [(120, 120), (0, None)])
def test_a_rate_of_nothing_is_no_limit(given: int, member: int | None) -> None:
    assert members_of({"rate_per_minute": given}) == {"rate_per_minute": member}


@pytest.mark.parametrize(
    "given",
    [
        {"options": ("ref",)},
        {"options": ("=x",)},
        {"options": ("a=b", "a.c=d")},
        {"options": ('a={"b"',)},
        {"headers": ("X-Key",)},
        {"credentials": ("NOT_SET_ANYWHERE",)},
        {"credentials": ("a=@/does/not/exist",)},
        {"schedule_seconds": "soon"},
    ],
)
def test_what_is_no_pair_or_cannot_be_read_is_a_usage_error(given: Any) -> None:  # noqa: ANN401  # As click gives it.
    with pytest.raises(click.UsageError):
        members_of(given)
