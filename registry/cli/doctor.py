"""``stagegate doctor``: whether the database holds all that it should.

Rules:

- It reads the database that the settings name, as ``audit verify`` does without an
  address, and changes nothing. It may run beside a server.
- What is not in order is named, and ends with exit code 1.
"""

import os
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from registry.cli.client_command import example, output_option
from registry.cli.configured_database import snapshot_of
from registry.cli.exit_codes import ExitCode
from registry.cli.failures import failure_of
from registry.cli.output import Output, OutputFormat
from registry.doctor import Examination, examine
from registry.domain.timestamps import rfc3339
from registry.errors import RegistryError
from registry.settings import Settings


@click.command(epilog=example("stagegate doctor", "stagegate doctor -o json"))
@output_option
def doctor(output_format: str) -> None:
    """Prove that nothing is missing or contradicts the audit log.

    Every stage change has its event, every event its deliveries, every artifact its
    manifest; stages, names, aliases, digests and roles are what the audit log says.
    """
    output = Output(OutputFormat(output_format))
    try:
        settings = Settings.from_env(os.environ)
        keep = timedelta(days=settings.webhook_retention_days)
        with snapshot_of(settings) as session:
            examination = examine(session, keep=keep, now=datetime.now(UTC))
    except (RegistryError, OSError) as error:
        raise failure_of(error, as_json=output.is_json) from error
    _show(output, examination)
    if examination.problems:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _show(output: Output, examination: Examination) -> None:
    audit, counts = examination.audit, examination.counts
    problems = [asdict(problem) for problem in examination.problems]
    document = {
        "ok": not problems,
        "entries": audit.entries,
        "chains": audit.chains,
        **{name: counts[name] for name in ("manifests", "stage_changes", "events")},
        "since": rfc3339(examination.since),
        "problems": problems,
        "limits": audit.limits,
    }
    summary = (
        "{entries} entries in {chains} chains, {manifests} manifests; "
        "{stage_changes} stage changes and {events} events since {since}: "
    ).format(**document)
    verdict = f"{len(problems)} PROBLEMS." if problems else "in order."
    lines = map("Problem: {place}: {message}".format_map, problems)
    output.sentence(document, "\n".join([*lines, summary + verdict, audit.limits]))
