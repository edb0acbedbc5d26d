"""Trusted publishers, and the exchange of their jobs' tokens, on the wire."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from marshmallow import fields, validate

from registry.api.schemas.admin import model_pattern
from registry.api.schemas.base import Page, RequestSchema, name, text
from registry.domain.documents import PublisherDocument
from registry.domain.publishers import ROLES, JobProvider
from registry.domain.roles import Role
from registry.domain.timestamps import Instant

MAX_ISSUER_CHARACTERS = 1_024
MAX_CLAIM_CHARACTERS = 600


class NewPublisher(RequestSchema):
    """CI jobs to trust.

    ``claims`` say which. For ``github``: repository, repository_owner_id and workflow,
    and where these are asked for, repository_id, environment and ref. For ``gitlab``:
    project_id, and namespace_id, config, environment and ref. For ``kubernetes``:
    namespace and service_account, and uid.

    ``issuer`` is needed for Kubernetes, and for a GitHub or GitLab of one's own.
    """

    provider = fields.String(required=True, validate=validate.OneOf(list(JobProvider)))
    name = name(required=True)
    issuer = text(maximum=MAX_ISSUER_CHARACTERS, load_default="")
    claims = fields.Dict(
        keys=text(minimum=1, maximum=100),
        values=text(minimum=1, maximum=MAX_CLAIM_CHARACTERS),
        required=True,
    )
    role = fields.String(required=True, validate=validate.OneOf(list(ROLES)))
    models = model_pattern()


class PublisherPage(Page):
    """Trusted publishers."""

    items: Sequence[PublisherDocument]


class NewExchange(RequestSchema):
    """The token that a platform gave its job: a JWT for this server."""

    token = fields.String(required=True, validate=validate.Length(min=1))


class ExchangedToken(TypedDict):
    """A token for a CI job, shown this once."""

    token: str
    expires_at: Instant
    publisher: Annotated[str, "the name of the trusted publisher that the job is"]
    role: Annotated[str, Role]
    models: Annotated[str, "a pattern of those that the role is for"]
