"""``stagegate audit``: verify the log, and export it.

Rules:

- With a FILE the verification is offline; with an address it is done here, over
  the server's export, so that the server need not be believed; with neither it
  reads the database that the settings name.
- The database alone shows its tables: there they are held against the log.
- Damage ends with exit code 1 and names the first bad entry of each chain.
- What a verdict does not cover is said with it each time.
"""

import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

import click
from click.core import ParameterSource

from registry.cli.client_command import Connection, client_command, example
from registry.cli.exit_codes import ExitCode
from registry.cli.output import Output
from registry.cli.streams import say
from registry.domain.audit_chain import VerificationReport
from registry.domain.audit_export import verify_export
from registry.settings import Settings

TABLES_NOT_COMPARED = (
    "What the registry's tables say was not compared: beside its database, "
    "`stagegate doctor` does."
)


@click.group()
def audit() -> None:
    """Verify and export the audit log."""


@audit.command(
    epilog=example(
        "stagegate audit verify audit.jsonl",
        "stagegate audit verify --url https://registry.example.com",
    )
)
@click.argument(
    "file", type=click.File("r", encoding="utf-8", errors="replace"), required=False
)
@client_command
def verify(to: Connection, file: IO[str] | None) -> None:
    """Verify the hash chains of an export, a server or the database."""
    report = _report(to, file)
    _show(to.output, report)
    if not report.ok:
        raise click.exceptions.Exit(ExitCode.FAILED)


@audit.command(epilog=example("stagegate audit export --to audit.jsonl"))
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.  [default: standard output]",
)
@client_command
def export(to: Connection, file: Path | None) -> None:
    """Export the audit log as JSON lines, from a server."""
    lines = to.client.audit.export_lines()
    if file is None:
        for line in lines:
            # UTF-8 wherever it goes: what was hashed must not be escaped.
            say(line.encode())
        return
    count = _write_whole(file, lines)
    to.output.note(f"Wrote {count} lines to {file}.")


def _write_whole(file: Path, lines: Iterable[str]) -> int:
    """Write beside the file first: a broken export must not pass for a whole one."""
    part = file.with_name(f".stagegate-export-{uuid.uuid4().hex}.part")
    try:
        with part.open("x", encoding="utf-8") as opened:
            count = sum(1 for line in lines if opened.write(f"{line}\n"))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return count


def _report(to: Connection, file: IO[str] | None) -> VerificationReport:
    if file is not None:
        return verify_export(file)
    source = click.get_current_context().get_parameter_source("url")
    if source in {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}:
        return verify_export(to.client.audit.export_lines())
    # The server's libraries take half a second that the other ways need not pay.
    from registry.cli.configured_database import snapshot_of  # noqa: PLC0415
    from registry.services.audit import verify_database  # noqa: PLC0415

    with snapshot_of(Settings.from_env(os.environ)) as session:
        return verify_database(session)


def _show(output: Output, report: VerificationReport) -> None:
    document = {
        "ok": report.ok,
        "entries": report.entries,
        "chains": report.chains,
        "damage": [asdict(damage) for damage in report.damage],
        "redacted": report.redacted,
        "sealed": report.is_sealed,
        "limits": report.limits,
    }
    lines = [
        f"Damaged: {damage.place}: {damage.kind}: {damage.message}"
        for damage in report.damage
    ]
    verdict = "intact" if report.ok else "DAMAGED"
    summary = f"{report.entries} entries in {report.chains} chains: {verdict}."
    output.sentence(document, "\n".join([*lines, summary, *_reservations(report)]))


def _reservations(report: VerificationReport) -> Iterator[str]:
    """Yield what the verdict does not cover."""
    if report.is_sealed is False:
        yield (
            "This export has no seal, as those of former releases: whether something "
            "was cut off or left out of it cannot be told."
        )
    if report.redacted:
        yield (
            f"{report.redacted} entries are shown without source addresses, so that "
            "only their links could be verified; the export of an admin has them whole."
        )
    if report.is_sealed is not None:
        yield TABLES_NOT_COMPARED
    yield report.limits
