"""What consumers report of the versions that they deploy."""

from functools import partial
from typing import Any, cast

from flask import Response

from registry.api.blueprints import Blueprint
from registry.api.schemas.deployments import (
    DeploymentPage,
    DeploymentsQuery,
    NewDeployment,
    ReportedDeployment,
)
from registry.auth.permissions import Permission, admits_deliveries, requires
from registry.auth.sign_in import current_grant
from registry.domain.commands.deployments import ReportDeployment
from registry.domain.documents import DeploymentStatus, deployment_document
from registry.domain.rows import VersionRow
from registry.errors import (
    RegistryError,
    VerificationBusyError,
    VerificationNeededError,
)
from registry.persistence.database import reading
from registry.persistence.deployments import list_deployments as stored_deployments
from registry.services import deployments
from registry.web.commands import answer_once, commit
from registry.web.paging import decode_cursor, page
from registry.web.verification import verified_digest

blueprint = Blueprint("deployments", __name__, description="Deployments of versions")


@blueprint.route(
    "/models/<name:name>/versions/<number:number>/deployments", methods=["POST"]
)
@admits_deliveries
@requires(Permission.WRITE)
@blueprint.arguments(NewDeployment)
@blueprint.response(200, ReportedDeployment)
@blueprint.alt_response(409, description="It has succeeded already")
@blueprint.alt_response(503, description="What to roll back to is being verified")
def report_deployment(body: dict[str, Any], name: str, number: int) -> Response:
    """Report what became of a version in an environment.

    Signed in with a token of that role, or with the deployment token that a delivery
    of the version's stage change carries. Where the policy rolls a failure back, only
    such a deployment token, or a promoter, does so; ``automatic_rollback`` says it.
    """
    body["status"] = DeploymentStatus(body["status"])
    report = ReportDeployment(model=name, number=number, grant=current_grant(), **body)
    return answer_once(lambda: _report(report))


def _report(report: ReportDeployment) -> Response:
    """Take the report down, what a rollback would put back verified first."""
    digest: str | None = None
    refusal: str | None = None
    while True:
        try:
            return commit(
                partial(
                    deployments.report_deployment,
                    report=report,
                    digest=digest,
                    refusal=refusal,
                )
            )
        except VerificationNeededError as needed:
            digest, refusal = _prepared(needed)


def _prepared(needed: VerificationNeededError) -> tuple[str | None, str | None]:
    """Return the digest of what goes back, or why it may not."""
    try:
        return verified_digest(cast("VersionRow", needed.version)), None
    except VerificationBusyError:
        raise  # Sent again, the report finds it verified, and rolls back.
    except RegistryError as error:
        # The report stands all the same; it says why nothing was rolled back.
        return None, error.message


@blueprint.route(
    "/models/<name:name>/versions/<number:number>/deployments", methods=["GET"]
)
@requires(Permission.READ)
@blueprint.arguments(DeploymentsQuery, location="query")
@blueprint.response(200, DeploymentPage)
def list_deployments(query: dict[str, Any], name: str, number: int) -> Response:
    """List the deployments of a version, newest first."""
    limit = query["limit"]
    rows = stored_deployments(
        reading(),
        name,
        number,
        transition_id=query["transition_id"],
        before=decode_cursor(query["cursor"], str),
        limit=limit + 1,
    )
    return page(
        rows,
        limit,
        document=lambda row: deployment_document(name, row),
        key=lambda row: row.id,
    )
