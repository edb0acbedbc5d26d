"""What every client command has in common: options, a client, failures.

Rules:

- ``--url``, ``--token`` and ``-o`` mean the same on every command.
- A token over plain ``http`` to another machine is worth a warning, not a refusal:
  inside a cluster it is usual.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import click

from registry.addresses import is_loopback
from registry.cli.ci_job import job_token
from registry.cli.failures import failure_of
from registry.cli.output import Output, OutputFormat
from registry.cli.streams import is_terminal
from registry.client import JobToken, RegistryClient
from registry.errors import RegistryError
from registry.settings import DEFAULT_URL, PREFIX, read_secret


@dataclass(frozen=True)
class Connection:
    """What a client command works with."""

    client: RegistryClient
    output: Output
    job: JobToken | None = None  #: who is signed in, where that is a CI job

    def point_to(self, *segments: str | int) -> None:
        """Say where the page of something is."""
        if not self.output.is_json:
            self.output.note(self.client.page_url(*segments))


#: For commands that a CI job runs again (``registry.cli.ci_keys``).
key_option = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="A repeated command with the same key changes nothing twice."
    "  [default: made from the CI job, where there is one]",
)


output_option = click.option(
    "-o",
    "--output",
    "output_format",
    type=click.Choice([known.value for known in OutputFormat]),
    default=OutputFormat.TABLE.value,
    show_default=True,
    help="A table for people, or JSON for programs.",
)


def client_command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options, and a connection as first argument."""

    @click.option(
        "--url",
        envvar=f"{PREFIX}URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="The registry's address.",
    )
    @click.option(
        "--token",
        metavar="TOKEN",
        help="An API token; better given by the environment, where other users"
        f" cannot see it. [env var: {PREFIX}TOKEN or {PREFIX}TOKEN_FILE]",
    )
    @output_option
    @functools.wraps(function)
    def command(
        *args: object,
        url: str,
        token: str | None,
        output_format: str,
        **kwargs: object,
    ) -> None:
        output = Output(OutputFormat(output_format))
        try:
            connection = _connect(url, token, output)
            with connection.client:
                function(connection, *args, **kwargs)
        except BrokenPipeError:
            # click ends quietly when the reader of a pipe has gone away.
            raise
        except (RegistryError, OSError) as error:
            raise failure_of(error, as_json=output.is_json) from error

    return command


def _connect(url: str, token: str | None, output: Output) -> Connection:
    secret = token or read_secret(os.environ, "TOKEN")
    job = None if secret else job_token(os.environ, url)
    client = RegistryClient(url, job or secret)
    if (job or secret) and travels_in_clear(url):
        output.note(
            f"Warning: {url} is plain http, so the token can be read on the way."
        )
    return Connection(client, output, job)


def travels_in_clear(url: str) -> bool:
    """Whether what is sent there can be read on the way."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def example(*lines: str) -> str:
    """Return an epilog that shows how the command is called."""
    # The \b keeps click from joining the lines.
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def key_values(pairs: Iterable[str], option: str) -> dict[str, str]:
    """Return the values of an option that takes ``K=V`` several times.

    Raises:
        click.BadParameter: for a value without ``=`` or key, or a key given twice.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{pair!r} is not K=V", param_hint=option)
        if key in values:
            raise click.BadParameter(f"{key!r} is given twice", param_hint=option)
        values[key] = value
    return values


def require_confirmation(question: str, *, is_confirmed: bool) -> None:
    """Ask before something that cannot be undone, unless ``--yes`` was given.

    Raises:
        click.UsageError: when there is nobody to ask.
        click.exceptions.Exit: when the answer is no.
    """
    if is_confirmed:
        return
    if not is_terminal(sys.stdin):
        raise click.UsageError("This cannot be undone: confirm it with --yes.")
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(1)
