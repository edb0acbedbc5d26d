"""``stagegate import``: models of another registry come here."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    travels_in_clear,
)
from registry.cli.exit_codes import ExitCode
from registry.cli.output import Column, Output, printable
from registry.cli.streams import is_terminal, say_aside
from registry.client import RegistryClient
from registry.client.types import Record
from registry.importing.addresses import Addresses
from registry.importing.mlflow_source import MlflowServer
from registry.importing.report import Count, Kind, Report
from registry.importing.run import Import, OnModel
from registry.importing.trial import TrialWriter
from registry.importing.writer import (
    AddressOf,
    Find,
    RegistryWriter,
    Writer,
    find_here,
)

_FINDINGS = (
    Column("WHAT", "kind"),
    Column("MODEL", "model"),
    Column("VERSION", "version"),
    Column("WHY", "reason"),
)
#: After so many models a log gets a line.
_LINE_EVERY = 50


@click.group("import")
def imports() -> None:
    """Copy models from another registry into this one."""


@imports.command(
    "mlflow",
    epilog=example(
        "stagegate import mlflow --from http://mlflow.internal:5000 --dry-run",
        "stagegate import mlflow --from http://mlflow.internal:5000 --model 'fraud*'",
    ),
)
@click.option(
    "--from",
    "uri",
    required=True,
    metavar="URI",
    help="The MLflow server to copy from. Credentials are read from"
    " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or from"
    " MLFLOW_TRACKING_TOKEN.",
)
@click.option("--from-token", metavar="TOKEN", help="A token for that server.")
@click.option(
    "--model",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only models whose name matches, such as 'fraud-*'; repeatable.",
)
@click.option(
    "--skip-refused",
    is_flag=True,
    help="Leave the number of a version empty for ever that is refused here, in place"
    " of waiting with all later ones of its model.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long the registry may take to check one artifact before it is moved.",
)
@client_command
def mlflow(
    to: Connection,
    uri: str,
    *,
    from_token: str | None,
    patterns: tuple[str, ...],
    skip_refused: bool,
    dry_run: bool,
    wait_seconds: float,
) -> None:
    """Copy models, versions, stages, tags and aliases from an MLflow server.

    What is here is never overwritten, and a second run changes nothing. Every change
    is checked by the policy, audited and announced, as if it was made here; the token
    needs the role promoter.
    """
    with MlflowServer(uri, token=from_token, environ=os.environ) as server:
        if server.has_credentials and travels_in_clear(server.origin):
            to.output.note(
                f"Warning: {server.origin} is plain http, so its credentials can be"
                " read on the way."
            )
        writer: Writer
        if dry_run:
            writer = TrialWriter(
                to.client,
                server.origin,
                lambda find: Addresses(server, find).address_of,
            )
        else:
            writer = RegistryWriter(
                to.client,
                server.origin,
                Addresses(server, find_here(to.client)).address_of,
                wait_seconds=wait_seconds,
            )
        report = Report(server.origin, is_trial=dry_run)
        work = Import(
            server=server,
            client=to.client,
            writer=writer,
            report=report,
            patterns=patterns,
            skip_refused=skip_refused,
        )
        try:
            with progress_of(report) as show:
                work.run(show)
        finally:
            # Also of a run that broke off: it says what was done until then.
            _print(to.output, report)
    if code := _exit_code(report):
        raise click.exceptions.Exit(code)


def _writer(
    client: RegistryClient, server: MlflowServer, *, wait_seconds: float | None
) -> Writer:
    """Return what makes the changes; without a time to wait, what only asks."""

    def looking(find: Find) -> AddressOf:
        return Addresses(server, find).address_of

    if wait_seconds is None:
        return TrialWriter(client, server.origin, looking)
    addresses = looking(find_here(client))
    return RegistryWriter(client, server.origin, addresses, wait_seconds=wait_seconds)


def _exit_code(report: Report) -> ExitCode:
    if report.has(Kind.CONFLICT):
        return ExitCode.CONFLICT
    return ExitCode.REFUSED if report.has(Kind.REFUSED) else ExitCode.DONE


def _print(output: Output, report: Report) -> None:
    with output.after_change():
        output.details(report.document, ["from", *Count])
        findings = [Record(raw=finding.document) for finding in report.findings]
        if findings and not output.is_json:
            output.listing(findings, _FINDINGS)
        if not output.is_json:
            output.sentence({}, _sentence(report))


def _sentence(report: Report) -> str:
    if not report.changes:
        return "Nothing to change." if report.is_trial else "Nothing was changed."
    verb = "would be made; nothing was changed" if report.is_trial else "were made"
    return f"{report.changes} changes {verb}."


@contextmanager
def progress_of(report: Report) -> Iterator[OnModel]:
    """A bar on a terminal; in a log a line now and then."""
    if not is_terminal(sys.stderr):
        yield _line_report(report)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, name: str) -> None:
            # Brackets of a name are no markup.
            title = printable(name).replace("[", r"\[")
            bar.update(task, completed=done, total=total, description=title)

        yield show


def _line_report(report: Report) -> Callable[[int, int, str], None]:
    def show(done: int, total: int, _name: str) -> None:
        if done and (done % _LINE_EVERY == 0 or done == total):
            say_aside(f"{done} of {total} models, {report.changes} changes")

    return show
