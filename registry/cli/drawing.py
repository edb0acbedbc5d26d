"""What rich draws on a terminal: tables, and bars of progress.

Imported where something is drawn, and not before: that takes a quarter of the time of
a short command.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

#: What is done, of how much.
Show = Callable[[int, int], None]


def table(titles: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a row for each record, below its titles."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        # Folding keeps an identifier whole where an ellipsis would eat it.
        drawn.add_column(title, overflow="fold")
    return _text(drawn, rows)


def grid(rows: Iterable[tuple[str, str]]) -> str:
    """One record, a line for each of its members."""
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="bold")
    drawn.add_column(overflow="fold")
    return _text(drawn, rows)


def _text(drawn: Table, rows: Iterable[Iterable[str]]) -> str:
    for row in rows:
        drawn.add_row(*map(Text, row))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    # A table pads its last column; a script that reads the line should not see it.
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


@contextmanager
def transfer_bar(title: str) -> Iterator[Show]:
    """How many bytes were sent or received."""
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), DownloadColumn()),
        *(TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
