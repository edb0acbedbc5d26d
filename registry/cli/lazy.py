"""A click group whose commands are imported when they are called.

Rules:

- ``stagegate serve`` does not pay for the client's libraries, nor ``stagegate
  models`` for the server's; and ``stagegate --help`` pays for neither, because the
  summaries stand in the table.
- What a command raises as a ``RegistryError`` ends as its exit code, never as a
  traceback.
"""

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import click

from registry.cli.exit_codes import ExitCode
from registry.cli.failures import failure_of
from registry.cli.streams import say_aside
from registry.errors import RegistryError


@dataclass(frozen=True)
class LazyCommand:
    """Where a command is (``module:attribute``) and what it does in a sentence."""

    target: str
    summary: str

    def load(self) -> click.Command:
        """Import the command.

        Raises:
            TypeError: when the target is no command.
        """
        module, _, attribute = self.target.partition(":")
        command = getattr(_imported(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.target} is not a command")
        return command


def _imported(name: str) -> ModuleType:
    """Return the module; what comes with it is never looked through for garbage.

    That would take an eighth of the time that importing takes, find next to nothing,
    and go on as long as the process lives.
    """
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()


class LazyGroup(click.Group):
    """A group over a table of lazy commands."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  signature of click
        lazy_commands: Mapping[str, LazyCommand],
        **kwargs: Any,  # noqa: ANN401  signature of click
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = lazy_commands

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names, in the table's order."""
        return list(self.lazy_commands)

    def get_command(
        self, _context: click.Context, cmd_name: str
    ) -> click.Command | None:
        """Return the command, imported now."""
        lazy = self.lazy_commands.get(cmd_name)
        return lazy.load() if lazy else None

    def format_commands(
        self, _context: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands by the table's summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, lazy.summary) for name, lazy in self.lazy_commands.items()]
            )

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  signature of click
        """Run the command and turn its end into an exit code."""
        try:
            return super().invoke(ctx)
        except RegistryError as error:
            raise failure_of(error) from error
        except KeyboardInterrupt:
            say_aside("Interrupted.")
            raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
