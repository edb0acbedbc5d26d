"""Rows as the documents that the API answers and the audit log keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypedDict

from registry.domain.gates import Gate, GateKind, GateState
from registry.domain.holds import Hold, HoldDocument
from registry.domain.policy import NONE
from registry.domain.publishers import JobProvider
from registry.domain.requests import RequestState
from registry.domain.roles import Role
from registry.domain.rows import (
    ApprovalRow,
    CheckRow,
    CheckStatus,
    CommentRow,
    DeploymentRow,
    ModelRow,
    PublisherRow,
    RequestRow,
    RoleBindingRow,
    StageChangeRow,
    TokenRow,
    VersionRow,
    VersionStatus,
)
from registry.domain.timestamps import Instant, rfc3339

Document = dict[str, Any]


class DeploymentStatus(StrEnum):
    """How far a deployment has come."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ModelDocument(TypedDict):
    """A registered model."""

    name: str
    description: str
    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    stages: Annotated[Mapping[str, Sequence[int]], "versions in use, by stage"]
    latest_version: int | None
    holds: Annotated[Sequence[HoldDocument], "what keeps versions out of stages"]
    created_at: Instant
    created_by: str
    updated_at: Instant


class VersionDocument(TypedDict):
    """A model version."""

    model: str
    version: int
    stage: str
    status: Annotated[str, VersionStatus]
    status_message: str
    source: str
    download_uri: Annotated[str, "where the bytes are; the source where it says so"]
    verified: Annotated[bool, "whether the artifact is what was registered"]
    artifact_digest: str | None
    artifact_size_bytes: int | None
    run_id: str | None
    run_link: Annotated[str, "where a person sees the run"]
    run: Annotated[
        Mapping[str, Any] | None,
        "the run as the tracking server had it when the version "
        "was registered; null where none is set, and `problem` says why when it "
        "did not tell",
    ]
    logged_model_id: str | None
    git_commit: str | None
    description: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    datasets: Sequence[Mapping[str, str]]
    aliases: Sequence[str]
    created_at: Instant
    created_by: str
    updated_at: Instant


class ActorDocument(TypedDict):
    """Who did it."""

    kind: str
    name: str


class StageChangeDocument(TypedDict):
    """One version that entered one stage."""

    transition_id: str
    sequence: int
    version: int
    from_stage: str
    to_stage: str
    cause: str
    reason: str
    verified: Annotated[bool | None, "null for changes of a former release"]
    actor: ActorDocument
    at: Instant
    request_id: Annotated[str | None, "the request that was approved for it"]
    broke_glass: Annotated[bool, "whether it went past its gates"]
    held: Annotated[bool, "whether its stage is held since then"]


class DeploymentDocument(TypedDict):
    """A deployment that a consumer reported."""

    id: str
    model: str
    version: int
    transition_id: str | None
    delivery_id: str | None
    environment: str
    status: Annotated[str, DeploymentStatus]
    url: str | None
    description: str
    reported_by: str
    created_at: Instant
    updated_at: Instant


class CheckDocument(TypedDict):
    """The last result of a check that CI ran on a version."""

    name: str
    status: Annotated[str, CheckStatus]
    url: str | None
    description: str
    reported_by: str
    created_at: Instant
    updated_at: Instant


class RequestDocument(TypedDict):
    """A transition request, and what an approval of it is for."""

    id: str
    model: str
    version: int
    from_stage: str
    to_stage: str
    is_rollback: bool
    reason: str
    state: Annotated[str, RequestState]
    approvals_needed: int
    artifact_digest: str | None
    policy: Annotated[str, "the digest of the policy file"]
    requested_by: ActorDocument
    created_at: Instant
    expires_at: Instant
    closed_at: Instant | None
    closed_by: str | None
    comment: Annotated[str, "of who closed it"]
    transition_id: str | None


class ApprovalDocument(TypedDict):
    """One approval of a transition request."""

    approved_by: str
    comment: str
    at: Instant
    valid: Annotated[
        bool | None,
        "whether all that it was given for is as it was then; null once that is over",
    ]


class GateDocument(TypedDict):
    """A gate as it stands; ``message`` says why it does not pass."""

    kind: Annotated[str, GateKind]
    name: str
    state: Annotated[str, GateState]
    message: str


