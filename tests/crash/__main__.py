"""``python -m tests.crash``: many seeded crashes, and the figures of them.

Exit code 1 when anything was lost, invented, out of order or otherwise wrong, or
when a point of the list was never reached.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from tests.crash.session import Totals, driver_for, run_all
from tests.services import postgres

PROGRESS_EVERY = 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    options = _parse(arguments)
    with contextlib.ExitStack() as stack:
        server = None
        if options.database == "postgresql":
            binaries = postgres.find_binaries()
            if binaries is None:
                sys.stderr.write("no PostgreSQL server programs here\n")
                return 2
            server = stack.enter_context(postgres.run_server(binaries))
        driver = stack.enter_context(driver_for(server))
        totals = run_all(
            driver,
            options.seed,
            options.runs,
            crashes=options.crashes,
            report=_Progress().show,
        )
    _print(totals.report)
    return 1 if totals.violations else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument(
        "--database", choices=("sqlite", "postgresql"), default="sqlite"
    )
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--crashes", type=int, default=1, help="planned in each run, one after another"
    )
    return parser.parse_args(arguments)


class _Progress:
    """Says now and then how far it is, and at once what went wrong."""

    def __init__(self) -> None:
        self._shown = 0

    def show(self, totals: Totals) -> None:
        for text in totals.violations[self._shown :]:
            _print(text)
        self._shown = len(totals.violations)
        if totals.runs % PROGRESS_EVERY == 0:
            _print(totals.progress)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
