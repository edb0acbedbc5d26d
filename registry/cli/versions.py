"""``stagegate versions``: model versions and their artifacts."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.output import Column
from registry.cli.progress import transfer_progress
from registry.client import ModelVersion

Command = TypeVar("Command", bound=Callable[..., Any])

MAX_DIRECTORY_BYTES = 255
VERSION_MEMBERS = (
    "model",
    "version",
    "stage",
    "status",
    "status_message",
    "aliases",
    "source",
    "download_uri",
    "verified",
    "artifact_digest",
    "artifact_size_bytes",
    "run_id",
    "run_link",
    "run",
    "logged_model_id",
    "git_commit",
    "datasets",
    "description",
    "tags",
    "params",
    "metrics",
    "created_at",
    "created_by",
    "updated_at",
)
_COLUMNS = (
    Column("VERSION", "version"),
    Column("STAGE", "stage"),
    Column("STATUS", "status"),
    Column("ALIASES", "aliases"),
    Column("RUN", "run_id"),
    Column("CREATED", "created_at"),
    Column("BY", "created_by"),
)


def version_selector(command: Command) -> Command:
    """Let a command take a version by number, stage or alias."""
    selectors = (
        click.argument("model"),
        click.argument("version", type=click.IntRange(min=1), required=False),
        click.option("--stage", help="The version that holds this stage."),
        click.option("--alias", help="The version this alias points at."),
    )
    for selector in reversed(selectors):
        command = selector(command)
    return command


def selected_version(
    to: Connection, model: str, version: int | None, **by: str | None
) -> ModelVersion:
    """Return the version that number, ``stage`` or ``alias`` selects.

    Raises:
        click.UsageError: unless exactly one of them is given.
    """
    stage, alias = by.get("stage"), by.get("alias")
    if sum(selector is not None for selector in (version, stage, alias)) != 1:
        raise click.UsageError("Give exactly one of VERSION, --stage and --alias.")
    if stage is not None:
        return to.client.stage_holder(model, stage)
    if alias is not None:
        return to.client.get_alias(model, alias)
    return to.client.get_version(model, version or 0)


def _directory_for(version: ModelVersion) -> Path:
    """``MODEL-VERSION``, where a file system holds that.

    Raises:
        click.UsageError: the name of the model is too long.
    """
    name = f"{version.model}-{version.version}"
    if len(name.encode()) > MAX_DIRECTORY_BYTES:
        raise click.UsageError(
            "The name of the model is too long for a directory; give one with --to."
        )
    return Path(name)


@click.group()
def versions() -> None:
    """List, show, verify and download model versions."""


@versions.command("list", epilog=example("stagegate versions list fraud"))
@click.argument("model")
@click.option("--stage", help="Only the versions in this stage.")
@click.option("--limit", type=click.IntRange(min=1), help="Show at most this many.")
@client_command
def list_versions(
    to: Connection, model: str, stage: str | None, limit: int | None
) -> None:
    """List the versions of a model."""
    to.output.listing(islice(to.client.versions(model, stage=stage), limit), _COLUMNS)


@versions.command(
    epilog=example(
        "stagegate versions show fraud 7",
        "stagegate versions show fraud --stage Production",
    )
)
@version_selector
@client_command
def show(
    to: Connection,
    model: str,
    version: int | None,
    *,
    stage: str | None,
    alias: str | None,
) -> None:
    """Show one version, by number, stage or alias."""
    record = selected_version(to, model, version, stage=stage, alias=alias)
    to.output.details(record.raw, VERSION_MEMBERS)


@versions.command(epilog=example("stagegate versions verify fraud 7"))
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@client_command
def verify(to: Connection, model: str, version: int) -> None:
    """Have a version's artifact hashed again, as after it was restored."""
    record = to.client.verify(model, version)
    to.output.done(
        record.raw,
        f"The artifact of {model} version {version} is as it was registered.",
    )


@versions.command(
    epilog=example("stagegate versions download fraud --stage Production --to model/")
)
@version_selector
@click.option(
    "--to",
    "destination",
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory to download to.  [default: MODEL-VERSION]",
)
@click.option("--file", "path", metavar="PATH", help="Only this file of the artifact.")
@client_command
def download(
    to: Connection,
    model: str,
    version: int | None,
    *,
    stage: str | None,
    alias: str | None,
    destination: Path | None,
    path: str | None,
) -> None:
    """Download a version's artifact and check its digests."""
    record = selected_version(to, model, version, stage=stage, alias=alias)
    target = destination or _directory_for(record)
    with transfer_progress("Downloading") as report:
        files = to.client.download(
            record.model, record.version, target, path=path, on_progress=report
        )
    if not all(file.verified for file in files):
        to.output.note("Warning: the registry has no digest to check some files with.")
    to.output.done(
        {
            "version": record.raw,
            "destination": str(target),
            "files": [
                {
                    "path": file.path,
                    "size_bytes": file.size_bytes,
                    "verified": file.verified,
                }
                for file in files
            ],
        },
        f"Downloaded {len(files)} file(s) of {record.model} version {record.version}"
        f" to {target}.",
    )