class Preview(TypedDict):
    """What would become of a stage change."""

    model: str
    version: int
    from_stage: str
    to_stage: str
    allowed: Annotated[bool, "whether it would be made at once"]
    cause: Annotated[str | None, "null where no rule allows it"]
    reasons: Annotated[Sequence[str], "why it would be refused"]
    gates: Sequence[GateDocument]
    leaving: Annotated[Sequence[int], "the versions that would leave the stage"]
    approvals_needed: int
    approvals_given: int
    request: Annotated[RequestDocument | None, "which was asked for already"]
    can_break_glass: bool


class TokenDocument(TypedDict):
    """A token, without the token itself."""

    id: str
    name: str
    role: Annotated[str, Role]
    models: Annotated[str, "a pattern of those that the role is for"]
    scopes: Annotated[
        Sequence[str] | None,
        "what it is confined to, each as action:pattern; null where it is not",
    ]
    kind: Annotated[str, "token, or ci for one that a CI job was given"]
    owner: Annotated[str, "the person behind it; empty where nobody is known"]
    publisher_id: Annotated[str | None, "the trusted publisher of a CI job's"]
    on_behalf_of: Annotated[
        Mapping[str, str] | None, "the run of a CI job, as its platform signed it"
    ]
    created_at: Instant
    created_by: str
    expires_at: Instant | None
    last_used_at: Instant | None
    revoked_at: Instant | None


class PublisherDocument(TypedDict):
    """CI jobs that are given tokens, by what their platform signs of them."""

    id: str
    provider: Annotated[str, JobProvider]
    name: str
    issuer: Annotated[str, "who signs for the platform, exactly as it calls itself"]
    claims: Annotated[Mapping[str, str], "what is asked of a job"]
    role: Annotated[str, Role]
    models: Annotated[str, "a pattern of those that the role is for"]
    created_at: Instant
    created_by: str


class RoleBindingDocument(TypedDict):
    """A role that a person or a group has."""

    id: str
    subject_kind: Annotated[str, "user or group"]
    subject: Annotated[str, "issuer#subject of a person, or the name of a group"]
    role: Annotated[str, Role]
    models: Annotated[str, "a pattern of those that the role is for"]
    created_at: Instant
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a model's document says besides its row.

    Attributes:
        held_stages: ``{number: stage}`` of the versions that are in use: neither None
            nor Archived.
        latest_version: the highest number; None without versions.
    """

    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    held_stages: Mapping[int, str]
    latest_version: int | None


NO_FACTS = ModelFacts(tags={}, aliases={}, held_stages={}, latest_version=None)


def model_document(model: ModelRow, facts: ModelFacts) -> ModelDocument:
    """Return a registered model."""
    stages: dict[str, list[int]] = {}
    for number, stage in sorted(facts.held_stages.items()):
        stages.setdefault(stage, []).append(number)
    return {
        "name": model.name,
        "description": model.description,
        "tags": dict(facts.tags),
        "aliases": dict(facts.aliases),
        "stages": stages,
        "latest_version": facts.latest_version,
        "holds": [Hold.of(hold).document for hold in model.holds],
        "created_at": rfc3339(model.created_at),
        "created_by": model.created_by,
        "updated_at": rfc3339(model.updated_at),
    }


def version_document(version: VersionRow) -> VersionDocument:
    """Return a model version."""
    return {
        "model": version.model_name,
        "version": version.number,
        "stage": version.stage,
        "status": version.status,
        "status_message": version.status_message,
        "source": version.source,
        "download_uri": version.artifact_uri,
        "verified": version.is_verified,
        "artifact_digest": version.artifact_digest,
        "artifact_size_bytes": version.artifact_size_bytes,
        "run_id": version.run_id,
        "run_link": version.run_link,
        "run": version.run,
        "logged_model_id": version.logged_model_id,
        "git_commit": version.git_commit,
        "description": version.description,
        "tags": dict(version.tags),
        "params": version.params,
        "metrics": version.metrics,
        "datasets": version.datasets,
        "aliases": sorted(version.aliases),
        "created_at": rfc3339(version.created_at),
        "created_by": version.created_by,
        "updated_at": rfc3339(version.updated_at),
    }


def stage_change_document(change: StageChangeRow) -> StageChangeDocument:
    """Return a line of a model's history."""
    return {
        "transition_id": change.transition_id,
        "sequence": change.sequence,
        "version": change.number,
        "from_stage": change.from_stage or NONE,
        "to_stage": change.to_stage,
        "cause": change.cause,
        "reason": change.reason,
        "verified": change.verified,
        "actor": {"kind": change.actor_kind, "name": change.actor_name},
        "at": rfc3339(change.at),
        "request_id": change.request_id,
        "broke_glass": change.broke_glass,
        "held": change.held,
    }


