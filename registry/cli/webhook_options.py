"""The options that say what a subscription listens to, and how it is told.

- ``--credential`` takes its value from a file or the environment too: what stands on
  a command line other users of the machine can read.
- An option left out is left out of the request; the server knows the defaults.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = (
    *("standard", "cloudevents", "github", "gitlab", "jenkins", "slack", "teams"),
    *("mlflow", "databricks"),
)
_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)

_FILTERS = (
    click.option(
        "--event",
        "event_types",
        multiple=True,
        metavar="TYPE",
        help="An event type, such as model_version.stage_changed; repeatable."
        "  [default on create: every type]",
    ),
    click.option(
        "--model-pattern",
        metavar="PATTERN",
        help="Only models whose name, or former name, matches, such as 'fraud-*'.",
    ),
    click.option(
        "--to-stage",
        "to_stages",
        multiple=True,
        metavar="STAGE",
        help="Only changes to this stage; repeatable.",
    ),
    click.option("--description", help="What the receiver does."),
)
_REQUEST = (
    click.option(
        "--format",
        type=click.Choice(FORMATS),
        help="The format of the requests.  [default on create: standard]",
    ),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="K=V",
        help="What the format needs: ref=main, dispatch=workflow,"
        " inputs.model=data.model"
        ' (a part of the event), inputs.env=\'{"value":"prod"}\' (a constant);'
        " repeatable, and all replaced by an update.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="K=V",
        help="A header of each request, its secrets as ${NAME}; repeatable, and all"
        " replaced by an update.",
    ),
    click.option(
        "--credential",
        "credentials",
        multiple=True,
        metavar="NAME[=V]",
        help="What ${NAME} stands for: NAME=@FILE from a file, NAME alone from the"
        " environment variable, NAME= removes it; repeatable.",
    ),
)
_TRUST = (
    click.option(
        "--signature",
        "signatures",
        multiple=True,
        type=click.Choice(["v1", "v1a"]),
        help="v1 signs with the secret, v1a with a key whose public half the receiver"
        " gets; repeatable.",
    ),
    click.option(
        "--ca-certificate",
        type=_PEM,
        help="What to trust instead of the public authorities, as PEM.",
    ),
    click.option(
        "--client-certificate",
        type=_PEM,
        help="Our certificate for mutual TLS, as PEM.",
    ),
    click.option("--client-key", type=_PEM, help="Its key, as PEM, not encrypted."),
)
_DELIVERY = (
    click.option(
        "--on-poison",
        type=click.Choice(["hold", "skip", "latest_wins"]),
        help="What follows when every attempt has failed: hold the model's later"
        " events, skip this one, or skip it and let newer ones replace older ones.",
    ),
    click.option(
        "--rate",
        "rate_per_minute",
        type=click.IntRange(min=0),
        metavar="N",
        help="Send at most N requests a minute; 0 takes the limit away.",
    ),
    click.option(
        "--schedule",
        "schedule_seconds",
        metavar="S,S,…",
        help="The seconds before each attempt, instead of the default schedule.",
    ),
)


def subscription_options(command: Command) -> Command:
    """Give a command every option of a subscription."""
    for option in reversed((*_FILTERS, *_REQUEST, *_TRUST, *_DELIVERY)):
        command = option(command)
    return command


def members_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options that were given, as members of the request.

    Raises:
        click.UsageError: a pair is not one, or names nothing that can be read.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    return {name: _member(name, value) for name, value in given.items()}


def _member(name: str, value: Any) -> Any:  # noqa: ANN401  # As click gives it; as JSON has it.
    if name == "options":
        return _nested(value)
    if name in ("headers", "credentials"):
        read = _header if name == "headers" else _credential
        return dict(map(read, value))
    if name == "schedule_seconds":
        return _whole_numbers(value)
    if name == "rate_per_minute":
        return value or None
    if isinstance(value, Path):
        return _read(value)
    return list(value) if isinstance(value, tuple) else value


def _header(entry: str) -> tuple[str, str]:
    return _pair(entry, "--header")


def _nested(entries: Sequence[str]) -> dict[str, Any]:
    """``a.b=c`` is ``{"a": {"b": "c"}}``; only the first dot counts."""
    found: dict[str, Any] = {}
    for entry in entries:
        name, value = _pair(entry, "--option")
        outer, dot, inner = name.partition(".")
        if not dot:
            found[outer] = _option_value(value)
            continue
        members = found.setdefault(outer, {})
        if not isinstance(members, dict):
            raise click.UsageError(f"--option {outer} is given in two ways.")
        members[inner] = _option_value(value)
    return found


def _option_value(text: str) -> Any:  # noqa: ANN401  # A JSON value.
    if text in ("true", "false"):
        return text == "true"
    # A chat's text may begin with a path in braces.
    if not text.startswith('{"'):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--option {text!r} is not JSON.") from error


def _credential(entry: str) -> tuple[str, str | None]:
    name, separator, value = entry.partition("=")
    if not separator:
        if name not in os.environ:
            raise click.UsageError(
                f"--credential {name}: there is no environment variable of this name."
            )
        return name, os.environ[name]
    if value.startswith("@"):
        return name, _read(Path(value[1:])).strip()
    return name, value or None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} cannot be read.") from error


def _pair(entry: str, option: str) -> tuple[str, str]:
    name, separator, value = entry.partition("=")
    if not (name and separator):
        raise click.UsageError(f"{option} {entry!r} is not K=V.")
    return name, value


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise click.UsageError(
            "--schedule takes whole seconds, such as 0,5,60."
        ) from error
