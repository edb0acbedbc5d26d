"""How a command that failed says so: on stderr, without a traceback.

Rules:

- ``Error: …`` for people; with ``-o json`` one JSON object of the shape the API
  uses for problems (RFC 9457), with the exit code added.
- A refusal says what is allowed instead.
- Whatever it quotes, no credential in an address is shown.
"""

import sys

import click

from registry.addresses import masked
from registry.cli.exit_codes import ExitCode, exit_code_of
from registry.cli.streams import json_text, say_aside
from registry.errors import (
    AliasRefusedError,
    ArtifactChangedError,
    CursorExpiredError,
    NotSignedInError,
    RegistryError,
    TransitionRefusedError,
)

PROBLEM_TYPE_PREFIX = "urn:stagegate:problem:"


def failure_of(error: Exception, *, as_json: bool = False) -> click.exceptions.Exit:
    """Explain ``error`` on stderr; returns what ends the command with its code."""
    exit_code = exit_code_of(error)
    text = _document(error, exit_code) if as_json else f"Error: {explanation(error)}"
    say_aside(masked(text))
    return click.exceptions.Exit(exit_code)


def explanation(error: Exception) -> str:
    """Return the message with what helps to go on."""
    message = str(error)
    return "\n".join(
        [message, *(f"  {line}" for line in _hints(error) if line not in message)]
    )


def _hints(error: Exception) -> list[str]:
    match error:
        case TransitionRefusedError():
            allowed = ", ".join(error.allowed) or "no stage"
            return [*error.reasons, f"Allowed from {error.from_stage}: {allowed}"]
        case AliasRefusedError():
            return list(error.reasons)
        case ArtifactChangedError():
            return list(error.differences)
        case CursorExpiredError():
            return [f"Go on with --after {error.oldest_cursor}, or without it"]
        case NotSignedInError():
            return [
                "A token is given by --token, STAGEGATE_TOKEN or STAGEGATE_TOKEN_FILE",
                "A CI job needs none where a trusted publisher is made for it",
            ]
        case _:
            return []


def _document(error: Exception, exit_code: ExitCode) -> str:
    slug = error.slug if isinstance(error, RegistryError) else "internal"
    facts = error.facts if isinstance(error, RegistryError) else {}
    kind = next(
        (kind for kind in type(error).__mro__ if kind.__module__ == "registry.errors"),
        type(error),
    )
    document = {
        "type": PROBLEM_TYPE_PREFIX + slug,
        "title": (kind.__doc__ or kind.__name__).strip().partition("\n")[0],
        "detail": str(error),
        "exit_code": int(exit_code),
        **facts,
    }
    return json_text(document, sys.stderr)