def deployment_document(model: str, row: DeploymentRow) -> DeploymentDocument:
    """Return a deployment."""
    return {
        "id": row.id,
        "model": model,
        "version": row.number,
        "transition_id": row.transition_id,
        "delivery_id": row.delivery_id,
        "environment": row.environment,
        "status": row.status,
        "url": row.url,
        "description": row.description,
        "reported_by": row.reported_by,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def comment_document(comment: CommentRow) -> Document:
    """Return a comment, as the audit log keeps it."""
    return {
        "id": comment.id,
        "author": comment.author,
        "text": comment.text,
        "created_at": rfc3339(comment.created_at),
        "updated_at": rfc3339(comment.updated_at),
    }


def check_document(check: CheckRow) -> CheckDocument:
    """Return a check."""
    return {
        "name": check.name,
        "status": check.status,
        "url": check.url,
        "description": check.description,
        "reported_by": check.reported_by,
        "created_at": rfc3339(check.created_at),
        "updated_at": rfc3339(check.updated_at),
    }


def request_document(
    model: str, request: RequestRow, state: RequestState | None = None
) -> RequestDocument:
    """Return a transition request; ``state`` is how it stands, else as it was left."""
    closed_at = request.closed_at
    return {
        "id": request.id,
        "model": model,
        "version": request.number,
        "from_stage": request.from_stage,
        "to_stage": request.to_stage,
        "is_rollback": request.is_rollback,
        "reason": request.reason,
        "state": state or request.state,
        "approvals_needed": request.needed,
        "artifact_digest": request.artifact_digest,
        "policy": request.policy_digest,
        "requested_by": {"kind": request.requester_kind, "name": request.requested_by},
        "created_at": rfc3339(request.created_at),
        "expires_at": rfc3339(request.expires_at),
        "closed_at": rfc3339(closed_at) if closed_at else None,
        "closed_by": request.closed_by,
        "comment": request.comment,
        "transition_id": request.transition_id,
    }


def approval_document(
    approval: ApprovalRow, *, is_valid: bool | None
) -> ApprovalDocument:
    """Return an approval of a request."""
    return {
        "approved_by": approval.name,
        "comment": approval.comment,
        "at": rfc3339(approval.at),
        "valid": is_valid,
    }


def gate_document(gate: Gate) -> GateDocument:
    """Return a gate."""
    return {
        "kind": gate.kind,
        "name": gate.name,
        "state": gate.state,
        "message": gate.message,
    }


def role_binding_document(binding: RoleBindingRow) -> RoleBindingDocument:
    """Return a role that somebody has."""
    return {
        "id": binding.id,
        "subject_kind": binding.subject_kind,
        "subject": binding.subject,
        "role": binding.role,
        "models": binding.models,
        "created_at": rfc3339(binding.created_at),
        "created_by": binding.created_by,
    }


def publisher_document(publisher: PublisherRow) -> PublisherDocument:
    """Return a trusted publisher."""
    return {
        "id": publisher.id,
        "provider": publisher.provider,
        "name": publisher.name,
        "issuer": publisher.issuer,
        "claims": dict(publisher.claims),
        "role": publisher.role,
        "models": publisher.models,
        "created_at": rfc3339(publisher.created_at),
        "created_by": publisher.created_by,
    }


def token_document(token: TokenRow) -> TokenDocument:
    """Return a token: without the token."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "models": token.models,
        "scopes": None if token.scopes is None else list(token.scopes),
        "kind": token.kind,
        "owner": token.owner,
        "publisher_id": token.publisher_id,
        "on_behalf_of": token.on_behalf_of and dict(token.on_behalf_of),
        "created_at": rfc3339(token.created_at),
        "created_by": token.created_by,
        "expires_at": rfc3339(token.expires_at) if token.expires_at else None,
        "last_used_at": rfc3339(token.last_used_at) if token.last_used_at else None,
        "revoked_at": rfc3339(token.revoked_at) if token.revoked_at else None,
    }
