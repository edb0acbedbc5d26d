"""``stagegate register``: make the next version of a model.

In a CI job the idempotency key stands for the artifact in the model: by its content
when it is uploaded, by its address when it is linked.
"""

import math
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import click

from registry.cli.ci_keys import ci_idempotency_key, is_ci_job
from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    key_option,
    key_values,
)
from registry.cli.output import Output
from registry.cli.progress import transfer_progress
from registry.cli.repeated import tell_repeated
from registry.client import EffectKey, ModelVersion, VersionFacts
from registry.client.registration import is_address
from registry.client.uploads import artifact_digest, local_files
from registry.errors import ArtifactNotFoundError, NotFoundError

MAX_NAMED = 20  #: hidden files


@click.command(
    epilog=example(
        "stagegate register fraud model/ --metric auc=0.93 --tag team=risk",
        "stagegate register fraud s3://models/fraud/2026-11-20 --run-id 3f2a",
        "stagegate register fraud runs:/3f2a/model",
        "stagegate register fraud models:/fraud-candidate/7",
    )
)
@click.argument("model")
@click.argument("path_or_uri")
@click.option("--run-id", help="The run that made the artifact.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="A tag; repeatable.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="K=V", help="A metric; repeatable."
)
@click.option(
    "--param", "params", multiple=True, metavar="K=V", help="A parameter; repeatable."
)
@click.option("--git-commit", help="The commit of the training code.")
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="A data set it was trained on; repeatable.",
)
@click.option("--description", help="What is special about this version.")
@click.option(
    "--create/--no-create",
    default=True,
    show_default=True,
    help="Create the model when it does not exist.",
)
@click.option(
    "--follow-links",
    is_flag=True,
    help="Upload what links lead to outside of the directory, too.",
)
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long the registry may take to check the artifact.",
)
@key_option
@client_command
def register(
    to: Connection,
    model: str,
    path_or_uri: str,
    *,
    create: bool,
    follow_links: bool,
    wait_seconds: float,
    idempotency_key: str | None,
    metrics: tuple[str, ...],
    **described: str | tuple[str, ...] | None,
) -> None:
    """Register a file, a directory or an address as the next version."""
    facts = _facts(described)
    if metrics:
        facts["metrics"] = _numbers(metrics)
    key = idempotency_key or _job_key(model, path_or_uri, follow_links=follow_links)

    register_it = partial(
        to.client.register,
        model,
        path_or_uri,
        on_hidden=_naming_once(to.output),
        follow_links=follow_links,
        wait_seconds=wait_seconds,
        idempotency_key=key,
        **facts,
    )
    try:
        version = _with_progress(register_it)
    except ArtifactNotFoundError:
        raise
    except NotFoundError:
        if not create:
            raise
        # Only now: a path that does not exist must not leave a model behind.
        to.client.ensure_model(model)
        version = _with_progress(register_it)
    _tell(to, version)


def _job_key(model: str, path_or_uri: str, *, follow_links: bool) -> EffectKey | None:
    """Return the key of the CI job, if any: only then the artifact is hashed."""
    if not is_ci_job(os.environ):
        return None
    what = path_or_uri
    if not is_address(path_or_uri):
        files = local_files(Path(path_or_uri), follow_links=follow_links)
        what = artifact_digest(files)
    return ci_idempotency_key(os.environ, "register", model, what)


def _tell(to: Connection, version: ModelVersion) -> None:
    name = f"{version.model} version {version.version}"
    artifact = version.artifact_digest or "artifact not verified"
    if not version.replayed:
        to.output.done(version.raw, f"Registered {name} ({artifact}).")
        to.point_to("models", version.model, "versions", version.version)
        return
    done = f"{name} ({artifact}) was registered at {version.raw.get('created_at')}"
    tell_repeated(to, version, done, lambda now: now)


def _with_progress(register_it: Callable[..., ModelVersion]) -> ModelVersion:
    with transfer_progress("Uploading") as report:
        return register_it(on_progress=report)


def _naming_once(output: Output) -> Callable[[list[str]], None]:
    """Names hidden files the first time that it is told of them."""
    told: list[str] = []

    def name(hidden: list[str]) -> None:
        more = len(hidden) - MAX_NAMED
        named = ", ".join(hidden[:MAX_NAMED]) + (
            f" and {more} more" if more > 0 else ""
        )
        if not told:
            output.note(f"Warning: hidden files are uploaded as well: {named}")
        told.extend(hidden)

    return name


def _facts(described: dict[str, str | tuple[str, ...] | None]) -> VersionFacts:
    """Return what the options say, without those that were not given."""
    facts = VersionFacts()
    if tags := described["tags"]:
        facts["tags"] = key_values(tags, "--tag")
    if params := described["params"]:
        facts["params"] = key_values(params, "--param")
    if datasets := described["datasets"]:
        facts["datasets"] = [{"name": name} for name in datasets]
    for name in ("run_id", "git_commit", "description"):
        if value := described[name]:
            facts[name] = str(value)
    return facts


def _numbers(pairs: Iterable[str]) -> dict[str, float]:
    numbers = {}
    for key, text in key_values(pairs, "--metric").items():
        try:
            numbers[key] = float(text)
        except ValueError:
            numbers[key] = math.nan
        if not math.isfinite(numbers[key]):
            raise click.BadParameter(
                f"{key}={text}: {text!r} is not a number", param_hint="--metric"
            )
    return numbers
