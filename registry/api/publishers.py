"""``/trusted-publishers`` and ``/oidc/exchange``: CI jobs without stored secrets."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.base import PageQuery
from registry.api.schemas.publishers import (
    ExchangedToken,
    NewExchange,
    NewPublisher,
    PublisherPage,
)
from registry.auth.permissions import Permission, requires
from registry.auth.sign_in import act_as, counting_failures
from registry.domain.documents import PublisherDocument, publisher_document
from registry.domain.publishers import JobProvider
from registry.domain.roles import Grant
from registry.errors import NotFoundError
from registry.persistence.database import end_reading, reading
from registry.services import exchange, publishers
from registry.services.exchange import Job
from registry.services.transaction import Transaction
from registry.web.commands import answer_once, commit, parts
from registry.web.paging import decode_cursor, page

blueprint = Blueprint(
    "publishers", __name__, description="CI jobs without stored secrets"
)


@blueprint.route("/trusted-publishers", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, PublisherPage)
def list_publishers(query: dict[str, Any]) -> Response:
    """List the trusted publishers."""
    limit = query["limit"]
    rows = publishers.list_publishers(
        reading(), after=decode_cursor(query["cursor"], str), limit=limit + 1
    )
    return page(rows, limit, document=publisher_document, key=lambda p: p.id)


@blueprint.route("/trusted-publishers", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.arguments(NewPublisher)
@blueprint.response(201, PublisherDocument)
def create_publisher(body: dict[str, Any]) -> Response:
    """Trust the CI jobs of a repository, a project or a service account."""

    def work(tx: Transaction) -> PublisherDocument:
        return publishers.create(
            tx,
            JobProvider(body["provider"]),
            body["name"],
            Grant.parse(body["role"], body["models"]),
            claims=body["claims"],
            issuer=body["issuer"],
        )

    return answer_once(lambda: commit(work, status=201))


@blueprint.route("/trusted-publishers/<name:publisher_id>", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.response(200, PublisherDocument)
def show_publisher(publisher_id: str) -> Response:
    """Show a trusted publisher."""
    return jsonify(publisher_document(publishers.find(reading(), publisher_id)))


@blueprint.route("/trusted-publishers/<name:publisher_id>", methods=["DELETE"])
@requires(Permission.ADMIN)
@blueprint.response(204)
def delete_publisher(publisher_id: str) -> Response:
    """Trust it no more; the tokens of its jobs end with it."""
    return commit(lambda tx: publishers.delete(tx, publisher_id))


@blueprint.route("/oidc/exchange", methods=["POST"])
@requires(Permission.PUBLIC)
@blueprint.arguments(NewExchange)
@blueprint.response(200, ExchangedToken)
@blueprint.alt_response(401, description="It is not good, or was exchanged before")
@blueprint.alt_response(404, description="This server has set no audience")
@blueprint.alt_response(429, description="Too many failures came from here")
@blueprint.alt_response(503, description="The issuer, or the database, is away")
def exchange_token(body: dict[str, Any]) -> Response:
    """Give a CI job a token of ours, for the one that its platform gave it.

    Each is exchanged once, for a token of 15 minutes. No other credential is looked at.
    """
    with counting_failures():
        job = _job(body["token"])
        act_as(job.actor)
        return commit(lambda tx: exchange.exchange(tx, job), is_answer=False)


def _job(token: str) -> Job:
    audience = parts().settings.oidc_audience
    if not audience:
        raise NotFoundError(
            "no audience is set here: the operator sets STAGEGATE_PUBLIC_URL or"
            " STAGEGATE_OIDC_AUDIENCE"
        )
    issuers = parts().job_issuers
    issuer = issuers.named_by(token)
    provider = publishers.trusted_provider(reading(), issuer)
    end_reading()  # the issuer may take its time
    with parts().rooms.sign_ins.place():
        claims = issuers.verified(token, issuer, provider, audience=audience)
    job = exchange.job_of(reading(), token, claims, provider, now=datetime.now(UTC))
    end_reading()
    return job
