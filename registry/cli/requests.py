"""``stagegate requests``: stage changes that others approve."""

import os
from itertools import islice

import click

from registry.cli.approvals import GATE_COLUMNS, approvals
from registry.cli.ci_keys import ci_idempotency_key
from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    key_option,
)
from registry.cli.output import Column

_COLUMNS = (
    Column("ID", "id"),
    Column("MODEL", "model"),
    Column("VERSION", "version"),
    Column("FROM", "from_stage"),
    Column("TO", "to_stage"),
    Column("STATE", "state"),
    Column("APPROVALS", "approvals_needed"),
    Column("ASKED BY", "requested_by.name"),
    Column("CREATED", "created_at"),
)
_MEMBERS = (
    "id",
    "model",
    "version",
    "from_stage",
    "to_stage",
    "is_rollback",
    "reason",
    "state",
    "approvals_needed",
    "requested_by.name",
    "artifact_digest",
    "created_at",
    "expires_at",
    "closed_at",
    "closed_by",
    "comment",
    "transition_id",
)
_APPROVAL_COLUMNS = (
    Column("APPROVED BY", "approved_by"),
    Column("AT", "at"),
    Column("STILL COUNTS", "valid"),
    Column("COMMENT", "comment"),
)
_comment = click.option("--comment", default="", help="Why; kept in the audit log.")


@click.group()
def requests() -> None:
    """Ask for stage changes, and approve or reject them."""


@requests.command("list", epilog=example("stagegate requests list --model fraud"))
@click.option("--model", help="Only those of this model.")
@click.option("--all", "is_all", is_flag=True, help="Those that are closed, too.")
@click.option("--limit", type=click.IntRange(min=1), help="Show at most this many.")
@client_command
def list_(
    to: Connection, model: str | None, *, is_all: bool, limit: int | None
) -> None:
    """List the requests that wait for approvals, newest first."""
    found = to.client.requests.list(model=model, state="all" if is_all else "open")
    to.output.listing(islice(found, limit), _COLUMNS)


@requests.command(epilog=example("stagegate requests show ID"))
@click.argument("request_id", metavar="ID")
@client_command
def show(to: Connection, request_id: str) -> None:
    """Show a request with its approvals, and every gate as it stands."""
    request = to.client.requests.get(request_id)
    to.output.details(request.raw, _MEMBERS)
    if to.output.is_json:
        return
    for records, columns in (
        (request.approvals, _APPROVAL_COLUMNS),
        (request.gates, GATE_COLUMNS),
    ):
        if records:
            to.output.sentence({}, "")
            to.output.listing(records, columns)


@requests.command(
    epilog=example("stagegate requests create fraud 7 --to Production --reason 'ready'")
)
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--to", "to_stage", required=True, metavar="STAGE", help="The stage.")
@click.option("--reason", default="", help="Why; kept in the audit log.")
@key_option
@client_command
def create(
    to: Connection,
    model: str,
    version: int,
    *,
    to_stage: str,
    reason: str,
    idempotency_key: str | None,
) -> None:
    """Ask others to approve a move, whether or not the policy wants that.

    Gates need not pass yet: they must when it is approved.
    """
    key = idempotency_key or ci_idempotency_key(
        os.environ, "request", model, version, to_stage
    )
    request = to.client.requests.create(
        model, version, to_stage, reason=reason, idempotency_key=key
    )
    replayed = {"replayed": True} if request.replayed else {}
    to.output.done(
        {**request.raw, **replayed},
        f"Transition request {request.id} asks for"
        f" {approvals(request.approvals_needed)} of the move of {model} version"
        f" {version} to {request.to_stage}.",
    )
    to.point_to("requests", request.id)


@requests.command(epilog=example("stagegate requests approve ID --comment 'fine'"))
@click.argument("request_id", metavar="ID")
@_comment
@client_command
def approve(to: Connection, request_id: str, *, comment: str) -> None:
    """Approve a request; the last approval that is needed makes the move.

    Nobody approves what they asked for.
    """
    request = to.client.requests.approve(request_id, comment=comment)
    made = request.transition
    became = (
        f"{request.model} version {request.version} is now in {made.version.stage}"
        f" ({made.cause})."
        if made
        else f"It takes {approvals(request.approvals_needed)} in all."
    )
    to.output.done(request.raw, f"Approved {request.id}. {became}")


@requests.command(epilog=example("stagegate requests reject ID --comment 'too early'"))
@click.argument("request_id", metavar="ID")
@_comment
@client_command
def reject(to: Connection, request_id: str, *, comment: str) -> None:
    """Reject a request, as who may approve it."""
    request = to.client.requests.reject(request_id, comment=comment)
    to.output.done(request.raw, f"Rejected {request.id}.")


@requests.command(epilog=example("stagegate requests cancel ID"))
@click.argument("request_id", metavar="ID")
@_comment
@client_command
def cancel(to: Connection, request_id: str, *, comment: str) -> None:
    """Cancel a request, as who asked for it."""
    request = to.client.requests.cancel(request_id, comment=comment)
    to.output.done(request.raw, f"Cancelled {request.id}.")
