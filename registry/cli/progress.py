"""The progress of a transfer, on stderr.

A terminal gets a bar; a log gets a line for each tenth, so that it stays readable.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from registry.cli.streams import is_terminal, say_aside
from registry.client import Progress as Report

_LINES = 10
#: Less than this is done before anybody wonders.
_WORTH_LINES_BYTES = 10_000_000


@contextmanager
def transfer_progress(title: str) -> Iterator[Report]:
    """Show a transfer for as long as the block runs; call what is given."""
    if not is_terminal(sys.stderr):
        yield _line_report(title)
        return
    from registry.cli.drawing import transfer_bar  # noqa: PLC0415  # see there

    with transfer_bar(title) as show:
        yield show


def _line_report(title: str) -> Report:
    shown = {0}

    def report(done: int, total: int) -> None:
        tenth = done * _LINES // total if total else 0
        if total < _WORTH_LINES_BYTES or tenth in shown:
            return
        shown.add(tenth)
        say_aside(f"{title}: {done} of {total} bytes")

    return report
