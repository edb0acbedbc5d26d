"""``stagegate promote``, ``rollback`` and ``archive``: stage changes.

Rules:

- In a CI job the idempotency key comes from the job (``registry.cli.ci_keys``). An
  answer that was replayed is told as what happened then, with where the version is
  now.
- Where others are to approve a change, it becomes a request (exit 0); ``--wait`` waits
  until that is approved first.
- The result is printed before ``--wait`` begins: the change stands, whatever
  becomes of its deliveries and its deployments.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict, Unpack

import click

from registry.cli.approvals import (
    tell_asked,
    tell_preview,
    wait_until_approved,
)
from registry.cli.ci_keys import ci_idempotency_key
from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    key_option,
)
from registry.cli.repeated import tell_repeated
from registry.cli.rollout import rollout_display
from registry.client import Moved, Rollout, Transition, TransitionRequest
from registry.client.registry_client import ExpectedIncumbent


def incumbent(value: str) -> ExpectedIncumbent:
    """Read a version number, or ``none`` for a stage that nobody holds.

    Raises:
        click.BadParameter: for anything else.
    """
    if value == "none":
        return "none"
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a version nor 'none'")
    return int(value)


class How(TypedDict):
    """What else a promotion is told."""

    expected_incumbent: ExpectedIncumbent
    break_glass: bool


@dataclass(frozen=True)
class Waiting:
    """How long to wait for what becomes of a change; None not to wait."""

    seconds: float | None
    must_deploy: bool

    def __post_init__(self) -> None:
        if self.must_deploy and self.seconds is None:
            raise click.UsageError("--wait-deployed needs --wait SECONDS.")


def change_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the options that every stage change has."""
    options = (
        click.option("--reason", default="", help="Why; kept in the audit log."),
        key_option,
        click.option(
            "--wait",
            "wait_seconds",
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            help="Wait until the change is approved, where others must, every webhook"
            " delivery of it is acknowledged, and every deployment that a consumer"
            " reported of it has succeeded.",
        ),
        click.option(
            "--wait-deployed",
            "must_deploy",
            is_flag=True,
            help="With --wait: wait for a deployment to be reported, too.",
        ),
    )

    @functools.wraps(command)
    def waiting(
        *args: object, wait_seconds: float | None, must_deploy: bool, **kwargs: object
    ) -> None:
        command(*args, waiting=Waiting(wait_seconds, must_deploy), **kwargs)

    for option in reversed(options):
        waiting = option(waiting)
    return waiting


def finish(to: Connection, moved: Moved, waiting: Waiting) -> None:
    """Print what happened, then wait for what becomes of it when asked to."""
    if not isinstance(moved, TransitionRequest):
        _finish(to, moved, waiting)
    elif waiting.seconds is None:
        tell_asked(to, moved)
    else:
        transition, left = wait_until_approved(to, moved, waiting.seconds)
        _finish(to, transition, Waiting(left, waiting.must_deploy))


def _finish(to: Connection, transition: Transition, waiting: Waiting) -> None:
    if transition.replayed:
        _tell_repeated(to, transition)
    else:
        to.output.done(transition.raw, _sentence(transition))
        if transition.verified is False:
            to.output.note("Its artifact is not verified.")
        moved = transition.version
        to.point_to("models", moved.model, "versions", moved.version)
    if waiting.seconds is None:
        return
    with rollout_display() as show:
        rollout = to.client.wait_for_rollout(
            transition,
            timeout_seconds=waiting.seconds,
            must_deploy=waiting.must_deploy,
            on_look=show,
        )
    to.output.note(_ended(rollout))


def _ended(rollout: Rollout) -> str:
    taken = len(rollout.deliveries)
    said = (
        f"Webhook deliveries acknowledged: {taken}."
        if taken
        else "No webhook listens to this change."
    )
    deployed = ", ".join(deployment.environment for deployment in rollout.deployments)
    return f"{said} Deployed to {deployed}." if deployed else said


def _tell_repeated(to: Connection, transition: Transition) -> None:
    then = transition.version
    moved = {"moved_to": then.stage, "moved_at": then.raw.get("updated_at")}
    tell_repeated(
        to,
        then,
        f"{then.model} version {then.version} was moved to {moved['moved_to']}"
        f" ({transition.cause}) at {moved['moved_at']}",
        lambda now: {**transition.raw, **moved, "version": now},
    )


def _sentence(transition: Transition) -> str:
    version = transition.version
    aside = (
        f"; version {transition.superseded} is archived"
        if transition.superseded is not None
        else ""
    )
    return (
        f"{version.model} version {version.version} is now in {version.stage}"
        f" ({transition.cause}){aside}."
    )


@click.command(
    epilog=example(
        "stagegate promote fraud 7 --to Production --reason 'passed shadow test'",
        "stagegate promote fraud 7 --to Production --expect-incumbent 6 --wait 60",
        "stagegate promote fraud 7 --to Production --dry-run",
    )
)
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--to", "to_stage", required=True, metavar="STAGE", help="The stage.")
@click.option(
    "--expect-incumbent",
    "expected_incumbent",
    type=incumbent,
    metavar="[N|none]",
    help="Refuse when another version (or any, with 'none') holds the stage.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Change nothing: show every gate with its state. Exit 0 when the move would be"
    " made, or become a request; 3 when it would be refused.",
)
@click.option(
    "--break-glass",
    is_flag=True,
    help="Go past gates and approvals, by its own permission; --reason is required.",
)
@change_options
@client_command
def promote(
    to: Connection,
    model: str,
    version: int,
    *,
    to_stage: str,
    dry_run: bool,
    reason: str,
    idempotency_key: str | None,
    waiting: Waiting,
    **how: Unpack[How],
) -> None:
    """Move a version to a stage, or ask for that where others must approve."""
    if dry_run:
        if how["break_glass"]:
            raise click.UsageError("--dry-run shows the gates, --break-glass passes.")
        tell_preview(to, to.client.preview(model, version, to_stage))
        return
    key = idempotency_key or ci_idempotency_key(
        os.environ, "promote", model, version, to_stage
    )
    moved = to.client.transition(
        model,
        version,
        to_stage,
        reason=reason,
        idempotency_key=key,
        **how,
    )
    finish(to, moved, waiting)


@click.command(
    epilog=example(
        "stagegate rollback fraud --reason 'false positives tripled' --wait 60"
    )
)
@click.argument("model")
@click.option(
    "--to",
    "to_version",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="The version to put back.  [default: the one that served before]",
)
@change_options
@client_command
def rollback(
    to: Connection,
    model: str,
    *,
    to_version: int | None,
    reason: str,
    idempotency_key: str | None,
    waiting: Waiting,
) -> None:
    """Put back the version that served before."""
    key = idempotency_key or ci_idempotency_key(
        os.environ, "rollback", model, to_version
    )
    moved = to.client.rollback(
        model, to_version=to_version, reason=reason, idempotency_key=key
    )
    finish(to, moved, waiting)


@click.command(epilog=example("stagegate archive fraud 3 --reason 'failed review'"))
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@change_options
@client_command
def archive(
    to: Connection,
    model: str,
    version: int,
    *,
    reason: str,
    idempotency_key: str | None,
    waiting: Waiting,
) -> None:
    """Move a version to Archived."""
    key = idempotency_key or ci_idempotency_key(os.environ, "archive", model, version)
    moved = to.client.archive(model, version, reason=reason, idempotency_key=key)
    finish(to, moved, waiting)
