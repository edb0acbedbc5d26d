"""What is said of a stage change that others approve, or that is looked at first.

Rules:

- A move that became a request is told as done (exit 0): asking for it is all that its
  command can do. Who needs to know that it was made waits for it (``--wait``).
- A dry run ends as the refusal would (exit 3) where a gate does not pass.
"""

import time

import click

from registry.cli.client_command import Connection
from registry.cli.exit_codes import ExitCode
from registry.cli.output import Column
from registry.client import PreviewRecord, Transition, TransitionRequest

GATE_COLUMNS = (
    Column("GATE", "kind"),
    Column("NAME", "name"),
    Column("STATE", "state"),
    Column("WHY NOT", "message"),
)


def tell_asked(to: Connection, request: TransitionRequest) -> None:
    """Say that a move became a request; of an earlier one, how it stands now."""
    now = _as_it_is_now(to, request)
    replayed = {"replayed": True} if request.replayed else {}
    to.output.done({"request": now.raw, **replayed}, _asked(now))
    _tell_what_to_run(to, now)


def wait_until_approved(
    to: Connection, request: TransitionRequest, seconds: float
) -> tuple[Transition, float]:
    """Return the move that a request became, and the seconds that are left.

    Raises:
        RequestClosedError: when it was rejected, or does not stand any more.
        WaitTimeoutError: when the time is up.
    """
    now = _as_it_is_now(to, request)
    to.output.note(_asked(now))
    _tell_what_to_run(to, now)
    began_at = time.monotonic()
    transition = to.client.requests.wait(request.id, timeout_seconds=seconds)
    return transition, max(0.0, seconds - (time.monotonic() - began_at))


def tell_preview(to: Connection, preview: PreviewRecord) -> None:
    """Show what would become of a move, and every gate.

    Raises:
        click.exceptions.Exit: when it would be refused.
    """
    to.output.sentence(preview.raw, _foreseen(preview))
    if preview.gates and not to.output.is_json:
        to.output.listing(preview.gates, GATE_COLUMNS)
    if preview.request:
        _tell_what_to_run(to, preview.request)
    if preview.reasons:
        raise click.exceptions.Exit(ExitCode.REFUSED)


def approvals(count: int) -> str:
    """Return how many approvals, in words."""
    return f"{count} approval{'' if count == 1 else 's'}"


def _asked(request: TransitionRequest) -> str:
    what = f"{request.model} version {request.version}"
    if not request.is_open:
        by = f" by {request.closed_by}" if request.closed_by else ""
        return f"{what}: transition request {request.id} is {request.state}{by}."
    return (
        f"{what} stays in {request.from_stage} for now: transition request {request.id}"
        f" asks for {approvals(request.approvals_needed)} of its move to"
        f" {request.to_stage}."
    )


def _as_it_is_now(to: Connection, request: TransitionRequest) -> TransitionRequest:
    return to.client.requests.get(request.id) if request.replayed else request


def _tell_what_to_run(to: Connection, request: TransitionRequest) -> None:
    if request.is_open:
        to.point_to("requests", request.id)
        to.output.note(
            f"Look at it: stagegate requests show {request.id}\n"
            f"Somebody else approves it: stagegate requests approve {request.id}"
        )
    elif request.transition_id is None:
        to.output.note("To ask again, give another --idempotency-key.")


def _foreseen(preview: PreviewRecord) -> str:
    move = (
        f"The move of {preview.model} version {preview.version} from"
        f" {preview.from_stage} to {preview.to_stage}"
    )
    if preview.reasons:
        return f"{move} would be refused: {'; '.join(preview.reasons)}."
    if not preview.allowed:
        needed = approvals(preview.approvals_needed)
        return (
            f"{move} would become a transition request: it takes {needed},"
            f" {preview.approvals_given} given."
        )
    leaving = ", ".join(f"version {number}" for number in preview.leaving)
    aside = f"; out of the stage goes {leaving}" if leaving else ""
    return f"{move} would be made at once ({preview.cause}){aside}."
