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


def _show(output: Output, found: Examination) -> None:
    problems = found.problems
    looked_at = {
        "entries": found.audit.entries,
        "chains": found.audit.chains,
        **{name: found.counts[name] for name in ("stage_changes", "events")},
        "manifests": found.counts["manifests"],
    }
    document = {
        "ok": not problems,
        **looked_at,
        "since": rfc3339(found.since),
        "problems": [asdict(problem) for problem in problems],
        "limits": found.audit.limits,
    }
    lines = [f"Problem: {each.place}: {each.message}" for each in problems]
    verdict = f"{len(problems)} PROBLEMS" if problems else "in order"
    counts = "{entries} entries in {chains} chains, {manifests} manifests; since "
    counts += "{since} {stage_changes} stage changes and {events} events: {verdict}."
    summary = counts.format(**looked_at, since=document["since"], verdict=verdict)
    output.sentence(document, "\n".join([*lines, summary, found.audit.limits]))
