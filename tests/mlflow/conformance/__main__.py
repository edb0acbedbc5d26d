"""``python -m tests.mlflow.conformance``: the score of one server.

``--against stagegate|mlflow --policy strict|open --database sqlite|postgresql``;
``--only TEXT …`` runs the cases with one of the texts in their names. The exit code
is 1 when a case fails.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.mlflow.conformance.running import Cell, Report, run_cell
from tests.mlflow.environment import WITHOUT_MLFLOW, provide
from tests.services import postgres


def main() -> int:
    options = _options()
    environment = provide()
    if environment is None:
        sys.stderr.write(f"{WITHOUT_MLFLOW}\n")
        return 1
    policy = "open" if options.against == "mlflow" else options.policy
    cell = Cell(options.against, policy, options.database)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if cell.database == "postgresql":
            binaries = postgres.find_binaries()
            if binaries is None:
                sys.stderr.write("PostgreSQL is not on this machine\n")
                return 1
            server = stack.enter_context(postgres.run_server(binaries))
            url = stack.enter_context(server.fresh_database())
        report = run_cell(
            cell, environment, directory, database_url=url, only=options.only or ()
        )
    return _show(cell, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mlflow.conformance")
    parser.add_argument(
        "--against", choices=["stagegate", "mlflow"], default="stagegate"
    )
    parser.add_argument("--policy", choices=["strict", "open"], default="open")
    parser.add_argument(
        "--database", choices=["sqlite", "postgresql"], default="sqlite"
    )
    parser.add_argument("--only", nargs="*", help="texts in the names of the cases")
    return parser.parse_args()


def _show(cell: Cell, report: Report) -> int:
    failed = {name: result for name, result in report.items() if result.error}
    for name, result in failed.items():
        sys.stdout.write(f"FAILED {name}\n{result}\n\n")
    for name in failed:
        sys.stdout.write(f"failed: {name}\n")
    passed = len(report) - len(failed)
    sys.stdout.write(f"{cell}: {passed} of {len(report)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
