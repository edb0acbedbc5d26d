"""How the story looks: numbered steps, the commands that do them, tables."""

import shlex
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_INDENT = " " * 4
#: Where the output is not a terminal: wide enough for every table of the story.
_PIPED_WIDTH = 130


class Screen:
    """Prints to standard output, each line as soon as it is there."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _PIPED_WIDTH
        self._console = Console(highlight=False, soft_wrap=True, width=width)
        self._steps = 0

    def step(self, title: str) -> None:
        """Begin the next part."""
        self._steps += 1
        self._console.print(Text(f"\n{self._steps:>2}  {title}", style="bold"))

    def say(self, text: str, *, style: str = "") -> None:
        """Print a remark, indented below its step."""
        for line in text.splitlines():
            self._console.print(Text(_INDENT + line, style=style))

    def command(self, arguments: Sequence[str]) -> None:
        """Show a command as it would be typed."""
        self.say(f"$ stagegate {shlex.join(arguments)}", style="cyan")

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table, indented below its step."""
        table = Table(*titles, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*map(Text, row))
        with self._console.capture() as captured:
            self._console.print(Padding(table, (0, 0, 0, len(_INDENT))))
        # A table pads its last column, which would stand in a log for nothing.
        lines = (line.rstrip() for line in captured.get().splitlines())
        self._console.out("\n".join(lines), highlight=False)
