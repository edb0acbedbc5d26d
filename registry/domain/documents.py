"""Rows as the documents that the API answers and the audit log keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.domain.rows import (
    CommentRow,
    DeploymentRow,
    ModelRow,
    StageChangeRow,
    TokenRow,
    VersionRow,
)
from registry.domain.timestamps import rfc3339

Document = dict[str, Any]


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


def model_document(model: ModelRow, facts: ModelFacts) -> Document:
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
        "created_at": rfc3339(model.created_at),
        "created_by": model.created_by,
        "updated_at": rfc3339(model.updated_at),
    }


def version_document(version: VersionRow) -> Document:
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


def stage_change_document(change: StageChangeRow) -> Document:
    """Return a line of a model's history."""
    return {
        "transition_id": change.transition_id,
        "sequence": change.sequence,
        "version": change.number,
        "from_stage": change.from_stage,
        "to_stage": change.to_stage,
        "cause": change.cause,
        "reason": change.reason,
        "verified": change.verified,
        "actor": {"kind": change.actor_kind, "name": change.actor_name},
        "at": rfc3339(change.at),
    }


def deployment_document(model: str, row: DeploymentRow) -> Document:
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


def token_document(token: TokenRow) -> Document:
    """Return a token: without the token."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "created_at": rfc3339(token.created_at),
        "created_by": token.created_by,
        "expires_at": token.expires_at and rfc3339(token.expires_at),
        "last_used_at": token.last_used_at and rfc3339(token.last_used_at),
        "revoked_at": token.revoked_at and rfc3339(token.revoked_at),
    }
