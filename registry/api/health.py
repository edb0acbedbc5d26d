"""Probes and metrics, outside ``/api/v1``: no sign-in, no facts about models."""

import prometheus_client
from flask import Blueprint, Response, current_app, jsonify

from registry.api.metrics import registry_of
from registry.auth.permissions import Permission, requires
from registry.web.commands import parts

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@requires(Permission.PUBLIC)
def healthz() -> Response:
    """Whether the process answers; asks nothing else."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
@requires(Permission.PUBLIC)
def readyz() -> Response:
    """Whether the database can be served from and what delivers is alive."""
    problem = parts().readiness.problem()
    answer = jsonify({"status": problem or "ok"})
    answer.status_code = 503 if problem else 200
    return answer


@blueprint.get("/metrics")
@requires(Permission.PUBLIC)
def metrics() -> Response:
    """Metrics in Prometheus' text format."""
    return Response(
        prometheus_client.generate_latest(registry_of(current_app)),
        mimetype=prometheus_client.CONTENT_TYPE_LATEST,
    )
