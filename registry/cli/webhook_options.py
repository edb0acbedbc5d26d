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

from webhooks.roster.specs import FACTS, Rule

Command = TypeVar("Command", bound=Callable[..., Any])

_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


def subscription_options(command: Command) -> Command:
    """Give a command every option of a subscription."""
    for facts in reversed(tuple(FACTS.values())):
        if facts.option:
            option, _, metavar = facts.option.partition(" ")
            command = click.option(
                option,
                facts.name,
                metavar=metavar or None,
                help=facts.help,
                **_type_of(facts.rule),
            )(command)
    return command


def _type_of(rule: Rule) -> dict[str, Any]:
    """Return how values of an option are read; whole numbers in a list by commas."""
    match rule:
        case {"enum": choices}:
            return {"type": click.Choice(choices)}
        case {"contentMediaType": _}:
            return {"type": _PEM}
        case {"type": "integer"}:
            return {"type": click.IntRange(min=0)}
        case {"type": "object"}:
            return {"multiple": True}
        case {"items": {"type": "string"} as items}:
            return {"multiple": True, **_type_of(items)}
    return {}


def members_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are on the command line as members of the request.

    Raises:
        click.UsageError: a pair is not one, or names nothing that can be read.
    """
    return {
        name: _member(name, value)
        for name, value in options.items()
        if value not in (None, ())
    }


def _member(name: str, value: Any) -> Any:  # noqa: ANN401  # As click gives it; as JSON has it.
    if name == "options":
        return _nested(value)
    if name in ("headers", "credentials"):
        read = _header if name == "headers" else _credential
        return dict(map(read, value))
    if name == "schedule_seconds":
        return _whole_numbers(value)
    if value == 0:  # It takes a limit away.
        return None
    if isinstance(value, Path):
        return _read(value)
    return list(value) if isinstance(value, tuple) else value


def _header(entry: str) -> tuple[str, str]:
    return _pair(entry, "--header")


def _nested(entries: Sequence[str]) -> dict[str, Any]:
    """``a.b=c`` is ``{"a": {"b": "c"}}``; only the first dot counts."""
    nested: dict[str, Any] = {}
    for entry in entries:
        name, value = _pair(entry, "--option")
        outer, dot, inner = name.partition(".")
        if not dot:
            nested[outer] = _option_value(value)
            continue
        members = nested.setdefault(outer, {})
        if not isinstance(members, dict):
            raise click.UsageError(f"--option {outer} is given in two ways.")
        members[inner] = _option_value(value)
    return nested


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
